//! `wait`: after the proxy's start, until it answers.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::paths::Paths;
use crate::proxy::Answer;
use crate::{log, proxy};

/// The whole call, seconds.
pub(crate) const ALARM_SECONDS: u32 = 35;

/// Longest wait for the proxy.
const PATIENCE: Duration = Duration::from_secs(30);

/// Longest wait for one answer.
const PROBE: Duration = Duration::from_secs(3);

/// Pause after the first unanswered probe; doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);

const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Never fails: a proxy that does not answer is the gate's business.
pub(crate) async fn run(paths: &Paths) -> ExitCode {
    let begin = Instant::now();
    let end = begin + PATIENCE;
    let main_process = std::env::var("MAINPID").ok();
    let mut pause = FIRST_PAUSE;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let why = match proxy::ask(&paths.relay_socket, PROBE.min(left)).await {
            Answer::Ready(runtime) => {
                let waited = begin.elapsed();
                log::line(&format!("the proxy answers for {runtime} after {waited:.1?}"));
                return ExitCode::SUCCESS;
            }
            Answer::NotReady => "RuntimeReady is not true".to_owned(),
            Answer::Silent(why) => why,
        };
        if main_process.as_deref().is_some_and(is_gone) {
            log::line("the proxy has ended, waiting for it is pointless");
            return ExitCode::SUCCESS;
        }
        if Instant::now() + pause >= end {
            log::line(&format!("the proxy does not answer within {PATIENCE:?}: {why}"));
            return ExitCode::SUCCESS;
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn is_gone(process: &str) -> bool {
    !Path::new("/proc").join(process).exists()
}
