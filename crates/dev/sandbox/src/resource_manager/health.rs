//! Health and progress of applied objects (gardener v1.149, `pkg/utils/kubernetes/health`).

use serde_json::Value;

use super::{condition, describe, place, reference};
use fake_kube_api::{Store, text};

/// `ResourcesHealthy` and `ResourcesProgressing`; the first object that is not well decides.
pub(super) fn check(shoot: &Store, objects: &[Value]) -> (Value, Value) {
    let mut healthy = condition("ResourcesHealthy", "True", "ResourcesHealthy", "All resources are healthy.");
    let mut progressing =
        condition("ResourcesProgressing", "False", "ResourcesRolledOut", "All resources have been fully rolled out.");
    for object in objects {
        let (kind, described) = (text(object, "/kind"), describe(object));
        let known = reference(object);
        let (group, plural) = place(&known);
        let Some(live) = shoot.get(&group, &plural, text(&known, "/namespace"), text(&known, "/name")) else {
            let message = format!("Required {kind} {described} in cluster is missing");
            healthy = condition("ResourcesHealthy", "False", &format!("{kind}Missing"), &message);
            break;
        };
        if kind != "DaemonSet" {
            continue;
        }
        if let Err(why) = is_healthy(&live) {
            healthy = condition(
                "ResourcesHealthy",
                "False",
                "DaemonSetUnhealthy",
                &format!("Required {described} is unhealthy: {why}"),
            );
            break;
        }
        if let Some(why) = is_progressing(&live) {
            progressing = condition(
                "ResourcesProgressing",
                "True",
                "DaemonSetProgressing",
                &format!("DaemonSet {described} is progressing: {why}"),
            );
        }
    }
    (healthy, progressing)
}

fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

fn is_healthy(set: &Value) -> Result<(), String> {
    let (generation, observed) = (number(set, "/metadata/generation"), number(set, "/status/observedGeneration"));
    if observed < generation {
        return Err(format!("observed generation outdated ({observed}/{generation})"));
    }
    let desired = number(set, "/status/desiredNumberScheduled");
    let current = number(set, "/status/currentNumberScheduled");
    if desired == 0 {
        return Ok(());
    }
    if current < desired {
        return Err(format!("not enough scheduled pods ({current}/{desired})"));
    }
    if number(set, "/status/numberMisscheduled") > 0 {
        return Err("misscheduled pods found".to_owned());
    }
    let unavailable = number(set, "/status/numberUnavailable");
    let rolling = number(set, "/status/updatedNumberScheduled") < desired;
    let allowed = if rolling { max_unavailable(set, desired) } else { 0 };
    if unavailable > allowed {
        return Err(format!(
            "too many unavailable pods found ({unavailable}/{desired}, only max. {allowed} unavailable pods allowed)"
        ));
    }
    Ok(())
}

fn max_unavailable(set: &Value, desired: i64) -> i64 {
    match &set["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] {
        Value::Number(count) => count.as_i64().unwrap_or(1),
        Value::String(percent) => {
            percent.trim_end_matches('%').parse::<i64>().map_or(1, |percent| desired * percent / 100)
        }
        _ => 1,
    }
}

fn is_progressing(set: &Value) -> Option<String> {
    let (generation, observed) = (number(set, "/metadata/generation"), number(set, "/status/observedGeneration"));
    if observed < generation {
        return Some(format!("observed generation outdated ({observed}/{generation})"));
    }
    let (desired, updated) =
        (number(set, "/status/desiredNumberScheduled"), number(set, "/status/updatedNumberScheduled"));
    (updated < desired).then(|| format!("{updated} of {desired} replica(s) have been updated"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn daemon_set_health_follows_gardener_resource_manager() {
        let set = |observed: i64, scheduled: i64, updated: i64, unavailable: i64| {
            json!({
                "metadata": { "generation": 2 },
                "spec": { "updateStrategy": { "rollingUpdate": { "maxUnavailable": "100%" } } },
                "status": {
                    "observedGeneration": observed, "desiredNumberScheduled": 3, "currentNumberScheduled": scheduled,
                    "updatedNumberScheduled": updated, "numberUnavailable": unavailable,
                },
            })
        };
        for (set, healthy, progressing) in [
            (set(2, 3, 3, 0), true, false),
            (set(1, 3, 3, 0), false, true),
            (set(2, 2, 3, 0), false, false),
            (set(2, 3, 1, 3), true, true),
            (set(2, 3, 3, 1), false, false),
        ] {
            assert_eq!(is_healthy(&set).is_ok(), healthy, "{set}");
            assert_eq!(is_progressing(&set).is_some(), progressing, "{set}");
        }
    }
}
