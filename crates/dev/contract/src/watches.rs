//! Watches.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, WatchEvent, WatchParams};
use serde_json::json;

use super::fixture::{Fixture, config_map, create, merge};

/// Longest wait for an event.
const PATIENCE: Duration = Duration::from_secs(10);

type Events = BoxStream<'static, kube::Result<WatchEvent<DynamicObject>>>;

async fn open(api: &Api<DynamicObject>, parameters: &WatchParams, version: &str) -> anyhow::Result<Events> {
    Ok(api.watch(parameters, version).await?.boxed())
}

/// Kind, name and version of the next event that is no bookmark.
async fn next(events: &mut Events) -> anyhow::Result<(&'static str, String, u64)> {
    loop {
        let event = tokio::time::timeout(PATIENCE, events.try_next()).await.context("no event came")??;
        let (kind, object) = match event.context("the watch ended")? {
            WatchEvent::Added(object) => ("ADDED", object),
            WatchEvent::Modified(object) => ("MODIFIED", object),
            WatchEvent::Deleted(object) => ("DELETED", object),
            WatchEvent::Bookmark(_) => continue,
            WatchEvent::Error(status) => bail!("{status:?}"),
        };
        let version = object.metadata.resource_version.context("no version")?.parse()?;
        return Ok((kind, object.metadata.name.unwrap_or_default(), version));
    }
}

async fn expect(events: &mut Events, wanted: &[(&str, &str)]) -> anyhow::Result<()> {
    let mut last = 0;
    for (kind, name) in wanted {
        let found = next(events).await?;
        ensure!((found.0, found.1.as_str()) == (*kind, *name), "{found:?} instead of {kind} {name}");
        ensure!(found.2 > last, "the version of {found:?} does not follow {last}");
        last = found.2;
    }
    Ok(())
}

async fn list_version(api: &Api<DynamicObject>) -> anyhow::Result<String> {
    api.list(&ListParams::default()).await?.metadata.resource_version.context("a list without a version")
}

pub(super) async fn a_watch_delivers_every_event_in_order(fixture: &Fixture) -> anyhow::Result<()> {
    let api = fixture.config_maps();
    create(&api, &config_map("before", &json!({}))).await?;
    let version = list_version(&api).await?;
    let only_ours = WatchParams::default().fields("metadata.name!=kube-root-ca.crt");
    let mut live = open(&api, &only_ours, &version).await?;
    create(&api, &config_map("a", &json!({ "k": "1" }))).await?;
    merge(&api, "a", &json!({ "data": { "k": "2" } })).await?;
    merge(&api, "a", &json!({ "data": { "k": "2" } })).await?;
    create(&api, &config_map("b", &json!({}))).await?;
    api.delete("a", &DeleteParams::default()).await?;
    let wanted = [("ADDED", "a"), ("MODIFIED", "a"), ("ADDED", "b"), ("DELETED", "a")];
    expect(&mut live, &wanted).await?;
    // The same for who comes later and goes on from there.
    expect(&mut open(&api, &only_ours, &version).await?, &wanted).await
}

pub(super) async fn a_watch_with_a_selector_reports_an_object_that_stops_matching_as_deleted(
    fixture: &Fixture,
) -> anyhow::Result<()> {
    let api = fixture.config_maps();
    let version = list_version(&api).await?;
    let mut events = open(&api, &WatchParams::default().labels("l=x"), &version).await?;
    let label = |value: &str| json!({ "metadata": { "labels": { "l": value } } });
    create(&api, &config_map("a", &json!({}))).await?;
    merge(&api, "a", &label("x")).await?;
    merge(&api, "a", &json!({ "data": { "k": "1" } })).await?;
    merge(&api, "a", &label("y")).await?;
    merge(&api, "a", &label("x")).await?;
    api.delete("a", &DeleteParams::default()).await?;
    expect(&mut events, &[("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a"), ("ADDED", "a"), ("DELETED", "a")]).await
}

pub(super) async fn a_watch_without_a_resource_version_starts_with_the_existing_objects(
    fixture: &Fixture,
) -> anyhow::Result<()> {
    let api = fixture.config_maps();
    create(&api, &config_map("a", &json!({}))).await?;
    let mut events = open(&api, &WatchParams::default().fields("metadata.name=a"), "0").await?;
    expect(&mut events, &[("ADDED", "a")]).await?;
    merge(&api, "a", &json!({ "data": { "k": "1" } })).await?;
    expect(&mut events, &[("MODIFIED", "a")]).await
}

pub(super) async fn bookmarks_carry_the_current_resource_version(fixture: &Fixture) -> anyhow::Result<()> {
    let api = fixture.config_maps();
    let parameters = WatchParams::default().labels("nobody=has-it").timeout(5);
    let version = list_version(&api).await?;
    let mut events = open(&api, &parameters, &version).await?;
    // Only who fell behind needs one.
    let unseen = create(&api, &config_map("a", &json!({}))).await?;
    let unseen: u64 = unseen["metadata"]["resourceVersion"].as_str().unwrap_or_default().parse()?;
    let mut last = None;
    while let Ok(Some(event)) =
        tokio::time::timeout(PATIENCE, events.try_next()).await.context("the watch does not end")?
    {
        match event {
            WatchEvent::Bookmark(bookmark) => last = Some(bookmark.metadata.resource_version),
            other => bail!("{other:?}"),
        }
    }
    let last: u64 = last.context("no bookmark came")?.parse()?;
    ensure!(last >= unseen, "the bookmark is at {last}, before {unseen}");
    Ok(())
}
