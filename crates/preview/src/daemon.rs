//! A configuration of the daemon.

use std::collections::BTreeMap;

use extension_config::cri_resmgr::{self, Checked};
use serde_json::Value;

use crate::kind::Kind;
use crate::report::{Finding, Report};

/// `document` is what the text was read as, if it could be read: a ConfigMap holds a text for each module.
pub(crate) fn judge(text: &str, document: Option<&Value>) -> Report {
    let is_config_map = |document: &&Value| document.get("kind").and_then(Value::as_str) == Some("ConfigMap");
    let Some(config_map) = document.filter(is_config_map) else {
        return report(cri_resmgr::check(text));
    };
    let data = config_map.get("data").cloned().unwrap_or_default();
    match serde_json::from_value::<Option<BTreeMap<String, String>>>(data) {
        Ok(modules) => report(cri_resmgr::check_modules(&modules.unwrap_or_default())),
        Err(_) => Report::refused(Kind::Daemon, vec![Finding::new("data", "must be a map of texts")]),
    }
}

fn report(checked: Result<Checked, Vec<cri_resmgr::Finding>>) -> Report {
    let all = |findings: Vec<cri_resmgr::Finding>| -> Vec<Finding> {
        findings.into_iter().map(|finding| Finding::new(finding.path, finding.message)).collect()
    };
    match checked {
        Ok(checked) => {
            let outcome = format!("policy {}", checked.active);
            Report::accepted(Kind::Daemon, &outcome, all([checked.left_out, checked.warnings].concat()))
        }
        Err(findings) => Report::refused(Kind::Daemon, all(findings)),
    }
}
