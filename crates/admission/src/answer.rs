//! The answer to a review: the verdict in the words of `admission.k8s.io` and `metav1.Status`.

use serde::Serialize;

use crate::review::KIND;
use crate::verdict::{Cause, Verdict};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    api_version: &'a str,
    kind: &'a str,
    response: Response<'a>,
}

#[derive(Serialize)]
struct Response<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Failure<'a>>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    warnings: &'a [String],
}

/// A `metav1.Status`, as validation of the API server's own makes it.
#[derive(Serialize)]
struct Failure<'a> {
    #[serde(rename = "status")]
    outcome: &'a str,
    reason: &'a str,
    code: u16,
    message: &'a str,
    details: Details<'a>,
}

#[derive(Serialize)]
struct Details<'a> {
    causes: &'a [Cause],
}

/// The answer's body.
pub(crate) fn write(version: &str, uid: &str, verdict: &Verdict) -> Result<Vec<u8>, serde_json::Error> {
    let (allowed, status, warnings) = match verdict {
        Verdict::Allowed { warnings } => (true, None, warnings.as_slice()),
        Verdict::Denied { message, causes } => {
            let details = Details { causes };
            (false, Some(Failure { outcome: "Failure", reason: "Invalid", code: 422, message, details }), &[][..])
        }
    };
    serde_json::to_vec(&Answer {
        api_version: version,
        kind: KIND,
        response: Response { uid, allowed, status, warnings },
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::review::VERSIONS;

    #[test]
    fn an_answer_has_the_version_and_uid_of_its_question() {
        let denied = Verdict::Denied {
            message: "m".to_owned(),
            causes: vec![Cause { reason: "FieldValueInvalid", message: "c".to_owned(), field: "f".to_owned() }],
        };
        let answer: serde_json::Value = serde_json::from_slice(&write(VERSIONS[1], "u", &denied).unwrap()).unwrap();
        let status = json!({ "status": "Failure", "reason": "Invalid", "code": 422, "message": "m",
            "details": { "causes": [{ "reason": "FieldValueInvalid", "message": "c", "field": "f" }] } });
        let expected = json!({ "apiVersion": VERSIONS[1], "kind": KIND,
            "response": { "uid": "u", "allowed": false, "status": status } });
        assert_eq!(answer, expected);
    }
}
