//! How often the API was asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::Method;

/// In the words of RBAC; what is about no object comes last.
const VERBS: [&str; 9] =
    ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "nonresource"];

/// Requests by their verbs. Clones share the counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Calls(Arc<[AtomicU64; VERBS.len()]>);

impl Calls {
    /// Counts one. `named`: it is about one object; `None` where it is about none.
    pub(super) fn count(&self, method: &Method, named: Option<bool>, watches: bool) {
        let verb = match (method, named) {
            (&Method::GET, Some(true)) => "get",
            (&Method::GET, Some(false)) if watches => "watch",
            (&Method::GET, Some(false)) => "list",
            (&Method::POST, Some(_)) => "create",
            (&Method::PUT, Some(_)) => "update",
            (&Method::PATCH, Some(_)) => "patch",
            (&Method::DELETE, Some(true)) => "delete",
            (&Method::DELETE, Some(false)) => "deletecollection",
            _ => "nonresource",
        };
        let place = VERBS.iter().position(|known| *known == verb).and_then(|place| self.0.get(place));
        if let Some(count) = place {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The counts so far.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        VERBS.into_iter().zip(self.0.iter().map(|count| count.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_rbac_verbs() {
        let calls = Calls::default();
        for (method, named, watches) in [
            (Method::GET, Some(true), false),
            (Method::GET, Some(false), false),
            (Method::GET, Some(false), true),
            (Method::POST, Some(false), false),
            (Method::PUT, Some(true), false),
            (Method::PATCH, Some(true), false),
            (Method::DELETE, Some(true), false),
            (Method::DELETE, Some(false), false),
            (Method::GET, None, false),
        ] {
            calls.count(&method, named, watches);
        }
        assert!(calls.counts().all(|(_, count)| count == 1), "{:?}", calls.counts().collect::<Vec<_>>());
    }
}
