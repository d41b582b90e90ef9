//! How files are put together, and what NRI is with them.

use super::{MAIN, OURS, VERSIONS, config, main_file, usable, version, with_table};
use crate::{Config, ConfigError, Nri, Off, Refusal, Sources, assess};

#[test]
fn nri_is_off_by_default_on_1_7_and_on_from_2_0_on() {
    for (containerd, is_on) in [("1.7.16", false), ("1.7.34", false), ("2.0.0", true), ("2.2.9", true), ("2.4.2", true)]
    {
        let expected = if is_on { usable(2, 5) } else { Nri::Off { why: Off::ByDefault } };
        assert_eq!(with_table(containerd, ""), Ok(expected), "{containerd}");
    }
}

#[test]
fn without_a_main_file_the_built_in_configuration_holds_and_imports_nothing() {
    let sources = Sources::new(MAIN, None).unwrap();
    let nri = |containerd| assess(&Config::read(version(containerd), &sources).unwrap(), OURS);
    assert_eq!(nri("2.3.7"), usable(2, 5));
    let refused = Refusal::NotImported { main: MAIN.to_owned(), path: OURS.to_owned() };
    assert_eq!(nri("1.7.34"), Nri::Refused { reason: refused });
}

#[test]
fn versions_outside_of_the_known_lines_are_refused() {
    for containerd in ["1.6.20~ds1", "1.7.15"] {
        let nri = with_table(containerd, "disable = false").unwrap();
        assert_eq!(nri, Nri::Refused { reason: Refusal::TooOld(version(containerd)) });
    }
    for containerd in ["1.8.0", "3.0.0"] {
        let nri = with_table(containerd, "disable = false").unwrap();
        assert_eq!(nri, Nri::Refused { reason: Refusal::UnknownVersion(version(containerd)) });
    }
}

#[test]
fn an_explicit_disable_is_the_owners_from_2_0_on() {
    let file = || MAIN.to_owned();
    assert_eq!(with_table("1.7.34", "disable = true"), Ok(Nri::Off { why: Off::Disabled { file: file() } }));
    for containerd in ["2.0.0", "2.2.9", "2.3.7"] {
        let refused = Nri::Refused { reason: Refusal::Disabled { file: file() } };
        assert_eq!(with_table(containerd, "disable = true"), Ok(refused));
    }
    for containerd in VERSIONS {
        assert_eq!(with_table(containerd, "disable = false"), Ok(usable(2, 5)));
        let refused = Nri::Refused { reason: Refusal::ConnectionsDisabled { file: file() } };
        assert_eq!(with_table(containerd, "disable_connections = true"), Ok(refused));
    }
}

#[test]
fn timeouts_are_texts_of_go() {
    for containerd in VERSIONS {
        for (text, request) in [("'60s'", 60), ("'1m'", 60), ("'0s'", 2), ("'0'", 2)] {
            let nri = with_table(containerd, &format!("disable = false\nplugin_request_timeout = {text}"));
            assert_eq!(nri, Ok(usable(request, 5)), "{containerd} {text}");
        }
        let nri = with_table(containerd, "plugin_request_timeout = '-1s'").unwrap();
        assert!(
            matches!(nri, Nri::Refused { reason: Refusal::NegativeTimeout { value: -1_000_000_000, .. } }),
            "{nri:?}"
        );
        let error = with_table(containerd, "plugin_request_timeout = '60'").unwrap_err();
        assert!(matches!(error, ConfigError::NotADuration { .. }), "{error}");
    }
}

#[test]
fn an_integer_is_a_refusal_on_1_7_and_stops_containerd_2() {
    let refused = Refusal::IntegerTimeout { file: MAIN.to_owned(), key: "plugin_request_timeout", value: 60 };
    assert_eq!(with_table("1.7.34", "plugin_request_timeout = 60"), Ok(Nri::Refused { reason: refused }));
    for containerd in ["2.0.14", "2.2.9", "2.3.7"] {
        let error = with_table(containerd, "plugin_request_timeout = 60").unwrap_err();
        assert_eq!(
            error.to_string(),
            "plugin_request_timeout in /etc/containerd/config.toml is an integer, a text such as \"2s\" is allowed"
        );
    }
}

