//! A worker: a machine with a real systemd, containerd and kubelet, shaped as Gardener shapes its nodes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use crate::command::{self, Output};
use crate::ledger::{Entry, Ledger};
use crate::machine::Machine;
use crate::process::{Daemon, Spawn};
use crate::tree::{self, Snapshot};
use crate::{Generation, patient, wait_for};

const BOOT: Duration = Duration::from_secs(60);
/// How long a systemd that is asked for its state has to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// One worker of the bed's shoot.
#[derive(Debug)]
pub struct Worker {
    name: String,
    /// The merged overlay that is the machine's root.
    root: PathBuf,
    dir: PathBuf,
    netns: Option<String>,
    boot_script: PathBuf,
    ledger: Arc<Ledger>,
    supervisor: Option<Daemon>,
    boots: u32,
}

/// What a worker needs to join the shoot.
pub(crate) struct Membership<'a> {
    pub(crate) kubelet: &'a Path,
    /// kubelet's, without a `v`.
    pub(crate) version: &'a str,
    pub(crate) generation: Generation,
    pub(crate) kubeconfig: &'a str,
    pub(crate) ca: &'a str,
    pub(crate) pod_range: String,
    /// Its own address, which kubelet reports.
    pub(crate) address: String,
}

impl Worker {
    /// Prepares the machine's root: the base file system below, everything of its own above.
    pub(crate) fn prepare(
        name: &str,
        machine: &Machine,
        bed: &Path,
        netns: Option<String>,
        ledger: &Arc<Ledger>,
    ) -> anyhow::Result<Self> {
        let dir = bed.join(name);
        let root = dir.join("root");
        for part in ["upper", "work", "root", "containerd"] {
            std::fs::create_dir_all(dir.join(part))?;
        }
        ledger.add(Entry::Mount { path: root.clone() })?;
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            machine.base.display(),
            dir.join("upper").display(),
            dir.join("work").display()
        );
        nix::mount::mount(
            Some("overlay"),
            &root,
            Some("overlay"),
            nix::mount::MsFlags::empty(),
            Some(options.as_str()),
        )
        .context("cannot mount the machine's overlay")?;
        let worker = Self {
            name: name.to_owned(),
            root,
            dir,
            netns,
            boot_script: machine.boot_script.clone(),
            ledger: Arc::clone(ledger),
            supervisor: None,
            boots: 0,
        };
        worker.write("/etc/hostname", &format!("{name}\n"), 0o644)?;
        // No name server: kubelet looks its own name up before it registers, and would wait for one that never answers.
        worker.write("/etc/hosts", &format!("127.0.0.1 localhost {name}\n"), 0o644)?;
        let _ = std::fs::remove_file(worker.root.join("etc/resolv.conf"));
        worker.write("/etc/resolv.conf", "", 0o644)?;
        // A container that ignores SIGTERM must not hold up a reboot for a minute and a half.
        worker.write("/etc/systemd/system.conf.d/10-testbed.conf", "[Manager]\nDefaultTimeoutStopSec=5s\n", 0o644)?;
        worker.write("/etc/containerd/config.toml", &machine.containerd_config, 0o644)?;
        for (program, place) in &machine.programs {
            worker.copy(program, place, 0o755)?;
        }
        worker.write("/etc/environment", "", 0o644)?;
        Ok(worker)
    }

    /// Puts kubelet, its configuration and its network plugins in place.
    pub(crate) fn join(&self, membership: &Membership<'_>) -> anyhow::Result<()> {
        self.copy(membership.kubelet, "/opt/bin/kubelet", 0o755)?;
        for plugin in ["bridge", "host-local", "loopback", "portmap"] {
            self.copy(&Path::new("/usr/lib/cni").join(plugin), &format!("/opt/cni/bin/{plugin}"), 0o755)?;
        }
        self.write("/etc/hosts", &format!("127.0.0.1 localhost\n{} {}\n", membership.address, self.name), 0o644)?;
        self.write("/etc/cni/net.d/10-bed.conflist", &cni_config(&membership.pod_range), 0o644)?;
        self.write("/var/lib/kubelet/kubeconfig-real", membership.kubeconfig, 0o600)?;
        self.write("/var/lib/kubelet/ca.crt", membership.ca, 0o644)?;
        self.write("/var/lib/kubelet/config/kubelet", &kubelet_config(membership.generation), 0o644)?;
        self.write("/etc/systemd/system/kubelet.service", &kubelet_unit(&self.name, membership.version), 0o600)?;
        let wants = self.root.join("etc/systemd/system/multi-user.target.wants");
        std::fs::create_dir_all(&wants)?;
        std::os::unix::fs::symlink("/etc/systemd/system/kubelet.service", wants.join("kubelet.service"))?;
        Ok(())
    }

    /// The machine's and the node's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Writes a file into the machine's root, from outside. Not for `/run`, which is the machine's own; see
    /// [`Self::live_root`].
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &str, text: &str, mode: u32) -> anyhow::Result<()> {
        use std::os::unix::fs::PermissionsExt as _;
        let file = self.root.join(path.trim_start_matches('/'));
        std::fs::create_dir_all(file.parent().context("a file has a folder")?)?;
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode))?)
    }

    fn copy(&self, from: &Path, path: &str, mode: u32) -> anyhow::Result<()> {
        use std::os::unix::fs::PermissionsExt as _;
        let file = self.root.join(path.trim_start_matches('/'));
        std::fs::create_dir_all(file.parent().context("a file has a folder")?)?;
        std::fs::copy(from, &file).with_context(|| format!("cannot copy {} to {}", from.display(), file.display()))?;
        Ok(std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode))?)
    }

    /// Boots the machine and waits until its systemd has come up.
    ///
    /// # Errors
    /// When it does not come up in time.
    pub async fn boot(&mut self) -> anyhow::Result<()> {
        let group = self.group();
        if self.boots == 0 {
            self.ledger.add(Entry::Cgroup { name: group.clone() })?;
        }
        self.boots += 1;
        // What systemd-nspawn has in the host's /run goes by the machine's name, which must not be that of another bed's worker.
        let mut args = vec![group.clone(), self.root.display().to_string(), group];
        args.push(format!("--hostname={}", self.name));
        args.push(format!("--bind={}:/var/lib/containerd", self.dir.join("containerd").display()));
        match &self.netns {
            Some(netns) => args.push(format!("--network-namespace-path=/run/netns/{netns}")),
            None => args.push("--private-network".to_owned()),
        }
        let spawn = Spawn {
            name: &format!("machine-{}", self.name),
            program: &self.boot_script,
            args,
            env: Vec::new(),
            netns: None,
            logs: self.dir.parent().context("a worker lies in a bed")?,
        };
        self.supervisor = Some(Daemon::start(spawn, &self.ledger)?);
        let booted = wait_for(&format!("machine {} to boot", self.name), BOOT, || async {
            self.ensure_systemd_runs()?;
            // One that has come in too early may wait for an answer for as long as D-Bus has patience: the next one gets it.
            let asked = tokio::time::timeout(patient(ANSWER), self.exec(&["systemctl", "is-system-running"])).await;
            let found = asked.context("systemd does not answer")??;
            match found.stdout.trim() {
                "running" | "degraded" => Ok(Some(())),
                state => anyhow::bail!("systemd says {state:?} {}", found.stderr.trim()),
            }
        })
        .await;
        match booted {
            Ok(()) => Ok(()),
            Err(error) => Err(error.context(self.unfinished_boot().await)),
        }
    }

    /// An error until the machine's first process is its systemd. What systemd-nspawn starts before has half of the machine's namespaces: who enters
    /// them sees neither the host nor the machine.
    fn ensure_systemd_runs(&self) -> anyhow::Result<()> {
        let leader = self.leader()?;
        let name = std::fs::read_to_string(format!("/proc/{leader}/comm")).context("the first process has ended")?;
        anyhow::ensure!(name.trim() == "systemd", "the machine's first process is {:?} as yet", name.trim());
        Ok(())
    }

    /// What a boot that does not end waits for, for its error: the jobs that systemd has not done, and the end of the console.
    async fn unfinished_boot(&self) -> String {
        let asked = self.exec(&["timeout", "10", "systemctl", "list-jobs", "--no-pager", "--full"]).await;
        let jobs = asked.map_or_else(|error| format!("{error:#}"), |jobs| format!("{}{}", jobs.stdout, jobs.stderr));
        let console = self.supervisor.as_ref().map(|supervisor| supervisor.log_tail(40)).unwrap_or_default();
        format!("machine {} did not boot; its jobs:\n{jobs}\nthe end of its console:\n{console}", self.name)
    }

    fn group(&self) -> String {
        let bed = self.dir.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        format!("crtb-{}-{}", bed.unwrap_or_default(), self.name)
    }

    /// Number of the machine's systemd as seen from here.
    ///
    /// # Errors
    /// When the machine is off.
    pub fn leader(&self) -> anyhow::Result<i32> {
        let supervisor = self.supervisor.as_ref().with_context(|| format!("machine {} is off", self.name))?;
        supervisor.ensure_alive()?;
        let children = format!("/proc/{0}/task/{0}/children", supervisor.pid());
        let children = std::fs::read_to_string(&children).with_context(|| format!("cannot read {children}"))?;
        let leader = children.split_whitespace().next().context("systemd-nspawn has started nothing yet")?;
        Ok(leader.parse()?)
    }

    /// The machine's root with everything that is mounted inside, `/run` included; good until it reboots.
    ///
    /// # Errors
    /// When the machine is off.
    pub fn live_root(&self) -> anyhow::Result<PathBuf> {
        Ok(PathBuf::from(format!("/proc/{}/root", self.leader()?)))
    }

    /// Runs a program inside the machine.
    ///
    /// # Errors
    /// When it cannot be run; its own failure is in the output.
    pub async fn exec(&self, words: &[&str]) -> anyhow::Result<Output> {
        let leader = self.leader()?.to_string();
        let mut args = vec!["--target", leader.as_str(), "--all", "--"];
        args.extend_from_slice(words);
        command::output("nsenter", &args).await
    }

    /// Runs a program inside the machine that has to succeed, and gives its standard output.
    ///
    /// # Errors
    /// When it fails.
    pub async fn run(&self, words: &[&str]) -> anyhow::Result<String> {
        let output = self.exec(words).await?;
        anyhow::ensure!(
            output.success,
            "`{}` on {} failed:\n{}{}",
            words.join(" "),
            self.name,
            output.stdout,
            output.stderr
        );
        Ok(output.stdout)
    }

    /// Runs a line of shell inside the machine that has to succeed.
    ///
    /// # Errors
    /// When it fails.
    pub async fn shell(&self, line: &str) -> anyhow::Result<String> {
        self.run(&["/bin/sh", "-c", line]).await
    }

    /// Loads an image archive (docker or OCI) into the machine's containerd.
    ///
    /// # Errors
    /// When containerd refuses it.
    pub async fn load_image(&self, archive: &Path) -> anyhow::Result<()> {
        let name = archive.file_name().context("an archive is a file")?.to_string_lossy().into_owned();
        let inside = self.dir.join("containerd").join(&name);
        std::fs::copy(archive, &inside)?;
        let loaded = self
            .run(&["ctr", "--namespace", "k8s.io", "images", "import", &format!("/var/lib/containerd/{name}")])
            .await;
        std::fs::remove_file(&inside)?;
        loaded.map(drop)
    }

    /// The machine's file tree now.
    ///
    /// # Errors
    /// When the machine is off.
    pub fn tree(&self) -> anyhow::Result<Snapshot> {
        tree::snapshot(&self.live_root()?)
    }

    /// Cuts the machine's power.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub async fn power_off(&mut self) -> anyhow::Result<()> {
        if let Some(supervisor) = self.supervisor.take() {
            let leader =
                std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", supervisor.pid())).unwrap_or_default();
            if let Some(leader) = leader.split_whitespace().next().and_then(|pid| pid.parse().ok()) {
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(leader), nix::sys::signal::Signal::SIGKILL);
            }
            supervisor.stop().await?;
        }
        Ok(())
    }

    /// Cuts the power and boots again: `/run` is fresh, no container runs.
    ///
    /// # Errors
    /// When it does not come up in time.
    pub async fn reboot(&mut self) -> anyhow::Result<()> {
        self.power_off().await?;
        self.boot().await
    }

    /// The machine's console and supervisor.
    #[must_use]
    pub fn supervisor(&self) -> Option<&Daemon> {
        self.supervisor.as_ref()
    }
}

