//! Server-side apply.

use anyhow::{Context as _, ensure};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::fixture::{Fixture, apply, config_map, create, daemon_set, extension, get, merge, refused, same};

pub(super) async fn apply_creates_and_an_equal_apply_keeps_the_resource_version(
    fixture: &Fixture,
) -> anyhow::Result<()> {
    let api = fixture.config_maps();
    let object = config_map("a", &json!({ "k": "1" }));
    let made = apply(&api, "one", false, &object).await?;
    let owner = &made["metadata"]["managedFields"][0];
    same(&owner["manager"], &json!("one"))?;
    same(&owner["operation"], &json!("Apply"))?;
    same(&owner["fieldsV1"], &json!({ "f:data": { "f:k": {} } }))?;
    let again = apply(&api, "one", true, &object).await?;
    same(&again["metadata"]["resourceVersion"], &made["metadata"]["resourceVersion"])
}

pub(super) async fn a_field_that_is_no_longer_applied_is_removed(fixture: &Fixture) -> anyhow::Result<()> {
    let api = fixture.config_maps();
    let mut object = config_map("a", &json!({ "k": "1", "l": "2" }));
    object["metadata"]["labels"] = json!({ "x": "y" });
    object["metadata"]["finalizers"] = json!(["example.com/one"]);
    apply(&api, "one", false, &object).await?;
    let left = apply(&api, "one", false, &config_map("a", &json!({ "l": "3" }))).await?;
    same(&left["data"], &json!({ "l": "3" }))?;
    ensure!(left["metadata"].get("labels").is_none() && left["metadata"].get("finalizers").is_none(), "{left}");
    Ok(())
}

pub(super) async fn fields_of_other_managers_survive_an_apply(fixture: &Fixture) -> anyhow::Result<()> {
    let api = fixture.config_maps();
    apply(&api, "one", false, &config_map("a", &json!({ "k": "1" }))).await?;
    apply(&api, "two", false, &config_map("a", &json!({ "l": "2" }))).await?;
    let both = apply(&api, "one", false, &config_map("a", &json!({ "m": "3" }))).await?;
    same(&both["data"], &json!({ "l": "2", "m": "3" }))
}

pub(super) async fn apply_of_a_field_of_another_manager_conflicts_without_force(
    fixture: &Fixture,
) -> anyhow::Result<()> {
    let api = fixture.config_maps();
    apply(&api, "one", false, &config_map("a", &json!({ "k": "1" }))).await?;
    let wanted = config_map("a", &json!({ "k": "2" }));
    refused(apply(&api, "two", false, &wanted).await, 409, "Conflict")?;
    same(&get(&api, "a").await?["data"], &json!({ "k": "1" }))?;
    same(&apply(&api, "two", true, &wanted).await?["data"], &json!({ "k": "2" }))?;
    // It is no longer the first one's, so that it does not go with it.
    let left = apply(&api, "one", false, &config_map("a", &json!({ "l": "3" }))).await?;
    same(&left["data"], &json!({ "k": "2", "l": "3" }))
}

pub(super) async fn an_updated_field_is_owned_by_the_updating_manager(fixture: &Fixture) -> anyhow::Result<()> {
    let api = fixture.config_maps();
    apply(&api, "one", false, &config_map("a", &json!({ "k": "1", "l": "1" }))).await?;
    let named = PatchParams { field_manager: Some("editor".to_owned()), ..PatchParams::default() };
    api.patch("a", &named, &Patch::Merge(json!({ "data": { "k": "2" } }))).await?;
    refused(apply(&api, "one", false, &config_map("a", &json!({ "k": "3", "l": "1" }))).await, 409, "Conflict")?;
    let left = apply(&api, "one", false, &config_map("a", &json!({ "l": "1" }))).await?;
    same(&left["data"], &json!({ "k": "2", "l": "1" }))?;
    let owners = left["metadata"]["managedFields"].as_array().context("nobody owns anything")?;
    let editor = owners.iter().find(|owner| owner["manager"] == "editor").context("the editor owns nothing")?;
    same(&editor["operation"], &json!("Update"))?;
    same(&editor["fieldsV1"], &json!({ "f:data": { "f:k": {} } }))
}

pub(super) async fn an_equal_value_is_owned_by_both_managers(fixture: &Fixture) -> anyhow::Result<()> {
    let api = fixture.config_maps();
    let object = config_map("a", &json!({ "k": "1" }));
    apply(&api, "one", false, &object).await?;
    apply(&api, "two", false, &object).await?;
    let kept = apply(&api, "one", false, &config_map("a", &json!({ "l": "1" }))).await?;
    same(&kept["data"], &json!({ "k": "1", "l": "1" }))?;
    let left = apply(&api, "two", false, &config_map("a", &json!({ "m": "1" }))).await?;
    same(&left["data"], &json!({ "l": "1", "m": "1" }))
}

pub(super) async fn items_of_keyed_lists_have_owners_of_their_own(fixture: &Fixture) -> anyhow::Result<()> {
    let api = fixture.daemon_sets();
    let container = |name: &str| json!({ "name": name, "image": "i" });
    apply(&api, "one", false, &daemon_set("a", &json!([container("c"), container("d")]))).await?;
    let partial = |containers: Value| {
        json!({
            "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": { "name": "a" },
            "spec": { "template": { "spec": { "containers": containers } } },
        })
    };
    apply(&api, "two", false, &partial(json!([{ "name": "c", "env": [{ "name": "V", "value": "1" }] }]))).await?;
    let names = |object: &Value| -> Vec<String> {
        let all = object["spec"]["template"]["spec"]["containers"].as_array();
        all.into_iter().flatten().filter_map(|container| container["name"].as_str().map(str::to_owned)).collect()
    };
    let changed = apply(&api, "one", false, &daemon_set("a", &json!([container("c"), container("e")]))).await?;
    ensure!(names(&changed) == ["c", "e"], "{:?}", names(&changed));
    same(&changed["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"], &json!("1"))
}

pub(super) async fn apply_without_a_field_manager_is_refused(fixture: &Fixture) -> anyhow::Result<()> {
    let api = fixture.config_maps();
    let outcome = api.patch("a", &PatchParams::default(), &Patch::Apply(config_map("a", &json!({})))).await;
    refused(outcome, 422, "Invalid")
}

pub(super) async fn the_status_is_applied_through_its_subresource_only(fixture: &Fixture) -> anyhow::Result<()> {
    let api = fixture.extensions();
    create(&api, &extension("a", "x")).await?;
    let mut object = extension("a", "x");
    object["status"] = json!({ "observedGeneration": 1 });
    api.patch_status("a", &PatchParams::apply("one"), &Patch::Apply(&object)).await?;
    same(&get(&api, "a").await?["status"]["observedGeneration"], &json!(1))?;
    // The status belongs to its writer, not to who applies the object.
    apply(&api, "one", true, &extension("a", "y")).await?;
    same(&get(&api, "a").await?["status"]["observedGeneration"], &json!(1))?;
    let changed = merge(&api, "a", &json!({ "metadata": { "labels": { "l": "x" } } })).await?;
    same(&changed["spec"]["type"], &json!("y"))
}
