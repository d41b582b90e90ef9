//! The drop-in.

use std::time::Duration;

use super::{MAIN, OURS, VERSIONS, config, main_file, seconds, usable, written};
use crate::{ConfigError, MARKER, Refusal, Timeouts, assess, drop_in, drop_in_path};

#[test]
fn nothing_is_written_where_nothing_has_to_change() {
    for containerd in VERSIONS {
        let main = main_file(2, "disable = false\nplugin_request_timeout = '1m'");
        for wanted in [seconds(None, None), seconds(Some(60), None), seconds(Some(60), Some(5))] {
            assert_eq!(written(containerd, &[(MAIN, &main)], &wanted), Ok(None));
        }
        // Without imports, too.
        assert_eq!(written("2.3.7", &[(MAIN, "version = 3")], &seconds(Some(2), Some(5))), Ok(None));
    }
}

#[test]
fn the_whole_table_is_written_on_1_7() {
    let main = main_file(
        2,
        "socket_path = '/s'\ndisable = true\nplugin_request_timeout = '2s'\n\
         [plugins.'io.containerd.nri.v1.nri'.default_validator]\nenable = true\nrequired_plugins = ['b', 'a']",
    );
    let drop_in = written("v1.7.34", &[(MAIN, &main)], &seconds(Some(20), None)).unwrap().unwrap();
    assert_eq!(drop_in.path, OURS);
    assert_eq!(
        drop_in.text,
        "# Written by gardener-extension-cri-resmgr: NRI, as its resource policy needs it. The node's agent replaces and removes it.\n\
         version = 2\n\n\
         [plugins.\"io.containerd.nri.v1.nri\"]\n\
         disable = false\n\
         plugin_request_timeout = \"20s\"\n\
         socket_path = \"/s\"\n\n\
         [plugins.\"io.containerd.nri.v1.nri\".default_validator]\n\
         enable = true\n\
         required_plugins = [\"b\", \"a\"]\n"
    );
    assert!(drop_in.text.starts_with(MARKER));
}

#[test]
fn only_what_differs_is_written_from_2_0_on() {
    for (containerd, main_version, version) in [
        ("2.2.9", 2, "version = 2\n\n"),
        ("2.2.9", 3, "version = 3\n\n"),
        ("2.2.9", 0, ""),
        ("2.3.7", 3, "version = 3\n\n"),
        ("2.3.7", 4, "version = 4\n\n"),
        ("2.3.7", 0, ""),
    ] {
        let main = main_file(main_version, "socket_path = '/s'\nplugin_request_timeout = '3s'");
        let drop_in = written(containerd, &[(MAIN, &main)], &seconds(Some(20), Some(5))).unwrap().unwrap();
        let (_, text) = drop_in.text.split_once('\n').unwrap();
        assert_eq!(
            text,
            format!("{version}[plugins.\"io.containerd.nri.v1.nri\"]\nplugin_request_timeout = \"20s\"\n")
        );
    }
}

#[test]
fn what_stands_in_the_drop_in_now_does_not_matter() {
    for containerd in VERSIONS {
        let main = main_file(2, "disable = false\nplugin_request_timeout = '3s'");
        let wanted = seconds(Some(20), None);
        let fresh = written(containerd, &[(MAIN, &main)], &wanted).unwrap().unwrap();
        for old in
            [fresh.text.as_str(), "[plugins.'io.containerd.nri.v1.nri']\ndisable = true\nplugin_request_timeout = '1s'"]
        {
            assert_eq!(written(containerd, &[(MAIN, &main), (OURS, old)], &wanted), Ok(Some(fresh.clone())));
        }
        // What is not needed any more.
        assert_eq!(written(containerd, &[(MAIN, &main), (OURS, &fresh.text)], &seconds(Some(3), None)), Ok(None));
        let with = config(containerd, &[(MAIN, &main), (OURS, &fresh.text)]).unwrap();
        assert_eq!(assess(&with, OURS), usable(20, 5));
    }
}

#[test]
fn the_version_written_changes_nothing_for_other_files() {
    // On 2.2 the last version counts for all files: it is that of the other drop-in, not that of the main file.
    let main = main_file(3, "");
    let tree = [(MAIN, main.as_str()), ("/etc/containerd/conf.d/a.toml", "version = 2")];
    let text = written("2.2.9", &tree, &seconds(Some(9), None)).unwrap().unwrap().text;
    assert!(text.contains("\nversion = 2\n"), "{text}");
    let text = written("2.3.7", &tree, &seconds(Some(9), None)).unwrap().unwrap().text;
    assert!(text.contains("\nversion = 3\n"), "{text}");
}

