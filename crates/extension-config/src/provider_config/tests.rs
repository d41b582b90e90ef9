use serde_json::json;

use super::*;

fn typed(rest: &Value) -> Value {
    let mut value = json!({"apiVersion": API_VERSION, "kind": KIND});
    value.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    value
}

fn texts(config: &ProviderConfig) -> Vec<(String, &str)> {
    config.configs.iter().map(|(key, written)| (key.to_string(), written.text.as_str())).collect()
}

#[test]
fn an_absent_null_or_empty_provider_config_is_the_default() {
    for raw in [None, Some(Value::Null), Some(json!({})), Some(typed(&json!({}))), Some(json!({"configs": null}))] {
        assert_eq!(decode(raw.as_ref()).unwrap(), ProviderConfig::default(), "{raw:?}");
    }
}

#[test]
fn typed_and_untyped_forms_decode_to_the_same() {
    let untyped = json!({
        "configs": {"fallback": "a: 1\n", "default": "b: 1\n", "node.n": "c: 1\n", "group.g": "d: 1\n", "EXTRA_OPTIONS": "-v=2"},
        "nodeSelector": {"disk": "ssd"},
    });
    let with_texts = typed(&json!({
        "configs": {"fallback": "a: 1\n", "default": "b: 1\n", "nodes": {"n": "c: 1\n"}, "groups": {"g": "d: 1\n"}, "extraOptions": "-v=2"},
        "selection": {"matchLabels": {"disk": "ssd"}},
    }));
    let with_objects = typed(&json!({
        "configs": {"fallback": {"a": 1}, "default": {"b": 1}, "nodes": {"n": {"c": 1}}, "groups": {"g": {"d": 1}}, "extraOptions": "-v=2"},
        "selection": {"matchLabels": {"disk": "ssd"}},
    }));
    let expected = decode(Some(&untyped)).unwrap();
    assert_eq!(
        texts(&expected),
        [
            ("fallback", "a: 1\n"),
            ("EXTRA_OPTIONS", "-v=2"),
            ("default", "b: 1\n"),
            ("group.g", "d: 1\n"),
            ("node.n", "c: 1\n")
        ]
        .map(|(key, text)| (key.to_owned(), text))
    );
    for raw in [with_texts, with_objects] {
        let config = decode(Some(&raw)).unwrap();
        let read = |config: &ProviderConfig| -> Vec<(String, Value)> {
            texts(config).into_iter().map(|(key, text)| (key, serde_saphyr::from_str(text).unwrap())).collect()
        };
        assert_eq!(read(&config), read(&expected));
        assert_eq!(config.selection, expected.selection);
    }
}

#[test]
fn mistakes_in_a_provider_config_are_named_with_their_path() {
    let cases = [
        (json!([]), "must be an object"),
        (json!("x"), "must be an object"),
        (json!({"config": {}}), "config: unknown field `config`, expected `configs` or `nodeSelector`"),
        (json!({"configs": {"fallback": 1}}), "configs.fallback: invalid type: integer `1`, expected a string"),
        (json!({"configs": {"fallback": {"policy": {}}}}), "configs.fallback: invalid type: map, expected a string"),
        (
            json!({"configs": {"Fallback": ""}}),
            "configs.Fallback: there is no such configuration, allowed: fallback, force, EXTRA_OPTIONS, default, group.NAME, node.NAME",
        ),
        (json!({"nodeSelector": {"a b": "c"}}), "nodeSelector.a b: is not a label that a node can have"),
        (json!({"nodeSelector": {"a": "-"}}), "nodeSelector.a: \"-\" is not a value that a label can have"),
        (json!({"nodeSelector": {"a": true}}), "nodeSelector.a: invalid type: boolean `true`, expected a string"),
        (json!({"kind": KIND}), "apiVersion: must be \"cri-resmgr.extensions.gardener.cloud/v1alpha1\""),
        (
            json!({"apiVersion": "cri-resmgr.extensions.gardener.cloud/v1", "kind": KIND}),
            "apiVersion: must be \"cri-resmgr.extensions.gardener.cloud/v1alpha1\"",
        ),
        (json!({"apiVersion": API_VERSION, "kind": "Config"}), "kind: must be \"CriResourceManagerConfig\""),
        (
            typed(&json!({"nodeSelector": {}})),
            "nodeSelector: unknown field `nodeSelector`, expected one of `apiVersion`, `kind`, `backend`, `configs`, `nri`, `migration`, `selection`",
        ),
        (
            typed(&json!({"configs": {"node.n": ""}})),
            "configs.node.n: unknown field `node.n`, expected one of `fallback`, `force`, `extraOptions`, `default`, `groups`, `nodes`",
        ),
        (typed(&json!({"configs": {"fallback": 7}})), "configs.fallback: must be a YAML text or an object"),
        (
            typed(&json!({"configs": {"nodes": {"N": ""}}})),
            "configs.nodes.N: the name must consist of lower case letters, digits, '-' and '.'",
        ),
        (
            typed(&json!({"selection": {"pools": []}})),
            "selection.pools: unknown field `pools`, expected `workerPools` or `matchLabels`",
        ),
        (
            typed(&json!({"selection": {"workerPools": "a"}})),
            "selection.workerPools: invalid type: string \"a\", expected a sequence",
        ),
        (
            typed(&json!({"selection": {"workerPools": [1]}})),
            "selection.workerPools[0]: invalid type: integer `1`, expected a string",
        ),
        (
            typed(&json!({"selection": {"matchLabels": {"/a": ""}}})),
            "selection.matchLabels./a: is not a label that a node can have",
        ),
    ];
    for (raw, expected) in cases {
        let problems = decode(Some(&raw)).unwrap_err();
        assert_eq!(problems.to_string(), format!("providerConfig: {expected}"), "{raw}");
        assert!(problems.blames_the_shoot());
    }
}

#[test]
fn the_documented_json_schema_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/provider-config.schema.json");
    let found = std::fs::read_to_string(path).unwrap_or_default();
    let expected = json_schema().unwrap();
    assert!(found == expected, "{path} must be:\n{expected}");
}
