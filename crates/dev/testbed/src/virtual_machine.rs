//! The host's own files under another kernel, for what the host's does not offer: here control groups of version 2 alone.
//!
//! Debian's kernel, emulated by QEMU: nothing of the host is needed but its files, which are read only. It is ten times slower
//! than the host, and slower yet where others work beside it.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::prerequisites::{self, WAIT_FOR_DPKG};
use crate::{Progress, cache_dir, command, node_root};

const QEMU: &str = "qemu-system-x86_64";
/// Without `-dbg` and `-unsigned`, this is the one package that it depends on.
const KERNEL_PACKAGE: &str = "linux-image-amd64";
/// What the first mounts need, before any module can be found by name.
const FIRST_MODULES: [&str; 7] =
    ["virtio_pci", "virtio_blk", "crc32c_generic", "ext4", "9pnet_virtio", "9p", "overlay"];
const MEMORY: &str = "6G";
/// Sparse: what is never written takes no space. A bed asks for 15 GiB.
const DISK_BYTES: u64 = 30 << 30;
/// Printed by `enter.sh`.
const ENDED: &str = "the job ended with status ";

/// What a machine needs that stays the same from one to the next.
#[derive(Debug)]
pub struct VirtualMachine {
    /// Debian's package, unpacked.
    kernel: PathBuf,
    /// Its name, as `uname -r` prints it.
    release: String,
    scripts: PathBuf,
}

impl VirtualMachine {
    /// Brings QEMU and a kernel out of Debian's packages where they are missing. `root` is the repository.
    ///
    /// # Errors
    /// When a package cannot be had.
    pub async fn obtain(root: &Path, progress: &Progress) -> anyhow::Result<Self> {
        prerequisites::install_packages().await?;
        prerequisites::ensure_programs(&[(QEMU, "qemu-system-x86"), ("mke2fs", "e2fsprogs")]).await?;
        let kernel = kernel(progress).await?;
        let release = only_name_in(&kernel.join("lib/modules"))?;
        Ok(Self { kernel, release, scripts: root.join("deploy/testbed/vm") })
    }

    /// Boots a machine, runs `job`, a script of the shell, as root in it, and gives each line of its console to `line`.
    ///
    /// # Errors
    /// When the machine does not come up, or the job fails.
    pub async fn run(&self, job: &str, progress: &Progress, mut line: impl FnMut(&str)) -> anyhow::Result<()> {
        let dir = tempfile::tempdir_in(self.kernel.parent().context("a kernel lies in the cache")?)?;
        let initramfs = self.initramfs(dir.path(), job).await?;
        let disk = disk(dir.path(), &node_root(progress).await?).await?;
        let mut machine = self.command(dir.path(), &initramfs, &disk)?;
        let mut machine = machine.kill_on_drop(true).spawn().context("cannot start QEMU")?;
        let console = machine.stdout.take().context("QEMU has no console")?;
        let mut lines = BufReader::new(console).split(b'\n');
        let mut status = None;
        while let Some(bytes) = lines.next_segment().await? {
            let text = String::from_utf8_lossy(&bytes);
            let text = text.trim_end();
            status = text.strip_prefix(ENDED).map(str::to_owned).or(status);
            line(text);
        }
        machine.wait().await?;
        let status = status.context("the machine ended before its job")?;
        ensure!(status == "0", "the job ended with status {status}");
        Ok(())
    }

