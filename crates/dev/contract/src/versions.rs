//! Versions, generations, the status apart, and the end of objects.

use anyhow::ensure;
use futures::future::try_join_all;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::json;

use super::fixture::{
    Fixture, config_map, create, daemon_set, extension, get, merge, merge_status, refused, replace, same, version,
};

pub(super) async fn an_update_with_an_old_resource_version_conflicts(fixture: &Fixture) -> anyhow::Result<()> {
    let api = fixture.config_maps();
    let first = create(&api, &config_map("a", &json!({ "k": "1" }))).await?;
    let mut second = first.clone();
    second["data"] = json!({ "k": "2" });
    let second = replace(&api, "a", &second).await?;
    ensure!(version(&second)? > version(&first)?, "the version did not move");
    refused(replace(&api, "a", &first).await, 409, "Conflict")?;
    let stale =
        json!({ "metadata": { "resourceVersion": first["metadata"]["resourceVersion"] }, "data": { "k": "3" } });
    refused(merge(&api, "a", &stale).await, 409, "Conflict")?;
    let fresh =
        json!({ "metadata": { "resourceVersion": second["metadata"]["resourceVersion"] }, "data": { "k": "3" } });
    same(&merge(&api, "a", &fresh).await?["data"], &json!({ "k": "3" }))
}

pub(super) async fn an_update_without_a_resource_version_wins(fixture: &Fixture) -> anyhow::Result<()> {
    let api = fixture.config_maps();
    let made = create(&api, &config_map("a", &json!({ "k": "1", "l": "1" }))).await?;
    let replaced = replace(&api, "a", &config_map("a", &json!({ "k": "2" }))).await?;
    same(&replaced["data"], &json!({ "k": "2" }))?;
    same(&replaced["metadata"]["uid"], &made["metadata"]["uid"])?;
    let merged = merge(&api, "a", &json!({ "data": { "k": null, "m": "3" } })).await?;
    same(&merged["data"], &json!({ "m": "3" }))
}

pub(super) async fn an_update_that_changes_nothing_keeps_the_resource_version(fixture: &Fixture) -> anyhow::Result<()> {
    let api = fixture.config_maps();
    let made = create(&api, &config_map("a", &json!({ "k": "1" }))).await?;
    let merged = merge(&api, "a", &json!({ "data": { "k": "1", "l": null } })).await?;
    same(&merged["metadata"]["resourceVersion"], &made["metadata"]["resourceVersion"])?;
    let replaced = replace(&api, "a", &made).await?;
    same(&replaced["metadata"]["resourceVersion"], &made["metadata"]["resourceVersion"])
}

pub(super) async fn strategic_patches_merge_keyed_lists(fixture: &Fixture) -> anyhow::Result<()> {
    let api = fixture.daemon_sets();
    create(&api, &daemon_set("a", &json!([{ "name": "c", "image": "i" }]))).await?;
    let say = async |kind: &str, status: &str| {
        let patch = json!({ "status": { "conditions": [{ "type": kind, "status": status }] } });
        api.patch_status("a", &PatchParams::default(), &Patch::Strategic(patch)).await
    };
    for (kind, status) in [("A", "True"), ("B", "True"), ("A", "False")] {
        say(kind, status).await?;
    }
    let found = get(&api, "a").await?;
    let conditions = found["status"]["conditions"].as_array().into_iter().flatten();
    let mut reported: Vec<_> = conditions.map(|one| (one["type"].as_str(), one["status"].as_str())).collect();
    reported.sort_unstable();
    ensure!(reported == [(Some("A"), Some("False")), (Some("B"), Some("True"))], "{found}");
    let extensions = fixture.extensions();
    create(&extensions, &extension("a", "a")).await?;
    let patch = Patch::Strategic(json!({ "spec": { "type": "b" } }));
    refused(extensions.patch("a", &PatchParams::default(), &patch).await, 415, "UnsupportedMediaType")
}

pub(super) async fn json_patches_apply_and_fail_at_a_failed_test(fixture: &Fixture) -> anyhow::Result<()> {
    let api = fixture.config_maps();
    create(&api, &config_map("a", &json!({ "k": "1" }))).await?;
    let patch = async |operations: serde_json::Value| {
        let patch: kube::core::params::Patch<()> =
            Patch::Json(serde_json::from_value(operations).map_err(kube::Error::SerdeError)?);
        api.patch("a", &PatchParams::default(), &patch).await
    };
    let test = json!({ "op": "test", "path": "/data/k", "value": "1" });
    patch(json!([test, { "op": "replace", "path": "/data/k", "value": "2" }, { "op": "add", "path": "/data/l", "value": "3" }])).await?;
    same(&get(&api, "a").await?["data"], &json!({ "k": "2", "l": "3" }))?;
    refused(patch(json!([test, { "op": "remove", "path": "/data/l" }])).await, 422, "Invalid")?;
    same(&get(&api, "a").await?["data"], &json!({ "k": "2", "l": "3" }))
}

