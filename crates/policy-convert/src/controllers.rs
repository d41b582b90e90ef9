//! `resource-manager.control` and `blockio`: pkg/cri/resource-manager/control of cri-resource-manager v0.9.2.

use crate::key::Key;
use crate::rdt::is_off;
use crate::report::Report;
use crate::rule::Rule;
use crate::section::{Case, Section};
use crate::target::given;

/// Controllers that are switched off.
#[derive(Debug, Default)]
pub(crate) struct Off {
    pub(crate) cpu: bool,
    pub(crate) rdt: bool,
    pub(crate) block_io: bool,
}

/// Takes the section `resource-manager`.
pub(crate) fn convert(section: Option<Section>, report: &mut Report) -> Off {
    let mut off = Off::default();
    let Some(mut section) = section else { return off };
    if let Some(mut control) = section.section("control", Case::Exact, report) {
        if let Some(mut controllers) = control.section("Controllers", Case::Exact, report) {
            for name in ["cpu", "cri", "rdt", "blockio", "memory", "page-migration"] {
                let Some(key) = given(controllers.take(name), report) else { continue };
                let is_off = is_off(&key);
                match name {
                    "cpu" => off.cpu = is_off,
                    "rdt" => off.rdt = is_off,
                    "blockio" => off.block_io = is_off,
                    _ => {}
                }
                state(name, key, report);
            }
            controllers.finish(report);
        }
        if let Some(mut migration) = control.section("page-migration", Case::Exact, report) {
            for name in ["PageScanInterval", "PageMoveInterval", "MaxPageMoveCount"] {
                if let Some(key) = given(migration.take(name), report) {
                    let text = "nri-plugins' policies move no pages between kinds of memory; memtierd, a plugin of its own, does";
                    report.key(key, Rule::PageMigration, None, text);
                }
            }
            migration.finish(report);
        }
        control.finish(report);
    }
    section.finish(report);
    off
}

fn state(name: &str, key: Key, report: &mut Report) {
    let word = key.value.as_str().unwrap_or("?").to_ascii_lowercase();
    match (word.as_str(), name) {
        ("disabled" | "disable", "rdt" | "blockio") => report.same(key, &format!("spec.control.{name}.enable")),
        ("disabled" | "disable", "cpu" | "page-migration" | "memory") => {
            report.no_effect(key, "what is switched off is left out");
        }
        ("disabled" | "disable", _) => {
            let text = "without this controller cri-resmgr placed nothing; nri-plugins always do: leave these nodes out, or write pinCPU: false and \
                        pinMemory: false";
            report.key(key, Rule::Controller, None, text);
        }
        // How the daemon has them when nothing is written.
        ("optional" | "relaxed", _) => report.no_effect(key, "is what cri-resmgr does without it"),
        ("required" | "mandatory", _) => {
            let text = "cri-resmgr did not start without it, and refused containers where it failed; nri-plugins have no such switch";
            report.key(key, Rule::Controller, None, text);
        }
        _ => report.invalid(key, "disabled, required, optional, relaxed"),
    }
}

/// Takes the section `blockio`.
pub(crate) fn block_io(section: Option<Section>, off: bool, report: &mut Report) {
    let Some(mut section) = section else { return };
    if let Some(key) = section.take("Classes") {
        if off {
            report.no_effect(key, "the controller is switched off");
        } else {
            let text = "nri-plugins define no block-I/O classes, containerd does (blockio_config_file), which this extension does not set; pods that name \
                        such a class have no limit";
            report.key(key, Rule::BlockIo, None, text);
        }
    }
    section.finish(report);
}
