//! The heartbeat Lease: gardenlet takes an extension's health for outdated when nobody renewed it for five minutes.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

/// Longest time for one renewal; well within the interval.
const DEADLINE: Duration = Duration::from_secs(10);
/// First wait after a failure; doubles up to the interval.
const FIRST_RETRY: Duration = Duration::from_millis(500);

/// Renews one Lease.
#[derive(Clone)]
pub struct Heartbeat {
    /// Client; best a fenced one: only the leader's heart beats.
    pub client: Client,
    /// Namespace that the extension is deployed in.
    pub namespace: String,
    /// Name of the Lease; gardenlet looks for `gardener-extension-heartbeat`.
    pub name: String,
    /// Holder: the extension's name.
    pub holder: String,
    /// In whose name the Lease is written.
    pub field_manager: String,
    /// Time between two renewals, also written as the lease's duration. At least a second.
    pub interval: Duration,
}

impl fmt::Debug for Heartbeat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Heartbeat({}/{})", self.namespace, self.name)
    }
}

impl Heartbeat {
    /// Renews until `stop` resolves. Errors are logged and tried again, sooner than the next renewal would be.
    pub async fn run(self, stop: impl Future<Output = ()> + Send) {
        tokio::pin!(stop);
        let interval = self.interval.max(Duration::from_secs(1));
        let retries =
            ExponentialBuilder::default().with_min_delay(FIRST_RETRY).with_max_delay(interval).without_max_times();
        let mut pauses = retries.build();
        loop {
            let renewed = tokio::select! {
                renewed = tokio::time::timeout(DEADLINE, self.renew(Timestamp::now())) => renewed,
                () = &mut stop => return,
            };
            let problem = match renewed {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some(format!("no answer within {} s", DEADLINE.as_secs())),
            };
            let pause = if let Some(error) = problem {
                tracing::warn!(
                    lease = format!("{}/{}", self.namespace, self.name),
                    error,
                    "cannot renew the heartbeat"
                );
                pauses.next().unwrap_or(interval)
            } else {
                pauses = retries.build();
                interval
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = &mut stop => return,
            }
        }
    }

    /// Renews once: one call, unless the Lease does not exist yet.
    pub async fn renew(&self, now: Timestamp) -> Result<(), kube::Error> {
        let api: Api<Lease> = Api::namespaced(self.client.clone(), &self.namespace);
        let body = record(&self.namespace, &self.name, &self.holder, self.interval, now);
        let field_manager = Some(self.field_manager.clone());
        let parameters = PatchParams { field_manager: field_manager.clone(), ..PatchParams::default() };
        let patched = api.patch(&self.name, &parameters, &Patch::Merge(&body)).await;
        match patched {
            Err(kube::Error::Api(status)) if status.code == 404 => {
                let lease: Lease = serde_json::from_value(body).map_err(kube::Error::SerdeError)?;
                api.create(&PostParams { field_manager, ..PostParams::default() }, &lease).await.map(|_| ())
            }
            other => other.map(|_| ()),
        }
    }
}

/// The whole record; as a merge patch it also removes what is not ours to have.
fn record(namespace: &str, name: &str, holder: &str, interval: Duration, now: Timestamp) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": { "namespace": namespace, "name": name },
        "spec": {
            "holderIdentity": holder,
            "leaseDurationSeconds": interval.as_secs(),
            "renewTime": MicroTime(now),
            "acquireTime": null,
            "leaseTransitions": null,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_record_has_the_fields_that_gardenlet_expects() -> Result<(), Box<dyn std::error::Error>> {
        let now = "2026-01-02T03:04:05.1234567Z".parse()?;
        let record = record("ns", "gardener-extension-heartbeat", "cri-resmgr", Duration::from_secs(30), now);
        assert_eq!(record["spec"]["renewTime"], "2026-01-02T03:04:05.123456Z", "six digits");
        assert_eq!(record["spec"]["leaseDurationSeconds"], 30);
        let lease: Lease = serde_json::from_value(record)?;
        let spec = lease.spec.ok_or("no spec")?;
        assert_eq!(spec.holder_identity.as_deref(), Some("cri-resmgr"));
        assert!(spec.acquire_time.is_none() && spec.lease_transitions.is_none());
        Ok(())
    }
}
