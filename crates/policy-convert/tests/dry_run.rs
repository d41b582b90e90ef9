//! What comes of our own documents and of upstream's is taken by the real plugins: in their dry run they build the policy on a machine that
//! upstream has recorded (two sockets, 112 CPUs) and end where there is no socket.
//!
//! Needs `NRI_BALLOONS` and `NRI_TOPOLOGY_AWARE`, the plugins' programs, `CRI_RESMGR_SOURCE`, cri-resmgr's module, and tar with bzip2.

#![expect(clippy::unwrap_used, clippy::panic, reason = "all of it is a test")]

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use extension_config::ConfigKey;
use nri_policy::Kind;
use policy_convert::convert;
use policy_convert::read::{Reading, read};
use serde_json::Value;

/// Machines that upstream has recorded, and the one taken.
const MACHINES: &str = "pkg/cri/resource-manager/policy/builtin/topology-aware/testdata/sysfs.tar.bz2";
const MACHINE: &str = "sysfs/server";
/// Whoever runs the dry run as root: nobody can touch no frequency and no interrupt.
const NOBODY: u32 = 65534;
/// What a program says when it has built its policy and found no socket (start in pkg/resmgr/nri.go @ v0.14.0).
const STARTED: &str = "failed to start NRI plugin";
/// Far more than a dry run takes (a tenth of a second); one that is still there then waits for another document.
const LONGEST: Duration = Duration::from_secs(10);

/// A copy of the plugin's program where everybody can run it: the cache of who has built it may be his alone.
fn program(kind: Kind, directory: &Path) -> PathBuf {
    let variable = match kind {
        Kind::BalloonsPolicy => "NRI_BALLOONS",
        Kind::TopologyAwarePolicy => "NRI_TOPOLOGY_AWARE",
    };
    let copy = directory.join(variable);
    if !copy.exists() {
        let built = std::env::var_os(variable).unwrap_or_else(|| panic!("{variable} names the program"));
        std::fs::copy(built, &copy).unwrap();
        std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    copy
}

fn recorded_machine(module: &Path, directory: &Path) -> PathBuf {
    let mut tar = Command::new("tar");
    tar.arg("--extract").arg("--file").arg(module.join(MACHINES)).arg("--directory").arg(directory).arg(MACHINE);
    assert!(tar.status().unwrap().success(), "tar cannot read {MACHINES}");
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).unwrap();
    let machine = directory.join(MACHINE);
    std::fs::create_dir(machine.join("proc")).unwrap();
    for name in ["stat", "interrupts"] {
        std::fs::copy(Path::new("/proc").join(name), machine.join("proc").join(name)).unwrap();
    }
    machine
}

/// All that the program says, and whether it ended.
fn dry_run(program: &Path, document: &str, machine: &Path) -> (String, bool) {
    let folder = tempfile::tempdir().unwrap();
    let inside = |name: &str| folder.path().join(name);
    std::fs::write(inside("policy.cfg"), document).unwrap();
    std::fs::create_dir(inside("state")).unwrap();
    std::fs::set_permissions(inside("state"), std::fs::Permissions::from_mode(0o700)).unwrap();
    let mut command = Command::new(program);
    if std::fs::metadata(folder.path()).unwrap().uid() == 0 {
        for path in [folder.path().to_owned(), inside("state"), inside("policy.cfg")] {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = std::fs::File::create(inside("output")).unwrap();
    let mut child = command
        .arg("--host-root")
        .arg(machine)
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

/// Name and text of our documents, and of upstream's.
fn documents(module: &Path) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut directories = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus"), module.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let is_own = path.starts_with(env!("CARGO_MANIFEST_DIR"));
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| is_own || extension == "cfg") {
                files.push(path);
            }
        }
    }
    files.sort();
    files.into_iter().map(|path| (path.display().to_string(), std::fs::read_to_string(path).unwrap())).collect()
}

#[test]
#[ignore = "needs the plugins' programs in NRI_BALLOONS and NRI_TOPOLOGY_AWARE, and cri-resmgr's module in CRI_RESMGR_SOURCE"]
fn the_plugins_take_what_comes_of_each_document() {
    let module = PathBuf::from(std::env::var_os("CRI_RESMGR_SOURCE").expect("CRI_RESMGR_SOURCE names the module"));
    let directory = tempfile::tempdir().unwrap();
    let machine = recorded_machine(&module, directory.path());
    let (mut taken, mut passed_over, mut refused) = (0, 0, Vec::new());
    for (name, text) in documents(&module) {
        let mut reading = Reading::default();
        if read(&name, &text, &ConfigKey::Default, &mut reading).is_err() {
            continue;
        }
        for (slot, policy) in convert(reading.input).unwrap().policies {
            let checked = policy.check(&[""; 0]).unwrap();
            // The recorded machine has neither.
            let frequencies = |class: &Value| {
                ["uncoreMinFreq", "uncoreMaxFreq"].iter().any(|key| class[key].as_str().is_some_and(|khz| khz != "0"))
            };
            let needs_uncore =
                checked.spec()["cpuClasses"].as_array().is_some_and(|classes| classes.iter().any(frequencies));
            if checked.needs_resctrl() || needs_uncore {
                passed_over += 1;
                continue;
            }
            let program = program(checked.kind(), directory.path());
            let (output, has_ended) = dry_run(&program, &checked.document(&slot.to_string()), &machine);
            if has_ended && output.contains(STARTED) {
                taken += 1;
            } else {
                refused.push(format!("{name}, {slot}:\n{output}"));
            }
        }
    }
    println!(
        "{taken} taken, {passed_over} ask for resctrl or the uncore driver and were passed over, {} refused",
        refused.len()
    );
    assert!(refused.is_empty() && taken >= 40, "{taken} taken\n{}", refused.join("\n"));
}
