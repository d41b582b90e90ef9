//! Reasons not to touch a node.

use extension_config::cri_resmgr;
use extension_config::names::node;
use kubelet_config::Setting;

use crate::backend::BackendSpec;
use crate::backend::proxy::StaticConfig;
use crate::desired::Installation;
use crate::entry::Entry;
use crate::journal::Phase;
use crate::kubelet::check_kubelet;
use crate::observed::{Kubelet, Observed};

/// The first with all that the units and their handling rely on: `/etc/systemd/system.control` among the unit paths, `InvocationID`,
/// `GetUnitProcesses`, start limits in `[Unit]`. The bed has 252; nothing older than this one is in any image that Gardener still supports.
const OLDEST_SYSTEMD: u32 = 239;
/// systemd refuses to reload with less in `/run`.
const RUN_RESERVE: u64 = 16 << 20;
/// Room for texts, their temporary copies and a little growth of the journal.
const TEXT_RESERVE: u64 = 1 << 20;

/// What a refusal means for a node that is installed already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consequence {
    /// Leave everything as it is.
    Hold,
    /// The proxy must not be used here: make the node clean.
    Leave,
}

/// A reason not to install.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What it means for an installed node.
    pub consequence: Consequence,
    /// What is wrong, and how to mend it where that is known.
    pub reason: String,
}

