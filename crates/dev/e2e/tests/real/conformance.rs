//! What an Extension controller owes Gardener, case by case (the numbers are those of the contract, section 11): the real
//! controller with the chart's ServiceAccount, a real kube-apiserver with the real CRDs, and gardener-resource-manager.
//!
//! One bed serves all cases, each in the namespace of a shoot of its own. Where a case says that something stays as it is
//! for 30 s, we look for 10 s. The shoot's resource manager serves one namespace only; in the others the cases themselves
//! write what it would report.

mod depth;
mod ends;
mod health;
mod lifecycle;
mod namespace_fixture;
mod nodes;
mod process;
mod removal;
mod resources;
mod rights;
mod shoot;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use e2e::Artifacts;
use extension_config::names;
use futures::future::LocalBoxFuture;
use serde_json::{Value, json};
use testbed::gardenlet::example_shoot;
use testbed::{Bed, Daemon, Generation, Options, Progress};

const BED: &str = "conformance";
/// Variable with words, separated by commas, for a run of some cases.
const CASES: &str = "CONFORMANCE_CASES";
/// What gardenlet tells the chart: the version of the resource managers here.
const GARDENER: &str = "v1.149.3";
/// How the controller knows shoots' API servers there, and in landscapes before v1.110.
const BUNDLE: &str = "bundle";
const GENERIC_KUBECONFIG: &str = "generic-kubeconfig";
/// The one namespace that the shoot's resource manager serves.
const SERVED_NAMESPACE: &str = "shoot--local--local";
/// Longest time for one case.
const LIMIT: Duration = Duration::from_secs(240);
/// How long we look whether something stays as it is.
const QUIET: Duration = Duration::from_secs(10);

/// What all cases stand on.
struct Fixture {
    bed: Bed,
    seed: kube::Client,
    shoot_client: kube::Client,
    shoot: Value,
    artifacts: Artifacts,
    progress: Progress,
    /// The running controllers, by name.
    controllers: Mutex<Vec<(String, Daemon)>>,
}

type Case = for<'a> fn(&'a Fixture) -> LocalBoxFuture<'a, anyhow::Result<()>>;

macro_rules! cases {
    ($($module:ident::$name:ident),* $(,)?) => {
        &[$((stringify!($name), |fixture| Box::pin($module::$name(fixture)))),*]
    };
}

/// Each in a namespace of its own; they run side by side.
const SIDE_BY_SIDE: &[(&str, Case)] = cases![
    lifecycle::conformance_01_create,
    lifecycle::conformance_02_reconcile_again,
    lifecycle::conformance_03_spec_alone_asks_nothing,
    lifecycle::conformance_04_other_type,
    lifecycle::conformance_05_classes,
    lifecycle::conformance_06_wait_for_state_then_restore,
    lifecycle::conformance_07_failed_shoot,
    lifecycle::conformance_08_no_cluster,
    lifecycle::conformance_09_to_11_error_retry_and_cure,
    removal::conformance_13_held_managed_resource,
    removal::conformance_14_foreign_finalizer_only,
    removal::conformance_quirk_force_deletion_does_not_wait,
    resources::conformance_17_secret_and_managed_resource,
    resources::conformance_18_equal_input_writes_nothing,
    resources::conformance_19_foreign_labels_survive,
    health::conformance_20_heartbeat,
    health::conformance_21_missing_and_healthy,
    health::conformance_22_invalid_object,
    health::conformance_23_hibernation,
    health::conformance_41_pools_that_the_shoot_rules_out,
    health::conformance_24_leaving_and_foreign_conditions,
    health::conformance_quirk_times_are_not_reset,
    lifecycle::conformance_26_no_shoot_namespace,
    lifecycle::conformance_quirk_a_field_of_another_shape_stops_nobody,
];

/// In the namespace that the shoot's resource manager serves, one after the other.
const SERVED: &[(&str, Case)] = cases![
    removal::conformance_12_deletion_in_order,
    removal::conformance_15_migrate_and_restore,
    nodes::nodes_are_rolled_up,
    ends::removal_names_nodes_and_gives_up_dead_ones,
    ends::removal_without_a_word_from_the_shoot,
    ends::removal_of_a_hibernated_shoot_waits,
    ends::migration_in_mid_removal_leaves_the_shoot_alone,
    ends::shoot_in_deletion_is_not_cleaned,
    ends::force_deletion_without_a_resource_manager,
];

/// These change what the controllers run with; at the end, one after the other.
const ALONE: &[(&str, Case)] = cases![
    process::conformance_16_start_up,
    process::conformance_28_base_configuration,
    process::conformance_40_a_faulty_base_configuration_at_the_start,
    ends::older_landscapes_name_nodes_by_the_generic_kubeconfig,
    depth::conformance_29_deep_and_long_provider_configs,
    depth::conformance_30_depth_in_a_cluster,
    // Looks back at all that the cases before have made the controller do; the next one takes rights away.
    rights::conformance_rights_are_what_is_used,
    process::conformance_27_status_only_through_its_subresource,
    process::conformance_25_two_replicas,
];

