use kubelet_config::{Setting, Settings};

use super::{Kubelet, UnitShapeError, check_kubelet};
use crate::observed::Unit;

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

fn kubelet(exec_start: &[&str]) -> Kubelet {
    Kubelet {
        unit: Unit::default(),
        exec_start: exec_start.iter().map(|line| words(line)).collect(),
        command_line: None,
        settings: Ok(Settings::default()),
    }
}

fn shape(line: &str) -> Result<(), UnitShapeError> {
    check_kubelet(&kubelet(&[line]))
}

fn running(line: &str, process: &str) -> Result<(), UnitShapeError> {
    check_kubelet(&Kubelet { command_line: Some(words(process)), ..kubelet(&[line]) })
}

fn foreign(origin: &str, value: &str) -> UnitShapeError {
    UnitShapeError::ForeignEndpoint { origin: origin.into(), value: value.into() }
}

const UNIT: &str = "the command line of kubelet.service";

#[test]
fn kubelet_units_of_gardener_and_its_providers_are_accepted() {
    for line in [
        "/opt/bin/kubelet --config=/c --container-runtime-endpoint=unix:///run/containerd/containerd.sock --v=2 $KUBELET_EXTRA_ARGS",
        "/opt/bin/kubelet --container-runtime=remote --container-runtime-endpoint=/run/containerd/containerd.sock $KUBELET_EXTRA_ARGS",
        "/opt/bin/kubelet --container-runtime-endpoint unix:///var/run/containerd/containerd.sock $KUBELET_EXTRA_ARGS --cloud-provider=external",
        "/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS",
        "/opt/bin/kubelet --node-labels=worker.gardener.cloud/cri-name=containerd --node-ip=:: $KUBELET_EXTRA_ARGS",
    ] {
        assert_eq!(shape(line), Ok(()), "{line}");
    }
}

#[test]
fn kubelet_units_that_cannot_be_overridden_are_refused_with_their_reason() {
    for (line, error) in [
        ("/opt/bin/kubelet --v=2", UnitShapeError::NoVariable),
        ("/opt/bin/kubelet ${KUBELET_EXTRA_ARGS}", UnitShapeError::NoVariable),
        ("/opt/bin/kubelet $KUBELET_EXTRA_ARGS# x", UnitShapeError::NoVariable),
        ("/opt/bin/kubelet --x=$KUBELET_EXTRA_ARGS", UnitShapeError::NoVariable),
        (
            "/opt/bin/kubelet $KUBELET_EXTRA_ARGS --container-runtime-endpoint=unix:///run/containerd/containerd.sock",
            UnitShapeError::EndpointAfterVariable,
        ),
        (
            "/opt/bin/kubelet --container-runtime-endpoint=/var/run/cri-resmgr/cri-resmgr.sock $KUBELET_EXTRA_ARGS",
            UnitShapeError::EditedByPredecessor(UNIT.into()),
        ),
        (
            "/opt/bin/kubelet --container-runtime-endpoint=unix:///run/crio/crio.sock $KUBELET_EXTRA_ARGS",
            foreign(UNIT, "unix:///run/crio/crio.sock"),
        ),
        (
            "/opt/bin/kubelet --container_runtime_endpoint=unix:///run/crio/crio.sock $KUBELET_EXTRA_ARGS",
            foreign(UNIT, "unix:///run/crio/crio.sock"),
        ),
        (
            "/opt/bin/kubelet --container-runtime-endpoint=/x.sock --container-runtime-endpoint=/run/containerd/containerd.sock $KUBELET_EXTRA_ARGS",
            foreign(UNIT, "/x.sock"),
        ),
        (
            "/opt/bin/kubelet $KUBELET_EXTRA_ARGS --container_runtime_endpoint /run/containerd/containerd.sock",
            UnitShapeError::EndpointAfterVariable,
        ),
    ] {
        assert_eq!(shape(line), Err(error), "{line}");
    }
    assert_eq!(check_kubelet(&kubelet(&[])), Err(UnitShapeError::ExecStartCount(0)));
    assert_eq!(check_kubelet(&kubelet(&["", ""])), Err(UnitShapeError::ExecStartCount(2)));
}

/// Field cases N05, N06: what a variable holds shows in the process only.
#[test]
fn endpoint_in_a_variable_is_found_in_the_running_kubelet() {
    let containerd = "--container-runtime-endpoint=unix:///run/containerd/containerd.sock";
    let ours = "--container-runtime-endpoint=unix:///run/cri-resmgr/cri-resmgr.sock";
    let kind = "/usr/bin/kubelet $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS";
    let turned = "/usr/bin/kubelet $KUBELET_EXTRA_ARGS $KUBELET_KUBEADM_ARGS";
    let provider = format!("/opt/bin/kubelet {containerd} $KUBELET_EXTRA_ARGS --provider-id=${{PROVIDER_ID}}");
    for (line, process, expected) in [
        (kind, format!("/usr/bin/kubelet {containerd}"), Ok(())),
        (kind, format!("/usr/bin/kubelet {containerd} {ours}"), Ok(())),
        (turned, "/usr/bin/kubelet --v=2".to_owned(), Ok(())),
        (
            turned,
            format!("/usr/bin/kubelet {containerd}"),
            Err(UnitShapeError::VariableAfterVariable("$KUBELET_KUBEADM_ARGS".into())),
        ),
        (&provider, format!("/opt/bin/kubelet {containerd} --provider-id=aws:///x"), Ok(())),
        (
            kind,
            "/usr/bin/kubelet --container-runtime-endpoint /run/crio/crio.sock".to_owned(),
            Err(foreign("the command line of the running kubelet", "/run/crio/crio.sock")),
        ),
        (
            kind,
            format!("/usr/bin/kubelet --container-runtime-endpoint /run/crio/crio.sock {ours}"),
            Err(foreign("the command line of the running kubelet", "/run/crio/crio.sock")),
        ),
    ] {
        assert_eq!(running(line, &process), expected, "{line}: {process}");
    }
}

#[test]
fn endpoint_in_a_configuration_file_is_checked_like_a_flag() {
    for (value, expected) in [
        ("unix:///run/containerd/containerd.sock", Ok(())),
        ("/var/run/cri-resmgr/cri-resmgr.sock", Err(UnitShapeError::EditedByPredecessor("/c".into()))),
        ("unix:///run/crio/crio.sock", Err(foreign("/c", "unix:///run/crio/crio.sock"))),
    ] {
        let endpoint = Setting { value: value.into(), origin: "/c".into() };
        let settings = Settings { endpoint_in_files: Some(endpoint), ..Settings::default() };
        let kubelet = Kubelet { settings: Ok(settings), ..kubelet(&["/usr/bin/kubelet $KUBELET_EXTRA_ARGS"]) };
        assert_eq!(check_kubelet(&kubelet), expected, "{value}");
    }
}
