//! Keys that never reach the daemon: those with which whoever writes a configuration could make it, as root, write or serve files, send
//! to other hosts, or set flags of its command line. They stand in upstream's own samples, so they are left out and not refused.

use std::net::SocketAddr;

use serde_json::{Map, Value};

use super::report::{Finding, Report};

const FILES_OF_CMK: &str = "/etc/cmk";

/// A key, by its path; what may be said of its value; and why it is left out.
type Rule = (&'static [&'static str], fn(&Value) -> bool, &'static str);

const RULES: [Rule; 6] = [
    (&["dump", "File"], never, "the daemon would create or empty this file as root; the dump is in the daemon's log"),
    (
        &["instrumentation", "HTTPEndpoint"],
        is_on_loopback,
        "the daemon would serve what it knows of all pods to everybody, allowed: an address of the node itself, such as 127.0.0.1:8891",
    ),
    (&["instrumentation", "JaegerCollector"], never, "the daemon would send to any address that is given here"),
    (&["instrumentation", "JaegerAgent"], never, "the daemon would send to any address that is given here"),
    (
        &["policy", "static-pools", "ConfDirPath"],
        is_of_cmk,
        "the daemon would read it as root, allowed: /etc/cmk and what is below; or give the pools here",
    ),
    (
        &["policy", "static-pools", "ConfFilePath"],
        is_of_cmk,
        "the daemon would read it as root, allowed: what is below /etc/cmk; or give the pools here",
    ),
];

/// Why the daemon logs to standard error, always.
pub(crate) const TO_FILES: &str = "the daemon would log to files in /tmp, as root, and no more to its journal";
const SWITCHES: [&str; 5] = ["skip_headers", "skip_log_headers", "add_dir_header", "logtostderr", "alsologtostderr"];

/// Takes keys out of a document and notes each of them; gives the rest the types that the daemon asserts.
pub(crate) fn sift(tree: &mut Map<String, Value>, faults: &mut Report, left_out: &mut Report) {
    for (path, passes, why) in RULES {
        let Some((last, parents)) = path.split_last() else { continue };
        let mut at = Some(&mut *tree);
        for name in parents {
            at = at.and_then(|map| map.get_mut(*name)).and_then(Value::as_object_mut);
        }
        if let Some(map) = at
            && map.get(*last).is_some_and(|value| !passes(value))
        {
            map.remove(*last);
            left_out.push(|| Finding::new(path.join("."), format!("is left out: {why}")));
        }
    }
    let klog = tree.get_mut("logger").and_then(|logger| logger.get_mut("Klog")).and_then(Value::as_object_mut);
    if let Some(klog) = klog {
        sift_klog(klog, faults, left_out);
    }
}

/// The daemon sets a flag of its command line for each of these keys, whichever there is.
fn sift_klog(klog: &mut Map<String, Value>, faults: &mut Report, left_out: &mut Report) {
    klog.retain(|name, value| {
        let expected = match name.as_str() {
            name if SWITCHES.contains(&name) => {
                // The daemon panics when it finds anything but a boolean.
                let Some(switch) = go_bool(value) else {
                    faults.push(|| Finding::new(format!("logger.Klog.{name}"), "must be true or false"));
                    return true;
                };
                *value = switch.into();
                let to_files = name == "logtostderr" && !switch;
                if to_files {
                    left_out.push(|| Finding::new("logger.Klog.logtostderr", format!("is left out: {TO_FILES}")));
                }
                return !to_files;
            }
            "v" => {
                let Some(level) = level(value) else {
                    faults.push(|| Finding::new("logger.Klog.v", "must be a whole number of at least 0"));
                    return true;
                };
                *value = level.into();
                return true;
            }
            "vmodule" if value.as_str().is_some_and(is_vmodule) => return true,
            "vmodule" => "must be a list such as policy=5,cache=3",
            "stderrthreshold" if is_threshold(value) => return true,
            "stderrthreshold" => "must be one of INFO, WARNING, ERROR, FATAL",
            _ => {
                left_out.push(|| {
                    let message = "is left out: the daemon would set any flag of its command line by it, those with files and directories included; allowed: v, vmodule, stderrthreshold, ";
                    Finding::new(format!("logger.Klog.{name}"), format!("{message}{}", SWITCHES.join(", ")))
                });
                return false;
            }
        };
        faults.push(|| Finding::new(format!("logger.Klog.{name}"), expected));
        true
    });
}

fn never(_: &Value) -> bool {
    false
}

fn is_on_loopback(value: &Value) -> bool {
    let Some(text) = value.as_str() else { return false };
    // Empty: it serves nothing.
    text.is_empty()
        || text.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback())
        || text.strip_prefix("localhost:").is_some_and(|port| port.parse::<u16>().is_ok())
}

fn is_of_cmk(value: &Value) -> bool {
    let Some(text) = value.as_str() else { return false };
    let below = text.strip_prefix(FILES_OF_CMK).unwrap_or("?");
    text.is_empty() || (below.is_empty() || below.starts_with('/')) && !below.split('/').any(|part| part == "..")
}