#[test]
fn values_have_their_types() {
    for nri in [
        "disable = 'true'",
        "disable = 1",
        "socket_path = 1",
        "disable_connections = []",
        "plugin_request_timeout = 2.0",
        "plugin_registration_timeout = true",
        "[plugins.'io.containerd.nri.v1.nri'.disable]\na = 1",
        "Disable = false",
        "PLUGIN_REQUEST_TIMEOUT = '2s'",
    ] {
        for containerd in VERSIONS {
            assert!(with_table(containerd, nri).is_err(), "{containerd} {nri}");
        }
    }
    for (validator, is_typed) in [
        ("enable = true\nrequired_plugins = ['a']", true),
        ("enable = 1", false),
        ("required_plugins = 'a'", false),
        ("reject_oci_hook_adjustment = 'no'", false),
        ("from_a_later_version = 1", true),
    ] {
        let nri = format!("disable = false\n[plugins.'io.containerd.nri.v1.nri'.default_validator]\n{validator}");
        // Versions without the validator pass it over.
        for (containerd, has_validator) in [("1.7.34", false), ("2.1.9", false), ("2.2.9", true), ("2.3.7", true)] {
            assert_eq!(with_table(containerd, &nri).is_ok(), is_typed || !has_validator, "{containerd} {validator}");
        }
    }
}

#[test]
fn an_empty_socket_path_is_the_default() {
    let socket = |path: &str| match with_table("2.3.7", &format!("socket_path = '{path}'")).unwrap() {
        Nri::Usable { socket, .. } => socket,
        other => panic!("{other:?}"),
    };
    assert_eq!(socket(""), "/var/run/nri/nri.sock");
    assert_eq!(socket("/run/other.sock"), "/run/other.sock");
}

#[test]
fn a_table_is_replaced_on_1_7_and_merged_from_2_0_on() {
    let main = main_file(2, "disable = false\nsocket_path = '/s'\nplugin_request_timeout = '9s'");
    let tree = [
        (MAIN, main.as_str()),
        ("/etc/containerd/conf.d/a.toml", "[plugins.'io.containerd.nri.v1.nri']\nplugin_request_timeout = '7s'"),
    ];
    for containerd in VERSIONS {
        let config = config(containerd, &tree).unwrap();
        let nri = config.nri();
        let is_merged = containerd != VERSIONS[0];
        assert_eq!(nri.socket_path.is_some(), is_merged, "{containerd}");
        assert_eq!(nri.disable.as_ref().map(|setting| setting.file.as_str()), is_merged.then_some(MAIN));
        let timeout = nri.request_timeout.as_ref().unwrap();
        assert_eq!((timeout.value.nanoseconds, timeout.file.as_str()), (7_000_000_000, tree[1].0));
    }
}

#[test]
fn tables_below_are_merged_and_lists_replaced() {
    let table = "[plugins.'io.containerd.nri.v1.nri'.default_validator]";
    let main = main_file(3, &format!("{table}\nenable = true\nrequired_plugins = ['a', 'b']"));
    let tree = [
        (MAIN, main.as_str()),
        (
            "/etc/containerd/conf.d/a.toml",
            &format!("{table}\nrequired_plugins = ['c']\nreject_oci_hook_adjustment = true"),
        ),
    ];
    for containerd in ["2.2.9", "2.3.7"] {
        let config = config(containerd, &tree).unwrap();
        let validator: Vec<String> = config
            .nri()
            .default_validator
            .iter()
            .map(|(key, setting)| format!("{key} = {} ({})", setting.value, &setting.file[16..]))
            .collect();
        assert_eq!(
            validator,
            [
                "enable = true (config.toml)",
                "reject_oci_hook_adjustment = true (conf.d/a.toml)",
                "required_plugins = [\"c\"] (conf.d/a.toml)"
            ]
        );
    }
}

#[test]
fn the_lists_of_disabled_plugins_count_together() {
    let disabled = "disabled_plugins = ['io.containerd.nri.v1.nri']";
    let main = main_file(2, "disable = false");
    for containerd in VERSIONS {
        let other = "/etc/containerd/conf.d/a.toml";
        let tree =
            [(MAIN, main.as_str()), (other, disabled), ("/etc/containerd/conf.d/b.toml", "disabled_plugins = []")];
        let refused = Refusal::DisabledPlugin { file: other.to_owned() };
        assert_eq!(assess(&config(containerd, &tree).unwrap(), OURS), Nri::Refused { reason: refused });
    }
}

