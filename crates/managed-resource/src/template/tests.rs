use proptest::prelude::*;
use serde_json::json;

use super::*;

const CONFIG_MAP: &str = r"apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ name }}
  labels: {{ labels | yaml }}
data:
  text: {{ text }}
  {{ key }}: {{ number | yaml }}
";

fn render(template: &'static str, values: &serde_json::Value) -> Result<Vec<Object>, Error> {
    Templates::new(&[("a.yaml", template)])?.render(values)
}

fn cause(error: &Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[test]
fn values_are_quoted_wherever_they_stand() {
    let values = json!({"name": "a", "labels": {"on": "yes", "x: y": "1"}, "text": "a: b\n---\nkind: Secret", "key": "{{ name }}", "number": 7});
    let objects = render(CONFIG_MAP, &values).unwrap();
    assert_eq!(
        serde_json::Value::Object(objects[0].body().clone()),
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "a", "labels": {"on": "yes", "x: y": "1"}},
            "data": {"text": "a: b\n---\nkind: Secret", "{{ name }}": 7},
        })
    );
}

#[test]
fn the_ways_around_quoting_are_closed() {
    let error = render("{{ x | safe }}", &json!({"x": "kind: Secret"})).unwrap_err();
    assert!(format!("{error:?}").contains("would let a value write manifests"), "{error:?}");
    // A list without the filter is one quoted text and not structure.
    let object = "apiVersion: v1\nkind: A\nmetadata: {name: a}\nlist: {{ x }}\n";
    let objects = render(object, &json!({"x": ["a"]})).unwrap();
    assert!(objects[0].body()["list"].is_string());
}

#[test]
fn what_was_rendered_before_never_shows_in_other_objects() {
    let templates =
        Templates::new(&[("a.yaml", CONFIG_MAP), ("b.yaml", "apiVersion: v1\nkind: A\nmetadata: {name: a}\n")])
            .unwrap();
    let long = "x".repeat(2 * REMEMBERED_BYTES);
    let values = |text: &str| json!({"name": "a", "labels": {}, "text": text, "key": "k", "number": 7});
    for text in ["one", "one", "two", &long, &long, "one"] {
        let fresh =
            Templates::new(&[("a.yaml", CONFIG_MAP), ("b.yaml", "apiVersion: v1\nkind: A\nmetadata: {name: a}\n")]);
        assert_eq!(templates.render(&values(text)).unwrap(), fresh.unwrap().render(&values(text)).unwrap());
    }
    let remembered: Vec<usize> = templates.parsed.0.lock().unwrap().values().map(|(text, _)| text.len()).collect();
    assert!(remembered.len() == 2 && remembered.iter().all(|bytes| *bytes <= REMEMBERED_BYTES), "{remembered:?}");
    // Nor does a failure stay.
    assert!(templates.render(&json!({"name": "", "labels": {}, "text": "", "key": "k", "number": 7})).is_err());
    assert!(templates.render(&values("one")).is_ok());
}

#[test]
fn what_is_not_there_is_an_error() {
    let error = render("a: {{ nothing }}", &json!({})).unwrap_err();
    assert_eq!(error.to_string(), "template a.yaml cannot be rendered");
}

#[test]
fn what_is_no_object_is_refused() {
    for (template, expected) in [
        ("- a", "document 1 is not a map"),
        ("kind: A\nmetadata: {name: a}", "document 1 has no apiVersion"),
        ("apiVersion: v1\nkind: ''\nmetadata: {name: a}", "document 1 has no kind"),
        ("apiVersion: v1\nkind: A", "document 1 has no metadata.name"),
        (
            "apiVersion: v1\nkind: A\nmetadata: {name: a}\n---\napiVersion: v1\nkind: A\nmetadata: {name: a}",
            "v1 A a is given twice",
        ),
        (
            "apiVersion: v1\nkind: A\nmetadata: {name: a, namespace: n}\n---\n---\napiVersion: v1\nkind: A\nmetadata: {name: a, namespace: n}",
            "v1 A n/a is given twice",
        ),
    ] {
        assert_eq!(cause(&render(template, &json!({})).unwrap_err()), expected, "{template}");
    }
    for template in ["a: [", "a: 1\na: 2"] {
        let error = render(template, &json!({})).unwrap_err();
        assert!(
            matches!(error, Error::Objects { source, .. } if matches!(*source, objects::Error::Yaml(_))),
            "{template}"
        );
    }
}

#[test]
fn broken_templates_are_refused_when_read() {
    assert!(matches!(Templates::new(&[("a.yaml", "{{ x")]), Err(Error::Templates(_))));
    assert!(matches!(Templates::new(&[("a.yaml", "{% include 'none' %}")]), Err(Error::Templates(_))));
}

#[test]
fn only_yaml_templates_give_manifests() {
    let templates = Templates::new(&[
        ("a.yaml", "{% include 'b.tpl' %}"),
        ("b.tpl", "apiVersion: v1\nkind: A\nmetadata: {name: {{ n }}}"),
    ])
    .unwrap();
    let objects = templates.render(&json!({"n": "x\ty"})).unwrap();
    assert_eq!(objects.iter().map(|object| object.id().name.as_str()).collect::<Vec<_>>(), ["x\ty"]);
}

proptest! {
    /// Whatever a user writes arrives as it was, in its place, and nowhere else.
    #[test]
    fn awkward_texts_survive(name in any::<String>().prop_filter("names are not empty", |n| !n.is_empty()), text: String, key: String, label: String) {
        prop_assume!(key != "text");
        let values = json!({"name": &name, "labels": {&label: &text}, "text": &text, "key": &key, "number": null});
        let objects = render(CONFIG_MAP, &values).unwrap();
        let expected = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {label: &text}},
            "data": {"text": text, key: null},
        });
        prop_assert_eq!(serde_json::Value::Object(objects[0].body().clone()), expected);
        // And it survives being written and read again.
        prop_assert_eq!(objects::parse(&objects::write(&objects).unwrap()).unwrap(), objects);
    }
}
