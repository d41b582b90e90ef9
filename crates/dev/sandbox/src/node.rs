//! One node: a root folder like a Gardener worker's, and its systemd.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cri_client::fake::Code;
use extension_config::names::node as host;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testbed::wait_for;

use crate::runtime::{CONTAINERD, Containers, KUBELET, NodePrograms, PolicyPrograms, ProgramFaults, faked, register};
use fake_kube_api::Store;
use fake_nri_runtime::machine::Machine;
use fake_systemd::{Systemd, UnitFacts, on_this_machine};
use faults::Faults;

/// The worker pool of `examples/shoot.yaml`.
pub const WORKER_POOL: &str = "local";

/// As Gardener writes it (v1.149, `components/kubelet`).
const KUBELET_SERVICE: &str = "[Unit]
Description=kubelet daemon
Documentation=https://kubernetes.io/docs/reference/command-line-tools-reference/kubelet/
After=containerd.service
[Install]
WantedBy=multi-user.target
[Service]
Restart=always
RestartSec=5
EnvironmentFile=/etc/environment
EnvironmentFile=-/var/lib/kubelet/extra_args
ExecStart=/opt/bin/kubelet \\
    --bootstrap-kubeconfig=/var/lib/kubelet/kubeconfig-bootstrap \\
    --config=/var/lib/kubelet/config/kubelet \\
    --kubeconfig=/var/lib/kubelet/kubeconfig-real \\
    --node-labels=worker.gardener.cloud/cri-name=containerd \\
    --runtime-cgroups=/system.slice/containerd.service \\
    --container-runtime-endpoint=unix:///run/containerd/containerd.sock \\
    --v=2 $KUBELET_EXTRA_ARGS
";

const CONTAINERD_SERVICE: &str = "[Unit]
Description=containerd container runtime
[Service]
ExecStart=/usr/bin/containerd
Restart=always
RestartSec=5
[Install]
WantedBy=multi-user.target
";

/// What goes wrong on a node.
#[derive(Debug, Clone)]
pub struct NodeFaults {
    /// Calls of systemd (`StartUnit a.service`); a refusal is the name of a D-Bus error.
    pub systemd: Faults<String>,
    /// Calls of containerd (`/runtime.v1.RuntimeService/Version`); a refusal is a gRPC code.
    pub containerd: Faults<Code>,
    /// `start proxy`, `start kubelet`, `start containerd`, `start policy balloons`: whatever the fault, the process ends at once. `connect proxy`: the connection is
    /// closed, or served later.
    pub programs: Faults<()>,
}

/// A node that runs.
#[derive(Debug)]
pub struct Node {
    name: String,
    pool: String,
    root: PathBuf,
    systemd: Systemd,
    faults: NodeFaults,
    containers: Option<Arc<Containers>>,
}

/// A machine whose containerd has containers and lets policies place them.
#[derive(Debug, Clone)]
pub struct WithContainers {
    /// CPUs and memory nodes.
    pub machine: Machine,
    /// What is run for policies.
    pub policies: PolicyPrograms,
}

impl Node {
    /// Makes the node below `root`, registers it in the shoot and boots it.
    ///
    /// # Errors
    /// When its files or its bus cannot be made.
    pub async fn boot(name: &str, root: PathBuf, shoot: &Store) -> anyhow::Result<Self> {
        Self::boot_in(WORKER_POOL, name, root, shoot).await
    }

    /// The same for a node of another worker pool.
    ///
    /// # Errors
    /// When its files or its bus cannot be made.
    pub async fn boot_in(pool: &str, name: &str, root: PathBuf, shoot: &Store) -> anyhow::Result<Self> {
        Self::boot_with(pool, name, root, shoot, None).await
    }

