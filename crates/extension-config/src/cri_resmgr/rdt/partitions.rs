//! What partitions ask for together. A machine without RDT does not look at it, another one refuses it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value};

use super::{KINDS, Share, numbers, of_kind, share};
use crate::cri_resmgr::report::{Finding, Report, Steps, TooComplex};
use crate::limits;

const CACHES: [&str; 2] = ["l2Allocation", "l3Allocation"];
const ALLOCATIONS: [&str; 3] = ["l2Allocation", "l3Allocation", "mbAllocation"];
/// The class that is there without being made, and its other name.
const ROOT: [&str; 2] = ["system/default", ""];

pub(super) fn check(all: &Map<String, Value>, findings: &mut Report, steps: &mut Steps) -> Result<(), TooComplex> {
    if all.len() > limits::RDT_PARTITIONS {
        let message = format!("has {} partitions, allowed: {}", all.len(), limits::RDT_PARTITIONS);
        findings.push(|| Finding::new("rdt.partitions", message));
        return Ok(());
    }
    for cache in CACHES {
        shares(all, cache, findings, steps)?;
    }
    let mut seen: HashMap<&str, &str> = HashMap::new();
    for (partition, value) in all {
        unclear_ids(value, &|| format!("rdt.partitions.{partition}"), findings, steps)?;
        for (class, wanted) in value.get("classes").and_then(Value::as_object).into_iter().flatten() {
            steps.take(1)?;
            let path = || format!("rdt.partitions.{partition}.classes.{class}");
            unclear_ids(wanted, &path, findings, steps)?;
            let name = if ROOT.contains(&class.as_str()) { ROOT[0] } else { class };
            if name != ROOT[0] && (matches!(name, "." | "..") || name.contains(['/', '\n'])) {
                findings.push(|| {
                    let message = "must be the name of a directory: not . or .., no / and no line break (the one that is there already is system/default)";
                    Finding::new(path(), message)
                });
            }
            if let Some(other) = seen.insert(name, partition) {
                let other = limits::cut(other, 40);
                findings.push(|| {
                    let message = format!("is a class of partition {other}, too; allowed: each class in one partition");
                    Finding::new(path(), message)
                });
            }
            for key in ALLOCATIONS {
                if wanted.get(key).is_some() && value.get(key).is_none() {
                    findings.push(|| {
                        let message = format!(
                            "partition {} has no {key} of which this could be a part",
                            limits::cut(partition, 40)
                        );
                        Finding::new(format!("{}.{key}", path()), message)
                    });
                }
            }
        }
    }
    Ok(())
}

/// Reports cache ids that are in several lists of one allocation with different values. The daemon goes through the lists in an order that changes
/// from start to start, and the last one counts; `all` is always the first.
fn unclear_ids(
    of: &Value,
    path: &dyn Fn() -> String,
    findings: &mut Report,
    steps: &mut Steps,
) -> Result<(), TooComplex> {
    for key in ALLOCATIONS {
        let Some(lists) = of.get(key).and_then(Value::as_object) else { continue };
        steps.take(lists.len())?;
        let mut seen: BTreeMap<u32, &Value> = BTreeMap::new();
        let each = lists.iter().filter_map(|(ids, value)| Some((numbers(ids, super::CACHE_IDS)?, value)));
        let unclear = each
            .flat_map(|(ids, value)| ids.iter().map(|id| (id, value)).collect::<Vec<_>>())
            .find(|(id, value)| seen.insert(*id, value).is_some_and(|other| other != *value));
        if let Some((id, _)) = unclear {
            findings.push(|| {
                let message = format!(
                    "has cache id {id} in several lists with different values; allowed: each in one list, beside all for the others"
                );
                Finding::new(format!("{}.{key}", path()), message)
            });
        }
    }
    Ok(())
}

type Shares = [Option<Share>; 3];

/// What one partition asks of one kind of cache.
#[derive(Default)]
struct Ask {
    by_id: BTreeMap<u32, Shares>,
    /// Of all other ids.
    rest: Shares,
    /// Whether it does not say what of the others.
    is_rest_open: bool,
}

impl Ask {
    fn read(value: Option<&Value>) -> Self {
        match value {
            None => Self::default(),
            Some(Value::Object(map)) => {
                let mut by_id = BTreeMap::new();
                for (ids, value) in map.iter().filter(|(ids, _)| *ids != "all") {
                    if let Some(ids) = numbers(ids, super::CACHE_IDS) {
                        by_id.extend(ids.iter().map(|id| (id, of(value))));
                    }
                }
                let rest = map.get("all").map_or([Some(Share::Percent(100)), None, None], of);
                Self { by_id, rest, is_rest_open: !map.contains_key("all") }
            }
            Some(value) => Self { rest: of(value), ..Self::default() },
        }
    }
}

fn of(value: &Value) -> Shares {
    match value {
        Value::Object(kinds) => KINDS.map(|kind| share(of_kind(kinds, kind)?.as_str()?)),
        _ => [value.as_str().and_then(share), None, None],
    }
}

fn shares(all: &Map<String, Value>, cache: &str, findings: &mut Report, steps: &mut Steps) -> Result<(), TooComplex> {
    let asks: Vec<(&str, Ask)> = all.iter().map(|(name, value)| (name.as_str(), Ask::read(value.get(cache)))).collect();
    let mut ids: BTreeSet<Option<u32>> = asks.iter().flat_map(|(_, ask)| ask.by_id.keys().copied().map(Some)).collect();
    // Where somebody leaves the rest open, the machine may have no other ids than those that are given.
    if !asks.iter().any(|(_, ask)| ask.is_rest_open) {
        ids.insert(None);
    }
    for id in ids {
        steps.take(asks.len())?;
        for (kind, name) in KINDS.iter().enumerate() {
            let of_id = |ask: &Ask| id.and_then(|id| ask.by_id.get(&id)).unwrap_or(&ask.rest)[kind];
            let shares: Vec<_> = asks.iter().map(|(name, ask)| (*name, of_id(ask))).collect();
            if let Some(message) = contradiction(&shares) {
                let id = id.map_or("all".to_owned(), |id| id.to_string());
                let message = format!("{cache} ({name}, cache id {id}): {message}");
                findings.push(|| Finding::new("rdt.partitions", message));
                // What follows for other ids is mostly the same.
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Why the shares of one cache do not fit together.
fn contradiction(shares: &[(&str, Option<Share>)]) -> Option<String> {
    let (mut percent, mut ways, mut are_percent, mut are_ways) = (0, 0, false, false);
    for (name, share) in shares {
        match share {
            Some(Share::Percent(share)) => (percent, are_percent) = (percent + share, true),
            Some(Share::Ways(mask)) if ways & mask != 0 => {
                return Some(format!("the ways of partition {} are those of another one, too", limits::cut(name, 40)));
            }
            Some(Share::Ways(mask)) => (ways, are_ways) = (ways | mask, true),
            Some(Share::Range) => {
                return Some(format!(
                    "partition {} asks for a range of percent, allowed in classes only",
                    limits::cut(name, 40)
                ));
            }
            None => {}
        }
    }
    if are_percent && are_ways {
        return Some("some partitions ask for percent, others for ways; allowed: one of the two".to_owned());
    }
    if percent > 100 {
        return Some(format!("all partitions together ask for {percent}%, allowed: 100%"));
    }
    let without = shares.iter().find(|(_, share)| share.is_none()).filter(|_| are_percent || are_ways);
    without.map(|(name, _)| format!("partition {} does not say its share, others do", limits::cut(name, 40)))
}
