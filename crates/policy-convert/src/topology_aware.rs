//! The policy topology-aware: pkg/cri/resource-manager/policy/builtin/topology-aware/flags.go of cri-resource-manager v0.9.2,
//! pkg/apis/config/v1alpha1/resmgr/policy/topologyaware of nri-plugins v0.14.0.

use crate::report::Report;
use crate::rule::Rule;
use crate::section::Section;
use crate::target::{Target, given};

const PREFER_SHARED: &str = "was for containers of one to two CPUs with a fraction (1500m), is for all Guaranteed ones: a Guaranteed container \
                             of 4 CPUs had them for itself and now shares; annotate those that shall have them with \
                             prefer-shared-cpus.resource-policy.nri.io: \"false\"";

pub(crate) fn convert(mut section: Section, spec: &mut Target, report: &mut Report) {
    for (old, new) in [
        ("PinCPU", "pinCPU"),
        ("PinMemory", "pinMemory"),
        ("PreferIsolatedCPUs", "preferIsolatedCPUs"),
        ("ColocatePods", "colocatePods"),
        ("ColocateNamespaces", "colocateNamespaces"),
    ] {
        spec.switch(section.take(old), new, report);
    }
    if let Some(key) = given(section.take("PreferSharedCPUs"), report) {
        if key.value.as_bool() == Some(true) {
            report.key(key, Rule::PreferSharedCpus, Some(&spec.place("preferSharedCPUs")), PREFER_SHARED);
            spec.put("preferSharedCPUs", true);
        } else {
            spec.switch(Some(key), "preferSharedCPUs", report);
        }
    }
    let _ = spec.texts(section.take("ReservedPoolNamespaces"), "reservedPoolNamespaces", report);
    section.finish(report);
}
