//! What is on nodes, as it is: the journal, the files, and the sums by which a restart of the daemon is needed or not. A later version has to
//! read the journal, and to write the same files, or it restarts every daemon of a landscape.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::backend::{BackendSpec, ProxySpec, daemon_paths, watched_paths};
use crate::blob::Blob;
use crate::budget;
use crate::desired::Installation;
use crate::journal::{Applied, Backoff, Journal, Made, Phase, Proven, ProvenPlugin, ProvenProxy, Record};
use crate::managed_file::Source;
use crate::restart::{Cause, Restart};
use crate::static_config::StaticConfig;
use crate::{MARKER, texts};

fn blob(digit: &str, needs: Option<&str>) -> Blob {
    Blob { sha256: digit.repeat(64), size: 40 << 20, architecture: "x86_64".into(), needs: needs.map(str::to_owned) }
}

fn installation(config: StaticConfig) -> Installation {
    let backend = BackendSpec::Proxy(ProxySpec {
        config,
        extra_options: "--metrics-interval 5s \"$X\"".into(),
        daemon: blob("a", Some("GLIBC_2.34")),
        daemon_is_kept: false,
    });
    Installation { backend, gate: blob("b", None), restart_request: None, handover: None }
}

fn variants() -> [(&'static str, Installation); 4] {
    let text = || "policy:\n  Active: none\n".to_owned();
    let mut kept = installation(StaticConfig::Fallback(text()));
    let BackendSpec::Proxy(proxy) = &mut kept.backend else { unreachable!() };
    proxy.daemon_is_kept = true;
    [
        ("built-in", installation(StaticConfig::BuiltIn)),
        ("fallback", installation(StaticConfig::Fallback(text()))),
        ("force", installation(StaticConfig::Force(text()))),
        ("fallback, with the kept daemon", kept),
    ]
}

fn full(phase: Phase, config: StaticConfig) -> Journal {
    let paths = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<BTreeSet<_>>();
    let causes = [Cause::Switch, Cause::Rollback, Cause::Heal, Cause::Remove];
    Journal {
        phase,
        made: Made {
            files: paths(&["/etc/cri-resmgr/fallback.cfg", "/opt/intel/bin/cri-resmgr"]),
            directories: paths(&["/etc/cri-resmgr", "/opt/intel"]),
            aside: paths(&["/var/lib/cri-resmgr"]),
            put_back: paths(&["/run/cri-resmgr"]),
        },
        reload_pending: true,
        applied: Some(Applied {
            inputs: "c".repeat(64),
            policy: "none".into(),
            previous_invocation: "0123456789abcdef0123456789abcdef".into(),
        }),
        kubelet_unproven: true,
        switched: true,
        restarts: (0..).zip(causes).map(|(number, cause)| Restart { at: 1_800_000_000 + number, cause }).collect(),
        given_up: vec![1_800_000_010, 1_800_000_020],
        backoff: Some(Backoff {
            failures: 3,
            failed_at: 1_800_000_030,
            not_before: 1_800_000_270,
            reason: "prove that the proxy answers: the proxy did not prove itself within 60s".into(),
            inputs: "d".repeat(64),
            reported: true,
        }),
        proven: Some(Proven::Proxy(ProvenProxy {
            config,
            extra_options: "--x".into(),
            daemon: blob("a", Some("GLIBC_2.34")),
        })),
        plugin: None,
    }
}

#[test]
fn journals_of_every_phase_equal_their_golden_files() {
    let text = "policy:\n  Active: none\n".to_owned();
    for (journal, golden) in [
        (full(Phase::Installed, StaticConfig::Fallback(text.clone())), include_str!("golden/journal-installed.json")),
        (full(Phase::Installing, StaticConfig::Force(text)), include_str!("golden/journal-installing.json")),
        (full(Phase::Removing, StaticConfig::BuiltIn), include_str!("golden/journal-removing.json")),
        (
            Journal {
                phase: Phase::RolledBack,
                backoff: Some(budget::after_failure(None, "d", "x".into(), 1_800_000_000, 0)),
                ..Journal::default()
            },
            include_str!("golden/journal-rolled-back.json"),
        ),
    ] {
        assert_eq!(serde_json::to_string_pretty(&journal).unwrap(), golden.trim_end());
        assert_eq!(serde_json::from_str::<Journal>(golden).unwrap(), journal);
    }
}

/// Version 2: what agents that know no plugin keep their hands off.
#[test]
fn journals_with_something_of_the_plugin_are_written_and_read_as_ever() {
    let proxy = full(Phase::Installed, StaticConfig::BuiltIn);
    let proven = ProvenPlugin {
        kind: nri_policy::Kind::BalloonsPolicy,
        document: "{}\n".into(),
        binary: blob("e", None),
        request_timeout_seconds: 2,
    };
    let record = Record {
        made: proxy.made,
        applied: proxy.applied,
        given_up: proxy.given_up,
        proven: Some(Proven::Plugin(proven)),
    };
    let journal = Journal { phase: Phase::Installed, plugin: Some(Box::new(record)), ..Journal::default() };
    let golden = include_str!("golden/journal-plugin.json");
    assert_eq!(serde_json::to_string_pretty(&journal).unwrap(), golden.trim_end());
    assert_eq!(serde_json::from_str::<Journal>(golden).unwrap(), journal);
    assert_eq!((journal.version(), Journal::default().version()), (2, 1));
}

/// Fields came later than the format.
#[test]
fn a_journal_of_the_first_version_is_read_with_defaults() {
    let golden = include_str!("golden/journal-of-the-first-version.json");
    let mut journal = full(Phase::Installed, StaticConfig::Fallback("policy:\n  Active: none\n".to_owned()));
    journal.made.aside.clear();
    journal.made.put_back.clear();
    journal.given_up.clear();
    journal.backoff.as_mut().unwrap().reported = false;
    let Some(Proven::Proxy(proven)) = &mut journal.proven else { unreachable!() };
    proven.daemon.needs = None;
    assert_eq!(serde_json::from_str::<Journal>(golden).unwrap(), journal);
}

/// Sums differ when anything differs that the daemon, or the gate, runs with.
#[test]
fn sums_of_installations() {
    let mut table = String::new();
    for (name, installation) in variants() {
        writeln!(table, "{name}\n  inputs  {}\n  attempt {}", installation.inputs(), installation.attempt()).unwrap();
    }
    insta::assert_snapshot!(table);
}

#[test]
fn files_of_installations() {
    let mut table = String::new();
    for (name, installation) in variants() {
        writeln!(table, "{name}").unwrap();
        for file in installation.files() {
            let from = match &file.source {
                Source::Text(text) => {
                    assert!(text.starts_with(MARKER), "{}", file.path);
                    "a text".to_owned()
                }
                Source::Daemon => "the daemon of the image".to_owned(),
                Source::Gate => "the gate of the image".to_owned(),
                Source::Policy(kind) => format!("{kind} of the image"),
                Source::Host(path) => (*path).to_owned(),
            };
            writeln!(table, "  {:04o} {} {:?}, {from}\n       {}", file.mode, file.path, file.role, file.sha256)
                .unwrap();
        }
    }
    insta::assert_snapshot!(table);
}

/// The units have snapshots beside `texts`.
#[test]
fn environment_and_configuration_files() {
    let mut all = String::new();
    for (name, installation) in variants() {
        let BackendSpec::Proxy(proxy) = &installation.backend else { unreachable!() };
        writeln!(all, "--- {name}\n{}", texts::environment(&proxy.config, &proxy.extra_options)).unwrap();
    }
    writeln!(all, "--- a configuration\n{}", texts::configuration("policy:\n  Active: none\n")).unwrap();
    writeln!(all, "--- one that does not end its line\n{}", texts::configuration("policy: {}")).unwrap();
    writeln!(all, "--- an empty one\n{}", texts::configuration("")).unwrap();
    insta::assert_snapshot!(all);
}

#[test]
fn the_marker_is_the_one_that_is_on_nodes() {
    assert_eq!(MARKER, "# Written by gardener-extension-cri-resmgr");
}

#[test]
fn paths_that_are_looked_at() {
    let mut paths = watched_paths();
    paths.sort_unstable();
    insta::assert_snapshot!(format!("{}\n\nthe daemon's own:\n{}", paths.join("\n"), daemon_paths().join("\n")));
}

/// Words of the metric's label, and of the journal.
#[test]
fn causes_of_restarts_keep_their_words_in_metric_and_journal() {
    for (cause, word) in
        [(Cause::Switch, "switch"), (Cause::Rollback, "rollback"), (Cause::Heal, "heal"), (Cause::Remove, "remove")]
    {
        assert_eq!(cause.as_str(), word);
        assert_eq!(serde_json::to_value(cause).unwrap(), word);
    }
}
