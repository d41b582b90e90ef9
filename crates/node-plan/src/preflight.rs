//! Reasons not to touch a node.

mod plugin;

use crate::backend::BackendSpec;
use crate::desired::Installation;
use crate::entry::Entry;
use crate::footprint::Service;
use crate::journal::{Phase, Proven};
use crate::kind::Backend;
use crate::kubelet::check_kubelet;
use crate::observed::{Kubelet, Observed};
use crate::refusal::Refusal;
use crate::static_config::StaticConfig;
use extension_config::cri_resmgr;

/// The first with all that the units and their handling rely on: `/etc/systemd/system.control` among the unit paths, `InvocationID`,
/// `GetUnitProcesses`, start limits in `[Unit]`. No image that Gardener still supports has an older one.
const OLDEST_SYSTEMD: u32 = 239;
/// systemd refuses to reload with less in `/run`.
const RUN_RESERVE: u64 = 16 << 20;
/// Room for texts, their temporary copies and a little growth of the journal.
const TEXT_RESERVE: u64 = 1 << 20;

/// All reasons that forbid this installation on this node.
#[must_use]
pub fn refusals(observed: &Observed, installation: &Installation) -> Vec<Refusal> {
    let backend = installation.backend.backend();
    let observed = &observed.of(backend);
    let mut all = Vec::new();
    match backend {
        Backend::Proxy => {
            all.extend(kubelet_refusals(&observed.kubelet));
            systemd(observed, OLDEST_SYSTEMD, &mut all);
        }
        Backend::Plugin => {
            plugin::kubelet(&observed.kubelet, &mut all);
            systemd(observed, plugin::OLDEST_SYSTEMD, &mut all);
            plugin::containerd(observed, &mut all);
            plugin::others(observed, backend.footprint(), &mut all);
        }
    }
    payload(observed, installation, &mut all);
    foreign(observed, installation, &mut all);
    all.extend(absent_cpus(observed, installation).new.into_iter().map(Refusal::AbsentCpus));
    if observed.journal.as_ref().is_none_or(|journal| journal.applied.is_none()) {
        space(observed, installation, &mut all);
    }
    all
}

/// CPUs that the static configuration names and the node does not have: the daemon starts with them, but no container does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AbsentCpus {
    /// A reason not to install.
    pub new: Vec<String>,
    /// What was proven to run here named them, too (a machine may lose CPUs, and earlier versions did not look): it goes on.
    pub in_effect: Vec<String>,
}

/// The CPUs that the static configuration names and the node does not have.
#[must_use]
pub fn absent_cpus(observed: &Observed, installation: &Installation) -> AbsentCpus {
    let Some(cpus) = &observed.cpus else { return AbsentCpus::default() };
    let absent = |config: &StaticConfig| -> Vec<String> {
        let checked = config.text().and_then(|text| cri_resmgr::check(text).ok());
        let named = checked.map(|checked| checked.named_cpus()).unwrap_or_default();
        named.iter().filter_map(|named| named.absent(cpus)).collect()
    };
    let wanted = match &installation.backend {
        BackendSpec::Proxy(proxy) => absent(&proxy.config),
        // Its trial on the node says so.
        BackendSpec::Plugin(_) => return AbsentCpus::default(),
    };
    let journal = observed.journal.as_ref().filter(|_| !wanted.is_empty());
    let (in_effect, new) = match journal.map(|journal| (&journal.proven, journal.phase)) {
        Some((Some(Proven::Proxy(proven)), _)) => {
            let before = absent(&proven.config);
            wanted.into_iter().partition(|reason| before.contains(reason))
        }
        // Written before the journal remembered what was proven.
        Some((None | Some(Proven::Plugin(_)), Phase::Installed)) => (wanted, Vec::new()),
        _ => (Vec::new(), wanted),
    };
    AbsentCpus { new, in_effect }
}

