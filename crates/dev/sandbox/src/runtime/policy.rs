//! A policy of nri-plugins on a node: its real program where there is one, else a stand-in; either registers with the node's containerd over the real protocol.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use extension_config::names::node;
use fake_nri_runtime::stand_in;
use fake_systemd::{Ran, Spawn, on_this_machine};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use tokio::process::Command;
use tokio::task::JoinSet;

use super::rule::StandIn;
use super::{NodePrograms, faked, flag};

/// Between two checks whether a policy has registered.
const LOOK: Duration = Duration::from_millis(20);

/// The programs of the policies, where they are built.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicyPrograms {
    /// `nri-resource-policy-balloons`.
    pub balloons: Option<PathBuf>,
    /// `nri-resource-policy-topology-aware`.
    pub topology_aware: Option<PathBuf>,
}

/// Which policy is faked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Balloons,
    TopologyAware,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Balloons, Self::TopologyAware];

    fn name(self) -> &'static str {
        match self {
            Self::Balloons => "policy balloons",
            Self::TopologyAware => "policy topology-aware",
        }
    }

    /// Its place in the payload, by upstream's name.
    fn program(self) -> &'static str {
        match self {
            Self::Balloons => "opt/nri-plugins/bin/nri-resource-policy-balloons",
            Self::TopologyAware => "opt/nri-plugins/bin/nri-resource-policy-topology-aware",
        }
    }
}

pub(super) fn kind(name: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| kind.name() == name)
}

/// Puts what is faked as the policies into a payload.
pub(crate) fn faked_policies(payload: &Path) -> std::io::Result<()> {
    for kind in Kind::ALL {
        let path = payload.join(kind.program());
        std::fs::create_dir_all(path.parent().unwrap_or(payload))?;
        std::fs::write(path, faked(kind.name()))?;
    }
    Ok(())
}

/// A policy that runs; it ends when this is dropped.
pub(super) struct Running {
    tasks: JoinSet<()>,
    run_dir: PathBuf,
    real: Option<RealName>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tasks.abort_all();
        // systemd does so with a RuntimeDirectory=.
        let _gone = std::fs::remove_dir_all(&self.run_dir);
        drop(self.real.take());
    }
}

/// What a real program is called by: that names its pid file, which lies on this machine and not on the node.
struct RealName(String);

impl RealName {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        Self(format!("sandbox-policy-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)))
    }

    /// Where nri-plugins v0.14.0 write it, whatever `--pid-file` says.
    fn pid_file(&self) -> PathBuf {
        Path::new(if Uid::effective().is_root() { "/var/run" } else { "/tmp" }).join(format!("{}.pid", self.0))
    }
}

impl Drop for RealName {
    fn drop(&mut self) {
        // It may never have registered.
        let _absent = std::fs::remove_file(self.pid_file());
    }
}

impl NodePrograms {
    fn real(&self, kind: Kind) -> Option<&PathBuf> {
        match kind {
            Kind::Balloons => self.policies.balloons.as_ref(),
            Kind::TopologyAware => self.policies.topology_aware.as_ref(),
        }
    }

    fn at(&self, spawn: &Spawn, name: &str) -> anyhow::Result<PathBuf> {
        let path = flag(spawn, name).with_context(|| format!("the policy was given no {name}"))?;
        Ok(on_this_machine(&self.root, path))
    }

    fn stand_in(&self, config: &Path) -> anyhow::Result<StandIn> {
        let document = std::fs::read_to_string(config).with_context(|| format!("no {}", config.display()))?;
        let containers = self.containers.as_ref().context("a node without containers has no policies")?;
        StandIn::of(&document, containers.machine())
    }

    /// The real program with what the unit gives it, as it is on this machine.
    fn command(&self, program: &Path, name: &RealName, spawn: &Spawn) -> anyhow::Result<Command> {
        let mut command = Command::new(program);
        command.arg0(&name.0).args(["--nri-plugin-index", "90"]).arg("--host-root").arg(&self.root);
        for flag in ["--config-file", "--nri-socket", "--state-dir"] {
            command.arg(flag).arg(self.at(spawn, flag)?);
        }
        command.env_clear().kill_on_drop(true).stdin(std::process::Stdio::null());
        // Away from our terminal's signals.
        command.process_group(0);
        Ok(command)
    }

    /// A policy's unit starts.
    pub(super) fn policy(&self, kind: Kind, spawn: &Spawn) -> anyhow::Result<Running> {
        let (run_dir, state) =
            (on_this_machine(&self.root, node::PLUGIN_RUN_DIR), on_this_machine(&self.root, node::PLUGIN_STATE_DIR));
        for (directory, mode) in [(&run_dir, 0o711), (&state, 0o710)] {
            DirBuilder::new().recursive(true).mode(mode).create(directory)?;
        }
        let (pid_file, pid) = (on_this_machine(&self.root, node::PLUGIN_PID_FILE), spawn.pid);
        let write_pid = move || std::fs::write(&pid_file, format!("{pid}\n"));
        let mut tasks = JoinSet::new();
        let Some(program) = self.real(kind) else {
            let (config, socket) = (self.at(spawn, "--config-file")?, self.at(spawn, "--nri-socket")?);
            let rule = self.stand_in(&config)?;
            tasks.spawn(async move {
                let registered = || drop(write_pid());
                // However it ended, so does the process.
                let _ended = stand_in::run(&socket, &state.join("cache"), &rule, registered).await;
                end(pid);
            });
            return Ok(Running { tasks, run_dir, real: None });
        };
        let name = RealName::new();
        let mut command = self.command(program, &name, spawn)?;
        let log = File::options().create(true).append(true).open(self.root.with_extension("policy.log"))?;
        let mut child = command.stdout(log.try_clone()?).stderr(log).spawn()?;
        let own = name.pid_file();
        tasks.spawn(async move {
            let registered = async {
                while !own.exists() {
                    tokio::time::sleep(LOOK).await;
                }
                drop(write_pid());
                std::future::pending::<()>().await;
            };
            tokio::select! {
                _status = child.wait() => end(pid),
                () = registered => {}
            }
        });
        Ok(Running { tasks, run_dir, real: Some(name) })
    }

    /// A policy's program is tried out, which ends for want of a runtime.
    pub(super) async fn try_out(&self, kind: Kind, spawn: &Spawn) -> anyhow::Result<Ran> {
        let socket = self.at(spawn, "--nri-socket")?;
        let Some(program) = self.real(kind) else {
            let why = match self.stand_in(&self.at(spawn, "--config-file")?) {
                Ok(_) => format!("failed to start NRI plugin: dial unix {}: no such file", socket.display()),
                Err(error) => format!("{error:#}"),
            };
            return Ok(Ran { code: 1, output: format!("F: {why}\n") });
        };
        let state = self.at(spawn, "--state-dir")?;
        DirBuilder::new().recursive(true).mode(0o700).create(&state)?;
        let name = RealName::new();
        let output = self.command(program, &name, spawn)?.output().await;
        // As systemd does with a RuntimeDirectory=.
        let _gone = std::fs::remove_dir_all(&state);
        let output = output?;
        let code = output.status.code().context("the policy's program was killed")?;
        let text = [output.stdout, output.stderr].concat();
        Ok(Ran { code, output: String::from_utf8_lossy(&text).into_owned() })
    }
}

/// The process that holds a policy's place ends, as the policy has.
fn end(pid: u32) {
    if let Ok(pid) = i32::try_from(pid) {
        // It may have been stopped meanwhile.
        let _gone = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}
