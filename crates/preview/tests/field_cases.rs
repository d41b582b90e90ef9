//! What people have (the cases of the field reports, by their ids), each as the smallest file that shows it, and what a check says to it.

use std::fmt::Write as _;

use preview::{Finding, Kind, Report, Status, base, judge};

/// Id, text, kind that is recognized, what is said; a text with `finding` or `warning` in front, else the outcome.
const CASES: &[(&str, &str, Kind, &str)] = &[
    (
        "E01",
        "configs:\n  EXTRA_OPTIONS: |\n    EXTRA_OPTIONS=\"--metrics-interval 5s\"\n",
        Kind::ProviderConfig,
        "would be accepted: fallback with policy none (built in); options --metrics-interval 5s; on every worker pool with containerd",
    ),
    (
        "E03",
        "configs:\n  EXTRA_OPTIONS: |\n    EXTRA_OPTIONS=\"--metrics-interval=10s\"\n  fallback: |\n    policy: {Active: topology-aware, ReservedResources: {CPU: 750m}}\n",
        Kind::ProviderConfig,
        "would be accepted: fallback with policy topology-aware; options --metrics-interval=10s",
    ),
    (
        "E04",
        "policy: {Active: balloons, ReservedResources: {CPU: 1}, balloons: {BalloonTypes: [{Name: a, CPUClass: b}]}}\ncpu: {classes: {b: {maxFreq: 1}}}\n",
        Kind::Daemon,
        "would be accepted: policy balloons",
    ),
    (
        "E06",
        "policy: {Active: balloons, ReservedResources: {CPU: 1}, balloons: {IdleCPUClass: idle}}\n",
        Kind::Daemon,
        "warning policy.balloons.IdleCPUClass: \"idle\" is not a class of cpu.classes",
    ),
    (
        "E07",
        "policy:\n  Active: topology-aware\n  ReservedResources:\n    CPU: 0\n",
        Kind::Daemon,
        "finding policy.ReservedResources.CPU: is 0, policy topology-aware needs more",
    ),
    (
        "E08",
        "policy: {Active: podpools, ReservedResources: {CPU: 1}, podpools: {Pools: [{Name: a, CPU: 2000m}]}}\n",
        Kind::Daemon,
        "finding policy.podpools.Pools[0].CPU: must be a whole number",
    ),
    (
        "E12",
        "rdt: {partitions: {a: {l3Allocation: 60%}, b: {l3Allocation: 50%}}}\n",
        Kind::Daemon,
        "finding rdt.partitions: l3Allocation (unified, cache id all): all partitions together ask for 110%",
    ),
    ("E17", "\u{feff}policy:\n  Active: none\n", Kind::Daemon, "would be accepted: policy none"),
    (
        "E19",
        "policy: {Active: none}\nlogger: {Debug: \"policy,cache,\"}\n",
        Kind::Daemon,
        "would be accepted: policy none",
    ),
    (
        "E21",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cri-resmgr-config.default}\ndata:\n  policy: '{Active: none}'\n  cpu: 'classes: {a: {minFreq: 2, maxFreq: 1}}'\n",
        Kind::Daemon,
        "finding cpu.classes.a",
    ),
];

const D01: &str = "images:\n- name: gardener-extension-cri-resmgr-installation\n  repository: r.io/x\n  tag: 1.10\n";

#[test]
fn image_vector_overrides_are_judged_as_the_controller_does() {
    for (id, text, expected) in [
        ("D01", D01, "would be accepted: the node agent's image is r.io/x:1.10"),
        (
            "D11",
            "images:\n",
            "would be accepted: the node agent's image is gardener-extension-cri-resmgr-installation:",
        ),
        ("", "images: [{name: other, ref: x}]\n", "warning images: \"other\" is no image that is looked for"),
        ("", "images: [{name: a}]\n", "finding images: image \"a\" needs ref or repository"),
        ("", "images: [{name: ''}, {name: b, ref: x, tag: y}]\n", "finding images[1].ref: excludes repository and tag"),
        ("", "images: 7\n", "finding : is not an image vector: "),
    ] {
        let judged = judge(text, None, None).unwrap();
        let said = said(&judged.documents[0]);
        assert_eq!(judged.documents[0].kind, Kind::ImageVector);
        assert!(said.lines().any(|line| line.starts_with(expected)), "{id} {text}: {said}");
    }
    // An empty file says nothing of itself.
    assert_eq!(judge("", Some(Kind::ImageVector), None).unwrap().status(), Status::Fine);
}

