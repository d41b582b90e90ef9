//! Small documents: each valid one passes, each broken one has the finding that its first line names.
//!
//! What passes is also shown to the real binaries in their dry run: without a socket they build the policy on this machine's CPUs and end.
//! Needs them in one folder, under upstream's names; and a machine with two CPUs, 0 and 1:
//! `NRI_PLUGINS_BINARIES=/path cargo test -p nri-policy --test corpus -- --ignored --nocapture`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "all of it is a test")]

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nri_policy::{Checked, Kind, Policy};

const FINDING: &str = "# finding: ";
const ACCEPT: &str = "# accept: ";
/// Whoever runs the dry run as root: nobody can touch no frequency and no interrupt.
const NOBODY: u32 = 65534;
/// What a binary says when it has built its policy from the document and found no socket (start in pkg/resmgr/nri.go; "policy started" is
/// said by the balloons policy only).
const STARTED: &str = "failed to start NRI plugin";
/// Far more than a dry run takes; one that is still there then waits for another document.
const LONGEST: Duration = Duration::from_secs(60);

/// Name, text, policy and accepted ids of each document.
fn documents(folder: &str) -> Vec<(String, String, Policy, Vec<String>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(folder);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            let policy = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let accept = text.lines().filter_map(|line| line.strip_prefix(ACCEPT)).map(ToOwned::to_owned).collect();
            (path.file_name().unwrap().to_string_lossy().into_owned(), text, policy, accept)
        })
        .collect()
}

fn valid() -> Vec<(String, Checked)> {
    documents("valid")
        .into_iter()
        .map(|(name, _, policy, accept)| {
            let checked = policy.check(&accept).unwrap_or_else(|findings| panic!("{name}: {findings:#?}"));
            (name, checked)
        })
        .collect()
}

#[test]
fn valid_documents_pass() {
    let valid = valid();
    for kind in Kind::ALL {
        assert!(valid.iter().filter(|(_, checked)| checked.kind() == kind).count() >= 2, "{kind}");
    }
}

#[test]
fn broken_documents_have_the_finding_that_they_name() {
    let broken = documents("broken");
    assert!(broken.len() > 10);
    for (name, text, policy, accept) in broken {
        let expected = text.lines().next().and_then(|line| line.strip_prefix(FINDING));
        let expected = expected.unwrap_or_else(|| panic!("{name}: its first line names no finding"));
        let findings = policy.check(&accept).err().unwrap_or_else(|| panic!("{name} passes"));
        assert!(findings.iter().any(|finding| finding.to_string().contains(expected)), "{name}: {findings:#?}");
        // The finding is the only one, but for the key that is missing because another stands in its place.
        assert!(findings.len() <= 2, "{name}: {findings:#?}");
    }
}

/// All that the binary says, and whether it ended.
fn dry_run(binary: &Path, document: &str) -> (String, bool) {
    let folder = tempfile::tempdir().unwrap();
    let inside = |name: &str| folder.path().join(name);
    std::fs::write(inside("policy.cfg"), document).unwrap();
    std::fs::create_dir(inside("state")).unwrap();
    std::fs::set_permissions(inside("state"), std::fs::Permissions::from_mode(0o700)).unwrap();
    let mut command = Command::new(binary);
    if std::fs::metadata(folder.path()).unwrap().uid() == 0 {
        for path in [folder.path().to_owned(), inside("state"), inside("policy.cfg")] {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = std::fs::File::create(inside("output")).unwrap();
    let mut child = command
        .arg("--config-file")
        .arg(inside("policy.cfg"))
        .arg("--nri-socket")
        .arg(inside("no.sock"))
        .arg("--state-dir")
        .arg(inside("state"))
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .spawn()
        .unwrap();
    let begin = Instant::now();
    let has_ended = loop {
        if child.try_wait().unwrap().is_some() {
            break true;
        }
        if begin.elapsed() > LONGEST {
            child.kill().unwrap();
            child.wait().unwrap();
            break false;
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "the test is a thread of its own that waits for another program"
        )]
        std::thread::sleep(Duration::from_millis(50));
    };
    (String::from_utf8_lossy(&std::fs::read(inside("output")).unwrap()).into_owned(), has_ended)
}

#[test]
#[ignore = "needs the plugins' binaries in NRI_PLUGINS_BINARIES"]
fn the_binaries_start_with_each_valid_document() {
    let folder = std::env::var_os("NRI_PLUGINS_BINARIES")
        .unwrap_or_else(|| panic!("NRI_PLUGINS_BINARIES is not set; it names the folder with the plugins' binaries"));
    let binary = |kind| {
        Path::new(&folder).join(match kind {
            Kind::BalloonsPolicy => "nri-resource-policy-balloons",
            Kind::TopologyAwarePolicy => "nri-resource-policy-topology-aware",
        })
    };
    let mut failures = Vec::new();
    for (name, checked) in valid() {
        let (output, has_ended) = dry_run(&binary(checked.kind()), &checked.document(&name));
        let has_started = output.contains(STARTED);
        println!("{name}: started {has_started}, ended {has_ended}");
        if !has_started || !has_ended {
            failures.push(format!("{name}:\n{output}"));
        }
    }
    // The same binary says no where it does look.
    let wrong = r#"{"apiVersion":"config.nri/v1alpha1","kind":"BalloonsPolicy","metadata":{"name":"x"},"spec":{"reservedResources":{"cpu":"0-3"}}}"#;
    let (output, _) = dry_run(&binary(Kind::BalloonsPolicy), wrong);
    assert!(!output.contains(STARTED), "a bare range is taken:\n{output}");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
