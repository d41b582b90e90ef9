//! Adjustments: pkg/apis/resmgr/v1alpha1/types.go of cri-resource-manager v0.9.2. nri-plugins have nothing like it.

use serde_json::Value;

use crate::key::Key;
use crate::path;
use crate::report::Report;
use crate::rule::Rule;
use crate::section::Case;

const KEYS: [(&str, &str); 4] = [
    (
        "scope",
        "nri-plugins have nothing by which pods are chosen from outside; what it stands for has to be written at the pods",
    ),
    ("resources", "requests and limits cannot be overridden; change them in the pods"),
    (
        "classes",
        "a class can be given by annotation: rdtclass.resource-policy.nri.io at the pods that the scope takes; block-I/O classes are left out",
    ),
    ("toptierLimit", "nri-plugins v0.14.0 have no limit of fast memory"),
];

/// Notes each key of one `spec`.
pub(crate) fn convert(name: &str, spec: Value, report: &mut Report) {
    let key = Key { path: path::object("adjustment", name), value: spec, level: 0 };
    let Some(mut section) = key.open(Case::Exact, report) else { return };
    for (name, text) in KEYS {
        if let Some(key) = section.take(name) {
            report.key(key, Rule::Adjustment, None, text);
        }
    }
    section.finish(report);
}
