//! Which condition, with which times. Pure.

use std::time::Duration;

use gardener_api::constants::error_code::CONFIGURATION_PROBLEM;
use gardener_api::constants::operation::MIGRATE;
use gardener_api::{
    AnyCondition, Condition, ConditionStatus, Extension, LastOperation, LastOperationState, LastOperationType,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::config::HealthConfig;
use crate::text::{STATUS_TEXT_LIMIT, cut};

#[cfg(test)]
mod tests;

const SUCCESSFUL: &str = "HealthCheckSuccessful";
const UNSUCCESSFUL: &str = "HealthCheckUnsuccessful";
const PROGRESSING: &str = "HealthCheckProgressing";
const ERROR: &str = "ConditionCheckError";
/// All of them.
#[cfg(test)]
pub(crate) const REASONS: [&str; 4] = [SUCCESSFUL, UNSUCCESSFUL, PROGRESSING, ERROR];

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Check {
    Good,
    Progressing(String),
    Failing(String),
    /// Whoever reports it has not done so; failing, unless it is too early for a report.
    Unreported(String),
    /// It could not be carried out.
    Unknown(String),
}

/// What is judged.
pub(super) struct Subject<'a> {
    pub(super) extension: &'a Extension,
    /// Hibernation is asked for.
    pub(super) hibernated: bool,
    pub(super) checks: Vec<Check>,
    /// Who is the reason, as far as somebody observed it. It explains what is not good and never makes it so: nodes say what they want.
    pub(super) detail: Option<&'a str>,
}

/// A condition without its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DesiredCondition {
    pub(super) type_: String,
    pub(super) status: ConditionStatus,
    pub(super) reason: &'static str,
    pub(super) message: String,
    pub(super) codes: Vec<String>,
}

/// How long a first report may take.
const FIRST_REPORT: Duration = Duration::from_secs(10);

/// How long to wait before the first judgement: what has just been made for the first time is not failing because it is not reported yet. A
/// condition that says so would be wrong within a second, and one more write.
pub(super) fn too_early(subject: &Subject<'_>, config: &HealthConfig, now: Timestamp) -> Option<Duration> {
    let is_unreported = subject.checks.iter().any(|check| matches!(check, Check::Unreported(_)));
    if !is_unreported || subject.hibernated || subject.extension.condition(&config.condition_type).is_some() {
        return None;
    }
    let last = subject.extension.last_operation()?;
    let left = FIRST_REPORT.saturating_sub(age(last.last_update_time.as_ref(), now));
    (!left.is_zero()).then_some(left)
}

/// Judges; `None` when there is nothing to judge: the Extension was never worked on (its state may still be on its way from
/// another seed), is worked on for the first time, is being deleted, or goes to another seed.
pub(super) fn judge(subject: &Subject<'_>, config: &HealthConfig, now: Timestamp) -> Option<DesiredCondition> {
    let extension = subject.extension;
    let untouched_or_leaving = extension.metadata.deletion_timestamp.is_some()
        || extension.operation_annotation() == Some(MIGRATE)
        || extension.last_operation().is_none_or(|last| last.type_ == LastOperationType::Migrate || is_first(last));
    if untouched_or_leaving {
        return None;
    }
    let desired_condition = |status, reason, message, codes| {
        let message = cut(message, STATUS_TEXT_LIMIT);
        Some(DesiredCondition { type_: config.condition_type.clone(), status, reason, message, codes })
    };
    if subject.hibernated {
        let message = "The shoot is hibernated: nothing to check.".to_owned();
        return desired_condition(ConditionStatus::True, SUCCESSFUL, message, Vec::new());
    }
    let texts =
        |wanted: fn(&Check) -> Option<&String>| -> Vec<&String> { subject.checks.iter().filter_map(wanted).collect() };
    let unknown = texts(|check| if let Check::Unknown(text) = check { Some(text) } else { None });
    if !unknown.is_empty() {
        return desired_condition(ConditionStatus::Unknown, ERROR, enumerate(&unknown), Vec::new());
    }
    let failing = texts(|check| match check {
        Check::Failing(text) | Check::Unreported(text) => Some(text),
        _ => None,
    });
    let explained = |texts: &[&String]| match subject.detail {
        Some(detail) => format!("{} {}", enumerate(texts), sentence(detail)),
        None => enumerate(texts),
    };
    if !failing.is_empty() {
        return desired_condition(ConditionStatus::False, UNSUCCESSFUL, explained(&failing), codes(&failing));
    }
    let progressing = texts(|check| if let Check::Progressing(text) = check { Some(text) } else { None });
    if !progressing.is_empty() {
        let old = extension.condition(&config.condition_type);
        let (message, codes) = (explained(&progressing), codes(&progressing));
        return if may_progress(old, config.progressing_threshold, now) {
            desired_condition(ConditionStatus::Progressing, PROGRESSING, message, codes)
        } else {
            desired_condition(ConditionStatus::False, UNSUCCESSFUL, message, codes)
        };
    }
    desired_condition(ConditionStatus::True, SUCCESSFUL, "All health checks are successful.".to_owned(), Vec::new())
}

