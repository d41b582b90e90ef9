//! `instrumentation`, `logger` and `dump`: pkg/{instrumentation,log,dump} of cri-resource-manager v0.9.2,
//! pkg/apis/config/v1alpha1/{instrumentation,log} of nri-plugins v0.14.0.

use std::net::SocketAddr;

use extension_config::cri_resmgr::go_bool;
use serde_json::Value;

use crate::key::Key;
use crate::report::Report;
use crate::rule::Rule;
use crate::section::{Case, Section};
use crate::target::{Target, given, whole};

/// Takes the section `instrumentation`.
pub(crate) fn instrumentation(section: Option<Section>, spec: &mut Target, report: &mut Report) {
    let Some(mut section) = section else { return };
    let mut target = Target::of(&spec.place("instrumentation"));
    if let Some(key) = given(section.take("HTTPEndpoint"), report) {
        endpoint(key, &mut target, report);
    }
    if let Some(key) = given(section.take("PrometheusExport"), report) {
        prometheus(key, &mut target, report);
    }
    if let Some(key) = given(section.take("ReportPeriod"), report) {
        match key.value.as_u64().filter(|nanoseconds| i64::try_from(*nanoseconds).is_ok()) {
            Some(nanoseconds) => target.same(key, "reportPeriod", duration(nanoseconds), report),
            None => report.invalid(key, "a whole number of nanoseconds, such as 15000000000 for 15 s"),
        }
    }
    if let Some(key) = given(section.take("Sampling"), report) {
        match sampling(&key.value) {
            Some(rate) => target.same(key, "samplingRatePerMillion", rate, report),
            None => report.invalid(key, "disabled, production, testing or a number from 0 to 1"),
        }
    }
    for name in ["JaegerCollector", "JaegerAgent"] {
        let Some(key) = given(section.take(name), report) else { continue };
        if key.value.as_str() == Some("") {
            report.no_effect(key, "is empty");
        } else {
            let text = "nri-plugins send traces by OTLP (tracingCollector), to an address of their environment, which this extension does not set";
            report.key(key, Rule::Jaeger, None, text);
        }
    }
    section.finish(report);
    if !target.map.is_empty() {
        spec.put("instrumentation", target.map);
    }
}

/// How often cri-resmgr collects when nothing is written (pkg/instrumentation/flags.go); nri-plugins do it every 30 s.
const REPORT_PERIOD: &str = "15s";

fn prometheus(key: Key, target: &mut Target, report: &mut Report) {
    if key.value.as_bool() != Some(true) {
        return target.switch(Some(key), "prometheusExport", report);
    }
    let text = "metrics have other names there: balloons are in nri_policy_balloons_cores, CPUs in nri_policy_cpu_allocation_milli_cores; rules and dashboards \
                have to follow";
    report.key(key, Rule::MetricNames, Some(&target.place("prometheusExport")), text);
    target.put("prometheusExport", true);
    target.put("reportPeriod", REPORT_PERIOD);
}

fn endpoint(key: Key, target: &mut Target, report: &mut Report) {
    let Some(text) = key.value.as_str() else { return report.invalid(key, "an address and a port") };
    if text.is_empty() {
        return report.no_effect(key, "is empty");
    }
    let address = text.replacen("localhost:", "127.0.0.1:", 1);
    if address.parse::<SocketAddr>().is_ok_and(|at| at.ip().is_loopback() && at.port() != 0) {
        return target.same(key, "httpEndpoint", address, report);
    }
    let text = "serves what it knows of all pods to everybody, without authentication; this extension leaves it out, as it does for cri-resmgr; \
                allowed: an address of the node itself, such as 127.0.0.1:8891";
    report.key(key, Rule::Endpoint, None, text);
}

/// In the largest unit in which it is a whole number.
fn duration(nanoseconds: u64) -> String {
    let units = [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1000)];
    let unit = units.into_iter().find(|(_, size)| nanoseconds.is_multiple_of(*size));
    unit.map_or_else(|| format!("{nanoseconds}ns"), |(unit, size)| format!("{}{unit}", nanoseconds / size))
}