pub(super) async fn concurrent_updates_with_retries_lose_nothing(fixture: &Fixture) -> anyhow::Result<()> {
    let api = fixture.config_maps();
    create(&api, &config_map("a", &json!({ "n": "0" }))).await?;
    let count = |_| async {
        loop {
            let mut object = get(&api, "a").await?;
            let number: u32 = object["data"]["n"].as_str().unwrap_or_default().parse()?;
            object["data"]["n"] = json!((number + 1).to_string());
            match replace(&api, "a", &object).await {
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                other => return other.map(drop).map_err(anyhow::Error::from),
            }
        }
    };
    try_join_all((0..8).map(count)).await?;
    same(&get(&api, "a").await?["data"]["n"], &json!("8"))
}

pub(super) async fn the_status_is_changed_through_its_subresource_only(fixture: &Fixture) -> anyhow::Result<()> {
    let api = fixture.extensions();
    let mut object = extension("a", "x");
    object["status"] = json!({ "observedGeneration": 5 });
    let made = create(&api, &object).await?;
    ensure!(made["status"]["observedGeneration"].is_null(), "{made}");
    let both = json!({ "spec": { "type": "y" }, "status": { "observedGeneration": 7 }, "metadata": { "labels": { "l": "x" } } });
    let of_status = merge_status(&api, "a", &both).await?;
    same(&of_status["status"]["observedGeneration"], &json!(7))?;
    same(&of_status["spec"]["type"], &json!("x"))?;
    ensure!(of_status["metadata"]["labels"].is_null(), "{of_status}");
    let both = json!({ "metadata": { "labels": { "l": "x" } }, "status": { "observedGeneration": 9 } });
    let of_object = merge(&api, "a", &both).await?;
    same(&of_object["status"]["observedGeneration"], &json!(7))?;
    same(&of_object["metadata"]["labels"], &json!({ "l": "x" }))
}

pub(super) async fn the_generation_changes_with_the_specification_only(fixture: &Fixture) -> anyhow::Result<()> {
    let api = fixture.extensions();
    same(&create(&api, &extension("a", "x")).await?["metadata"]["generation"], &json!(1))?;
    let labelled = merge(&api, "a", &json!({ "metadata": { "labels": { "l": "x" } } })).await?;
    same(&labelled["metadata"]["generation"], &json!(1))?;
    let status = merge_status(&api, "a", &json!({ "status": { "observedGeneration": 1 } })).await?;
    same(&status["metadata"]["generation"], &json!(1))?;
    let changed =
        merge(&api, "a", &json!({ "spec": { "providerConfig": { "apiVersion": "v1", "kind": "X" } } })).await?;
    same(&changed["metadata"]["generation"], &json!(2))?;
    let sets = fixture.daemon_sets();
    same(
        &create(&sets, &daemon_set("a", &json!([{ "name": "c", "image": "i" }]))).await?["metadata"]["generation"],
        &json!(1),
    )?;
    let patch = json!({ "spec": { "template": { "metadata": { "annotations": { "x": "y" } } } } });
    same(&merge(&sets, "a", &patch).await?["metadata"]["generation"], &json!(2))
}

pub(super) async fn finalizers_delay_a_deletion(fixture: &Fixture) -> anyhow::Result<()> {
    let api = fixture.extensions();
    let mut object = extension("a", "x");
    object["metadata"]["finalizers"] = json!(["example.com/one", "example.com/two"]);
    create(&api, &object).await?;
    api.delete("a", &DeleteParams::default()).await?;
    let deleting = get(&api, "a").await?;
    ensure!(deleting["metadata"]["deletionTimestamp"].is_string(), "{deleting}");
    same(&deleting["metadata"]["generation"], &json!(2))?;
    api.delete("a", &DeleteParams::default()).await?;
    same(&get(&api, "a").await?["metadata"]["resourceVersion"], &deleting["metadata"]["resourceVersion"])?;
    let more = json!({ "metadata": { "finalizers": ["example.com/one", "example.com/two", "example.com/three"] } });
    refused(merge(&api, "a", &more).await, 422, "Invalid")?;
    merge(&api, "a", &json!({ "metadata": { "finalizers": ["example.com/two"] } })).await?;
    get(&api, "a").await?;
    let last = merge(&api, "a", &json!({ "metadata": { "finalizers": null } })).await?;
    same(&last["metadata"]["name"], &json!("a"))?;
    refused(get(&api, "a").await, 404, "NotFound")
}

pub(super) async fn a_deletion_with_a_uid_precondition_spares_another_object(fixture: &Fixture) -> anyhow::Result<()> {
    let api = fixture.config_maps();
    let made = create(&api, &config_map("a", &json!({}))).await?;
    let bound = |uid: &str| DeleteParams {
        preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
        ..DeleteParams::default()
    };
    refused(api.delete("a", &bound("another")).await, 409, "Conflict")?;
    let outcome = api.delete("a", &bound(made["metadata"]["uid"].as_str().unwrap_or_default())).await?;
    let status = outcome.right();
    ensure!(status.is_some_and(|status| status.is_success()), "no success is reported");
    refused(get(&api, "a").await, 404, "NotFound")
}
