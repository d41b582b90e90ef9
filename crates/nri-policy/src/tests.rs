use serde_json::{Value, json};

use super::{Checked, Kind, Policy, Risk, check, limits};

mod broken;
mod broken_classes;
mod random;
mod system_pods;
mod warned;

const NONE: [&str; 0] = [];
const BALLOONS: Kind = Kind::BalloonsPolicy;
const TOPOLOGY_AWARE: Kind = Kind::TopologyAwarePolicy;

/// Puts `more` over a small policy that passes; null takes a key away.
fn spec(more: &Value) -> Value {
    let mut spec = json!({ "reservedResources": { "cpu": "750m" } });
    for (key, value) in more.as_object().unwrap() {
        match value {
            Value::Null => drop(spec.as_object_mut().unwrap().remove(key)),
            _ => spec[key] = value.clone(),
        }
    }
    spec
}

/// All findings, each as `path: message`.
fn findings(kind: Kind, more: &Value, accept: &[&str]) -> Vec<String> {
    match check(kind, &spec(more), accept) {
        Ok(_) => Vec::new(),
        Err(findings) => findings.iter().map(ToString::to_string).collect(),
    }
}

fn checked(kind: Kind, more: &Value, accept: &[&str]) -> Checked {
    check(kind, &spec(more), accept).unwrap_or_else(|findings| panic!("{more}: {findings:#?}"))
}

#[test]
fn a_document_has_every_default_written_out() {
    let policy = json!({
        "balloonTypes": [{ "name": "a", "preferIsolCpus": true }, { "name": "b", "allocatorPriority": "none" }],
        "instrumentation": { "httpEndpoint": "127.0.0.1:8891" },
        "pinMemory": false,
    });
    let document: Value = serde_json::from_str(&checked(BALLOONS, &policy, &NONE).document("default")).unwrap();
    assert_eq!(
        document,
        json!({
            "apiVersion": "config.nri/v1alpha1",
            "kind": "BalloonsPolicy",
            "metadata": { "name": "default" },
            "spec": {
                "agent": { "nodeResourceTopology": true },
                "balloonTypes": [
                    { "name": "a", "allocatorPriority": "high", "preferIsolCpus": true },
                    { "name": "b", "allocatorPriority": "none", "preferIsolCpus": false },
                ],
                "controllableInterrupts": ["*"],
                "instrumentation": {
                    "httpEndpoint": "127.0.0.1:8891",
                    "metrics": { "enabled": ["policy", "buildinfo"] },
                    "reportPeriod": "30s",
                },
                "pinCPU": true,
                "pinMemory": false,
                "reservedResources": { "cpu": "750m" },
                "turboDomain": "package",
            },
        })
    );
    let document: Value = serde_json::from_str(&checked(TOPOLOGY_AWARE, &json!({}), &NONE).document("n")).unwrap();
    assert_eq!(
        document["spec"],
        json!({
            "agent": { "nodeResourceTopology": true },
            "controllableInterrupts": ["*"],
            "defaultCPUPriority": "none",
            "pinCPU": true,
            "pinMemory": true,
            "preferIsolatedCPUs": true,
            "reservedResources": { "cpu": "750m" },
            "unlimitedBurstable": "package",
        })
    );
}

