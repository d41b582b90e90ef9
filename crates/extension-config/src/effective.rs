//! The configuration that takes effect: the shoot's over the operator's over our own, checked.

mod migration;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::cri_resmgr::{self, Checked, Steps};
use crate::desired_state::{Backend, Daemon, Handover, Selection};
use crate::extra_options;
use crate::key::ConfigKey;
use crate::limits;
use crate::names;
use crate::nri;
use crate::problem::{Origin, Problem, Problems};
use crate::provider_config::{self, BackendName, ProviderConfig, Written};
use crate::workers::{self, Facts, LeftAlone};

pub use migration::{Convert, Converted};

/// What a daemon runs with when nobody configured anything: it passes every request through.
pub const BUILT_IN_FALLBACK: &str = "policy:\n  Active: none\n";

/// A configuration without faults.
#[derive(Debug, Clone, PartialEq)]
pub struct Effective {
    /// What the nodes get: the backend, and what is the same for every node.
    pub backend: Backend,
    /// Whether nodes that have the other backend may be led to this one.
    pub handover: Option<Handover>,
    /// What differs between nodes, and what is pushed to running daemons: name of the ConfigMap and its data.
    pub dynamic: BTreeMap<String, BTreeMap<String, String>>,
    /// Which nodes get the backend; those of [`Self::left_alone`] do not.
    pub selection: Selection,
    /// The worker pools that are selected and left alone all the same.
    pub left_alone: Vec<LeftAlone>,
    /// These are all that are selected.
    pub is_nowhere: bool,
    /// Who won for each key.
    pub origins: BTreeMap<String, Origin>,
    /// What works, but perhaps not as its author thinks.
    pub warnings: Vec<Problem>,
}

/// Merges and checks. `base` is the data of the operator's ConfigMap, if there is one.
///
/// Its cost is bounded by [`limits`], but still some ten milliseconds at worst: nothing for an event loop.
///
/// # Errors
/// What is wrong. A key of the base configuration that the shoot overrides is not checked. A shoot that goes over from cri-resmgr to nri-plugins is
/// refused, because nothing here makes policies of its configuration: [`resolve_with`] has it done.
pub fn resolve(
    base: Option<&BTreeMap<String, String>>,
    provider_config: Option<&Value>,
    facts: &Facts,
) -> Result<Effective, Problems> {
    resolve_with(base, provider_config, facts, &|_, _| Err("there is nothing here that could do it".to_owned()))
}

/// As [`resolve`], with what makes policies of the configuration of a shoot that goes over from cri-resmgr to nri-plugins.
///
/// # Errors
/// What is wrong, and what such a shoot's owner has not accepted to lose.
pub fn resolve_with(
    base: Option<&BTreeMap<String, String>>,
    provider_config: Option<&Value>,
    facts: &Facts,
    convert: &Convert<'_>,
) -> Result<Effective, Problems> {
    let shoot = provider_config::decode(provider_config)?;
    match shoot.backend.unwrap_or(BackendName::CriResmgr) {
        BackendName::CriResmgr => of_cri_resmgr(base, shoot, facts),
        BackendName::NriPlugins => of_nri_plugins(base, shoot, facts, convert),
    }
}

/// The operator's base configuration is cri-resmgr's, so nothing of it counts, unless nodes still have that.
fn of_nri_plugins(
    base: Option<&BTreeMap<String, String>>,
    shoot: ProviderConfig,
    facts: &Facts,
    convert: &Convert<'_>,
) -> Result<Effective, Problems> {
    let mut warnings = Warnings::default();
    let is_given = shoot.nri.is_some();
    let mut nri = shoot.nri.unwrap_or_default();
    let mut former = None;
    if let Some(migration) = &shoot.migration {
        let configured = configured(base, shoot.configs)?;
        let handover =
            migration::convert(migration, &configured.to_convert(), &mut nri.policies, convert, &mut warnings)?;
        former = Some((configured, handover));
    } else if !shoot.configs.is_empty() {
        warnings.push(Problem::new(Origin::Shoot, "configs", "", "has no effect with the backend nri-plugins"));
    }
    let policies = nri::resolve(&nri, is_given || former.is_some())?;
    warnings.extend(policies.warnings);
    warnings.more += policies.more_warnings;
    let pools = Pools::of(&shoot.selection, shoot.backend.is_some(), facts, BackendName::NriPlugins, &mut warnings);
    let mut dynamic = policies.config_maps;
    let mut origins: BTreeMap<String, Origin> =
        policies.keys.into_iter().map(|key| (format!("nri.{key}"), Origin::Shoot)).collect();
    let mut handover = None;
    if let Some((configured, permitted)) = former {
        // Nodes that still have cri-resmgr go on with what they were given.
        let delivered = configured.dynamic();
        handover = Some(Handover { delivered: delivered.keys().cloned().collect(), ..permitted });
        dynamic.extend(delivered);
        origins.extend(configured.origins());
    }
    Ok(Effective {
        backend: Backend::NriPlugins(policies.settings),
        handover,
        dynamic,
        selection: Selection { excluded_pools: pools.excluded(), ..shoot.selection },
        left_alone: pools.left_alone,
        is_nowhere: pools.is_nowhere,
        origins,
        warnings: warnings.into_problems(),
    })
}

