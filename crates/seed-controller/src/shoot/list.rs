//! Lists of a shoot, page by page. What is over a limit is not read any further: the limits hold while the answer comes in, whatever the
//! server was asked for.

use http_body_util::BodyExt as _;
use kube::api::ListParams;
use kube::client::Body;
use kube::core::Request;
use kube::{Client, Resource};
use serde::Deserialize;

use super::lean::{Object, Page};
use super::limits::{CHECK_MIB, METADATA_PAGE, OBJECTS, PAGE, PAGE_MIB, REFUSAL, TOKEN};
use super::{Excess, QueryError};

const MIB: usize = 1 << 20;

/// One check of one shoot.
pub(super) struct Lists<'a> {
    client: &'a Client,
    /// Bytes that may still come.
    left: usize,
    /// Nothing but metadata is asked for.
    metadata: bool,
}

impl<'a> Lists<'a> {
    pub(super) fn of(client: &'a Client) -> Self {
        Self { client, left: CHECK_MIB * MIB, metadata: false }
    }

    /// Of objects without spec and status.
    pub(super) fn of_metadata(client: &'a Client) -> Self {
        Self { metadata: true, ..Self::of(client) }
    }

    /// Shows every object with these labels to `each`.
    pub(super) async fn each<K: Resource<DynamicType = ()>>(
        &mut self,
        kind: &'static str,
        namespace: Option<&str>,
        labels: &str,
        mut each: impl FnMut(Object),
    ) -> Result<(), QueryError> {
        let request = Request::new(K::url_path(&(), namespace));
        let mut params = ListParams::default().labels(labels).limit(if self.metadata { METADATA_PAGE } else { PAGE });
        let mut seen = 0;
        loop {
            let (objects, next) = self.page(kind, &request, &params).await?;
            // An empty page counts, too: there could be one after the other.
            seen += objects.len().max(1);
            if seen > OBJECTS {
                return Err(QueryError::TooMuch { kind, excess: Excess::Objects });
            }
            objects.into_iter().for_each(&mut each);
            match next {
                None => return Ok(()),
                Some(token) if token.len() > TOKEN => return Err(QueryError::Unreadable { kind }),
                Some(token) => params = params.continue_token(&token),
            }
        }
    }

    async fn page(
        &mut self,
        kind: &'static str,
        request: &Request,
        params: &ListParams,
    ) -> Result<(Vec<Object>, Option<String>), QueryError> {
        let list = if self.metadata { request.list_metadata(params) } else { request.list(params) };
        let request = list.map_err(|_| QueryError::Unreadable { kind })?;
        // Not by one of the client's own ways to read an answer: those read all of it, and log what they cannot read.
        let answer = self.client.send(request.map(Body::from)).await.map_err(|_| QueryError::Unreachable { kind })?;
        let (head, body) = answer.into_parts();
        if !head.status.is_success() {
            let text = read(body, REFUSAL).await.ok().flatten().unwrap_or_default();
            return Err(QueryError::Refused { kind, reason: reason(&text, head.status) });
        }
        let limit = self.left.min(PAGE_MIB * MIB);
        let excess = if limit < PAGE_MIB * MIB { Excess::Check } else { Excess::Page };
        let text = read(body, limit).await.map_err(|_| QueryError::Unreachable { kind })?;
        let text = text.ok_or(QueryError::TooMuch { kind, excess })?;
        self.left -= text.len();
        let page: Page = serde_json::from_slice(&text).map_err(|_| QueryError::Unreadable { kind })?;
        page.objects().ok_or(QueryError::TooMuch { kind, excess: Excess::Objects })
    }
}

/// All of an answer; `None`: it is longer than `limit`.
async fn read(mut body: Body, limit: usize) -> Result<Option<Vec<u8>>, kube::Error> {
    let mut text = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(part) = frame?.into_data() else { continue };
        if part.len() > limit - text.len() {
            return Ok(None);
        }
        text.extend_from_slice(&part);
    }
    Ok(Some(text))
}

/// Kubernetes' word for a refusal. Any other text of the answer would be the shoot owner's, in a status of the seed.
fn reason(answer: &[u8], status: http::StatusCode) -> String {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Refusal {
        reason: String,
    }
    let word = serde_json::from_slice::<Refusal>(answer).unwrap_or_default().reason;
    let is_word = (1..=64).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_word { word } else { format!("HTTP status {}", status.as_u16()) }
}

#[cfg(test)]
mod tests;
