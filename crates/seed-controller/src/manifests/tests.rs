use std::collections::BTreeSet;

use policy_convert::resolve;

use super::*;

const IMAGE: &str = "registry.example/gardener-extension-cri-resmgr-installation:v0.1.0";

fn target(kubernetes: (u64, u64)) -> Target<'static> {
    Target { namespace: "shoot--p--s", image: IMAGE, kubernetes: Some(kubernetes), halt: None }
}

/// One of today's.
const TODAY: Target<'static> = Target { namespace: "shoot--p--s", image: IMAGE, kubernetes: Some((1, 34)), halt: None };

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
    let bundle = manifests.install(TODAY, &effective(&own)).unwrap();
    insta::assert_snapshot!("installation", text(&bundle));
    assert_eq!(bundle.inject_labels[names::PHASE_KEY], "Install");
}

/// What names the desired state in a DaemonSet: the ConfigMap, and the sum of its text.
fn take_state(set: &mut Value) -> (Value, Value) {
    let spec = &mut set["spec"]["template"]["spec"];
    let variables = spec["containers"][0]["env"].as_array_mut().unwrap();
    let sum = variables.iter_mut().find(|variable| variable["name"] == "DESIRED_STATE_SHA256").unwrap()["value"].take();
    (spec["volumes"][0]["configMap"]["name"].take(), sum)
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
            assert_ne!(take_state(set), (Value::Null, Value::Null));
        }
        others
    };
    let expected = others(&manifests.install(TODAY, &effective(&json!({}))).unwrap());
    let mut rendered = BTreeSet::new();
    for entry in std::fs::read_dir(root.join("../../examples/provider-config")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let example = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let shoot: Value = serde_saphyr::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let own = &shoot["spec"]["extensions"][0]["providerConfig"];
        let effective = effective(own);
        let mut extension = gardener_api::Extension::new("e", gardener_api::ExtensionSpec::default());
        extension.spec.provider_config = Some(gardener_api::RawJson::from(own));
        let owner = crate::configuration::Owner { extension: extension.into(), shoot: None };
        let bundle = manifests.install(TODAY, &effective).unwrap();
        assert_eq!(others(&bundle), expected, "{example}");
        let configurations: Vec<_> = bundle.objects.iter().filter(is_configuration).cloned().collect();
        let status =
            serde_json::to_string_pretty(&crate::configuration::status::provider_status(&effective, &owner)).unwrap();
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

/// Field case N20: pools of which the Shoot says that cri-resmgr cannot work there. What travels and what the owner sees; all other objects are
/// those of the test `installation`, so the agents run there too, with nothing to do.
#[test]
fn pools_that_are_left_alone() {
    let manifests = Manifests::new(AgentSettings::default()).unwrap();
    let worker = |name: &str, more: Value| {
        let mut worker =
            json!({"name": name, "cri": {"name": "containerd"}, "machine": {"type": "m", "architecture": "amd64"}});
        worker.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        worker
    };
    let plain = [worker("plain", json!({"kubernetes": {"kubelet": {"maxPods": 50}}}))];
    let ruled_out = [
        worker("inherits", json!({})),
        worker("static", json!({"kubernetes": {"kubelet": {"cpuManagerPolicy": "static"}}})),
        worker("docker", json!({"cri": {"name": "docker"}, "kubernetes": {"kubelet": {}, "version": "1.22.17"}})),
        worker("arm", json!({"machine": {"type": "m", "architecture": "arm64"}, "kubernetes": {"kubelet": {}}})),
    ];
    let mut reported = Vec::new();
    for workers in [[&ruled_out[..], &plain].concat(), ruled_out.to_vec(), plain.to_vec()] {
        let shoot: gardener_api::Shoot = serde_json::from_value(json!({"spec": {
            "kubernetes": {"version": "1.32.2", "kubelet": {"cpuManagerPolicy": "static"}},
            "provider": {"workers": workers},
        }}))
        .unwrap();
        assert!(shoot.faults.is_empty());
        let effective = resolve(None, None, &extension_config::Facts::of(&shoot)).unwrap();
        let bundle = manifests.install(TODAY, &effective).unwrap();
        let extension = gardener_api::Extension::new("e", gardener_api::ExtensionSpec::default());
        let owner = crate::configuration::Owner { extension: extension.into(), shoot: None };
        let status = crate::configuration::status::provider_status(&effective, &owner);
        let configurations: Vec<_> =
            bundle.objects.iter().filter(|object| object.id().kind == "ConfigMap").cloned().collect();
        reported.push(format!(
            "{}--- providerStatus\n{}\n--- Event\n{}\n",
            managed_resource::objects::write(&configurations).unwrap(),
            serde_json::to_string_pretty(&status).unwrap(),
            crate::configuration::status::left_alone_note(None, &effective).unwrap_or_else(|| "none".to_owned()),
        ));
        assert_eq!(kinds(&bundle).len(), kinds(&manifests.install(TODAY, &effective_of_nothing()).unwrap()).len());
    }
    insta::assert_snapshot!("pools-left-alone", reported.join("\n"));
}

fn effective_of_nothing() -> Effective {
    effective(&json!({}))
}

#[test]
fn removal() {
    let manifests = Manifests::new(AgentSettings::default()).unwrap();
    let bundle = manifests.remove(TODAY).unwrap();
    insta::assert_snapshot!("removal", text(&bundle));
    assert_eq!(bundle.inject_labels[names::PHASE_KEY], "Remove");
}

/// An API server that does not know the kind of the policy gets none, and nothing else is different.
#[test]
fn an_older_kubernetes_gets_no_policy() {
    let manifests = Manifests::new(AgentSettings::default()).unwrap();
    let own = effective(&json!({}));
    let is_policy = |object: &String| object.contains("ValidatingAdmissionPolicy");
    let unknown = Target { kubernetes: None, ..TODAY };
    let cases = [
        (unknown, 0, 0),
        (target((1, 29)), 0, 0),
        // The API server itself may be one minor behind when a removal begins.
        (target((1, 30)), 2, 0),
        (target((1, 31)), 2, 2),
        (target((2, 0)), 2, 2),
    ];
    for (target, installed, removing) in cases {
        let both = [(manifests.install(target, &own), installed), (manifests.remove(target), removing)];
        for ((bundle, policies), today) in
            both.into_iter().zip([manifests.install(TODAY, &own), manifests.remove(TODAY)])
        {
            let (found, mut today) = (kinds(&bundle.unwrap()), kinds(&today.unwrap()));
            assert_eq!(found.iter().filter(|object| is_policy(object)).count(), policies, "{target:?}");
            today.retain(|object| policies > 0 || !is_policy(object));
            assert_eq!(found, today, "{target:?}");
        }
    }
    insta::assert_snapshot!(
        "installation-older-kubernetes",
        kinds(&manifests.install(target((1, 29)), &own).unwrap()).join("\n")
    );
}

/// A pod's field `appArmorProfile` is unknown before 1.30, and confined the agent does not reach the bus of an Ubuntu host.
#[test]
fn an_older_kubernetes_gets_the_apparmor_profile_by_annotation() {
    let key = "container.apparmor.security.beta.kubernetes.io/node-agent";
    for (profile, expected) in [
        (json!({"type": "Unconfined"}), Some("unconfined")),
        (json!({"type": "RuntimeDefault"}), Some("runtime/default")),
        (json!({"type": "Localhost", "localhostProfile": "a/b"}), Some("localhost/a/b")),
        (Value::Null, None),
    ] {
        let settings = AgentSettings {
            app_armor_profile: Some(profile.clone()).filter(|profile| !profile.is_null()),
            ..AgentSettings::default()
        };
        let manifests = Manifests::new(settings).unwrap();
        let unknown = Target { kubernetes: None, ..TODAY };
        for (target, annotated) in [
            (unknown, true),
            (target((1, 29)), true),
            (target((1, 30)), true),
            (target((1, 31)), false),
            (TODAY, false),
        ] {
            for bundle in [manifests.install(target, &effective(&json!({}))), manifests.remove(target)] {
                let template = &object(bundle.as_ref().unwrap(), "DaemonSet")["spec"]["template"];
                assert_eq!(
                    template["spec"]["securityContext"].get("appArmorProfile").unwrap_or(&Value::Null),
                    &profile
                );
                let found = template["metadata"]["annotations"].get(key).and_then(Value::as_str);
                assert_eq!(found, expected.filter(|_| annotated), "{target:?}");
            }
        }
    }
}

fn object<'a>(bundle: &'a Bundle, kind: &str) -> &'a serde_json::Map<String, Value> {
    bundle.objects.iter().find(|object| object.id().kind == kind).unwrap().body()
}

