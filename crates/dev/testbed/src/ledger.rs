//! What a bed has started, mounted and made, written down before it is done, so that any later process can take it away:
//! after Ctrl-C, after a crash, or with `cargo xtask testbed down`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::{cache_dir, claims, command};

/// One thing to take away again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Entry {
    /// A process, distinguished from a later one of the same number by its start time.
    Process { pid: i32, start: u64, name: String },
    /// A mount point.
    Mount { path: PathBuf },
    /// A network namespace.
    Netns { name: String },
    /// Files of /etc for a network namespace.
    NetnsFiles { name: String },
    /// A control group, in every hierarchy.
    Cgroup { name: String },
    /// A network link in the machine's own namespace.
    Link { name: String },
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Record {
    index: u8,
    entries: Vec<Entry>,
}

/// The written ledger of one bed.
#[derive(Debug)]
pub(crate) struct Ledger {
    path: PathBuf,
    record: Mutex<Record>,
}

/// A bed that the ledger folder knows.
#[derive(Debug, Clone)]
pub struct BedSummary {
    /// Its name.
    pub name: String,
    /// Its folder, with kubeconfigs and logs.
    pub dir: PathBuf,
    /// Names of the processes that are alive.
    pub alive: Vec<String>,
    /// Names of those that are not.
    pub dead: Vec<String>,
}

fn beds_dir() -> anyhow::Result<PathBuf> {
    Ok(cache_dir()?.join("beds"))
}

/// Where a bed of this name is, or would be.
pub(crate) fn bed_dir(name: &str) -> anyhow::Result<PathBuf> {
    claims::folder(name).map_or_else(|| Ok(beds_dir()?.join(name)), Ok)
}

impl Ledger {
    /// Starts the ledger of a new bed and claims a number for its network.
    pub(crate) fn create(name: &str) -> anyhow::Result<(Self, u8)> {
        let dir = beds_dir()?.join(name);
        std::fs::create_dir_all(&dir)?;
        let index = claims::claim(&dir)?;
        let ledger = Self { path: dir.join("ledger.json"), record: Mutex::new(Record { index, entries: Vec::new() }) };
        ledger.write()?;
        Ok((ledger, index))
    }

    pub(crate) fn add(&self, entry: Entry) -> anyhow::Result<()> {
        self.lock().entries.push(entry);
        self.write()
    }

    /// A process that ended on purpose.
    pub(crate) fn forget_process(&self, pid: i32) -> anyhow::Result<()> {
        self.lock().entries.retain(|entry| !matches!(entry, Entry::Process { pid: other, .. } if *other == pid));
        self.write()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn write(&self) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(&*self.lock())?;
        let unfinished = self.path.with_extension("tmp");
        std::fs::write(&unfinished, text)?;
        std::fs::rename(unfinished, &self.path).context("cannot write the bed's ledger")
    }
}

fn read(dir: &Path) -> anyhow::Result<Record> {
    let path = dir.join("ledger.json");
    let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is no ledger", path.display()))
}

/// The beds that exist, those of other caches that are up too.
///
/// # Errors
/// When no place for a cache is known.
pub fn list() -> anyhow::Result<Vec<BedSummary>> {
    let children = std::fs::read_dir(beds_dir()?).into_iter().flatten().flatten().map(|child| child.path());
    let all: BTreeSet<PathBuf> = children.chain(claims::folders()).collect();
    let mut beds = Vec::new();
    for child in all {
        let Ok(record) = read(&child) else { continue };
        let (mut alive, mut dead) = (Vec::new(), Vec::new());
        for entry in &record.entries {
            if let Entry::Process { pid, start, name } = entry {
                if is_alive(*pid, *start) { &mut alive } else { &mut dead }.push(name.clone());
            }
        }
        let name = child.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        beds.push(BedSummary { name, dir: child, alive, dead });
    }
    Ok(beds)
}

