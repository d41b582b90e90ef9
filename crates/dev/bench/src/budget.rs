//! What an Extension may cost in calls, whatever the machine: the real controller before an API in memory, in which everybody else writes without
//! a call, so that all calls are the controller's. They are counted exactly, phase by phase: what trails behind one is too much for the next, and
//! the last phase ends with the process. No time is measured.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use extension_config::names;
use fake_kube_api::{ApiServer, Store, Writer};
use serde_json::{Value, json};
use testbed::gardenlet::example_shoot;

use crate::calls::Calls;
use crate::gardenlet::{cluster, extension, request};
use crate::kinds::Kind;
use crate::process::{Controller, NAMESPACE};
use crate::resource_manager::{Write, next};

const EXTENSIONS: u64 = 10;
const GROUP: &str = "extensions.gardener.cloud";
const RESOURCES: &str = "resources.gardener.cloud";
/// How long nothing may happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program, built into the folder that this test stands in.
fn program(repository: &Path) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let target = own.ancestors().nth(3).context("this program stands in no target folder")?;
    let mut command = image_builder::binaries::cargo();
    command.current_dir(repository).args(["build", "--quiet", "--locked", "--bins", "-p", "seed-controller"]);
    command.arg("--target-dir").arg(target);
    ensure!(command.status().context("cannot run cargo")?.success(), "the program cannot be built");
    Ok(target.join("debug").join(names::CONTROLLER_NAME))
}

/// A seed with gardenlet's and gardener-resource-manager's part in it.
struct Bed {
    api: ApiServer,
    namespaces: Vec<String>,
    /// What has been counted already.
    counted: Calls,
}

impl Bed {
    async fn up(shoot: &Value) -> anyhow::Result<Self> {
        let (api, gardenlet) = (ApiServer::start().await?, Writer::named("gardenlet"));
        let namespaces: Vec<String> = (0..EXTENSIONS).map(|number| format!("shoot--budget--{number}")).collect();
        for (name, labels) in [(NAMESPACE, json!({}))]
            .into_iter()
            .chain(namespaces.iter().map(|name| (name.as_str(), json!({ "gardener.cloud/role": "shoot" }))))
        {
            let namespace =
                json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } });
            api.store().create("", "namespaces", "", namespace, &gardenlet)?;
        }
        for namespace in &namespaces {
            api.store().create(GROUP, "clusters", "", cluster(namespace, shoot, 20), &gardenlet)?;
        }
        Ok(Self { api, namespaces, counted: Calls::new() })
    }

    fn store(&self) -> &Store {
        self.api.store()
    }

    fn switch_on(&self) -> anyhow::Result<()> {
        for namespace in &self.namespaces {
            self.store().create(GROUP, "extensions", namespace, extension(namespace), &Writer::named("gardenlet"))?;
        }
        Ok(())
    }

    fn request(&self) -> anyhow::Result<()> {
        let patch = json!({ "metadata": { "annotations": request() } });
        for namespace in &self.namespaces {
            let name = names::EXTENSION_TYPE;
            self.store().merge(GROUP, "extensions", namespace, name, &patch, &Writer::named("gardenlet"))?;
        }
        Ok(())
    }

    /// Everything that gardener-resource-manager does with an object of each shoot.
    fn manage(&self, kind: Kind) -> anyhow::Result<()> {
        let (group, plural, name) = match kind {
            Kind::Secret => ("", "secrets", names::SHOOT_ACCESS_SECRET),
            _ => (RESOURCES, "managedresources", names::SHOOT_MANAGED_RESOURCE),
        };
        let writer = Writer::named("gardener-resource-manager");
        for namespace in &self.namespaces {
            loop {
                let object =
                    self.store().get(group, plural, namespace, name).context("an object of ours is missing")?;
                let (patch, writer) = match next(kind, &serde_json::from_value(object)?) {
                    Some(Write::Metadata(patch)) => (patch, writer.clone()),
                    Some(Write::Status(patch)) => (patch, writer.clone().status()),
                    None => break,
                };
                self.store().merge(group, plural, namespace, name, &patch, &writer)?;
            }
        }
        Ok(())
    }

    /// Waits until so many Extensions are as they are awaited.
    async fn until(&self, what: &str, count: u64, is: impl Fn(&Value) -> bool) -> anyhow::Result<()> {
        let mut changes = self.store().changes();
        loop {
            changes.mark_unchanged();
            let mut found = 0;
            self.store().visit(GROUP, "extensions", "", |extension| found += u64::from(is(extension)));
            if found == count {
                return Ok(());
            }
            let awaited = tokio::time::timeout(PATIENCE, changes.changed()).await;
            awaited.with_context(|| format!("{found} of {count} Extensions are {what}"))??;
        }
    }

    async fn done(&self) -> anyhow::Result<()> {
        self.until("done", EXTENSIONS, |extension| {
            extension["metadata"]["annotations"]["gardener.cloud/operation"].is_null()
                && extension["status"]["lastOperation"]["state"] == "Succeeded"
        })
        .await
    }

    async fn healthy(&self) -> anyhow::Result<()> {
        self.until("healthy", EXTENSIONS, |extension| condition(extension) == "True").await
    }

    /// What was asked for since the last time is exactly this.
    fn expect(&mut self, phase: &str, expected: &[(&str, u64)]) -> anyhow::Result<()> {
        let now = self.api.answers();
        let is_about_extensions = |call: &str| {
            !call.contains(" leases ") && !["list ", "watch ", "nonresource "].iter().any(|verb| call.starts_with(verb))
        };
        let since =
            now.iter().map(|(call, count)| (call.clone(), count - self.counted.get(call).copied().unwrap_or_default()));
        let since: Calls = since.filter(|(call, count)| *count > 0 && is_about_extensions(call)).collect();
        let expected: BTreeMap<String, u64> =
            expected.iter().map(|(call, count)| ((*call).to_owned(), *count)).collect();
        ensure!(
            since == expected,
            "{phase}: the calls were {since:?}, and the budget is {expected:?}; Events: {:?}",
            self.events()
        );
        self.counted = now;
        Ok(())
    }

    /// Reasons and notes of all Events.
    fn events(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        self.store().visit("events.k8s.io", "events", "", |event| {
            all.insert(format!("{} {}", event["reason"], event["note"]));
        });
        all
    }

    /// Somebody edits an object.
    fn edit(&self, place: usize, group: &str, plural: &str, name: &str, patch: &Value) -> anyhow::Result<()> {
        let namespace = self.namespaces.get(place).context("a shoot")?;
        self.store().merge(group, plural, namespace, name, patch, &Writer::named("somebody"))?;
        Ok(())
    }
}

