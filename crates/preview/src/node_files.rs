//! Files of a node, as somebody copied them into a directory.

use std::collections::{BTreeMap, BTreeSet};

use kubelet_config::Files;
use unit_files::DIRECTORIES;

const UNIT: &str = "kubelet.service";

/// Texts by their paths below the directory. What a unit names by an absolute path is searched for at that path, else without
/// its first folders: `/var/lib/kubelet/extra_args` may lie there as `kubelet/extra_args` or `extra_args`.
#[derive(Debug, Clone, Default)]
pub struct NodeFiles(BTreeMap<String, String>);

impl FromIterator<(String, String)> for NodeFiles {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(files: I) -> Self {
        Self(files.into_iter().map(|(path, text)| (path.trim_start_matches('/').to_owned(), text)).collect())
    }
}

impl NodeFiles {
    /// The path of kubelet's unit, and the texts of the unit and its drop-ins in systemd's order: by name, whichever directory they are in.
    /// `more` is a further drop-in, name and text, in place of one of that name.
    pub(crate) fn unit<'a>(&'a self, more: Option<(&'a str, &'a str)>) -> Option<(String, Vec<&'a str>)> {
        let places: Vec<_> = DIRECTORIES.iter().map(|directory| directory.trim_start_matches('/')).collect();
        let below =
            |place: &str, name: &str| if place.is_empty() { name.to_owned() } else { format!("{place}/{name}") };
        let places = || places.iter().copied().chain([""]);
        let unit = places().map(|place| below(place, UNIT)).find(|path| self.0.contains_key(path))?;
        let mut drop_ins: BTreeMap<&str, &str> = BTreeMap::new();
        for place in places() {
            let directory = below(place, &format!("{UNIT}.d/"));
            for (path, text) in self.0.iter().filter(|(path, _)| path.starts_with(&directory)) {
                let name = &path[directory.len()..];
                if !name.contains('/') && kubelet_config::is_drop_in(name) {
                    drop_ins.entry(name).or_insert(text);
                }
            }
        }
        drop_ins.extend(more);
        let texts = std::iter::once(self.0[&unit].as_str()).chain(drop_ins.into_values()).collect();
        Some((unit, texts))
    }
}

/// The path, then the same without its first folder, without its first two, …: the nearest to the whole path counts.
fn places(path: &str) -> impl Iterator<Item = &str> {
    let path = path.trim_matches('/');
    std::iter::successors(Some(path), |rest| rest.split_once('/').map(|(_, rest)| rest))
}

impl Files for NodeFiles {
    fn text(&self, path: &str) -> Result<Option<String>, String> {
        Ok(places(path).find_map(|place| self.0.get(place)).cloned())
    }

    fn list(&self, path: &str, _most: usize) -> Result<Vec<(String, bool)>, String> {
        let names = |directory: &str| -> BTreeSet<(String, bool)> {
            let below = self.0.keys().filter_map(|path| path.strip_prefix(directory)?.strip_prefix('/'));
            let name =
                |rest: &str| rest.split_once('/').map_or((rest.to_owned(), false), |(name, _)| (name.to_owned(), true));
            below.map(name).collect()
        };
        let found = places(path).map(names).find(|names| !names.is_empty());
        Ok(found.unwrap_or_default().into_iter().collect())
    }
}
