//! Decides on the host whether kubelet may use the proxy.
//!
//! Four calls, each bounded by an alarm, none of which needs a pod, D-Bus or the API:
//!
//! - `gate` before each kubelet start: kubelet gets the proxy's socket only if the proxy answers right now;
//! - `wait` after the proxy's start: holds back what is ordered after it until it answers;
//! - `wait-for-plugin` after a policy plugin's start: the same, until it has registered with containerd;
//! - `guard` every few seconds: exit 0 if kubelet runs on a proxy that no longer answers while containerd does, else 1.

mod decision;
mod environment_file;
mod gate;
mod guard;
mod log;
mod paths;
mod plugin_wait;
mod proxy;
mod wait;

use std::process::ExitCode;

use paths::Paths;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let command = arguments.next();
    if arguments.next().is_some() {
        return usage();
    }
    match command.as_deref().and_then(std::ffi::OsStr::to_str) {
        Some("gate") => run(gate::ALARM_SECONDS, gate::run),
        Some("wait") => run(wait::ALARM_SECONDS, wait::run),
        Some("wait-for-plugin") => run(plugin_wait::ALARM_SECONDS, plugin_wait::run),
        Some("guard") => run(guard::ALARM_SECONDS, guard::run),
        Some("version") => {
            log::answer(env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        _ => usage(),
    }
}

/// Arms the alarm, whose default action ends this process whatever it hangs in, then runs the command.
fn run(alarm_seconds: u32, command: impl AsyncFnOnce(&Paths) -> ExitCode) -> ExitCode {
    nix::unistd::alarm::set(alarm_seconds);
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(command(&Paths::from_environment())),
        Err(error) => {
            log::line(&format!("cannot start: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    log::line("usage: runtime-gate gate|wait|wait-for-plugin|guard|version");
    ExitCode::from(2)
}
