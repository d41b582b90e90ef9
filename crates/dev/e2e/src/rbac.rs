//! What the controller asked for, against what its roles allow: nothing may be refused, nothing may be allowed for
//! nothing.

use std::collections::BTreeSet;

use anyhow::Context as _;
use k8s_openapi::api::rbac::v1::PolicyRule;
use serde_json::Value;

/// One request, as kube-apiserver's audit log has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    /// RBAC's verb.
    pub verb: String,
    /// API group; empty for the core.
    pub group: String,
    /// Plural, with the subresource after a slash.
    pub resource: String,
    /// Namespace; empty for none.
    pub namespace: String,
    /// Name; empty for none.
    pub name: String,
    /// HTTP status.
    pub code: u64,
}

/// One thing that a rule allows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    verb: String,
    group: String,
    resource: String,
    /// `None`: whatever its name.
    name: Option<String>,
}

impl Grant {
    /// What `rules` allow, each thing on its own.
    #[must_use]
    pub fn all_of(rules: &[PolicyRule]) -> BTreeSet<Self> {
        let mut all = BTreeSet::new();
        for rule in rules {
            let names = rule.resource_names.iter().flatten().map(|name| Some(name.clone()));
            let names: Vec<_> = if rule.resource_names.is_none() { vec![None] } else { names.collect() };
            for group in rule.api_groups.iter().flatten() {
                for resource in rule.resources.iter().flatten() {
                    for (verb, name) in rule.verbs.iter().flat_map(|verb| names.iter().map(move |name| (verb, name))) {
                        let (verb, group, resource) = (verb.clone(), group.clone(), resource.clone());
                        all.insert(Self { verb, group, resource, name: name.clone() });
                    }
                }
            }
        }
        all
    }

    fn covers(&self, call: &Call) -> bool {
        // An apply patch that creates needs both rights, and shows in the log as a patch that was answered with 201.
        let verb = self.verb == call.verb || (self.verb == "create" && call.verb == "patch" && call.code == 201);
        let name = self.name.as_ref().is_none_or(|name| *name == call.name);
        verb && name && self.group == call.group && self.resource == call.resource
    }
}

/// The requests of `user` for resources in the lines of an audit log.
///
/// # Errors
/// For a line that is no event.
pub fn calls(log: &str, user: &str) -> anyhow::Result<BTreeSet<Call>> {
    let mut all = BTreeSet::new();
    for line in log.lines() {
        let event: Value = serde_json::from_str(line).with_context(|| format!("no event of an audit log: {line}"))?;
        let (object, text) = (&event["objectRef"], |value: &Value| value.as_str().unwrap_or_default().to_owned());
        if event["user"]["username"] != user || object.is_null() {
            continue;
        }
        let mut resource = text(&object["resource"]);
        if let Some(subresource) = object["subresource"].as_str() {
            resource = format!("{resource}/{subresource}");
        }
        all.insert(Call {
            verb: text(&event["verb"]),
            group: text(&object["apiGroup"]),
            resource,
            namespace: text(&object["namespace"]),
            name: text(&object["name"]),
            code: event["responseStatus"]["code"].as_u64().unwrap_or_default(),
        });
    }
    Ok(all)
}

/// Every request that was refused and never granted (the authorizer takes a moment to learn of a new role), and every
/// right that no request used, as lines for people.
#[must_use]
pub fn findings(calls: &BTreeSet<Call>, grants: &BTreeSet<Grant>) -> Vec<String> {
    let same = |a: &Call, b: &Call| Call { code: 0, ..a.clone() } == Call { code: 0, ..b.clone() };
    let granted = |call: &Call| calls.iter().any(|other| other.code != 403 && same(other, call));
    let refused =
        calls.iter().filter(|call| call.code == 403 && !granted(call)).map(|call| format!("refused: {call:?}"));
    let unused = grants
        .iter()
        .filter(|grant| !calls.iter().any(|call| call.code != 403 && grant.covers(call)))
        .map(|grant| format!("allowed and never used: {grant:?}"));
    refused.chain(unused).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(user: &str, verb: &str, object: &Value, code: u64) -> String {
        let (user, status) = (json!({ "username": user }), json!({ "code": code }));
        format!("{}\n", json!({ "verb": verb, "user": user, "objectRef": object, "responseStatus": status }))
    }

    fn grants(rules: Value) -> BTreeSet<Grant> {
        Grant::all_of(&serde_json::from_value::<Vec<PolicyRule>>(rules).unwrap())
    }

    #[test]
    fn refusals_and_unused_rights_are_found() {
        let secret = json!({ "resource": "secrets", "namespace": "a", "name": "x", "apiVersion": "v1" });
        let status = json!({ "apiGroup": "g", "resource": "things", "subresource": "status", "name": "y" });
        let log = event("us", "patch", &secret, 201)
            + &event("us", "patch", &status, 200)
            + &event("us", "get", &secret, 403)
            + &event("others", "delete", &secret, 200)
            + &event("us", "get", &Value::Null, 200);
        let calls = calls(&log, "us").unwrap();
        assert_eq!(calls.len(), 3);
        let grants = grants(json!([
            { "apiGroups": [""], "resources": ["secrets"], "verbs": ["create", "patch", "delete", "get"] },
            { "apiGroups": ["g"], "resources": ["things", "things/status"], "verbs": ["patch"], "resourceNames": ["y", "z"] },
        ]));
        let findings = findings(&calls, &grants);
        let expected = [
            ("refused", "\"get\"", "secrets"),
            ("never used", "\"delete\"", "secrets"),
            ("never used", "\"get\"", "secrets"),
            ("never used", "things\"", "\"y\""),
            ("never used", "things\"", "\"z\""),
            ("never used", "things/status", "\"z\""),
        ];
        assert_eq!(findings.len(), expected.len(), "{findings:#?}");
        for (what, verb, resource) in expected {
            let found = findings.iter().any(|line| [what, verb, resource].iter().all(|part| line.contains(part)));
            assert!(found, "{what} {verb} {resource}: {findings:#?}");
        }
    }

    #[test]
    fn nothing_to_find() {
        let object = json!({ "resource": "secrets", "namespace": "a", "name": "x" });
        let early = event("us", "delete", &object, 403);
        let calls = calls(&(early + &event("us", "delete", &object, 404)), "us").unwrap();
        let rules =
            json!([{ "apiGroups": [""], "resources": ["secrets"], "verbs": ["delete"], "resourceNames": ["x"] }]);
        assert_eq!(findings(&calls, &grants(rules)), [""; 0]);
        assert!(super::calls("no json\n", "us").is_err());
    }
}
