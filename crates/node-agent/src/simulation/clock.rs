//! A time that runs faster.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// It was the clock's time when it began.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    epoch: Duration,
    begin: Instant,
    speed: u32,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub(super) fn start(speed: u32) -> Self {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { epoch, begin: Instant::now(), speed: speed.max(1) }
    }

    /// How many times as fast it runs.
    #[must_use]
    pub fn speed(&self) -> u32 {
        self.speed
    }

    /// Time since 1970.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.epoch.saturating_add(self.uptime())
    }

    /// Time since it began.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.begin.elapsed().saturating_mul(self.speed)
    }

    /// How long something takes for who waits outside.
    #[must_use]
    pub fn outside(&self, time: Duration) -> Duration {
        time / self.speed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_runs_faster_and_from_now() {
        let real = Clock::start(1).now();
        let clock = Clock::start(1000);
        assert_eq!(clock.outside(Duration::from_secs(10)), Duration::from_millis(10));
        let first = clock.uptime();
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(2) {
            std::hint::spin_loop();
        }
        assert!(clock.uptime() >= first + Duration::from_secs(2));
        assert!(clock.now() >= real + Duration::from_secs(2));
        // Nothing would move otherwise.
        assert_eq!(Clock::start(0).speed(), 1);
    }
}
