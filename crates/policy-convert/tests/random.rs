//! Whatever comes, each leaf key of it stands in the report exactly once, and no policy is given out that would be refused.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;

use extension_config::ConfigKey;
use policy_convert::{Conversion, Input, convert, limits};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

static TEMPLATES: LazyLock<Vec<Value>> = LazyLock::new(|| templates().unwrap_or_default());

/// Valid configurations of cri-resmgr, with every key that it knows.
fn templates() -> std::io::Result<Vec<Value>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../extension-config/corpus/valid");
    let files: BTreeSet<_> =
        std::fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    let texts: Vec<String> = files.iter().map(std::fs::read_to_string).collect::<std::io::Result<_>>()?;
    let all = texts.iter().filter_map(|text| serde_saphyr::from_str(text).ok());
    Ok(all.filter(Value::is_object).collect())
}

/// Leaf keys, written anew: what this crate calls one, without its paths' quotes.
fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                let dot = if path.ends_with('/') { "" } else { "." };
                leaves(value, &format!("{path}{dot}{key}"), found);
            }
        }
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            for (index, value) in items.iter().enumerate() {
                leaves(value, &format!("{path}[{index}]"), found);
            }
        }
        _ => found.push(path.to_owned()),
    }
}

fn of_document(slot: ConfigKey, document: Value) -> Input {
    Input { documents: BTreeMap::from([(slot, document)]), ..Input::default() }
}

fn is_sound(conversion: &Conversion) {
    let mut ids: Vec<&str> = conversion.report.entries().map(|entry| entry.id.as_str()).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "an id stands for one thing");
    let paths: Vec<&str> = conversion.report.keys.iter().map(|entry| entry.path.as_str()).collect();
    assert!(paths.windows(2).all(|pair| pair[0] < pair[1]), "{paths:?}");
    for (slot, policy) in &conversion.policies {
        assert!(policy.check(&[""; 0]).is_ok(), "{slot}: {policy:?}");
    }
}

fn is_complete(document: &Value) {
    let answer = || convert(of_document(ConfigKey::Default, document.clone()));
    let conversion = answer().unwrap_or_default();
    is_sound(&conversion);
    let mut expected = Vec::new();
    leaves(document, "default/", &mut expected);
    expected.sort();
    let paths = conversion.report.keys.iter().map(|entry| entry.path.replace('"', ""));
    let mut found: Vec<String> = paths.collect();
    found.sort();
    assert_eq!(found, expected, "{document}");
    assert_eq!(answer(), Ok(conversion));
}

/// Places of a document where something can be changed.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Object(map) => map.values().map(count).sum(),
        Value::Array(items) => items.iter().map(count).sum(),
        _ => 0,
    }
}

/// Changes the value at a place: another value, a key more, or the same key in another letter case.
fn change(value: &mut Value, place: &mut usize, how: u8, junk: &Value) {
    if *place == 0 {
        *place = usize::MAX;
        match (how, &mut *value) {
            (1, Value::Object(map)) => drop(map.insert("unknown".to_owned(), junk.clone())),
            (2, Value::Object(map)) => {
                if let Some((key, value)) = map.iter().next().map(|(key, value)| (key.to_uppercase(), value.clone())) {
                    map.insert(key, value);
                }
            }
            (3, Value::Array(items)) => items.push(junk.clone()),
            _ => *value = junk.clone(),
        }
        return;
    }
    *place -= 1;
    let each = |item: &mut Value| {
        if *place != usize::MAX {
            change(item, place, how, junk);
        }
    };
    match value {
        Value::Object(map) => map.values_mut().for_each(each),
        Value::Array(items) => items.iter_mut().for_each(each),
        _ => {}
    }
}

/// Keys with dots stand for levels at the top, and nothing here has both.
fn without_dots(value: Value) -> Value {
    match value {
        Value::Object(map) => map.into_iter().filter(|(key, _)| !key.contains('.')).collect::<Map<_, _>>().into(),
        value => value,
    }
}