#[test]
fn equal_policies_give_equal_texts_and_sums() {
    let one: Value = serde_json::from_str(r#"{"pinCPU":true,"pinMemory":false}"#).unwrap();
    let other: Value = serde_json::from_str(r#"{"pinMemory":false}"#).unwrap();
    let (one, other) = (checked(BALLOONS, &one, &NONE), checked(BALLOONS, &other, &NONE));
    assert_eq!(one.document("x"), other.document("x"));
    assert_eq!(one.sha256("x"), other.sha256("x"));
    assert_ne!(one.sha256("x"), one.sha256("y"));
    assert_ne!(one.sha256("x"), checked(TOPOLOGY_AWARE, &json!({"pinMemory": false}), &NONE).sha256("x"));
    assert_eq!(one.sha256("x").len(), 64);
    assert_eq!(one.document("x").lines().count(), 1);
}

#[test]
fn a_document_is_bounded_by_its_spec_and_its_name() {
    // As large as can be: 64 KiB less what the rest of the spec takes.
    let policy = |count: usize| json!({ "reservedPoolNamespaces": ["\u{7f}".repeat(count)] });
    let rest = checked(BALLOONS, &policy(1), &NONE).spec().to_string().len() + "\\u007f".len() - "\u{7f}".len();
    let most = 1 + (limits::SPEC_BYTES - rest) / "\\u007f".len();
    let found = findings(BALLOONS, &policy(most + 1), &NONE);
    assert!(found[0].contains("has more than 65536 bytes as JSON with its defaults written out"), "{found:?}");
    let document = checked(BALLOONS, &policy(most), &NONE).document(&"\u{7f}".repeat(10_000));
    assert!(document.len() <= limits::DOCUMENT_BYTES && document.len() > limits::SPEC_BYTES, "{}", document.len());
    assert!(document.ends_with("}\n"), "{}", &document[document.len() - 100..]);
}

#[test]
fn sizes_are_bounded() {
    let nested = (0..limits::DEPTH).fold(json!(1), |inner, _| json!([inner]));
    for (more, expected) in [
        (json!({ "reservedPoolNamespaces": vec!["a"; limits::VALUES] }), "too many values"),
        (json!({ "reservedPoolNamespaces": ["a".repeat(limits::SPEC_BYTES)] }), "has more than 65536 bytes"),
        (json!({ "pinCPU": nested }), "too many levels"),
        (
            json!({ "balloonTypes": vec![json!({"name": "a"}); limits::NAMED_ENTRIES + 1] }),
            "has 129 entries, allowed: 128",
        ),
        (json!({ "namespaceSchedulingClasses": { "a".repeat(254): "x" } }), "the key has 254 bytes"),
        (json!({ "balloonTypes": [{ "name": "a".repeat(254) }] }), "has 254 bytes, allowed: 1 to 253"),
    ] {
        let kind = if more.get("namespaceSchedulingClasses").is_some() { TOPOLOGY_AWARE } else { BALLOONS };
        let found = findings(kind, &more, &NONE);
        assert!(found.iter().any(|finding| finding.contains(expected)), "{expected}: {found:?}");
        assert!(found.iter().all(|finding| finding.len() < 1000), "{found:?}");
    }
    for value in [json!(null), json!([]), json!("x"), json!(1)] {
        assert!(check(BALLOONS, &value, &NONE).is_err(), "{value}");
    }
}

#[test]
fn findings_are_bounded() {
    let many: serde_json::Map<String, Value> =
        (0..1000).map(|index| (format!("{index}{}", "é".repeat(5000 / 1000)), json!(index))).collect();
    let findings = check(BALLOONS, &spec(&many.into()), &NONE).unwrap_err();
    assert_eq!(findings.len(), limits::FINDINGS + 1);
    assert_eq!(findings.last().unwrap().omitted, 1000 - limits::FINDINGS);
    assert_eq!(findings.last().unwrap().to_string(), "and 980 more");
}

#[test]
fn types_that_double_are_refused_at_once() {
    // Without a memory of what was counted: 2^100 steps, here and in the binary.
    let mut types: Vec<Value> = (0..100)
        .map(|index| {
            let inner = json!({ "balloonType": format!("t{}", index + 1) });
            json!({ "name": format!("t{index}"), "components": [inner, inner] })
        })
        .collect();
    types.push(json!({ "name": "t100" }));
    let found = findings(BALLOONS, &json!({ "balloonTypes": types }), &NONE);
    assert!(
        found[0].contains("spec.balloonTypes[0].components: one balloon is made of more than 256 others"),
        "{found:?}"
    );
}

#[test]
fn every_key_of_the_schema_has_its_type() {
    /// A value that a schema allows, with all keys.
    fn example(schema: &super::schema::Schema) -> Value {
        use super::schema::Schema;
        match schema {
            Schema::Bool => json!(true),
            Schema::Integer(bounds) => json!(bounds.allowed.0),
            Schema::Text(text) => json!(text.words.list().map_or("x", |words| words[0])),
            Schema::List { item, .. } => json!([example(item)]),
            Schema::Map(item) => json!({ "x": example(item) }),
            Schema::Object(fields) => object(fields),
        }
    }
    fn object(fields: &[super::schema::Field]) -> Value {
        fields
            .iter()
            .map(|field| (field.name.to_owned(), example(&field.schema)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }
    for kind in Kind::ALL {
        let all = object(kind.fields());
        <super::typed::Spec as serde::Deserialize>::deserialize(&all).unwrap_or_else(|error| panic!("{kind}: {error}"));
    }
}

#[test]
fn a_policy_travels_with_its_kind_only() {
    let policy: Policy =
        serde_json::from_str(r#"{"kind":"BalloonsPolicy","spec":{"reservedResources":{"cpu":"1"}}}"#).unwrap();
    assert_eq!(policy.check(&NONE).unwrap().kind(), BALLOONS);
    for text in [
        r#"{"kind":"balloonspolicy","spec":{}}"#,
        r#"{"kind":"TemplatePolicy","spec":{}}"#,
        r#"{"spec":{}}"#,
        r#"{"kind":"BalloonsPolicy"}"#,
        r#"{"kind":"BalloonsPolicy","spec":{},"metadata":{}}"#,
    ] {
        assert!(serde_json::from_str::<Policy>(text).is_err(), "{text}");
    }
    assert_eq!("TopologyAwarePolicy".parse(), Ok(TOPOLOGY_AWARE));
    assert_eq!(
        "x".parse::<Kind>().unwrap_err().to_string(),
        "\"x\" is no kind of policy, allowed: BalloonsPolicy, TopologyAwarePolicy"
    );
}

#[test]
fn cpus_that_a_node_must_have_are_named() {
    for (kind, more, accept, expected) in [
        (BALLOONS, json!({}), None, 2),
        (BALLOONS, json!({ "reservedResources": { "cpu": "1500m" } }), None, 3),
        (BALLOONS, json!({ "reservedResources": { "cpu": "cpuset:0-3" } }), Some(Risk::ReservedNotHeld), 2),
        (
            BALLOONS,
            json!({ "balloonTypes": [{ "name": "a", "minBalloons": 2, "minCPUs": 3 }, { "name": "b", "minCPUs": 9 }] }),
            None,
            1 + 6 + 1 + 1,
        ),
        (
            BALLOONS,
            json!({ "balloonTypes": [
                { "name": "a", "minBalloons": 2, "components": [{ "balloonType": "b" }, { "balloonType": "b" }] },
                { "name": "b", "minCPUs": 2 },
                { "name": "default" },
            ] }),
            None,
            1 + 8 + 1 + 1,
        ),
        (TOPOLOGY_AWARE, json!({}), None, 2),
        (TOPOLOGY_AWARE, json!({ "reservedResources": { "cpu": "cpuset:0-3" } }), None, 5),
        (
            TOPOLOGY_AWARE,
            json!({ "reservedResources": { "cpu": "exclude-cpuset:2-3" }, "availableResources": { "cpu": "cpuset:0-3" } }),
            None,
            3,
        ),
    ] {
        let accept: Vec<_> = accept.into_iter().map(Risk::id).collect();
        assert_eq!(checked(kind, &more, &accept).least_cpus(), expected, "{more}");
    }
}