/// The daemon's words and shares as spans of a million (pkg/instrumentation/flags.go).
fn sampling(value: &Value) -> Option<u64> {
    const MILLION: f64 = 1e6;
    let share = match value {
        Value::String(text) => match text.to_ascii_lowercase().as_str() {
            "disabled" => 0.0,
            "production" => 0.1,
            "testing" => 1.0,
            other => other.parse().ok()?,
        },
        value => value.as_f64()?,
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to a million")]
    let rate = |share: f64| (share * MILLION).round() as u64;
    (0.0..=1.0).contains(&share).then(|| rate(share))
}

/// Takes the section `dump`.
pub(crate) fn dump(section: Option<Section>, report: &mut Report) {
    let Some(mut section) = section else { return };
    for name in ["Debug", "Disabled", "File", "Config"] {
        if let Some(key) = given(section.take(name), report) {
            let text =
                "nri-plugins see no CRI messages; what containerd asks them is logged with log.debug: [nri-plugin]";
            report.key(key, Rule::Dump, None, text);
        }
    }
    section.finish(report);
}

/// Takes the section `logger`.
pub(crate) fn logger(section: Option<Section>, spec: &mut Target, report: &mut Report) {
    let Some(mut section) = section else { return };
    let mut target = Target::of(&spec.place("log"));
    if let Some(key) = given(section.take("Debug"), report) {
        match key.value.as_str().and_then(sources) {
            Some(sources) if sources.is_empty() => report.no_effect(key, "is empty"),
            Some(sources) => {
                let text = "sources have other names there: policy, cache, resource-manager and sysfs are the same, cri-resmgr and cri are none; what \
                            containerd asks is logged by nri-plugin";
                report.key(key, Rule::LogSources, Some(&target.place("debug")), text);
                target.put("debug", sources);
            }
            None => report.invalid(key, "a text such as \"on:policy,off:cache\""),
        }
    }
    target.switch(section.take("LogSource"), "source", report);
    if let Some(mut klog) = section.section("Klog", Case::Exact, report) {
        let mut made = Target::of(&target.place("klog"));
        for (name, key) in klog.rest() {
            if let Some(key) = given(Some(key), report) {
                flag(&name, key, &mut made, report);
            }
        }
        if !made.map.is_empty() {
            target.put("klog", made.map);
        }
    }
    section.finish(report);
    if !target.map.is_empty() {
        spec.put("log", target.map);
    }
}

/// Sources with their state, which holds for those that follow, too (pkg/log/flags.go).
fn sources(text: &str) -> Option<Vec<String>> {
    let mut state = "on";
    let mut found = Vec::new();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let source = match item.split_once(':') {
            None => item,
            Some((word, source)) => {
                state = match word.to_ascii_lowercase().as_str() {
                    "" => state,
                    "on" | "enable" | "enabled" | "true" | "1" => "on",
                    "off" | "disable" | "disabled" | "false" | "0" => "off",
                    _ => return None,
                };
                source.trim()
            }
        };
        if source.contains(':') {
            return None;
        }
        if !source.is_empty() {
            found.push(format!("{source}:{state}"));
        }
    }
    Some(found)
}

/// klog's highest level that nri-plugins take.
const MOST_LEVEL: u64 = 10;

/// One of klog's flags.
fn flag(name: &str, key: Key, target: &mut Target, report: &mut Report) {
    let number = || whole(&key.value).or_else(|| key.value.as_str()?.parse().ok());
    match name {
        "skip_headers" | "skip_log_headers" | "add_dir_header" | "alsologtostderr" | "logtostderr" => {
            match go_bool(&key.value) {
                Some(false) if name == "logtostderr" => {
                    let text = "the plugin would log to files in /tmp, as root, and no more to its journal";
                    report.key(key, Rule::KlogFlag, None, text);
                }
                Some(value) => target.same(key, name, value, report),
                None => report.invalid(key, "true or false"),
            }
        }
        "v" => match number() {
            Some(level) if level > MOST_LEVEL => {
                let text = format!("is {level}, nri-plugins have levels up to {MOST_LEVEL}: it is {MOST_LEVEL} there");
                report.key(key, Rule::LogLevel, Some(&target.place("v")), &text);
                target.put("v", MOST_LEVEL);
            }
            Some(level) => target.same(key, "v", level, report),
            None => report.invalid(key, "a whole number of at least 0"),
        },
        "vmodule" | "stderrthreshold" => {
            let text = key.value.as_str().map(str::to_owned).or_else(|| Some(number()?.to_string()));
            match text {
                Some(text) => target.same(key, name, text, report),
                None => report.invalid(key, "a text"),
            }
        }
        _ => {
            let text = "cri-resmgr set a flag of its command line by it; this extension leaves it out for both";
            report.key(key, Rule::KlogFlag, None, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_written_as_nri_plugins_read_them() {
        for (nanoseconds, expected) in [(15_000_000_000, "15s"), (1_500_000_000, "1500ms"), (1, "1ns"), (0, "0s")] {
            assert_eq!(duration(nanoseconds), expected);
        }
        for (value, expected) in [
            (json!("disabled"), Some(0)),
            (json!("Production"), Some(100_000)),
            (json!("testing"), Some(1_000_000)),
            (json!(0.25), Some(250_000)),
            (json!("0.5"), Some(500_000)),
            (json!(2), None),
            (json!("often"), None),
        ] {
            assert_eq!(sampling(&value), expected, "{value}");
        }
    }

    #[test]
    fn the_state_of_a_log_source_holds_for_those_that_follow() {
        for (text, expected) in [
            ("policy,cache", Some("policy:on cache:on")),
            ("off:a, b,enabled:c,", Some("a:off b:off c:on")),
            ("", Some("")),
            ("maybe:a", None),
            ("on:a:b", None),
        ] {
            assert_eq!(sources(text).map(|found| found.join(" ")).as_deref(), expected, "{text}");
        }
    }
}
