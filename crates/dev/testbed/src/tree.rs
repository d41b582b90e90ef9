//! A machine's file tree before and after: content, mode, owner and link target of every path (modification times aside).

use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use sha2::Digest as _;

/// Where the project promises to leave no trace.
pub const ROOTS: &[&str] = &["/etc", "/opt", "/usr", "/var/lib", "/run"];

/// Paths that change by themselves, each with its owner and why. `*` at the end stands for anything.
pub const VOLATILE: &[(&str, &str)] = &[
    ("/run/containerd/*", "containerd: state of tasks and its sockets"),
    ("/var/lib/containerd/*", "containerd: content and snapshots of images and pods"),
    ("/run/runc/*", "runc: state of containers"),
    ("/run/netns*", "containerd: network namespaces of pods"),
    ("/var/lib/cni*", "CNI: addresses and results of pods; made with the first pod"),
    ("/var/lib/kubelet/*", "kubelet: pods, plugins, checkpoints, and its certificates"),
    ("/run/systemd/*", "systemd: run-time state of units, sessions and transient scopes"),
    ("/run/udev/*", "udev: devices of pods' network links"),
    ("/run/dbus/*", "dbus: socket and containers"),
    ("/run/user*", "logind: users' run-time folders"),
    ("/run/utmp", "systemd: log of boots"),
    ("/run/log/*", "journald: volatile journal"),
    ("/run/xtables.lock", "iptables: its lock"),
    ("/run/credentials/*", "systemd: credentials of units"),
    ("/run/lock*", "locks of others"),
    ("/run/initctl", "systemd: its fifo"),
    ("/run/flannel*", "CNI"),
    ("/var/lib/systemd/*", "systemd: random seed, timers' stamps, coredumps"),
    ("/var/lib/private*", "systemd: state of dynamic users"),
    ("/var/lib/nfs*", "kernel"),
    ("/etc/machine-id", "systemd: set at first boot"),
    ("/etc/resolv.conf", "systemd-nspawn: copied at boot"),
    ("/etc/mtab", "systemd: link made at boot"),
    ("/run/host*", "systemd-nspawn: what the host passes in"),
    ("/run/proc*", "systemd-nspawn"),
    ("/run/mount*", "libmount: its table"),
    ("/run/motd*", "login messages"),
    ("/run/sudo*", "sudo"),
    ("/run/shm*", "boot"),
    ("/run/agetty.reload", "agetty"),
    ("/run/calico*", "CNI"),
];

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    mode: u32,
    owner: (u32, u32),
    what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Folder,
    File(String),
    Link(String),
    Other(&'static str),
}

/// Paths inside the machine and what stands there.
pub type Snapshot = BTreeMap<String, Node>;

/// Reads the tree below [`ROOTS`] of the machine whose root folder is `machine`, volatile paths left out.
///
/// # Errors
/// When something cannot be read that did not vanish meanwhile.
pub fn snapshot(machine: &Path) -> anyhow::Result<Snapshot> {
    let mut nodes = Snapshot::new();
    for root in ROOTS {
        visit(machine, root, &mut nodes)?;
    }
    Ok(nodes)
}

/// What differs, one line for each path, or nothing.
#[must_use]
pub fn diff(before: &Snapshot, after: &Snapshot) -> Vec<String> {
    let mut lines = Vec::new();
    for (path, node) in before {
        match after.get(path) {
            None => lines.push(format!("- {path} is gone")),
            Some(now) if now != node => lines.push(format!("~ {path} was {node:?}, is {now:?}")),
            Some(_) => {}
        }
    }
    lines.extend(after.keys().filter(|path| !before.contains_key(*path)).map(|path| format!("+ {path} is new")));
    lines
}

fn is_volatile(path: &str) -> bool {
    VOLATILE.iter().any(|(pattern, _)| match pattern.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => path == *pattern,
    })
}

fn visit(machine: &Path, path: &str, nodes: &mut Snapshot) -> anyhow::Result<()> {
    if is_volatile(path) {
        return Ok(());
    }
    let real = machine.join(path.trim_start_matches('/'));
    let meta = match std::fs::symlink_metadata(&real) {
        Ok(meta) => meta,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let kind = meta.file_type();
    let what = if kind.is_dir() {
        What::Folder
    } else if kind.is_symlink() {
        What::Link(std::fs::read_link(&real)?.display().to_string())
    } else if kind.is_file() {
        // The distribution's programs and libraries are many and large; size and time of change distinguish them.
        let digest = if path.starts_with("/usr/") {
            format!("{} bytes, changed {}", meta.len(), meta.mtime())
        } else {
            hex::encode(sha2::Sha256::digest(std::fs::read(&real)?))
        };
        What::File(digest)
    } else if kind.is_socket() {
        What::Other("socket")
    } else if kind.is_fifo() {
        What::Other("fifo")
    } else {
        What::Other("device")
    };
    let is_folder = what == What::Folder;
    nodes.insert(path.to_owned(), Node { mode: meta.mode() & 0o7777, owner: (meta.uid(), meta.gid()), what });
    if is_folder {
        for child in std::fs::read_dir(&real)? {
            visit(machine, &format!("{path}/{}", child?.file_name().to_string_lossy()), nodes)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::{diff, snapshot};

    #[test]
    fn every_kind_of_change_is_seen_and_volatile_paths_are_not() -> anyhow::Result<()> {
        let machine = tempfile::tempdir()?;
        let at = |path: &str| machine.path().join(path);
        std::fs::create_dir_all(at("etc/a"))?;
        std::fs::create_dir_all(at("run/containerd"))?;
        for file in ["etc/gone", "etc/text", "etc/mode"] {
            std::fs::write(at(file), "1")?;
        }
        std::os::unix::fs::symlink("x", at("etc/link"))?;
        let before = snapshot(machine.path())?;
        assert!(diff(&before, &snapshot(machine.path())?).is_empty());

        std::fs::remove_file(at("etc/gone"))?;
        std::fs::write(at("etc/text"), "2")?;
        std::fs::set_permissions(at("etc/mode"), std::fs::Permissions::from_mode(0o600))?;
        std::fs::remove_file(at("etc/link"))?;
        std::os::unix::fs::symlink("y", at("etc/link"))?;
        std::fs::write(at("etc/a/new"), "")?;
        std::fs::write(at("run/containerd/x"), "")?;
        let lines = diff(&before, &snapshot(machine.path())?);
        let paths: Vec<&str> = lines.iter().filter_map(|line| line.split(' ').nth(1)).collect();
        assert_eq!(paths, ["/etc/gone", "/etc/link", "/etc/mode", "/etc/text", "/etc/a/new"]);
        Ok(())
    }
}
