//! Nodes' kubelets: the field cases N01 to N22, each as the smallest directory that shows it, and what a node would do.

use preview::{Finding, Kind, NodeFiles, Status, judge, judge_node};

const CONFIG: (&str, &str) = ("var/lib/kubelet/config/kubelet", "kind: KubeletConfiguration\n");

/// Gardener's unit, with `words` behind the program.
fn gardener(words: &str) -> String {
    format!(
        "[Unit]\nDescription=kubelet\n[Service]\nEnvironmentFile=-/var/lib/kubelet/extra_args\nExecStart=/opt/bin/kubelet \\\n    \
         --config=/var/lib/kubelet/config/kubelet \\\n    {words}\nExecStartPre=/bin/true\n"
    )
}

/// Outcome, and warnings.
fn said(files: &[(&str, &str)]) -> (String, Vec<Finding>) {
    let files: NodeFiles = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    let mut judged = judge_node(&files);
    let report = judged.documents.remove(0);
    assert_eq!(report.kind, Kind::Kubelet);
    assert_eq!(report.findings.is_empty(), report.outcome == "would switch", "{report:?}");
    (report.outcome, report.warnings)
}

/// Id, words of the unit, extra arguments, configuration file, how the outcome begins.
const CASES: &[(&str, &str, &str, &str, &str)] = &[
    ("plain", "$KUBELET_EXTRA_ARGS", "KUBELET_EXTRA_ARGS=--v=2\n", "", "would switch"),
    (
        "N01",
        "$KUBELET_EXTRA_ARGS",
        "KUBELET_EXTRA_ARGS=\"--cpu-manager-policy=static\"\n",
        "",
        "refused because cpuManagerPolicy of kubelet is \"static\" (--cpu-manager-policy)",
    ),
    (
        "N02",
        "$KUBELET_EXTRA_ARGS",
        "",
        r#"{"kind":"KubeletConfiguration","apiVersion":"kubelet.config.k8s.io/v1beta1","cpuManagerPolicy":"static"}"#,
        "refused because cpuManagerPolicy of kubelet is \"static\" (/var/lib/kubelet/config/kubelet)",
    ),
    ("N05", "$KUBELET_EXTRA_ARGS", "", "containerRuntimeEndpoint: /run/containerd/containerd.sock\n", "would switch"),
    (
        "N05",
        "$KUBELET_EXTRA_ARGS",
        "",
        "containerRuntimeEndpoint: unix:///run/crio/crio.sock\n",
        "refused because /var/lib/kubelet/config/kubelet names the container runtime \"unix:///run/crio/crio.sock\"",
    ),
    (
        "N06",
        "$KUBELET_EXTRA_ARGS $KUBELET_KUBEADM_ARGS",
        "KUBELET_KUBEADM_ARGS=\"--container-runtime-endpoint=unix:///run/containerd/containerd.sock\"\n",
        "",
        "refused because the command line of kubelet.service has $KUBELET_KUBEADM_ARGS after $KUBELET_EXTRA_ARGS",
    ),
    (
        "N22",
        "--container_runtime_endpoint=unix:///run/crio/crio.sock $KUBELET_EXTRA_ARGS",
        "",
        "",
        "refused because the command line of kubelet.service names the container runtime \"unix:///run/crio/crio.sock\"",
    ),
    ("braces", "${KUBELET_EXTRA_ARGS}", "", "", "refused because the command line of kubelet.service has no unbraced"),
    ("odd file", "$KUBELET_EXTRA_ARGS", "", "[a]", "refused because the configuration of kubelet cannot be read"),
];

#[test]
fn field_cases() {
    for (id, words, extra, configuration, expected) in CASES {
        let unit = gardener(words);
        let whole = [
            ("kubelet.service", unit.as_str()),
            ("extra_args", extra),
            ("var/lib/kubelet/config/kubelet", configuration),
        ];
        // As a copy of the node's tree, and as a handful of files.
        let flat =
            [("etc/systemd/system/kubelet.service", unit.as_str()), ("extra_args", extra), ("kubelet", configuration)];
        for files in [whole, flat] {
            let (outcome, warnings) = said(&files);
            assert!(outcome.starts_with(expected), "{id}: {outcome}");
            assert_eq!(warnings, [], "{id}");
        }
    }
}

/// N08: a socket of ours that is left over is no reason to refuse; the gate takes it out.
#[test]
fn our_own_socket_in_the_hosts_arguments_is_a_warning() {
    for extra in [
        "--container-runtime-endpoint=/var/run/cri-resmgr/cri-resmgr.sock",
        "--container-runtime-endpoint=unix:///var/run/cri-resmgr/cri-resmgr.sock",
        "--container-runtime-endpoint unix:///run/cri-resmgr/cri-resmgr.sock",
    ] {
        let extra = format!("KUBELET_EXTRA_ARGS=\"{extra}\"\n");
        let unit = gardener("$KUBELET_EXTRA_ARGS");
        let (outcome, warnings) = said(&[("kubelet.service", &unit), ("extra_args", &extra), CONFIG]);
        assert_eq!(outcome, "would switch");
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].message.contains("the gate takes it out"), "{warnings:?}");
    }
}

