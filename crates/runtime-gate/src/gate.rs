//! `gate`: before each kubelet start.

use std::process::ExitCode;
use std::time::Duration;

use crate::decision::{OwnArguments, decide};
use crate::paths::Paths;
use crate::{environment_file, log, proxy};

/// The whole call, seconds. kubelet's start waits for it.
pub(crate) const ALARM_SECONDS: u32 = 3;

/// `Version` and `Status` together.
const DEADLINE: Duration = Duration::from_millis(2500);

/// Never fails: kubelet starts in any case, at worst on containerd.
pub(crate) async fn run(paths: &Paths) -> ExitCode {
    let answer = proxy::ask(&paths.relay_socket, DEADLINE).await;
    let decision = decide(&own_arguments(), &answer);
    let target = if decision.on_proxy { "the proxy" } else { "containerd" };
    let done = match &decision.value {
        Some(value) => environment_file::write(&paths.runtime_env, value),
        // The unit has removed it before; a file that is still there must not outlive this decision.
        None => environment_file::remove(&paths.runtime_env),
    };
    match done {
        Ok(()) => log::line(&format!("kubelet starts on {target}: {}", decision.reason)),
        Err(error) => log::line(&format!(
            "kubelet starts with what the host gives it, for {} could not be brought up to date: {error} ({})",
            paths.runtime_env.display(),
            decision.reason
        )),
    }
    ExitCode::SUCCESS
}

fn own_arguments() -> OwnArguments {
    match std::env::var("KUBELET_EXTRA_ARGS") {
        Ok(text) => OwnArguments::Text(text),
        Err(std::env::VarError::NotPresent) => OwnArguments::Unset,
        Err(std::env::VarError::NotUnicode(_)) => OwnArguments::Unreadable,
    }
}
