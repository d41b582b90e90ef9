use serde_json::json;

use super::*;

fn data(text: &str) -> Data {
    Data::from([(POLICY_KEY.to_owned(), text.to_owned())])
}

fn policy(kind: &str, spec: &serde_json::Value) -> String {
    json!({"kind": kind, "spec": spec}).to_string()
}

fn maps(levels: &[&str]) -> Input {
    let all = levels.iter().map(|level| (format!("cri-resmgr-policy.{level}"), data(level)));
    Input::Maps(all.collect())
}

fn found(level: &str) -> FoundPolicy {
    FoundPolicy::Found { source: format!("cri-resmgr-policy.{level}"), data: data(level) }
}

#[test]
fn the_node_s_own_wins_over_its_group_s_which_wins_over_the_default() {
    let group = |name: &str| Input::Group(Some(name.to_owned()));
    let all = ["default", "group.g", "node.n"];
    for (inputs, expected) in [
        (vec![], FoundPolicy::Awaited),
        (vec![maps(&["default", "group.g"])], FoundPolicy::Awaited),
        // Whatever the label says.
        (vec![maps(&all)], found("node.n")),
        (vec![maps(&all), group("g")], found("node.n")),
        (vec![maps(&all[..2]), group("g")], found("group.g")),
        (vec![maps(&all[..2]), Input::Group(None)], found("default")),
        // A group without one: better than upstream, where such a node has none.
        (vec![maps(&["default"]), group("g")], found("default")),
        (vec![maps(&["group.h", "node.m"]), group("g")], FoundPolicy::Missing),
        (vec![group("g")], FoundPolicy::Awaited),
        (vec![maps(&all), group("g"), maps(&[])], FoundPolicy::Missing),
    ] {
        let (source, mut policies) = policies("n");
        let what = format!("{inputs:?}");
        for input in inputs {
            policies.take(input);
        }
        assert_eq!(*source.changes().borrow(), expected, "{what}");
    }
}

#[tokio::test]
async fn nothing_is_watched_before_it_is_wanted_and_a_repeated_list_is_no_change() {
    let (source, following) = policies("n");
    let mut changes = source.changes();
    let state = |backend| DesiredState {
        phase: extension_config::desired_state::Phase::Install,
        selection: extension_config::desired_state::Selection::default(),
        backend,
        handover: None,
    };
    let inputs = || {
        let all = [maps(&["default"]), Input::Group(None), maps(&["default"])];
        futures::stream::iter(all).boxed_local()
    };
    let mut following = std::pin::pin!(following.run(inputs));
    for backend in [Backend::default(), Backend::NriPlugins(extension_config::desired_state::NriPlugins::default())] {
        assert!(futures::poll!(&mut following).is_pending());
        assert!(!changes.has_changed().unwrap(), "{backend:?}");
        assert_eq!(source.policy(&state(backend)), NodePolicy::Awaited);
    }
    assert!(futures::poll!(&mut following).is_pending());
    assert_eq!(*changes.borrow_and_update(), found("default"));

    let (source, mut policies) = policies("n");
    policies.take(maps(&["default"]));
    policies.take(Input::Group(None));
    let mut changes = source.changes();
    assert_eq!(*changes.borrow_and_update(), found("default"));
    policies.take(maps(&["default"]));
    assert!(!changes.has_changed().unwrap());
}

#[test]
fn a_policy_is_checked_whoever_wrote_it_and_its_document_says_nothing_of_its_place() {
    let spec = json!({"reservedResources": {"cpu": "1"}, "balloonTypes": [{"name": "a", "minCPUs": 1}]});
    let check =
        |source: &str, data: Data| FoundPolicy::Found { source: source.to_owned(), data }.checked(&BTreeSet::new());
    let good = policy("BalloonsPolicy", &spec);
    let (NodePolicy::Valid { source, kind, document }, NodePolicy::Valid { document: other, .. }) =
        (check("a", data(&good)), check("b", data(&good)))
    else {
        panic!("{:?}", check("a", data(&good)));
    };
    assert_eq!((&*source, kind), ("a", nri_policy::Kind::BalloonsPolicy));
    assert_eq!(document, other);
    for (data, problem) in [
        (Data::new(), "has no key policy.json"),
        (data("{"), "policy.json: EOF while parsing an object at line 1 column 1"),
        (data(&policy("Other", &spec)), "policy.json: unknown variant `Other`"),
        (data(r#"{"kind":"BalloonsPolicy"}"#), "policy.json: missing field `spec`"),
        (data(&format!("{{\"kind\":\"BalloonsPolicy\",\"spec\":{}", "[".repeat(10_000))), "recursion limit exceeded"),
        (data(&policy("BalloonsPolicy", &json!({"ballonTypes": []}))), "ballonTypes"),
        (Data::from([(TOO_LONG.to_owned(), "has 70000 bytes".to_owned())]), "has 70000 bytes"),
    ] {
        match check("a", data) {
            NodePolicy::Invalid { source, problems } => {
                assert_eq!(source, "a");
                assert!(problems.iter().any(|found| found.contains(problem)), "{problem}: {problems:?}");
            }
            other => panic!("{problem}: {other:?}"),
        }
    }
    assert_eq!(FoundPolicy::Awaited.checked(&BTreeSet::new()), NodePolicy::Awaited);
    assert_eq!(FoundPolicy::Missing.checked(&BTreeSet::new()), NodePolicy::Missing);
}