#[test]
fn drop_ins_and_environment_files_are_applied_in_order() {
    let unit =
        "[Service]\nEnvironment=\"KUBELET_EXTRA_ARGS=--a\"\nEnvironmentFile=/etc/a\nExecStart=/bin/kubelet --v=2\n";
    let static_policy = "KUBELET_EXTRA_ARGS=--cpu-manager-policy=static\n";
    let reset = "[Service]\nExecStart=\nExecStart=/bin/kubelet $KUBELET_EXTRA_ARGS\n";
    for (files, expected, warned) in [
        (&[("etc/a", "")][..], "refused because the command line of kubelet.service has no unbraced", 0),
        (&[("etc/a", ""), ("kubelet.service.d/1.conf", reset)], "would switch", 0),
        (&[("kubelet.service.d/1.conf", reset)], "would switch", 1),
        (&[("a", static_policy), ("kubelet.service.d/1.conf", reset)], "refused because cpuManagerPolicy", 0),
        (
            &[
                ("etc/a", static_policy),
                ("b", "KUBELET_EXTRA_ARGS=\n"),
                ("etc/systemd/system/kubelet.service.d/1.conf", reset),
                ("run/systemd/system/kubelet.service.d/2.conf", "[Service]\nEnvironmentFile=-/b\n"),
            ],
            "would switch",
            0,
        ),
        (
            &[("etc/a", ""), ("kubelet.service.d/1.conf", "[Service]\nExecStart=/x\n")],
            "refused because kubelet.service has 2 ExecStart lines",
            0,
        ),
        (
            &[("etc/a", ""), ("kubelet.service.d/1.conf", "[Service]\nExecStart=\nExecStart=/x \"a\n")],
            "refused because a quote is open",
            0,
        ),
    ] {
        let (outcome, warnings) = said(&[&[("kubelet.service", unit)], files].concat());
        assert!(outcome.starts_with(expected), "{files:?}: {outcome}");
        assert_eq!(warnings.len(), warned, "{files:?}: {warnings:?}");
    }
    assert!(said(&[]).0.starts_with("refused because there is no kubelet.service"));
}

#[test]
fn drop_ins_of_the_kubelet_configuration_are_applied() {
    let unit = "[Service]\nExecStart=/bin/kubelet --config-dir=/etc/kubelet.d $KUBELET_EXTRA_ARGS\n";
    let (outcome, _) = said(&[("kubelet.service", unit), ("kubelet.d/1.conf", "memoryManagerPolicy: Static\n")]);
    assert!(outcome.contains("memoryManagerPolicy of kubelet is \"Static\" (/etc/kubelet.d/1.conf)"), "{outcome}");
}

#[test]
fn a_kubelet_configuration_is_judged_by_itself() {
    let text = |policy: &str| {
        format!(
            r#"{{"kind":"KubeletConfiguration","apiVersion":"kubelet.config.k8s.io/v1beta1","cpuManagerPolicy":"{policy}"}}"#
        )
    };
    for (policy, status) in [("static", Status::Findings), ("none", Status::Fine)] {
        assert_eq!(judge(&text(policy), None, None).unwrap().status(), status);
    }
}

/// N09, N10: what the agent would find before each restart onto the proxy.
#[test]
fn a_later_drop_in_that_undoes_the_override_is_refused() {
    let unit = gardener("$KUBELET_EXTRA_ARGS");
    let undoes = "refused because a later drop-in of kubelet.service undoes ours: ";
    for (name, drop_in, expected) in [
        (
            "99-proxy.conf",
            "[Service]\nEnvironmentFile=/etc/default/kubelet\n",
            format!("{undoes}EnvironmentFile /etc/default/kubelet sets KUBELET_EXTRA_ARGS"),
        ),
        (
            "99-reset.conf",
            "[Service]\nEnvironmentFile=\nEnvironmentFile=-/var/lib/kubelet/extra_args\n",
            format!("{undoes}EnvironmentFile does not name /run/gardener-extension-cri-resmgr/runtime.env"),
        ),
        ("99-pre.conf", "[Service]\nExecStartPre=\n", format!("{undoes}ExecStartPre does not run the gate")),
        (
            "99-pre.conf",
            "[Service]\nExecStartPre=\nExecStartPre=/bin/true\n",
            format!("{undoes}ExecStartPre does not run the gate"),
        ),
        (
            "99-more.conf",
            "[Service]\nEnvironmentFile=/etc/default/other\nExecStartPre=/bin/true\n",
            "would switch".to_owned(),
        ),
        // Before ours.
        (
            "10-pre.conf",
            "[Service]\nExecStartPre=\nEnvironmentFile=\nEnvironmentFile=/etc/default/kubelet\n",
            "would switch".to_owned(),
        ),
    ] {
        for directory in
            ["etc/systemd/system/kubelet.service.d", "run/systemd/system/kubelet.service.d", "kubelet.service.d"]
        {
            let path = format!("{directory}/{name}");
            let (outcome, _) = said(&[
                ("kubelet.service", &unit),
                (&path, drop_in),
                ("etc/default/kubelet", "KUBELET_EXTRA_ARGS=--v=4\n"),
                ("etc/default/other", "OTHER=1\n"),
                CONFIG,
            ]);
            assert_eq!(outcome, expected, "{path}: {drop_in}");
        }
    }
}