fn cni_config(pod_range: &str) -> String {
    let config = serde_json::json!({
        "cniVersion": "0.4.0",
        "name": "bed",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": true,
                "ipMasq": true,
                "ipam": { "type": "host-local", "ranges": [[{ "subnet": pod_range }]], "routes": [{ "dst": "0.0.0.0/0" }] },
            },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    });
    format!("{config:#}\n")
}

const KUBELET_CONFIG: &str = "\
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous:
    enabled: false
  webhook:
    enabled: true
  x509:
    clientCAFile: /var/lib/kubelet/ca.crt
authorization:
  mode: Webhook
cgroupDriver: systemd
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
cpuManagerPolicy: none
evictionHard:
  imagefs.available: 1%
  memory.available: 50Mi
  nodefs.available: 1%
  nodefs.inodesFree: 1%
failSwapOn: false
runtimeRequestTimeout: 2m
";

/// kubelet refuses version 1 of control groups since 1.35 unless told not to.
fn kubelet_config(generation: Generation) -> String {
    match generation {
        Generation::Old => KUBELET_CONFIG.to_owned(),
        Generation::New => format!("{KUBELET_CONFIG}failCgroupV1: false\n"),
    }
}

/// The unit as gardener-node-agent writes it since v1.102: sections in this order, one flag a line, no newline at the end,
/// mode 0600. `--hostname-override` is the bed's own: Gardener's machines are named by their infrastructure.
fn kubelet_unit(node: &str, version: &str) -> String {
    let flags = [
        "/opt/bin/kubelet".to_owned(),
        "--config=/var/lib/kubelet/config/kubelet".to_owned(),
        "--kubeconfig=/var/lib/kubelet/kubeconfig-real".to_owned(),
        format!("--hostname-override={node}"),
        "--node-labels=containerruntime.worker.gardener.cloud/gvisor=false".to_owned(),
        "--node-labels=worker.gardener.cloud/cri-name=containerd".to_owned(),
        format!("--node-labels=worker.gardener.cloud/kubernetes-version={version}"),
        "--node-labels=worker.gardener.cloud/pool=local".to_owned(),
        "--container-runtime-endpoint=unix:///run/containerd/containerd.sock".to_owned(),
        "--runtime-cgroups=/system.slice/containerd.service".to_owned(),
        "--v=2 $KUBELET_EXTRA_ARGS".to_owned(),
    ];
    format!(
        "[Unit]\n\
         Description=kubelet daemon\n\
         Documentation=https://kubernetes.io/docs/admin/kubelet\n\
         After=containerd.service\n\
         [Install]\n\
         WantedBy=multi-user.target\n\
         [Service]\n\
         Restart=always\n\
         RestartSec=5\n\
         Environment=\"HTTP2_READ_IDLE_TIMEOUT_SECONDS=20\" \"HTTP2_PING_TIMEOUT_SECONDS=10\"\n\
         EnvironmentFile=/etc/environment\n\
         EnvironmentFile=-/var/lib/kubelet/extra_args\n\
         ExecStart={}",
        flags.join(" \\\n    ")
    )
}
