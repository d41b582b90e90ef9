use serde_json::json;

use super::*;

fn bundle() -> Bundle {
    let objects = objects::parse(
        "apiVersion: v1\nkind: Service\nmetadata: {name: b, namespace: n}\nspec: {type: 'on', ports: [1, 2]}\n---\n\
         apiVersion: v1\nkind: ConfigMap\nmetadata: {name: z, namespace: n}\ndata: {b: \"012\", a: \"x\\ny\\n\", date: '2001-01-01'}\n---\n\
         apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: n}\nempty: {}\nlist: []\nnone: null\n",
    )
    .unwrap();
    Bundle {
        name: "extension-runtime-x".into(),
        namespace: "shoot--p--s".into(),
        class: None,
        labels: BTreeMap::from([("origin".into(), "gardener".into())]),
        inject_labels: BTreeMap::from([("phase".into(), "Install".into())]),
        keep_objects: false,
        objects,
    }
}

fn text(secret: &Secret) -> String {
    String::from_utf8(secret.data.as_ref().unwrap()[DATA_KEY].0.clone()).unwrap()
}

#[test]
fn the_two_objects() {
    let (secret, managed_resource) = bundle().build().unwrap();
    assert_eq!(
        serde_json::to_value(&managed_resource).unwrap(),
        json!({
            "apiVersion": "resources.gardener.cloud/v1alpha1", "kind": "ManagedResource",
            "metadata": {"name": "extension-runtime-x", "namespace": "shoot--p--s", "labels": {"origin": "gardener"}},
            "spec": {
                "secretRefs": [{"name": "managedresource-extension-runtime-x"}],
                "injectLabels": {"phase": "Install"}, "keepObjects": false,
            },
        })
    );
    assert_eq!(secret.metadata.name.as_deref(), Some("managedresource-extension-runtime-x"));
    insta::assert_snapshot!(text(&secret), @r#"
    ---
    apiVersion: 'v1'
    empty: {}
    kind: 'ConfigMap'
    list: []
    metadata:
      name: 'a'
      namespace: 'n'
    none: null
    ---
    apiVersion: 'v1'
    data:
      a: "x\ny\n"
      b: '012'
      date: '2001-01-01'
    kind: 'ConfigMap'
    metadata:
      name: 'z'
      namespace: 'n'
    ---
    apiVersion: 'v1'
    kind: 'Service'
    metadata:
      name: 'b'
      namespace: 'n'
    spec:
      ports:
      - 1
      - 2
      type: 'on'
    "#);
}

#[test]
fn the_order_in_which_objects_come_does_not_matter() {
    let mut other = bundle();
    other.objects.reverse();
    assert_eq!(other.build().unwrap(), bundle().build().unwrap());
}

#[test]
fn what_is_empty_is_left_out() {
    let plain = Bundle {
        class: Some("seed".into()),
        labels: BTreeMap::new(),
        inject_labels: BTreeMap::new(),
        keep_objects: true,
        objects: vec![],
        ..bundle()
    };
    let (secret, managed_resource) = plain.build().unwrap();
    assert_eq!(managed_resource.spec.inject_labels, None);
    assert_eq!(managed_resource.metadata.labels, None);
    assert_eq!(
        (managed_resource.spec.class.as_deref(), managed_resource.spec.keep_objects),
        (Some("seed"), Some(true))
    );
    assert_eq!(text(&secret), "");
}

#[test]
fn an_object_that_is_there_twice_is_refused() {
    let mut twice = bundle();
    twice.objects.push(twice.objects[0].clone());
    assert_eq!(twice.build().unwrap_err().to_string(), "v1 Service n/b is given twice");
}
