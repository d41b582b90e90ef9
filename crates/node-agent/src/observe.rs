//! Looking at the whole node.

use std::collections::BTreeMap;

use extension_config::names::node;
use node_plan::{CpuManager, Kubelet, Observed, Slot, Space, cpu_manager_policy, effective_endpoint, watched_paths};

use crate::effects::{Effects, Result, Socket};

/// Looks at everything that the planner wants to know.
pub(crate) async fn observe(effects: &impl Effects) -> Result<Observed> {
    let kubelet = effects.unit(node::KUBELET_UNIT).await?;
    let endpoint = kubelet.command_line.as_deref().map(effective_endpoint);
    let cpu_manager = cpu_manager(effects, kubelet.exec_start.first().map_or(&[], Vec::as_slice));
    let mut entries = BTreeMap::new();
    for path in watched_paths() {
        entries.insert(path.to_owned(), effects.entry(path)?);
    }
    let daemon = effects.unit(node::DAEMON_UNIT).await?.unit;
    // Only a running daemon can answer; asking a dead socket is cheap, but its error says nothing.
    let proxy_answers = daemon.is_up() && effects.answers(Socket::Proxy).await.is_ok();
    Ok(Observed {
        now: effects.now(),
        entries,
        journal: effects.journal()?,
        kubelet: Kubelet { unit: kubelet.unit, exec_start: kubelet.exec_start, endpoint },
        daemon,
        guard: effects.unit(node::GUARD_UNIT).await?.unit,
        timer: effects.unit(node::GUARD_TIMER).await?.unit,
        proxy_answers,
        containerd_answers: effects.answers(Socket::Containerd).await.is_ok(),
        cpu_manager,
        space: Space {
            opt: effects.free_space("/opt")?,
            etc: effects.free_space("/etc")?,
            var_lib: effects.free_space("/var/lib")?,
            run: effects.free_space("/run")?,
        },
        systemd: effects.version().await?,
        architecture: std::env::consts::ARCH.to_owned(),
        slot: Slot::NotAsked,
    })
}

/// kubelet's CPU manager, from its flags (which win) and its configuration file.
fn cpu_manager(effects: &impl Effects, arguments: &[String]) -> CpuManager {
    if let Some(policy) = flag(arguments, "--cpu-manager-policy") {
        return CpuManager::Policy(policy.to_owned());
    }
    // Without the flag in the unit (kind) the configuration comes from a variable; where it then stands is a convention of kubeadm.
    let path = flag(arguments, "--config").unwrap_or("/var/lib/kubelet/config.yaml");
    match effects.read_text(path) {
        Ok(Some(text)) => CpuManager::Policy(cpu_manager_policy(&text)),
        Ok(None) if flag(arguments, "--config").is_none() => CpuManager::Policy("none".to_owned()),
        Ok(None) => CpuManager::Unreadable(format!("{path} is not there")),
        Err(error) => CpuManager::Unreadable(observability::ErrorChain(&error).to_string()),
    }
}

fn flag<'a>(arguments: &'a [String], name: &str) -> Option<&'a str> {
    let mut found = None;
    for (position, argument) in arguments.iter().enumerate() {
        match argument.strip_prefix(name) {
            Some("") => found = arguments.get(position + 1).map(String::as_str).or(found),
            Some(rest) => found = rest.strip_prefix('=').or(found),
            None => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::flag;

    #[test]
    fn the_last_flag_counts_in_both_forms() {
        let arguments = ["k", "--config=/a", "--config-dir=/x", "--config", "/b"].map(str::to_owned);
        assert_eq!(flag(&arguments, "--config"), Some("/b"));
        assert_eq!(flag(&arguments, "--config-dir"), Some("/x"));
        assert_eq!(flag(&arguments, "--v"), None);
    }
}
