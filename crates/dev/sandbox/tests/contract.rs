//! The contracts, against the stand-ins. Against the real components: `crates/dev/e2e/tests/real/contract.rs`.

use std::path::Path;

use contract::{
    CONTAINER_RUNTIME, ContractReport, KUBERNETES_API, Machine, RESOURCE_MANAGER, SYSTEMD, SeedAndShoot, verify,
};
use extension_config::names::node;
use fake_kube_api::ApiServer;
use sandbox::{Binaries, SHOOT_NAMESPACE, Sandbox, WORKER_POOL};

#[expect(clippy::print_stdout, reason = "the result is shown beside that of the real components")]
fn ensure_kept(reports: &[ContractReport]) -> anyhow::Result<()> {
    for report in reports {
        println!("{report}");
    }
    let broken: Vec<&str> = reports.iter().flat_map(|report| &report.broken).map(String::as_str).collect();
    anyhow::ensure!(broken.is_empty(), "{}", broken.join("\n"));
    Ok(())
}

#[tokio::test]
async fn the_stand_in_keeps_the_contract_of_a_kubernetes_api() -> anyhow::Result<()> {
    let server = ApiServer::start().await?;
    ensure_kept(&[verify("a Kubernetes API", KUBERNETES_API, &server.client()?).await])
}

#[tokio::test]
async fn the_stand_ins_keep_the_contracts_of_a_node_and_of_a_resource_manager() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let sandbox = Sandbox::up(&root, &Binaries::build(&root)?, &[WORKER_POOL]).await?;
    let (node, mut reports) = (&sandbox.nodes()[0], Vec::new());
    let machine = Machine::at(node.root()).await?;
    reports.push(verify("systemd", SYSTEMD, &machine).await);
    let seed_and_shoot = SeedAndShoot::new(sandbox.seed.client()?, sandbox.shoot.client()?, SHOOT_NAMESPACE);
    reports.push(verify("gardener-resource-manager", RESOURCE_MANAGER, &seed_and_shoot).await);
    let socket = |path: &str| node.root().join(path.trim_start_matches('/'));
    reports.push(verify("containerd", CONTAINER_RUNTIME, &socket(node::CONTAINERD_SOCKET)).await);
    let on = async {
        sandbox.switch_on(None).await?;
        sandbox.wait_installed(node).await
    };
    if let Err(error) = on.await {
        anyhow::bail!("{error:#}\n{}", sandbox.explain());
    }
    reports.push(verify("containerd behind cri-resmgr", CONTAINER_RUNTIME, &socket(node::RELAY_SOCKET)).await);
    sandbox.down().await?;
    ensure_kept(&reports)
}

/// A real API expires by compaction and by a full cache, neither of which a client can bring about; how it says so is the same.
#[tokio::test]
async fn a_watch_from_before_the_kept_history_expires() {
    use futures::TryStreamExt as _;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::{WatchEvent, WatchParams};

    let server = ApiServer::start().await.expect("an API server");
    let api: kube::Api<ConfigMap> = kube::Api::default_namespaced(server.client().expect("a client"));
    let before = api
        .list(&kube::api::ListParams::default())
        .await
        .expect("a list")
        .metadata
        .resource_version
        .expect("a version");
    let map = ConfigMap {
        metadata: kube::api::ObjectMeta { name: Some("a".into()), ..Default::default() },
        ..Default::default()
    };
    api.create(&kube::api::PostParams::default(), &map).await.expect("created");
    server.store().compact();
    let mut events = std::pin::pin!(api.watch(&WatchParams::default(), &before).await.expect("a watch"));
    match events.try_next().await {
        Ok(Some(WatchEvent::Error(status))) => assert_eq!((status.code, status.reason.as_str()), (410, "Expired")),
        other => panic!("{other:?}"),
    }
}
