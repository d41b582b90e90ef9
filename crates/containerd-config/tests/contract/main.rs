//! The real containerd and this crate read the same files and have to come to the same answer. Run with
//!
//! ```text
//! CONTAINERD_1_7=… CONTAINERD_2_2=… CONTAINERD_2_3=… cargo test -p containerd-config --test contract -- --ignored
//! ```
//!
//! where each names a binary of that line. `containerd config dump` says what it has read; what it passes over although the daemon does not
//! start (a missing import) is asked of the daemon.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a failed step of a test's set-up ends the test"
)]

mod layouts;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use containerd_config::{
    Config, ConfigError, ContainerdVersion, Nri, NriTable, Sources, Timeouts, Wanted, assess, drop_in, drop_in_path,
};
use layouts::{Layout, Starts, gardeners, layouts};
use toml::{Table, Value};

const NRI: &str = "io.containerd.nri.v1.nri";

#[test]
#[ignore = "needs a containerd 1.7: CONTAINERD_1_7"]
fn containerd_1_7_reads_the_same() {
    agrees("CONTAINERD_1_7", (1, 7), |starts: &Starts| starts.on_1_7);
}

#[test]
#[ignore = "needs a containerd 2.2: CONTAINERD_2_2"]
fn containerd_2_2_reads_the_same() {
    agrees("CONTAINERD_2_2", (2, 2), |starts: &Starts| starts.on_2_2);
}

#[test]
#[ignore = "needs a containerd 2.3: CONTAINERD_2_3"]
fn containerd_2_3_reads_the_same() {
    agrees("CONTAINERD_2_3", (2, 3), |starts: &Starts| starts.on_2_3);
}

/// A binary and its version.
struct Containerd {
    binary: PathBuf,
    version: ContainerdVersion,
}

impl Containerd {
    fn of(variable: &str, line: (u32, u32)) -> Self {
        let binary = std::env::var_os(variable).map(PathBuf::from);
        let binary = binary.unwrap_or_else(|| panic!("{variable} has to name a containerd {}.{}", line.0, line.1));
        let output = Command::new(&binary).arg("--version").output().unwrap();
        let reported = String::from_utf8(output.stdout).unwrap();
        let version: ContainerdVersion = reported.split(' ').nth(2).unwrap().trim().parse().unwrap();
        assert_eq!((version.major, version.minor), line, "{variable}: {reported}");
        Self { binary, version }
    }

    fn config(&self, main: &Path, command: &str) -> Output {
        Command::new(&self.binary).arg("--config").arg(main).args(["config", command]).output().unwrap()
    }

    /// What it has read; `None` if it refuses the files.
    fn dump(&self, main: &Path) -> Option<Table> {
        let output = self.config(main, "dump");
        let text = String::from_utf8(output.stdout).unwrap();
        output.status.success().then(|| text.parse().unwrap())
    }

    /// Starts the daemon, which has to end by itself, and gives what it says.
    fn refuses_to_start(&self, main: &Path, state: &Path) -> String {
        let mut daemon = Command::new(&self.binary);
        daemon.arg("--config").arg(main);
        for (flag, name) in [("--root", "root"), ("--state", "state"), ("--address", "socket")] {
            daemon.arg(flag).arg(state.join(name));
        }
        let mut daemon = daemon.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(120);
        while daemon.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                daemon.kill().unwrap();
                panic!("{} runs", main.display());
            }
            #[expect(
                clippy::disallowed_methods,
                reason = "the test is a thread of its own that waits for another program"
            )]
            std::thread::sleep(Duration::from_millis(50));
        }
        let output = daemon.wait_with_output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    }
}

fn agrees(variable: &str, line: (u32, u32), starts: impl Fn(&Starts) -> bool) {
    let containerd = Containerd::of(variable, line);
    let directory = tempfile::tempdir().unwrap();
    let default = String::from_utf8(containerd.config(Path::new("/none"), "default").stdout).unwrap();
    let all: Vec<Layout> = layouts().into_iter().chain(gardeners(&default)).collect();
    assert!(all.len() > 30, "{}", all.len());
    let (mut read, mut written) = (0, 0);
    for (at, layout) in all.iter().enumerate() {
        let place = directory.path().join(at.to_string());
        let main = layout.write(&place);
        let ours = sources(&main).and_then(|sources| Config::read(containerd.version, &sources));
        let about = format!("{}: {ours:?}", layout.name);
        let starts = starts(&layout.starts);
        assert_eq!(ours.is_ok(), starts, "{about}");
        if layout.only_the_daemon_knows {
            let reported = containerd.refuses_to_start(&main, &place);
            assert!(reported.contains("no such file or directory"), "{about}: {reported}");
            continue;
        }
        let dump = containerd.dump(&main);
        assert_eq!(dump.is_some(), starts, "{about}: {dump:?}");
        let (Ok(ours), Some(dump)) = (ours, dump) else { continue };
        compare(&containerd, &ours, &dump, &about);
        read += 1;
        written += usize::from(changes_only_nri(&containerd, &ours, &dump, &place, &about));
    }
    println!("containerd {}: {} layouts, {read} read, {written} with a drop-in", containerd.version, all.len());
    assert!(read > 15 && written > 5);
}

