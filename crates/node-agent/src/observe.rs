//! Looking at the whole node.

use std::collections::BTreeMap;
use std::time::Duration;

use extension_config::names::node;
use node_plan::pins::Misses;
use node_plan::{Nri, Observed, Plugin, Slot, Space, watched_paths};
use observability::ErrorChain;

use crate::effects::{Clock, Files, Plugins, Probe, Result, Socket, Units};
use crate::kubelet;

/// Looks at everything that the planner wants to know.
pub(crate) async fn observe(effects: &mut (impl Files + Units + Probe + Plugins + Clock)) -> Result<Observed> {
    let kubelet = kubelet::observe(effects).await?;
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
        kubelet,
        daemon,
        guard: effects.unit(node::GUARD_UNIT).await?.unit,
        timer: effects.unit(node::GUARD_TIMER).await?.unit,
        proxy_answers,
        containerd_answers: effects.answers(Socket::Containerd).await.is_ok(),
        runtime: effects.runtime().await,
        nri: effects.nri().unwrap_or_else(|error| {
            // Where the proxy runs this does not matter; a plugin is refused without a socket.
            tracing::warn!(error = %ErrorChain(&error), "failed to look at containerd's plugins");
            Nri::default()
        }),
        plugin: plugin(effects).await?,
        space: Space {
            opt: effects.free_space("/opt")?,
            etc: effects.free_space("/etc")?,
            var_lib: effects.free_space("/var/lib")?,
            run: effects.free_space("/run")?,
        },
        systemd: effects.version().await?,
        architecture: std::env::consts::ARCH.to_owned(),
        cpus: effects.cpus(),
        slot: Slot::NotAsked,
    })
}

/// Between two checks of containers.
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);

async fn plugin(effects: &mut (impl Units + Plugins + Clock)) -> Result<Plugin> {
    let unit = effects.unit(node::PLUGIN_UNIT).await?.unit;
    let registration = if unit.main_pid == 0 { None } else { effects.registration()? };
    let own = registration.filter(|registration| registration.pid == unit.main_pid);
    let misses = match own {
        // A check that fails says nothing of the policy.
        Some(registration) => steady_misses(effects, registration.at)
            .await
            .map_err(|error| tracing::warn!(error = %ErrorChain(&error), "failed to compare containers with the policy's books"))
            .ok(),
        None => None,
    };
    Ok(Plugin { unit, registered: own.is_some(), misses })
}

/// Containers that two checks have found elsewhere than their policy has them: between the parts of one check containers come and go.
pub(crate) async fn steady_misses(effects: &mut (impl Plugins + Clock), registered_at: u64) -> Result<Misses> {
    let first = effects.misses(registered_at).await?;
    if first.is_none() {
        return Ok(first);
    }
    effects.pause(BETWEEN_LOOKS).await?;
    Ok(effects.misses(registered_at).await?.still(&first))
}