/// What is said about worker pools.
struct Pools {
    left_alone: Vec<LeftAlone>,
    is_nowhere: bool,
}

impl Pools {
    fn of(selection: &Selection, is_named: bool, facts: &Facts, backend: BackendName, warnings: &mut Warnings) -> Self {
        let left_alone = workers::left_alone(selection, facts, backend);
        let is_nowhere = workers::is_nowhere(selection, facts, &left_alone);
        warnings.extend(workers::warnings(selection, facts, backend, is_named, &left_alone));
        Self { left_alone, is_nowhere }
    }

    fn excluded(&self) -> BTreeSet<String> {
        self.left_alone.iter().map(|pool| pool.name.clone()).collect()
    }
}

fn of_cri_resmgr(
    base: Option<&BTreeMap<String, String>>,
    shoot: ProviderConfig,
    facts: &Facts,
) -> Result<Effective, Problems> {
    let mut configured = configured(base, shoot.configs)?;
    let mut warnings = std::mem::take(&mut configured.warnings);
    let has_no_effect =
        |field: &str| Problem::new(Origin::Shoot, field, "", "has no effect with the backend cri-resmgr");
    let accepts = shoot.migration.as_ref().is_some_and(|migration| !migration.accept.is_empty());
    warnings.extend(shoot.nri.is_some().then(|| has_no_effect("nri")));
    warnings.extend(accepts.then(|| has_no_effect("migration.accept")));
    let pools = Pools::of(&shoot.selection, shoot.backend.is_some(), facts, BackendName::CriResmgr, &mut warnings);
    Ok(Effective {
        handover: shoot.migration.map(|migration| Handover::from(migration.from)),
        dynamic: configured.dynamic(),
        origins: configured.origins(),
        backend: Backend::CriResmgr(configured.daemon()),
        selection: Selection { excluded_pools: pools.excluded(), ..shoot.selection },
        left_alone: pools.left_alone,
        is_nowhere: pools.is_nowhere,
        warnings: warnings.into_problems(),
    })
}

/// All configurations of cri-resmgr, without faults.
struct Configured {
    entries: BTreeMap<ConfigKey, (Origin, Written)>,
    checked: BTreeMap<ConfigKey, Checked>,
    options: String,
    warnings: Warnings,
}

impl Configured {
    fn daemon(self) -> Daemon {
        let text = |key| self.checked.get(&key).map(|good: &Checked| good.canonical().to_owned());
        Daemon {
            fallback_config: text(ConfigKey::Fallback),
            force_config: text(ConfigKey::Force),
            extra_options: self.options,
        }
    }

    fn dynamic(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        let dynamic = self.checked.iter().filter(|(key, _)| key.is_dynamic());
        dynamic.map(|(key, good)| (format!("{}{key}", names::DYNAMIC_CONFIG_MAP_PREFIX), good.by_module())).collect()
    }

    fn origins(&self) -> BTreeMap<String, Origin> {
        self.entries.iter().map(|(key, (origin, _))| (key.to_string(), *origin)).collect()
    }

    /// Texts as their authors wrote them; our own only where nobody wrote any.
    fn to_convert(&self) -> BTreeMap<ConfigKey, String> {
        let is_alone = self.entries.keys().all(|key| matches!(key, ConfigKey::Fallback | ConfigKey::ExtraOptions));
        let written = self.entries.iter().filter(|(_, (origin, _))| is_alone || *origin != Origin::BuiltIn);
        written.map(|(key, (_, written))| (key.clone(), written.text.clone())).collect()
    }
}

