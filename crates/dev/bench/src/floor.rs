//! The floor: a bare client that does what cannot be left out, in a thread with a runtime of its own, as our program has one.
//!
//! *New*: six writes (Processing; finalizer, and the annotation away; access Secret; manifests Secret; ManagedResource; Succeeded with
//! providerStatus and condition). *Again*: three writes (Processing, annotation, Succeeded) and two metadata reads, of the Secrets. It reads nothing
//! else, checks nothing, and forgets everything.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use extension_config::names;
use futures::StreamExt as _;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::runtime::watcher;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::{Barrier, mpsc, watch};
use tokio::task::JoinSet;

use crate::kinds::Kind;
use crate::process::Usage;

/// What the floor applies: what our program has applied for a shoot like these.
#[derive(Debug, Clone)]
pub(crate) struct Templates {
    /// Secret with the access, Secret with the manifests, ManagedResource.
    pub(crate) objects: [(Kind, Value); 3],
    pub(crate) provider_status: Value,
    pub(crate) conditions: Value,
}

/// Ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Floor {
    open: watch::Sender<bool>,
    thread: String,
}

/// Watches that it holds open.
const WATCHES: usize = 3;
/// Longest time until they have shown what is there.
const PATIENCE: Duration = Duration::from_secs(60);

impl Floor {
    /// Connects, and waits until its watches have shown what is there.
    pub(crate) async fn start(
        connect: impl Future<Output = anyhow::Result<Client>> + Send + 'static,
        templates: Templates,
        workers: NonZeroUsize,
    ) -> anyhow::Result<Self> {
        let (open, gate) = watch::channel(true);
        let listed = Arc::new(Barrier::new(WATCHES + 1));
        let of_watches = Arc::clone(&listed);
        let (sender, mut started) = mpsc::channel(1);
        std::thread::Builder::new().name("floor".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return };
            runtime.block_on(async move {
                let client = connect.await;
                let thread = std::fs::read_link("/proc/thread-self").map(|path| path.display().to_string());
                let (client, answer) = match (client, thread) {
                    (Ok(client), Ok(thread)) => (Some(client), Ok(thread)),
                    (Err(error), _) => (None, Err(error)),
                    (_, Err(error)) => (None, Err(error.into())),
                };
                drop(sender.send(answer).await);
                if let Some(client) = client {
                    work(client, templates, workers, gate, of_watches).await;
                }
            });
        })?;
        let thread = started.recv().await.context("the floor's thread has ended")??;
        tokio::time::timeout(PATIENCE, listed.wait())
            .await
            .context("the floor's watches have not shown what is there")?;
        Ok(Self { open, thread })
    }

    pub(crate) fn pause(&self) {
        self.open.send_replace(false);
    }

    pub(crate) fn resume(&self) {
        self.open.send_replace(true);
    }

    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        Ok(Usage::of(&self.thread)?.cpu)
    }
}

/// Everything that asks is handed out once.
#[derive(Debug, Default)]
struct UnderWay(Mutex<HashSet<String>>);

impl UnderWay {
    fn begin(&self, namespace: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(namespace.to_owned())
    }

    fn end(&self, namespace: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(namespace);
    }
}

