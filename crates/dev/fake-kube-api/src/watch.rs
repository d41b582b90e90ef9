//! The stream of a watch.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::object::only_metadata;
use super::resource::Resource;
use super::selector::Selector;
use super::store::{Store, WatchEvent};

/// Between two bookmarks, and before the end of a watch.
const BOOKMARK: Duration = Duration::from_secs(10);
/// How long before its end a watch gets its last bookmark.
const FAREWELL: Duration = Duration::from_secs(2);

/// What is watched.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) resource: &'static Resource,
    pub(super) namespace: String,
    pub(super) selector: Selector,
    /// `None`: begin with everything there is.
    pub(super) revision: Option<u64>,
    pub(super) bookmarks: bool,
    pub(super) metadata_only: bool,
    pub(super) limit: Duration,
}

struct Running {
    store: Store,
    watched: Watched,
    changes: tokio::sync::watch::Receiver<u64>,
    seen: Option<u64>,
    /// Up to where the client knows.
    sent: Option<u64>,
    end: Instant,
    bookmark: Instant,
    over: bool,
}

/// Events as they come, one line of JSON each; it ends at the time limit, or after an expiry.
pub(super) fn stream(store: Store, watched: Watched) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> {
    let (changes, start) = (store.changes(), Instant::now());
    let end = start + watched.limit;
    let bookmark = first_bookmark(start, end);
    let running =
        Running { changes, seen: watched.revision, sent: watched.revision, end, bookmark, over: false, store, watched };
    futures::stream::unfold(running, |mut running| async move {
        let lines = running.next().await?;
        Some((Ok(Frame::data(Bytes::from(lines))), running))
    })
}

fn first_bookmark(start: Instant, end: Instant) -> Instant {
    (start + BOOKMARK).min(end.checked_sub(FAREWELL).unwrap_or(start).max(start))
}

impl Running {
    /// The next lines; `None` at the end.
    async fn next(&mut self) -> Option<String> {
        loop {
            if self.over {
                return None;
            }
            self.changes.mark_unchanged();
            let lines = self.pending_lines();
            if !lines.is_empty() {
                return Some(lines);
            }
            tokio::select! {
                changed = self.changes.changed() => self.over = changed.is_err(),
                () = tokio::time::sleep_until(self.end) => self.over = true,
                () = tokio::time::sleep_until(self.bookmark), if self.watched.bookmarks => {
                    self.bookmark = if self.end <= Instant::now() + FAREWELL { self.end + BOOKMARK } else { first_bookmark(Instant::now(), self.end) };
                    // Only who fell behind needs one.
                    if self.seen > self.sent {
                        self.sent = self.seen;
                        return Some(self.line("BOOKMARK", &self.place()));
                    }
                }
            }
        }
    }

    fn pending_lines(&mut self) -> String {
        let state = self.store.lock();
        let Watched { resource, namespace, selector, .. } = &self.watched;
        let found = match self.seen {
            None => {
                let all = state.list(resource, namespace, selector);
                Ok(all.into_iter().map(|object| WatchEvent { kind: "ADDED", object }).collect())
            }
            Some(revision) => state.since(resource, namespace, selector, revision),
        };
        let revision = state.revision();
        drop(state);
        match found {
            Ok(events) => {
                // A revision from the future is waited for.
                self.seen = Some(self.seen.map_or(revision, |seen| seen.max(revision)));
                if !events.is_empty() {
                    self.sent = self.seen;
                }
                events.iter().map(|event| self.line(event.kind, &event.object)).collect()
            }
            Err(failure) => {
                self.over = true;
                format!("{}\n", json!({ "type": "ERROR", "object": failure.status() }))
            }
        }
    }

    fn line(&self, kind: &str, object: &Value) -> String {
        let object = if self.watched.metadata_only { only_metadata(object) } else { object.clone() };
        format!("{}\n", json!({ "type": kind, "object": object }))
    }

    fn place(&self) -> Value {
        let resource = self.watched.resource;
        let metadata =
            json!({ "resourceVersion": self.seen.unwrap_or_default().to_string(), "creationTimestamp": null });
        json!({ "apiVersion": resource.api_version(), "kind": resource.kind, "metadata": metadata })
    }
}
