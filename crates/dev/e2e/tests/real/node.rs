//! The node agent on a real systemd with a real kubelet, containerd and cri-resmgr, case by case (the numbers are those of the
//! node's fact sheet, section 9). The agent is started by the cases themselves, as a plain program of the machine: no pod stands
//! between them and what they do to it.
//!
//! Four workers, each with its own cases one after the other; most of a case is waiting, so the four run side by side. Cases 12 and 13
//! are in `fail_open`. `NODE_CASES` names those that run, with commas between; they share a worker, for machines on which four are too many.

mod crash;
mod failure;
mod fixture;
mod in_place;
mod install;
mod kubelet;
mod placement;
mod refusal;

use std::time::{Duration, Instant};

use anyhow::Context as _;
use e2e::Artifacts;
use futures::future::{LocalBoxFuture, join_all};
use testbed::{Bed, Generation, Options, Progress};

use fixture::NodeFixture;

const BED: &str = "node";
const CASES: &str = "NODE_CASES";
/// Longest time for one case: a daemon that is given up for good.
const LIMIT: Duration = Duration::from_secs(1200);

type Case = for<'a, 'w> fn(&'a mut NodeFixture<'w>) -> LocalBoxFuture<'a, anyhow::Result<()>>;

macro_rules! cases {
    ($($module:ident::$name:ident),* $(,)?) => {
        &[$((stringify!($name), |fixture| Box::pin($module::$name(fixture)))),*]
    };
}

/// By worker.
const GROUPS: [&[(&str, Case)]; 4] = [
    cases![
        install::node_01_the_last_endpoint_is_the_proxys,
        install::node_04_a_new_agent_restarts_nothing,
        install::node_02_flags_after_the_variable,
        install::node_03_arguments_of_others_are_merged,
        install::node_05_rewritten_as_gardener_node_agent_does,
        install::node_06_rewritten_as_cloud_config_downloader_did,
        install::node_18_a_new_version_while_the_old_one_runs,
        install::node_22_systemd_reloads,
        install::node_24_an_invalid_override_is_repaired,
        install::node_25_removal_and_a_second_one,
        install::node_07_the_drop_in_of_the_operating_system_stays,
    ],
    cases![
        refusal::node_08_a_unit_without_the_variable,
        refusal::node_26_a_masked_unit,
        refusal::node_16_no_space,
        refusal::node_17_etc_is_read_only,
        refusal::node_27_a_linked_kubelet_service,
        refusal::node_19_and_20_stale_state_of_a_daemon,
        in_place::node_39_a_static_cpu_manager_comes_while_the_proxy_runs,
        in_place::node_40_the_operating_systems_etc_is_replaced,
    ],
    cases![
        failure::node_09_a_daemon_that_ends_at_once,
        failure::node_10_a_daemon_that_never_answers,
        failure::node_11_a_daemon_that_kubelet_cannot_use,
        failure::node_28_removal_while_the_proxy_is_dead,
        failure::node_31_a_new_version_that_fails,
        kubelet::node_34_a_static_cpu_manager_in_the_extra_arguments,
        kubelet::node_35_a_later_drop_in_takes_the_override_back,
        kubelet::node_36_a_stale_endpoint_in_the_extra_arguments,
    ],
    cases![
        crash::node_14_killed_at_any_time,
        crash::node_15_rebooted_at_any_time,
        crash::node_21_the_bus_restarts,
        crash::node_23_others_restart_kubelet_too,
        crash::node_29_two_agents_at_once,
        crash::node_30_containerd_restarts,
        placement::node_32_containers_run_where_the_policy_says,
        placement::node_33_the_daemon_writes_nowhere_else,
    ],
];

/// Those that are too long for every change, or ask for more than its bed has, and run by name alone: `cargo xtask soak --only slow-daemon`,
/// `--only updates-in-place`.
const LONG: &[(&str, Case)] = cases![
    failure::node_37_a_daemon_that_dies_four_times_a_minute,
    failure::node_41_each_start_of_kubelet_has_a_reason,
    in_place::node_38_kubelet_of_an_older_minor_is_replaced,
];

#[test]
fn node() {
    on_bed(BED, async || {
        let groups = match std::env::var(CASES) {
            Ok(names) => vec![chosen(&names)?],
            Err(_) => GROUPS.iter().map(|group| group.to_vec()).collect(),
        };
        run(BED, Generation::from_env()?, groups).await
    });
}

fn on_bed(bed: &str, body: impl AsyncFnOnce() -> anyhow::Result<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let outcome = runtime.block_on(async {
        let outcome = body().await;
        testbed::down(bed).await?;
        outcome
    });
    if let Err(error) = outcome {
        panic!("{error:#}");
    }
}

async fn run(name: &str, generation: Generation, groups: Vec<Vec<(&'static str, Case)>>) -> anyhow::Result<()> {
    let progress = Progress::default();
    let artifacts = Artifacts::from_env()?;
    let mut bed = Bed::up(Options {
        name: name.to_owned(),
        root: crate::root(),
        shoot_namespace: "shoot--local--local".to_owned(),
        workers: u8::try_from(groups.len())?,
        generation,
        progress: progress.clone(),
    })
    .await?;
    let kubeconfig = std::fs::read_to_string(bed.shoot().admin_kubeconfig())?;
    let shoot = bed.shoot().admin().await?;
    let mut labs = Vec::new();
    for worker in bed.workers_mut() {
        labs.push(NodeFixture::new(worker, &artifacts, &kubeconfig, &shoot).await?);
    }
    let runs = labs.iter_mut().zip(&groups).map(|(fixture, cases)| run_group(fixture, cases, &progress));
    let failures: Vec<String> = join_all(runs).await.into_iter().flatten().collect();
    let all: usize = groups.iter().map(Vec::len).sum();
    progress.step(&format!("{} of {all} cases hold", all - failures.len()));
    anyhow::ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

/// Those whose names begin so, such as `node_01`.
fn chosen(names: &str) -> anyhow::Result<Vec<(&'static str, Case)>> {
    let all = || GROUPS.into_iter().flatten().chain(LONG).copied();
    let find = |name: &str| all().find(|(case, _)| case.starts_with(name)).with_context(|| format!("no case {name}"));
    names.split(',').map(find).collect()
}

/// Runs the cases of one worker and gives the failures.
async fn run_group(fixture: &mut NodeFixture<'_>, cases: &[(&str, Case)], progress: &Progress) -> Vec<String> {
    let mut failures = Vec::new();
    for (name, case) in cases {
        let start = Instant::now();
        let outcome = match tokio::time::timeout(testbed::patient(LIMIT), case(fixture)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(anyhow::anyhow!("not finished within {} s", testbed::patient(LIMIT).as_secs())),
        };
        match outcome {
            Ok(()) => progress.step(&format!("{name} ok ({:.0?})", start.elapsed())),
            Err(error) => {
                progress.step(&format!("{name} FAILED: {error:#}\n{}", fixture.explain().await));
                failures.push(format!("{name}: {error:#}"));
                fixture.recover().await;
            }
        }
    }
    failures
}
