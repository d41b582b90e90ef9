//! `availableResources` and `reservedResources`.

use crate::cpus::{CpuSet, Cpus};
use crate::finding::{CheckOutcome, Place, quoted};
use crate::grammar::matches_glob;
use crate::rules::RESERVED;
use crate::typed::Spec;

const AVAILABLE_FORMS: &str = "cpuset:0-3,8 or exclude-cpuset:0-3,8";
const RESERVED_FORMS: &str = "cpuset:0-3,8, exclude-cpuset:0-3,8, or a number of CPUs such as 2 or 750m, in quotes";

/// The CPUs that a policy has, and those of them that are reserved.
#[derive(Debug)]
pub(super) struct Resources {
    pub(super) available: Option<Cpus>,
    pub(super) reserved: Cpus,
}

impl Resources {
    /// `None` when they are wrong.
    pub(super) fn check(spec: &Spec, outcome: &mut CheckOutcome) -> Option<Self> {
        let spec_place = Place::Spec;
        let place = spec_place.key("availableResources");
        check_keys(spec.available_resources.keys(), &place, outcome);
        let available = spec.available_resources.get("cpu").map(|text| (text, Cpus::read(text)));
        let available = match available {
            None => None,
            Some((_, Some(cpus @ (Cpus::Set(_) | Cpus::AllBut(_))))) => Some(cpus),
            Some((text, _)) => {
                outcome.fault(place.key("cpu"), wrong(text, AVAILABLE_FORMS));
                return None;
            }
        };
        let place = spec_place.key("reservedResources");
        check_keys(spec.reserved_resources.keys(), &place, outcome);
        let place = place.key("cpu");
        let Some(text) = spec.reserved_resources.get("cpu") else {
            outcome.fault(place, format!("is missing, and without it nothing is reserved, allowed: {RESERVED_FORMS}"));
            return None;
        };
        let Some(reserved) = Cpus::read(text) else {
            outcome.fault(place, wrong(text, RESERVED_FORMS));
            return None;
        };
        let resources = Self { available, reserved };
        match resources.conflict(takes_everything(spec)) {
            None => Some(resources),
            Some(message) => {
                outcome.fault(place, format!("is {}, {message}", quoted(text)));
                None
            }
        }
    }

    /// What is wrong with the two together, as far as it can be known without the node.
    fn conflict(&self, takes_everything: bool) -> Option<String> {
        const NOTHING_LEFT: &str = "and leaves no CPU of availableResources for other pods, allowed: fewer";
        let nothing_left = || (!takes_everything).then(|| NOTHING_LEFT.to_owned());
        let outside =
            |cpus: &CpuSet| format!("of which {cpus} are not in availableResources, allowed: only what is in it");
        match (self.available.as_ref()?, &self.reserved) {
            (Cpus::Set(available), Cpus::Set(reserved)) => {
                let missing = reserved.without(available);
                if missing.len() > 0 {
                    return Some(outside(&missing));
                }
                (reserved == available).then(nothing_left)?
            }
            (Cpus::Set(available), Cpus::AllBut(others)) => {
                let reserved = available.without(others);
                if reserved.len() == 0 {
                    return Some("and leaves nothing that could be reserved".to_owned());
                }
                (reserved == *available).then(nothing_left)?
            }
            (Cpus::Set(available), Cpus::Count(milli)) => {
                let count = milli.div_ceil(1000);
                if count > available.len() {
                    return Some(format!("availableResources has {} CPUs", available.len()));
                }
                (count == available.len()).then(nothing_left)?
            }
            (Cpus::AllBut(others), Cpus::Set(reserved)) => {
                let missing = reserved.within(others);
                (missing.len() > 0).then(|| outside(&missing))
            }
            _ => None,
        }
    }

    /// CPUs that are surely reserved.
    pub(super) fn least_reserved(&self) -> u64 {
        match (&self.reserved, &self.available) {
            (Cpus::Count(milli), _) => milli.div_ceil(1000),
            (Cpus::Set(set), _) => set.len(),
            (Cpus::AllBut(others), Some(Cpus::Set(available))) => available.without(others).len(),
            (Cpus::AllBut(_), _) => 1,
        }
    }

    /// CPUs that a policy can have at most; `None` where only the node knows.
    pub(super) fn most_available(&self) -> Option<u64> {
        match &self.available {
            Some(Cpus::Set(set)) => Some(set.len()),
            _ => None,
        }
    }
}

/// Whether all pods are system pods, as in a policy that only resets pins.
fn takes_everything(spec: &Spec) -> bool {
    let reserved = spec.balloon_types.iter().find(|balloon| balloon.name == RESERVED);
    reserved.is_some_and(|reserved| {
        // No namespace has such a name: only a pattern for all of them takes it.
        reserved.namespaces.iter().any(|pattern| matches_glob(pattern, "\u{1}\u{1}\u{1}"))
    })
}

/// The plugin looks at `cpu` only: any other key is taken, and means nothing.
fn check_keys<'a>(keys: impl Iterator<Item = &'a String>, place: &Place<'_>, outcome: &mut CheckOutcome) {
    for key in keys.filter(|key| *key != "cpu") {
        outcome.fault(
            place.key(key),
            "there is no such key (letter case counts), and it would mean nothing, allowed: cpu",
        );
    }
}

fn wrong(text: &str, forms: &str) -> String {
    let is_bare_list = CpuSet::read(text).is_some() && text.contains(['-', ',']);
    let hint = if is_bare_list { format!("; for a list of CPUs write cpuset:{text}") } else { String::new() };
    format!("is {}, allowed: {forms}{hint}", quoted(text))
}
