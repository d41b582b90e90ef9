//! `labelSelector` and `fieldSelector`.

use serde_json::Value;

use super::Failure;
use super::object::text;

/// What an object must be to be seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Selector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    subject: Subject,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Subject {
    Label(String),
    Field(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Missing,
}

/// Fields that may be selected by.
const FIELDS: [&str; 7] = [
    "metadata.name",
    "metadata.namespace",
    "spec.nodeName",
    "status.phase",
    "reportingController",
    "regarding.kind",
    "regarding.name",
];

impl Selector {
    pub(super) fn parse(labels: &str, fields: &str) -> Result<Self, Failure> {
        let mut all = Vec::new();
        for part in parts(labels) {
            all.push(label(part)?);
        }
        for part in parts(fields) {
            let bad = || Failure::bad_request(&format!("unable to parse the field selector {part:?}"));
            let (name, test) = if let Some((name, value)) = part.split_once("!=") {
                (name, Test::NotIn(vec![value.to_owned()]))
            } else {
                let (name, value) = part.split_once('=').ok_or_else(bad)?;
                (name, Test::In(vec![value.trim_start_matches('=').to_owned()]))
            };
            if !FIELDS.contains(&name) {
                return Err(Failure::bad_request(&format!("field label not supported: {name}")));
            }
            all.push(Requirement { subject: Subject::Field(format!("/{}", name.replace('.', "/"))), test });
        }
        Ok(Self(all))
    }

    pub(super) fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|requirement| {
            let value = match &requirement.subject {
                Subject::Label(name) => object["metadata"]["labels"].get(name).and_then(Value::as_str),
                Subject::Field(pointer) => Some(text(object, pointer)),
            };
            match &requirement.test {
                Test::In(values) => value.is_some_and(|value| values.iter().any(|wanted| wanted == value)),
                Test::NotIn(values) => value.is_none_or(|value| values.iter().all(|unwanted| unwanted != value)),
                Test::Exists => value.is_some(),
                Test::Missing => value.is_none(),
            }
        })
    }
}

/// Splits at commas that are not in brackets.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0;
    let split = text.split(move |character| {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        character == ',' && depth == 0
    });
    split.map(str::trim).filter(|part| !part.is_empty())
}

fn label(part: &str) -> Result<Requirement, Failure> {
    let one = |value: &str| vec![value.trim().to_owned()];
    let (name, test) = if let Some(name) = part.strip_prefix('!') {
        (name, Test::Missing)
    } else if let Some((name, value)) = part.split_once("!=") {
        (name, Test::NotIn(one(value)))
    } else if let Some((name, value)) = part.split_once('=') {
        (name, Test::In(one(value.trim_start_matches('='))))
    } else if let Some((head, values)) = part.split_once('(') {
        let values = values.trim_end_matches(')').split(',').map(|value| value.trim().to_owned()).collect();
        match head.split_whitespace().collect::<Vec<_>>()[..] {
            [name, "in"] => (name, Test::In(values)),
            [name, "notin"] => (name, Test::NotIn(values)),
            _ => return Err(Failure::bad_request(&format!("unable to parse requirement: {part:?}"))),
        }
    } else {
        (part, Test::Exists)
    };
    Ok(Requirement { subject: Subject::Label(name.trim().to_owned()), test })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn label_and_field_selectors_match_as_the_api_does() {
        let object = json!({"metadata": {"name": "x", "labels": {"a": "1", "b": ""}}});
        for (labels, fields, expected) in [
            ("", "", true),
            ("a=1", "", true),
            ("a==1,b", "", true),
            ("a!=1", "", false),
            ("c!=1", "", true),
            ("!c", "", true),
            ("!a", "", false),
            ("a in (2, 1),b", "", true),
            ("a notin (2,1)", "", false),
            ("", "metadata.name=x", true),
            ("", "metadata.name!=x", false),
            ("a=2", "metadata.name=x", false),
        ] {
            let selector = Selector::parse(labels, fields).unwrap();
            assert_eq!(selector.matches(&object), expected, "{labels} {fields}");
        }
        assert_eq!(Selector::parse("", "spec.x=1").unwrap_err().code, 400);
        assert_eq!(Selector::parse("a of (1)", "").unwrap_err().code, 400);
    }
}
