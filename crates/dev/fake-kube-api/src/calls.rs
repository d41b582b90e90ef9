//! What the API was asked, and how it answered.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::Method;

/// In the words of RBAC; what is about no object comes last.
const VERBS: [&str; 9] =
    ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "nonresource"];

/// One request: its verb, and the plural of what it is about and whether it is about its status; `None` where it is about nothing known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Asked {
    verb: &'static str,
    about: Option<(&'static str, bool)>,
}

impl Asked {
    /// `named`: it is about one object; `None` where it is about none.
    pub(super) fn of(method: &Method, named: Option<bool>, watches: bool, about: Option<(&'static str, bool)>) -> Self {
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
        Self { verb, about }
    }

    /// As an audit log reports it.
    fn describe(self, code: u16) -> String {
        match self.about {
            Some((plural, is_status)) => {
                format!("{} {plural}{} {code}", self.verb, if is_status { "/status" } else { "" })
            }
            None => format!("{} {code}", self.verb),
        }
    }
}

/// Requests by their verbs, and answers. Clones share the counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Calls {
    asked: Arc<[AtomicU64; VERBS.len()]>,
    answered: Arc<Mutex<BTreeMap<(Asked, u16), u64>>>,
}

impl Calls {
    /// Counts a request.
    pub(super) fn ask(&self, asked: Asked) {
        let place = VERBS.iter().position(|known| *known == asked.verb).and_then(|place| self.asked.get(place));
        if let Some(count) = place {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts its answer.
    pub(super) fn answer(&self, asked: Asked, code: u16) {
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner).entry((asked, code)).or_default() += 1;
    }

    /// The counts so far.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        VERBS.into_iter().zip(self.asked.iter().map(|count| count.load(Ordering::Relaxed)))
    }

    /// The answers so far.
    pub(super) fn answers(&self) -> BTreeMap<String, u64> {
        let answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        answered.iter().map(|((asked, code), count)| (asked.describe(*code), *count)).collect()
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
            calls.ask(Asked::of(&method, named, watches, None));
        }
        assert!(calls.counts().all(|(_, count)| count == 1), "{:?}", calls.counts().collect::<Vec<_>>());
    }

    #[test]
    fn answers_are_counted_as_in_an_audit_log() {
        let calls = Calls::default();
        let status = Asked::of(&Method::PATCH, Some(true), false, Some(("extensions", true)));
        for code in [200, 409, 200] {
            calls.answer(status, code);
        }
        calls.answer(Asked::of(&Method::GET, Some(true), false, Some(("secrets", false))), 200);
        calls.answer(Asked::of(&Method::GET, None, false, None), 404);
        let expected = [
            ("get secrets 200", 1),
            ("nonresource 404", 1),
            ("patch extensions/status 200", 2),
            ("patch extensions/status 409", 1),
        ];
        assert_eq!(calls.answers(), expected.map(|(call, count)| (call.to_owned(), count)).into());
    }
}