/// All reasons that forbid this installation on this node.
#[must_use]
pub fn refusals(observed: &Observed, installation: &Installation) -> Vec<Refusal> {
    let mut all = Vec::new();
    let mut refuse = |consequence, reason: String| all.push(Refusal { consequence, reason });
    kubelet(&observed.kubelet, &mut refuse);
    systemd(observed, &mut refuse);
    payload(observed, installation, &mut refuse);
    foreign(observed, installation, &mut refuse);
    for reason in absent_cpus(observed, installation).new {
        refuse(Consequence::Hold, reason);
    }
    if observed.journal.as_ref().is_none_or(|journal| journal.applied.is_none()) {
        space(observed, installation, &mut refuse);
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
    let BackendSpec::Proxy(proxy) = &installation.backend;
    let wanted = absent(&proxy.config);
    let journal = observed.journal.as_ref().filter(|_| !wanted.is_empty());
    let (in_effect, new) = match journal.map(|journal| (&journal.proven, journal.phase)) {
        Some((Some(proven), _)) => {
            let before = absent(&proven.config);
            wanted.into_iter().partition(|reason| before.contains(reason))
        }
        // Written before the journal remembered what was proven.
        Some((None, Phase::Installed)) => (wanted, Vec::new()),
        _ => (Vec::new(), wanted),
    };
    AbsentCpus { new, in_effect }
}

/// Those that lie in how kubelet is started and configured.
#[must_use]
pub fn kubelet_refusals(observed: &Kubelet) -> Vec<Refusal> {
    let mut all = Vec::new();
    kubelet(observed, &mut |consequence, reason| all.push(Refusal { consequence, reason }));
    all
}

fn kubelet(observed: &Kubelet, refuse: &mut impl FnMut(Consequence, String)) {
    let unit = &observed.unit;
    match unit.load_state.as_str() {
        "loaded" => {
            if let Err(error) = check_kubelet(observed) {
                refuse(Consequence::Leave, error.to_string());
            }
        }
        // Our own override may be what makes it so (somebody edited it); healing it is the way out.
        "bad-setting" | "error" => {}
        other => refuse(Consequence::Hold, format!("kubelet.service is {other:?} in systemd, not loaded")),
    }
    match &observed.settings {
        Ok(settings) => {
            for (what, setting, works) in [
                ("cpuManagerPolicy", &settings.cpu_manager, "none"),
                ("memoryManagerPolicy", &settings.memory_manager, "None"),
            ] {
                if let Some(Setting { value, origin }) = setting.as_ref().filter(|setting| setting.value != works) {
                    refuse(
                        Consequence::Leave,
                        format!(
                            "{what} of kubelet is {value:?} ({origin}): cri-resmgr swallows kubelet's updates, only {works:?} works with it"
                        ),
                    );
                }
            }
        }
        Err(reason) => refuse(Consequence::Hold, format!("the configuration of kubelet cannot be read: {reason}")),
    }
}

/// A version that is no number is a build of somebody's own, who knows what it can do.
fn systemd(observed: &Observed, refuse: &mut impl FnMut(Consequence, String)) {
    let digits = observed.systemd.trim_start_matches(|letter: char| !letter.is_ascii_digit());
    let end = digits.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(digits.len());
    if digits[..end].parse::<u32>().is_ok_and(|version| version < OLDEST_SYSTEMD) {
        refuse(
            Consequence::Hold,
            format!("systemd is of version {}, at least {OLDEST_SYSTEMD} is needed", observed.systemd),
        );
    }
}

fn payload(observed: &Observed, installation: &Installation, refuse: &mut impl FnMut(Consequence, String)) {
    for (what, blob) in [("cri-resmgr", installation.backend.binary()), ("runtime-gate", &installation.gate)] {
        if blob.architecture != observed.architecture {
            refuse(
                Consequence::Hold,
                format!(
                    "no {what} for the architecture {}: the image carries {:?}",
                    observed.architecture, blob.architecture
                ),
            );
        }
    }
}

fn foreign(observed: &Observed, installation: &Installation, refuse: &mut impl FnMut(Consequence, String)) {
    let footprint = installation.backend.backend().footprint();
    let predecessor = footprint.predecessor;
    if !observed.entry(predecessor).is_absent() {
        refuse(
            Consequence::Leave,
            format!(
                "{predecessor} is a trace of the former extension's installation: remove what it installed, then this file"
            ),
        );
    }
    let masked = |unit: &str, file: &str| observed.entry(file).is_mask() || unit == "masked";
    for (name, state, file) in [
        (node::DAEMON_UNIT, &observed.daemon.load_state, node::DAEMON_UNIT_FILE),
        (node::GUARD_UNIT, &observed.guard.load_state, node::GUARD_UNIT_FILE),
        (node::GUARD_TIMER, &observed.timer.load_state, node::GUARD_TIMER_FILE),
    ] {
        if masked(state, file) && !footprint.is_ours(observed, file) {
            refuse(
                Consequence::Leave,
                format!("{name} is masked: unmask it (systemctl unmask {name}) to let cri-resmgr run here"),
            );
        }
    }
    for &place in footprint.own_trees {
        let (path, aside) = place;
        if footprint.is_foreign_state(observed, place) && !observed.entry(aside).is_absent() {
            refuse(
                Consequence::Hold,
                format!("{path} would be moved aside to {aside}, which exists: move one of them elsewhere"),
            );
        }
    }
    for file in installation.files() {
        let entry = observed.entry(file.path);
        let same = matches!(entry, Entry::File { sha256, .. } if *sha256 == file.sha256);
        if !entry.is_absent() && !entry.is_mask() && !same && !footprint.is_ours(observed, file.path) {
            refuse(Consequence::Leave, format!("{} exists and is not ours: remove what put it there", file.path));
        }
    }
}

fn space(observed: &Observed, installation: &Installation, refuse: &mut impl FnMut(Consequence, String)) {
    let binaries = installation.backend.binary().size + installation.gate.size + TEXT_RESERVE;
    for (place, free, needed) in [
        ("/opt", observed.space.opt, binaries),
        ("/etc", observed.space.etc, TEXT_RESERVE),
        ("/var/lib", observed.space.var_lib, TEXT_RESERVE),
        ("/run", observed.space.run, RUN_RESERVE),
    ] {
        if free < needed {
            refuse(Consequence::Hold, format!("{place} has {free} bytes free, {needed} are needed"));
        }
    }
}
