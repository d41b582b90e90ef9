//! `events`: what the extension has published about nodes, the newest last.

use k8s_openapi::api::events::v1::Event;
use serde::Serialize;

use crate::duration::age;
use crate::limits;
use crate::style::{Style, Tone};
use crate::table::{self, Cell};
use crate::text::clean;

/// An Event, clean.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EventRow {
    /// Seconds since 1970 of the last time.
    pub(crate) at: u64,
    pub(crate) is_warning: bool,
    pub(crate) reason: String,
    /// Kind and name.
    pub(crate) object: String,
    pub(crate) count: i32,
    pub(crate) note: String,
}

/// From the API's object.
pub(crate) fn event_row(event: Event) -> EventRow {
    let series = event.series;
    let regarding = event.regarding.unwrap_or_default();
    let micro = series.as_ref().map(|series| series.last_observed_time.0).or(event.event_time.map(|time| time.0));
    let last = micro
        .or(event.deprecated_last_timestamp.map(|time| time.0))
        .or(event.metadata.creation_timestamp.map(|time| time.0));
    let object = format!("{}/{}", regarding.kind.unwrap_or_default(), regarding.name.unwrap_or_default());
    EventRow {
        at: last.and_then(|time| u64::try_from(time.as_second()).ok()).unwrap_or_default(),
        is_warning: event.type_.as_deref() == Some("Warning"),
        reason: clean(&event.reason.unwrap_or_default(), limits::NAME),
        object: clean(&object, limits::OBJECT_NAME + limits::NAME),
        count: series.map(|series| series.count).or(event.deprecated_count).unwrap_or(1),
        note: clean(&event.note.unwrap_or_default(), limits::PARAGRAPH),
    }
}

/// The last ones, in the order of their time.
pub(crate) fn last(mut all: Vec<EventRow>) -> Vec<EventRow> {
    all.sort();
    let surplus = all.len().saturating_sub(limits::EVENTS);
    all.drain(..surplus);
    all
}

/// As a table.
pub(crate) fn text(all: &[EventRow], now: u64, style: Style, width: Option<usize>) -> String {
    if all.is_empty() {
        return "No Events of the extension; the API server keeps them for an hour, unless it is configured otherwise.\n"
            .to_owned();
    }
    let rows: Vec<[Cell; 5]> = all
        .iter()
        .map(|reported| {
            let tone = if reported.is_warning { Tone::Bad } else { Tone::Plain };
            [
                Cell::plain(age(reported.at, now)),
                Cell::toned(reported.reason.clone(), tone),
                Cell::plain(reported.object.clone()),
                Cell::plain(reported.count.to_string()),
                Cell::plain(reported.note.clone()),
            ]
        })
        .collect();
    table::render(["LAST SEEN", "REASON", "OBJECT", "COUNT", "NOTE"], &rows, style, width)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(reason: &str, at: &str, note: &str) -> EventRow {
        event_row(
            serde_json::from_value(serde_json::json!({
                "metadata": { "name": "e" }, "eventTime": at, "type": "Warning", "reason": reason, "note": note,
                "regarding": { "kind": "Node", "name": "n1" },
            }))
            .unwrap(),
        )
    }

    #[test]
    fn events_come_in_the_order_of_their_time_and_clean() {
        let all = last(vec![
            event("CriResmgrInstalled", "2027-01-15T08:00:30.000000Z", "kubelet runs through cri-resmgr"),
            event("CriResmgrRolledBack", "2027-01-15T07:59:00.000000Z", "failed\u{1b}[2J\nagain"),
        ]);
        insta::assert_snapshot!(text(&all, 1_800_000_060, Style::Plain, None), @"
        LAST SEEN   REASON                OBJECT    COUNT   NOTE
        2m          CriResmgrRolledBack   Node/n1   1       failed�[2J again
        30s         CriResmgrInstalled    Node/n1   1       kubelet runs through cri-resmgr
        ");
    }

    #[test]
    fn only_the_last_ones_are_kept() {
        let all = (0..700).map(|at| EventRow { at, ..event("r", "2027-01-15T08:00:30.000000Z", "") }).collect();
        let stored = last(all);
        assert_eq!((stored.len(), stored[0].at), (limits::EVENTS, 200));
    }

    #[test]
    fn an_event_without_any_field_is_shown_too() {
        let reported = event_row(Event::default());
        assert_eq!((reported.at, reported.object.as_str(), reported.count), (0, "/", 1));
    }
}
