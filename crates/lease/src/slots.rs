//! Slots: at most so many of a crowd do something at the same time, and nobody begins any more after enough failures.
//!
//! One Lease object carries the whole record as an annotation, so that one read shows it and one conditional write changes it: slots cannot be
//! given twice, and the count of failures cannot be passed by. What the record means is decided by the pure module `record`. Whoever may write
//! the Lease may forge it: what is read is bounded, and the caller can leave out holders that are none of the crowd ([`Members`]).

mod members;
mod record;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use tokio::time::Instant;

pub use members::{Members, is_object_name};
use record::{Observer, Record};
pub use record::{SlotDecision, SlotRequest, Unreadable};

/// Longest time for everything that one call does.
const DEADLINE: Duration = Duration::from_secs(5);
/// How often somebody else may be faster before the caller has to come back later.
const ATTEMPTS: usize = 5;
/// Before the second attempt and, doubled each time, before the later ones; each is drawn out at random to at most twice that. A thousand agents that begin
/// together, after a roll-out, would else be in each other's way at every attempt.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Which Lease, and how slots are given.
#[derive(Clone, Debug)]
pub struct SlotsConfig {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// Annotation that carries the record.
    pub annotation: String,
    /// A holder that did not renew for so long (by the looker's own clock) has lost its slot. Longer than anything that is done in one.
    pub duration: Duration,
    /// After so many failures with one change nobody begins with it any more.
    pub failure_limit: usize,
}

/// The slots of one crowd.
#[derive(Debug)]
pub struct Slots {
    api: Api<Lease>,
    config: SlotsConfig,
    observer: Mutex<Observer>,
}

/// Why the record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SlotsError {
    /// The API server refused.
    #[error("{0} the Lease {1}")]
    Api(&'static str, String, #[source] Box<kube::Error>),
    /// It did not answer.
    #[error("no answer of the API server within {} s", DEADLINE.as_secs())]
    Timeout,
    /// Somebody else was faster each time.
    #[error("the Lease {0} changed {ATTEMPTS} times meanwhile")]
    Contended(String),
    /// The record cannot be written as JSON.
    #[error("write the record of the Lease {0}")]
    Record(String, #[source] serde_json::Error),
}

/// The record, for people who look at it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SlotsSeen {
    /// Who is at work.
    pub holders: Vec<String>,
    /// Who has failed, once for each time, the last one last.
    pub failures: Vec<String>,
}

/// Reads the record as the annotation holds it.
///
/// # Errors
/// When it is none of ours.
pub fn inspect(text: &str) -> Result<SlotsSeen, Unreadable> {
    let record = Record::read(text)?;
    Ok(SlotsSeen {
        holders: record.holders.into_iter().map(|holder| holder.name).collect(),
        failures: record.failures.into_iter().map(|failure| failure.name).collect(),
    })
}

/// What asking came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotResponse {
    /// Whether the slot is held.
    pub decision: SlotDecision,
    /// This call's failure is the one with which nobody begins any more.
    pub stopped_now: bool,
    /// Who else holds slots, as far as they were asked for.
    pub others: Vec<String>,
    /// Why the record that was found did not count.
    pub unreadable: Option<Unreadable>,
}

impl Slots {
    /// Slots in this Lease, which need not exist.
    #[must_use]
    pub fn new(client: Client, config: SlotsConfig) -> Self {
        let api = Api::namespaced(client, &config.namespace);
        Self { api, config, observer: Mutex::default() }
    }

    /// Takes or renews a slot. `owner`: with it the Lease goes, too.
    ///
    /// # Errors
    /// When nothing is known; then nothing may be begun.
    pub async fn take(
        &self,
        request: &SlotRequest<'_>,
        owner: Option<&OwnerReference>,
    ) -> Result<SlotResponse, SlotsError> {
        self.change(owner, |record, observer| {
            observer.take(record, request, &self.config, Instant::now(), Timestamp::now())
        })
        .await
    }

    /// Gives a slot back, and records a failure. Costs no write when there is nothing to change; makes no Lease but for a failure.
    ///
    /// # Errors
    /// When the record could not be changed: the slot ends with its time.
    pub async fn give_back(
        &self,
        request: &SlotRequest<'_>,
        owner: Option<&OwnerReference>,
    ) -> Result<SlotResponse, SlotsError> {
        self.change(owner, |record, _| record::give_back(record, request, &self.config)).await
    }

    /// Deletes the Lease: nothing is paced any more.
    ///
    /// # Errors
    /// When it may still be there.
    pub async fn delete(&self) -> Result<(), SlotsError> {
        let parameters = DeleteParams::default();
        let deleted = tokio::time::timeout(DEADLINE, self.api.delete(&self.config.name, &parameters));
        match deleted.await.map_err(|_elapsed| SlotsError::Timeout)? {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(error) => Err(self.failed("delete")(error)),
        }
    }