fn said(report: &Report) -> String {
    let each = |word: &'static str, findings: &[Finding]| -> Vec<String> {
        findings.iter().map(|finding| format!("{word} {}: {}", finding.place, finding.message)).collect()
    };
    let all = [vec![report.outcome.clone()], each("finding", &report.findings), each("warning", &report.warnings)];
    all.concat().join("\n")
}

#[test]
fn field_cases() {
    for (id, text, kind, expected) in CASES {
        let judged = judge(text, None, None).unwrap_or_else(|error| panic!("{id}: {error}"));
        let [report] = judged.documents.as_slice() else { panic!("{id}: {judged:?}") };
        assert_eq!(report.kind, *kind, "{id}");
        let said = said(report);
        assert!(said.lines().any(|line| line.starts_with(expected)), "{id}: {said}");
        let refused = said.contains("\nfinding");
        assert_eq!(judged.status(), if refused { Status::Findings } else { Status::Fine }, "{id}: {said}");
        assert_eq!(report.outcome == "would be refused", refused, "{id}: {said}");
    }
}

/// D07: thousands of wrong keys are a few findings and a count.
#[test]
fn findings_are_bounded_whatever_the_input() {
    let mut text =
        "policy:\n  Active: balloons\n  ReservedResources: {CPU: 1}\n  balloons:\n    BalloonTypes:\n    - Name: a\n"
            .to_owned();
    for index in 0..2500 {
        writeln!(text, "      k{index}: 1").unwrap();
    }
    let judged = judge(&text, None, None).unwrap();
    let findings = &judged.documents[0].findings;
    assert_eq!(findings.len(), 21);
    assert_eq!(findings[20].message, "and 2480 more");
    let whole = serde_json::json!({"configs": {"fallback": text}}).to_string();
    let judged = judge(&whole, None, None).unwrap();
    let findings = &judged.documents[0].findings;
    assert_eq!(findings.len(), 21);
    assert!(findings[20].message.contains("2480 more"), "{}", findings[20].message);
}

const SHOOT: &str = "apiVersion: core.gardener.cloud/v1beta1
kind: Shoot
spec:
  kubernetes: {version: 1.32.1}
  provider: {workers: [{name: a, cri: {name: containerd}}]}
  extensions:
  - {type: other}
  - type: cri-resmgr-extension
";

#[test]
fn a_shoot_is_judged_by_its_extension_entry_and_its_workers() {
    for (own, expected) in [
        ("", "would be accepted: fallback with policy none"),
        ("    disabled: true\n", "warning spec.extensions[1].disabled: is true"),
        (
            "    providerConfig: {configs: {fallback: 'policy: {Active: nonsense}'}}\n",
            "finding spec.extensions[1].providerConfig: configs.fallback: policy.Active: ",
        ),
        ("    providerConfig: {nodeSelector: 5}\n", "finding spec.extensions[1].providerConfig: nodeSelector: "),
        (
            "    providerConfig:\n      apiVersion: cri-resmgr.extensions.gardener.cloud/v1alpha1\n      kind: CriResourceManagerConfig\n      selection: {workerPools: [b]}\n",
            "warning spec.extensions[1].providerConfig: selection.workerPools: there is no worker pool \"b\"",
        ),
    ] {
        let judged = judge(&format!("{SHOOT}{own}"), None, None).unwrap();
        let said = said(&judged.documents[0]);
        assert_eq!(judged.documents[0].kind, Kind::Shoot);
        assert!(said.lines().any(|line| line.starts_with(expected)), "{own}: {said}");
    }
    let without = judge("apiVersion: core.gardener.cloud/v1beta1\nkind: Shoot\nspec: {}\n", None, None).unwrap();
    assert!(said(&without.documents[0]).contains("warning spec.extensions: there is no entry"));
}

