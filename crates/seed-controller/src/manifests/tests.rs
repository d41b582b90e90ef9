use std::collections::BTreeSet;

use extension_config::resolve;

use super::*;

const IMAGE: &str = "registry.example/gardener-extension-cri-resmgr-installation:v0.1.0";

fn effective(provider_config: &Value) -> Effective {
    resolve(None, Some(provider_config), &extension_config::Facts::default()).unwrap()
}

fn text(bundle: &Bundle) -> String {
    managed_resource::objects::write(&bundle.objects).unwrap()
}

fn kinds(bundle: &Bundle) -> Vec<String> {
    bundle.objects.iter().map(|object| object.id().to_string()).collect()
}

fn daemon_set(bundle: &Bundle) -> Value {
    let found = bundle.objects.iter().find(|object| object.id().kind == "DaemonSet").unwrap();
    Value::Object(found.body().clone())
}

#[test]
fn installation() {
    let manifests = Manifests::new(AgentSettings::default()).unwrap();
    let own = json!({"configs": {"default": "policy: {Active: none}\nlogger: {Debug: 'on:policy'}"}});
    let bundle = manifests.install("shoot--p--s", IMAGE, &effective(&own)).unwrap();
    insta::assert_snapshot!("installation", text(&bundle));
    assert_eq!(bundle.inject_labels[names::PHASE_KEY], "Install");
}

/// What each of `examples/provider-config/` comes to, the original's own form among them: its configuration as it travels, and what the owner
/// sees of it. All other objects are those of the test `installation`.
#[test]
fn every_example() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifests = Manifests::new(AgentSettings::default()).unwrap();
    let is_configuration = |object: &&managed_resource::Object| object.id().kind == "ConfigMap";
    let others = |bundle: &Bundle| -> Vec<Value> {
        let mut others: Vec<Value> = bundle
            .objects
            .iter()
            .filter(|object| !is_configuration(object))
            .map(|o| Value::Object(o.body().clone()))
            .collect();
        for set in others.iter_mut().filter(|object| object["kind"] == "DaemonSet") {
            set["spec"]["template"]["spec"]["volumes"][0]["configMap"]["name"].take();
        }
        others
    };
    let expected = others(&manifests.install("shoot--p--s", IMAGE, &effective(&json!({}))).unwrap());
    let mut rendered = BTreeSet::new();
    for entry in std::fs::read_dir(root.join("../../examples/provider-config")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let example = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let shoot: Value = serde_saphyr::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let effective = effective(&shoot["spec"]["extensions"][0]["providerConfig"]);
        let bundle = manifests.install("shoot--p--s", IMAGE, &effective).unwrap();
        assert_eq!(others(&bundle), expected, "{example}");
        let configurations: Vec<_> = bundle.objects.iter().filter(is_configuration).cloned().collect();
        let status = serde_json::to_string_pretty(&crate::configuration::provider_status(&effective)).unwrap();
        let texts = managed_resource::objects::write(&configurations).unwrap();
        insta::assert_snapshot!(format!("example-{example}"), format!("{texts}--- providerStatus\n{status}"));
        rendered.insert(example);
    }
    let snapshots = std::fs::read_dir(root.join("src/manifests/snapshots")).unwrap();
    let names = snapshots.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let example = |name: String| Some(name.split_once("__example-")?.1.strip_suffix(".snap")?.to_owned());
    assert_eq!(
        names.filter_map(example).collect::<BTreeSet<_>>(),
        rendered,
        "a snapshot for each example and no other"
    );
}

#[test]
fn removal() {
    let manifests = Manifests::new(AgentSettings::default()).unwrap();
    let bundle = manifests.remove("shoot--p--s", IMAGE).unwrap();
    insta::assert_snapshot!("removal", text(&bundle));
    assert_eq!(bundle.inject_labels[names::PHASE_KEY], "Remove");
}

#[test]
fn both_phases_are_one_daemon_set() {
    let settings = AgentSettings {
        se_linux_options: Some(json!({"type": "spc_t"})),
        pull_secrets: vec![json!({"name": "pull"})],
        ..AgentSettings::default()
    };
    let manifests = Manifests::new(settings).unwrap();
    let mut installed = daemon_set(&manifests.install("n", IMAGE, &effective(&json!({}))).unwrap());
    let mut removing = daemon_set(&manifests.remove("n", IMAGE).unwrap());
    for set in [&mut installed, &mut removing] {
        let template = &mut set["spec"]["template"];
        let phase = template["metadata"]["annotations"][names::PHASE_KEY].take();
        let state = template["spec"]["volumes"][0]["configMap"]["name"].take();
        assert!(phase.is_string() && state.as_str().unwrap().starts_with(names::DESIRED_STATE_CONFIG_MAP_PREFIX));
        assert_eq!(template["spec"]["securityContext"]["seLinuxOptions"]["type"], "spc_t");
        assert_eq!(template["spec"]["imagePullSecrets"][0]["name"], "pull");
    }
    assert_eq!(installed, removing);
}

#[test]
fn nothing_but_configuration_is_dropped_before_the_proof() {
    let manifests = Manifests::new(AgentSettings::default()).unwrap();
    let own = json!({"configs": {"default": "policy: {Active: none}"}});
    let installed = kinds(&manifests.install("n", IMAGE, &effective(&own)).unwrap());
    let removing = kinds(&manifests.remove("n", IMAGE).unwrap());
    for object in installed.iter().filter(|object| !object.contains("ConfigMap")) {
        assert!(removing.contains(object), "{object} is dropped");
    }
}

#[test]
fn a_node_stays_closed_only_while_installing() {
    let critical = "node.gardener.cloud/critical-component";
    let manifests = Manifests::new(AgentSettings { node_critical: true, ..AgentSettings::default() }).unwrap();
    let installed = daemon_set(&manifests.install("n", IMAGE, &effective(&json!({}))).unwrap());
    let removing = daemon_set(&manifests.remove("n", IMAGE).unwrap());
    for (set, expected) in [(&installed, Some("true")), (&removing, None)] {
        for labels in [&set["metadata"]["labels"], &set["spec"]["template"]["metadata"]["labels"]] {
            assert_eq!(labels.get(critical).and_then(Value::as_str), expected);
        }
    }
}

#[test]
fn the_desired_state_travels_unharmed() {
    let awkward = "policy:\n  Active: none # \"quoted\" 'and' {{ braces }} \u{1f980}\n";
    let manifests = Manifests::new(AgentSettings::default()).unwrap();
    let bundle = manifests.install("n", IMAGE, &effective(&json!({"configs": {"fallback": awkward}}))).unwrap();
    let map = bundle
        .objects
        .iter()
        .find(|object| object.id().name.starts_with(names::DESIRED_STATE_CONFIG_MAP_PREFIX))
        .unwrap();
    let text = map.body()["data"][names::DESIRED_STATE_KEY].as_str().unwrap();
    let state = DesiredState::decode(text).unwrap();
    assert_eq!(state.daemon.fallback_config.as_deref(), Some(awkward));
    assert_eq!(map.id().name, state.config_map_name().unwrap());
}

#[test]
fn equal_input_gives_equal_bytes() {
    let manifests = Manifests::new(AgentSettings::default()).unwrap();
    let own = json!({"configs": {"node.b": "policy: {Active: none}", "node.a": "policy: {Active: none}"}});
    let render = || manifests.install("n", IMAGE, &effective(&own)).unwrap().build().unwrap();
    assert_eq!(render(), render());
}
