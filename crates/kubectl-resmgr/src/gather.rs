//! `must-gather`: what somebody needs who has no access to the shoot. No Secret is ever read, and configurations only if that is asked for.

use std::collections::BTreeMap;

use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::archive::{Files, part};
use crate::facts::Facts;
use crate::failure::why;
use crate::rows::Urgency;
use crate::shoot::{Map, Shoot};
use crate::status::Status;
use crate::style::Style;
use crate::{events, explain, limits};

/// Nodes whose agents are asked for their status, of those that are not as desired.
const LOOKS: usize = 10;

/// Everything, as far as it can be read; what cannot is named in the archive.
pub(crate) async fn gather(shoot: &Shoot, with_configuration: bool, now: u64) -> anyhow::Result<Files> {
    let facts = shoot.facts().await?;
    let status = Status::of(&facts);
    let mut files = Files::default();
    files.add_json(
        "about.json",
        &json!({ "program": env!("CARGO_PKG_VERSION"), "at": now, "withConfiguration": with_configuration }),
    );
    files.add_json("status.json", &status);
    files.add("status.txt", status.text(now, Style::Plain, None).into_bytes());
    files.add("explain.txt", explain::all(&status, now, Style::Plain).into_bytes());
    add_objects(shoot, &mut files).await;
    add_maps(shoot, with_configuration, &mut files).await;
    add_events(shoot, &mut files).await;
    add_logs(shoot, &status, &mut files).await;
    add_agent_statuses(shoot, &status, &mut files).await;
    // Last, as there may be many of them.
    add_reports(&facts, &mut files);
    Ok(files)
}

fn add_reports(facts: &Facts, files: &mut Files) {
    let labels: BTreeMap<&String, &BTreeMap<String, String>> =
        facts.nodes.iter().map(|(name, node)| (name, &node.labels)).collect();
    files.add_json("nodes.json", &labels);
    for (node, report) in &facts.reports {
        let path = format!("reports/{}.json", part(node));
        match report {
            Ok(report) => files.add_json(&path, report),
            Err(why) => files.missing.push(format!("{path}: {why}")),
        }
    }
}

async fn add_objects(shoot: &Shoot, files: &mut Files) {
    match shoot.daemon_set().await {
        Ok(Some(mut set)) => {
            set.metadata.managed_fields = None;
            files.add_json("daemonset.json", &set);
        }
        Ok(None) => files.missing.push("daemonset.json: there is none".to_owned()),
        Err(error) => files.missing.push(format!("daemonset.json: {}", why(&error))),
    }
    let found = shoot.each_pod(None, |pod| {
        let name = pod.metadata.name.clone().unwrap_or_default();
        files.add_json(&format!("pods/{}.json", part(&name)), &shown(&name, pod));
    });
    if let Err(error) = found.await {
        files.missing.push(format!("pods: {}", why(&error)));
    }
}

/// Of a pod its status: the rest is the DaemonSet's.
fn shown(name: &str, pod: Pod) -> Value {
    json!({ "name": name, "node": pod.spec.and_then(|spec| spec.node_name), "status": pod.status })
}

async fn add_maps(shoot: &Shoot, with_configuration: bool, files: &mut Files) {
    let mut sums = BTreeMap::new();
    let found = shoot.each_map(|map| {
        if with_configuration {
            for (key, text) in &map.data {
                files.add(&format!("configmaps/{}/{}", part(&map.name), part(key)), text.clone().into_bytes());
            }
        }
        let sum = summary(&map);
        sums.insert(map.name, sum);
    });
    if let Err(error) = found.await {
        files.missing.push(format!("configmaps.json: {}", why(&error)));
    }
    files.add_json("configmaps.json", &sums);
}

/// Keys with size and sum: whether two are the same can be seen, what stands there cannot.
fn summary(map: &Map) -> Value {
    let keys = map.data.iter().map(|(key, text)| {
        (key.clone(), json!({ "bytes": text.len(), "sha256": hex::encode(Sha256::digest(text.as_bytes())) }))
    });
    Value::Object(keys.collect())
}

