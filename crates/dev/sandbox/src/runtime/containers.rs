//! Containers of a node: one containerd's, for who asks by CRI, for plugins, and in control groups, where the agent and everybody else sees what is in effect.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use anyhow::{Context as _, bail};
use cri_client::ContainerState;
use cri_client::fake::{FakeContainer, FakeRuntime, FakeUpdate, Script, Traits, Updater};
use extension_config::names::node;
use fake_nri_runtime::machine::Machine;
use fake_nri_runtime::{Container, Cpu, NewContainer, Pod, State, Timeouts};
use serde_json::json;
use tokio::sync::RwLock;
use tokio::task::JoinSet;

use super::READY;
use super::rule::list;
use fake_systemd::on_this_machine;

/// What containerd says that it is: the one whose side of NRI is faked.
const CONTAINERD_VERSION: &str = "2.3.7";
/// Control groups as of version 1, which have shares as kubelet gives them.
const CPUSET: &str = "/sys/fs/cgroup/cpuset";
const CPU: &str = "/sys/fs/cgroup/cpu";
/// kubelet's period of CPU time, microseconds.
const PERIOD: u64 = 100_000;

/// What a container's control group says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InEffect {
    /// CPUs that it may run on.
    pub cpus: String,
    /// Memory nodes.
    pub mems: String,
    /// Shares of CPU time.
    pub shares: String,
}

/// All containers of a node.
#[derive(Debug)]
pub struct Containers {
    root: PathBuf,
    machine: Machine,
    plugins: RwLock<fake_nri_runtime::FakeRuntime>,
    /// Who answers by CRI, while containerd runs.
    answering: Mutex<Weak<FakeRuntime>>,
}

/// containerd's process.
pub(super) struct Serving {
    containers: Arc<Containers>,
    _answering: Arc<FakeRuntime>,
    _following: JoinSet<()>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let containers = Arc::clone(&self.containers);
        tokio::spawn(async move { containers.plugins.write().await.close().await });
    }
}

impl Containers {
    /// No containers yet; nobody is served before containerd runs.
    pub(crate) async fn below(root: &Path, machine: Machine) -> anyhow::Result<Arc<Self>> {
        let socket = on_this_machine(root, node::NRI_SOCKET);
        std::fs::create_dir_all(socket.parent().unwrap_or(root))?;
        let mut plugins = fake_nri_runtime::FakeRuntime::listen(&socket, Timeouts::default())?;
        plugins.close().await;
        let (plugins, answering) = (RwLock::new(plugins), Mutex::new(Weak::new()));
        Ok(Arc::new(Self { root: root.to_owned(), machine, plugins, answering }))
    }

    /// containerd starts.
    pub(super) fn serve(own: &Arc<Self>, socket: &Path, script: Script) -> anyhow::Result<Serving> {
        let Ok(mut plugins) = own.plugins.try_write() else { bail!("the former containerd has not ended yet") };
        plugins.reopen()?;
        let (mut changes, mut following) = (plugins.changes(), JoinSet::new());
        let for_updates = Arc::downgrade(own);
        let updater: Updater = Arc::new(move |update| {
            let containers = for_updates.upgrade();
            Box::pin(async move {
                if let Some(containers) = containers {
                    containers.update(update).await;
                }
            })
        });
        let traits = Traits { script, version: CONTAINERD_VERSION.to_owned(), updater: Some(updater) };
        let answering = Arc::new(FakeRuntime::serve_with(socket, READY, traits)?);
        *own.answering() = Arc::downgrade(&answering);
        own.show(&plugins)?;
        drop(plugins);
        let followed = Arc::clone(own);
        following.spawn(async move {
            while changes.changed().await.is_ok() {
                let plugins = followed.plugins.read().await;
                // The disk is full, or the node's folder is going.
                let _unseen = followed.show(&plugins);
            }
        });
        Ok(Serving { containers: Arc::clone(own), _answering: answering, _following: following })
    }

    /// Makes a pod with one container, which asks for so many thousandths of a CPU, as kubelet does for a burstable one, and starts it.
    ///
    /// # Errors
    /// When a plugin refuses it, or there is one of that name.
    pub async fn run(&self, namespace: &str, name: &str, milli_cpu: u64) -> anyhow::Result<()> {
        let plugins = self.plugins.read().await;
        let uid = format!("{namespace}-{name}");
        let parent = format!("/kubepods/burstable/pod{uid}");
        let pod = Pod {
            id: format!("sandbox-{uid}"),
            name: name.to_owned(),
            uid: uid.clone(),
            namespace: namespace.to_owned(),
            cgroup_parent: parent.clone(),
            ..Pod::default()
        };
        let labels = [("io.kubernetes.pod.namespace", namespace), ("io.kubernetes.pod.name", name)];
        let labels = labels.into_iter().chain([("io.kubernetes.container.name", "main")]);
        let id = format!("container-{uid}");
        let asked = NewContainer {
            id: id.clone(),
            pod: pod.id.clone(),
            name: "main".to_owned(),
            labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            cpu: Cpu { shares: Some((milli_cpu * 1024 / 1000).max(2)), period: Some(PERIOD), ..Cpu::default() },
            oom_score_adj: Some(990),
            cgroups_path: format!("{parent}/{id}"),
            ..NewContainer::default()
        };
        plugins.run_pod(pod).await?;
        plugins.create_container(asked).await?;
        plugins.start_container(&id).await?;
        self.show(&plugins)
    }

