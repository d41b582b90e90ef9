//! What runs on a node: containerd, the proxy, policies and kubelet, faked.

mod containers;
mod kubelet;
pub(crate) mod kubelets;
mod policy;
mod relay;
mod rule;

use std::any::Any;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use cri_client::fake::{Behaviour, Code, FakeRuntime, Script, Traits, VERSION};
use extension_config::names::node;
use tokio::task::JoinSet;

use fake_kube_api::Store;
use fake_systemd::{Programs, Ran, Spawn, on_this_machine};
use faults::{Fault, Faults};

pub use containers::{Containers, InEffect};
pub(crate) use kubelet::register;
pub use policy::PolicyPrograms;
pub(crate) use policy::faked_policies;

/// The text of a file that is faked as `name`. Run for real it fails.
pub(crate) fn faked(name: &str) -> String {
    format!("#!/bin/sh\n# sandbox: {name}\nexit 1\n")
}

/// The text of a file that is faked as the daemon.
#[must_use]
pub fn faked_daemon() -> String {
    faked(PROXY)
}

const READY: Behaviour = Behaviour::Answers { runtime_ready: true };
pub(crate) const CONTAINERD: &str = "containerd";
pub(crate) const KUBELET: &str = "kubelet";
pub(crate) const PROXY: &str = "proxy";

/// The programs of one node.
#[derive(Debug)]
pub(crate) struct NodePrograms {
    pub(crate) root: PathBuf,
    pub(crate) node: String,
    pub(crate) shoot: Store,
    pub(crate) faults: ProgramFaults,
    /// Where it has containers.
    pub(crate) containers: Option<Arc<Containers>>,
    /// What is run for policies.
    pub(crate) policies: PolicyPrograms,
}

/// What goes wrong with the programs of a node.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProgramFaults {
    pub(crate) programs: Faults<()>,
    pub(crate) containerd: Faults<Code>,
}

/// Where the real programs of a node's units write, beside its root: no part of the node.
pub(crate) fn journal(root: &Path) -> PathBuf {
    root.with_extension("journal")
}

impl Programs for NodePrograms {
    fn journal(&self) -> Option<File> {
        // A node works without it, as it does with a journal that is full.
        File::options().create(true).append(true).open(journal(&self.root)).ok()
    }

    fn start(&self, spawn: &Spawn) -> anyhow::Result<Box<dyn Any + Send>> {
        if let Some(fault) = self.faults.programs.at(&format!("start {}", spawn.name)) {
            bail!("{} ends at its start: {fault:?}", spawn.name);
        }
        match spawn.name.as_str() {
            CONTAINERD => {
                let socket = self.free(node::CONTAINERD_SOCKET)?;
                let Some(containers) = &self.containers else {
                    let traits = Traits { script: self.script(), version: VERSION.to_owned(), updater: None };
                    return Ok(Box::new(FakeRuntime::serve_with(&socket, READY, traits)?));
                };
                Ok(Box::new(Containers::serve(containers, &socket, self.script())?))
            }
            PROXY => self.proxy(spawn),
            KUBELET => {
                let endpoint =
                    flag(spawn, "--container-runtime-endpoint").context("kubelet was given no runtime endpoint")?;
                let endpoint = endpoint.strip_prefix("unix://").unwrap_or(endpoint);
                let mut tasks = JoinSet::new();
                tasks.spawn(kubelet::run(self.node.clone(), on_this_machine(&self.root, endpoint), self.shoot.clone()));
                Ok(Box::new(tasks))
            }
            other => match policy::kind(other) {
                Some(kind) => Ok(Box::new(self.policy(kind, spawn)?)),
                None => bail!("nothing here fakes {other:?}"),
            },
        }
    }

    fn run_to_end(&self, spawn: Spawn) -> Pin<Box<dyn Future<Output = anyhow::Result<Ran>> + Send + '_>> {
        Box::pin(async move {
            let kind = policy::kind(&spawn.name).with_context(|| format!("nothing here fakes {:?}", spawn.name))?;
            self.try_out(kind, &spawn).await
        })
    }
}

/// What the proxy serves as long as it lives.
struct Proxy {
    _config: FakeRuntime,
    _relay: JoinSet<()>,
}

impl NodePrograms {
    /// The daemon makes its directories, its cache and its pid file, and leaves them all behind; a cache that is there it goes on with.
    fn proxy(&self, spawn: &Spawn) -> anyhow::Result<Box<dyn Any + Send>> {
        if flag(spawn, "--fallback-config").is_some() && flag(spawn, "--force-config").is_some() {
            bail!("cri-resmgr refuses both kinds of configuration at once");
        }
        for name in ["--fallback-config", "--force-config"] {
            if let Some(path) = flag(spawn, name) {
                std::fs::read(on_this_machine(&self.root, path)).with_context(|| format!("{name} {path}"))?;
            }
        }
        let state = on_this_machine(&self.root, node::DAEMON_STATE_DIR);
        std::fs::create_dir_all(&state)?;
        let cache = state.join("cache");
        if !cache.exists() {
            std::fs::write(cache, "{\"PolicyName\":\"none\"}\n")?;
        }
        let relay = self.free(flag(spawn, "--relay-socket").unwrap_or(node::RELAY_SOCKET))?;
        let runtime = on_this_machine(&self.root, flag(spawn, "--runtime-socket").unwrap_or(node::CONTAINERD_SOCKET));
        let config = self.free(flag(spawn, "--config-socket").unwrap_or(node::CONFIG_SOCKET))?;
        let pid_file = self.free(flag(spawn, "--pid-file").unwrap_or(node::DAEMON_PID_FILE))?;
        std::fs::write(pid_file, format!("{}\n", spawn.pid))?;
        let config = FakeRuntime::serve(&config, READY)?;
        let listener = tokio::net::UnixListener::bind(&relay)?;
        let mut tasks = JoinSet::new();
        let stat = Arc::new(PathBuf::from(format!("/proc/{}/stat", spawn.pid)));
        tasks.spawn(relay::run(listener, runtime, stat, self.faults.programs.clone()));
        Ok(Box::new(Proxy { _config: config, _relay: tasks }))
    }

    /// containerd's answers, as its faults want them.
    fn script(&self) -> Script {
        let faults = self.faults.containerd.clone();
        Arc::new(move |call| {
            Some(match faults.at(call)? {
                Fault::Refuse(code) => Behaviour::Fails(code),
                Fault::Delay(time) => Behaviour::Late(time),
                Fault::Break => Behaviour::Breaks,
            })
        })
    }

    /// A socket's path, with its directory made and a socket of an earlier run taken away.
    fn free(&self, path: &str) -> anyhow::Result<PathBuf> {
        let path = on_this_machine(&self.root, path);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(path),
        }
    }
}

/// The last value of a flag, in either form.
fn flag<'a>(spawn: &'a Spawn, name: &str) -> Option<&'a str> {
    let words = &spawn.arguments;
    let value = |(position, word): (usize, &'a String)| match word.strip_prefix(name)? {
        "" => words.get(position + 1).map(String::as_str),
        rest => rest.strip_prefix('='),
    };
    words.iter().enumerate().rev().find_map(value)
}
