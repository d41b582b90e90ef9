//! Texts that nobody would write.

use std::time::Duration;

use proptest::prelude::*;

use super::{MAIN, OURS, VERSIONS, config};
use crate::{Nri, Refusal, Timeouts, assess, drop_in, imports};

/// Lines that matter to us, in any order and number, and some of which are wrong.
fn line() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        Just("true".to_owned()),
        Just("false".to_owned()),
        (-9i64..9).prop_map(|number| number.to_string()),
        "[0-9]{0,2}(s|ms|m)?".prop_map(|text| format!("'{text}'")),
        Just("['io.containerd.nri.v1.nri', 'nri']".to_owned()),
        Just("['conf.d/*.toml', '/b', '*']".to_owned()),
        Just("{ enable = true, required_plugins = ['a'] }".to_owned()),
        "[ -~]{0,12}",
    ];
    let key = prop::sample::select(vec![
        "version",
        "imports",
        "disabled_plugins",
        "required_plugins",
        "disable",
        "disable_connections",
        "socket_path",
        "plugin_request_timeout",
        "plugin_registration_timeout",
        "default_validator",
        "Disable",
        "other",
    ]);
    prop_oneof![
        6 => (key, value).prop_map(|(key, value)| format!("{key} = {value}")),
        2 => Just("[plugins.'io.containerd.nri.v1.nri']".to_owned()),
        1 => Just("[plugins.nri]".to_owned()),
        1 => "[ -~]{0,12}",
    ]
}

fn file() -> impl Strategy<Value = String> {
    prop_oneof![
        9 => prop::collection::vec(line(), 0..6).prop_map(|lines| lines.join("\n")),
        1 => any::<String>(),
    ]
}

/// A main file that can be read, with an import of drop-ins.
fn readable() -> impl Strategy<Value = String> {
    let seconds = || prop::option::of(0u32..100);
    (prop::option::of(2u8..4), prop::option::of(any::<bool>()), seconds(), seconds(), any::<bool>()).prop_map(
        |(version, disable, request, registration, has_validator)| {
            let mut lines = vec!["imports = ['conf.d/*.toml']".to_owned()];
            lines.extend(version.map(|version| format!("version = {version}")));
            lines.push("[plugins.'io.containerd.nri.v1.nri']".to_owned());
            lines.extend(disable.map(|disable| format!("disable = {disable}")));
            lines.extend(request.map(|seconds| format!("plugin_request_timeout = '{seconds}s'")));
            lines.extend(registration.map(|seconds| format!("plugin_registration_timeout = '{seconds}s'")));
            if has_validator {
                lines.push("default_validator.required_plugins = ['x']".to_owned());
            }
            lines.join("\n")
        },
    )
}

/// A drop-in does what was wanted, is the same when it is there already, and leaves everything else.
fn check(containerd: &str, tree: &[(&str, &str)], wanted: &Timeouts) -> Result<Option<Refusal>, TestCaseError> {
    let Ok(before) = config(containerd, tree) else { return Ok(None) };
    let written = match drop_in(&before, OURS, wanted) {
        Ok(written) => written,
        Err(refusal) => return Ok(Some(refusal)),
    };
    let mut with = tree.to_vec();
    with.extend(written.as_ref().map(|drop_in| (OURS, drop_in.text.as_str())));
    let after = config(containerd, &with).unwrap();
    let Nri::Usable { request_timeout, registration_timeout, .. } = assess(&after, OURS) else {
        return Err(TestCaseError::fail(format!("{:?}", assess(&after, OURS))));
    };
    prop_assert!(wanted.request.is_none_or(|wanted| wanted == request_timeout));
    prop_assert!(wanted.registration.is_none_or(|wanted| wanted == registration_timeout));
    prop_assert_eq!(after.version(), before.version());
    let values = |config: &crate::Config| {
        let nri = config.nri();
        let validator: Vec<_> =
            nri.default_validator.iter().map(|(key, setting)| (key.clone(), setting.value.clone())).collect();
        (nri.socket_path.clone().map(|setting| setting.value), validator)
    };
    prop_assert_eq!(values(&after), values(&before));
    prop_assert_eq!(drop_in(&after, OURS, wanted), Ok(written));
    Ok(None)
}

fn timeouts() -> impl Strategy<Value = Timeouts> {
    let milliseconds = || prop::option::of((1u64..600_000).prop_map(Duration::from_millis));
    (milliseconds(), milliseconds()).prop_map(|(request, registration)| Timeouts { request, registration })
}

proptest! {
    #[test]
    fn no_text_makes_it_panic_or_lie(main in file(), a in file(), b in file(), wanted in timeouts()) {
        let tree = [(MAIN, main.as_str()), ("/etc/containerd/conf.d/a.toml", a.as_str()), ("/b", b.as_str())];
        for containerd in VERSIONS {
            check(containerd, &tree, &wanted)?;
        }
    }

    #[test]
    fn a_readable_configuration_gets_what_is_wanted(main in readable(), wanted in timeouts()) {
        for containerd in VERSIONS {
            let refused = check(containerd, &[(MAIN, main.as_str())], &wanted)?;
            let is_expected = match refused {
                None => true,
                Some(Refusal::VersionOne { .. }) => containerd == VERSIONS[0] && !main.contains("version ="),
                Some(Refusal::Disabled { .. }) => containerd != VERSIONS[0] && main.contains("disable = true"),
                Some(_) => false,
            };
            prop_assert!(is_expected, "{containerd} {main}");
        }
    }

    #[test]
    fn patterns_never_panic(entry in "[-a*?\\[\\]^/.é\\\\]{0,20}", name in "[-a*?\\[\\]^.é]{0,10}") {
        let text = format!("imports = [{}]", toml::Value::String(entry));
        for import in imports(MAIN, &text).into_iter().flatten() {
            if let crate::Import::Pattern(pattern) = import {
                let _ = pattern.matches(&name);
            }
        }
    }
}
