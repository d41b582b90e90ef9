use std::convert::Infallible;
use std::sync::Arc;

use extension_config::names::NODE_REPORT_ANNOTATION;
use http::{Request, Response, header};
use kube::client::Body;
use serde_json::json;

use super::*;

type Asked = Arc<Mutex<Vec<String>>>;

/// A shoot's API server with these items.
fn server(of_nodes: Value, of_leases: Value) -> (Client, Asked) {
    let asked = Asked::default();
    let noted = Arc::clone(&asked);
    let service = tower::service_fn(move |request: Request<Body>| {
        let accept = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        noted.lock().unwrap().push(format!("{} {accept}", request.uri()));
        let items = if request.uri().path().ends_with("/nodes") { &of_nodes } else { &of_leases };
        let text = json!({ "metadata": {}, "items": items }).to_string();
        async move { Ok::<_, Infallible>(Response::new(Body::from(text.into_bytes()))) }
    });
    (Client::new(service, "ns"), asked)
}

fn lease(name: &str, report: &Value) -> Value {
    json!({ "metadata": { "name": name, "annotations": { NODE_REPORT_ANNOTATION: report } } })
}

#[tokio::test]
async fn reports_are_read_of_metadata_alone_and_leases_of_nobody_count_for_nothing() {
    let good = json!({ "stage": "Installed" }).to_string();
    let node = |name: &str| json!({ "metadata": { "name": name } });
    let (client, asked) = server(
        json!([node("a"), node("b"), node("c"), node("d"), node("e"), { "metadata": { "name": "Not a name" } }]),
        json!([
            lease("cri-resmgr-node-a", &json!(good)),
            lease("cri-resmgr-node-b", &json!("{")),
            // Longer than any report, and no text.
            lease("cri-resmgr-node-c", &json!(format!("{good}{}", " ".repeat(5000)))),
            lease("cri-resmgr-node-d", &json!(7)),
            lease("cri-resmgr-node-gone", &json!(good)),
            lease("cri-resmgr-switches", &json!(good)),
        ]),
    );
    let found = nodes(&client).await.unwrap();
    let reported: Vec<(&str, &str)> = found
        .iter()
        .map(|node| {
            let report = match &node.report {
                Report::Missing => "missing",
                Report::Unreadable => "unreadable",
                Report::Present(reported) => reported.stage.as_str(),
            };
            (node.name.as_str(), report)
        })
        .collect();
    assert_eq!(
        reported,
        [
            ("a", "Installed"),
            ("b", "unreadable"),
            ("c", "unreadable"),
            ("d", "unreadable"),
            ("e", "missing"),
            ("(no name)", "missing")
        ]
    );
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 2);
    assert!(
        asked.iter().all(|one| one.contains("limit=250") && one.contains("as=PartialObjectMetadataList")),
        "{asked:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn few_clients_are_kept_and_those_that_were_used_last() {
    let (client, _) = server(json!([]), json!([]));
    let clients = Clients::default();
    for number in 0..3 * CLIENTS {
        clients.put(&format!("ns-{number}"), client.clone());
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        assert!(clients.get("ns-0").is_some(), "it is in use");
    }
    assert_eq!(clients.lock().len(), CLIENTS);
    assert!(clients.get("ns-1").is_none() && clients.get(&format!("ns-{}", 3 * CLIENTS - 1)).is_some());
    tokio::time::advance(ABANDONED).await;
    clients.put("one", client);
    assert_eq!(clients.lock().len(), 1, "nobody asks for the others any more");
    clients.remove("one");
    assert!(clients.get("one").is_none());
}
