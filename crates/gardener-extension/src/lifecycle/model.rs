//! A fake seed for [`super::Lifecycle`]: one namespace with one Extension behind the API that the engine calls, other actors who change things at any
//! moment, calls that fail, and an actuator that keeps a record. What the engine must never do is noted when it happens.

mod actuator;
mod other_actors;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gardener_api::constants::{FORCE_DELETION_ANNOTATION, ROLE_LABEL};
use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use crate::Operation;

pub(super) const FINALIZER: &str = "extensions.gardener.cloud/model";
pub(super) const FOREIGN: &str = "example.org/foreign";
pub(super) const TYPE: &str = "model";

/// Something that somebody else does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExternalEvent {
    /// gardenlet writes the operation annotation (and the object, when there is none).
    Annotate(&'static str),
    /// gardenlet deletes it.
    Delete,
    /// The owner changes the configuration.
    ChangeSpec,
    /// Another controller holds the object, or lets go of it.
    ForeignFinalizer(bool),
    /// Gardener gives the Shoot up, or tries again.
    ShootFailed(bool),
    /// Gardener takes the control plane to another seed, or has done with it.
    ShootMigrating(bool),
    /// The owner forces the deletion.
    Force,
    /// The Cluster is there, or not.
    Cluster(bool),
}

/// What becomes of an API call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ApiOutcome {
    Served,
    Conflict,
    Failed,
    /// It was served, and the answer is lost.
    AnswerLost,
}

/// What an actuator call leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ActuatorOutcome {
    Done,
    Pending,
    Transient,
    Configuration,
}

/// Everything there is.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub(super) struct FakeSeed {
    pub(super) extension: Option<Value>,
    revision: u64,
    uids: u64,
    pub(super) shoot_failed: bool,
    shoot_migrating: bool,
    /// The Shoot has been failed all through the present reconciliation.
    pub(super) failed_throughout: bool,
    force: bool,
    cluster_missing: bool,
    /// What others will do.
    pub(super) external_events: VecDeque<ExternalEvent>,
    /// At which API calls one of them happens.
    pub(super) interruptions: VecDeque<bool>,
    pub(super) api_outcomes: VecDeque<ApiOutcome>,
    pub(super) results: VecDeque<ActuatorOutcome>,
    /// What the actuator wanted last, when an installation was done.
    pub(super) provider_status: Option<Value>,
    /// What was read.
    pub(super) reads: Vec<String>,
    /// Writes of the status.
    pub(super) status_writes: usize,
    /// Every status is refused.
    pub(super) status_refused: bool,
    /// Reasons and notes of the Events that were made.
    pub(super) events: Vec<(String, String)>,
    /// What changed outside of the Extension.
    pub(super) cluster_changed: bool,
    /// Moments are numbered.
    clock: u64,
    /// The last request that an actuator call must answer: when it was made.
    pub(super) requested_at: Option<u64>,
    deletion_requested: bool,
    /// The last complete actuator call of this object: what it was, and when it began.
    pub(super) done: Option<(Operation, u64)>,
    pub(super) violations: Vec<String>,
}

/// Shared by API, actuator and test.
#[derive(Clone, Debug, Default)]
pub(super) struct Shared(Arc<Mutex<FakeSeed>>);

impl Shared {
    pub(super) fn seed(&self) -> MutexGuard<'_, FakeSeed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn client(&self) -> Client {
        let shared = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let shared = shared.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await?;
                let body: Value = serde_json::from_slice(&body).unwrap_or_default();
                let (code, answer) = {
                    let mut seed = shared.seed();
                    seed.check_field_manager(&parts);
                    seed.serve(&parts.method, parts.uri.path(), body)
                };
                let answer = Body::from(answer.to_string().into_bytes());
                Response::builder()
                    .status(code)
                    .body(answer)
                    .map_err(std::io::Error::other)
                    .map_err(tower::BoxError::from)
            }
        });
        Client::new(service, "default")
    }
}

impl FakeSeed {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn serve(&mut self, method: &Method, path: &str, body: Value) -> (u16, Value) {
        if self.interruptions.pop_front().unwrap_or(false)
            && let Some(event) = self.external_events.pop_front()
        {
            self.apply(event);
        }
        if method == Method::GET {
            self.reads.push(path.to_owned());
        }
        match self.api_outcomes.pop_front().unwrap_or(ApiOutcome::Served) {
            ApiOutcome::Served => self.answer(method, path, body),
            ApiOutcome::Conflict if method == Method::PATCH => refuse(409, "Conflict"),
            ApiOutcome::Conflict | ApiOutcome::Failed => refuse(500, "InternalError"),
            ApiOutcome::AnswerLost => {
                self.answer(method, path, body);
                refuse(500, "InternalError")
            }
        }
    }

    /// Writes of the Extension name their field manager: the controller's name. (Those of Events are kube's, which names none.)
    fn check_field_manager(&mut self, request: &http::request::Parts) {
        let query = request.uri.query().unwrap_or_default();
        let is_named = query.split('&').any(|parameter| parameter == "fieldManager=model");
        if request.method == Method::PATCH && request.uri.path().contains("/extensions/") && !is_named {
            self.violations.push(format!("a write without a field manager: {}", request.uri));
        }
    }

