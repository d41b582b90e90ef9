//! The chart's values: the base configuration of all shoots and the override of the image vector.

use extension_config::Facts;
use policy_convert::resolve;
use serde_json::Value;

use crate::image_overrides;
use crate::kind::{IMAGE_VECTOR, Kind};
use crate::provider_config::{self, Base};
use crate::report::{Finding, Report};

const CONFIGS: &str = "configs";
/// Where values stand: in a ControllerDeployment (v1beta1, v1), in an Extension of the operator.
const PLACES: [&str; 3] = ["/providerConfig/values", "/helm/values", "/spec/deployment/extension/values"];

/// The values in a document, and their place.
fn values(document: &Value) -> (&Value, String) {
    let found = PLACES.iter().find_map(|place| Some((document.pointer(place)?, place[1..].replace('/', ".") + ".")));
    found.unwrap_or((document, String::new()))
}

/// As the chart makes it a text: one that is no text is written as such.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The base configuration in a document; `None` where it has none.
pub(crate) fn base(document: &Value) -> Option<Base> {
    let is_config_map = document.get("kind").and_then(Value::as_str) == Some("ConfigMap");
    let configs = if is_config_map { document.get("data") } else { values(document).0.get(CONFIGS) };
    let configs = configs?.as_object()?.iter();
    Some(configs.map(|(key, value)| (key.clone(), text(value))).collect())
}

/// Both as the controller takes them.
pub(crate) fn judge(document: &Value) -> Report {
    let (values, place) = values(document);
    let mut parts = Vec::new();
    let mut whole = Report::accepted(Kind::Values, "", Vec::new());
    let mut add = |what: &str, report: Report| {
        let below = |finding: Finding| {
            let colon = if finding.place.is_empty() { "" } else { ": " };
            Finding { place: format!("{place}{what}{colon}{}", finding.place), ..finding }
        };
        parts.push(format!("{what} {}", report.outcome));
        whole.findings.extend(report.findings.into_iter().map(below));
        whole.warnings.extend(report.warnings.into_iter().map(below));
    };
    if let Some(base) = base(document) {
        add(CONFIGS, provider_config::resolved(Kind::Values, "", resolve(Some(&base), None, &Facts::default())));
    } else if let Some(other) = values.get(CONFIGS).filter(|configs| !configs.is_null()) {
        let message = format!("must be a map of configurations, is {}", kind_of(other));
        add(CONFIGS, Report::refused(Kind::Values, vec![Finding::new("", message)]));
    }
    if let Some(vector) = values.get(IMAGE_VECTOR).filter(|vector| !vector.is_null()) {
        add(IMAGE_VECTOR, image_overrides::judge(&text(vector)));
    }
    whole.outcome = match parts.as_slice() {
        [] => format!("there is neither {CONFIGS} nor {IMAGE_VECTOR} in it"),
        parts => parts.join("; "),
    };
    whole
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Array(_) => "a list",
        Value::String(_) => "a text",
        _ => "neither a map nor null",
    }
}