#[test]
fn each_document_is_judged_and_others_are_skipped() {
    let text = "apiVersion: v1\nkind: Secret\n---\npolicy: {Active: none}\n---\nconfigs: {other: x}\n";
    let judged = judge(text, None, None).unwrap();
    let found: Vec<_> = judged.documents.iter().map(|report| (report.line, report.kind)).collect();
    assert_eq!(found, [(3, Kind::Daemon), (5, Kind::ProviderConfig)]);
    assert_eq!(judged.skipped.len(), 1);
    assert_eq!(judged.status(), Status::Findings);
}

/// One document that cannot be read keeps nothing from the others.
#[test]
fn a_document_that_cannot_be_read_does_not_hide_the_others() {
    let text = "policy: {Active: none}\n---\na: [\n---\nx: 1\n---\nconfigs: {other: x}\n---\nkind: Pod\n";
    let judged = judge(text, None, None).unwrap();
    let found: Vec<_> = judged.documents.iter().map(|report| (report.line, report.kind)).collect();
    assert_eq!(found, [(1, Kind::Daemon), (6, Kind::ProviderConfig)]);
    let lines: Vec<_> = judged.unreadable.iter().map(|document| document.line).collect();
    assert_eq!((lines, judged.skipped.len()), (vec![2, 4], 1));
    assert!(judged.unreadable[0].reason.contains("is neither YAML nor JSON"), "{judged:?}");
    assert_eq!(judged.status(), Status::Unreadable);
}

const DEPLOYMENT: &str = "apiVersion: core.gardener.cloud/v1beta1
kind: ControllerDeployment
type: helm
providerConfig:
  chart: H4sI
  values:
";

/// Base configuration and image vector where a landscape has them, as texts and as structures.
#[test]
fn chart_values_are_judged_as_text_and_as_structure() {
    let good = "configs: {fallback: {policy: {Active: none}}, EXTRA_OPTIONS: --v=2}\nimageVectorOverwrite: |\n  images:\n  - name: gardener-extension-cri-resmgr-installation\n    ref: r.io/x:1\n";
    let bad = "configs:\n  fallback: |\n    policy: {Active: x}\nimageVectorOverwrite: {images: [{name: a}]}\n";
    let indented = |text: &str| format!("    {}\n", text.trim_end().replace('\n', "\n    "));
    let v1 = |text: &str| {
        let values = indented(text);
        format!("apiVersion: core.gardener.cloud/v1\nkind: ControllerDeployment\nhelm:\n  values:\n{values}")
    };
    let operator = |text: &str| {
        let values = indented(&indented(text));
        format!(
            "apiVersion: operator.gardener.cloud/v1alpha1\nkind: Extension\nspec:\n  deployment:\n    extension:\n      values:\n{values}"
        )
    };
    let beta = |text: &str| format!("{DEPLOYMENT}{}", indented(text));
    for (form, place) in [
        (&(|text: &str| text.to_owned()) as &dyn Fn(&str) -> String, ""),
        (&beta, "providerConfig.values."),
        (&v1, "helm.values."),
        (&operator, "spec.deployment.extension.values."),
    ] {
        let judged = judge(&form(good), None, None).unwrap();
        let report = &judged.documents[0];
        assert_eq!((report.kind, judged.status()), (Kind::Values, Status::Fine), "{report:?}");
        assert!(
            report
                .outcome
                .contains("fallback with policy none (base configuration); options --v=2 (base configuration)"),
            "{report:?}"
        );
        assert!(report.outcome.contains("the node agent's image is r.io/x:1"), "{report:?}");
        let judged = judge(&form(bad), None, None).unwrap();
        let places: Vec<_> = judged.documents[0].findings.iter().map(|finding| finding.place.clone()).collect();
        let expected = ["configs: fallback: policy.Active", "imageVectorOverwrite: images"];
        assert_eq!(places, expected.map(|below| format!("{place}{below}")), "{judged:?}");
    }
    let judged = judge(&beta("configs: [a]"), None, None).unwrap();
    assert!(said(&judged.documents[0]).contains("must be a map of configurations, is a list"));
    let nothing = judge(&beta("replicaCount: 2"), None, None).unwrap();
    assert_eq!(nothing.status(), Status::Fine, "{nothing:?}");
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: gardener-extension-cri-resmgr-configs}\ndata: {fallback: 'policy: {Active: x}'}\n";
    assert_eq!(judge(map, None, None).unwrap().status(), Status::Findings);
}

