//! The lists of what is said about an image: which answers of a registry are one, and what becomes of it.
//!
//! Registries without such lists do not only say 404. Some say that nobody may ask (401, 403), that one asked badly (400, 405, 406),
//! or answer 200 with a page for browsers. So what counts is whether an answer is a list; whatever is none means that the
//! registry has none, and the list is kept under a tag, as the specification sets it.

use reqwest::StatusCode;
use serde_json::{Map, Value};

use super::wire::INDEXES;
use crate::Digest;
use crate::Error;
use crate::image::{Artifact, Blob, INDEX};

/// An index of documents, with all that it says, also what we do not know.
#[derive(Debug, Default, PartialEq)]
pub(super) struct List(Map<String, Value>);

/// What stands under the tag for the list.
#[derive(Debug, PartialEq)]
pub(super) enum UnderTag {
    /// No list: nothing, or, as GitLab has it, the image itself.
    Nothing,
    List(List),
    /// Nobody knows: a list that is there would be lost.
    Unknown,
}

impl List {
    /// The list that an answer is; `None` for any other answer.
    pub(super) fn read(status: StatusCode, body: &[u8]) -> Option<Self> {
        let Ok(Value::Object(index)) = serde_json::from_slice(body) else { return None };
        let kind = index.get("mediaType").and_then(Value::as_str);
        let is_index = match index.get("manifests") {
            Some(Value::Array(entries)) => entries.iter().all(|entry| entry["digest"].is_string()),
            // An empty list, as programs in Go write it.
            Some(Value::Null) => kind.is_some(),
            _ => false,
        };
        (status == StatusCode::OK && is_index && kind.is_none_or(|kind| INDEXES.contains(&kind))).then_some(Self(index))
    }

    pub(super) fn has(&self, digest: &Digest) -> bool {
        let entries = self.0.get("manifests").and_then(Value::as_array);
        entries.is_some_and(|entries| entries.iter().any(|entry| entry["digest"] == digest.to_string()))
    }

    /// The list with `artifact` added, as it is pushed.
    pub(super) fn with(self, artifact: &Artifact) -> Result<Blob, Error> {
        const WHAT: &str = "the index of referrers";
        let entry = serde_json::to_value(artifact.descriptor()).map_err(|source| Error::Json { what: WHAT, source })?;
        let Self(mut index) = self;
        let mut entries = match index.remove("manifests") {
            Some(Value::Array(entries)) => entries,
            _ => Vec::new(),
        };
        entries.push(entry);
        index.insert("schemaVersion".to_owned(), 2.into());
        index.insert("mediaType".to_owned(), INDEX.into());
        index.insert("manifests".to_owned(), entries.into());
        Blob::json(INDEX, WHAT, &index)
    }
}

/// Reads what came for the tag.
pub(super) fn under_tag(status: StatusCode, body: &[u8]) -> UnderTag {
    match (List::read(status, body), status.as_u16()) {
        (Some(list), _) => UnderTag::List(list),
        // 400 and 405: no such tag can be; 406: there is something, and it is no index.
        (None, 200 | 400 | 404 | 405 | 406 | 410) => UnderTag::Nothing,
        (None, _) => UnderTag::Unknown,
    }
}

/// The tag for the list about `subject`.
pub(super) fn tag(subject: &Digest) -> String {
    subject.to_string().replace(':', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    #[test]
    fn only_an_image_index_is_a_list_of_referrers() {
        let full =
            format!(r#"{{"schemaVersion": 2, "mediaType": "{INDEX}", "manifests": [{{"digest": "{DIGEST}"}}]}}"#);
        let is_list = |status: u16, body: &str| List::read(StatusCode::from_u16(status).unwrap(), body.as_bytes());
        assert!(is_list(200, &full).unwrap().has(&DIGEST.parse().unwrap()));
        for body in [
            r#"{"schemaVersion": 2, "manifests": []}"#.to_owned(),
            format!(r#"{{"mediaType": "{INDEX}", "manifests": null}}"#),
            format!(r#"{{"mediaType": "{}", "manifests": []}}"#, INDEXES[1]),
        ] {
            assert!(!is_list(200, &body).unwrap().has(&DIGEST.parse().unwrap()), "{body}");
        }
        for (status, body) in [
            (200, "<!DOCTYPE html><html></html>"),
            (200, ""),
            (200, "[]"),
            (200, "{}"),
            (200, r#"{"manifests": null}"#),
            (200, r#"{"manifests": [7]}"#),
            (200, r#"{"manifests": "all"}"#),
            (200, r#"{"errors": [{"code": "UNSUPPORTED"}]}"#),
            (200, r#"{"mediaType": "application/vnd.oci.image.manifest.v1+json", "manifests": []}"#),
            (404, &full),
            (206, &full),
        ] {
            assert_eq!(is_list(status, body), None, "{status} {body}");
        }
    }

    #[test]
    fn a_list_of_referrers_that_may_exist_is_not_overwritten() {
        let read = |status: u16, body: &str| under_tag(StatusCode::from_u16(status).unwrap(), body.as_bytes());
        for status in [200, 400, 404, 405, 406, 410] {
            assert_eq!(read(status, r#"{"schemaVersion": 2, "config": {}}"#), UnderTag::Nothing, "{status}");
        }
        for status in [401, 403, 429, 500, 502, 503] {
            assert_eq!(read(status, ""), UnderTag::Unknown, "{status}");
        }
        assert!(matches!(read(200, r#"{"manifests": []}"#), UnderTag::List(_)));
    }
}
