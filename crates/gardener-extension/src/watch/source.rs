//! Lists and watches one kind, and hands on each object as the text that it is: whatever stands in one object is that object's affair.
//!
//! kube's own watcher decodes a page at a time, logs what it cannot decode, buffers events whose `type` does not come first (where no
//! text survives, and where nesting is bounded for the whole), and reads answers of any length.

use std::borrow::Cow;
use std::pin::pin;
use std::time::Duration;

use futures::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _};
use http::HeaderValue;
use http::header::ACCEPT_ENCODING;
use kube::Client;
use kube::api::{ListParams, WatchParams};
use kube::core::Request;
use observability::ErrorChain;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::call::call;
use crate::{Error, Metrics, backoff};

/// Longest page of a list, and longest event, in bytes. etcd takes objects of 1.5 MiB at most, so that a page of one always fits; of a page
/// that is longer half the objects are asked for instead.
const ANSWER_LIMIT: usize = 8 << 20;
/// How long a watch lasts, and after which silence it is broken.
const WATCH: u32 = 290;
const SILENCE: Duration = Duration::from_secs(295);
/// A watch that ends sooner, and without a word, is no good.
const SHORTEST_WATCH: Duration = Duration::from_secs(1);
/// Before a list or watch that failed is tried again.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(640), factor: 2, cap: Duration::from_secs(30) };

/// What is seen.
#[derive(Debug)]
pub(super) enum Event<'a> {
    /// A list begins; what it does not hold is gone.
    Begin,
    /// An object in the list.
    Listed(&'a RawValue),
    /// The list is complete.
    Complete,
    /// An object is new, or changed.
    Changed(&'a RawValue),
    /// An object is gone.
    Gone(&'a RawValue),
}

/// What is watched.
pub(super) struct Source {
    pub(super) client: Client,
    pub(super) metrics: Metrics,
    /// For people and metrics.
    pub(super) kind: &'static str,
    /// Path of the kind.
    pub(super) path: String,
    /// Only objects of this name.
    pub(super) name: Option<String>,
    /// Objects in a page, unless it gets too long.
    pub(super) page: u32,
}

#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Call(#[from] Error),
    #[error("a single object makes an answer of more than {ANSWER_LIMIT} bytes")]
    TooLong,
    #[error("the answer is no list")]
    NoList,
    #[error("the watch ended with {code} {reason}: {message}")]
    Ended { code: u16, reason: String, message: String },
    #[error("the watch broke")]
    Broken(#[from] std::io::Error),
    #[error("the watch ended at once")]
    Short,
}

impl Fault {
    /// The version that we know is too old: everything has to be listed anew.
    fn is_expired(&self) -> bool {
        match self {
            Self::Call(error) => error.is_expired(),
            Self::Ended { code, .. } => *code == 410,
            _ => false,
        }
    }
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(default)]
    metadata: PageMetadata,
    #[serde(borrow)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Default, Deserialize)]
struct PageMetadata {
    #[serde(rename = "resourceVersion")]
    resource_version: Option<String>,
    #[serde(rename = "continue")]
    continue_: Option<String>,
}

/// A line of a watch, whichever member comes first.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type", borrow)]
    type_: Cow<'a, str>,
    #[serde(borrow)]
    object: &'a RawValue,
}

/// The part of an object by which a watch goes on; also a Status.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Head {
    metadata: PageMetadata,
    code: u16,
    reason: String,
    message: String,
}