    fn answer(&mut self, method: &Method, path: &str, body: Value) -> (u16, Value) {
        let is_patch = method == Method::PATCH;
        match path {
            "/api/v1/namespaces/ns" => {
                let metadata = json!({ "name": "ns", "labels": { ROLE_LABEL: "shoot" } });
                (200, json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata }))
            }
            "/apis/extensions.gardener.cloud/v1alpha1/clusters/ns" if self.cluster_missing => refuse(404, "NotFound"),
            "/apis/extensions.gardener.cloud/v1alpha1/clusters/ns" => (200, self.cluster()),
            "/apis/extensions.gardener.cloud/v1alpha1/namespaces/ns/extensions/e" if is_patch => {
                self.patch(&body, false)
            }
            "/apis/extensions.gardener.cloud/v1alpha1/namespaces/ns/extensions/e/status"
                if is_patch && self.status_refused =>
            {
                refuse(413, "RequestEntityTooLarge")
            }
            "/apis/extensions.gardener.cloud/v1alpha1/namespaces/ns/extensions/e/status" if is_patch => {
                self.patch(&body, true)
            }
            "/apis/extensions.gardener.cloud/v1alpha1/namespaces/ns/extensions/e" => {
                self.extension.clone().map_or_else(|| refuse(404, "NotFound"), |found| (200, found))
            }
            _ if path.contains("/events") && method == Method::POST => {
                let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
                self.events.push((text("reason"), text("note")));
                (201, body)
            }
            _ if path.contains("/events") => (
                200,
                json!({ "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": { "name": "n" }, "eventTime": null }),
            ),
            _ => {
                self.violations.push(format!("an unknown call: {method} {path}"));
                refuse(404, "NotFound")
            }
        }
    }

    fn cluster(&self) -> Value {
        let state = if self.shoot_failed { "Failed" } else { "Succeeded" };
        let annotations = if self.force { json!({ FORCE_DELETION_ANNOTATION: "true" }) } else { json!({}) };
        let type_ = if self.shoot_migrating { "Migrate" } else { "Reconcile" };
        let last = json!({ "type": type_, "state": state, "progress": 1, "description": "" });
        json!({
            "apiVersion": "extensions.gardener.cloud/v1alpha1", "kind": "Cluster", "metadata": { "name": "ns" },
            "spec": { "shoot": { "metadata": { "annotations": annotations }, "status": { "lastOperation": last } } },
        })
    }

    /// The engine's writes. As the API does it: a status goes through its subresource only, and a stale version is refused.
    fn patch(&mut self, patch: &Value, status: bool) -> (u16, Value) {
        let Some(before) = self.extension.clone() else { return refuse(404, "NotFound") };
        self.status_writes += usize::from(status);
        let version = &patch["metadata"]["resourceVersion"];
        if !version.is_null() && *version != before["metadata"]["resourceVersion"] {
            return refuse(409, "Conflict");
        }
        let mut after = before.clone();
        json_patch::merge(&mut after, patch);
        let (changes, kept) = if status { ("status", "metadata") } else { ("metadata", "status") };
        if after["spec"] != before["spec"] || (!status && after[kept] != before[kept]) {
            self.violations.push(format!("it changes more than {changes}: {patch}"));
        }
        after[kept] = before[kept].clone();
        self.judge(&before, &after, patch);
        if after != before {
            self.extension = Some(after);
            self.bump();
        }
        let answer = self.extension.clone().unwrap_or_default();
        self.end_if_free();
        (200, answer)
    }

    /// What no write of the engine may do.
    fn judge(&mut self, before: &Value, after: &Value, patch: &Value) {
        let mut violations = Vec::new();
        if self.failed_throughout {
            violations.push("it writes although Gardener gave the Shoot up");
        }
        let provider_status = &after["status"]["providerStatus"];
        if *provider_status != before["status"]["providerStatus"]
            && Some(provider_status) != self.provider_status.as_ref()
        {
            violations.push("it writes a providerStatus that the actuator did not ask for");
        }
        for field in ["conditions", "state", "resources"] {
            if before["status"][field] != after["status"][field] {
                violations.push("it changes another writer's part of the status");
            }
        }
        if before["metadata"]["labels"] != after["metadata"]["labels"] {
            violations.push("it changes labels");
        }
        let migrated = matches!(self.done, Some((Operation::Migrate, _)));
        let (had, has) = (finalizers(before), finalizers(after));
        let lost = |name: &str| had.iter().any(|found| found == name) && !has.iter().any(|found| found == name);
        if lost(FOREIGN) && !migrated {
            violations.push("it takes another controller's finalizer away");
        }
        let removed = matches!(self.done, Some((Operation::Delete | Operation::ForceDelete, _)));
        if lost(FINALIZER) && !migrated && !removed {
            violations.push("it lets go without having cleaned up");
        }
        if has.iter().filter(|found| *found == FINALIZER).count() > 1 {
            violations.push("its finalizer stands there twice");
        }
        let state = |object: &Value| object["status"]["lastOperation"]["state"].as_str().map(str::to_owned);
        if state(after).as_deref() == Some("Succeeded") && !after["status"]["lastError"].is_null() {
            violations.push("it says Succeeded beside an error");
        }
        if matches!(state(after).as_deref(), Some("Failed" | "Pending" | "Aborted")) {
            violations.push("it writes a state that is not an extension's");
        }
        self.violations.extend(violations.into_iter().map(|violation| format!("{violation}: {patch}")));
    }
}

fn refuse(code: u16, reason: &str) -> (u16, Value) {
    (
        code,
        json!({ "apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": reason, "message": "", "code": code }),
    )
}

pub(super) fn finalizers(extension: &Value) -> Vec<String> {
    let all = extension["metadata"]["finalizers"].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect()
}