fn condition(extension: &Value) -> &Value {
    &extension["status"]["conditions"][0]["status"]
}

/// The data of all Secrets of ours, and all ManagedResources' specifications.
fn contents(bed: &Bed) -> Vec<Value> {
    let mut all = Vec::new();
    bed.store().visit("", "secrets", "", |secret| all.push(json!([secret["data"], secret["metadata"]["labels"]])));
    bed.store().visit(RESOURCES, "managedresources", "", |resource| all.push(resource["spec"].clone()));
    all
}

/// What the shoots' Prometheus gets of the agents comes where one has reported, costs nothing again, and goes first.
#[tokio::test]
async fn monitoring_comes_with_the_agents_and_costs_nothing_again() -> anyhow::Result<()> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let program = program(&repository)?;
    let (mut bed, dir) = (Bed::up(&example_shoot(&repository, "shoot--p--s")?).await?, tempfile::tempdir()?);
    let kubeconfig = dir.path().join("kubeconfig");
    bed.api.write_kubeconfig(&kubeconfig)?;
    let workers = NonZeroUsize::new(5).context("a number")?;
    let mut controller = Controller::start(&program, &kubeconfig, dir.path().join("log"), workers)?;
    let outcome = play_monitoring(&mut bed, &controller).await;
    outcome.with_context(|| controller.tail())?;
    controller.end().await
}