fn configured(
    base: Option<&BTreeMap<String, String>>,
    configs: BTreeMap<ConfigKey, Written>,
) -> Result<Configured, Problems> {
    let (base, mut problems) = base.map(provider_config::decode_base).unwrap_or_default();
    let mut entries: BTreeMap<ConfigKey, (Origin, Written)> = BTreeMap::new();
    entries.extend(base.into_iter().map(|(key, written)| (key, (Origin::Base, written))));
    entries.extend(configs.into_iter().map(|(key, written)| (key, (Origin::Shoot, written))));
    if !entries.contains_key(&ConfigKey::Fallback) && !entries.contains_key(&ConfigKey::Force) {
        let written = Written { field: "fallback".into(), text: BUILT_IN_FALLBACK.into() };
        entries.insert(ConfigKey::Fallback, (Origin::BuiltIn, written));
    }

    let mut warnings = Warnings::default();
    let mut checked = BTreeMap::new();
    let mut options = extra_options::Options::default();
    let mut steps = Steps::default();
    let mut bytes = 0;
    for (key, (origin, written)) in &entries {
        if *key == ConfigKey::ExtraOptions {
            match extra_options::canonical(&written.text) {
                Ok(good) => options = good,
                Err(all) => problems.extend(all.into_iter().map(|message| problem(*origin, written, "", &message))),
            }
            continue;
        }
        match cri_resmgr::check_within(&written.text, &mut steps) {
            Ok(good) => {
                bytes += good.canonical().len();
                if bytes > limits::EFFECTIVE_BYTES {
                    let most = limits::EFFECTIVE_BYTES;
                    let message =
                        format!("all configurations up to this one have {bytes} bytes as JSON, allowed: {most}");
                    problems.push(problem(*origin, written, "", &message));
                    break;
                }
                checked.insert(key.clone(), good);
            }
            Err(findings) => {
                for found in findings {
                    if found.omitted == 0 {
                        problems.push(problem(*origin, written, &found.path, &found.message));
                    } else {
                        problems.omit(found.omitted);
                    }
                }
            }
        }
    }
    problems.none_or(())?;
    for (key, good) in &checked {
        let (origin, written) = &entries[key];
        let reported = good.left_out.iter().chain(&good.warnings);
        warnings.extend(reported.map(|finding| problem(*origin, written, &finding.path, &finding.message)));
    }
    if let Some((origin, written)) = entries.get(&ConfigKey::ExtraOptions) {
        warnings.extend(options.left_out.iter().map(|message| problem(*origin, written, "", message)));
    }
    warn_of_policies(&entries, &checked, &mut warnings);
    Ok(Configured { entries, checked, options: options.text, warnings })
}

fn problem(origin: Origin, written: &Written, path: &str, message: &str) -> Problem {
    Problem::new(origin, &written.field, path, message)
}

/// The first few warnings, and how many more there are.
#[derive(Default)]
struct Warnings {
    first: Vec<Problem>,
    more: usize,
}

impl Warnings {
    fn push(&mut self, warning: Problem) {
        if self.first.len() < limits::WARNINGS {
            self.first.push(warning);
        } else {
            self.more += 1;
        }
    }

    fn extend(&mut self, warnings: impl IntoIterator<Item = Problem>) {
        warnings.into_iter().for_each(|warning| self.push(warning));
    }

    fn into_problems(mut self) -> Vec<Problem> {
        if self.more > 0 {
            self.first.push(Problem::new(Origin::Shoot, "", "", &format!("and {} more warnings", self.more)));
        }
        self.first
    }
}

/// A running daemon takes another policy only after a restart and a reset of its state.
fn warn_of_policies(
    entries: &BTreeMap<ConfigKey, (Origin, Written)>,
    checked: &BTreeMap<ConfigKey, Checked>,
    warnings: &mut Warnings,
) {
    if checked.contains_key(&ConfigKey::Force) {
        for (key, (origin, written)) in entries {
            if !matches!(key, ConfigKey::Force | ConfigKey::ExtraOptions) && *origin != Origin::BuiltIn {
                warnings.push(problem(*origin, written, "", "has no effect while there is a force configuration"));
            }
        }
        return;
    }
    warn_of_base_levels(entries, warnings);
    let Some(fallback) = checked.get(&ConfigKey::Fallback) else { return };
    for (key, good) in checked.iter().filter(|(key, good)| key.is_dynamic() && good.active != fallback.active) {
        let (origin, written) = &entries[key];
        let message = format!(
            "{} differs from the fallback's policy {}: the daemon changes its policy only when it is restarted and its policy state reset",
            good.active, fallback.active
        );
        warnings.push(problem(*origin, written, "policy.Active", &message));
    }
}

/// A shoot that sets its fallback alone expects its nodes to have it. Where the base configuration has a level that wins over it, they do not.
fn warn_of_base_levels(entries: &BTreeMap<ConfigKey, (Origin, Written)>, warnings: &mut Warnings) {
    let Some((Origin::Shoot, fallback)) = entries.get(&ConfigKey::Fallback) else { return };
    let levels = entries.iter().filter(|(key, (origin, _))| key.is_dynamic() && *origin == Origin::Base);
    let names: Vec<&str> = levels.map(|(_, (_, written))| written.field.as_str()).collect();
    if let Some((first, rest)) = names.split_first() {
        let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
        let message = format!(
            "nodes for which the operator's base configuration has another ({first}{more}) are given that one: a level that is left out comes from there; set configs.default, too"
        );
        warnings.push(problem(Origin::Shoot, fallback, "", &message));
    }
}

#[cfg(test)]
mod tests;
