//! Where the stand-in for a policy places containers: the little of balloons and topology-aware that a test of what is around them needs.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use fake_nri_runtime::Cpu;
use fake_nri_runtime::machine::Machine;
use fake_nri_runtime::stand_in::Rule;
use serde_json::Value;

/// Whose containers run on the reserved CPUs.
const SYSTEM: &str = "kube-system";
/// The stand-in for topology-aware sets shares, as that policy does for what is not exclusive: others than kubelet.
const SHARES: u64 = 1536;

/// Numbers as the kernel lists them: `0-2,5`.
pub(super) fn list(numbers: impl IntoIterator<Item = usize>) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for number in numbers.into_iter().collect::<BTreeSet<_>>() {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let text =
        |(first, last): (usize, usize)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    ranges.into_iter().map(text).collect::<Vec<_>>().join(",")
}

fn numbers(text: &str) -> anyhow::Result<BTreeSet<usize>> {
    let mut found = BTreeSet::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        found.extend(first.trim().parse::<usize>()?..=last.trim().parse()?);
    }
    Ok(found)
}

/// One made for a document.
#[derive(Debug)]
pub(super) struct StandIn {
    machine: Machine,
    reserved: BTreeSet<usize>,
    /// Namespaces and their CPUs.
    types: Vec<(Vec<String>, BTreeSet<usize>)>,
    others: BTreeSet<usize>,
    shares: Option<u64>,
}

impl StandIn {
    /// Reads a policy's document.
    ///
    /// # Errors
    /// When it is none, or the machine has not the CPUs that it names.
    pub(super) fn of(document: &str, machine: Machine) -> anyhow::Result<Self> {
        let document: Value = serde_saphyr::from_str(document).context("the document is no YAML")?;
        let all: BTreeSet<usize> = (0..machine.nodes * machine.cpus_per_node).collect();
        let spec = &document["spec"];
        let reserved = match &spec["reservedResources"]["cpu"] {
            Value::String(text) => match text.strip_prefix("cpuset:") {
                Some(list) => numbers(list)?,
                // A number of CPUs or of thousandths: the first one.
                None => all.iter().copied().take(1).collect(),
            },
            _ => BTreeSet::new(),
        };
        let absent = list(reserved.difference(&all).copied());
        ensure!(absent.is_empty(), "reserved CPUs {absent} are not among the CPUs {} of this node", list(all.clone()));
        let mut free: Vec<usize> = all.difference(&reserved).copied().collect();
        let mut types = Vec::new();
        for kind in spec["balloonTypes"].as_array().into_iter().flatten() {
            let namespaces = kind["namespaces"].as_array().into_iter().flatten();
            let namespaces: Vec<String> = namespaces.filter_map(Value::as_str).map(str::to_owned).collect();
            let count = kind["maxCPUs"].as_u64().filter(|count| *count > 0).unwrap_or(1);
            let count = usize::try_from(count)?.min(free.len());
            if !namespaces.is_empty() {
                types.push((namespaces, free.drain(..count).collect()));
            }
        }
        let shares = (document["kind"] == "TopologyAwarePolicy").then_some(SHARES);
        Ok(Self { machine, reserved, types, others: free.into_iter().collect(), shares })
    }
}

impl Rule for StandIn {
    fn place(&self, namespace: &str) -> Cpu {
        let of_type = self.types.iter().find(|(namespaces, _)| namespaces.iter().any(|name| name == namespace));
        let cpus = match of_type {
            _ if namespace == SYSTEM => &self.reserved,
            Some((_, cpus)) => cpus,
            None => &self.others,
        };
        let mems = list(cpus.iter().map(|cpu| cpu / self.machine.cpus_per_node));
        let shares = self.shares.filter(|_| namespace != SYSTEM);
        Cpu { cpus: list(cpus.iter().copied()), mems, shares, ..Cpu::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "kind: BalloonsPolicy\nspec:\n  reservedResources: {cpu: 'cpuset:6'}\n  balloonTypes:\n  - name: reserved\n  - {name: work, namespaces: [default], maxCPUs: 2}\n";

    #[test]
    fn namespaces_have_the_cpus_of_their_types_and_the_system_the_reserved_ones() {
        let rule = StandIn::of(DOCUMENT, Machine::default()).unwrap();
        let place = |namespace: &str| {
            let cpu = rule.place(namespace);
            (cpu.cpus, cpu.mems, cpu.shares)
        };
        assert_eq!(place("kube-system"), ("6".into(), "1".into(), None));
        assert_eq!(place("default"), ("0-1".into(), "0".into(), None));
        assert_eq!(place("other"), ("2-5,7".into(), "0-1".into(), None));
        let text = DOCUMENT.replace("BalloonsPolicy", "TopologyAwarePolicy");
        assert_eq!(StandIn::of(&text, Machine::default()).unwrap().place("default").shares, Some(SHARES));
    }

    #[test]
    fn a_document_that_names_absent_cpus_is_refused() {
        let small = Machine { nodes: 1, ..Machine::default() };
        let error = StandIn::of(DOCUMENT, small).unwrap_err().to_string();
        assert_eq!(error, "reserved CPUs 6 are not among the CPUs 0-3 of this node");
        assert!(StandIn::of("{", small).is_err());
    }
}