async fn play_monitoring(bed: &mut Bed, controller: &Controller) -> anyhow::Result<()> {
    controller.ready().await?;
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "scrapeconfigs.monitoring.coreos.com" },
        "spec": {
            "group": "monitoring.coreos.com", "scope": "Namespaced",
            "names": { "plural": "scrapeconfigs", "kind": "ScrapeConfig" },
            "versions": [{ "name": "v1alpha1", "served": true, "storage": true }],
        },
    });
    let gardenlet = Writer::named("gardenlet");
    bed.store().create("apiextensions.k8s.io", "customresourcedefinitions", "", definition, &gardenlet)?;
    bed.switch_on()?;
    bed.done().await?;
    bed.manage(Kind::ManagedResource)?;
    bed.healthy().await?;
    let monitored = |bed: &Bed| {
        let mut count = 0;
        bed.store().visit(RESOURCES, "managedresources", "", |resource| {
            count += u64::from(resource["metadata"]["name"] == names::MONITORING_MANAGED_RESOURCE);
        });
        count
    };
    ensure!(monitored(bed) == 0, "nobody has reported yet");
    // What a roll-up before this process has seen; there is no shoot to be asked here. In every shoot but one.
    let reported = json!({ "status": { "providerStatus": { "nodes": { "count": 2, "stages": { "Installed": 2 } } } } });
    for namespace in bed.namespaces.iter().skip(1) {
        let writer = Writer::named("somebody").status();
        bed.store().merge(GROUP, "extensions", namespace, names::EXTENSION_TYPE, &reported, &writer)?;
    }
    bed.counted = bed.api.answers();
    bed.request()?;
    bed.done().await?;
    let again = [
        ("get secrets 200", 2 * EXTENSIONS),
        ("patch extensions 200", EXTENSIONS),
        ("patch extensions/status 200", 2 * EXTENSIONS),
    ];
    let new = [("patch managedresources 201", EXTENSIONS - 1), ("patch secrets 201", EXTENSIONS - 1)];
    bed.expect("agents", &[&again[..], &new].concat())?;
    ensure!(monitored(bed) == EXTENSIONS - 1, "{} shoots have it", monitored(bed));
    let before = contents(bed);
    bed.request()?;
    bed.done().await?;
    let [_, annotations, status] = again;
    bed.expect("again", &[("get secrets 200", 3 * EXTENSIONS - 1), annotations, status])?;
    ensure!(contents(bed) == before, "something was written for nothing");
    // The pools of one are at zero, the purpose of another is testing, a third sleeps, and keeps what it has.
    let gone = json!({ "status": { "providerStatus": { "nodes": { "count": 0, "stages": {} } } } });
    let writer = Writer::named("somebody").status();
    bed.store().merge(GROUP, "extensions", &bed.namespaces[1], names::EXTENSION_TYPE, &gone, &writer)?;
    let testing = json!({ "spec": { "shoot": { "spec": { "purpose": "testing" } } } });
    bed.store().merge(GROUP, "clusters", "", &bed.namespaces[2], &testing, &gardenlet)?;
    let asleep = json!({ "spec": { "shoot": { "spec": { "hibernation": { "enabled": true } } } } });
    bed.store().merge(GROUP, "clusters", "", &bed.namespaces[3], &asleep, &gardenlet)?;
    bed.request()?;
    bed.done().await?;
    ensure!(monitored(bed) == EXTENSIONS - 3, "{} shoots have it", monitored(bed));
    ensure!(bed.store().get("", "secrets", &bed.namespaces[2], names::MONITORING_MANAGED_RESOURCE_SECRET).is_none());
    // In a migration it goes, before the agents' does, whose objects stay in the shoot.
    let migrate = json!({ "metadata": { "annotations": { "gardener.cloud/operation": "migrate" } } });
    let last = bed.namespaces.last().context("a shoot")?.clone();
    bed.store().merge(GROUP, "extensions", &last, names::EXTENSION_TYPE, &migrate, &gardenlet)?;
    let released = json!({ "metadata": { "finalizers": null } });
    bed.store().merge(RESOURCES, "managedresources", &last, names::SHOOT_MANAGED_RESOURCE, &released, &gardenlet)?;
    bed.until("migrated", 1, |extension| {
        extension["status"]["lastOperation"]["type"] == "Migrate"
            && extension["status"]["lastOperation"]["state"] == "Succeeded"
    })
    .await?;
    ensure!(monitored(bed) == EXTENSIONS - 4, "{} shoots have it", monitored(bed));
    Ok(())
}

