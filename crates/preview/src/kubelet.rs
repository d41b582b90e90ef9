//! A node's kubelet: would the agent switch it?

use std::collections::BTreeMap;

use extension_config::names::node;
use kubelet_config::{ENDPOINT, Endpoint, Files as _, Words, occurrences, read_settings};
use node_plan::texts::kubelet_override;
use node_plan::{Kubelet, Unit, kubelet_refusals, override_undone};
use unit_files::{Settings, command, environment, expand};

use crate::kind::Kind;
use crate::node_files::NodeFiles;
use crate::report::{Finding, Report};

const VARIABLE: &str = "KUBELET_EXTRA_ARGS";

/// Judges by the unit `kubelet.service` with its drop-ins, and the files that these name.
pub(crate) fn judge(files: &NodeFiles) -> Report {
    let Some((unit, texts)) = files.unit(None) else {
        let message = "there is no kubelet.service: a node's kubelet is known by its unit";
        return refused(vec![Finding::new("kubelet.service", message)], Vec::new());
    };
    let mut settings = Settings::default();
    for text in texts {
        settings.read(text);
    }
    let mut warnings = Vec::new();
    let mut variables = BTreeMap::new();
    for value in settings.all("Service", "Environment") {
        variables.extend(environment(value));
    }
    for (path, is_optional) in settings.environment_files() {
        match files.text(path) {
            Ok(Some(text)) => variables.extend(environment(&text)),
            _ if is_optional => {}
            _ => warnings.push(Finding::new(
                format!("{unit}: EnvironmentFile"),
                format!("{path} is not in the directory, what it sets counts as unset; systemd would not start kubelet without it"),
            )),
        }
    }
    let mut exec_start = Vec::new();
    for line in settings.all("Service", "ExecStart") {
        let Some(read) = command(line) else {
            let message = format!("a quote is open in {line:?}: systemd would not load the unit");
            return refused(vec![Finding::new(format!("{unit}: ExecStart"), message)], warnings);
        };
        exec_start.push(read.arguments);
    }
    let in_unit = exec_start.first().cloned().unwrap_or_default();
    let command_line = expand(&in_unit, &variables);
    warnings.extend(variables.get(VARIABLE).and_then(|value| stale(value)));
    let settings = read_settings(files, Some(&command_line), &in_unit);
    let kubelet = Kubelet {
        unit: Unit { load_state: "loaded".to_owned(), ..Unit::default() },
        exec_start,
        command_line: Some(command_line),
        settings,
    };
    let mut report = report(&kubelet, &unit, warnings);
    if report.findings.is_empty()
        && let Some(undone) = undone(files)
    {
        report = refused(vec![Finding::new(unit, undone)], report.warnings);
    }
    report
}

/// What undoes our drop-in, as the agent judges it before each restart onto the proxy.
fn undone(files: &NodeFiles) -> Option<String> {
    let name = node::KUBELET_DROP_IN.rsplit('/').next().unwrap_or_default();
    let ours = kubelet_override();
    let (_, texts) = files.unit(Some((name, &ours)))?;
    let mut settings = Settings::default();
    for text in texts {
        settings.read(text);
    }
    let commands = settings.all("Service", "ExecStartPre").into_iter().filter_map(command);
    let exec_start_pre: Vec<Vec<String>> = commands.map(|command| command.arguments).collect();
    let environment_files: Vec<String> =
        settings.environment_files().into_iter().map(|(path, _)| path.to_owned()).collect();
    match override_undone(&exec_start_pre, &environment_files, |path| files.text(path)) {
        Ok(undone) => undone.map(|undone| undone.to_string()),
        Err(unread) => Some(unread),
    }
}

/// Judges a configuration file of kubelet by itself, under a unit that has nothing else against it.
pub(crate) fn judge_configuration(text: &str) -> Report {
    let path = "/kubelet-configuration";
    let words = vec!["kubelet".to_owned(), format!("--config={path}"), format!("${VARIABLE}")];
    let files = NodeFiles::from_iter([(path.to_owned(), text.to_owned())]);
    let settings = read_settings(&files, Some(&words), &words);
    let kubelet = Kubelet {
        unit: Unit { load_state: "loaded".to_owned(), ..Unit::default() },
        exec_start: vec![words],
        command_line: None,
        settings,
    };
    report(&kubelet, "", Vec::new())
}

fn report(kubelet: &Kubelet, place: &str, warnings: Vec<Finding>) -> Report {
    let reasons: Vec<_> = kubelet_refusals(kubelet).iter().map(ToString::to_string).collect();
    refused(reasons.into_iter().map(|reason| Finding::new(place, reason)).collect(), warnings)
}

fn refused(findings: Vec<Finding>, warnings: Vec<Finding>) -> Report {
    let reasons: Vec<_> = findings.iter().map(|finding| finding.message.as_str()).collect();
    let outcome = match reasons.as_slice() {
        [] => "would switch".to_owned(),
        reasons => format!("refused because {}", reasons.join("; and because ")),
    };
    Report { kind: Kind::Kubelet, line: 1, outcome, findings, warnings }
}

/// The gate takes our own socket out of the host's variable, in every spelling, and appends it when the proxy answers.
fn stale(value: &str) -> Option<Finding> {
    let words = Words::of(value);
    let texts = words.texts();
    let ours = occurrences(&texts, ENDPOINT).into_iter().find(|found| Endpoint::of(found.value) == Endpoint::Proxy)?;
    let message = format!(
        "--{ENDPOINT} is {:?}, cri-resmgr's own socket: the gate takes it out at each start of kubelet",
        ours.value
    );
    Some(Finding::new(VARIABLE, message))
}
