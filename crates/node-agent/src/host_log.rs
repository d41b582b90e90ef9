//! `host-log`: what the host's journal has of us. Logs of programs on the host are in no log store of the cluster.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, bail};
use extension_config::names::node;
use host::HostRoot;
use systemd_client::{Ended, JournalLines, JournalQuery};

use crate::cli::HostLogOptions;
use crate::real::Bus;

/// Most that is printed, bytes: what `kubectl resmgr` takes of one answer is more.
const BYTES: u64 = 512 << 10;
/// Longest time for journalctl: journals of months are long.
const LIMIT: Duration = Duration::from_secs(20);
/// Units whose lines are ours.
const UNITS: [&str; 5] = [node::DAEMON_UNIT, node::PLUGIN_UNIT, node::GUARD_UNIT, node::GUARD_TIMER, node::TRIAL_UNIT];
/// The gate runs within kubelet's unit, whose other lines are not ours to hand out.
const GATE: &str = "runtime-gate";

/// Prints the last lines, the newest last.
pub(crate) async fn print(options: &HostLogOptions) -> anyhow::Result<()> {
    let root = HostRoot::open(&options.host_root).context("open the host root")?;
    let JournalLines { ended, text } = Bus::of(&root).journal(&query(options.lines)).await?;
    match ended {
        Ended::Exit(0) => {}
        // There was more than it may write.
        Ended::Otherwise(how) if how == "signal" && !text.is_empty() => {}
        Ended::Exit(code) => bail!("journalctl on the node ended with exit status {code}"),
        Ended::TimeOver => bail!("journalctl on the node did not end within {} s", LIMIT.as_secs()),
        Ended::Otherwise(how) => bail!("journalctl on the node ended by {how}"),
    }
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).context("write the lines")?;
    Ok(out.flush()?)
}

fn query(lines: u32) -> JournalQuery {
    // What its processes say, and what systemd, which alone is process 1, says of it.
    let of_unit = |unit: &&str| {
        [format!("_SYSTEMD_UNIT={unit}"), "+".to_owned(), "_PID=1".to_owned(), format!("UNIT={unit}"), "+".to_owned()]
    };
    let matches = UNITS.iter().flat_map(of_unit).chain([format!("_COMM={GATE}")]).collect();
    JournalQuery { unit: node::HOST_LOG_UNIT.to_owned(), matches, lines, bytes: BYTES, limit: LIMIT }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_of_our_units_and_of_the_gate_are_asked_for() {
        let matches = query(7).matches.join(" ");
        assert!(
            matches.starts_with(
                "_SYSTEMD_UNIT=cri-resource-manager.service + _PID=1 UNIT=cri-resource-manager.service + "
            )
        );
        assert!(matches.ends_with(" + _COMM=runtime-gate") && !matches.contains("kubelet"), "{matches}");
    }
}