async fn work(
    client: Client,
    templates: Templates,
    workers: NonZeroUsize,
    mut gate: watch::Receiver<bool>,
    listed: Arc<Barrier>,
) {
    let (sender, receiver) = mpsc::unbounded_channel::<DynamicObject>();
    let (under_way, receiver) = (Arc::new(UnderWay::default()), Arc::new(tokio::sync::Mutex::new(receiver)));
    let mut tasks = JoinSet::new();
    for _ in 0..workers.get() {
        let (client, templates, under_way) = (client.clone(), templates.clone(), Arc::clone(&under_way));
        let (receiver, mut gate) = (Arc::clone(&receiver), gate.clone());
        tasks.spawn(async move {
            loop {
                let next = receiver.lock().await.recv().await;
                let Some(extension) = next else { return };
                if gate.wait_for(|open| *open).await.is_err() {
                    return;
                }
                let namespace = extension.metadata.namespace.clone().unwrap_or_default();
                // A run that waits for it says so.
                drop(serve(&client, &templates, &namespace, &extension).await);
                under_way.end(&namespace);
            }
        });
    }
    let of = |name: &str| watcher::Config::default().fields(&format!("metadata.name={name}"));
    let clusters = watcher::Config::default().page_size(25);
    tasks.spawn(drain(Kind::Cluster.all(&client), clusters, Arc::clone(&listed)));
    let resources = of(names::SHOOT_MANAGED_RESOURCE);
    tasks.spawn(drain(Kind::ManagedResource.all(&client), resources, Arc::clone(&listed)));
    tasks.spawn(async move {
        let mut listed = Some(listed);
        let mut events = std::pin::pin!(watcher(Kind::Extension.all(&client), of(names::EXTENSION_TYPE)));
        while let Some(event) = events.next().await {
            if matches!(event, Ok(watcher::Event::InitDone))
                && let Some(listed) = listed.take()
            {
                listed.wait().await;
            }
            let Ok(watcher::Event::Apply(extension) | watcher::Event::InitApply(extension)) = event else { continue };
            let annotations = extension.metadata.annotations.iter().flatten();
            let is_asked = annotations.into_iter().any(|(key, _)| key == "gardener.cloud/operation");
            let namespace = extension.metadata.namespace.clone().unwrap_or_default();
            if is_asked && under_way.begin(&namespace) && sender.send(extension).is_err() {
                return;
            }
        }
    });
    // The sender is gone when nobody measures any more.
    while gate.changed().await.is_ok() {}
}

async fn drain(api: Api<DynamicObject>, config: watcher::Config, listed: Arc<Barrier>) {
    let mut listed = Some(listed);
    let mut events = std::pin::pin!(watcher(api, config));
    while let Some(event) = events.next().await {
        if matches!(event, Ok(watcher::Event::InitDone))
            && let Some(listed) = listed.take()
        {
            listed.wait().await;
        }
    }
}

async fn serve(
    client: &Client,
    templates: &Templates,
    namespace: &str,
    extension: &DynamicObject,
) -> anyhow::Result<()> {
    let is_new = extension.metadata.finalizers.is_none();
    let extensions = Kind::Extension.of(client, namespace);
    let (name, parameters) = (names::EXTENSION_TYPE, PatchParams::default());
    let type_ = if is_new { "Create" } else { "Reconcile" };
    let operation = |state: &str, progress: i32, description: &str| {
        json!({ "type": type_, "state": state, "progress": progress, "description": description,
            "lastUpdateTime": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string() })
    };
    let begun = json!({ "status": { "lastOperation": operation("Processing", 1, "Reconciling Extension") } });
    extensions.patch_status(name, &parameters, &Patch::Merge(begun)).await?;
    let mut metadata = json!({ "annotations": { "gardener.cloud/operation": null } });
    if is_new {
        metadata["finalizers"] = json!([names::FINALIZER]);
    }
    let taken = extensions.patch(name, &parameters, &Patch::Merge(json!({ "metadata": metadata }))).await?;
    let mut status = json!({
        "lastOperation": operation("Succeeded", 100, "Successfully reconciled Extension"), "lastError": null,
        "observedGeneration": taken.metadata.generation,
    });
    if is_new {
        for (kind, object) in &templates.objects {
            let mut object = object.clone();
            object["metadata"]["namespace"] = json!(namespace);
            let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let parameters = PatchParams::apply("floor").force();
            kind.of(client, namespace).patch(&name, &parameters, &Patch::Apply(object)).await?;
        }
        status["providerStatus"] = templates.provider_status.clone();
        status["conditions"] = templates.conditions.clone();
    } else {
        let secrets = Kind::Secret.of(client, namespace);
        for secret in [names::SHOOT_ACCESS_SECRET, names::SHOOT_MANAGED_RESOURCE_SECRET] {
            secrets.get_metadata(secret).await?;
        }
    }
    extensions.patch_status(name, &parameters, &Patch::Merge(json!({ "status": status }))).await?;
    Ok(())
}