/// The policy says something about every write that RBAC lets the agents do, and about nobody else.
#[test]
fn every_write_of_an_agent_is_checked_by_the_policy() {
    let manifests = Manifests::new(AgentSettings::default()).unwrap();
    let bundle = manifests.install(TODAY, &effective(&json!({}))).unwrap();
    let spec = &object(&bundle, "ValidatingAdmissionPolicy")["spec"];
    let account = format!("system:serviceaccount:{}:{}", names::SHOOT_NAMESPACE, names::NODE_AGENT);
    assert_eq!(spec["matchConditions"][0]["expression"], format!("request.userInfo.username == '{account}'"));
    assert_eq!((&spec["matchConditions"][1], &spec["failurePolicy"]), (&Value::Null, &json!("Fail")));
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let mut looked_at = BTreeSet::new();
    for rule in spec["matchConstraints"]["resourceRules"].as_array().unwrap() {
        for operation in texts(&rule["operations"]) {
            let verbs: &[&str] = match operation.as_str() {
                "CREATE" => &["create"],
                "UPDATE" => &["update", "patch"],
                _ => &["delete"],
            };
            for verb in verbs {
                looked_at.insert((texts(&rule["apiGroups"]).concat(), texts(&rule["resources"]).concat(), *verb));
            }
        }
    }
    let mut writes = 0;
    let of_agent = |body: &serde_json::Map<String, Value>| {
        body["kind"] == "Role" && body["metadata"]["name"] == names::NODE_AGENT
            || body["kind"] == "ClusterRole" && body["metadata"]["name"] == CLUSTER_ROLE
    };
    for role in bundle.objects.iter().map(managed_resource::Object::body).filter(|body| of_agent(body)) {
        for rule in role["rules"].as_array().unwrap() {
            for verb in texts(&rule["verbs"]).iter().filter(|verb| !["get", "list", "watch"].contains(&verb.as_str())) {
                let write = (texts(&rule["apiGroups"]).concat(), texts(&rule["resources"]).concat(), verb.as_str());
                assert!(looked_at.contains(&write), "{write:?}");
                writes += 1;
            }
        }
    }
    assert!(writes > 0);
}

