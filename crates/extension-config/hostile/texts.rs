//! Texts that cost much where the work for them is not bounded, each in any length. Most of them stopped a controller (W2 of the security
//! review) or an agent (W12).

use serde_json::{Value, json};

/// A kind of text.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// A text of about this many bytes, rather more.
    pub(crate) text: fn(usize) -> String,
    /// Bytes at which it did harm.
    pub(crate) harmful: usize,
}

pub(crate) const CONFIGURATIONS: [Kind; 17] = [
    Kind { name: "one long list of CPUs", text: one_list, harmful: 160_064 },
    Kind { name: "many lists of CPUs", text: many_lists, harmful: 1_187_585 },
    Kind { name: "a long name with many lists below", text: long_name, harmful: 297_510 },
    Kind { name: "many names with lists below", text: many_names, harmful: 297_510 },
    Kind { name: "a long key with many unknown keys below", text: unknown_keys, harmful: 73_760 },
    Kind { name: "a long class and many types that miss it", text: missed_class, harmful: 254_951 },
    Kind { name: "many classes and many types that miss them", text: missed_classes, harmful: 254_951 },
    Kind { name: "many names", text: names, harmful: 1_250_087 },
    Kind { name: "many keys", text: keys, harmful: 1_500_000 },
    Kind { name: "many dotted keys", text: dotted_keys, harmful: 1_500_000 },
    Kind { name: "many empty maps", text: empty_maps, harmful: 1_500_000 },
    Kind { name: "anchors of anchors", text: anchors, harmful: 132_000 },
    Kind { name: "deep lists", text: deep, harmful: 1_500_000 },
    Kind { name: "many partitions with many cache ids", text: many_partitions, harmful: 1_500_000 },
    Kind { name: "a partition with many classes", text: many_classes, harmful: 1_500_000 },
    Kind { name: "many pools", text: many_pools, harmful: 1_500_000 },
    Kind { name: "one long text", text: long_text, harmful: 1_500_000 },
];

fn filled(start: &str, part: impl Fn(usize) -> String, end: &str, bytes: usize) -> String {
    let mut text = start.to_owned();
    let mut index = 0;
    while text.len() + end.len() < bytes {
        text.push_str(&part(index));
        index += 1;
    }
    text + end
}

fn one_list(bytes: usize) -> String {
    let start = "policy: {Active: balloons, ReservedResources: {CPU: \"cpuset:0";
    filled(start, |_| ",0-8191".to_owned(), "\"}}", bytes)
}

fn many_lists(bytes: usize) -> String {
    let start = "policy: {Active: none, static-pools: {pools: {a: {cpuLists: [";
    filled(start, |_| "{Cpuset: 0-8191},".to_owned(), "]}}}}", bytes)
}

fn long_name(bytes: usize) -> String {
    let start = format!("policy:\n  static-pools:\n    pools:\n      ? {}\n      : cpuLists: [", "a".repeat(bytes / 2));
    filled(&start, |_| "{},".to_owned(), "]\n", bytes)
}

fn many_names(bytes: usize) -> String {
    let pool = |index| format!("{}{index}: {{cpuLists: [{}]}},", "a".repeat(240), "{},".repeat(80));
    filled("policy: {static-pools: {pools: {", pool, "}}}", bytes)
}

fn unknown_keys(bytes: usize) -> String {
    let start = format!("cpu:\n  classes:\n    ? {}\n    : {{", "a".repeat(bytes / 2));
    filled(&start, |index| format!("k{index}: 1,"), "}\n", bytes)
}

fn missed_class(bytes: usize) -> String {
    let start = format!(
        "cpu:\n  classes:\n    ? {}\n    : {{}}\npolicy:\n  ReservedResources: {{CPU: 1}}\n  Active: balloons\n  balloons:\n    BalloonTypes: [",
        "a".repeat(bytes / 2)
    );
    filled(&start, |index| format!("{{Name: n{index}, CpuClass: b}},"), "]\n", bytes)
}