/// Until it ends there is nothing that could be healthy; its end brings the condition.
fn is_first(last: &LastOperation) -> bool {
    matches!(last.type_, LastOperationType::Create | LastOperationType::Restore)
        && last.state == LastOperationState::Processing
}

/// The whole list with the desired_condition in it, or `None` when it says so already. `lastTransitionTime` moves with the status,
/// `lastUpdateTime` with anything, and when it is older than `refresh_after`.
pub(super) fn merge(
    before: &[AnyCondition],
    desired_condition: DesiredCondition,
    refresh_after: Option<Duration>,
    now: Timestamp,
) -> Option<Vec<AnyCondition>> {
    let old = before.iter().find_map(|condition| condition.known(&desired_condition.type_));
    let same_status = old.is_some_and(|old| old.status == desired_condition.status);
    let same = same_status
        && old.is_some_and(|old| {
            old.reason == desired_condition.reason
                && old.message == desired_condition.message
                && old.codes == desired_condition.codes
        });
    let complete = old.is_some_and(|old| old.last_transition_time.is_some() && old.last_update_time.is_some());
    let stale = refresh_after.is_some_and(|limit| age(old.and_then(|old| old.last_update_time.as_ref()), now) >= limit);
    if same && complete && !stale {
        return None;
    }
    let transition = old.filter(|_| same_status).and_then(|old| old.last_transition_time.clone());
    let new = Condition {
        status: desired_condition.status,
        last_transition_time: Some(transition.unwrap_or(Time(now))),
        last_update_time: Some(Time(now)),
        reason: desired_condition.reason.to_owned(),
        message: desired_condition.message,
        codes: desired_condition.codes,
        type_: desired_condition.type_,
    };
    let mut after = before.to_vec();
    match after.iter_mut().find(|condition| condition.is_of(&new.type_)) {
        Some(place) => *place = AnyCondition::Known(new),
        None => after.push(AnyCondition::Known(new)),
    }
    Some(after)
}

/// A roll-out may take until the threshold; what was bad before does not get better by rolling out.
fn may_progress(old: Option<&Condition>, threshold: Duration, now: Timestamp) -> bool {
    let Some(old) = old else { return true };
    match old.status {
        ConditionStatus::True => true,
        ConditionStatus::False => false,
        _ => age(old.last_transition_time.as_ref(), now) <= threshold,
    }
}

/// Zero for a time in the future; endless for none.
fn age(time: Option<&Time>, now: Timestamp) -> Duration {
    time.map_or(Duration::MAX, |time| Duration::try_from(now.duration_since(time.0)).unwrap_or_default())
}

fn enumerate(texts: &[&String]) -> String {
    match texts {
        [one] => sentence(one),
        many => {
            let numbered: Vec<String> =
                many.iter().enumerate().map(|(index, text)| format!("{}) {}", index + 1, sentence(text))).collect();
            numbered.join(" ")
        }
    }
}

fn sentence(text: &str) -> String {
    let text = text.trim_end();
    if text.ends_with('.') { text.to_owned() } else { format!("{text}.") }
}

/// The one thing that gardener-resource-manager's text says about whose fault it is: the shoot's API refused an object as
/// invalid. Compared without regard to case, within one line.
fn codes(texts: &[&String]) -> Vec<String> {
    let invalid = texts.iter().flat_map(|text| text.lines()).any(|line| {
        let line = line.to_lowercase();
        line.split_once("error during apply of object ").is_some_and(|(_, rest)| rest.contains(" is invalid:"))
    });
    if invalid { vec![CONFIGURATION_PROBLEM.to_owned()] } else { Vec::new() }
}