// One thread, so that an answer is counted before anybody sees what it has changed.
#[tokio::test]
async fn calls_of_an_extension_are_those_of_its_budget_and_none_conflicts() -> anyhow::Result<()> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let program = program(&repository)?;
    let (mut bed, dir) = (Bed::up(&example_shoot(&repository, "shoot--p--s")?).await?, tempfile::tempdir()?);
    let kubeconfig = dir.path().join("kubeconfig");
    bed.api.write_kubeconfig(&kubeconfig)?;
    let workers = NonZeroUsize::new(5).context("a number")?;
    let mut controller = Controller::start(&program, &kubeconfig, dir.path().join("log"), workers)?;
    let outcome = play(&mut bed, &controller).await;
    outcome.with_context(|| controller.tail())?;
    controller.end().await?;
    bed.expect("the end", &[])?;
    // Nothing was begun twice.
    ensure!(controller.begun()? == usize::try_from(5 * EXTENSIONS)?, "{} operations have begun", controller.begun()?);
    Ok(())
}

async fn play(bed: &mut Bed, controller: &Controller) -> anyhow::Result<()> {
    controller.ready().await?;
    bed.expect("start", &[])?;
    bed.switch_on()?;
    bed.done().await?;
    // Processing; finalizer, and the annotation away; two Secrets; ManagedResource; Succeeded. Not one read.
    bed.expect(
        "new",
        &[
            ("patch extensions 200", EXTENSIONS),
            ("patch extensions/status 200", 2 * EXTENSIONS),
            ("patch managedresources 201", EXTENSIONS),
            ("patch secrets 201", 2 * EXTENSIONS),
        ],
    )?;
    bed.manage(Kind::ManagedResource)?;
    bed.healthy().await?;
    // Where gardener-resource-manager reports before the end, this is part of the last write.
    bed.expect("reported", &[("patch extensions/status 200", EXTENSIONS)])?;

    let again = [
        ("get secrets 200", 2 * EXTENSIONS),
        ("patch extensions 200", EXTENSIONS),
        ("patch extensions/status 200", 2 * EXTENSIONS),
    ];
    bed.request()?;
    bed.done().await?;
    bed.expect("again", &again)?;

    // The token requestor has written into a Secret of ours, which is applied once more for that.
    bed.manage(Kind::Secret)?;
    bed.request()?;
    bed.done().await?;
    let [gets, annotations, status] = again;
    bed.expect("again with a new token", &[gets, annotations, status, ("patch secrets 200", EXTENSIONS)])?;
    bed.request()?;
    bed.done().await?;
    bed.expect("again after that", &again)?;

    // What was edited is put right, and nothing else is applied.
    let before = contents(bed);
    bed.edit(
        0,
        "",
        "secrets",
        names::SHOOT_MANAGED_RESOURCE_SECRET,
        &json!({ "data": { "edited": "eA==" }, "metadata": { "labels": null } }),
    )?;
    bed.edit(1, "", "secrets", names::SHOOT_ACCESS_SECRET, &json!({ "metadata": { "labels": null } }))?;
    bed.edit(
        2,
        RESOURCES,
        "managedresources",
        names::SHOOT_MANAGED_RESOURCE,
        &json!({ "spec": { "secretRefs": [] } }),
    )?;
    ensure!(contents(bed) != before, "nothing was edited");
    // The condition shows that the controller has seen it.
    bed.until("unhealthy", 1, |extension| condition(extension) != "True").await?;
    bed.expect("an edit", &[("patch extensions/status 200", 1)])?;
    bed.request()?;
    bed.done().await?;
    bed.expect(
        "again after edits",
        &[gets, annotations, status, ("patch managedresources 200", 1), ("patch secrets 200", 2)],
    )?;
    let (healed, mut foreign) = (contents(bed), 0);
    for (healed, before) in healed.iter().zip(&before) {
        let mut healed = healed.clone();
        // A key that is nobody's of ours stays, as server-side apply has it.
        if let Some(data) = healed.get_mut(0).and_then(Value::as_object_mut) {
            foreign += usize::from(data.remove("edited").is_some());
        }
        ensure!(healed == *before, "{healed} was {before}");
    }
    ensure!(foreign == 1, "{foreign} foreign keys");
    bed.manage(Kind::ManagedResource)?;
    bed.healthy().await?;
    bed.expect("healed", &[("patch extensions/status 200", 1)])
}
