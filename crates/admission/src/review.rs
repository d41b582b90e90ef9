//! `admission.k8s.io` AdmissionReview, v1 and v1beta1 (Kubernetes `pkg/apis/admission`), as far as it is used here.
//!
//! Objects stay text until somebody reads a part of them: what other extensions may have in a Shoot, of whatever depth, is skipped without
//! recursion.

use serde::Deserialize;
use serde_json::value::RawValue;

/// Versions that are answered; both have the same fields here.
pub(crate) const VERSIONS: [&str; 2] = ["admission.k8s.io/v1", "admission.k8s.io/v1beta1"];
pub(crate) const KIND: &str = "AdmissionReview";

/// Why there is no answer but a status code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAReview {
    /// Neither the text nor where it ends is shown: it may be anybody's.
    #[error("the body is no AdmissionReview in JSON")]
    Unreadable,
    #[error("apiVersion and kind must be {KIND} of {} or {}", VERSIONS[0], VERSIONS[1])]
    OtherKind,
    #[error("request must be given, with its uid")]
    NoRequest,
    #[error("request.resource must be shoots of core.gardener.cloud")]
    OtherResource,
}

/// What an API server asks.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AdmissionReview {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    request: Option<Request>,
}

/// Its question.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    #[serde(default)]
    pub(crate) uid: String,
    #[serde(default)]
    resource: Resource,
    #[serde(default)]
    pub(crate) sub_resource: String,
    #[serde(default)]
    pub(crate) operation: String,
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) namespace: String,
    /// As it would be stored.
    pub(crate) object: Option<Box<RawValue>>,
    /// As it is.
    pub(crate) old_object: Option<Box<RawValue>>,
}

#[derive(Debug, Default, Deserialize)]
struct Resource {
    #[serde(default)]
    group: String,
    #[serde(default)]
    resource: String,
}

/// A question, and the version in which it was put.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) version: &'static str,
    pub(crate) request: Request,
}

/// Reads a body.
pub(crate) fn read(body: &[u8]) -> Result<Asked, NotAReview> {
    let review: AdmissionReview = serde_json::from_slice(body).map_err(|_| NotAReview::Unreadable)?;
    let version = VERSIONS.into_iter().find(|version| *version == review.api_version);
    let (Some(version), KIND) = (version, review.kind.as_str()) else { return Err(NotAReview::OtherKind) };
    let request = review.request.filter(|request| !request.uid.is_empty()).ok_or(NotAReview::NoRequest)?;
    if (request.resource.group.as_str(), request.resource.resource.as_str()) != ("core.gardener.cloud", "shoots") {
        return Err(NotAReview::OtherResource);
    }
    Ok(Asked { version, request })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn other_bodies_are_refused_without_showing_them() {
        let review = |more: serde_json::Value| {
            let mut review = json!({ "apiVersion": VERSIONS[0], "kind": KIND, "request": { "uid": "hunter2",
                "resource": { "group": "core.gardener.cloud", "resource": "shoots" } } });
            json_merge(&mut review, more);
            review.to_string()
        };
        let deep = format!("{}1{}", "[".repeat(1 << 20), "]".repeat(1 << 20));
        for (body, expected) in [
            (String::new(), NotAReview::Unreadable),
            ("hunter2".to_owned(), NotAReview::Unreadable),
            ("[]".to_owned(), NotAReview::Unreadable),
            (deep, NotAReview::Unreadable),
            ("{}".to_owned(), NotAReview::OtherKind),
            (review(json!({ "apiVersion": "hunter2/v1" })), NotAReview::OtherKind),
            (review(json!({ "kind": "hunter2" })), NotAReview::OtherKind),
            (review(json!({ "request": null })), NotAReview::NoRequest),
            (review(json!({ "request": { "uid": "" } })), NotAReview::NoRequest),
            (review(json!({ "request": { "resource": { "resource": "seeds" } } })), NotAReview::OtherResource),
        ] {
            let error = read(body.as_bytes()).map(drop).unwrap_err();
            assert_eq!(error, expected, "{}", &body[..body.len().min(100)]);
            assert!(!error.to_string().contains("hunter2"));
        }
        assert_eq!(read(review(json!({})).as_bytes()).unwrap().request.uid, "hunter2");
    }

    fn json_merge(into: &mut serde_json::Value, more: serde_json::Value) {
        match (into, more) {
            (serde_json::Value::Object(into), serde_json::Value::Object(more)) => {
                for (key, value) in more {
                    json_merge(into.entry(key).or_insert(serde_json::Value::Null), value);
                }
            }
            (into, more) => *into = more,
        }
    }
}