fn junk() -> impl Strategy<Value = Value> {
    let plain = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-10..300_i64).prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        "[a-zA-Z0-9:%, -]{0,12}".prop_map(Value::from),
        prop::sample::select(vec![
            "cpuset:0-3",
            "0,2",
            "cgroup:x",
            "750m",
            "reserved",
            "default",
            "balloons",
            "none",
            "Full",
            "50%"
        ])
        .prop_map(Value::from),
    ];
    plain.prop_recursive(4, 24, 4, |inner| {
        let names = prop::sample::select(vec![
            "Name",
            "policy",
            "balloons",
            "BalloonTypes",
            "MinCPUs",
            "CPU",
            "cpu",
            "classes",
            "rdt",
            "x",
            "a-b",
            "Active",
            "partitions",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(names.prop_map(str::to_owned), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn each_key_of_a_changed_configuration_stands_once(
        template in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0..4_u8, junk()), 0..5),
    ) {
        let mut document = without_dots(template.get(&TEMPLATES).clone());
        for (place, how, junk) in changes {
            let places = count(&document);
            change(&mut document, &mut place.index(places), how, &junk);
            document = without_dots(document);
        }
        is_complete(&document);
    }

    #[test]
    fn each_key_of_any_document_stands_once(document in junk()) {
        is_complete(&without_dots(document));
    }

    /// Of two documents that name the same slot's neighbours, dotted keys and odd characters included.
    #[test]
    fn any_input_has_a_sound_answer(
        slots in prop::collection::btree_map(prop::sample::select(vec!["fallback", "force", "EXTRA_OPTIONS", "default", "group.a", "node.b"]), junk(), 0..4),
        keys in prop::collection::btree_map("\\PC{0,6}|policy\\.balloons|policy|a\\.b\\.c", junk(), 0..5),
        annotations in prop::collection::btree_map("\\PC{0,6}|(rdtclass|x)\\.cri-resource-manager\\.intel\\.com(/pod)?", "\\PC{0,8}", 0..4),
        node_cpus in prop::option::of(0..20_u64),
    ) {
        let mut input = Input { node_cpus, ..Input::default() };
        input.documents.extend(slots.into_iter().map(|(slot, value)| (ConfigKey::parse(slot).unwrap(), value)));
        input.documents.insert(ConfigKey::Node("c".to_owned()), Value::Object(keys.clone().into_iter().collect()));
        input.adjustments.insert("ns/a".to_owned(), Value::Object(keys.into_iter().collect()));
        let count = annotations.len();
        input.annotations.insert("Pod a/b".to_owned(), annotations);
        let conversion = convert(input.clone()).unwrap();
        is_sound(&conversion);
        prop_assert_eq!(conversion.report.keys.iter().filter(|entry| entry.path.starts_with("annotations:")).count(), count);
        prop_assert_eq!(convert(input).unwrap(), conversion);
    }
}

/// The documents of the corpus themselves.
#[test]
fn each_key_of_a_valid_configuration_stands_once() {
    assert!(TEMPLATES.len() >= 50, "{}", TEMPLATES.len());
    for document in &*TEMPLATES {
        is_complete(&without_dots(document.clone()));
    }
}

#[test]
fn what_is_too_much_is_refused_with_the_limit() {
    let deep = (0..100).fold(json!(1), |inner, _| json!({ "a": inner }));
    let long = json!({ "a": "x".repeat(limits::DOCUMENT_BYTES + 1) });
    let many = json!({ "a": vec![0; limits::VALUES] });
    for (document, expected) in [
        (deep, "default: has more than 64 levels, allowed: 64"),
        (long, "default: has more than 65536 bytes, allowed: 65536"),
        (many, "default: has more than 262144 values, allowed: 262144"),
    ] {
        let error = convert(of_document(ConfigKey::Default, document)).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

/// As much as is allowed of what is hard: the report is in proportion, and so is the time.
#[test]
fn hostile_documents_cost_what_they_are_long() {
    let types = |count: usize| {
        json!((0..count).map(|index| json!({ "Name": format!("t{index}"), "MaxCPUs": 1 })).collect::<Vec<_>>())
    };
    let balloons = |types: Value| json!({ "policy": { "Active": "balloons", "ReservedResources": { "CPU": 1 }, "balloons": { "BalloonTypes": types } } });
    let nested = (0..50).fold(json!({ "b": 1 }), |inner, _| json!({ "k".repeat(250): inner, "c": [[[[{}]]]] }));
    for (name, document, most) in [
        ("types", balloons(types(4000)), 8002),
        ("depth", json!({ "policy": nested }), 100),
        ("long name", json!({ "cpu": { "classes": { "x".repeat(60_000): { "minFreq": 1 } } } }), 1),
        ("long value", json!({ "logger": { "Debug": "a,".repeat(30_000) } }), 1),
        (
            "log sources",
            json!({ "rdt": { "partitions": { "p": { "l3Allocation": (0..5000).map(|id| (id.to_string(), json!("1%"))).collect::<Map<_, _>>() } } } }),
            5000,
        ),
    ] {
        let start = std::time::Instant::now();
        let conversion = convert(of_document(ConfigKey::Default, document)).unwrap();
        is_sound(&conversion);
        assert!(conversion.report.keys.len() <= most, "{name}: {}", conversion.report.keys.len());
        let bytes: usize = conversion.report.entries().map(|entry| entry.id.len() + entry.text.len()).sum();
        assert!(bytes < 8 << 20, "{name}: {bytes}");
        assert!(start.elapsed().as_secs() < 10, "{name}: {:?}", start.elapsed());
    }
}

/// Twice the types, twice the entries, and not much more than twice the bytes of a report.
#[test]
fn the_report_grows_with_the_document() {
    let bytes = |count: usize| {
        let types: Vec<Value> =
            (0..count).map(|index| json!({ "Name": format!("t{index:05}"), "PreferNewBalloons": true })).collect();
        let document = json!({ "policy": { "Active": "balloons", "ReservedResources": { "CPU": 1 }, "balloons": { "BalloonTypes": types } } });
        let conversion = convert(of_document(ConfigKey::Default, document)).unwrap();
        conversion.report.entries().map(|entry| entry.id.len() + entry.text.len()).sum::<usize>()
    };
    let (one, two) = (bytes(1000), bytes(2000));
    assert!(two < one * 21 / 10, "{one} {two}");
}
