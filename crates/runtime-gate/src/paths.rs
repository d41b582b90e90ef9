//! Where things are on the host.

use std::path::{Path, PathBuf};

use extension_config::names::node;

/// Put before every path; only tests set it.
const ROOT_VARIABLE: &str = "CRI_RESMGR_GATE_ROOT";

/// The files and sockets that this program touches.
#[derive(Debug)]
pub(crate) struct Paths {
    pub(crate) relay_socket: PathBuf,
    pub(crate) containerd_socket: PathBuf,
    pub(crate) runtime_env: PathBuf,
    pub(crate) plugin_pid_file: PathBuf,
}

impl Paths {
    pub(crate) fn from_environment() -> Self {
        let root = std::env::var_os(ROOT_VARIABLE).unwrap_or_else(|| "/".into());
        Self::below(Path::new(&root))
    }

    fn below(root: &Path) -> Self {
        let place = |path: &str| root.join(path.trim_start_matches('/'));
        Self {
            relay_socket: place(node::RELAY_SOCKET),
            containerd_socket: place(node::CONTAINERD_SOCKET),
            runtime_env: place(node::RUNTIME_ENV),
            plugin_pid_file: place(node::PLUGIN_PID_FILE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_below_the_root_are_those_of_names() {
        let paths = Paths::below(Path::new("/"));
        assert_eq!(paths.relay_socket, Path::new(node::RELAY_SOCKET));
        assert_eq!(paths.runtime_env, Path::new(node::RUNTIME_ENV));
        assert_eq!(paths.containerd_socket, Path::new(node::CONTAINERD_SOCKET));
        assert_eq!(paths.plugin_pid_file, Path::new(node::PLUGIN_PID_FILE));
    }
}
