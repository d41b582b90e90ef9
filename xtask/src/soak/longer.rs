//! Tests that have a short cut among those of every change, or none, run at their full length.

use std::path::Path;

use anyhow::ensure;
use testbed::Generation;

use super::SoakArgs;
use crate::test::{self, Tally};

/// About ten minutes on two cores.
const HISTORIES: &str = "20000";
const SHOOTS: &str = "100";
const KILLS: &str = "50";
/// Seconds. Longer than a Node may be silent (40 s) and than any lease lasts.
const AWAY: &str = "150";

/// The property test of `gardener_extension::lifecycle`.
pub(super) fn histories(root: &Path, _: &SoakArgs) -> anyhow::Result<String> {
    let mut tally = Tally::default();
    let more = [("PROPTEST_CASES", HISTORIES.to_owned())];
    test::run_tests(root, ("gardener-extension", None), &["lifecycle"], &more, &mut tally)?;
    all_passed(&tally)?;
    Ok(format!("{HISTORIES} histories"))
}

/// Needs what `cargo xtask test --real` needs.
pub(super) fn faults(root: &Path, _: &SoakArgs) -> anyhow::Result<String> {
    crate::bed::ensure_machine()?;
    let mut tally = Tally::default();
    let more = [("FAULT_SHOOTS", SHOOTS.to_owned()), ("FAULT_KILLS", KILLS.to_owned())];
    test::on_real_components(root, &["faults::"], &more, &mut tally)?;
    all_passed(&tally)?;
    Ok(format!("{SHOOTS} shoots, {KILLS} leaders killed"))
}

/// Needs what `cargo xtask test --real` needs.
pub(super) fn migration(root: &Path, _: &SoakArgs) -> anyhow::Result<String> {
    crate::bed::ensure_machine()?;
    let mut tally = Tally::default();
    test::on_real_components(root, &["control_plane_migration"], &[("MIGRATION_AWAY", AWAY.to_owned())], &mut tally)?;
    all_passed(&tally)?;
    Ok(format!("the shoot's API was away for {AWAY} s"))
}

/// Needs what `cargo xtask test --real` needs.
pub(super) fn slow_daemon(root: &Path, _: &SoakArgs) -> anyhow::Result<String> {
    crate::bed::ensure_machine()?;
    let mut tally = Tally::default();
    test::on_real_components(root, &["node::node"], &[("NODE_CASES", "node_37".to_owned())], &mut tally)?;
    all_passed(&tally)?;
    Ok("a daemon that dies every 15 s is given up in time".to_owned())
}

/// All cases of a node, on workers of the old generation: `cargo xtask test --real` has them on the new one. Needs what that needs; its first run builds
/// Kubernetes 1.34, ten minutes on two cores.
pub(super) fn old_generation(root: &Path, _: &SoakArgs) -> anyhow::Result<String> {
    crate::bed::ensure_machine()?;
    let mut tally = Tally::default();
    let more = [(Generation::VARIABLE, Generation::Old.to_string())];
    test::on_real_components(root, &["node::node"], &more, &mut tally)?;
    all_passed(&tally)?;
    Ok("all cases of a node hold with the oldest kubelet and containerd".to_owned())
}

/// Those cases of a node that CI leaves out, and what belongs to them.
pub(super) fn updates_in_place(root: &Path, _: &SoakArgs) -> anyhow::Result<String> {
    crate::bed::ensure_machine()?;
    let mut tally = Tally::default();
    let more = [
        ("NODE_CASES", "node_38,node_39,node_40,node_41".to_owned()),
        (Generation::VARIABLE, Generation::New.to_string()),
    ];
    test::on_real_components(root, &["node::node"], &more, &mut tally)?;
    all_passed(&tally)?;
    Ok("updates in place, and each start of kubelet has its reason".to_owned())
}

/// Things that pods ask for, through the proxy and on containerd. Needs what [`updates_in_place`] needs.
pub(super) fn newest_kubelet(root: &Path, _: &SoakArgs) -> anyhow::Result<String> {
    crate::bed::ensure_machine()?;
    let mut tally = Tally::default();
    for generation in [Generation::Old, Generation::New] {
        let more = [(Generation::VARIABLE, generation.to_string())];
        test::on_real_components(root, &["--ignored", "newest_kubelet::"], &more, &mut tally)?;
    }
    all_passed(&tally)?;
    Ok("pods have what the table says, of both generations".to_owned())
}

pub(super) fn all_passed(tally: &Tally) -> anyhow::Result<()> {
    ensure!(tally.failed == 0 && tally.passed > 0, "{} passed, {} failed", tally.passed, tally.failed);
    Ok(())
}
