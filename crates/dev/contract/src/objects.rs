//! Creating, reading, selecting.

use anyhow::{Context as _, ensure};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams};
use serde_json::json;

use super::fixture::{Fixture, config_map, create, daemon_set, get, merge, refused, replace, resource, same};

pub(super) async fn create_sets_uid_and_version_and_refuses_a_second_time(fixture: &Fixture) -> anyhow::Result<()> {
    let api = fixture.config_maps();
    let made = create(&api, &config_map("a", &json!({ "k": "v" }))).await?;
    for member in ["uid", "resourceVersion", "creationTimestamp"] {
        ensure!(made["metadata"][member].is_string(), "no {member}");
    }
    same(&made["metadata"]["namespace"], &json!(fixture.namespace()))?;
    same(&made["metadata"]["generation"], &json!(null))?;
    same(&get(&api, "a").await?, &made)?;
    refused(create(&api, &config_map("a", &json!({}))).await, 409, "AlreadyExists")
}

pub(super) async fn create_with_generate_name_makes_a_unique_name(fixture: &Fixture) -> anyhow::Result<()> {
    let api = fixture.config_maps();
    let object = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "generateName": "a-" } });
    let (one, other) = (create(&api, &object).await?, create(&api, &object).await?);
    let name = |object: &serde_json::Value| object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    ensure!(name(&one).starts_with("a-") && name(&one).len() == 7 && name(&one) != name(&other), "{one} {other}");
    let nameless = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": {} });
    refused(create(&api, &nameless).await, 422, "Invalid")
}

pub(super) async fn create_in_a_missing_namespace_is_not_found(fixture: &Fixture) -> anyhow::Result<()> {
    let api: Api<DynamicObject> =
        Api::namespaced_with(fixture.client().clone(), "contract-none", &resource("", "v1", "ConfigMap", "configmaps"));
    refused(create(&api, &config_map("a", &json!({}))).await, 404, "NotFound")
}

pub(super) async fn a_missing_object_is_not_found(fixture: &Fixture) -> anyhow::Result<()> {
    let api = fixture.config_maps();
    refused(get(&api, "a").await, 404, "NotFound")?;
    refused(merge(&api, "a", &json!({ "data": {} })).await, 404, "NotFound")?;
    refused(api.delete("a", &DeleteParams::default()).await, 404, "NotFound")?;
    ensure!(api.list(&ListParams::default().fields("metadata.name=a")).await?.items.is_empty(), "something is there");
    Ok(())
}

pub(super) async fn an_unknown_resource_is_not_found(fixture: &Fixture) -> anyhow::Result<()> {
    let api = fixture.api("contract.example", "v1", "Nothing", "nothings");
    let Err(kube::Error::Api(status)) = api.list(&ListParams::default()).await else {
        anyhow::bail!("the kind is known");
    };
    ensure!(status.code == 404, "{status:?}");
    Ok(())
}

pub(super) async fn discovery_lists_a_group_and_does_not_find_an_unknown_one(fixture: &Fixture) -> anyhow::Result<()> {
    let client = fixture.client();
    let list = client.list_api_group_resources("apps/v1").await?;
    ensure!(list.group_version == "apps/v1", "{}", list.group_version);
    let found = list.resources.iter().find(|resource| resource.name == "daemonsets").context("no daemonsets")?;
    ensure!(found.kind == "DaemonSet" && found.namespaced, "{found:?}");
    let Err(kube::Error::Api(status)) = client.list_api_group_resources("contract.example/v1").await else {
        anyhow::bail!("the group is known");
    };
    ensure!(status.code == 404, "{status:?}");
    Ok(())
}

pub(super) async fn null_fields_are_not_stored(fixture: &Fixture) -> anyhow::Result<()> {
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a", "labels": null, "annotations": { "x": "y" } }, "data": null,
    });
    let made = create(&fixture.config_maps(), &object).await?;
    ensure!(made.get("data").is_none() && made["metadata"].get("labels").is_none(), "{made}");
    Ok(())
}

