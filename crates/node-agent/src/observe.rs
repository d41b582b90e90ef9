//! Looking at the whole node.

use std::collections::BTreeMap;

use extension_config::names::node;
use node_plan::{Observed, Slot, Space, watched_paths};

use crate::effects::{Clock, Files, Probe, Result, Socket, Units};
use crate::kubelet;

/// Looks at everything that the planner wants to know.
pub(crate) async fn observe(effects: &mut (impl Files + Units + Probe + Clock)) -> Result<Observed> {
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