/// Takes away all that the bed's ledger names, in reverse order, and its folder. A bed that does not exist is down.
///
/// # Errors
/// When something cannot be taken away; the rest is tried all the same.
pub async fn down(name: &str) -> anyhow::Result<()> {
    let dir = bed_dir(name)?;
    if !dir.exists() {
        return Ok(());
    }
    let record = read(&dir).unwrap_or_default();
    let mut faults = Vec::new();
    // Machines and servers first and all at once: each may take a moment to end.
    let processes: Vec<(i32, u64)> = record
        .entries
        .iter()
        .filter_map(|entry| if let Entry::Process { pid, start, .. } = entry { Some((*pid, *start)) } else { None })
        .collect();
    stop_processes(&processes).await;
    for entry in record.entries.iter().rev() {
        if let Err(error) = take_away(entry).await {
            faults.push(format!("{error:#}"));
        }
    }
    if record.index != 0 {
        claims::release(record.index);
    }
    anyhow::ensure!(faults.is_empty(), "bed {name} is not wholly down: {}", faults.join("; "));
    std::fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))
}

async fn take_away(entry: &Entry) -> anyhow::Result<()> {
    match entry {
        Entry::Process { pid, start, name } => {
            anyhow::ensure!(!is_alive(*pid, *start), "{name} (pid {pid}) does not end");
            Ok(())
        }
        Entry::Mount { path } => {
            if is_mounted(path)? {
                nix::mount::umount2(path, nix::mount::MntFlags::MNT_DETACH)
                    .with_context(|| format!("cannot unmount {}", path.display()))?;
            }
            Ok(())
        }
        Entry::Netns { name } => {
            if Path::new("/run/netns").join(name).exists() {
                command::run("ip", &["netns", "del", name]).await?;
            }
            Ok(())
        }
        Entry::NetnsFiles { name } => match std::fs::remove_dir_all(netns_files(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove the files of {name}"))
            }
            _ => Ok(()),
        },
        Entry::Link { name } => {
            if Path::new("/sys/class/net").join(name).exists() {
                command::run("ip", &["link", "del", name]).await?;
            }
            Ok(())
        }
        Entry::Cgroup { name } => {
            for hierarchy in cgroup_mounts()? {
                remove_cgroup(&hierarchy.join(name)).await?;
            }
            Ok(())
        }
    }
}

fn is_mounted(path: &Path) -> anyhow::Result<bool> {
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    Ok(mounts.lines().any(|line| line.split(' ').nth(1).is_some_and(|dir| Path::new(dir) == path)))
}

fn cgroup_mounts() -> anyhow::Result<Vec<PathBuf>> {
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    Ok(mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            let (dir, kind) = (words.next()?, words.next()?);
            matches!(kind, "cgroup" | "cgroup2").then(|| PathBuf::from(dir))
        })
        .collect())
}

/// Kills what still runs in the group and its children, then removes the groups from the leaves up.
async fn remove_cgroup(dir: &Path) -> anyhow::Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    let mut dirs = vec![dir.to_owned()];
    let mut next = 0;
    while next < dirs.len() {
        let children = std::fs::read_dir(&dirs[next]).map(|entries| {
            entries
                .flatten()
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|entry| entry.path())
                .collect()
        });
        dirs.extend(children.unwrap_or_else(|_| Vec::new()));
        next += 1;
    }
    crate::wait_for("control groups to empty", Duration::from_secs(20), || async {
        for dir in dirs.iter().rev() {
            let procs = std::fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            for pid in procs.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid != 0) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            let _ = std::fs::remove_dir(dir);
        }
        Ok((!dir.exists()).then_some(()))
    })
    .await
}

/// SIGTERM to all, SIGKILL to those that have not ended in time.
pub(crate) async fn stop_processes(processes: &[(i32, u64)]) {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let alive: Vec<_> = processes.iter().filter(|(pid, start)| is_alive(*pid, *start)).collect();
        for (pid, _) in &alive {
            let _ = kill(Pid::from_raw(*pid), signal);
        }
        let limit = Instant::now() + Duration::from_secs(8);
        while Instant::now() < limit && processes.iter().any(|(pid, start)| is_alive(*pid, *start)) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Start time of a process in clock ticks since boot: proc(5), field 22 of `/proc/PID/stat`.
pub(crate) fn start_time(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(") ")?;
    let mut fields = after_name.split(' ');
    // A zombie has ended; its parent has just not looked yet.
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

pub(crate) fn is_alive(pid: i32, start: u64) -> bool {
    start_time(pid) == Some(start)
}

/// Where ip(8) takes files of /etc for a namespace from.
pub(crate) fn netns_files(netns: &str) -> PathBuf {
    Path::new("/etc/netns").join(netns)
}
