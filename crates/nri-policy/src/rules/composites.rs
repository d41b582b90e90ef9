//! Balloon types that are made of others.

use std::collections::BTreeMap;

use crate::finding::{CheckOutcome, Place, quoted};
use crate::limits;
use crate::rules::{DEFAULT, RESERVED};
use crate::typed::BalloonType;

/// What instances of each type take from the start.
#[derive(Debug, Default)]
pub(super) struct Composition {
    /// CPUs that one instance takes, its components' included; in the order of the types.
    pub(super) cpus: Vec<u64>,
}

/// Checks what types are made of. The types' names are known to be unlike.
pub(super) fn check(types: &[BalloonType], list: &Place<'_>, outcome: &mut CheckOutcome) -> Composition {
    let by_name: BTreeMap<&str, usize> =
        types.iter().enumerate().map(|(index, balloon)| (balloon.name.as_str(), index)).collect();
    for (index, balloon) in types.iter().enumerate() {
        let place = list.item(index);
        check_type(balloon, &place, outcome);
        let components = place.key("components");
        for (index, component) in balloon.components.iter().enumerate() {
            let name = component.balloon_type.as_str();
            let message = match name {
                // Each of them has one instance from the start, and may have no other.
                RESERVED => "there is one reserved balloon, which no other may have as its component",
                DEFAULT if !by_name.contains_key(DEFAULT) => {
                    "the implicit default type has one balloon, which no other may have as its component"
                }
                _ if !by_name.contains_key(name) => "allowed: the name of a balloon type",
                _ => continue,
            };
            let place = components.item(index);
            outcome.fault(place.key("balloonType"), format!("is {}, {message}", quoted(name)));
        }
    }
    let mut walk = Walk { types, by_name, known: vec![State::New; types.len()] };
    let mut cpus = Vec::with_capacity(types.len());
    for index in 0..types.len() {
        let place = list.item(index);
        let place = place.key("components");
        let size = walk.size(index);
        let most = limits::COMPONENT_BALLOONS;
        if size.is_err() {
            outcome.fault(place, "the type contains itself, allowed: only types that do not");
        } else if size.is_ok_and(|size| size.balloons > most) {
            outcome.fault(place, format!("one balloon is made of more than {most} others, allowed: {most}"));
        }
        cpus.push(size.map_or(0, |size| size.cpus));
    }
    Composition { cpus }
}

/// Source: validateConfig in cmd/plugins/balloons/policy/balloons-policy.go @ v0.14.0.
fn check_type(balloon: &BalloonType, place: &Place<'_>, outcome: &mut CheckOutcome) {
    if balloon.components.is_empty() {
        if !balloon.component_creation.is_empty() {
            let message = format!("is {}, allowed: only beside components", quoted(&balloon.component_creation));
            outcome.fault(place.key("componentCreation"), message);
        }
        return;
    }
    for (key, is_given) in [
        ("cpuClass", !balloon.cpu_class.is_empty()),
        ("preferSpreadOnPhysicalCores", balloon.prefer_spread_on_physical_cores.is_some()),
        ("allocatorTopologyBalancing", balloon.allocator_topology_balancing.is_some()),
        ("preferCloseToDevices", !balloon.prefer_close_to_devices.is_empty()),
        ("preferIsolCpus", balloon.prefer_isol_cpus),
        ("preferCoreType", !balloon.prefer_core_type.is_empty()),
    ] {
        if is_given {
            outcome.fault(place.key(key), "stands beside components, allowed: only in the components' own types");
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Size {
    /// Balloons that it is made of, those of its components included.
    balloons: u64,
    cpus: u64,
}

/// A type contains itself.
#[derive(Debug, Clone, Copy)]
struct Endless;

#[derive(Debug, Clone, Copy)]
enum State {
    New,
    /// On the way down.
    Open,
    Known(Size),
    Endless,
}

/// Sizes, each computed once: types may contain each other so often that the number of balloons doubles with each type.
struct Walk<'a> {
    types: &'a [BalloonType],
    by_name: BTreeMap<&'a str, usize>,
    known: Vec<State>,
}

impl Walk<'_> {
    /// Goes as deep as there are types: [`limits::NAMED_ENTRIES`].
    fn size(&mut self, index: usize) -> Result<Size, Endless> {
        match self.known[index] {
            State::Known(size) => return Ok(size),
            State::Open | State::Endless => return Err(Endless),
            State::New => {}
        }
        self.known[index] = State::Open;
        let balloon = &self.types[index];
        let mut sum = Size { balloons: 0, cpus: 0 };
        let mut is_endless = false;
        for component in &balloon.components {
            let Some(component) = self.by_name.get(component.balloon_type.as_str()) else { continue };
            match self.size(*component) {
                Ok(size) => {
                    sum.balloons = sum.balloons.saturating_add(size.balloons).saturating_add(1);
                    sum.cpus = sum.cpus.saturating_add(size.cpus);
                }
                Err(Endless) => is_endless = true,
            }
        }
        // Of balanced components only one is made; any may be the one.
        if balloon.component_creation == "balance-balloons" {
            sum.cpus = 0;
        }
        let size = Size { balloons: sum.balloons, cpus: sum.cpus.max(balloon.min_cpus) };
        self.known[index] = if is_endless { State::Endless } else { State::Known(size) };
        if is_endless { Err(Endless) } else { Ok(size) }
    }
}