/// Only Gardener's label opens the agents.
#[test]
fn nobody_but_the_control_plane_reaches_an_agent() {
    let manifests = Manifests::new(AgentSettings::default()).unwrap();
    for bundle in [manifests.install(TODAY, &effective(&json!({}))).unwrap(), manifests.remove(TODAY).unwrap()] {
        let policy = object(&bundle, "NetworkPolicy");
        assert_eq!((&policy["spec"]["policyTypes"], policy["spec"].get("ingress")), (&json!(["Ingress"]), None));
        let labels = &daemon_set(&bundle)["spec"]["template"]["metadata"]["labels"];
        assert_eq!(labels["networking.gardener.cloud/from-seed"], "allowed");
        for (key, value) in policy["spec"]["podSelector"]["matchLabels"].as_object().unwrap() {
            assert_eq!(labels[key], *value);
        }
    }
}

#[test]
fn both_phases_are_one_daemon_set() {
    let settings = AgentSettings {
        se_linux_options: Some(json!({"type": "spc_t"})),
        pull_secrets: vec![json!({"name": "pull"})],
        ..AgentSettings::default()
    };
    let manifests = Manifests::new(settings).unwrap();
    let mut installed = daemon_set(&manifests.install(TODAY, &effective(&json!({}))).unwrap());
    let mut removing = daemon_set(&manifests.remove(TODAY).unwrap());
    for set in [&mut installed, &mut removing] {
        let template = &mut set["spec"]["template"];
        let phase = template["metadata"]["annotations"][names::PHASE_KEY].take();
        let (state, sum) = take_state(set);
        let template = &set["spec"]["template"];
        assert!(sum.as_str().is_some_and(|sum| sum.len() == 64), "{sum}");
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
    let installed = kinds(&manifests.install(TODAY, &effective(&own)).unwrap());
    let removing = kinds(&manifests.remove(TODAY).unwrap());
    for object in installed.iter().filter(|object| !object.contains("ConfigMap")) {
        assert!(removing.contains(object), "{object} is dropped");
    }
}

#[test]
fn a_node_stays_closed_only_while_installing() {
    let critical = "node.gardener.cloud/critical-component";
    let manifests = Manifests::new(AgentSettings { node_critical: true, ..AgentSettings::default() }).unwrap();
    let installed = daemon_set(&manifests.install(TODAY, &effective(&json!({}))).unwrap());
    let removing = daemon_set(&manifests.remove(TODAY).unwrap());
    for (set, expected) in [(&installed, Some("true")), (&removing, None)] {
        for labels in [&set["metadata"]["labels"], &set["spec"]["template"]["metadata"]["labels"]] {
            assert_eq!(labels.get(critical).and_then(Value::as_str), expected);
        }
    }
}

#[test]
fn the_desired_state_travels_unharmed() {
    let awkward = "cpu:\n  classes:\n    \"\\\"quoted\\\" 'and' {{ braces }} \u{1f980}\u{2028}\": {}\n";
    let manifests = Manifests::new(AgentSettings::default()).unwrap();
    let bundle = manifests.install(TODAY, &effective(&json!({"configs": {"fallback": awkward}}))).unwrap();
    let map = bundle
        .objects
        .iter()
        .find(|object| object.id().name.starts_with(names::DESIRED_STATE_CONFIG_MAP_PREFIX))
        .unwrap();
    let text = map.body()["data"][names::DESIRED_STATE_KEY].as_str().unwrap();
    let state = DesiredState::decode(text).unwrap();
    let expected = "{\"cpu\":{\"classes\":{\"\\\"quoted\\\" 'and' {{ braces }} \u{1f980}\\u2028\":{}}}}\n";
    let Backend::CriResmgr(daemon) = &state.backend else { panic!("{state:?}") };
    assert_eq!(daemon.fallback_config.as_deref(), Some(expected));
    assert_eq!(map.id().name, state.config_map_name().unwrap());
}

#[test]
fn equal_input_gives_equal_bytes() {
    let manifests = Manifests::new(AgentSettings::default()).unwrap();
    let own = json!({"configs": {"node.b": "policy: {Active: none}", "node.a": "policy: {Active: none}"}});
    let render = || manifests.install(TODAY, &effective(&own)).unwrap().build().unwrap();
    assert_eq!(render(), render());
}

/// A stop of all switches rolls nothing out: of all objects the DaemonSet alone changes, and nothing of its pods or of the desired state.
#[test]
fn a_stop_of_switches_is_an_annotation_of_the_daemon_set_and_nothing_else() {
    let manifests = Manifests::new(AgentSettings::default()).unwrap();
    let halt = Halt::of(&BTreeMap::from([(names::HALT_ANNOTATION.to_owned(), "INC-1: \"why\"".to_owned())])).unwrap();
    let halted = Target { halt: Some(&halt), ..TODAY };
    let config = effective(&json!({"configs": {"fallback": "policy: {Active: none}"}}));
    let (without, with) = (manifests.install(TODAY, &config).unwrap(), manifests.install(halted, &config).unwrap());
    let mut set = daemon_set(&with);
    let annotations = set["metadata"]["annotations"].as_object_mut().unwrap();
    assert_eq!(annotations.remove(names::HALT_ANNOTATION), Some(json!("INC-1: \"why\"")));
    assert_eq!(set, daemon_set(&without));
    let others = |bundle: &Bundle| -> Vec<Value> {
        let others = bundle.objects.iter().filter(|object| object.id().kind != "DaemonSet");
        others.map(|object| Value::Object(object.body().clone())).collect()
    };
    assert_eq!(others(&with), others(&without));
    // A removal is held by nothing.
    assert_eq!(text(&manifests.remove(halted).unwrap()), text(&manifests.remove(TODAY).unwrap()));
}