/// Those whose names contain one of the words in [`CASES`]; without it all.
fn chosen(cases: &'static [(&'static str, Case)]) -> impl Iterator<Item = &'static (&'static str, Case)> {
    let words = std::env::var(CASES).unwrap_or_default();
    cases.iter().filter(move |(name, _)| words.split(',').any(|word| name.contains(word)))
}

#[test]
fn conformance() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let outcome = runtime.block_on(async {
        let fixture = Fixture::up().await;
        let outcome = match &fixture {
            Ok(fixture) => fixture.run().await,
            Err(_) => Ok(()),
        };
        testbed::down(BED).await?;
        fixture.map(drop)?;
        outcome
    });
    if let Err(error) = outcome {
        panic!("{error:#}");
    }
}

impl Fixture {
    async fn up() -> anyhow::Result<Self> {
        let progress = Progress::default();
        let artifacts = Artifacts::from_env()?;
        let root = crate::root();
        let bed = Bed::up(Options {
            name: BED.to_owned(),
            root: root.clone(),
            shoot_namespace: SERVED_NAMESPACE.to_owned(),
            workers: 0,
            generation: Generation::from_env()?,
            progress: progress.clone(),
        })
        .await?;
        bed.main_seed().install_chart(&format!("{}\n", json!({ "gardener": { "version": GARDENER } }))).await?;
        let (repository, tag) = artifacts.image_name.rsplit_once(':').context("the image has no tag")?;
        let images = json!({ "images": [{ "name": names::INSTALLATION_IMAGE, "repository": repository, "tag": tag }] });
        std::fs::write(bed.dir().join("images-overwrite.yaml"), format!("{images:#}\n"))?;
        let (seed, shoot_client) = (bed.seed().admin().await?, bed.shoot().admin().await?);
        let shoot = example_shoot(&root, SERVED_NAMESPACE)?;
        let fixture = Self { bed, seed, shoot_client, shoot, artifacts, progress, controllers: Mutex::default() };
        fixture.start_controller("seed-controller", &[], BUNDLE).await?;
        Ok(fixture)
    }

    /// `shoot_ca` as the chart has it for the Gardener that it is told.
    async fn start_controller(&self, name: &str, args: &[String], shoot_ca: &str) -> anyhow::Result<()> {
        let vector = self.bed.dir().join("images-overwrite.yaml").display().to_string();
        let program = &self.artifacts.controller;
        let env = [("IMAGEVECTOR_OVERWRITE", vector.as_str()), ("SHOOT_CA", shoot_ca)];
        let daemon = self.bed.main_seed().start_controller(name, program, args, &env).await?;
        self.controllers().push((name.to_owned(), daemon));
        Ok(())
    }

    /// Takes a controller out of the list, to stop it.
    fn take_controller(&self, name: &str) -> anyhow::Result<Daemon> {
        let mut all = self.controllers();
        let ns = all.iter().position(|(found, _)| found == name).with_context(|| format!("no controller {name}"))?;
        Ok(all.remove(ns).1)
    }

    /// The resource manager of the shoot.
    fn resource_manager(&self) -> anyhow::Result<&Daemon> {
        let is = |server: &&Daemon| server.log().ends_with("grm-shoot.log");
        self.bed.servers().find(is).context("the bed has no resource manager for the shoot")
    }

    fn controllers(&self) -> std::sync::MutexGuard<'_, Vec<(String, Daemon)>> {
        self.controllers.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    async fn run(&self) -> anyhow::Result<()> {
        let lists = [SIDE_BY_SIDE, SERVED, ALONE];
        let all: usize = lists.into_iter().map(|cases| chosen(cases).count()).sum();
        anyhow::ensure!(all > 0, "no case has a name with one of the words in {CASES}");
        let nodeless = tokio::spawn(shoot::play_controllers(self.shoot_client.clone()));
        let served = async {
            let mut failures = Vec::new();
            for case in chosen(SERVED) {
                failures.extend(self.check(case).await);
            }
            failures
        };
        let side_by_side = futures::future::join_all(chosen(SIDE_BY_SIDE).map(|case| self.check(case)));
        let (mut failures, others) = tokio::join!(served, side_by_side);
        failures.extend(others.into_iter().flatten());
        for case in chosen(ALONE) {
            failures.extend(self.check(case).await);
        }
        nodeless.abort();
        for (_, controller) in self.controllers().iter() {
            if !failures.is_empty() {
                self.progress.step(&format!("{}:\n{}", controller.log().display(), controller.log_tail(40)));
            }
            controller.ensure_alive()?;
        }
        self.progress.step(&format!("{} of {all} cases hold", all - failures.len()));
        anyhow::ensure!(failures.is_empty(), "{}", failures.join("\n"));
        Ok(())
    }

    /// Runs one case, says how it went, and gives the failure.
    async fn check(&self, (name, case): &(&str, Case)) -> Option<String> {
        let start = Instant::now();
        let outcome = match tokio::time::timeout(LIMIT, case(self)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(anyhow::anyhow!("not finished within {} s", LIMIT.as_secs())),
        };
        match outcome {
            Ok(()) => {
                self.progress.step(&format!("{name} ok ({:.1?})", start.elapsed()));
                None
            }
            Err(error) => {
                self.progress.step(&format!("{name} FAILED: {error:#}"));
                Some(format!("{name}: {error:#}"))
            }
        }
    }
}