    /// The same, and with containers where that is given.
    ///
    /// # Errors
    /// When its files, its sockets or its bus cannot be made.
    pub async fn boot_with(
        pool: &str,
        name: &str,
        root: PathBuf,
        shoot: &Store,
        with: Option<WithContainers>,
    ) -> anyhow::Result<Self> {
        let write = |path: &str, text: &str| {
            let path = on_this_machine(&root, path);
            std::fs::create_dir_all(path.parent().unwrap_or(&root))?;
            std::fs::write(path, text)
        };
        write("/etc/environment", "")?;
        write("/etc/hostname", &format!("{name}\n"))?;
        write("/etc/systemd/system/kubelet.service", KUBELET_SERVICE)?;
        write("/usr/lib/systemd/system/containerd.service", CONTAINERD_SERVICE)?;
        write("/opt/bin/kubelet", &faked(KUBELET))?;
        write("/usr/bin/containerd", &faked(CONTAINERD))?;
        write(
            "/var/lib/kubelet/config/kubelet",
            "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\ncpuManagerPolicy: none\n",
        )?;
        let wants = on_this_machine(&root, "/etc/systemd/system/multi-user.target.wants");
        std::fs::create_dir_all(&wants)?;
        std::fs::create_dir_all(on_this_machine(&root, "/run"))?;
        std::os::unix::fs::symlink("/etc/systemd/system/kubelet.service", wants.join(host::KUBELET_UNIT))?;
        std::os::unix::fs::symlink("/usr/lib/systemd/system/containerd.service", wants.join(host::CONTAINERD_UNIT))?;
        register(shoot, name, pool)?;
        let faults = ProgramFaults::default();
        let (mut containers, mut policies) = (None, PolicyPrograms::default());
        if let Some(with) = with {
            with.machine.write(&root)?;
            containers = Some(Containers::below(&root, with.machine).await?);
            policies = with.policies;
        }
        let programs = NodePrograms {
            root: root.clone(),
            node: name.to_owned(),
            shoot: shoot.clone(),
            faults: faults.clone(),
            containers: containers.clone(),
            policies,
        };
        let systemd = Systemd::boot(&root, Arc::new(programs)).await?;
        let ProgramFaults { programs, containerd } = faults;
        let faults = NodeFaults { systemd: systemd.faults().clone(), containerd, programs };
        Ok(Self { name: name.to_owned(), pool: pool.to_owned(), root, systemd, faults, containers })
    }

    /// Name of its Node object.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its worker pool.
    #[must_use]
    pub fn pool(&self) -> &str {
        &self.pool
    }

    /// Its root folder on this machine.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What goes wrong on it.
    #[must_use]
    pub fn faults(&self) -> &NodeFaults {
        &self.faults
    }

    /// Its containers, where it was booted with any.
    #[must_use]
    pub fn containers(&self) -> Option<&Containers> {
        self.containers.as_deref()
    }

    /// What a unit is like.
    #[must_use]
    pub fn unit(&self, name: &str) -> UnitFacts {
        self.systemd.unit(name)
    }

    /// Whether kubelet's running process was given the proxy's socket.
    #[must_use]
    pub fn is_on_proxy(&self) -> bool {
        let kubelet = self.unit(host::KUBELET_UNIT);
        let last = kubelet.command_line.split(' ').rfind(|word| word.starts_with("--container-runtime-endpoint="));
        last == Some(host::KUBELET_ENDPOINT_ARGUMENT)
    }

    /// Kills the proxy's process, as a crash would, and waits until it answers again. Gives the time that took.
    ///
    /// # Errors
    /// When it does not come back within `limit`, or kubelet was restarted meanwhile.
    pub async fn crash_proxy(&self, limit: Duration) -> anyhow::Result<Duration> {
        let (start, before) = (Instant::now(), self.unit(host::DAEMON_UNIT));
        let kubelet = self.unit(host::KUBELET_UNIT);
        kill(Pid::from_raw(i32::try_from(before.main_pid)?), Signal::SIGKILL)?;
        let socket = on_this_machine(&self.root, host::RELAY_SOCKET);
        wait_for(&format!("the proxy of {} to answer again", self.name), limit, || async {
            let now = self.unit(host::DAEMON_UNIT);
            anyhow::ensure!(now.main_pid != 0 && now.main_pid != before.main_pid, "{now:?}");
            Ok(cri_client::probe(&socket, limit).await?.is_ready().then_some(()))
        })
        .await?;
        let took = start.elapsed();
        anyhow::ensure!(self.unit(host::KUBELET_UNIT) == kubelet, "kubelet of {} was not left alone", self.name);
        Ok(took)
    }

    /// Stops all units.
    pub async fn shut_down(&self) {
        self.systemd.shut_down().await;
    }
}