#[test]
fn plugins_are_named_as_each_version_wants_them() {
    for (text, on_1_7, on_2) in [
        ("version = 2\ndisabled_plugins = ['cri']", false, false),
        ("version = 2\nrequired_plugins = ['cri']", false, false),
        ("version = 2\ndisabled_plugins = ['a.b']", false, true),
        ("version = 2\n[plugins.cri]", false, true),
        ("disabled_plugins = ['cri']\n[plugins.cri]", true, true),
        ("version = 1\ndisabled_plugins = ['cri']", true, true),
        ("version = 2\n[plugins.'io.containerd.grpc.v1.cri']", true, true),
    ] {
        for containerd in VERSIONS {
            let is_allowed = if containerd == VERSIONS[0] { on_1_7 } else { on_2 };
            assert_eq!(config(containerd, &[(MAIN, text)]).is_ok(), is_allowed, "{containerd} {text}");
        }
    }
}

#[test]
fn the_version_is_that_of_the_last_file_before_2_3() {
    let imports = "imports = ['/etc/containerd/conf.d/*.toml']";
    let version = |containerd, main: &str, other: &str| {
        let main = format!("{main}\n{imports}");
        let tree = [(MAIN, main.as_str()), ("/etc/containerd/conf.d/a.toml", other)];
        config(containerd, &tree).map(|config| config.version()).ok()
    };
    for (main, other, on_1_7, on_2_2, on_2_3) in [
        ("", "", Some(1), Some(3), Some(4)),
        ("version = 0", "", Some(1), Some(3), Some(4)),
        ("version = 1", "", Some(1), Some(3), Some(4)),
        ("version = 2", "", Some(2), Some(2), Some(4)),
        ("version = 2", "version = 1", Some(1), Some(2), Some(4)),
        ("", "version = 2", Some(2), Some(2), Some(4)),
        ("version = 3", "", None, Some(3), Some(4)),
        ("version = 3", "version = 2", Some(2), Some(2), Some(4)),
        ("version = 3", "version = 4", None, None, Some(4)),
        ("version = 4", "version = 3", None, Some(3), Some(4)),
        ("version = 5", "version = 2", Some(2), Some(2), None),
        ("version = -1", "version = 2", None, None, None),
    ] {
        assert_eq!(version("1.7.34", main, other), on_1_7, "{main}, {other}");
        assert_eq!(version("2.2.9", main, other), on_2_2, "{main}, {other}");
        assert_eq!(version("2.3.7", main, other), on_2_3, "{main}, {other}");
    }
}

#[test]
fn version_1_goes_by_the_id_on_1_7_and_means_nothing_to_2() {
    let by_id = "[plugins.nri]\ndisable = false\nplugin_request_timeout = '9s'";
    assert_eq!(assess(&config("1.7.34", &[(MAIN, by_id)]).unwrap(), OURS), usable(9, 5));
    let by_name = "[plugins.'io.containerd.nri.v1.nri']\ndisable = false\nplugin_request_timeout = '9s'";
    let refused = Refusal::VersionOne { main: MAIN.to_owned() };
    assert_eq!(assess(&config("1.7.34", &[(MAIN, by_name)]).unwrap(), OURS), Nri::Refused { reason: refused });
    for containerd in ["2.2.9", "2.3.7"] {
        assert_eq!(assess(&config(containerd, &[(MAIN, by_id)]).unwrap(), OURS), usable(2, 5));
        assert_eq!(assess(&config(containerd, &[(MAIN, by_name)]).unwrap(), OURS), usable(9, 5));
        assert_eq!(assess(&config(containerd, &[(MAIN, "disabled_plugins = ['nri']")]).unwrap(), OURS), usable(2, 5));
    }
    let disabled = "disabled_plugins = ['nri']\n[plugins.nri]\ndisable = false";
    let refused = Refusal::DisabledPlugin { file: MAIN.to_owned() };
    assert_eq!(assess(&config("1.7.34", &[(MAIN, disabled)]).unwrap(), OURS), Nri::Refused { reason: refused });
}
