//! A Shoot: its entry for this extension, and what its worker pools say about it.

use extension_config::{Facts, limits, names};
use gardener_api::Shoot;
use policy_convert::resolve;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::kind::Kind;
use crate::provider_config::{self, Base};
use crate::report::{Finding, Report};

pub(crate) fn judge(document: &Value, base: Option<&Base>) -> Report {
    let refused = |place: &str, message: String| Report::refused(Kind::Shoot, vec![Finding::new(place, message)]);
    let read = RawValue::from_string(document.to_string()).map_err(|error| error.to_string());
    let read = read.and_then(|raw| Shoot::from_raw(&raw).map_err(|error| error.to_string()));
    let shoot = match read {
        Ok(shoot) => shoot.unwrap_or_default(),
        Err(message) => return refused("", message),
    };
    let Some(extension) = shoot.extension(names::EXTENSION_TYPE) else {
        let message = format!("there is no entry of type {}: nothing would be done", names::EXTENSION_TYPE);
        let warnings = vec![Finding::new("spec.extensions", message)];
        return Report::accepted(Kind::Shoot, "the extension is not switched on", with_faults(warnings, &shoot));
    };
    let index = shoot.spec.extensions.iter().position(|entry| entry == extension).unwrap_or_default();
    let at = format!("spec.extensions[{index}].providerConfig");
    let own = match extension.provider_config.as_ref().map(|raw| raw.read(limits::PROVIDER_CONFIG_BYTES)).transpose() {
        Ok(own) => own,
        Err(error) => return refused(&at, error.to_string()),
    };
    let mut report = provider_config::resolved(Kind::Shoot, &at, resolve(base, own.as_ref(), &Facts::of(&shoot)));
    let entry = document.pointer(&format!("/spec/extensions/{index}/disabled"));
    if entry.and_then(Value::as_bool) == Some(true) {
        let message = "is true: the extension stays off until it is false or left out";
        report.warnings.push(Finding::new(format!("spec.extensions[{index}].disabled"), message));
    }
    report.warnings = with_faults(report.warnings, &shoot);
    report
}

/// The controller takes what it cannot read as absent.
fn with_faults(mut warnings: Vec<Finding>, shoot: &Shoot) -> Vec<Finding> {
    let faults = shoot.faults.paths().iter();
    warnings
        .extend(faults.map(|path| Finding::new(path, "is not of the shape that is known here, and counts as absent")));
    warnings
}
