//! The policy plugin on the real node, and the containers that it places.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use cri_client::{ContainerRecord, ContainerState, ResourceUpdate, RuntimeClient};
use extension_config::names::node;
use extension_config::node_status::ContainerStatus;
use host::HostRoot;
use node_plan::pins::{
    Books, BooksEntry, Cgroup, Container, Misses, Pinned, Update, Weight, books_lag, cgroup_path, compare, limits,
    reset,
};
use node_plan::{Nri, RuntimeVersion};
use systemd_client::Trial;

use super::RealNode;
use crate::effects::{EffectError, Plugins, Registration, Result};
use crate::proof_failure::ProofFailure;
use crate::trial;

/// Longest wait for an answer of containerd about one container, and about all.
const CALL: Duration = Duration::from_secs(10);
/// Longest pid file that is read, bytes.
const PID_FILE_BYTES: u64 = 64;
/// Longest file of a control group that is read, bytes.
const CGROUP_BYTES: u64 = 16 << 10;
/// How much of what a trial prints is read, bytes.
const OUTPUT_BYTES: u64 = 1 << 20;
/// Longest trial: a policy that is taken ends within 0.3 s on 112 CPUs, one that is not may wait for ever.
const TRIAL: Duration = Duration::from_secs(10);
/// Most memory of a trial, bytes; a policy takes about 50 MiB.
const TRIAL_MEMORY: u64 = 512 << 20;
/// Longest that Synchronize may take wherever plugins get the time that big nodes need, seconds.
const SYNCHRONIZE_SECONDS: u64 = 10;
/// Of plugins that containerd starts itself.
const PRELAUNCHED: &str = "/opt/nri/plugins";
/// More files than anybody has there.
const PRELAUNCHED_FILES: usize = 256;
/// CPUs in effect, by the versions of control groups.
const CPUS: [&str; 3] = ["cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus"];
/// Memory nodes in effect, likewise.
const MEMS: [&str; 3] = ["cpuset.mems.effective", "cpuset.effective_mems", "cpuset.mems"];
/// Where the host's control groups are.
const CGROUPS: &str = "/sys/fs/cgroup";

/// Most containers whose places are told: more than kubelet runs anywhere, and little enough for one answer.
const LISTED: usize = 1000;

/// Where running containers are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Placed {
    /// Those that were looked at.
    pub(crate) containers: Vec<ContainerStatus>,
    /// How many were not, or could not be seen.
    pub(crate) left_out: usize,
}

impl RealNode {
    /// Where running containers are, by the kernel's word.
    pub(crate) async fn placed(&self) -> Result<Placed> {
        OnHost(&self.root).placed().await
    }
}

/// What is found below a host's root.
struct OnHost<'a>(&'a HostRoot);

