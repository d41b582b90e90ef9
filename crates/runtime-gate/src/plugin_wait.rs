//! `wait-for-plugin`: after the start of a policy plugin, until it has registered with containerd.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::log;
use crate::paths::Paths;

/// The whole call, seconds.
pub(crate) const ALARM_SECONDS: u32 = 25;

/// Longest wait: so much later kubelet may start in a boot. A plugin registers within a second, or is dropped by containerd after five.
const PATIENCE: Duration = Duration::from_secs(20);

const PAUSE: Duration = Duration::from_millis(50);

/// Longest pid file that is read, bytes.
const PID_FILE_BYTES: u64 = 64;

/// Never fails: containers that are not placed yet are placed when the plugin registers.
pub(crate) async fn run(paths: &Paths) -> ExitCode {
    let begin = Instant::now();
    let Ok(main_process) = std::env::var("MAINPID") else {
        log::line("there is no MAINPID to wait for");
        return ExitCode::SUCCESS;
    };
    loop {
        if names(&paths.plugin_pid_file, &main_process) {
            log::line(&format!("the policy has registered after {:.1?}", begin.elapsed()));
            return ExitCode::SUCCESS;
        }
        if !Path::new("/proc").join(&main_process).exists() {
            log::line("the policy has ended, waiting for it is pointless");
            return ExitCode::SUCCESS;
        }
        if begin.elapsed() + PAUSE >= PATIENCE {
            log::line(&format!("the policy has not registered within {PATIENCE:?}"));
            return ExitCode::SUCCESS;
        }
        sleep(PAUSE).await;
    }
}

/// Whether the pid file is this process's: it outlives every process, and is written anew by the next.
fn names(pid_file: &Path, process: &str) -> bool {
    use std::io::Read;
    let mut text = String::new();
    let read = std::fs::File::open(pid_file).and_then(|file| file.take(PID_FILE_BYTES).read_to_string(&mut text));
    read.is_ok() && text.trim() == process
}