    /// QEMU, in a mount namespace where the host's files stand a second time without what its kernel makes up: the machine
    /// would else see QEMU's own `/proc/self`.
    fn command(&self, dir: &Path, initramfs: &Path, disk: &Path) -> anyhow::Result<Command> {
        const ALONE: &str = "\
            set -e\n\
            mount --rbind / \"$1\"\n\
            for made_up in proc sys dev run; do umount --recursive --lazy \"$1/$made_up\" 2>/dev/null || true; done\n\
            shift\n\
            exec nice -n 10 \"$@\"";
        let host = dir.join("host");
        std::fs::create_dir(&host)?;
        let kernel = self.kernel.join("boot").join(format!("vmlinuz-{}", self.release));
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", ALONE, "sh"]).arg(&host).arg(QEMU);
        command.args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", MEMORY]);
        command.args(["-nodefaults", "-no-reboot", "-display", "none", "-monitor", "none", "-serial", "stdio"]);
        command.arg("-kernel").arg(kernel).arg("-initrd").arg(initramfs);
        command.args(["-append", "console=ttyS0 panic=-1 quiet mitigations=off"]);
        command.args(["-device", "virtio-rng-pci", "-device", "virtio-9p-pci,fsdev=host,mount_tag=host"]);
        let host = format!("local,id=host,path={},security_model=none,readonly=on,multidevs=remap", host.display());
        let disk = format!("file={},format=raw,if=virtio,cache=unsafe", disk.display());
        command.args(["-fsdev", &host, "-drive", &disk]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        Ok(command)
    }

    /// What the kernel starts from: busybox, the scripts, and the modules for the first mounts in the order of loading.
    async fn initramfs(&self, dir: &Path, job: &str) -> anyhow::Result<PathBuf> {
        let tree = dir.join("initramfs");
        for part in ["bin", "dev", "proc", "host", "disk", "new", "modules.d"] {
            std::fs::create_dir_all(tree.join(part))?;
        }
        std::fs::copy("/bin/busybox", tree.join("bin/busybox"))?;
        std::os::unix::fs::symlink("busybox", tree.join("bin/sh"))?;
        std::fs::copy(self.scripts.join("init.sh"), tree.join("init"))?;
        std::fs::set_permissions(tree.join("init"), std::fs::Permissions::from_mode(0o755))?;
        std::fs::copy(self.scripts.join("enter.sh"), tree.join("enter.sh"))?;
        std::fs::write(tree.join("job.sh"), job)?;
        std::fs::write(tree.join("cache"), cache_dir()?.display().to_string())?;
        let modules = self.kernel.join("lib/modules").join(&self.release);
        let index = std::fs::read_to_string(modules.join("modules.dep"))?;
        let mut list = String::new();
        for path in load_order(&index, &FIRST_MODULES)? {
            let name = path.rsplit('/').next().unwrap_or(path);
            std::fs::copy(modules.join(path), tree.join("modules.d").join(name))?;
            writeln!(list, "/modules.d/{name}")?;
        }
        std::fs::write(tree.join("modules"), list)?;
        let archive = dir.join("initramfs.cpio");
        let pack = "cd \"$1\" && find . | busybox cpio -o -H newc >\"$2\"";
        let (tree, path) = (tree.display().to_string(), archive.display().to_string());
        command::run("sh", &["-c", pack, "sh", &tree, &path]).await?;
        Ok(archive)
    }
}

/// A sparse disk that holds the file systems of workers from the start.
async fn disk(dir: &Path, node_root: &Path) -> anyhow::Result<PathBuf> {
    let path = dir.join("disk");
    std::fs::File::create(&path)?.set_len(DISK_BYTES)?;
    let nodes = node_root.parent().context("a node's root lies in the cache")?.display().to_string();
    let disk = path.display().to_string();
    command::run("mke2fs", &["-q", "-t", "ext4", "-O", "^has_journal", "-d", &nodes, &disk]).await?;
    Ok(path)
}

/// Debian's kernel, unpacked, not installed: the host's own stays what it is.
async fn kernel(progress: &Progress) -> anyhow::Result<PathBuf> {
    let target = cache_dir()?.join("vm/kernel");
    if target.is_dir() {
        return Ok(target);
    }
    let _alone = prerequisites::alone_with_packages().await?;
    if target.is_dir() {
        return Ok(target);
    }
    progress.step("getting Debian's kernel");
    let parent = target.parent().context("cache path without parent")?;
    std::fs::create_dir_all(parent)?;
    let work = tempfile::tempdir_in(parent)?;
    // apt drops its rights for a download, and has to be able to write here.
    std::fs::set_permissions(work.path(), std::fs::Permissions::from_mode(0o777))?;
    let script = format!(
        "cd \"$1\"\n\
         apt-get -q -o {WAIT_FOR_DPKG} update\n\
         apt-get -q download \"$(apt-cache depends {KERNEL_PACKAGE} | sed -n 's/^ *Depends: *//p' | head -n 1)\"\n\
         dpkg-deb --extract linux-image-*.deb unpacked\n\
         busybox depmod -b unpacked \"$(ls unpacked/lib/modules)\""
    );
    command::run("sh", &["-e", "-c", &script, "sh", &work.path().display().to_string()]).await?;
    std::fs::rename(work.path().join("unpacked"), &target)?;
    Ok(target)
}

fn only_name_in(dir: &Path) -> anyhow::Result<String> {
    let mut entries = std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let entry = entries.next().with_context(|| format!("nothing is in {}", dir.display()))??;
    Ok(entry.file_name().to_string_lossy().into_owned())
}

/// The files of `wanted` and of all they need, each after what it needs. `index` is a `modules.dep`, where a line names a
/// file, and after a colon all others for it, the last to be loaded first.
fn load_order<'a>(index: &'a str, wanted: &[&str]) -> anyhow::Result<Vec<&'a str>> {
    let mut order = Vec::new();
    for name in wanted {
        let end = format!("/{name}.ko");
        let mut lines = index.lines().filter_map(|line| line.split_once(':'));
        let (file, needs) =
            lines.find(|(file, _)| file.ends_with(&end)).with_context(|| format!("the kernel has no module {name}"))?;
        for path in needs.split_whitespace().rev().chain([file]) {
            if !order.contains(&path) {
                order.push(path);
            }
        }
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::load_order;

    #[test]
    fn modules_come_after_what_they_need() {
        let index = "k/a.ko: k/c.ko k/b.ko\nk/b.ko:\nk/c.ko: k/b.ko\nk/aa.ko:\n";
        assert_eq!(load_order(index, &["a", "c"]).unwrap(), ["k/b.ko", "k/c.ko", "k/a.ko"]);
        assert!(load_order(index, &["d"]).is_err());
    }
}