fn missed_classes(bytes: usize) -> String {
    let classes = filled("cpu: {classes: {", |index| format!("c{index}: {{}},"), "}}\n", bytes / 2);
    let start = format!("{classes}policy: {{Active: none, balloons: {{BalloonTypes: [");
    filled(&start, |index| format!("{{Name: n{index}, CpuClass: b}},"), "]}}\n", bytes)
}

fn names(bytes: usize) -> String {
    let start = "policy: {Active: none, balloons: {BalloonTypes: [";
    filled(start, |index| format!("{{Name: n{index}}},"), "]}}", bytes)
}

fn keys(bytes: usize) -> String {
    filled("{", |index| format!("k{index}: 1,"), "}", bytes)
}

fn dotted_keys(bytes: usize) -> String {
    filled("", |index| format!("{}{index}: 1\n", "a.".repeat(120)), "", bytes)
}

fn empty_maps(bytes: usize) -> String {
    filled("blockio: {Classes: {a: [", |_| "{},".to_owned(), "]}}", bytes)
}

fn anchors(bytes: usize) -> String {
    let start = "a: &a [x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: [";
    filled(start, |_| "*c, ".to_owned(), "]\n", bytes)
}

fn deep(bytes: usize) -> String {
    format!("policy: {}{}", "[".repeat(bytes / 2), "]".repeat(bytes / 2))
}

fn many_partitions(bytes: usize) -> String {
    let partition = |index| format!("p{index}: {{l3Allocation: {{0-127: 1%}}}},");
    filled("policy: {Active: none}\nrdt: {partitions: {", partition, "}}", bytes)
}

fn many_classes(bytes: usize) -> String {
    let start = "policy: {Active: none}\nrdt: {partitions: {p: {classes: {";
    filled(start, |index| format!("c{index}: {{l3Allocation: 1%}},"), "}}}}", bytes)
}

fn many_pools(bytes: usize) -> String {
    let start =
        "policy: {Active: podpools, AvailableResources: {CPU: 0-99}, ReservedResources: {CPU: 1}, podpools: {Pools: [";
    filled(start, |index| format!("{{name: n{index}, cpu: 9, INSTANCES: 9 %}},"), "]}}", bytes)
}

fn long_text(bytes: usize) -> String {
    filled("policy: {Active: \"", |_| "none ".repeat(1000), "\"}", bytes)
}

/// A name, and a providerConfig of about this many bytes.
pub(crate) type ProviderConfig = (&'static str, fn(usize) -> Value);

pub(crate) const PROVIDER_CONFIGS: [ProviderConfig; 6] = [
    ("opaque numbers", |bytes| json!({"x": vec![0; bytes / 2]})),
    ("opaque maps", |bytes| json!({"x": vec![json!({"a": 0}); bytes / 8]})),
    ("worker pools", |bytes| {
        let pools: Vec<_> = (0..bytes / 9).map(|index| format!("p{index}")).collect();
        typed(json!({"selection": {"workerPools": pools}}))
    }),
    ("labels", |bytes| {
        let labels: serde_json::Map<_, _> = (0..bytes / 14).map(|index| (format!("/l{index}"), json!("-"))).collect();
        typed(json!({"selection": {"matchLabels": labels}}))
    }),
    ("nodes with anchors of anchors", |bytes| {
        let nodes: serde_json::Map<_, _> =
            (0..bytes / 260).map(|index| (format!("node.n{index}"), json!(anchors(230)))).collect();
        json!({"configs": nodes})
    }),
    ("nodes with wrong keys", |bytes| {
        let nodes: serde_json::Map<_, _> =
            (0..bytes / 260).map(|index| (format!("node.n{index}"), json!(keys(230)))).collect();
        json!({"configs": nodes})
    }),
];

fn typed(rest: Value) -> Value {
    let mut config =
        json!({"apiVersion": "cri-resmgr.extensions.gardener.cloud/v1alpha1", "kind": "CriResourceManagerConfig"});
    if let (Value::Object(config), Value::Object(rest)) = (&mut config, rest) {
        config.extend(rest);
    }
    config
}