/// Reads everything that the main file leads to.
fn sources(main: &Path) -> Result<Sources, ConfigError> {
    let mut sources = Sources::new(main.to_str().unwrap(), Some(&std::fs::read_to_string(main).unwrap()))?;
    while let Some(wanted) = sources.wanted()? {
        match wanted {
            Wanted::File(path) => sources.file(&path, std::fs::read_to_string(&path).ok().as_deref())?,
            Wanted::Names(directory) => {
                let entries = std::fs::read_dir(&directory).into_iter().flatten();
                let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
                sources.names(&directory, names)?;
            }
        }
    }
    Ok(sources)
}

/// The values that count, with containerd's defaults.
#[derive(Debug, PartialEq)]
struct Effective {
    disable: bool,
    disable_connections: bool,
    paths: [String; 3],
    nanoseconds: [i64; 2],
}

impl Effective {
    fn of(version: ContainerdVersion, nri: &NriTable) -> Self {
        let path = |setting: &Option<containerd_config::Setting<String>>, default: &str| {
            setting.as_ref().map_or(default.to_owned(), |setting| setting.value.clone())
        };
        let timeout = |setting: &Option<containerd_config::Setting<containerd_config::Timeout>>, default: i64| {
            setting.as_ref().map_or(default * 1_000_000_000, |setting| setting.value.nanoseconds)
        };
        Self {
            disable: nri.disable.as_ref().map_or(version.major == 1, |setting| setting.value),
            disable_connections: nri.disable_connections.as_ref().is_some_and(|setting| setting.value),
            paths: [
                path(&nri.socket_path, "/var/run/nri/nri.sock"),
                path(&nri.plugin_path, "/opt/nri/plugins"),
                path(&nri.plugin_config_path, "/etc/nri/conf.d"),
            ],
            nanoseconds: [timeout(&nri.registration_timeout, 5), timeout(&nri.request_timeout, 2)],
        }
    }
}

/// The table of a dump, which has every key.
fn dumped(containerd: &Containerd, table: &Value) -> NriTable {
    assert!(table.as_table().unwrap().len() >= 7, "{table}");
    let plugins = Table::from_iter([(NRI.to_owned(), table.clone())]);
    let text = format!("version = 2\n{}", Table::from_iter([("plugins".to_owned(), Value::Table(plugins))]));
    let sources = Sources::new("/dump", Some(&text)).unwrap();
    Config::read(containerd.version, &sources).unwrap().nri().clone()
}

fn compare(containerd: &Containerd, ours: &Config, dump: &Table, about: &str) {
    let disabled = dump["disabled_plugins"].as_array().unwrap();
    let name = if containerd.version.major == 1 && ours.version() == 1 { "nri" } else { NRI };
    assert_eq!(ours.disabled_in().is_some(), disabled.iter().any(|found| found.as_str() == Some(name)), "{about}");
    let table = dump["plugins"].get(NRI);
    if ours.disabled_in().is_some() {
        // 1.7 shows what it loads only.
        assert!(containerd.version.major > 1 || table.is_none(), "{about}");
        return;
    }
    let nri = dumped(containerd, table.unwrap());
    let effective = |nri| Effective::of(containerd.version, nri);
    assert_eq!(effective(ours.nri()), effective(&nri), "{about}");
    if (containerd.version.major, containerd.version.minor) >= (2, 2) {
        let values = |nri: &NriTable| -> BTreeMap<String, Value> {
            let settings = nri.default_validator.iter();
            settings.map(|(key, setting)| (key.clone(), setting.value.clone())).collect()
        };
        let found = values(&nri);
        assert!(found.len() >= 7, "{found:?}");
        for (key, value) in values(ours.nri()) {
            assert_eq!(found.get(&key), Some(&value), "{key} {about}");
        }
    }
}

/// Writes the drop-in, if there is one, and looks at what containerd makes of it.
fn changes_only_nri(containerd: &Containerd, before: &Config, dump: &Table, place: &Path, about: &str) -> bool {
    let path = drop_in_path(place.join("conf.d").to_str().unwrap());
    let wanted = Timeouts { request: Some(Duration::from_millis(20_500)), registration: Some(Duration::from_secs(7)) };
    let Ok(written) = drop_in(before, &path, &wanted) else { return false };
    let written = written.unwrap_or_else(|| panic!("{about}"));
    std::fs::create_dir_all(place.join("conf.d")).unwrap();
    std::fs::write(&written.path, &written.text).unwrap();
    let about = format!("{about}\n{}", written.text);
    let with = containerd.dump(Path::new(before.sources().main())).unwrap_or_else(|| panic!("{about}"));
    let after = Config::read(containerd.version, &sources(Path::new(before.sources().main())).unwrap()).unwrap();
    compare(containerd, &after, &with, &about);
    let found = Effective::of(containerd.version, &dumped(containerd, &with["plugins"][NRI]));
    let expected = Effective {
        disable: false,
        nanoseconds: [7_000_000_000, 20_500_000_000],
        ..Effective::of(containerd.version, before.nri())
    };
    assert_eq!(found, expected, "{about}");
    assert!(matches!(assess(&after, &path), Nri::Usable { .. }), "{about}");
    assert_eq!(rest(dump), rest(&with), "{about}");
    true
}

/// All but NRI, and the list of files that 1.7 writes into `imports`.
fn rest(dump: &Table) -> Table {
    let mut rest = dump.clone();
    rest.remove("imports");
    let plugins = rest.get_mut("plugins").and_then(Value::as_table_mut).unwrap();
    // The validator is the owner's, and has been compared.
    plugins.remove(NRI).unwrap();
    rest
}
