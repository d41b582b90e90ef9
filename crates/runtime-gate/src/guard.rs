//! `guard`: does kubelet run on a proxy that is gone for good?

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::decision::{names_the_proxy, shall_fall_back};
use crate::paths::Paths;
use crate::proxy::Answer;
use crate::{log, proxy};

/// The whole call, seconds: [`SILENCE`], one more probe of each socket, and room.
pub(crate) const ALARM_SECONDS: u32 = 35;

/// How long the proxy must be silent before kubelet is taken off it. A restart of the proxy takes a few seconds, and kubelet itself reports
/// its node as not ready after 30 s without the runtime.
const SILENCE: Duration = Duration::from_secs(20);

/// From one probe to the next.
const INTERVAL: Duration = Duration::from_secs(2);

/// Longest wait for one answer.
const PROBE: Duration = Duration::from_secs(3);

/// Exit 0: kubelet shall be restarted, and the gate will start it on containerd. Exit 1: nothing to do.
pub(crate) async fn run(paths: &Paths) -> ExitCode {
    if !kubelet_is_on_the_proxy(&paths.runtime_env) {
        return ExitCode::FAILURE;
    }
    let begin = Instant::now();
    let mut next = begin;
    let why = loop {
        next += INTERVAL;
        let Answer::Silent(why) = proxy::ask(&paths.relay_socket, PROBE).await else {
            if begin.elapsed() > INTERVAL {
                let silent = begin.elapsed();
                log::line(&format!("the proxy answers again after {silent:.1?}"));
            }
            return ExitCode::FAILURE;
        };
        if begin.elapsed() >= SILENCE {
            break why;
        }
        sleep_until(next).await;
    };
    let containerd = proxy::ask(&paths.containerd_socket, PROBE).await;
    let (fall_back, reason) = shall_fall_back(&containerd);
    // Somebody may have restarted kubelet meanwhile.
    let fall_back = fall_back && kubelet_is_on_the_proxy(&paths.runtime_env);
    log::line(&format!("the proxy has not answered for {SILENCE:?} ({why}); {reason}"));
    if fall_back { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The gate writes the file at each kubelet start, and without it kubelet is on containerd.
fn kubelet_is_on_the_proxy(runtime_env: &Path) -> bool {
    std::fs::read_to_string(runtime_env).is_ok_and(|text| names_the_proxy(&text))
}
