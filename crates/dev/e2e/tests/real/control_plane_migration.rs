//! A shoot's control plane goes from one seed to another, in the order of gardenlet's flows (`reconciler_migrate.go` and the restore part of
//! `reconciler_reconcile.go` in `pkg/gardenlet/controller/shoot/shoot`, v1.149), with reconciles of ours between all of its steps.
//!
//! `MIGRATION_AWAY` says for how many seconds the shoot's API is away; a short cut by default.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use e2e::{NodeFacts, Release, TestEnvironment, Workload};
use extension_config::names::node::{DAEMON_UNIT, KUBELET_UNIT};
use extension_config::names::{
    EXTENSION_TYPE, NODE_AGENT, SHOOT_MANAGED_RESOURCE, SHOOT_MANAGED_RESOURCE_SECRET, SHOOT_NAMESPACE,
};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use testbed::gardenlet::Gardenlet;
use testbed::{Progress, wait_for};

use crate::in_environment;

/// gardenlet's patience with an Extension.
const OPERATION: Duration = Duration::from_secs(180);
const SOON: Duration = Duration::from_secs(60);
/// Seconds for which the shoot's API is away, if nobody says otherwise. Agents' leases are renewed every ten.
const AWAY: u64 = 20;
const NAMESPACE: &str = "shoot--local--local";
/// Another shoot of the source seed, by which a change of the base configuration is seen to have reached the controller.
const CANARY: &str = "shoot--local--canary";
/// The controllers of both seeds share one network.
const OTHER_PORTS: [&str; 2] = ["--metrics-bind-address=:9300", "--health-bind-address=:9301"];

#[test]
fn a_control_plane_goes_to_another_seed_and_no_node_notices() {
    in_environment("migration", 1, async |environment, progress| {
        environment.bed.start_other_seed().await?;
        let mut source = Source::new(environment).await?;
        let workload = Workload::deploy(environment.bed.shoot().admin().await?, 1).await?;
        let trees = environment.trees()?;
        environment.switch_on(None).await?;
        let (before, containers) = (facts(environment).await?, workload.containers().await?);

        progress.step("the Shoot's operation is Migrate");
        source.gardenlet.sync_cluster(&operation(environment.shoot(None, false), "Migrate", "Processing")).await?;
        let written = source.written().await?.context("there is no ManagedResource")?;
        source.disturb(environment, progress).await?;
        ensure!(source.written().await?.as_ref() == Some(&written), "a reconcile wrote while the Shoot migrates");

        progress.step("gardenlet deletes the ManagedResources that are its own");
        let own = ListParams::default().labels("origin=gardener");
        let found = source.gardenlet.managed_resources().list(&own).await?.items;
        ensure!(found.is_empty(), "ours is among them: {:?}", found.first().map(|one| &one.metadata.name));

        progress.step("the Extension is migrated");
        source.gardenlet.deploy_extension("migrate", None).await?;
        source.disturb(environment, progress).await?;
        source.wait_migrated().await?;
        source.ensure_let_go(environment).await?;
        source.disturb(environment, progress).await?;
        source.ensure_let_go(environment).await.context("after the migration")?;
        source.gardenlet.delete_extension().await?;
        source.gardenlet.wait_deleted(OPERATION).await?;
        source.disturb(environment, progress).await?;
        source.ensure_let_go(environment).await.context("after the deletion")?;

        let away = std::env::var("MIGRATION_AWAY").map_or(Ok(AWAY), |text| text.parse())?;
        progress.step(&format!("the shoot's API is away for {away} s"));
        environment.bed.stop_shoot_resource_manager().await?;
        environment.bed.stop_shoot_api().await?;
        tokio::time::sleep(Duration::from_secs(away)).await;
        let meanwhile = facts(environment).await?;
        ensure!(meanwhile == before, "the node noticed that its API is away: {before:?}, then {meanwhile:?}");
        environment.bed.start_shoot_api().await?;

        progress.step("the other seed takes over");
        let other = environment.bed.other_seed()?;
        other.install_chart("{}\n").await?;
        let release = Release::under_test(&super::root(), &e2e::Artifacts::from_env()?);
        let controller =
            release.start_controller(other, "other-seed-controller", &OTHER_PORTS.map(str::to_owned)).await?;
        let target = other.gardenlet(EXTENSION_TYPE).await?;
        environment.bed.start_shoot_resource_manager_in_other_seed().await?;
        target.sync_cluster(&operation(environment.shoot(None, false), "Restore", "Processing")).await?;
        target.deploy_extension("wait-for-state", None).await?;
        let timestamp = target.deploy_extension("restore", None).await?;
        target.wait_ready(&timestamp, OPERATION).await?;
        let former = std::mem::replace(&mut environment.gardenlet, target);
        environment.wait_healthy().await?;
        source.disturb(environment, progress).await?;
        former.delete_cluster().await?;
        environment.gardenlet.sync_cluster(&operation(environment.shoot(None, false), "Restore", "Succeeded")).await?;
        let after = facts(environment).await?;
        ensure!(after == before, "the node noticed the migration: {before:?}, then {after:?}");
        ensure!(workload.containers().await? == containers, "the workload's containers were restarted");

        // What the Shoot's spec does not name any more is not migrated but deleted, while the shoot's API is still there, and the flow waits for it.
        progress
            .step("the Shoot migrates again, its spec without the extension: gardenlet deletes the stale Extension");
        environment.switch_off_with(&operation(environment.shoot(None, true), "Migrate", "Processing")).await?;
        controller.ensure_alive()?;
        environment.ensure_trees_equal(&trees)
    });
}

