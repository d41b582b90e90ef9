//! An override of the image vector, as the controller takes it when it starts.

use std::error::Error as _;

use extension_config::names;
use image_vector::{Error, ImageVector, Request};

use crate::kind::Kind;
use crate::report::{Finding, Report, where_and_why};

/// The only one that cri-resmgr is made for.
const ARCHITECTURE: &str = "amd64";

pub(crate) fn judge(text: &str) -> Report {
    let vector = match ImageVector::overridden("", text) {
        Ok(vector) => vector,
        Err(errors) => return Report::refused(Kind::ImageVector, errors.iter().map(finding).collect()),
    };
    let ours = [names::CONTROLLER_NAME, names::INSTALLATION_IMAGE];
    let others = vector.names().into_iter().filter(|name| !ours.contains(name));
    let mut warnings: Vec<_> = others
        .map(|name| {
            Finding::new("images", format!("{name:?} is no image that is looked for, those are {}", ours.join(", ")))
        })
        .collect();
    let request = Request {
        name: names::INSTALLATION_IMAGE,
        runtime_version: None,
        target_version: None,
        architecture: ARCHITECTURE,
    };
    let outcome = match vector.find(request) {
        Ok(image) => format!("the node agent's image is {image}"),
        Err(error) => {
            warnings.push(Finding::new("images", error.to_string()));
            "the node agent has no image".to_owned()
        }
    };
    Report::accepted(Kind::ImageVector, &outcome, warnings)
}

fn finding(error: &Error) -> Finding {
    match error {
        Error::Invalid { index, field, message, .. } => Finding::new(format!("images[{index}]{field}"), message),
        Error::Incomplete { name, .. } => Finding::new("images", format!("image {name:?} needs ref or repository")),
        Error::Malformed { source, .. } => {
            Finding::new("", format!("is not an image vector: {}", where_and_why(source)))
        }
        other => {
            let source = other.source().map(|source| format!(": {source}")).unwrap_or_default();
            Finding::new("", format!("{other}{source}"))
        }
    }
}
