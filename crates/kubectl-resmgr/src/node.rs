//! `node`: the status of a node, by its agent; or what is known without it.

use std::fmt::Write as _;

use extension_config::ReasonCode;
use extension_config::node_status::NodeStatus;

use crate::advice::advice;
use crate::duration::age;
use crate::limits::{CONTAINERS, ENTRIES, NAME, OBJECT_NAME, PARAGRAPH, SENTENCE};
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
    for taken in &status.taken[status.taken.len().saturating_sub(ENTRIES)..] {
        let restarts = match taken.step.restarts.as_deref() {
            Some(what) => format!(" [restarted {}]", clean(what, NAME)),
            None => String::new(),
        };
        line("taken", &format!("{} ago: {}{restarts}", age(taken.at, now), clean(&taken.step.action, SENTENCE)));
        if let Some(error) = &taken.error {
            line("", &style.paint(Tone::Bad, &format!("failed: {}", clean(error, SENTENCE))));
        }
    }
    let shown = status.containers.len().min(CONTAINERS);
    let names: Vec<String> =
        status.containers[..shown].iter().map(|container| clean(&container.name, 3 * OBJECT_NAME)).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or_default().min(SENTENCE);
    for (name, container) in names.iter().zip(&status.containers) {
        let (cpus, mems) = (clean(&container.cpus, SENTENCE), clean(&container.mems, NAME));
        line("container", &format!("{name:<width$} CPUs {cpus}, memory nodes {mems}"));
    }
    let more = status.containers.len() - shown + status.containers_left_out;
    if more > 0 {
        line("container", &format!("{more} more"));
    }
    for unknown in status.unknown.iter().take(ENTRIES) {
        line("unknown", &clean(unknown, SENTENCE));
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
      "restarts":[{"at":999999940,"cause":"heal"}],"files":["/opt/x"],
      "taken":[{"at":999999938,"action":"reload systemd","because":"b"},
        {"at":999999940,"action":"restart kubelet.service","because":"b","restarts":"kubelet","error":"it does\u001b[2J not start"}],
      "containers":[{"name":"default/web/c","cpus":"0-1","mems":"0"},{"name":"kube-system/x/y","cpus":"0","mems":"0"}],
      "containersLeftOut":2,"unknown":["u"]}"#;

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
        taken      62s ago: reload systemd
        taken      60s ago: restart kubelet.service [restarted kubelet]
                   failed: it does�[2J not start
        container  default/web/c   CPUs 0-1, memory nodes 0
        container  kube-system/x/y CPUs 0, memory nodes 0
        container  2 more
        unknown    u
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
        let container =
            serde_json::json!({ "name": "c".repeat(1000), "cpus": "0,".repeat(10_000), "mems": files.join(",") });
        let taken = serde_json::json!({ "at": 1, "action": "a".repeat(10_000), "error": "e".repeat(10_000) });
        let answer = serde_json::json!({ "stage": "Clean", "files": files, "desired": "x".repeat(1 << 20),
          "containers": vec![container; 3], "taken": vec![taken; 1000] });
        let status = parse(answer.to_string().as_bytes()).unwrap();
        let shown = text(&status, 0, Style::Plain);
        assert!(shown.len() < 40_000, "{}", shown.len());
    }
}
