//! `node`: the status of a node, by its agent; or what is known without it.

use std::fmt::Write as _;

use extension_config::ReasonCode;
use extension_config::node_status::NodeStatus;

use crate::advice::advice;
use crate::duration::age;
use crate::limits::{ENTRIES, NAME, PARAGRAPH, SENTENCE};
use crate::style::{Style, Tone};
use crate::text::clean;

/// What the agent has printed. Bytes that are no such JSON: an error for people that does not repeat them.
pub(crate) fn parse(printed: &[u8]) -> Result<NodeStatus, String> {
    serde_json::from_slice(printed).map_err(|error| {
        format!(
            "the agent's answer cannot be read (line {}, column {}); an agent of an earlier version has no JSON",
            error.line(),
            error.column()
        )
    })
}

/// The status, for people.
pub(crate) fn text(status: &NodeStatus, now: u64, style: Style) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{label:<10} {value}");
    };
    line("node", &format!("{} (agent {})", clean(&status.node, NAME), clean(&status.agent, NAME)));
    let phase = clean(&status.phase, NAME);
    let desired = clean(&status.desired, SENTENCE);
    line("desired", &format!("{desired} (phase {phase}, desired state {})", clean(&status.desired_state, NAME)));
    let is_settled = status.holds.is_empty() && status.steps.is_empty();
    let tone = if is_settled { Tone::Good } else { Tone::Waiting };
    let settled = if is_settled { ", nothing to do" } else { "" };
    line("stage", &format!("{}{settled}", style.paint(tone, status.stage.as_str())));
    for hold in status.holds.iter().take(ENTRIES) {
        line("held", &style.paint(Tone::Bad, &clean(&hold.message, PARAGRAPH)));
        match ReasonCode::parse(&hold.code) {
            Some(code) => line("do", advice(code).todo),
            None => line("do", "the reason is of a newer agent, and this program does not know it"),
        }
    }
    for (number, step) in (1..).zip(status.steps.iter().take(ENTRIES)) {
        let restarts = match step.restarts.as_deref() {
            Some(what) => format!(" [restarts {}]", clean(what, NAME)),
            None => String::new(),
        };
        line(&format!("step {number}"), &format!("{}{restarts}", clean(&step.action, SENTENCE)));
        line("", &format!("because {}", clean(&step.because, SENTENCE)));
    }
    let endpoint = status.kubelet_endpoint.as_deref().unwrap_or("nothing");
    let not = if status.override_loaded { "" } else { "not " };
    line("kubelet", &format!("runs on {}; our override is {not}loaded", clean(endpoint, SENTENCE)));
    let answers = |yes: bool| if yes { "answers" } else { "does not answer" };
    line("proxy", answers(status.proxy_answers));
    let runtime = status.runtime.as_deref().map(|runtime| format!(" ({})", clean(runtime, NAME))).unwrap_or_default();
    line("containerd", &format!("{}{runtime}", answers(status.containerd_answers)));
    for unit in status.units.iter().take(ENTRIES) {
        let restarts =
            if unit.restarts > 0 { format!(", {} automatic restarts", unit.restarts) } else { String::new() };
        let state = format!("{} {}/{}", clean(&unit.load, NAME), clean(&unit.active, NAME), clean(&unit.sub, NAME));
        line("unit", &format!("{:<10} {state}{restarts}", clean(&unit.name, NAME)));
    }
    line("journal", &clean(&status.journal, NAME));
    for restart in status.restarts.iter().take(ENTRIES) {
        line("restart", &format!("of kubelet {} ago, cause {}", age(restart.at, now), clean(&restart.cause, NAME)));
    }
    for path in status.files.iter().take(ENTRIES) {
        line("there", &clean(path, SENTENCE));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#"{"agent":"0.1.0","node":"n1","stage":"Blocked","desired":"kubelet runs through cri-resmgr","desiredState":"5bba82fd","phase":"Install",
      "holds":[{"code":"Masked","message":"cri-resource-manager.service is masked\u001b[2J"},{"code":"New","message":"m"}],
      "steps":[{"action":"restart kubelet.service","because":"kubelet runs on containerd","restarts":"kubelet"}],
      "units":[{"name":"kubelet","load":"loaded","active":"active","sub":"running","restarts":0}],
      "kubeletEndpoint":"containerd","containerdAnswers":true,"runtime":"containerd v1.6.20","journal":"none",
      "restarts":[{"at":999999940,"cause":"heal"}],"files":["/opt/x"]}"#;

    #[test]
    fn the_answer_is_shown_clean_and_with_advice() {
        let status = parse(ANSWER.as_bytes()).unwrap();
        insta::assert_snapshot!(text(&status, 1_000_000_000, Style::Plain), @"
        node       n1 (agent 0.1.0)
        desired    kubelet runs through cri-resmgr (phase Install, desired state 5bba82fd)
        stage      Blocked
        held       cri-resource-manager.service is masked�[2J
        do         `systemctl unmask UNIT` on the node, if it is wanted again.
        held       m
        do         the reason is of a newer agent, and this program does not know it
        step 1     restart kubelet.service [restarts kubelet]
                   because kubelet runs on containerd
        kubelet    runs on containerd; our override is not loaded
        proxy      does not answer
        containerd answers (containerd v1.6.20)
        unit       kubelet    loaded active/running
        journal    none
        restart    of kubelet 60s ago, cause heal
        there      /opt/x
        ");
    }

    #[test]
    fn an_answer_that_is_none_is_not_repeated() {
        let error = parse(b"desired    \x1b[2J").unwrap_err();
        assert_eq!(
            error,
            "the agent's answer cannot be read (line 1, column 1); an agent of an earlier version has no JSON"
        );
    }

    #[test]
    fn a_hostile_answer_is_reported_within_limits() {
        let files: Vec<String> = (0..100_000).map(|number| number.to_string()).collect();
        let answer = serde_json::json!({ "stage": "Clean", "files": files, "desired": "x".repeat(1 << 20) });
        let status = parse(answer.to_string().as_bytes()).unwrap();
        assert!(text(&status, 0, Style::Plain).len() < 4000);
    }
}
