//! What a person sees while a bed comes up: one line per step with the time since the start.

use std::sync::Arc;
use std::time::Instant;

/// Prints steps to standard error.
#[derive(Debug, Clone)]
pub struct Progress {
    start: Arc<Instant>,
}

impl Default for Progress {
    fn default() -> Self {
        Self { start: Arc::new(Instant::now()) }
    }
}

impl Progress {
    /// A step begins or has been reached.
    #[expect(clippy::print_stderr, reason = "this is the console of a developer's command")]
    pub fn step(&self, text: &str) {
        eprintln!("[{:>6.1}s] {text}", self.start.elapsed().as_secs_f64());
    }
}
