//! Expressions that choose containers: pkg/apis/resmgr/v1alpha1/expression.go @ v0.14.0.

use crate::finding::{CheckOutcome, Place, quoted};
use crate::grammar::{is_glob, matches_glob};
use crate::typed::{Expression, Spec};

const KEYS: &str = "id, uid, name, namespace, qosclass, labels/KEY, tags/KEY, each of them also below pod/";
/// The namespace of system pods.
const KUBE_SYSTEM: &str = "kube-system";

pub(super) fn check_preserve(spec: &Spec, outcome: &mut CheckOutcome) {
    let place = Place::Spec;
    check(&spec.preserve.match_expressions, &place.key("preserve"), outcome);
}

/// Reports what is wrong in a list `matchExpressions`.
pub(super) fn check(expressions: &[Expression], parent: &Place<'_>, outcome: &mut CheckOutcome) {
    let list = parent.key("matchExpressions");
    for (index, expression) in expressions.iter().enumerate() {
        let place = list.item(index);
        if !is_key(&expression.key) {
            outcome.fault(place.key("key"), format!("is {}, allowed: {KEYS}", quoted(&expression.key)));
        }
        let count = expression.values.len();
        let allowed = match expression.operator.as_str() {
            "Equals" | "NotEqual" | "Matches" | "MatchesNot" => (count != 1).then_some("one"),
            "Exists" | "NotExist" | "AlwaysTrue" => (count != 0).then_some("none"),
            // Of nothing, In is never and NotIn always true: surely not what is meant.
            _ => (count == 0).then_some("at least one"),
        };
        if let Some(allowed) = allowed {
            let operator = &expression.operator;
            outcome.fault(place.key("values"), format!("has {count} values, allowed with {operator}: {allowed}"));
        }
        if expression.operator.starts_with("Matches") {
            let values = place.key("values");
            for (index, pattern) in expression.values.iter().enumerate().filter(|(_, value)| !is_glob(value)) {
                let message = format!("is {}, must be a pattern such as app-*", quoted(pattern));
                outcome.fault(values.item(index), message);
            }
        }
    }
}

/// A key, or several joined: `:KEY:KEY`, or `:` with separators of one's own for keys and values.
fn is_key(key: &str) -> bool {
    let is_separator = |byte: u8| !byte.is_ascii_alphanumeric() && byte != b'/' && byte != b'.';
    if !key.is_ascii() {
        return false;
    }
    match key.as_bytes() {
        [b':', between, of_values, ..] if key.len() >= 4 => {
            if is_separator(*between) && is_separator(*of_values) {
                key[3..].split(char::from(*between)).all(is_single_key)
            } else {
                key[1..].split(':').all(is_single_key)
            }
        }
        _ => is_single_key(key),
    }
}

fn is_single_key(key: &str) -> bool {
    let mut rest = key.trim_start_matches('/');
    loop {
        let (first, after) = rest.split_once('/').unwrap_or((rest, ""));
        match first {
            "id" | "uid" | "name" | "namespace" | "qosclass" => return after.is_empty(),
            "labels" | "tags" => return !after.is_empty(),
            "pod" => rest = after,
            _ => return false,
        }
    }
}

/// Whether it may be true of a container in kube-system. Only the namespace is known; anything else may be.
pub(super) fn may_take_system_pods(expression: &Expression) -> bool {
    let values = &expression.values;
    let key = expression.key.trim_start_matches('/');
    if !matches!(key, "namespace" | "pod/namespace") {
        return true;
    }
    let is_in = || values.iter().any(|value| value == KUBE_SYSTEM || value == "*");
    let is_taken = || values.iter().any(|pattern| matches_glob(pattern, KUBE_SYSTEM));
    match expression.operator.as_str() {
        "Equals" | "In" => is_in(),
        // Here, and only here, a star stands for itself.
        "NotEqual" => values.iter().all(|value| value != KUBE_SYSTEM),
        "NotIn" => !is_in(),
        "Matches" | "MatchesAny" => is_taken(),
        "MatchesNot" | "MatchesNone" => !is_taken(),
        "NotExist" => false,
        _ => true,
    }
}

/// Whether a namespace pattern takes kube-system.
pub(super) fn takes_system_pods(patterns: &[String]) -> bool {
    patterns.iter().any(|pattern| matches_glob(pattern, KUBE_SYSTEM))
}

/// Whether a text has only whole references `${KEY}`. Of others the binary takes what follows for a key, up to the next `$`.
pub(super) fn is_group(text: &str) -> bool {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('$') {
        rest = match (after.strip_prefix('$'), after.strip_prefix('{').and_then(|after| after.split_once('}'))) {
            (Some(after), _) => after,
            (None, Some((key, after))) if is_key(key) => after,
            _ => return false,
        };
    }
    true
}

#[cfg(test)]
mod tests {
    use super::{is_group, is_key, may_take_system_pods};
    use crate::typed::Expression;

    #[test]
    fn keys_are_those_of_pods_and_containers() {
        for key in [
            "name",
            "/namespace",
            "pod/name",
            "pod/labels/a.b/c",
            "labels/x",
            "tags/y",
            ":name:pod/name",
            ":,-name,uid",
        ] {
            assert!(is_key(key), "{key}");
        }
        for key in
            ["", "pod", "pod/", "labels", "name/x", "Name", "pods/name", ":name:", "labels/", "näme", ":::", "::a:b"]
        {
            assert!(!is_key(key), "{key}");
        }
    }

    #[test]
    fn groups_are_whole_references() {
        for (text, expected) in [
            ("", true),
            ("a", true),
            ("${pod/labels/x}-${namespace}", true),
            ("$$", true),
            ("$name", false),
            ("${name", false),
            ("${}", false),
            ("${nothing}", false),
            ("$", false),
        ] {
            assert_eq!(is_group(text), expected, "{text}");
        }
    }

    #[test]
    fn of_a_pod_only_its_namespace_is_known() {
        for (key, operator, values, expected) in [
            ("namespace", "Equals", &["kube-system"][..], true),
            ("pod/namespace", "Equals", &["*"], true),
            ("pod/namespace", "Equals", &["apps"], false),
            ("pod/namespace", "In", &["apps", "kube-system"], true),
            ("namespace", "NotIn", &["kube-system"], false),
            ("namespace", "NotIn", &["apps"], true),
            ("namespace", "NotEqual", &["kube-system"], false),
            ("namespace", "NotEqual", &["*"], true),
            ("namespace", "Matches", &["kube-*"], true),
            ("namespace", "MatchesNot", &["kube-*"], false),
            ("namespace", "MatchesAny", &["a*", "b*"], false),
            ("namespace", "MatchesNone", &["a*", "b*"], true),
            ("namespace", "Exists", &[], true),
            ("namespace", "NotExist", &[], false),
            ("namespace", "AlwaysTrue", &[], true),
            ("pod/labels/app", "Equals", &["x"], true),
        ] {
            let expression = Expression {
                key: key.to_owned(),
                operator: operator.to_owned(),
                values: values.iter().map(ToString::to_string).collect(),
            };
            assert_eq!(may_take_system_pods(&expression), expected, "{key} {operator} {values:?}");
        }
    }
}
