//! The contract of a Kubernetes API, against the stand-in. Against a real one: `crates/e2e/tests/real/contract.rs`.

use sandbox::api::ApiServer;
use sandbox::contract::KUBERNETES_API;

#[tokio::test]
async fn the_stand_in_keeps_the_contract_of_a_kubernetes_api() {
    let server = ApiServer::start().await.expect("an API server");
    let client = server.client().expect("a client");
    let mut broken = Vec::new();
    for check in KUBERNETES_API {
        if let Err(error) = check.run(&client).await {
            broken.push(format!("{}: {error:#}", check.name));
        }
    }
    println!("{} of {} rules of a Kubernetes API hold", KUBERNETES_API.len() - broken.len(), KUBERNETES_API.len());
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// A real API expires by compaction and by a full cache, neither of which a client can bring about; how it tells is the same.
#[tokio::test]
async fn a_watch_from_before_the_forgotten_past_expires() {
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
