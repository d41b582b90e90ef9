//! Does the real daemon agree with our verdict on the corpus?
//!
//! Needs the daemon's binary: `CRI_RESMGR=/path/to/cri-resmgr cargo test -p extension-config --test daemon -- --ignored`.
//! It starts with each configuration, a valid one in the form in which it travels, and without a runtime; that it begins to wait for one is its yes, that it ends is its no.
//! Where it accepts what we refuse, the file says `# daemon: accepts`: it ignores unknown deep keys, takes the last of two
//! equal keys, and looks at some values only when they are used.

mod upstream;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const LENIENT: &str = "# daemon: accepts";
const NOT_ASKED: &str = "# daemon: not asked";

/// On this machine, or on the one whose `/sys` is recorded below `machine`.
fn accepts(daemon: &Path, config: &Path, machine: Option<&Path>) -> std::io::Result<bool> {
    let directory = tempfile::tempdir()?;
    let inside = |name: &str| directory.path().join(name);
    let mut command = Command::new(daemon);
    if let Some(machine) = machine {
        command.arg("--host-root").arg(machine);
    }
    let mut child = command
        .arg("--force-config")
        .arg(config)
        .arg("--runtime-socket")
        .arg(inside("none.sock"))
        .arg("--image-socket")
        .arg(inside("none.sock"))
        .arg("--relay-socket")
        .arg(inside("relay.sock"))
        .arg("--relay-dir")
        .arg(inside("state"))
        .arg("--pid-file")
        .arg(inside("pid"))
        .args(["--agent-socket", "disabled", "--config-socket", "disabled"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let lines = child.stderr.take().map(|stderr| BufReader::new(stderr).lines());
    let waits =
        lines.is_some_and(|lines| lines.map_while(Result::ok).any(|line| line.contains("waiting for image services")));
    child.kill()?;
    child.wait()?;
    Ok(waits)
}

/// A configuration as the agent writes it: in canonical form, below a comment.
fn accepts_canonical(daemon: &Path, canonical: &str, machine: Option<&Path>) -> std::io::Result<bool> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("canonical.cfg");
    std::fs::write(&file, format!("# a comment\n{canonical}"))?;
    accepts(daemon, &file, machine)
}

#[test]
#[ignore = "needs the daemon's binary in CRI_RESMGR"]
fn check_agrees_with_the_daemon_on_the_whole_corpus() {
    let daemon = PathBuf::from(std::env::var_os("CRI_RESMGR").expect("CRI_RESMGR names the daemon's binary"));
    let mut differences = Vec::new();
    for kind in ["valid", "broken"] {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(kind);
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            if text.lines().any(|line| line.starts_with(NOT_ASKED)) {
                continue;
            }
            let expected = kind == "valid" || text.lines().any(|line| line == LENIENT);
            let found = match extension_config::cri_resmgr::canonical(&text) {
                Ok(canonical) => accepts_canonical(&daemon, &canonical, None).unwrap(),
                Err(_) => accepts(&daemon, &path, None).unwrap(),
            };
            if found != expected {
                differences.push(format!("{}: expected {expected}, the daemon says {found}", path.display()));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
