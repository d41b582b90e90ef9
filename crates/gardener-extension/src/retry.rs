//! Retries calls that failed for a transient reason at once. An operation takes a dozen calls: where a fifth of them fail, hardly one
//! operation in ten gets through in one piece, and the back-off between operations grows to minutes.
//!
//! The client itself does so for 429, 503 and 504 (`kube::client::retry`), and for nothing else.

use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use kube::client::retry::{InvalidBackoff, RetryPolicy};
use tower::retry::backoff::{Backoff as _, ExponentialBackoff, ExponentialBackoffMaker, MakeBackoff as _};
use tower::retry::{Policy, Retry};
use tower::util::rng::HasherRng;
use tower::{BoxError, service_fn};

/// What lasts longer is left to the back-off of the operation.
const RETRIES: u32 = 3;
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_millis(500);
const JITTER: f64 = 0.2;

/// A client that makes a call again, up to three times within about a second, when there was no answer or the server failed
/// (500 or 502).
///
/// Not one that creates: it may have been served, and the second would say that the object exists. All others may be made twice:
/// applied and merged patches, replacements (which have their version), deletions.
///
/// # Errors
/// Never, as the times are constants that fit each other.
pub fn retrying_client(client: Client) -> Result<Client, InvalidBackoff> {
    let namespace = client.default_namespace().to_owned();
    let policy = TransientRetry::new()?;
    let calls = service_fn(move |request: Request<Body>| {
        let client = client.clone();
        async move { client.send(request).await.map_err(BoxError::from) }
    });
    Ok(Client::new(Retry::new(policy, calls), namespace))
}

#[derive(Clone)]
struct TransientRetry {
    attempts: u32,
    backoff: ExponentialBackoff,
    cloning: RetryPolicy,
}

impl TransientRetry {
    fn new() -> Result<Self, InvalidBackoff> {
        let backoff = ExponentialBackoffMaker::new(FIRST, LONGEST, JITTER, HasherRng::new())?.make_backoff();
        Ok(Self { attempts: 0, backoff, cloning: RetryPolicy::default() })
    }
}

impl<B> Policy<Request<Body>, Response<B>, BoxError> for TransientRetry {
    type Future = tokio::time::Sleep;

    fn retry(
        &mut self,
        request: &mut Request<Body>,
        outcome: &mut Result<Response<B>, BoxError>,
    ) -> Option<tokio::time::Sleep> {
        let status = outcome.as_ref().ok().map(Response::status);
        let is_transient =
            status.is_none_or(|status| matches!(status, StatusCode::INTERNAL_SERVER_ERROR | StatusCode::BAD_GATEWAY));
        if !is_transient || self.attempts == RETRIES {
            return None;
        }
        self.attempts += 1;
        let (method, path) = (request.method(), request.uri().path());
        tracing::debug!(%method, path, ?status, "repeating a call to the API");
        Some(self.backoff.next_backoff())
    }

    /// What cannot be cloned is not made again.
    fn clone_request(&mut self, request: &Request<Body>) -> Option<Request<Body>> {
        if request.method() == Method::POST {
            return None;
        }
        Policy::<_, Response<B>, _>::clone_request(&mut self.cloning, request)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::Api;
    use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
    use serde_json::json;

    use super::*;

    /// Fails so many times, by this answer or by none, then serves.
    fn failing(times: usize, code: Option<u16>) -> (Api<ConfigMap>, Arc<AtomicUsize>) {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let server = service_fn(move |_: Request<Body>| {
            let number = counted.fetch_add(1, Ordering::Relaxed);
            async move {
                if number >= times {
                    let served = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "c" } });
                    return Ok(Response::new(Body::from(served.to_string().into_bytes())));
                }
                let Some(code) = code else { return Err(BoxError::from("connection closed")) };
                let status = json!({ "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code });
                let answer = Response::builder().status(code).body(Body::from(status.to_string().into_bytes()));
                answer.map_err(BoxError::from)
            }
        });
        let client = retrying_client(Client::new(server, "ns")).expect("constants");
        (Api::default_namespaced(client), calls)
    }

    #[tokio::test(start_paused = true)]
    async fn an_accident_is_not_noticed() {
        for code in [None, Some(500), Some(502)] {
            let (api, calls) = failing(3, code);
            assert!(api.get("c").await.is_ok(), "{code:?}");
            assert_eq!(calls.load(Ordering::Relaxed), 4);
            let (api, _) = failing(1, code);
            let patch = json!({ "data": { "a": "b" } });
            assert!(api.patch("c", &PatchParams::default(), &Patch::Merge(&patch)).await.is_ok(), "{code:?}");
            let (api, _) = failing(2, code);
            assert!(api.delete("c", &DeleteParams::default()).await.is_ok(), "{code:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lasting_failure_is_returned_within_a_second_and_a_half() {
        let (api, calls) = failing(usize::MAX, Some(500));
        let start = tokio::time::Instant::now();
        assert!(api.get("c").await.is_err());
        assert_eq!(calls.load(Ordering::Relaxed), 4);
        assert!(start.elapsed() < Duration::from_millis(1500), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_final_and_nothing_is_created_twice() {
        for code in [400, 403, 404, 409, 422] {
            let (api, calls) = failing(1, Some(code));
            assert!(api.get("c").await.is_err());
            assert_eq!(calls.load(Ordering::Relaxed), 1, "{code}");
        }
        let (api, calls) = failing(1, None);
        assert!(api.create(&PostParams::default(), &ConfigMap::default()).await.is_err());
        assert_eq!(calls.load(Ordering::Relaxed), 1);
    }
}
