//! What the owner and operators are told of a configuration.

use extension_config::names;
use gardener_extension::call::call;
use gardener_extension::{ActuatorError, Context};
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use crate::configuration::{Owner, Resolved, status};
use crate::reason;

/// What was delivered stays as it is, with a warning. Nothing is written but that.
pub(super) async fn keep(context: &Context, owner: &Owner, error: &ActuatorError) -> Result<(), ActuatorError> {
    let what = if error.reason() == reason::INVALID_BASE_CONFIG { status::KEPT_FROM_BASE } else { status::KEPT };
    if write_provider_status(context, &status::status_of_kept(owner, what, error)).await? {
        let note = match error.summary() {
            Some(places) => format!("{what}; {places}"),
            None => format!("{what}; {error}"),
        };
        context.events.warning(reason::CONFIGURATION_KEPT, "Validate", note).await;
    }
    Ok(())
}

/// Tells the owner what took effect; nothing when that was told before.
pub(super) async fn report(context: &Context, resolved: &Resolved, owner: &Owner) -> Result<(), ActuatorError> {
    let left_alone = status::left_alone_note(status::told(&context.extension).as_ref(), &resolved.effective);
    if !write_provider_status(context, &status::provider_status(&resolved.effective, owner)).await? {
        return Ok(());
    }
    let warnings: Vec<String> = resolved.effective.warnings.iter().map(ToString::to_string).collect();
    if !warnings.is_empty() {
        // One, however many they are; it is cut where it is written, and all of them stand in the status.
        context.events.warning(reason::CONFIGURATION_WARNING, "Validate", warnings.join("; ")).await;
    }
    if let Some(note) = left_alone {
        context.events.warning(reason::WORKER_POOLS_LEFT_ALONE, "Validate", note).await;
    }
    if let Some(problems) = &resolved.base_problems {
        context
            .events
            .warning(
                reason::INVALID_BASE_CONFIG,
                "Validate",
                format!("the last good one stays in effect: {}", problems.places()),
            )
            .await;
    }
    Ok(())
}

/// Writes the providerStatus unless it is so already; answers whether it was written.
pub(super) async fn write_provider_status(context: &Context, wanted: &Value) -> Result<bool, ActuatorError> {
    let before = status::told(&context.extension);
    if before.as_ref() == Some(wanted) {
        return Ok(false);
    }
    // A merge patch of the value alone would keep the keys that are gone.
    let patch = before.map_or_else(|| wanted.clone(), |before| merge_patch(&before, wanted));
    let patch = Patch::Merge(json!({ "status": { "providerStatus": patch } }));
    let name = context.extension.name_any();
    let api: Api<gardener_api::Extension> = Api::namespaced(context.client.clone(), &context.namespace);
    let object = format!("Extension {}/{name}", context.namespace);
    let parameters = PatchParams { field_manager: Some(names::CONTROLLER_NAME.to_owned()), ..PatchParams::default() };
    call("patch", object, api.patch_status(&name, &parameters, &patch)).await?;
    Ok(true)
}

/// The merge patch (RFC 7386) that makes `new` of `old`.
fn merge_patch(old: &Value, new: &Value) -> Value {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else { return new.clone() };
    let gone = old.keys().filter(|key| !new.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let set = new.iter().map(|(key, value)| {
        (key.clone(), old.get(key).map_or_else(|| value.clone(), |before| merge_patch(before, value)))
    });
    gone.chain(set).collect::<serde_json::Map<_, _>>().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::merge_patch;

    fn apply(target: &mut Value, patch: &Value) {
        let Some(patch) = patch.as_object() else {
            *target = patch.clone();
            return;
        };
        if !target.is_object() {
            *target = json!({});
        }
        for (key, value) in patch {
            let Some(map) = target.as_object_mut() else { return };
            if value.is_null() {
                map.remove(key);
            } else {
                apply(map.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
    }

    proptest! {
        #[test]
        fn the_patch_makes_one_of_the_other(
            old in proptest::collection::btree_map("[a-c]", "[x-z]", 0..4),
            new in proptest::collection::btree_map("[a-c]", "[x-z]", 0..4),
        ) {
            let (old, new) = (json!({"configs": old}), json!({"configs": new}));
            let mut target = old.clone();
            apply(&mut target, &merge_patch(&old, &new));
            prop_assert_eq!(target, new);
        }
    }
}
