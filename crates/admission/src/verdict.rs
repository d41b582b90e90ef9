//! What is said to a Shoot: what a reconcile would say to its providerConfig where the operator has no base configuration. Pure.

use extension_config::{Facts, LeftAlone, Problems, limits, names};
use gardener_api::{RawJson, Shoot, Unreadable};
use policy_convert::resolve;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::review::Request;

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may be stored.
    Allowed {
        /// What its author is shown all the same.
        warnings: Vec<String>,
    },
    /// It is not stored.
    Denied {
        /// What is wrong, in [`limits::ERROR_BYTES`] bytes.
        message: String,
        /// The same, one by one: the first [`limits::FINDINGS`].
        causes: Vec<Cause>,
    },
}

/// A `metav1.StatusCause`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Cause {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) field: String,
}

impl Verdict {
    const SILENT: Self = Self::Allowed { warnings: Vec::new() };
}

/// Our part of a Shoot.
struct Ours {
    /// Place in `spec.extensions`.
    index: usize,
    provider_config: Option<RawJson>,
    facts: Facts,
}

impl Ours {
    /// `None` where the extension is not in effect by the Shoot's own word. A Shoot that has it because it is enabled for all has no
    /// providerConfig, and nothing to be judged.
    fn of(shoot: &Shoot) -> Option<Self> {
        let is_ours = |(_, extension): &(usize, &gardener_api::shoot::ShootExtension)| {
            extension.type_ == names::EXTENSION_TYPE && !extension.disabled
        };
        let (index, extension) = shoot.spec.extensions.iter().enumerate().find(is_ours)?;
        Some(Self { index, provider_config: extension.provider_config.clone(), facts: Facts::of(shoot) })
    }

    /// Whether somebody has changed nothing that was in effect. API servers write equal objects alike, but the order of keys is their author's.
    fn has_configuration_of(&self, former: &Self) -> bool {
        let read = |raw: &Option<RawJson>| raw.as_ref().map(|raw| raw.read(limits::PROVIDER_CONFIG_BYTES));
        self.provider_config == former.provider_config
            || match (read(&self.provider_config), read(&former.provider_config)) {
                (Some(Ok(new)), Some(Ok(old))) => new == old,
                _ => false,
            }
    }
}

/// Judges one request.
///
/// Its cost is bounded by the limits of `extension_config`, but still some ten milliseconds at worst: nothing for an event loop.
pub(crate) fn judge(request: &Request) -> Verdict {
    if !request.sub_resource.is_empty() || !matches!(request.operation.as_str(), "CREATE" | "UPDATE") {
        return Verdict::SILENT;
    }
    // What is no object, or an empty one, is no Shoot that anybody could store.
    let Some(shoot) = shoot(request.object.as_deref()) else { return Verdict::SILENT };
    // A deletion must not be held up by what is going away.
    let Some(ours) = Ours::of(&shoot).filter(|_| !shoot.is_deleting()) else { return Verdict::SILENT };
    // What has been in effect stays so, whatever is thought of it today: by an earlier version it was taken, and other changes to the Shoot must
    // remain possible. One that was switched off has not been in effect.
    let former = shoot_before(request).and_then(|shoot| Ours::of(&shoot));
    if let Some(former) = former.filter(|former| ours.has_configuration_of(former)) {
        // Its author has been shown the warnings; another Kubernetes or pool may lead to others.
        return if former.facts == ours.facts {
            Verdict::SILENT
        } else {
            Verdict::Allowed { warnings: warnings(&ours) }
        };
    }
    match resolved(&ours) {
        Ok(warnings) => Verdict::Allowed { warnings },
        Err(fault) => denied(&root(&ours), fault),
    }
}

fn shoot(raw: Option<&RawValue>) -> Option<Shoot> {
    Shoot::from_raw(raw?).ok().flatten()
}

fn shoot_before(request: &Request) -> Option<Shoot> {
    if request.operation == "UPDATE" { shoot(request.old_object.as_deref()) } else { None }
}

fn root(ours: &Ours) -> String {
    format!("spec.extensions[{}].providerConfig", ours.index)
}

enum Fault {
    Unreadable(Unreadable),
    Problems(Problems),
}

/// As the seed controller does it, where the operator has no base configuration: the warnings, if nothing is wrong.
fn resolved(ours: &Ours) -> Result<Vec<String>, Fault> {
    let raw = ours.provider_config.as_ref();
    let own = raw.map(|raw| raw.read(limits::PROVIDER_CONFIG_BYTES)).transpose().map_err(Fault::Unreadable)?;
    let effective = resolve(None, own.as_ref(), &ours.facts).map_err(Fault::Problems)?;
    let root = root(ours);
    let text = |warning: &extension_config::Problem| format!("{}: {}", warning.field(&root), warning.detail());
    Ok(effective.warnings.iter().map(text).chain(of_pools(&effective.left_alone)).collect())
}

/// The worker pools that do not get what the Shoot asks for.
fn of_pools(pools: &[LeftAlone]) -> impl Iterator<Item = String> {
    let reported = pools.iter().take(limits::WARNINGS);
    let more = pools.len().saturating_sub(limits::WARNINGS);
    reported
        .map(|LeftAlone { name, reasons }| {
            format!("spec.provider.workers: nothing is installed on worker pool {name:?}: {}", reasons.join("; "))
        })
        .chain((more > 0).then(|| format!("spec.provider.workers: nor on {more} more")))
}

/// Those of a configuration that is taken in any case.
fn warnings(ours: &Ours) -> Vec<String> {
    resolved(ours).unwrap_or_default()
}

fn denied(root: &str, fault: Fault) -> Verdict {
    let cause = |field, message| Cause { reason: "FieldValueInvalid", message, field };
    match fault {
        Fault::Unreadable(fault) => Verdict::Denied {
            message: format!("{root}: {fault}"),
            causes: vec![cause(root.to_owned(), fault.to_string())],
        },
        Fault::Problems(problems) => Verdict::Denied {
            message: problems.below(root),
            causes: problems.iter().map(|problem| cause(problem.field(root), problem.detail())).collect(),
        },
    }
}

#[cfg(test)]
mod tests;