impl OnHost<'_> {
    async fn containerd(&self) -> Result<RuntimeClient> {
        Ok(RuntimeClient::connect(&self.0.path_in_this_namespace(node::CONTAINERD_SOCKET), CALL).await?)
    }

    fn small_file(&self, path: &str, limit: u64) -> Result<Option<String>> {
        let bytes = self.0.read_optional(path, limit)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned()))
    }

    fn modified(&self, path: &str) -> u64 {
        let found = std::fs::symlink_metadata(self.0.path_in_this_namespace(path));
        found.ok().and_then(|found| u64::try_from(found.mtime()).ok()).unwrap_or_default()
    }

    /// The first of these files of a control group that is there and says something.
    fn cgroup_file(&self, directory: &str, names: &[&str]) -> Result<Option<String>> {
        for name in names {
            let text = self.small_file(&format!("{directory}/{name}"), CGROUP_BYTES)?;
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }

    /// What a container's control group says, by what the runtime was given as its place; `None` where there is none.
    fn cgroup(&self, cgroups_path: &str) -> Result<Option<Cgroup>> {
        let Some(path) = cgroup_path(cgroups_path) else { return Ok(None) };
        let is_unified = self.0.metadata(format!("{CGROUPS}/cgroup.controllers"))?.is_some();
        let hierarchy = |name: &str| if is_unified { CGROUPS.to_owned() } else { format!("{CGROUPS}/{name}") };
        let own = format!("{}/{path}", hierarchy("cpuset"));
        let Some((parent, _)) = own.rsplit_once('/') else { return Ok(None) };
        let Some(cpus) = self.cgroup_file(&own, &CPUS)? else { return Ok(None) };
        let shares = format!("{}/{path}", hierarchy("cpu"));
        let weight = match (self.cgroup_file(&shares, &["cpu.weight"])?, self.cgroup_file(&shares, &["cpu.shares"])?) {
            (Some(weight), _) => weight.parse().ok().map(Weight::Weight),
            (None, Some(shares)) => shares.parse().ok().map(Weight::Shares),
            (None, None) => None,
        };
        Ok(Some(Cgroup {
            cpus,
            mems: self.cgroup_file(&own, &MEMS)?.unwrap_or_default(),
            weight,
            parent_cpus: self.cgroup_file(parent, &CPUS)?.unwrap_or_default(),
            parent_mems: self.cgroup_file(parent, &MEMS)?.unwrap_or_default(),
        }))
    }

    /// Containers that are alive, and what of each the runtime has written down, one that goes meanwhile left out; and how many run whose control
    /// groups cannot be seen.
    async fn pinned(&self, client: &RuntimeClient) -> Result<(Vec<Pinned>, usize)> {
        let (mut pinned, mut unseen) = (Vec::new(), 0);
        for info in client.containers(CALL).await?.into_iter().take(limits::CONTAINERS) {
            if !matches!(info.state, ContainerState::Running | ContainerState::Created) {
                continue;
            }
            let Some(record) = record(client, &info.id).await? else { continue };
            let cgroup = self.cgroup(record.cgroups_path.as_deref().unwrap_or_default())?;
            match cgroup {
                Some(cgroup) => pinned.push(Pinned { id: info.id, shares: record.asked_shares, cgroup }),
                // One that was made and not started has none yet, or one without CPUs of its own.
                None if info.state == ContainerState::Created => {}
                // It may have ended meanwhile: then the next round does not list it.
                None => unseen += 1,
            }
        }
        Ok((pinned, unseen))
    }

    async fn misses(&self, registered_at: u64) -> Result<Misses> {
        // The containers first: what comes later is in the books all the more.
        let client = self.containerd().await?;
        let listed = client.containers(CALL).await?;
        let running: Vec<Container> = listed
            .into_iter()
            .filter(|info| info.state == ContainerState::Running)
            .map(|info| Container { id: info.id, name: info.name })
            .collect();
        let saved_at = self.modified(node::PLUGIN_BOOKS);
        let text = self.0.read_optional(node::PLUGIN_BOOKS, limits::BOOKS_BYTES)?;
        let books = text.map_or_else(|| Ok(Books::default()), |text| Books::read(&text))?;
        let mut records = None;
        if books_lag(saved_at, registered_at, SYNCHRONIZE_SECONDS) {
            let mut all = BTreeMap::new();
            for container in running.iter().take(limits::CONTAINERS) {
                if let Some(record) = record(&client, &container.id).await? {
                    let cgroups_path = record.cgroups_path.unwrap_or_default();
                    let entry = BooksEntry { cpus: record.cpus, mems: record.mems, cgroups_path };
                    all.insert(container.id.clone(), entry);
                }
            }
            records = Some(Books(all));
        }
        let mut cgroups = BTreeMap::new();
        for container in running.iter().take(limits::CONTAINERS) {
            let Some(entry) = books.0.get(&container.id) else { continue };
            if let Some(cgroup) = self.cgroup(&entry.cgroups_path)? {
                cgroups.insert(container.id.clone(), cgroup);
            }
        }
        Ok(compare(&books, records.as_ref(), &cgroups, &running))
    }

    /// Where running containers are, sorted by name.
    async fn placed(&self) -> Result<Placed> {
        let client = self.containerd().await?;
        let mut running = client.containers(CALL).await?;
        running.retain(|info| info.state == ContainerState::Running);
        running.sort_by(|one, other| (&one.name, &one.id).cmp(&(&other.name, &other.id)));
        let mut placed = Placed { left_out: running.len().saturating_sub(LISTED), containers: Vec::new() };
        for info in running.into_iter().take(LISTED) {
            let Some(record) = record(&client, &info.id).await? else { continue };
            // One that goes while it is read hides none of the others.
            match self.cgroup(record.cgroups_path.as_deref().unwrap_or_default()) {
                Ok(Some(Cgroup { cpus, mems, .. })) => {
                    placed.containers.push(ContainerStatus { name: info.name, cpus, mems });
                }
                Ok(None) | Err(_) => placed.left_out += 1,
            }
        }
        Ok(placed)
    }

    async fn reset_pins(&self) -> Result<usize> {
        let client = self.containerd().await?;
        let (pinned, unseen) = self.pinned(&client).await?;
        let updates = reset(&pinned);
        let count = updates.len();
        for one in updates {
            update(&client, one).await?;
        }
        // No claim without effect.
        if unseen > 0 {
            return Err(EffectError::PinsUnseen { unseen });
        }
        let left = if count == 0 { Vec::new() } else { reset(&self.pinned(&client).await?.0) };
        if left.is_empty() { Ok(count) } else { Err(EffectError::PinsLeft { left: left.len() }) }
    }

    fn nri(&self) -> Result<Nri> {
        let socket = self.0.metadata(node::NRI_SOCKET)?.is_some();
        let listed = self.0.list_at_most(PRELAUNCHED, PRELAUNCHED_FILES)?.unwrap_or_default();
        let files = listed.into_iter().filter(|entry| !entry.is_directory);
        Ok(Nri { socket, prelaunched: files.map(|entry| entry.name.to_string_lossy().into_owned()).collect() })
    }

    fn registration(&self) -> Result<Option<Registration>> {
        let text = self.small_file(node::PLUGIN_PID_FILE, PID_FILE_BYTES)?;
        let pid = text.and_then(|text| text.parse().ok());
        Ok(pid.map(|pid| Registration { pid, at: self.modified(node::PLUGIN_PID_FILE) }))
    }
}