async fn add_events(shoot: &Shoot, files: &mut Files) {
    let mut all = Vec::new();
    if let Err(error) = shoot.each_event(|event| all.push(events::event_row(event))).await {
        files.missing.push(format!("events.json: {}", why(&error)));
    }
    files.add_json("events.json", &events::last(all));
}

/// Nodes and their pods, those that need somebody first.
fn by_need(status: &Status) -> Vec<(&str, &str, Urgency)> {
    let rows = status.nodes.iter().filter_map(|row| Some((row.node.as_str(), row.pod.as_deref()?, row.urgency)));
    let mut all: Vec<_> = rows.collect();
    all.sort_by_key(|(.., urgency)| std::cmp::Reverse(*urgency));
    all
}

async fn add_logs(shoot: &Shoot, status: &Status, files: &mut Files) {
    let all = by_need(status);
    if let Some(more @ 1..) = all.len().checked_sub(limits::LOGS) {
        files.missing.push(format!("logs of {more} more pods, of nodes that need less"));
    }
    let wanted = all.iter().take(limits::LOGS).flat_map(|(node, pod, _)| [(*node, *pod, false), (*node, *pod, true)]);
    let read = |(node, pod, previous): (&str, &str, bool)| {
        let path = format!("logs/{}.{}{}.log", part(node), part(pod), if previous { ".previous" } else { "" });
        let (shoot, pod) = (shoot.clone(), pod.to_owned());
        async move { (path, previous, shoot.log(&pod, previous).await) }
    };
    let mut logs = stream::iter(wanted.map(read).collect::<Vec<_>>()).buffered(limits::LOGS_AT_A_TIME);
    while let Some((path, previous, log)) = logs.next().await {
        match log {
            Ok(log) => files.add(&path, log),
            // Most pods have had no run before.
            Err(_) if previous => {}
            Err(error) => files.missing.push(format!("{path}: {}", why(&error))),
        }
    }
}

/// What agents see of their nodes, and what the daemon and the gate have written into the nodes' journals.
async fn add_agent_statuses(shoot: &Shoot, status: &Status, files: &mut Files) {
    let wanted = by_need(status).into_iter().filter(|(.., urgency)| *urgency > Urgency::AsDesired);
    for (node, pod, _) in wanted.take(LOOKS) {
        let path = format!("looks/{}.json", part(node));
        match shoot.agent_status(pod).await {
            Ok(status) => files.add(&path, status),
            Err(error) => files.missing.push(format!("{path}: {}", why(&error))),
        }
        let path = format!("host-logs/{}.log", part(node));
        match shoot.host_log(pod, limits::HOST_LOG_LINES).await {
            Ok(lines) => files.add(&path, lines),
            Err(error) => files.missing.push(format!("{path}: {}", why(&error))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_configuration_only_size_and_sum_are_shown() {
        let data = BTreeMap::from([("policy".to_owned(), "Active: none\n".to_owned())]);
        let text = summary(&Map { name: "m".to_owned(), data }).to_string();
        assert_eq!(
            text,
            r#"{"policy":{"bytes":13,"sha256":"05e2a9f6e3c8b0c9"}}"#
                .replace("05e2a9f6e3c8b0c9", &hex::encode(Sha256::digest("Active: none\n")))
        );
        assert!(!text.contains("none"));
    }

    #[test]
    fn nodes_that_need_somebody_come_first() {
        let rows = [("a", Urgency::AsDesired), ("b", Urgency::Stuck), ("c", Urgency::UnderWay)];
        let nodes = rows.map(|(name, urgency)| {
            let mut row = crate::rows::tests::row(name, "Clean", "", &[]);
            (row.urgency, row.pod) = (urgency, Some(format!("pod-{name}")));
            row
        });
        let status = Status { nodes: nodes.to_vec(), ..Status::of(&Facts::default()) };
        let order: Vec<&str> = by_need(&status).into_iter().map(|(node, ..)| node).collect();
        assert_eq!(order, ["b", "c", "a"]);
    }
}
