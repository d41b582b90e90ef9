//! Node over group over default, and the static configuration below them all.

use std::collections::BTreeMap;

use extension_config::cri_resmgr::{self, CpuSet, Finding, NamedCpus, RestartBoundState};
use extension_config::names;
use sha2::{Digest, Sha256};

/// Keys and texts of a ConfigMap, in the form in which the daemon takes them.
pub type Data = BTreeMap<String, String>;

/// A configuration by name and hash: all that is ever shown of it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Source {
    /// Name of the ConfigMap, or what stands for the static configuration.
    pub name: String,
    /// First eight digits of the content's SHA-256.
    pub hash: String,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.name, self.hash)
    }
}

/// What stands for the static configuration where a ConfigMap is named.
pub(crate) const FALLBACK: &str = "the static configuration";

/// What is known of a node's group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Group {
    /// The node was not seen yet.
    #[default]
    Unknown,
    /// It is in none.
    None,
    /// Its label names this one.
    Named(String),
}

impl From<Option<String>> for Group {
    fn from(label: Option<String>) -> Self {
        label.map_or(Self::None, Self::Named)
    }
}

/// Which configuration is for a node.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Selected<'a> {
    /// What is known does not decide it.
    Unknown,
    /// This ConfigMap.
    Map(&'a str, &'a Data),
    /// None of the ConfigMaps.
    None,
}

/// Exactly one level wins, levels are never merged. `maps` is `None` before the first complete list.
pub(crate) fn select<'a>(maps: Option<&'a BTreeMap<String, Data>>, node: &str, group: &Group) -> Selected<'a> {
    let Some(maps) = maps else { return Selected::Unknown };
    let find = |level: &str| {
        maps.get_key_value(&format!("{}{level}", names::DYNAMIC_CONFIG_MAP_PREFIX))
            .map(|(name, data)| Selected::Map(name, data))
    };
    if let Some(own) = find(&format!("node.{node}")) {
        return own;
    }
    let of_group = match group {
        Group::Unknown => return Selected::Unknown,
        Group::None => None,
        Group::Named(group) => find(&format!("group.{group}")),
    };
    of_group.or_else(|| find("default")).unwrap_or(Selected::None)
}

/// Names a content.
pub(crate) fn hash(data: &Data) -> String {
    let mut hasher = Sha256::new();
    for (key, text) in data {
        // Lengths, so that no two contents look alike.
        for part in [key, text] {
            hasher.update(part.len().to_le_bytes());
            hasher.update(part.as_bytes());
        }
    }
    hex::encode(hasher.finalize())[..8].to_owned()
}

/// A content without faults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Read {
    /// In canonical form: what the daemon is given, and what is compared.
    pub(crate) data: Data,
    /// What of it stays in a running daemon.
    pub(crate) kept: RestartBoundState,
    /// Keys that the daemon is not given, each with the reason.
    pub(crate) left_out: Vec<String>,
    /// What works, but perhaps not as its author thinks.
    pub(crate) warnings: Vec<String>,
    /// CPUs that it names by number.
    cpus: Vec<NamedCpus>,
}

impl Read {
    /// Keys with CPUs that a node does not have, each with what is wrong; none where the node's CPUs are not known.
    pub(crate) fn absent(&self, node: Option<&CpuSet>) -> Vec<String> {
        let Some(node) = node else { return Vec::new() };
        self.cpus.iter().filter_map(|named| named.absent(node)).collect()
    }
}

/// Reads a content. Error: the keys that are wrong, without their values.
pub(crate) fn read(data: &Data) -> Result<Read, Vec<String>> {
    match cri_resmgr::check_modules(data) {
        Ok(good) => Ok(Read {
            data: good.by_module(),
            kept: good.kept(),
            left_out: good.left_out.iter().map(shown).collect(),
            warnings: good.warnings.iter().map(shown).collect(),
            cpus: good.named_cpus(),
        }),
        Err(findings) => Err(findings.into_iter().map(|finding| finding.path).collect()),
    }
}

fn shown(finding: &Finding) -> String {
    format!("{} {}", finding.path, finding.message).trim_start().to_owned()
}

/// The static configuration in the form in which a running daemon takes it.
pub(crate) fn modules_of(text: &str) -> Option<Data> {
    Some(cri_resmgr::check(text).ok()?.by_module())
}

#[cfg(test)]
mod tests {
    use super::{Group, Selected, hash, select};
    use std::collections::BTreeMap;

    #[test]
    fn selection_of_the_config_map_for_every_combination_of_levels() {
        let content = |level: &str| BTreeMap::from([("policy".to_owned(), level.to_owned())]);
        let levels = ["cri-resmgr-config.node.n1", "cri-resmgr-config.group.g1", "cri-resmgr-config.default"];
        let others =
            ["cri-resmgr-config.node.n2", "cri-resmgr-config.group.g2", "cri-resmgr-config.group.", "unrelated"];
        let named = |name: &str| Group::Named(name.to_owned());
        let groups = [Group::Unknown, Group::None, named("g1"), named("g9"), named("default")];
        for present in 0..8_usize {
            let there: Vec<&str> =
                levels.iter().enumerate().filter(|(bit, _)| present & (1 << bit) != 0).map(|(_, l)| *l).collect();
            let maps: BTreeMap<_, _> =
                there.iter().chain(&others).map(|name| ((*name).to_owned(), content(name))).collect();
            for group in &groups {
                let has = |level: &str| there.contains(&level);
                let wanted = if has(levels[0]) {
                    Some(levels[0])
                } else if *group == Group::Unknown {
                    assert_eq!(select(Some(&maps), "n1", group), Selected::Unknown);
                    continue;
                } else if *group == named("g1") && has(levels[1]) {
                    Some(levels[1])
                } else if has(levels[2]) {
                    Some(levels[2])
                } else {
                    None
                };
                let selected = select(Some(&maps), "n1", group);
                match wanted {
                    Some(name) => assert_eq!(selected, Selected::Map(name, &content(name)), "{there:?} {group:?}"),
                    None => assert_eq!(selected, Selected::None, "{there:?} {group:?}"),
                }
                assert_eq!(select(None, "n1", group), Selected::Unknown);
            }
        }
    }

    #[test]
    fn hash_differs_for_contents_that_differ() {
        let data = |pairs: &[(&str, &str)]| {
            hash(&pairs.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect())
        };
        assert_eq!(data(&[("a", "b")]), data(&[("a", "b")]));
        assert_ne!(data(&[("a", "bc")]), data(&[("ab", "c")]));
        assert_ne!(data(&[("a", "b"), ("c", "d")]), data(&[("a", "bcd")]));
    }
}
