//! Tables of the rules, by whole configurations. `tests/contract` has the same rules for the real binaries.

mod hostile;
mod rules;
mod written;

use std::time::Duration;

use crate::imports::split;
use crate::{Config, ConfigError, ContainerdVersion, DropIn, Nri, Refusal, Sources, Timeouts, Wanted, assess, drop_in};

const MAIN: &str = "/etc/containerd/config.toml";
const OURS: &str = "/etc/containerd/conf.d/zz-gardener-extension-cri-resmgr.toml";
/// One of each set of rules.
const VERSIONS: [&str; 3] = ["v1.7.34", "2.2.9~ds1", "v2.3.7+unknown"];

fn version(text: &str) -> ContainerdVersion {
    text.parse().unwrap()
}

/// The configuration of these files; the first is the main one.
fn config(containerd: &str, tree: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let mut sources = Sources::new(tree[0].0, Some(tree[0].1))?;
    while let Some(wanted) = sources.wanted()? {
        match wanted {
            Wanted::File(path) => sources.file(&path, text_of(tree, &path))?,
            Wanted::Names(directory) => {
                let names = tree.iter().map(|(path, _)| split(path)).filter(|(above, _)| *above == directory);
                sources.names(&directory, names.map(|(_, name)| name.to_owned()).collect())?;
            }
        }
    }
    Config::read(version(containerd), &sources)
}

fn text_of<'a>(tree: &[(&str, &'a str)], path: &str) -> Option<&'a str> {
    tree.iter().find(|(known, _)| *known == path).map(|(_, text)| *text)
}

/// A main file that imports drop-ins and says this about NRI.
fn main_file(version: u8, nri: &str) -> String {
    format!(
        "version = {version}\nimports = ['/etc/containerd/conf.d/*.toml']\n[plugins.'io.containerd.nri.v1.nri']\n{nri}\n"
    )
}

/// What NRI is with a main file of version 2 that says this.
fn with_table(containerd: &str, nri: &str) -> Result<Nri, ConfigError> {
    config(containerd, &[(MAIN, &main_file(2, nri))]).map(|config| assess(&config, OURS))
}

fn usable(request: u64, registration: u64) -> Nri {
    Nri::Usable {
        socket: "/var/run/nri/nri.sock".to_owned(),
        request_timeout: Duration::from_secs(request),
        registration_timeout: Duration::from_secs(registration),
    }
}

fn seconds(request: Option<u64>, registration: Option<u64>) -> Timeouts {
    Timeouts { request: request.map(Duration::from_secs), registration: registration.map(Duration::from_secs) }
}

fn written(containerd: &str, tree: &[(&str, &str)], wanted: &Timeouts) -> Result<Option<DropIn>, Refusal> {
    drop_in(&config(containerd, tree)?, OURS, wanted)
}
