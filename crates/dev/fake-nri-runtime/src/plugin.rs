//! A plugin, from its registration on.

use std::time::{Duration, Instant};

use prost::Message as _;
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use crate::api::{self, Event};
use crate::limits;
use crate::link::{CallError, Incoming, Link};
use crate::objects::{Container, Pod};
use crate::ttrpc::code;

/// How long plugins may take; the defaults are NRI's (v0.12.2, pkg/api).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// From the connection to the registration.
    pub registration: Duration,
    /// For each request, Synchronize included.
    pub request: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { registration: Duration::from_secs(5), request: Duration::from_secs(2) }
    }
}

/// A plugin that has registered.
#[derive(Debug)]
pub(crate) struct Plugin {
    /// Index and name.
    pub(crate) name: String,
    pub(crate) nri_version: String,
    events: i32,
    pub(crate) link: Link,
}

impl Plugin {
    /// Waits for the registration and configures the plugin. Its later requests come through the receiver.
    pub(crate) async fn register(
        stream: UnixStream,
        timeouts: Timeouts,
    ) -> Result<(Self, mpsc::Receiver<Incoming>), String> {
        let (link, mut requests) = Link::open(stream);
        let first = tokio::time::timeout(timeouts.registration, requests.recv()).await;
        let first = first
            .map_err(|_elapsed| format!("no registration within {:?}", timeouts.registration))?
            .ok_or("closed before the registration")?;
        if first.method != "RegisterPlugin" {
            return Err(format!("first request is {:?}, want RegisterPlugin", first.method));
        }
        let asked =
            api::RegisterPluginRequest::decode(first.payload).map_err(|error| format!("registration: {error}"))?;
        if let Err(reason) = check(&asked) {
            let refusal = Err((code::UNKNOWN, reason.clone()));
            // The connection ends here anyway.
            let _told = link.answer(first.stream, refusal, timeouts.request).await;
            return Err(reason);
        }
        let granted = link.answer(first.stream, Ok(api::Empty {}.encode_to_vec().into()), timeouts.request).await;
        granted.map_err(|error| format!("registration: {error}"))?;
        let milliseconds = |limit: Duration| i64::try_from(limit.as_millis()).unwrap_or(i64::MAX);
        let configure = api::ConfigureRequest {
            config: String::new(),
            runtime_name: env!("CARGO_PKG_NAME").to_owned(),
            runtime_version: env!("CARGO_PKG_VERSION").to_owned(),
            registration_timeout: milliseconds(timeouts.registration),
            request_timeout: milliseconds(timeouts.request),
        };
        let configured: api::ConfigureResponse = link
            .call("Configure", &configure, timeouts.request)
            .await
            .map_err(|error| format!("Configure: {error}"))?;
        let name = format!("{}-{}", asked.plugin_idx, asked.plugin_name);
        Ok((Self { name, nri_version: asked.nri_version, events: configured.events, link }, requests))
    }

    pub(crate) fn wants(&self, event: Event) -> bool {
        event.is_in(self.events)
    }

    /// Notifies it of all pods and containers, in as many requests as are needed, within one request's time.
    pub(crate) async fn synchronize(
        &self,
        pods: &[Pod],
        containers: &[Container],
        limit: Duration,
    ) -> Result<Vec<api::ContainerUpdate>, CallError> {
        let end = Instant::now() + limit;
        let requests = in_parts(
            pods.iter().map(Pod::to_api).collect(),
            containers.iter().map(|container| container.to_api(false)).collect(),
            limits::SYNCHRONIZE_BYTES,
        );
        let mut updates = Vec::new();
        for request in requests {
            let left = end.saturating_duration_since(Instant::now());
            let answer: api::SynchronizeResponse = match self.link.call("Synchronize", &request, left).await {
                Err(CallError::TimedOut(_)) => return Err(CallError::TimedOut(limit)),
                other => other?,
            };
            if request.more && (!answer.more || !answer.update.is_empty()) {
                return Err(CallError::Protocol("the plugin does not take Synchronize in parts".to_owned()));
            }
            updates = answer.update;
        }
        Ok(updates)
    }
}

/// The rules for names (NRI v0.12.2, pkg/api/plugin.go).
fn check(asked: &api::RegisterPluginRequest) -> Result<(), String> {
    let name_is_good = !asked.plugin_name.is_empty()
        && asked.plugin_name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if !name_is_good {
        return Err(format!("plugin name {:?}: want letters, digits, `-`, `_` and `.`", asked.plugin_name));
    }
    if asked.plugin_idx.len() != 2 || !asked.plugin_idx.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("plugin index {:?}: want two digits", asked.plugin_idx));
    }
    Ok(())
}

/// Requests that carry everything, none of them over `bytes` unless one object alone is.
fn in_parts(pods: Vec<api::PodSandbox>, containers: Vec<api::Container>, bytes: usize) -> Vec<api::SynchronizeRequest> {
    let (mut parts, mut part, mut room) = (Vec::new(), api::SynchronizeRequest::default(), bytes);
    let mut make_room = |part: &mut api::SynchronizeRequest, object: usize| {
        // A field's number and length take at most six bytes.
        let size = object + 6;
        if size > room {
            parts.push(api::SynchronizeRequest { more: true, ..std::mem::take(part) });
            room = bytes;
        }
        room = room.saturating_sub(size);
    };
    for pod in pods {
        make_room(&mut part, pod.encoded_len());
        part.pods.push(pod);
    }
    for container in containers {
        make_room(&mut part, container.encoded_len());
        part.containers.push(container);
    }
    parts.push(part);
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_carry_everything_in_order_and_are_small(
            pods in prop::collection::vec(1_usize..200, 0..30),
            containers in prop::collection::vec(1_usize..200, 0..30),
        ) {
            let name = |length: &usize| "x".repeat(*length);
            let pods: Vec<_> =
                pods.iter().map(|length| api::PodSandbox { id: name(length), ..Default::default() }).collect();
            let containers: Vec<_> =
                containers.iter().map(|length| api::Container { id: name(length), ..Default::default() }).collect();
            let parts = in_parts(pods.clone(), containers.clone(), 300);
            prop_assert_eq!(parts.iter().flat_map(|part| part.pods.clone()).collect::<Vec<_>>(), pods);
            prop_assert_eq!(parts.iter().flat_map(|part| part.containers.clone()).collect::<Vec<_>>(), containers);
            let (last, others) = parts.split_last().unwrap();
            prop_assert!(!last.more && others.iter().all(|part| part.more));
            for part in &parts {
                prop_assert!(part.encoded_len() <= 310, "{}", part.encoded_len());
            }
        }
    }

    #[test]
    fn names_and_indices_are_checked() {
        for (name, index, good) in [
            ("resource-manager", "90", true),
            ("", "90", false),
            ("a b", "90", false),
            ("a", "9", false),
            ("a", "9x", false),
        ] {
            let asked = api::RegisterPluginRequest {
                plugin_name: name.to_owned(),
                plugin_idx: index.to_owned(),
                nri_version: String::new(),
            };
            assert_eq!(check(&asked).is_ok(), good, "{name:?} {index:?}");
        }
    }
}
