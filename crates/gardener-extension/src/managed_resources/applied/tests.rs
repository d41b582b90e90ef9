use std::sync::Arc;

use http::{Method, Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use tower::service_fn;

use super::*;

const MANAGER: &str = "model";

/// An API with one object, which counts its versions and generations, and what was asked of it.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    object: Value,
    calls: Vec<Method>,
    /// Reads are refused.
    is_closed: bool,
}

impl State {
    fn bump(&mut self, field: &str) {
        let number = self.object["metadata"][field].as_str().and_then(|text| text.parse::<i64>().ok());
        let next = number.or(self.object["metadata"][field].as_i64()).unwrap_or_default() + 1;
        self.object["metadata"][field] = if field == "generation" { json!(next) } else { json!(next.to_string()) };
    }

    fn apply(&mut self, sent: &Value) {
        let before = self.object.clone();
        json_patch::merge(&mut self.object, sent);
        self.object["metadata"]["uid"] = json!("u");
        if self.object["spec"] != before["spec"] {
            self.bump("generation");
        }
        if self.object != before {
            self.bump("resourceVersion");
        }
    }
}

impl Server {
    fn client(&self) -> Client {
        let shared = self.clone();
        let service = service_fn(move |request: Request<Body>| {
            let shared = shared.clone();
            async move {
                let (parts, body) = request.into_parts();
                let sent: Value = serde_json::from_slice(&body.collect_bytes().await?).unwrap_or_default();
                let mut state = shared.state();
                state.calls.push(parts.method.clone());
                let is_read = parts.method == Method::GET;
                let (code, answer) = match (is_read, state.is_closed) {
                    (true, true) => (403, json!({ "kind": "Status", "status": "Failure", "code": 403, "message": "" })),
                    (true, false) => (200, state.object.clone()),
                    (false, _) => {
                        state.apply(&sent);
                        (200, state.object.clone())
                    }
                };
                let answer = Response::builder().status(code).body(Body::from(answer.to_string().into_bytes()));
                answer.map_err(tower::BoxError::from)
            }
        });
        Client::new(service, "default")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn calls(&self) -> Vec<Method> {
        std::mem::take(&mut self.state().calls)
    }

    /// Somebody edits the object.
    fn edit(&self, patch: &Value) {
        self.state().apply(patch);
    }
}

fn secret(text: &str) -> Secret {
    let object = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s", "namespace": "ns" }, "stringData": { "key": text },
    });
    serde_json::from_value(object).expect("a Secret")
}

fn resource() -> ManagedResource {
    let object = json!({
        "metadata": { "name": "r", "namespace": "ns", "labels": { "a": "b" } }, "spec": { "secretRefs": [{ "name": "s" }] },
    });
    serde_json::from_value(object).expect("a ManagedResource")
}

#[tokio::test]
async fn unchanged_secret_is_applied_once_and_one_that_was_edited_is_put_right() -> Result<(), Error> {
    let (server, applied) = (Server::default(), Applied::default());
    let client = server.client();
    for _ in 0..3 {
        applied.secret(&client, MANAGER, &secret("text")).await?;
    }
    assert_eq!(server.calls(), [Method::PATCH, Method::GET, Method::GET]);
    server.edit(&json!({ "stringData": { "key": "edited" } }));
    applied.secret(&client, MANAGER, &secret("text")).await?;
    assert_eq!(server.calls(), [Method::GET, Method::PATCH]);
    assert_eq!(server.state().object["stringData"]["key"], "text");
    applied.secret(&client, MANAGER, &secret("other")).await?;
    assert_eq!(server.calls(), [Method::PATCH], "something else is applied unasked");
    applied.forget("ns");
    applied.secret(&client, MANAGER, &secret("other")).await?;
    assert_eq!(server.calls(), [Method::PATCH], "what was forgotten is applied");
    Ok(())
}

#[tokio::test]
async fn secret_that_may_not_be_read_or_is_gone_is_applied() -> Result<(), Error> {
    let (server, applied) = (Server::default(), Applied::default());
    let client = server.client();
    applied.secret(&client, MANAGER, &secret("text")).await?;
    server.state().is_closed = true;
    applied.secret(&client, MANAGER, &secret("text")).await?;
    assert_eq!(server.calls(), [Method::PATCH, Method::GET, Method::PATCH]);
    Ok(())
}

#[tokio::test]
async fn unchanged_managed_resource_is_applied_once_whatever_its_status_says() -> Result<(), Error> {
    let (server, applied) = (Server::default(), Applied::default());
    let client = server.client();
    let mut seen = Some(applied.managed_resource(&client, MANAGER, &resource(), None).await?);
    assert_eq!(server.calls(), [Method::PATCH]);
    if let Some(seen) = &mut seen {
        // Its resource manager has written.
        seen.metadata.resource_version = Some("77".to_owned());
        seen.metadata.finalizers = Some(vec!["f".to_owned()]);
    }
    let answered = applied.managed_resource(&client, MANAGER, &resource(), seen.clone()).await?;
    assert!(server.calls().is_empty() && Some(&answered) == seen.as_ref());
    applied.managed_resource(&client, MANAGER, &resource(), None).await?;
    assert_eq!(server.calls(), [Method::PATCH], "what was not seen is applied");
    Ok(())
}

#[tokio::test]
async fn managed_resource_that_was_edited_or_made_anew_is_applied() -> Result<(), Error> {
    let (server, applied) = (Server::default(), Applied::default());
    let client = server.client();
    let known = applied.managed_resource(&client, MANAGER, &resource(), None).await?;
    let edits: [fn(&mut ManagedResource); 4] = [
        |seen| seen.metadata.generation = Some(9),
        |seen| seen.metadata.uid = Some("another".to_owned()),
        |seen| seen.metadata.labels = None,
        |seen| seen.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).ok(),
    ];
    for edit in edits {
        let mut seen = known.clone();
        edit(&mut seen);
        server.calls();
        applied.managed_resource(&client, MANAGER, &resource(), Some(seen)).await?;
        assert_eq!(server.calls(), [Method::PATCH]);
    }
    Ok(())
}