pub(super) async fn string_data_of_a_secret_is_stored_as_base64_data(fixture: &Fixture) -> anyhow::Result<()> {
    let api = fixture.api("", "v1", "Secret", "secrets");
    let object =
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "a" }, "stringData": { "k": "v" } });
    let made = create(&api, &object).await?;
    same(&made["data"], &json!({ "k": "dg==" }))?;
    ensure!(made.get("stringData").is_none(), "{made}");
    Ok(())
}

pub(super) async fn partial_object_metadata_can_be_requested(fixture: &Fixture) -> anyhow::Result<()> {
    let api = fixture.config_maps();
    let made = create(&api, &config_map("a", &json!({ "k": "v" }))).await?;
    let found = api.get_metadata("a").await?;
    let types = found.types.context("no type")?;
    ensure!(types.kind == "PartialObjectMetadata" && types.api_version == "meta.k8s.io/v1", "{types:?}");
    same(&serde_json::to_value(found.metadata)?, &made["metadata"])?;
    let all = api.list_metadata(&ListParams::default().fields("metadata.name=a")).await?;
    ensure!(all.items.len() == 1, "{} objects", all.items.len());
    Ok(())
}

pub(super) async fn lists_are_filtered_by_label_and_name(fixture: &Fixture) -> anyhow::Result<()> {
    let api = fixture.config_maps();
    for (name, label) in [("one", "x"), ("two", "y"), ("three", "x")] {
        let mut object = config_map(name, &json!({}));
        object["metadata"]["labels"] = json!({ "l": label });
        create(&api, &object).await?;
    }
    for (parameters, wanted) in [
        (ListParams::default().labels("l=x"), &["one", "three"][..]),
        (ListParams::default().labels("l!=x,l"), &["two"]),
        (
            ListParams::default().labels("l in (x,y)").fields("metadata.name!=one,metadata.name!=kube-root-ca.crt"),
            &["three", "two"],
        ),
        (ListParams::default().labels("l notin (y)").fields("metadata.name=one"), &["one"]),
        (ListParams::default().labels("m"), &[]),
    ] {
        let found: Vec<String> =
            api.list(&parameters).await?.items.into_iter().filter_map(|item| item.metadata.name).collect();
        ensure!(found == wanted, "{parameters:?} gives {found:?}");
    }
    refused(api.list(&ListParams::default().fields("data.k=v")).await, 400, "BadRequest")
}

pub(super) async fn immutable_fields_cannot_be_changed(fixture: &Fixture) -> anyhow::Result<()> {
    let api = fixture.config_maps();
    let mut object = config_map("a", &json!({ "k": "v" }));
    object["immutable"] = json!(true);
    create(&api, &object).await?;
    refused(merge(&api, "a", &json!({ "data": { "k": "w" } })).await, 422, "Invalid")?;
    merge(&api, "a", &json!({ "metadata": { "labels": { "l": "x" } } })).await?;
    let sets = fixture.daemon_sets();
    create(&sets, &daemon_set("a", &json!([{ "name": "c", "image": "i" }]))).await?;
    let other = json!({ "matchLabels": { "app": "b" } });
    let patch = json!({ "spec": { "selector": other, "template": { "metadata": { "labels": { "app": "b" } } } } });
    refused(merge(&sets, "a", &patch).await, 422, "Invalid")
}

pub(super) async fn an_object_whose_name_differs_from_the_path_is_refused(fixture: &Fixture) -> anyhow::Result<()> {
    let api = fixture.config_maps();
    create(&api, &config_map("a", &json!({}))).await?;
    refused(replace(&api, "a", &config_map("b", &json!({}))).await, 400, "BadRequest")
}

pub(super) async fn delete_collection_deletes_what_the_selector_matches(fixture: &Fixture) -> anyhow::Result<()> {
    let api = fixture.config_maps();
    for name in ["one", "two", "three"] {
        let mut object = config_map(name, &json!({}));
        object["metadata"]["labels"] = json!({ "l": if name == "two" { "keep" } else { "go" } });
        create(&api, &object).await?;
    }
    api.delete_collection(&DeleteParams::default(), &ListParams::default().labels("l=go")).await?;
    let left: Vec<String> = api
        .list(&ListParams::default().labels("l"))
        .await?
        .items
        .into_iter()
        .filter_map(|item| item.metadata.name)
        .collect();
    ensure!(left == ["two"], "{left:?}");
    Ok(())
}
