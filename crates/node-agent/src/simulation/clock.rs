//! A time that runs faster, and stands still while nobody is let work in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{Instant, MissedTickBehavior, interval};

/// How often it is moved on.
const TICK: Duration = Duration::from_millis(2);
/// The most that counts of what lies between two ticks. A machine that is busy elsewhere keeps the agents' thread waiting for seconds, which would be
/// minutes of the nodes' time: deadlines would pass in which nobody could have done anything.
const MOST_AT_A_TICK: Duration = Duration::from_millis(25);

/// It was the clock's time when it began. It moves only while [`Clock::run`] does.
#[derive(Debug, Clone)]
pub struct Clock {
    epoch: Duration,
    speed: u32,
    /// What has counted so far, in nanoseconds of the time outside.
    counted: Arc<AtomicU64>,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub(super) fn new(speed: u32) -> Self {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { epoch, speed: speed.max(1), counted: Arc::default() }
    }

    /// Moves it on, for ever. Belongs into the thread whose work is bound to this time.
    pub(super) async fn run(self) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = ticks.tick().await;
        loop {
            ticks.tick().await;
            // Not the tick's own time: that is when it was due.
            let now = Instant::now();
            let counts = now.duration_since(last).min(MOST_AT_A_TICK);
            self.counted.fetch_add(u64::try_from(counts.as_nanos()).unwrap_or_default(), Ordering::Relaxed);
            last = now;
        }
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
        Duration::from_nanos(self.counted.load(Ordering::Relaxed)).saturating_mul(self.speed)
    }

    /// How long something takes for who waits outside, at least.
    #[must_use]
    pub fn outside(&self, time: Duration) -> Duration {
        time / self.speed
    }

    /// Waits until so much of it has passed.
    pub(super) async fn sleep(&self, time: Duration) {
        let until = self.uptime().saturating_add(time);
        loop {
            let left = until.saturating_sub(self.uptime());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(self.outside(left).max(TICK)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_fast_clock_starts_now_and_runs_by_its_speed() {
        let real = Clock::new(1).now();
        let clock = Clock::new(1000);
        let running = tokio::spawn(clock.clone().run());
        assert_eq!(clock.outside(Duration::from_secs(10)), Duration::from_millis(10));
        let begin = Instant::now();
        clock.sleep(Duration::from_secs(60)).await;
        assert!(clock.uptime() >= Duration::from_secs(60));
        assert!(clock.now() >= real + Duration::from_secs(60));
        assert!(begin.elapsed() < Duration::from_millis(70), "{:?}", begin.elapsed());
        running.abort();
        // Nothing would move otherwise.
        assert_eq!(Clock::new(0).speed(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn it_stands_still_while_its_thread_is_kept_waiting() {
        let clock = Clock::new(40);
        let running = tokio::spawn(clock.clone().run());
        tokio::time::sleep(TICK).await;
        let before = clock.uptime();
        // In one step: nothing runs in between.
        tokio::time::advance(Duration::from_secs(3)).await;
        clock.sleep(Duration::from_millis(1)).await;
        let passed = clock.uptime().saturating_sub(before);
        assert!(passed <= (MOST_AT_A_TICK + 2 * TICK) * 40, "{passed:?} have passed");
        running.abort();
    }
}