    async fn change(
        &self,
        owner: Option<&OwnerReference>,
        decide: impl Fn(&Record, &mut Observer) -> (Record, SlotResponse),
    ) -> Result<SlotResponse, SlotsError> {
        let pauses = ExponentialBuilder::default().with_min_delay(FIRST_PAUSE).with_jitter();
        let mut pauses = pauses.with_max_times(ATTEMPTS - 1).build();
        let work = async {
            loop {
                let found = self.api.get_opt(&self.config.name).await.map_err(self.failed("read"))?;
                let (record, unreadable) = self.record(found.as_ref());
                let (next, mut response) =
                    decide(&record, &mut self.observer.lock().unwrap_or_else(PoisonError::into_inner));
                response.unreadable = unreadable;
                if next == record {
                    return Ok(response);
                }
                let lease = self.written(found.as_ref(), &next, owner)?;
                let parameters = PostParams::default();
                let outcome = match found {
                    None => self.api.create(&parameters, &lease).await,
                    Some(_) => self.api.replace(&self.config.name, &parameters, &lease).await,
                };
                match outcome {
                    Ok(_) => return Ok(response),
                    // Changed, made or deleted by somebody else: what the next check shows decides.
                    Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
                    Err(error) => return Err(self.failed("write")(error)),
                }
                let Some(pause) = pauses.next() else {
                    return Err(SlotsError::Contended(self.config.name.clone()));
                };
                tokio::time::sleep(pause).await;
            }
        };
        tokio::time::timeout(DEADLINE, work).await.map_err(|_elapsed| SlotsError::Timeout)?
    }

    /// A record that cannot be read counts as none: nobody else writes it but who forges it, and the next write mends it. To wait until it can
    /// be read would let whoever spoils it once hold up all.
    fn record(&self, lease: Option<&Lease>) -> (Record, Option<Unreadable>) {
        let text = lease.and_then(|lease| lease.metadata.annotations.as_ref()?.get(&self.config.annotation));
        match text.map_or_else(|| Ok(Record::default()), |text| Record::read(text)) {
            Ok(record) => (record, None),
            Err(reason) => {
                tracing::warn!(lease = self.config.name, %reason, "the record of slots cannot be read");
                (Record::default(), Some(reason))
            }
        }
    }

    fn written(
        &self,
        found: Option<&Lease>,
        record: &Record,
        owner: Option<&OwnerReference>,
    ) -> Result<Lease, SlotsError> {
        let text =
            serde_json::to_string(record).map_err(|error| SlotsError::Record(self.config.name.clone(), error))?;
        let mut lease = found.cloned().unwrap_or_else(|| Lease {
            metadata: ObjectMeta {
                name: Some(self.config.name.clone()),
                namespace: Some(self.config.namespace.clone()),
                ..ObjectMeta::default()
            },
            spec: None,
        });
        lease.metadata.annotations.get_or_insert_default().insert(self.config.annotation.clone(), text);
        lease.metadata.owner_references = owner.map(|owner| vec![owner.clone()]);
        // For people; what counts is the record.
        lease.spec = Some(LeaseSpec {
            renew_time: Some(MicroTime(Timestamp::now())),
            lease_duration_seconds: i32::try_from(self.config.duration.as_secs()).ok(),
            ..LeaseSpec::default()
        });
        Ok(lease)
    }

    fn failed(&self, action: &'static str) -> impl Fn(kube::Error) -> SlotsError + use<> {
        let name = self.config.name.clone();
        move |error| SlotsError::Api(action, name.clone(), Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use http::{Method, Request, Response};
    use kube::client::Body;
    use serde_json::json;
    use tokio::sync::mpsc;

    use super::*;

    /// Slots behind an API where somebody else is always faster; it reports each attempt.
    fn contended() -> (Slots, mpsc::UnboundedReceiver<Instant>) {
        let (tried, attempts) = mpsc::unbounded_channel();
        let service = tower::service_fn(move |request: Request<Body>| {
            let (code, response) = if request.method() == Method::GET {
                let metadata = json!({ "name": "slots", "namespace": "ns", "resourceVersion": "1" });
                (200, json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata }))
            } else {
                let _ = tried.send(Instant::now());
                (
                    409,
                    json!({ "kind": "Status", "status": "Failure", "reason": "Conflict", "message": "", "code": 409 }),
                )
            };
            let body = Body::from(response.to_string().into_bytes());
            async move { Response::builder().status(code).body(body) }
        });
        let config = SlotsConfig {
            namespace: "ns".to_owned(),
            name: "slots".to_owned(),
            annotation: "a".to_owned(),
            duration: Duration::from_secs(60),
            failure_limit: 2,
        };
        (Slots::new(Client::new(service, "ns"), config), attempts)
    }

    #[tokio::test(start_paused = true)]
    async fn conflicting_slot_writes_are_retried_a_few_times_with_jitter() {
        let mut all = Vec::new();
        for _ in 0..2 {
            let (slots, mut attempts) = contended();
            let non_members = BTreeSet::new();
            let request = SlotRequest {
                name: "node",
                change: "c",
                failed_at: None,
                slots: 1,
                may_begin: true,
                non_members: &non_members,
            };
            let error = slots.take(&request, None).await.unwrap_err();
            assert!(matches!(error, SlotsError::Contended(_)), "{error}");
            let mut times = Vec::new();
            while let Ok(time) = attempts.try_recv() {
                times.push(time);
            }
            assert_eq!(times.len(), ATTEMPTS);
            let pauses: Vec<Duration> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
            for (pause, least) in pauses.iter().zip([50, 100, 200, 400].map(Duration::from_millis)) {
                assert!(*pause >= least && *pause <= 2 * least + Duration::from_millis(2), "{pauses:?}");
            }
            all.push(pauses);
        }
        assert_ne!(all[0], all[1]);
    }
}
