//! What the owner and operators can see of a configuration: the providerStatus, and the Events that go with a change of it. Pure.

use gardener_extension::{ActuatorError, Notice, ProviderStatus};

use crate::configuration::{Owner, Resolved, status};
use crate::reason;

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
pub(super) fn reported(resolved: &Resolved, owner: &Owner) -> ProviderStatus {
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
    ProviderStatus { value: status::provider_status(&resolved.effective, owner), events }
}