/// What the runtime has written down of a container; `None` when it is gone.
async fn record(client: &RuntimeClient, id: &str) -> Result<Option<ContainerRecord>> {
    match client.record(id, CALL).await {
        Err(cri_client::CriError::Call { code: cri_client::Code::NotFound, .. }) => Ok(None),
        other => Ok(Some(other?)),
    }
}

async fn update(client: &RuntimeClient, update: Update) -> Result<()> {
    let Update { id, cpus, mems, shares } = update;
    match client.update(&id, ResourceUpdate { cpu_shares: shares, cpus, mems }, CALL).await {
        // It has ended meanwhile.
        Err(cri_client::CriError::Call { code: cri_client::Code::NotFound, .. }) => Ok(()),
        other => Ok(other?),
    }
}

impl Plugins for RealNode {
    async fn runtime(&mut self) -> Option<RuntimeVersion> {
        let client = OnHost(&self.root).containerd().await.ok()?;
        let version = client.version(CALL).await.ok()?;
        Some(RuntimeVersion { name: version.name, version: version.version })
    }

    fn nri(&mut self) -> Result<Nri> {
        OnHost(&self.root).nri()
    }

    fn registration(&mut self) -> Result<Option<Registration>> {
        OnHost(&self.root).registration()
    }

    async fn misses(&mut self, registered_at: u64) -> Result<Misses> {
        OnHost(&self.root).misses(registered_at).await
    }

    async fn reset_pins(&mut self) -> Result<usize> {
        OnHost(&self.root).reset_pins().await
    }

    async fn try_out(&mut self, program: &str, document: &str) -> Result<()> {
        self.root.remove_file(node::TRIAL_OUTPUT, None)?;
        let directory = format!("{}-trial", node::PLUGIN_NAME);
        let words = [
            program,
            "--config-file",
            "${CREDENTIALS_DIRECTORY}/policy.yaml",
            "--nri-socket",
            &format!("/run/{directory}/nri.sock"),
            "--state-dir",
            &format!("/run/{directory}"),
        ];
        let trial = Trial {
            unit: node::TRIAL_UNIT.to_owned(),
            description: "Try out a policy of nri-plugins".to_owned(),
            command: words.map(str::to_owned).to_vec(),
            texts: vec![("policy.yaml".to_owned(), document.as_bytes().to_vec())],
            directory,
            output: node::TRIAL_OUTPUT.to_owned(),
            limit: TRIAL,
            memory: TRIAL_MEMORY,
        };
        let ended = self.bus.try_out(&trial).await?;
        let output = self.root.read_optional(node::TRIAL_OUTPUT, OUTPUT_BYTES)?.unwrap_or_default();
        self.root.remove_file(node::TRIAL_OUTPUT, None)?;
        trial::verdict(&ended, &String::from_utf8_lossy(&output))
            .map_err(|reason| ProofFailure::PolicyRefused { reason }.into())
    }
}

#[cfg(test)]
mod tests;
