//! What the machine must have, checked before anything is built.

use std::path::Path;

use anyhow::Context as _;

use crate::cache::{Making, making};

/// One thing that the machine lacks, and the command that mends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// What is missing.
    pub what: String,
    /// What to do.
    pub mend: String,
}

/// Programs by the Debian package that brings them.
const PROGRAMS: &[(&str, &str)] = &[
    ("systemd-nspawn", "systemd-container"),
    ("debootstrap", "debootstrap"),
    ("ip", "iproute2"),
    ("iptables", "iptables"),
    ("nsenter", "util-linux"),
    ("unshare", "util-linux"),
    ("mount", "mount"),
];

/// Somebody else may be installing something.
pub(crate) const WAIT_FOR_DPKG: &str = "DPkg::Lock::Timeout=300";

const MIN_FREE_GIB: u64 = 15;

/// All lacks at once, cheapest checks only (well under five seconds). Debian packages are not lacks where `apt-get` is at
/// hand: [`install_packages`] brings them.
#[must_use]
pub fn check(cache: &Path) -> Vec<Lack> {
    let mut lacks = Vec::new();
    let mut lack = |what: String, mend: &str| lacks.push(Lack { what, mend: mend.to_owned() });
    if !nix::unistd::geteuid().is_root() {
        lack("root: network namespaces, mounts and machines need it".into(), "sudo -E cargo xtask …");
        return lacks;
    }
    let patience = std::env::var(crate::PATIENCE).ok();
    if crate::patience(patience.as_deref()).is_none() {
        lack(
            format!("sense in {}={}", crate::PATIENCE, patience.unwrap_or_default()),
            &format!("set it to a whole number from 1 to {}, or not at all", crate::MOST_PATIENCE),
        );
    }
    if find_program("go").is_none() {
        lack(
            "the Go toolchain, which builds the Kubernetes components".into(),
            "install Go 1.26 or newer and put it on the PATH",
        );
    }
    if find_program("apt-get").is_none() {
        for (program, package) in missing_packages() {
            lack(format!("{program} on the PATH"), &format!("install the package {package}"));
        }
    }
    if !has_cgroups() {
        lack("cgroups: nothing is mounted on /sys/fs/cgroup".into(), "mount -t cgroup2 cgroup2 /sys/fs/cgroup");
    }
    if let Err(errno) = probe_mount() {
        lack(format!("the right to mount ({errno})"), "run on a machine or in a container with CAP_SYS_ADMIN");
    }
    let free = free_gib(cache);
    if free < MIN_FREE_GIB {
        lack(
            format!("disk space: {free} GiB free for {}, {MIN_FREE_GIB} needed", cache.display()),
            "free some space, or set XDG_CACHE_HOME to a larger disk",
        );
    }
    lacks
}

/// The machine has what a bed needs, or gets it.
///
/// # Errors
/// All that it lacks, or when apt-get fails.
pub(crate) async fn ensure() -> anyhow::Result<()> {
    let lacks = check(&crate::cache_dir()?);
    anyhow::ensure!(
        lacks.is_empty(),
        "this machine lacks:\n{}",
        lacks.iter().map(|lack| format!("  {} — {}", lack.what, lack.mend)).collect::<Vec<_>>().join("\n")
    );
    raise_inotify_limits(Path::new(INOTIFY))?;
    install_packages().await
}

/// Limits of inotify, which all machines of all beds share with the host: its root is theirs, too.
const INOTIFY: &str = "/proc/sys/fs/inotify";
/// What Gardener sets on each of its nodes (v1.149, `kernelconfig` of the OperatingSystemConfig). With Debian's 128 instances the third bed's kubelet
/// ends with "too many open files", and systemd of a machine comes up half.
const INOTIFY_LIMITS: [(&str, u64); 2] = [("max_user_instances", 8192), ("max_user_watches", 524_288)];

/// Raises what is lower; never lowers.
fn raise_inotify_limits(folder: &Path) -> anyhow::Result<()> {
    for (name, wanted) in INOTIFY_LIMITS {
        let file = folder.join(name);
        let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let is: u64 = text.trim().parse().with_context(|| format!("{} holds no number", file.display()))?;
        if is < wanted {
            std::fs::write(&file, wanted.to_string()).with_context(|| {
                format!("cannot raise {} from {is}: sysctl fs.inotify.{name}={wanted}", file.display())
            })?;
        }
    }
    Ok(())
}