impl Source {
    /// Yields everything there is and every change, forever.
    pub(super) async fn follow(&self, mut handle: impl FnMut(Event<'_>) + Send) {
        let mut version: Option<String> = None;
        let mut failures = 0;
        loop {
            let outcome = if let Some(at) = &mut version {
                self.watch(at, &mut failures, &mut handle).await
            } else {
                self.list(&mut handle).await.map(|at| version = Some(at))
            };
            let Err(fault) = outcome else { continue };
            self.metrics.watch_error(self.kind);
            // Once per interruption; it goes on by itself.
            if failures == 0 {
                tracing::warn!(kind = self.kind, error = %ErrorChain(&fault), "a watch is interrupted");
            }
            if fault.is_expired() {
                version = None;
            }
            failures = (failures + 1).min(32);
            tokio::time::sleep(BACKOFF.delay(failures, backoff::random())).await;
        }
    }

    /// Lists page by page; answers the version of the list.
    async fn list(&self, handle: &mut (impl FnMut(Event<'_>) + Send)) -> Result<String, Fault> {
        handle(Event::Begin);
        let (mut limit, mut token) = (self.page, None);
        loop {
            let Some(text) = self.page(limit, token.as_deref()).await? else {
                if limit <= 1 {
                    return Err(Fault::TooLong);
                }
                limit /= 2;
                continue;
            };
            // The error may quote the answer.
            let page: Page<'_> = serde_json::from_slice(&text).map_err(|_| Fault::NoList)?;
            for object in page.items.unwrap_or_default() {
                handle(Event::Listed(object));
            }
            token = page.metadata.continue_.filter(|token| !token.is_empty());
            if token.is_none() {
                let version = page.metadata.resource_version.filter(|version| !version.is_empty());
                let version = version.ok_or(Fault::NoList)?;
                handle(Event::Complete);
                return Ok(version);
            }
        }
    }

    /// One page; `None` when it is too long.
    async fn page(&self, limit: u32, token: Option<&str>) -> Result<Option<Vec<u8>>, Error> {
        let mut parameters = ListParams::default().limit(limit);
        parameters.field_selector = self.selector();
        parameters.continue_token = token.map(str::to_owned);
        let request = Request::new(self.path.as_str()).list(&parameters);
        call("list", self.kind, async {
            let answer = self.client.request_stream(request.map_err(kube::Error::BuildRequest)?).await?;
            let mut text = Vec::new();
            let most = u64::try_from(ANSWER_LIMIT).unwrap_or(u64::MAX).saturating_add(1);
            pin!(answer.take(most)).read_to_end(&mut text).await.map_err(kube::Error::ReadEvents)?;
            Ok((text.len() <= ANSWER_LIMIT).then_some(text))
        })
        .await
    }

    /// Watches from the version `at`, which moves on, until the watch ends; that is no failure.
    async fn watch(
        &self,
        at: &mut String,
        failures: &mut u32,
        handle: &mut (impl FnMut(Event<'_>) + Send),
    ) -> Result<(), Fault> {
        let parameters =
            WatchParams { field_selector: self.selector(), timeout: Some(WATCH), ..WatchParams::default() };
        let request = Request::new(self.path.as_str()).watch(&parameters, at);
        let answer = call("watch", self.kind, async {
            let mut request = request.map_err(kube::Error::BuildRequest)?;
            // A stream that is compressed event by event is not undone as one.
            request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            self.client.request_stream(request).await
        })
        .await?;
        let (mut answer, began, mut silent) = (pin!(answer), Instant::now(), true);
        let mut text = Vec::new();
        // Silence ends a watch as its server does.
        while let Ok(read) = tokio::time::timeout(SILENCE, read_line(&mut answer, &mut text, ANSWER_LIMIT)).await {
            let found = match read {
                Ok(found) => found,
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error.into()),
            };
            (silent, *failures) = (silent && found == Found::End, if found == Found::End { *failures } else { 0 });
            match found {
                Found::End => break,
                Found::Line => self.line(&text, at, handle)?,
                Found::TooLong => {
                    self.metrics.undecodable(self.kind);
                    tracing::error!(kind = self.kind, limit = ANSWER_LIMIT, "skipping an event that is too long");
                }
            }
        }
        if silent && began.elapsed() < SHORTEST_WATCH { Err(Fault::Short) } else { Ok(()) }
    }

    fn line(&self, text: &[u8], at: &mut String, handle: &mut impl FnMut(Event<'_>)) -> Result<(), Fault> {
        let Ok(line) = serde_json::from_slice::<Line<'_>>(text) else {
            self.metrics.undecodable(self.kind);
            tracing::error!(kind = self.kind, "skipping an event that is none");
            return Ok(());
        };
        let head: Head = serde_json::from_str(line.object.get()).unwrap_or_default();
        match line.type_.as_ref() {
            "ADDED" | "MODIFIED" => handle(Event::Changed(line.object)),
            "DELETED" => handle(Event::Gone(line.object)),
            "ERROR" => return Err(Fault::Ended { code: head.code, reason: head.reason, message: head.message }),
            _ => {}
        }
        if let Some(version) = head.metadata.resource_version.filter(|version| !version.is_empty()) {
            *at = version;
        }
        Ok(())
    }

    fn selector(&self) -> Option<String> {
        self.name.as_ref().map(|name| format!("metadata.name={name}"))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Line,
    /// A line, but more than was allowed.
    TooLong,
    /// What comes before it without a line break is no line.
    End,
}

/// Reads up to the next line break. Of a line that is too long nothing is kept.
async fn read_line(
    answer: &mut (impl AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
    limit: usize,
) -> std::io::Result<Found> {
    line.clear();
    let mut too_long = false;
    loop {
        let chunk = answer.fill_buf().await?;
        if chunk.is_empty() {
            return Ok(Found::End);
        }
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let part = &chunk[..end.unwrap_or(chunk.len())];
        too_long |= line.len() + part.len() > limit;
        if too_long {
            *line = Vec::new();
        } else {
            line.extend_from_slice(part);
        }
        let taken = part.len() + usize::from(end.is_some());
        answer.consume_unpin(taken);
        if end.is_some() {
            return Ok(if too_long { Found::TooLong } else { Found::Line });
        }
    }
}

#[cfg(test)]
mod tests;
