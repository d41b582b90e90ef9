//! Plugins that containerd starts itself, from the directory `plugin_path` (`discoverPlugins` and `ParsePluginName` of NRI 0.6.1, 0.8.0,
//! 0.11.0 and 0.12.0).

/// What is in the directory of plugins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prelaunched {
    /// What containerd starts, in the order of the names.
    pub plugins: Vec<PrelaunchedPlugin>,
    /// Names that are no plugin's. With a single one of them the CRI service does not start.
    pub misnamed: Vec<String>,
}

/// A plugin that containerd starts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PrelaunchedPlugin {
    /// Its place among the plugins, two digits.
    pub index: String,
    /// Its name without the index.
    pub name: String,
}

/// Distinguishes plugins from misnamed files. `names` are those of everything in the directory that is no directory and has an executable bit, links
/// not followed; a link so counts as executable, whatever it points to.
#[must_use]
pub fn prelaunched(names: &[String]) -> Prelaunched {
    let mut found = Prelaunched::default();
    for name in names {
        match name.split_once('-') {
            Some((index, name)) if index.len() == 2 && index.bytes().all(|byte| byte.is_ascii_digit()) => {
                found.plugins.push(PrelaunchedPlugin { index: index.to_owned(), name: name.to_owned() });
            }
            _ => found.misnamed.push(name.clone()),
        }
    }
    found.plugins.sort();
    found.misnamed.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::{PrelaunchedPlugin, prelaunched};

    #[test]
    fn a_plugin_has_two_digits_and_a_name() {
        let names =
            ["90-resource-policy", "00-logger", "10-", "1-a", "100-a", "a0-b", "logger", "", "README.md", "٠١-a"];
        let found = prelaunched(&names.map(str::to_owned));
        let plugin = |index: &str, name: &str| PrelaunchedPlugin { index: index.to_owned(), name: name.to_owned() };
        assert_eq!(found.plugins, [plugin("00", "logger"), plugin("10", ""), plugin("90", "resource-policy")]);
        assert_eq!(found.misnamed, ["", "1-a", "100-a", "README.md", "a0-b", "logger", "٠١-a"]);
        assert_eq!(prelaunched(&[]).misnamed, Vec::<String>::new());
    }
}