/// The shoot's over the landscape's, as the controller merges them.
#[test]
fn a_shoot_is_judged_over_a_base_configuration() {
    let balloons = "policy: {Active: balloons, ReservedResources: {CPU: 1}}";
    let maps = [
        format!("configs: {{fallback: '{balloons}'}}"),
        format!("kind: Pod\n---\n{DEPLOYMENT}    configs: {{fallback: {{{balloons}}}}}"),
        format!("apiVersion: v1\nkind: ConfigMap\ndata: {{fallback: '{balloons}'}}"),
    ];
    for text in &maps {
        let base = base(text).unwrap();
        for (text, kind) in [("configs: {EXTRA_OPTIONS: --v=2}", Kind::ProviderConfig), (SHOOT, Kind::Shoot)] {
            let judged = judge(text, Some(kind), Some(&base)).unwrap();
            assert!(
                said(&judged.documents[0]).contains("fallback with policy balloons (base configuration)"),
                "{judged:?}"
            );
        }
        let judged = judge("configs: {default: 'policy: {Active: none}'}", None, Some(&base)).unwrap();
        let warned = said(&judged.documents[0]);
        assert!(warned.contains("none differs from the fallback's policy balloons"), "{warned}");
    }
    // Its own faults are named as its own.
    let faulty = base("configs: {fallback: 'policy: {Active: x}'}").unwrap();
    let judged = judge("configs: {EXTRA_OPTIONS: --v=2}", None, Some(&faulty)).unwrap();
    assert!(said(&judged.documents[0]).contains("finding base configuration"), "{judged:?}");
    for text in ["", "a: [", "kind: Pod", "configs: 7"] {
        assert!(base(text).unwrap_err().to_string().contains("has no base configuration"), "{text:?}");
    }
}

#[test]
fn a_document_of_unknown_kind_names_the_option_that_chooses_it() {
    for (text, reported) in [
        ("", "line 1: is no map of fields; say what it is with --as provider-config"),
        ("a: [", "line 1: is neither YAML nor JSON: "),
        ("x: 1\n", "line 1: has neither a kind nor a field"),
        ("policy: {}\nconfigs: {}\n", "line 1: may be several things"),
        ("kind: Pod\n", "no document that can be checked (line 1: is \"\" \"Pod\""),
    ] {
        let error = judge(text, None, None).unwrap_err().to_string();
        assert!(error.contains(reported) && error.contains("--as"), "{text:?}: {error}");
    }
    // Chosen, it is judged.
    for kind in [Kind::Daemon, Kind::ProviderConfig, Kind::Shoot] {
        let judged = judge("a: [", Some(kind), None).unwrap();
        assert_eq!(judged.status(), Status::Findings, "{judged:?}");
    }
    let long = "#".repeat(preview::limits::FILE_BYTES + 1);
    assert!(judge(&long, None, None).unwrap_err().to_string().contains("allowed: 4194304"));
    let many = "---\na: 1\n".repeat(preview::limits::DOCUMENTS + 1);
    assert!(judge(&many, None, None).unwrap_err().to_string().contains("documents"));
}

#[test]
fn a_document_that_cannot_be_read_is_not_shown() {
    let judged = judge("policy: {}\n---\npassword: [hunter2\n", None, None).unwrap();
    assert!(judged.unreadable.len() == 1 && !format!("{judged:?}").contains("hunter2"), "{judged:?}");
    for text in ["kind: Secret\ndata: {password: hunter2}\nx: [\n", "password: [hunter2\n"] {
        let error = judge(text, None, None).unwrap_err();
        assert!(error.to_string().contains("line ") && !format!("{error} {error:?}").contains("hunter2"), "{error}");
        for kind in [Kind::Shoot, Kind::ProviderConfig, Kind::ImageVector, Kind::Kubelet] {
            let judged = judge("password: hunter2\nx: [\n", Some(kind), None).unwrap();
            assert!(judged.status() == Status::Findings && !format!("{judged:?}").contains("hunter2"), "{judged:?}");
        }
    }
}