/// A boolean as Go reads it from a flag (`strconv.ParseBool`).
#[must_use]
pub fn go_bool(value: &Value) -> Option<bool> {
    let text = match value {
        Value::Bool(switch) => return Some(*switch),
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    match text.as_str() {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn level(value: &Value) -> Option<i32> {
    let level = match value {
        Value::Number(number) => i32::try_from(number.as_i64()?).ok()?,
        Value::String(text) => text.parse().ok()?,
        _ => return None,
    };
    (level >= 0).then_some(level)
}

fn is_threshold(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_u64().is_some_and(|number| number <= 3),
        Value::String(text) => is_stderr_threshold(text),
        _ => false,
    }
}

/// A severity of klog.
pub(crate) fn is_stderr_threshold(text: &str) -> bool {
    ["INFO", "WARNING", "ERROR", "FATAL", "0", "1", "2", "3"].iter().any(|known| text.eq_ignore_ascii_case(known))
}

/// `file=level,…`.
pub(crate) fn is_vmodule(text: &str) -> bool {
    text.split(',').filter(|item| !item.is_empty()).all(|item| {
        item.split_once('=')
            .is_some_and(|(name, level)| !name.is_empty() && level.parse::<i32>().is_ok_and(|level| level >= 0))
    })
}

#[cfg(test)]
mod tests {
    use super::super::{canonical, check};

    /// What stays of a module, and what is left out.
    fn sifted(text: &str) -> (String, Vec<String>) {
        let checked = check(text).unwrap_or_else(|findings| panic!("{text}: {findings:?}"));
        (checked.canonical().to_owned(), checked.left_out.into_iter().map(|finding| finding.path).collect())
    }

    #[test]
    fn keys_that_reach_files_sockets_or_flags_are_left_out() {
        for (text, stays, left_out) in [
            ("dump: {File: /etc/shadow}", r#"{"dump":{}}"#, "dump.File"),
            ("dump.File: /etc/shadow", r#"{"dump":{}}"#, "dump.File"),
            ("{dump: {Debug: true, File: ''}}", r#"{"dump":{"Debug":true}}"#, "dump.File"),
            (
                "logger: {Klog: {log_file: /x, log_dir: /x, external-visualizers: /x, host-root: /, V: 1, v: 2}}",
                r#"{"logger":{"Klog":{"v":2}}}"#,
                "logger.Klog.V logger.Klog.external-visualizers logger.Klog.host-root logger.Klog.log_dir logger.Klog.log_file",
            ),
            (
                "logger: {Klog: {v: '5', vmodule: 'a=1,b*=2', stderrthreshold: warning, skip_headers: 'false', logtostderr: 1}}",
                r#"{"logger":{"Klog":{"logtostderr":true,"skip_headers":false,"stderrthreshold":"warning","v":5,"vmodule":"a=1,b*=2"}}}"#,
                "",
            ),
            ("logger: {Klog: {logtostderr: 'false'}}", r#"{"logger":{"Klog":{}}}"#, "logger.Klog.logtostderr"),
            ("instrumentation: {HTTPEndpoint: ':8891'}", r#"{"instrumentation":{}}"#, "instrumentation.HTTPEndpoint"),
            (
                "instrumentation: {HTTPEndpoint: '0.0.0.0:1'}",
                r#"{"instrumentation":{}}"#,
                "instrumentation.HTTPEndpoint",
            ),
            (
                "instrumentation: {HTTPEndpoint: 'localhost.example.com:1'}",
                r#"{"instrumentation":{}}"#,
                "instrumentation.HTTPEndpoint",
            ),
            (
                "instrumentation: {HTTPEndpoint: '127.0.0.1:8891'}",
                r#"{"instrumentation":{"HTTPEndpoint":"127.0.0.1:8891"}}"#,
                "",
            ),
            ("instrumentation: {HTTPEndpoint: '[::1]:1'}", r#"{"instrumentation":{"HTTPEndpoint":"[::1]:1"}}"#, ""),
            (
                "instrumentation: {JaegerCollector: 'http://169.254.169.254/', JaegerAgent: 'x:1', Sampling: testing}",
                r#"{"instrumentation":{"Sampling":"testing"}}"#,
                "instrumentation.JaegerCollector instrumentation.JaegerAgent",
            ),
            (
                "policy: {Active: static-pools, static-pools: {ConfDirPath: /etc/cmk/x, ConfFilePath: /etc/cmk/../shadow}}",
                r#"{"policy":{"Active":"static-pools","static-pools":{"ConfDirPath":"/etc/cmk/x"}}}"#,
                "policy.static-pools.ConfFilePath",
            ),
            (
                "policy: {static-pools: {ConfDirPath: /etc/cmkx}}",
                r#"{"policy":{"static-pools":{}}}"#,
                "policy.static-pools.ConfDirPath",
            ),
        ] {
            let (found, paths) = sifted(text);
            assert_eq!(found, format!("{stays}\n"), "{text}");
            assert_eq!(paths.join(" "), left_out, "{text}");
            assert_eq!(canonical(&found).as_ref(), Ok(&found), "the rest is valid, and nothing more is left out of it");
        }
    }

    #[test]
    fn klog_values_that_end_the_daemon_are_refused() {
        for (klog, expected) in [
            ("{logtostderr: maybe}", "logger.Klog.logtostderr: must be true or false"),
            ("{skip_headers: 2}", "logger.Klog.skip_headers: must be true or false"),
            ("{v: '%n'}", "logger.Klog.v: must be a whole number of at least 0"),
            ("{v: -1}", "logger.Klog.v: must be a whole number of at least 0"),
            ("{vmodule: nonsense}", "logger.Klog.vmodule: must be a list such as policy=5,cache=3"),
            ("{stderrthreshold: loud}", "logger.Klog.stderrthreshold: must be one of INFO, WARNING, ERROR, FATAL"),
        ] {
            let findings = check(&format!("logger: {{Klog: {klog}}}")).unwrap_err();
            let found: Vec<_> = findings.iter().map(|f| format!("{}: {}", f.path, f.message)).collect();
            assert_eq!(found, [expected], "{klog}");
        }
    }
}
