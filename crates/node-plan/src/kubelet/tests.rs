use super::{Endpoint, UnitShapeError, check_unit_shape, cpu_manager_policy, effective_endpoint};

fn shape(line: &str) -> Result<(), UnitShapeError> {
    check_unit_shape(&[line.split(' ').map(str::to_owned).collect()])
}

#[test]
fn units_that_gardener_and_its_providers_write_are_accepted() {
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
fn other_units_are_refused_by_name() {
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
            UnitShapeError::EditedByPredecessor,
        ),
        (
            "/opt/bin/kubelet --container-runtime-endpoint=unix:///run/crio/crio.sock $KUBELET_EXTRA_ARGS",
            UnitShapeError::ForeignEndpoint("unix:///run/crio/crio.sock".into()),
        ),
    ] {
        assert_eq!(shape(line), Err(error), "{line}");
    }
    assert_eq!(check_unit_shape(&[]), Err(UnitShapeError::ExecStartCount(0)));
    assert_eq!(check_unit_shape(&[vec![], vec![]]), Err(UnitShapeError::ExecStartCount(2)));
}

#[test]
fn the_last_endpoint_counts() {
    for (line, endpoint) in [
        ("kubelet", Endpoint::Containerd),
        ("kubelet --container-runtime-endpoint=unix:///run/containerd/containerd.sock", Endpoint::Containerd),
        (
            "kubelet --container-runtime-endpoint=unix:///run/containerd/containerd.sock --v=2 \
             --container-runtime-endpoint=unix:///run/cri-resmgr/cri-resmgr.sock",
            Endpoint::Proxy,
        ),
        (
            "kubelet --container-runtime-endpoint=unix:///run/cri-resmgr/cri-resmgr.sock \
             --container-runtime-endpoint /run/containerd/containerd.sock",
            Endpoint::Containerd,
        ),
        ("kubelet \"--container-runtime-endpoint=unix:///var/run/cri-resmgr/cri-resmgr.sock\"", Endpoint::Proxy),
        ("kubelet --container-runtime-endpoint=unix:///run/other.sock", Endpoint::Foreign),
        ("kubelet --container-runtime-endpoint-x=unix:///run/other.sock", Endpoint::Containerd),
        ("kubelet --container-runtime-endpoint", Endpoint::Containerd),
    ] {
        assert_eq!(effective_endpoint(line), endpoint, "{line}");
    }
}

#[test]
fn the_cpu_manager_policy_is_found() {
    for (text, policy) in [
        ("", "none"),
        ("apiVersion: x\ncpuManagerPolicy: static\n", "static"),
        ("cpuManagerPolicy: \"none\" # fine\n", "none"),
        ("cpuManagerPolicy:\n", "none"),
        ("nested:\n  cpuManagerPolicy: static\n", "none"),
        ("{\n  \"cpuManagerPolicy\": \"static\",\n}", "static"),
        ("cpuManagerPolicyOptions: {}\n", "none"),
    ] {
        assert_eq!(cpu_manager_policy(text), policy, "{text:?}");
    }
}