/// Those that lie in how kubelet is started and configured.
#[must_use]
pub fn kubelet_refusals(observed: &Kubelet) -> Vec<Refusal> {
    let mut all = Vec::new();
    match observed.unit.load_state.as_str() {
        "loaded" => all.extend(check_kubelet(observed).err().map(Refusal::KubeletShape)),
        // Our own override may be what makes it so (somebody edited it); healing it is the way out.
        "bad-setting" | "error" => {}
        other => all.push(Refusal::KubeletNotLoaded { load_state: other.to_owned() }),
    }
    match &observed.settings {
        Ok(settings) => {
            for (name, setting, works) in [
                ("cpuManagerPolicy", &settings.cpu_manager, "none"),
                ("memoryManagerPolicy", &settings.memory_manager, "None"),
            ] {
                let setting = setting.as_ref().filter(|setting| setting.value != works).cloned();
                all.extend(setting.map(|setting| Refusal::KubeletManager { name, setting, works }));
            }
        }
        Err(reason) => all.push(Refusal::KubeletConfiguration(reason.clone())),
    }
    all
}

/// A version that is no number is a build of somebody's own, who knows what it can do.
fn systemd(observed: &Observed, oldest: u32, refusals: &mut Vec<Refusal>) {
    let digits = observed.systemd.trim_start_matches(|letter: char| !letter.is_ascii_digit());
    let end = digits.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(digits.len());
    if digits[..end].parse::<u32>().is_ok_and(|version| version < oldest) {
        refusals.push(Refusal::Systemd { version: observed.systemd.clone(), oldest });
    }
}

fn payload(observed: &Observed, installation: &Installation, refusals: &mut Vec<Refusal>) {
    let program = match installation.backend.backend() {
        Backend::Proxy => "cri-resmgr",
        Backend::Plugin => "nri-resource-policy",
    };
    for (program, blob) in [(program, installation.backend.binary()), ("runtime-gate", &installation.gate)] {
        if blob.architecture != observed.architecture {
            refusals.push(Refusal::Architecture {
                program,
                node: observed.architecture.clone(),
                image: blob.architecture.clone(),
            });
        }
    }
}

fn foreign(observed: &Observed, installation: &Installation, refusals: &mut Vec<Refusal>) {
    let backend = installation.backend.backend();
    let footprint = backend.footprint();
    if backend == Backend::Proxy && !observed.entry(footprint.predecessor).is_absent() {
        refusals.push(Refusal::Predecessor { path: footprint.predecessor });
    }
    let masked = |state: &str, file: &str| observed.entry(file).is_mask() || state == "masked";
    let Service { unit, file, .. } = footprint.service;
    let guard = footprint.guard.iter().flat_map(|guard| {
        [
            (guard.unit, &observed.guard.load_state, guard.unit_file),
            (guard.timer, &observed.timer.load_state, guard.timer_file),
        ]
    });
    for (unit, state, file) in std::iter::once((unit, &observed.daemon.load_state, file)).chain(guard) {
        if masked(state, file) && !footprint.is_ours(observed, file) {
            refusals.push(Refusal::Masked { unit });
        }
    }
    for &place in footprint.own_trees {
        let (path, aside) = place;
        if footprint.is_foreign_state(observed, place) && !observed.entry(aside).is_absent() {
            refusals.push(Refusal::AsideIsTaken { path, aside });
        }
    }
    for file in installation.files() {
        let entry = observed.entry(file.path);
        let same = matches!(entry, Entry::File { sha256, .. } if *sha256 == file.sha256);
        if !entry.is_absent() && !entry.is_mask() && !same && !footprint.is_ours(observed, file.path) {
            refusals.push(Refusal::Foreign { path: file.path });
        }
    }
}

fn space(observed: &Observed, installation: &Installation, refusals: &mut Vec<Refusal>) {
    // What is tried out is put beside what runs.
    let copies = match installation.backend.backend() {
        Backend::Proxy => 1,
        Backend::Plugin => 2,
    };
    let binaries = copies * installation.backend.binary().size + installation.gate.size + TEXT_RESERVE;
    for (path, free, needed) in [
        ("/opt", observed.space.opt, binaries),
        ("/etc", observed.space.etc, TEXT_RESERVE),
        ("/var/lib", observed.space.var_lib, TEXT_RESERVE),
        ("/run", observed.space.run, RUN_RESERVE),
    ] {
        if free < needed {
            refusals.push(Refusal::Space { path, free, needed });
        }
    }
}
