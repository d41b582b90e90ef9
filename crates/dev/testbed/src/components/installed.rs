//! Programs that the machine has already, and whether they will do.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Progress;
use crate::command;
use crate::prerequisites::find_program;

/// A program that does not print its version by then is not the one that it is called like.
const PATIENCE: Duration = Duration::from_secs(10);

/// What becomes of a program that was found.
#[derive(Debug, PartialEq, Eq)]
enum Assessment {
    Taken,
    /// Not taken, for this reason.
    Refused(String),
}

/// The program `name` on the PATH, if it will do for the `pinned` version. Says what it decided.
pub(super) async fn on_the_path(name: &str, pinned: &str, progress: &Progress) -> Option<PathBuf> {
    let path = find_program(name)?;
    let said = version_text(&path, name).await.unwrap_or_default();
    let assessment = judge(pinned, &said);
    progress.step(&match &assessment {
        Assessment::Taken => format!("taking {name} from the PATH: {} is as good as {pinned}", path.display()),
        Assessment::Refused(why) => format!("not taking {}: {why}", path.display()),
    });
    (assessment == Assessment::Taken).then_some(path)
}

async fn version_text(path: &Path, name: &str) -> anyhow::Result<String> {
    // Helm alone has no such flag.
    let words: &[&str] = if name == "helm" { &["version", "--short"] } else { &["--version"] };
    let output = tokio::time::timeout(PATIENCE, command::output(&path.display().to_string(), words)).await??;
    Ok(output.stdout)
}

/// The same minor version, and no older patch: a patch brings corrections alone, which do no harm, and the beds were tried with
/// those of the pinned one. Another minor version behaves in other ways, and a test would fail for that.
fn judge(pinned: &str, said: &str) -> Assessment {
    let Some(wanted) = version_in(pinned) else { return Assessment::Refused(format!("{pinned} is no version")) };
    let Some(found) = version_in(said) else { return Assessment::Refused("it does not print its version".to_owned()) };
    if found[..2] == wanted[..2] && found[2] >= wanted[2] {
        return Assessment::Taken;
    }
    let [major, minor, patch] = found;
    Assessment::Refused(format!("it is {major}.{minor}.{patch}, and {pinned} or a later patch of that is needed"))
}

/// The first word that is a released version: `Kubernetes v1.34.4`, `etcd Version: 3.6.16`, `v3.22.0+g1234567`. One
/// before a release (`-rc.0`) is none.
fn version_in(text: &str) -> Option<[u64; 3]> {
    text.split_whitespace().find_map(|word| {
        let number = word.strip_prefix('v').unwrap_or(word).split('+').next()?;
        let mut parts = number.split('.').map(str::parse);
        let version = [parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?];
        parts.next().is_none().then_some(version)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_patch_of_the_same_minor_version_will_do() {
        for said in [
            "Kubernetes v1.34.4\n",
            "Kubernetes v1.34.11",
            "etcd Version: 1.34.5\nGit SHA: 1.2\nGo Version: go1.24.0",
            "v1.34.4+g1234567",
        ] {
            assert_eq!(judge("v1.34.4", said), Assessment::Taken, "{said}");
        }
    }

    #[test]
    fn another_or_no_version_will_not() {
        for (said, why) in [
            ("Kubernetes v1.34.3", "it is 1.34.3"),
            ("Kubernetes v1.35.4", "it is 1.35.4"),
            ("Kubernetes v1.33.9", "it is 1.33.9"),
            ("v2.34.4", "it is 2.34.4"),
            ("Kubernetes v1.34.5-rc.0", "does not print"),
            ("unknown flag: --version", "does not print"),
            ("", "does not print"),
        ] {
            let assessment = judge("v1.34.4", said);
            assert!(
                matches!(&assessment, Assessment::Refused(reason) if reason.contains(why)),
                "{said}: {assessment:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_program_is_asked_for_its_version() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        std::fs::write(&path, "#!/bin/sh\necho \"$1 1.2.3\"\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(version_text(&path, "etcd").await.unwrap(), "--version 1.2.3\n");
        assert_eq!(version_text(&path, "helm").await.unwrap(), "version 1.2.3\n");
    }
}