/// Installs the Debian packages that are missing.
///
/// # Errors
/// When apt-get fails.
pub(crate) async fn install_packages() -> anyhow::Result<()> {
    let missing = missing_packages();
    let mut packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    for (file, package) in [("/bin/busybox", "busybox-static"), ("/usr/lib/cni/bridge", "containernetworking-plugins")]
    {
        if !Path::new(file).exists() {
            packages.push(package);
        }
    }
    install(&packages).await
}

/// What runc is built with.
///
/// # Errors
/// When apt-get fails.
pub(crate) async fn ensure_seccomp_headers() -> anyhow::Result<()> {
    let headers = Path::new("/usr/include/seccomp.h").exists();
    let packages = [(headers, "libseccomp-dev"), (find_program("pkg-config").is_some(), "pkg-config")];
    let missing: Vec<&str> = packages.iter().filter(|(there, _)| !there).map(|(_, package)| *package).collect();
    install(&missing).await
}

/// Installs the Debian packages of those of `programs` (program and package) that are missing.
///
/// # Errors
/// When apt-get fails.
pub async fn ensure_programs(programs: &[(&str, &str)]) -> anyhow::Result<()> {
    let missing: Vec<&str> =
        programs.iter().filter(|(program, _)| find_program(program).is_none()).map(|(_, package)| *package).collect();
    install(&missing).await
}

/// Held by whoever fetches or installs Debian's packages: a second `apt-get update` at a time fails, and beds come up side by side.
pub(crate) async fn alone_with_packages() -> anyhow::Result<Making> {
    making(&crate::cache_dir()?.join("packages")).await
}

async fn install(packages: &[&str]) -> anyhow::Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let _alone = alone_with_packages().await?;
    crate::command::run("apt-get", &["update", "-q"]).await?;
    let install = ["DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", WAIT_FOR_DPKG, "install", "-y", "-q"];
    crate::command::run("env", &[&install, &["--no-install-recommends"][..], packages].concat()).await?;
    Ok(())
}

fn missing_packages() -> Vec<(&'static str, &'static str)> {
    PROGRAMS.iter().copied().filter(|(program, _)| find_program(program).is_none()).collect()
}

pub(crate) fn find_program(name: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

fn has_cgroups() -> bool {
    std::fs::read_to_string("/proc/mounts").is_ok_and(|mounts| mounts.lines().any(|line| line.contains(" cgroup")))
}

fn probe_mount() -> nix::Result<()> {
    let Ok(dir) = tempfile::tempdir() else { return Err(nix::errno::Errno::EROFS) };
    nix::mount::mount(Some("tmpfs"), dir.path(), Some("tmpfs"), nix::mount::MsFlags::empty(), None::<&str>)?;
    nix::mount::umount(dir.path())
}

fn free_gib(dir: &Path) -> u64 {
    dir.ancestors()
        .find(|dir| dir.exists())
        .and_then(|dir| nix::sys::statvfs::statvfs(dir).ok())
        .map_or(0, |stat| stat.blocks_available() * stat.fragment_size() / (1 << 30))
}

#[cfg(test)]
mod tests {
    use super::raise_inotify_limits;

    #[test]
    fn limits_of_inotify_are_raised_and_never_lowered() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        std::fs::write(file("max_user_instances"), "128\n").unwrap();
        std::fs::write(file("max_user_watches"), "9999999\n").unwrap();
        raise_inotify_limits(folder.path()).unwrap();
        let text = |name: &str| std::fs::read_to_string(file(name)).unwrap();
        assert_eq!((text("max_user_instances").as_str(), text("max_user_watches").as_str()), ("8192", "9999999\n"));
        std::fs::write(file("max_user_watches"), "many").unwrap();
        let error = raise_inotify_limits(folder.path()).unwrap_err();
        assert!(format!("{error:#}").contains("max_user_watches holds no number"), "{error:#}");
    }
}
