//! What the owner and operators can see of a configuration: the providerStatus, and the Events that go with a change of it. Pure.

use extension_config::Halt;
use gardener_extension::{ActuatorError, Notice, ProviderStatus};
use serde_json::Value;

use crate::configuration::{Owner, Resolved, status};
use crate::reason;

/// The Event about a stop of all switches, when that is not what stood in the status before.
fn halted(before: Option<&Value>, halt: Option<&Halt>) -> Option<Notice> {
    let stood = before.and_then(|before| before.get(status::HALTED));
    match (stood, halt) {
        (None, None) => None,
        (Some(stood), Some(halt)) if stood.as_str() == Some(halt.reason()) => None,
        (_, Some(halt)) => {
            let reason = if halt.reason().is_empty() { String::new() } else { format!(": {}", halt.reason()) };
            let note = format!("No node begins to switch any more{reason}");
            Some(Notice::warning(reason::SWITCHES_HALTED, ACTION, note))
        }
        (Some(_), None) => Some(Notice::normal(reason::SWITCHES_RESUMED, ACTION, "Nodes may switch again".to_owned())),
    }
}

/// Action of these Events.
const ACTION: &str = "Validate";

/// What was delivered stays as it is, with a warning.
pub(super) fn kept(owner: &Owner, error: &ActuatorError) -> ProviderStatus {
    let what = if error.reason() == reason::INVALID_BASE_CONFIG { status::KEPT_FROM_BASE } else { status::KEPT };
    let note = match error.summary() {
        Some(places) => format!("{what}; {places}"),
        None => format!("{what}; {error}"),
    };
    let events = vec![Notice::warning(reason::CONFIGURATION_KEPT, ACTION, note)];
    ProviderStatus { value: status::status_of_kept(owner, what, error), events }
}

/// What took effect.
pub(super) fn reported(resolved: &Resolved, owner: &Owner, halt: Option<&Halt>) -> ProviderStatus {
    let mut events = Vec::new();
    let warnings: Vec<String> = resolved.effective.warnings.iter().map(ToString::to_string).collect();
    if !warnings.is_empty() {
        // One, however many they are; it is cut where it is written, and all of them stand in the status.
        events.push(Notice::warning(reason::CONFIGURATION_WARNING, ACTION, warnings.join("; ")));
    }
    if let Some(note) = status::left_alone_note(status::of(&owner.extension).as_ref(), &resolved.effective) {
        events.push(Notice::warning(reason::WORKER_POOLS_LEFT_ALONE, ACTION, note));
    }
    if let Some(problems) = &resolved.base_problems {
        let note = format!("the last good one stays in effect: {}", problems.places());
        events.push(Notice::warning(reason::INVALID_BASE_CONFIG, ACTION, note));
    }
    events.extend(halted(status::of(&owner.extension).as_ref(), halt));
    let mut value = status::provider_status(&resolved.effective, owner);
    if let Some(halt) = halt {
        value[status::HALTED] = halt.reason().into();
    }
    ProviderStatus { value, events }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use extension_config::names;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_stop_of_switches_and_its_end_are_one_event_each() {
        let halt = |value: &str| Halt::of(&BTreeMap::from([(names::HALT_ANNOTATION.to_owned(), value.to_owned())]));
        let stood = |reason: &str| Some(json!({ status::HALTED: reason }));
        for (before, now, reported) in [
            (None, None, None),
            (Some(json!({})), None, None),
            (None, halt("true"), Some("No node begins to switch any more")),
            (Some(json!({})), halt("INC-1"), Some("No node begins to switch any more: INC-1")),
            (stood("INC-1"), halt("INC-1"), None),
            (stood(""), halt("true"), None),
            (stood("INC-1"), halt("INC-2"), Some("No node begins to switch any more: INC-2")),
            (stood("INC-1"), None, Some("Nodes may switch again")),
        ] {
            let notice = halted(before.as_ref(), now.as_ref());
            assert_eq!(notice.map(|notice| notice.note).as_deref(), reported, "{before:?} {now:?}");
        }
    }
}
