//! Fuzzing of decoder and validator: libFuzzer calls this with whatever reaches new code. Run by `cargo xtask soak`; a finding is a panic, a text
//! that takes too long, or a rule below that is broken.
#![no_main]
#![cfg_attr(clippy, expect(clippy::expect_used, reason = "a broken rule is a finding, and libFuzzer wants a panic"))]

use extension_config::desired_state::{Backend, DesiredState, Phase};
use extension_config::{Facts, cri_resmgr, resolve};
use serde_json::Value;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    configuration(text);
    drop(DesiredState::decode(text));
    if let Ok(value) = serde_saphyr::from_str::<Value>(text) {
        // An example is a patch of a Shoot.
        let owner = value.pointer("/spec/extensions/0/providerConfig").unwrap_or(&value);
        provider_config(owner);
    }
});

fn configuration(text: &str) {
    match cri_resmgr::check(text) {
        Ok(checked) => {
            let modules = checked.by_module();
            assert!(!modules.is_empty(), "nothing is ever pushed empty");
            assert!(modules.values().all(|module| !module.trim().is_empty()), "no module is pushed empty");
            let again = cri_resmgr::check(checked.canonical()).expect("what travels is accepted");
            assert_eq!(again.canonical(), checked.canonical(), "and stays as it is");
            assert!(again.left_out.is_empty(), "and nothing more is left out of it");
            let pushed = cri_resmgr::check_modules(&modules).expect("what is pushed is accepted");
            assert_eq!(pushed.canonical(), checked.canonical(), "and is the same");
        }
        Err(findings) => assert!(!findings.is_empty(), "a refusal has a reason"),
    }
}

fn provider_config(value: &Value) {
    match resolve(None, Some(value), &Facts::default()) {
        Ok(effective) => {
            let (selection, backend) = (effective.selection, effective.backend);
            let texts = match &backend {
                Backend::CriResmgr(daemon) => [daemon.fallback_config.clone(), daemon.force_config.clone()],
                Backend::NriPlugins(_) => [None, None],
            };
            let state = DesiredState { phase: Phase::Install, selection, backend, handover: None };
            let text = state.encode().expect("what is accepted can travel");
            assert_eq!(DesiredState::decode(&text).ok().as_ref(), Some(&state), "and arrives as it was sent");
            assert!(texts.iter().flatten().all(|text| cri_resmgr::check(text).is_ok()), "and is accepted there");
        }
        Err(problems) => {
            assert!(problems.blames_the_shoot(), "there is no base configuration to blame");
            assert!(!problems.places().is_empty() && !problems.to_string().is_empty(), "a refusal says where");
        }
    }
}
