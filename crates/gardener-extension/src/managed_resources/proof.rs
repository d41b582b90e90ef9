//! What the status of a ManagedResource proves. Pure.

use gardener_api::constants::condition_type::{RESOURCES_APPLIED, RESOURCES_HEALTHY, RESOURCES_PROGRESSING};
use gardener_api::{ConditionStatus, ManagedResource};

/// Health of a ManagedResource as gardener-resource-manager reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Everything of the current generation is applied, healthy and rolled out.
    Healthy,
    /// On its way: a new generation is being applied or checked, or rolls out.
    Progressing(String),
    /// Something is not as it should be; the text says what, first failing part only.
    Unhealthy(String),
}

/// Judges the current generation: applied ∧ healthy (missing conditions count as not), then rolled out.
#[must_use]
pub fn health(resource: &ManagedResource) -> Health {
    for type_ in [RESOURCES_APPLIED, RESOURCES_HEALTHY] {
        match resource.condition(type_) {
            None => return Health::Unhealthy(format!("condition {type_} is missing")),
            Some(condition) => match condition.status {
                ConditionStatus::True => {}
                // The resource manager has just begun with a new generation.
                ConditionStatus::Progressing | ConditionStatus::Unknown => {
                    return Health::Progressing(detail(type_, condition));
                }
                ConditionStatus::False | ConditionStatus::Other(_) => {
                    return Health::Unhealthy(detail(type_, condition));
                }
            },
        }
    }
    if !is_observed(resource) {
        return Health::Progressing("gardener-resource-manager has not seen the current generation yet".to_owned());
    }
    match resource.condition(RESOURCES_PROGRESSING) {
        Some(condition) if condition.status == ConditionStatus::True => {
            Health::Progressing(detail(RESOURCES_PROGRESSING, condition))
        }
        // Unknown: about to be checked. Resource managers before v1.46 do not report it at all.
        _ => Health::Healthy,
    }
}

/// Whether everything of the current generation is applied, healthy and completely rolled out. Unlike [`health`] it takes no
/// missing condition for good news: on this rests the decision to take things away. `label` is a pair that
/// `spec.injectLabels` must hold, so that what is proven is the phase that is meant.
#[must_use]
pub fn is_proven(resource: &ManagedResource, label: (&str, &str)) -> bool {
    is_applied(resource, label)
        && is(resource, RESOURCES_HEALTHY, &ConditionStatus::True)
        && is(resource, RESOURCES_PROGRESSING, &ConditionStatus::False)
}

/// Whether everything of the current generation is written to the cluster; what became of it there does not matter. `label` as in
/// [`is_proven`].
#[must_use]
pub fn is_applied(resource: &ManagedResource, (key, value): (&str, &str)) -> bool {
    resource.metadata.deletion_timestamp.is_none()
        && resource.spec.inject_labels.as_ref().and_then(|labels| labels.get(key)).is_some_and(|found| found == value)
        && is_observed(resource)
        && is(resource, RESOURCES_APPLIED, &ConditionStatus::True)
}

fn is(resource: &ManagedResource, type_: &str, status: &ConditionStatus) -> bool {
    resource.condition(type_).is_some_and(|condition| condition.status == *status)
}

fn is_observed(resource: &ManagedResource) -> bool {
    let observed = resource.status.as_ref().and_then(|status| status.observed_generation);
    observed.is_some() && observed == resource.metadata.generation
}

fn detail(type_: &str, condition: &gardener_api::Condition) -> String {
    let reason = if condition.reason.is_empty() { "no reason" } else { &condition.reason };
    if condition.message.is_empty() {
        format!("{type_} is {:?} ({reason})", condition.status)
    } else {
        format!("{type_} is {:?} ({reason}): {}", condition.status, condition.message)
    }
}

#[cfg(test)]
mod tests;
