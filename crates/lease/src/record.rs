//! What a lease record means to a candidate or a holder. Pure: clocks are parameters.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use tokio::time::Instant;

#[cfg(test)]
mod tests;

/// The three times of an election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// A lease that nobody renewed for so long may be taken.
    pub lease_duration: Duration,
    /// A holder that could not renew for so long stops. Less than the lease's duration: the rest is for requests under way.
    pub renew_deadline: Duration,
    /// Time between two tries.
    pub retry_period: Duration,
}

impl Default for Timing {
    /// 15, 10 and 2 seconds, as all of Gardener's controllers.
    fn default() -> Self {
        Self {
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        }
    }
}

/// What to do about the lease.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// There is none: create this.
    Create(Lease),
    /// It is ours, free, or its holder is gone: replace it by this (under the version that was read).
    Replace(Lease),
    /// Somebody holds it.
    Wait,
}

/// Remembers since when the record looks as it does.
#[derive(Debug, Default)]
pub(crate) struct Observer {
    seen: Option<(LeaseSpec, Instant)>,
}

impl Observer {
    /// Takes the record as read at `now` (own monotonic clock; any time after the answer arrived) and decides. `wall` goes into
    /// the record.
    pub(crate) fn decide(
        &mut self,
        lease: Option<&Lease>,
        who: &Candidate<'_>,
        timing: Timing,
        now: Instant,
        wall: Timestamp,
    ) -> Action {
        let Some(lease) = lease else {
            self.seen = None;
            return Action::Create(Lease {
                metadata: ObjectMeta {
                    namespace: Some(who.namespace.to_owned()),
                    name: Some(who.name.to_owned()),
                    ..ObjectMeta::default()
                },
                spec: Some(held(who.identity, timing, wall, Some(wall), 0)),
            });
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let since = match &self.seen {
            Some((seen, since)) if *seen == spec => *since,
            _ => {
                self.seen = Some((spec.clone(), now));
                now
            }
        };
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        let transitions = spec.lease_transitions.unwrap_or_default();
        let next = if holder == who.identity {
            held(who.identity, timing, wall, spec.acquire_time.map(|time| time.0), transitions)
        } else if holder.is_empty() || now.duration_since(since) >= effective_lease_duration(&spec, timing) {
            held(who.identity, timing, wall, Some(wall), transitions.saturating_add(1))
        } else {
            return Action::Wait;
        };
        Action::Replace(Lease { spec: Some(next), ..lease.clone() })
    }
}

/// Who asks for which lease.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) identity: &'a str,
}

/// The record as its holder leaves it when it stops of its own will: free at once.
pub(crate) fn released(lease: &Lease, identity: &str, wall: Timestamp) -> Option<Lease> {
    let spec = lease.spec.clone().filter(|spec| spec.holder_identity.as_deref() == Some(identity))?;
    let spec = LeaseSpec {
        holder_identity: Some(String::new()),
        lease_duration_seconds: Some(1),
        renew_time: Some(MicroTime(wall)),
        acquire_time: Some(MicroTime(wall)),
        ..spec
    };
    Some(Lease { spec: Some(spec), ..lease.clone() })
}

/// How long the holder may stay silent: what it promised itself, if that is longer than our own setting.
fn effective_lease_duration(spec: &LeaseSpec, timing: Timing) -> Duration {
    let promised = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or_default();
    timing.lease_duration.max(Duration::from_secs(promised))
}

fn held(identity: &str, timing: Timing, wall: Timestamp, acquired: Option<Timestamp>, transitions: i32) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        // The field holds whole seconds; rounding up errs on the side of the holder.
        lease_duration_seconds: Some(
            i32::try_from(timing.lease_duration.as_millis().div_ceil(1000)).unwrap_or(i32::MAX),
        ),
        acquire_time: acquired.map(MicroTime),
        renew_time: Some(MicroTime(wall)),
        lease_transitions: Some(transitions),
        ..LeaseSpec::default()
    }
}
