//! What touches the host or needs an API server: the plugin runs as root on the node, and has none.

use crate::finding::{CheckOutcome, Place, quoted};
use crate::typed::{RdtClass, Spec};

/// Left out, or of no effect.
pub(super) fn check(spec: &Spec, outcome: &mut CheckOutcome) {
    let place = Place::Spec;
    if spec.agent.pod_resource_api {
        let message =
            "is true, allowed: false; pod-resources hints are left out, the plugin runs without kubelet's API";
        outcome.fault("spec.agent.podResourceAPI", message);
    }
    if spec.control.blockio.enable {
        let message =
            "is true, allowed: false; block-I/O classes are left out, their definitions are a setting of containerd";
        outcome.fault("spec.control.blockio.enable", message);
    }
    if spec.control.rdt.enable {
        let message = "is true: the plugin does not start on a node where /sys/fs/resctrl is not mounted";
        outcome.warning("spec.control.rdt.enable", message);
    }
    check_cache_shares(spec, &place, outcome);
    if spec.show_containers_in_nrt {
        outcome.warning("spec.showContainersInNrt", NO_API);
    }
    check_log(spec, outcome);
    check_instrumentation(spec, outcome);
}

/// Why something does nothing.
pub(super) const NO_API: &str = "has no effect: the plugin runs without an API server";

/// Code and data go together (pkg/apis/config/v1alpha1/resmgr/control/rdt/config.go).
fn check_cache_shares(spec: &Spec, place: &Place<'_>, outcome: &mut CheckOutcome) {
    fn class(class: &RdtClass, place: &Place<'_>, outcome: &mut CheckOutcome) {
        for (key, shares) in [("l2Allocation", &class.l2_allocation), ("l3Allocation", &class.l3_allocation)] {
            for (id, share) in shares.iter().filter(|(_, share)| share.code.is_some() != share.data.is_some()) {
                let given = if share.code.is_some() { "code" } else { "data" };
                outcome.fault(place.key(key).key(id), format!("has only {given}, allowed: code and data, or unified"));
            }
        }
    }
    let (control, rdt) = (place.key("control"), "rdt");
    let rdt = control.key(rdt);
    let partitions = rdt.key("partitions");
    for (name, partition) in &spec.control.rdt.partitions {
        let place = partitions.key(name);
        class(&partition.caches, &place, outcome);
        let classes = place.key("classes");
        for (name, one) in &partition.classes {
            class(one, &classes.key(name), outcome);
        }
    }
}

fn check_log(spec: &Spec, outcome: &mut CheckOutcome) {
    let klog = &spec.log.klog;
    let files = [("log_dir", &klog.log_dir), ("log_file", &klog.log_file)];
    for (key, value) in files.into_iter().filter_map(|(key, value)| Some((key, value.as_ref()?))) {
        let message = format!("is {}, allowed: no such key; the plugin would write files there as root", quoted(value));
        outcome.fault(format!("spec.log.klog.{key}"), message);
    }
    if klog.logtostderr == Some(false) {
        let message =
            "is false, allowed: true; the plugin would log to files in /tmp as root, and no more to its journal";
        outcome.fault("spec.log.klog.logtostderr", message);
    }
}

fn check_instrumentation(spec: &Spec, outcome: &mut CheckOutcome) {
    let instrumentation = &spec.instrumentation;
    let exporter = instrumentation.metrics_exporter.as_str();
    if instrumentation.prometheus_export && !matches!(exporter, "" | "prometheus") {
        // start in pkg/instrumentation/instrumentation.go
        let message = format!("is {exporter}, allowed: prometheus where prometheusExport is true");
        outcome.fault("spec.instrumentation.metricsExporter", message);
    }
    let is_prometheus = instrumentation.prometheus_export || exporter == "prometheus";
    if is_prometheus && instrumentation.http_endpoint.is_empty() {
        let message = "is absent: the metrics for Prometheus are nowhere to be had; allowed: such as 127.0.0.1:8891";
        outcome.warning("spec.instrumentation.httpEndpoint", message);
    }
    let senders = [
        ("logExporter", &instrumentation.log_exporter),
        ("metricsExporter", &instrumentation.metrics_exporter),
        ("tracingCollector", &instrumentation.tracing_collector),
    ];
    for (key, value) in senders.into_iter().filter(|(_, value)| value.starts_with("otlp")) {
        let message = format!("is {value}: it is sent to the node itself, the address is no part of a policy");
        outcome.warning(format!("spec.instrumentation.{key}"), message);
    }
}
