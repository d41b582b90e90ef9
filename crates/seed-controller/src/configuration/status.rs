//! What the owner can see of a configuration: the Extension's providerStatus, and what of it is worth an Event. Pure.

use extension_config::{Effective, LeftAlone, limits, provider_config};
use gardener_api::Extension;
use serde_json::{Value, json};

use super::Owner;

/// Key of the providerStatus: the hash of the providerConfig that is in effect.
pub(super) const IN_EFFECT: &str = "inEffect";
/// Key of the providerStatus: worker pools that are left alone, each with the reason. There only when there are some.
const LEFT_ALONE: &str = "leftAlone";
/// Key of the providerStatus: why all switches are halted. There only while they are.
pub(crate) const HALTED: &str = "switchesHalted";
/// Said where nothing is left.
const NOWHERE: &str = "cri-resmgr is installed on no node: every worker pool that is selected is left alone";
/// Worker pools that an Event names; all that the status names are more than fit.
const TOLD_IN_EVENT: usize = 5;

/// The providerStatus that we wrote before; what cannot be read is not ours, and is written anew.
pub(crate) fn of(extension: &Extension) -> Option<Value> {
    extension.status.as_ref()?.provider_status.as_ref()?.read(limits::PROVIDER_CONFIG_BYTES).ok()
}

/// Which source won for each key, warnings, and what is left alone. No text of a configuration.
pub(crate) fn provider_status(effective: &Effective, owner: &Owner) -> Value {
    let nowhere = effective.is_nowhere.then(|| NOWHERE.to_owned());
    let warnings: Vec<String> = nowhere.into_iter().chain(effective.warnings.iter().map(ToString::to_string)).collect();
    let mut status = status(&json!(effective.origins), &warnings, owner);
    if !effective.left_alone.is_empty() {
        status[LEFT_ALONE] = left_alone(&effective.left_alone);
    }
    status
}

fn status(configs: &Value, warnings: &[String], owner: &Owner) -> Value {
    json!({
        "apiVersion": provider_config::API_VERSION,
        "kind": "CriResourceManagerStatus",
        "configs": configs,
        "warnings": warnings,
        IN_EFFECT: owner.hash(),
    })
}

fn left_alone(pools: &[LeftAlone]) -> Value {
    let named = pools.iter().take(limits::WORKER_POOLS_TOLD);
    let mut reported: Vec<Value> =
        named.map(|LeftAlone { name, reasons }| json!({ "pool": name, "reason": reasons.join("; ") })).collect();
    if let more @ 1.. = pools.len().saturating_sub(limits::WORKER_POOLS_TOLD) {
        reported.push(json!({ "reason": format!("and {more} more worker pools") }));
    }
    reported.into()
}

/// What to say in an Event about the pools that are left alone, when that is not what stood in the status before.
pub(crate) fn left_alone_note(before: Option<&Value>, effective: &Effective) -> Option<String> {
    let pools = &effective.left_alone;
    if pools.is_empty() || before.and_then(|before| before.get(LEFT_ALONE)) == Some(&left_alone(pools)) {
        return None;
    }
    let named = pools.iter().take(TOLD_IN_EVENT);
    let named: Vec<String> = named.map(|pool| format!("{} ({})", pool.name, pool.reasons.join("; "))).collect();
    let more = match pools.len().saturating_sub(TOLD_IN_EVENT) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let what = if effective.is_nowhere { NOWHERE } else { "cri-resmgr is not installed on these worker pools" };
    Some(format!("{what}: {}{more}", named.join(", ")))
}

/// The providerStatus of a configuration that stays in effect as it is: what stood there before, and why it is not examined.
pub(crate) fn status_of_kept(owner: &Owner, what: &str, why: &dyn std::fmt::Display) -> Value {
    let before = of(&owner.extension);
    let of_before = |key: &str| before.as_ref().and_then(|before| before.get(key)).cloned();
    let warning = format!("{what}; not accepted: {why}");
    let mut status = status(&of_before("configs").unwrap_or_else(|| json!({})), &[warning], owner);
    for key in [LEFT_ALONE, HALTED] {
        if let Some(value) = of_before(key) {
            status[key] = value;
        }
    }
    status
}

/// Said about such a configuration when it is the owner's.
pub(crate) const KEPT: &str =
    "this configuration stays in effect as it was delivered, and a change of it has to mend it";
/// The same when it is the operator's.
pub(crate) const KEPT_FROM_BASE: &str =
    "the landscape's base configuration is faulty, which its operator has to mend; what was delivered stays in effect";

#[cfg(test)]
mod tests;
