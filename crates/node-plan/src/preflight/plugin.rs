//! Reasons not to run a policy of nri-plugins on a node.

use containerd_config::{ContainerdVersion, OLDEST, prelaunched};
use extension_config::names::node;

use crate::footprint::Footprint;
use crate::observed::{Kubelet, Observed};
use crate::refusal::Refusal;

/// The first systemd that hands credentials to units (`LoadCredential=`, [`crate::texts::plugin_unit`]).
pub(super) const OLDEST_SYSTEMD: u32 = 247;
/// In the names of the policies of nri-plugins, all of which set the CPUs of containers.
const POLICY: &str = "resource-policy";

/// A setting of kubelet by which it sets CPUs and memory nodes of containers itself: two that do so are in each other's way.
pub(super) fn kubelet(observed: &Kubelet, refusals: &mut Vec<Refusal>) {
    match &observed.settings {
        Ok(settings) => {
            for (name, setting, works) in [
                ("cpuManagerPolicy", &settings.cpu_manager, "none"),
                ("memoryManagerPolicy", &settings.memory_manager, "None"),
            ] {
                let setting = setting.as_ref().filter(|setting| setting.value != works).cloned();
                refusals.extend(setting.map(|setting| Refusal::KubeletPins { name, setting, works }));
            }
        }
        Err(reason) => refusals.push(Refusal::KubeletConfiguration(reason.clone())),
    }
}

/// Whether the running containerd lets a policy in. What a silent one would say is awaited elsewhere.
pub(super) fn containerd(observed: &Observed, refusals: &mut Vec<Refusal>) {
    let Some(runtime) = &observed.runtime else { return };
    let version = runtime.version.parse::<ContainerdVersion>().ok().filter(|_| runtime.name == "containerd");
    match version {
        None => refusals.push(Refusal::NotContainerd { name: runtime.name.clone(), version: runtime.version.clone() }),
        Some(version) if version < OLDEST => {
            refusals.push(Refusal::OldContainerd { version: runtime.version.clone(), oldest: OLDEST.to_string() });
        }
        Some(_) if !observed.nri.socket => refusals.push(Refusal::NriOff { version: runtime.version.clone() }),
        Some(_) => {}
    }
}

/// Policies of others, as far as they can be seen.
pub(super) fn others(observed: &Observed, footprint: &Footprint, refusals: &mut Vec<Refusal>) {
    let plugins = prelaunched(&observed.nri.prelaunched).plugins;
    for plugin in plugins.into_iter().filter(|plugin| plugin.name.contains(POLICY)) {
        refusals.push(Refusal::OtherPolicy { trace: format!("/opt/nri/plugins/{}-{}", plugin.index, plugin.name) });
    }
    // Its own state, where we never were: of upstream's DaemonSet, for one, which keeps its socket there.
    let state = footprint.own_trees.iter().find(|(path, _)| *path == node::PLUGIN_STATE_DIR);
    let is_foreign = state.is_some_and(|place| footprint.is_foreign_state(observed, *place));
    for (is_there, trace) in [
        (is_foreign, node::PLUGIN_STATE_DIR),
        (!observed.entry(footprint.predecessor).is_absent(), footprint.predecessor),
    ] {
        if is_there {
            refusals.push(Refusal::OtherPolicy { trace: trace.to_owned() });
        }
    }
}