/// What a restart of kubelet or the daemon would change.
async fn facts(environment: &TestEnvironment) -> anyhow::Result<Value> {
    let mut all = Vec::new();
    for worker in environment.bed.workers() {
        let facts = NodeFacts::observe(worker).await?;
        facts.ensure_on_proxy(worker).await?;
        all.push(json!([facts.kubelet_pid, facts.kubelet_invocation, facts.daemon_pid]));
    }
    Ok(json!([all, environment.starts(KUBELET_UNIT).await?, environment.starts(DAEMON_UNIT).await?]))
}

fn operation(mut shoot: Value, type_: &str, state: &str) -> Value {
    shoot["status"]["lastOperation"]["type"] = json!(type_);
    shoot["status"]["lastOperation"]["state"] = json!(state);
    shoot
}

/// The seed that the shoot leaves.
struct Source {
    gardenlet: Gardenlet,
    canary: Gardenlet,
    seed: kube::Client,
    disturbances: u32,
}

impl Source {
    async fn new(environment: &TestEnvironment) -> anyhow::Result<Self> {
        let seed = environment.bed.seed().admin().await?;
        let namespaces: Api<Namespace> = Api::all(seed.clone());
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": { "name": CANARY, "labels": { "gardener.cloud/role": "shoot" } },
        });
        namespaces.patch(CANARY, &PatchParams::apply("e2e"), &Patch::Apply(namespace)).await?;
        let canary = Gardenlet::new(seed.clone(), CANARY, EXTENSION_TYPE);
        canary.sync_cluster(&environment.shoot(None, false)).await?;
        let timestamp = canary.deploy_extension("reconcile", None).await?;
        canary.wait_ready(&timestamp, SOON).await?;
        Ok(Self { gardenlet: environment.gardenlet.clone(), canary, seed, disturbances: 0 })
    }

    /// Everything that makes the controller reconcile of itself: another base configuration, and a restart; each until it is seen to have been
    /// taken up for the other shoot.
    async fn disturb(&mut self, environment: &mut TestEnvironment, progress: &Progress) -> anyhow::Result<()> {
        for restart in [false, true] {
            self.disturbances += 1;
            let option = format!("-metrics-interval={}s", 10 + self.disturbances);
            if restart {
                environment.controller.end(SOON).await?;
            }
            let values = json!({ "configs": { "EXTRA_OPTIONS": option } });
            environment.bed.main_seed().install_chart(&format!("{values:#}\n")).await?;
            if restart {
                let release = Release::under_test(&super::root(), &e2e::Artifacts::from_env()?);
                environment.controller =
                    release.start_controller(environment.bed.main_seed(), "seed-controller", &[]).await?;
                // Who starts looks at what is unfinished; the rest is asked for.
                let timestamp = self.canary.deploy_extension("reconcile", None).await?;
                self.canary.wait_ready(&timestamp, SOON).await?;
            }
            let secrets: Api<Secret> = Api::namespaced(self.seed.clone(), CANARY);
            wait_for("the other shoot to have the changed base configuration", SOON, || async {
                let data = secrets.get(SHOOT_MANAGED_RESOURCE_SECRET).await?.data.unwrap_or_default();
                let has = data.values().any(|text| String::from_utf8_lossy(&text.0).contains(&option));
                Ok(has.then_some(()))
            })
            .await?;
        }
        progress.step("the base configuration has changed twice and the controller was started again");
        Ok(())
    }

    /// The versions of what is written for the shoot.
    async fn written(&self) -> anyhow::Result<Option<[Option<String>; 2]>> {
        let secrets: Api<Secret> = Api::namespaced(self.seed.clone(), NAMESPACE);
        let secret = secrets.get_opt(SHOOT_MANAGED_RESOURCE_SECRET).await?;
        let resource = self.gardenlet.managed_resources().get_opt(SHOOT_MANAGED_RESOURCE).await?;
        let (Some(secret), Some(resource)) = (secret, resource) else { return Ok(None) };
        Ok(Some([secret.metadata.resource_version, resource.metadata.resource_version]))
    }

    async fn wait_migrated(&self) -> anyhow::Result<()> {
        wait_for("the Extension to be migrated", OPERATION, || async {
            let extension = self.gardenlet.extensions().get(EXTENSION_TYPE).await?;
            let last = &extension.data["status"]["lastOperation"];
            ensure!(last["type"] == "Migrate" && last["state"] == "Succeeded", "{last}");
            let finalizers = extension.metadata.finalizers.unwrap_or_default();
            ensure!(finalizers.is_empty(), "finalizers: {finalizers:?}");
            Ok(Some(()))
        })
        .await
    }

    /// Nothing of ours is left in the seed (gardenlet waits until no ManagedResource of the shoot is), and all of it in the shoot.
    async fn ensure_let_go(&self, environment: &TestEnvironment) -> anyhow::Result<()> {
        let resources = self.gardenlet.managed_resources().list(&ListParams::default()).await?.items;
        let names: Vec<_> = resources.iter().filter_map(|resource| resource.metadata.name.as_deref()).collect();
        ensure!(names.is_empty(), "ManagedResources in the source seed: {names:?}");
        let agents: Api<DaemonSet> = Api::namespaced(environment.bed.shoot().admin().await?, SHOOT_NAMESPACE);
        let agents = agents.get(NODE_AGENT).await?;
        ensure!(agents.metadata.deletion_timestamp.is_none(), "the agents are being deleted");
        Ok(())
    }
}
