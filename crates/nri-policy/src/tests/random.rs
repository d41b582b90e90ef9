//! Random specs, near to what the schema allows.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use serde_json::{Map, Value, json};

use crate::schema::{Field, Schema};
use crate::{Kind, Risk, check};

/// Any value.
fn anything() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::btree_map(".{0,8}", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
    .boxed()
}

/// A text of which rules make something.
fn telling() -> BoxedStrategy<Value> {
    prop_oneof![
        proptest::sample::select(vec![
            "a",
            "b",
            "reserved",
            "default",
            "kube-system",
            "*",
            "[a",
            "cpuset:0-3",
            "exclude-cpuset:1",
            "2",
            "750m",
            "0-3",
            "namespace",
            "pod/labels/x",
            "30s",
            "127.0.0.1:80",
            "800MHz",
            "50%",
            "0xff",
            "${name}",
            "podresourceapi:x",
        ])
        .prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ]
    .boxed()
}

/// A value that is often right.
fn near(schema: &'static Schema) -> BoxedStrategy<Value> {
    let right = match schema {
        Schema::Bool => any::<bool>().prop_map(Value::from).boxed(),
        Schema::Integer(bounds) => {
            let (low, high) = bounds.allowed;
            prop_oneof![low..=high.min(low.saturating_add(4)), low..=high].prop_map(Value::from).boxed()
        }
        Schema::Text(text) => match text.words.list() {
            Some(words) => proptest::sample::select(words).prop_map(Value::from).boxed(),
            None => telling(),
        },
        Schema::List { item, .. } => proptest::collection::vec(near(item), 0..4).prop_map(Value::from).boxed(),
        Schema::Map(item) => {
            let key = prop_oneof![Just("cpu".to_owned()), Just("CPU".to_owned()), "[a-c]"];
            proptest::collection::btree_map(key, near(item), 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect()))
                .boxed()
        }
        Schema::Object(fields) => object(fields, 0.3),
    };
    prop_oneof![60 => right, 1 => anything()].boxed()
}

fn object(fields: &'static [Field], share: f64) -> BoxedStrategy<Value> {
    let entries: Vec<_> = fields
        .iter()
        .map(|field| {
            let share = if field.is_required { 0.97 } else { share };
            proptest::option::weighted(share, near(&field.schema))
                .prop_map(|value| Some((field.name.to_owned(), value?)))
        })
        .collect();
    entries.prop_map(|entries| entries.into_iter().flatten().collect::<Map<_, _>>().into()).boxed()
}

/// Whether all of `given` is in `written`, which may have more keys in maps.
fn keeps(given: &Value, written: &Value) -> bool {
    match (given, written) {
        (Value::Object(given), Value::Object(written)) => {
            given.iter().all(|(key, value)| written.get(key).is_some_and(|written| keeps(value, written)))
        }
        (Value::Array(given), Value::Array(written)) => {
            given.len() == written.len() && given.iter().zip(written).all(|(given, written)| keeps(given, written))
        }
        _ => given == written,
    }
}

fn kinds() -> impl Strategy<Value = Kind> {
    proptest::sample::select(&Kind::ALL[..])
}

/// A kind and a spec that is near to right; mostly with CPUs that are right, as otherwise nothing else is checked.
fn near_policy() -> impl Strategy<Value = (Kind, Value)> {
    let reserved = proptest::sample::select(vec!["2", "750m", "cpuset:0-1", "exclude-cpuset:1"]);
    let of = |kind: Kind| (Just(kind), object(kind.fields(), 0.08));
    let policies = prop_oneof![of(Kind::BalloonsPolicy), of(Kind::TopologyAwarePolicy)];
    (policies, proptest::option::weighted(0.8, reserved)).prop_map(|((kind, mut spec), reserved)| {
        if let (Some(reserved), Some(map)) = (reserved, spec.as_object_mut()) {
            map.insert("reservedResources".to_owned(), json!({ "cpu": reserved }));
            map.remove("availableResources");
        }
        (kind, spec)
    })
}

/// Whatever is said is short; a policy that passes keeps what was given, and checks again to the same text.
fn holds(kind: Kind, spec: &Value) -> Result<bool, TestCaseError> {
    let accept = Risk::ALL.map(Risk::id);
    match check(kind, spec, &accept) {
        Ok(checked) => {
            prop_assert!(keeps(spec, checked.spec()), "{} became {}", spec, checked.spec());
            let document: Value = serde_json::from_str(&checked.document("x")).unwrap();
            let again = check(kind, &document["spec"], &accept)
                .map_err(|findings| TestCaseError::fail(format!("{document} is refused: {findings:?}")))?;
            prop_assert_eq!(again.document("x"), checked.document("x"));
            prop_assert_eq!(&again, &checked);
            Ok(true)
        }
        Err(findings) => {
            prop_assert!(!findings.is_empty());
            for finding in &findings {
                prop_assert!(
                    finding.to_string().chars().count() <= 810 && !finding.to_string().contains('\n'),
                    "{finding}"
                );
            }
            Ok(false)
        }
    }
}

proptest! {
    #[test]
    fn no_value_makes_it_panic(kind in kinds(), spec in anything()) {
        holds(kind, &spec)?;
    }

    #[test]
    fn near_policies_are_kept_and_checked_again_to_the_same((kind, spec) in near_policy()) {
        holds(kind, &spec)?;
    }
}

#[test]
fn some_of_the_near_policies_pass() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let policies = near_policy();
    let mut passed = 0;
    for _ in 0..400 {
        let (kind, spec) = policies.new_tree(&mut runner).unwrap().current();
        passed += u32::from(holds(kind, &spec).unwrap());
    }
    assert!((10..390).contains(&passed), "{passed} of 400 pass, so one of the two ways is not tried");
    assert!(!holds(Kind::BalloonsPolicy, &json!({})).unwrap());
}