#[test]
fn a_drop_in_that_would_not_be_loaded_is_refused() {
    let refused = || Refusal::NotImported { main: MAIN.to_owned(), path: OURS.to_owned() };
    for imports in
        ["", "imports = []", "imports = ['/etc/containerd/conf.d/*.conf']", "imports = ['/etc/containerd/*.toml']"]
    {
        for containerd in VERSIONS {
            let main = format!("version = 2\n{imports}");
            assert_eq!(
                written(containerd, &[(MAIN, &main)], &seconds(Some(9), None)),
                Err(refused()),
                "{containerd} {imports}"
            );
        }
    }
    // An import by name stops containerd while the file is not there, and so without ours.
    let main = format!("version = 2\nimports = ['{OURS}']");
    let missing = Err(Refusal::Config(ConfigError::Missing { file: OURS.to_owned() }));
    assert_eq!(written("2.3.7", &[(MAIN, &main), (OURS, "")], &seconds(Some(9), None)), missing);
}

#[test]
fn a_file_with_the_last_word_is_a_refusal() {
    let imports = "imports = ['/etc/containerd/conf.d/*.toml', '/etc/last.toml']";
    for containerd in VERSIONS {
        for (path, table, version) in [
            ("/etc/containerd/conf.d/zzz.toml", "", 2),
            ("/etc/last.toml", "[plugins.'io.containerd.nri.v1.nri']\n", 2),
        ] {
            let main = format!("version = {version}\n{imports}");
            let later = format!("{table}plugin_request_timeout = '3s'\n");
            let later = if table.is_empty() { format!("[plugins.'io.containerd.nri.v1.nri']\n{later}") } else { later };
            let mut tree = vec![(MAIN, main.as_str()), (path, later.as_str())];
            if path != "/etc/last.toml" {
                tree.push(("/etc/last.toml", ""));
            }
            let refused = Refusal::Overridden { path: OURS.to_owned(), file: path.to_owned() };
            assert_eq!(written(containerd, &tree, &seconds(Some(9), None)), Err(refused), "{containerd} {path}");
        }
    }
}

#[test]
fn version_1_is_refused_on_1_7_only() {
    let main = "imports = ['/etc/containerd/conf.d/*.toml']\n[plugins.cri]";
    let refused = Refusal::VersionOne { main: MAIN.to_owned() };
    assert_eq!(written("1.7.34", &[(MAIN, main)], &seconds(None, None)), Err(refused));
    for containerd in ["2.2.9", "2.3.7"] {
        assert!(written(containerd, &[(MAIN, main)], &seconds(Some(9), None)).unwrap().is_some());
    }
    // Another file has made it version 2 already.
    let main = "imports = ['/etc/containerd/conf.d/*.toml']";
    let tree = [(MAIN, main), ("/etc/containerd/conf.d/a.toml", "version = 2")];
    assert!(written("1.7.34", &tree, &seconds(None, None)).unwrap().is_some());
}

#[test]
fn owners_decisions_and_impossible_timeouts_are_refused() {
    for nri in ["disable_connections = true", "plugin_request_timeout = '-1s'"] {
        for containerd in VERSIONS {
            assert!(written(containerd, &[(MAIN, &main_file(2, nri))], &seconds(Some(9), None)).is_err());
        }
    }
    assert!(matches!(
        written("2.2.9", &[(MAIN, &main_file(2, "disable = true"))], &seconds(None, None)),
        Err(Refusal::Disabled { .. })
    ));
    let control = main_file(2, "socket_path = \"/a\\u001Bb\"");
    assert!(matches!(
        written("1.7.34", &[(MAIN, &control)], &seconds(None, None)),
        Err(Refusal::ControlCharacters { key, .. }) if key == "socket_path"
    ));
    for wanted in [Duration::ZERO, Duration::from_micros(1500), Duration::from_secs(601)] {
        let wanted = Timeouts { request: None, registration: Some(wanted) };
        let refused = written("2.3.7", &[(MAIN, &main_file(4, ""))], &wanted);
        assert!(matches!(refused, Err(Refusal::Timeout { key: "plugin_registration_timeout", .. })), "{refused:?}");
    }
}

#[test]
fn the_path_comes_after_numbered_ones() {
    let path = drop_in_path("/etc/containerd/conf.d");
    assert_eq!(path, OURS);
    for other in
        ["/etc/containerd/conf.d/99-a.toml", "/etc/containerd/conf.d/cri.toml", "/etc/containerd/conf.d/Z.toml"]
    {
        assert!(path.as_str() > other);
    }
    let config = config("2.3.7", &[(MAIN, &main_file(4, ""))]).unwrap();
    assert!(drop_in(&config, &path, &seconds(Some(9), None)).unwrap().is_some());
}