    /// What the control groups say, by `NAMESPACE/POD`.
    ///
    /// # Errors
    /// When a control group cannot be read.
    pub async fn in_effect(&self) -> anyhow::Result<BTreeMap<String, InEffect>> {
        let containers = self.plugins.read().await.containers();
        let mut found = BTreeMap::new();
        for container in containers.into_values() {
            let read = |hierarchy: &str, file: &str| {
                let path = self.group(hierarchy, &container.asked.cgroups_path).join(file);
                let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
                anyhow::Ok(text.trim().to_owned())
            };
            let in_effect = InEffect {
                cpus: read(CPUSET, "cpuset.effective_cpus")?,
                mems: read(CPUSET, "cpuset.effective_mems")?,
                shares: read(CPU, "cpu.shares")?,
            };
            found.insert(name(&container), in_effect);
        }
        Ok(found)
    }

    /// Plugins that containerd asks, by index and name.
    pub async fn plugins(&self) -> Vec<String> {
        self.plugins.read().await.plugins()
    }

    pub(super) fn machine(&self) -> Machine {
        self.machine
    }

    fn answering(&self) -> MutexGuard<'_, Weak<FakeRuntime>> {
        self.answering.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An update by CRI, of which plugins are asked, too.
    async fn update(&self, update: FakeUpdate) {
        let plugins = self.plugins.read().await;
        let shares = u64::try_from(update.cpu_shares).ok().filter(|shares| *shares > 0);
        let cpu = Cpu { shares, cpus: update.cpus, mems: update.mems, ..Cpu::default() };
        // A plugin may refuse it: then nothing is in effect, which is seen.
        let _refused = plugins.update_container(&update.id, &cpu).await;
        let _unseen = self.show(&plugins);
    }

    /// Writes what is in effect into the control groups, and what CRI answers.
    fn show(&self, plugins: &fake_nri_runtime::FakeRuntime) -> anyhow::Result<()> {
        let containers = plugins.containers();
        let (cpus, mems) = (list(0..self.machine.nodes * self.machine.cpus_per_node), list(0..self.machine.nodes));
        for container in containers.values() {
            let path = container.asked.cgroups_path.as_str();
            let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            let own = &container.effective;
            let or_all = |own: &str, all: &str| if own.is_empty() { all.to_owned() } else { own.to_owned() };
            let shares = own.shares.unwrap_or(1024).to_string();
            for (hierarchy, group, file, text) in [
                (CPUSET, parent, "cpuset.effective_cpus", cpus.clone()),
                (CPUSET, parent, "cpuset.effective_mems", mems.clone()),
                (CPUSET, path, "cpuset.effective_cpus", or_all(&own.cpus, &cpus)),
                (CPUSET, path, "cpuset.effective_mems", or_all(&own.mems, &mems)),
                (CPU, path, "cpu.shares", shares),
            ] {
                write(&self.group(hierarchy, group), file, &text)?;
            }
        }
        if let Some(answering) = self.answering().upgrade() {
            answering.hold(containers.into_iter().map(|(id, container)| (id, by_cri(&container))).collect());
        }
        Ok(())
    }

    fn group(&self, hierarchy: &str, path: &str) -> PathBuf {
        on_this_machine(&self.root, &format!("{hierarchy}{path}"))
    }
}

/// Whoever reads it meanwhile sees the one or the other.
fn write(group: &Path, file: &str, text: &str) -> std::io::Result<()> {
    let path = group.join(file);
    if std::fs::read_to_string(&path).is_ok_and(|now| now.trim() == text) {
        return Ok(());
    }
    std::fs::create_dir_all(group)?;
    let next = group.join(format!(".{file}"));
    std::fs::write(&next, format!("{text}\n"))?;
    std::fs::rename(next, path)
}

fn name(container: &Container) -> String {
    let label = |name: &str| container.asked.labels.get(name).map_or("", String::as_str);
    format!("{}/{}", label("io.kubernetes.pod.namespace"), label("io.kubernetes.pod.name"))
}

/// As containerd shows it (`info` of `ContainerStatus`, the parts that somebody reads).
fn by_cri(container: &Container) -> FakeContainer {
    let info = json!({
        "config": { "linux": { "resources": { "cpu_shares": container.asked.cpu.shares.unwrap_or_default() } } },
        "runtimeSpec": { "linux": {
            "cgroupsPath": container.asked.cgroups_path,
            "resources": { "cpu": { "cpus": container.effective.cpus, "mems": container.effective.mems } },
        } },
    });
    FakeContainer {
        labels: container.asked.labels.clone(),
        state: match container.state {
            State::Created => ContainerState::Created,
            State::Running => ContainerState::Running,
            State::Stopped => ContainerState::Exited,
        },
        info: info.to_string(),
    }
}
