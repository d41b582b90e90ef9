use std::sync::{Arc, Mutex, PoisonError};

use http::{Request as HttpRequest, Response};
use kube::client::Body;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};

use super::*;

/// Answers in turn, then never.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// The last one comes first.
    answers: Vec<Vec<u8>>,
    /// Paths of the requests that were made.
    asked: Vec<String>,
}

impl Server {
    fn new(answers: Vec<String>) -> Self {
        let answers = answers.into_iter().rev().map(String::into_bytes).collect();
        Self(Arc::new(Mutex::new(State { answers, asked: Vec::new() })))
    }

    fn source(&self, page: u32) -> Source {
        let server = self.clone();
        let service = tower::service_fn(move |request: HttpRequest<Body>| {
            let mut state = server.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.asked.push(request.uri().to_string());
            let answer = state.answers.pop();
            async move {
                match answer {
                    Some(answer) => Response::builder().body(Body::from(answer)).map_err(tower::BoxError::from),
                    None => std::future::pending().await,
                }
            }
        });
        Source {
            client: Client::new(service, "default"),
            metrics: Metrics::register(&mut Registry::default()),
            kind: "Extension",
            path: "/apis/extensions.gardener.cloud/v1alpha1/extensions".to_owned(),
            name: Some("cri-resmgr-extension".to_owned()),
            page,
        }
    }

    fn requests(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).asked.clone()
    }
}

/// Follows until everything was answered, and says what was seen: names and the length of what they stand for.
async fn seen(server: &Server, page: u32) -> Vec<String> {
    let source = server.source(page);
    let mut seen = Vec::new();
    let name = |raw: &RawValue| {
        let found = gardener_api::Extension::from_raw(raw).expect("an object");
        found.metadata.name.unwrap_or_default()
    };
    let follow = source.follow(|event| {
        seen.push(match event {
            Event::Begin => "begin".to_owned(),
            Event::Complete => "complete".to_owned(),
            Event::Listed(raw) => format!("listed {}", name(raw)),
            Event::Changed(raw) => format!("changed {}", name(raw)),
            Event::Gone(raw) => format!("gone {}", name(raw)),
        });
    });
    // Time stands still but for waits: what is never answered is reached at once.
    drop(tokio::time::timeout(Duration::from_secs(20), follow).await);
    seen
}

fn nested(levels: usize) -> [String; 2] {
    let lists = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let maps = format!("{}1{}", r#"{"f:a":"#.repeat(levels), "}".repeat(levels));
    [lists, maps]
}

fn object(name: &str, deep: &str) -> String {
    format!(
        r#"{{"metadata":{{"name":"{name}","resourceVersion":"7","managedFields":[{{"fieldsV1":{deep}}}]}},"spec":{{"providerConfig":{deep}}},"status":{{"new":{deep}}}}}"#
    )
}

fn list(version: &str, token: &str, items: &[String]) -> String {
    let items = items.join(",");
    format!(
        r#"{{"kind":"List","metadata":{{"resourceVersion":"{version}","continue":"{token}"}},"items":[{items}],"new":[]}}"#
    )
}

#[tokio::test(start_paused = true)]
async fn one_deep_object_is_one_deep_object_in_lists_and_events() {
    for levels in [130, 200, 10_000] {
        for deep in nested(levels) {
            let list = list("3", "", &[object("a", "1"), object("b", &deep), object("c", "1")]);
            // As a kube-apiserver writes them, and as whoever sorts members does.
            let events = format!(
                "{{\"type\":\"MODIFIED\",\"object\":{b}}}\n{{\"object\":{c},\"type\":\"ADDED\"}}\n{{\"object\":{b},\"type\":\"DELETED\"}}\n",
                b = object("b", &deep),
                c = object("c", &deep),
            );
            let server = Server::new(vec![list, events]);
            let expected =
                ["begin", "listed a", "listed b", "listed c", "complete", "changed b", "changed c", "gone b"];
            assert_eq!(seen(&server, 500).await, expected, "{levels}");
            let requests = server.requests();
            assert!(
                requests.iter().all(|request| request.contains("fieldSelector=metadata.name%3Dcri-resmgr-extension"))
            );
            assert!(requests[1].contains("resourceVersion=3"), "{requests:?}");
            assert!(requests[2].contains("resourceVersion=7"), "it goes on where it was: {requests:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_too_long_is_asked_for_in_halves() {
    // It stands there three times.
    let text = format!("\"{}\"", "x".repeat(ANSWER_LIMIT / 12));
    let large = |name: &str| object(name, &text);
    let both = list("3", "", &[large("a"), large("b"), large("c"), large("d")]);
    assert!(both.len() > ANSWER_LIMIT);
    let halves = [list("3", "next", &[large("a"), large("b")]), list("3", "", &[large("c"), large("d")])];
    let server = Server::new([both].into_iter().chain(halves).collect());
    assert_eq!(seen(&server, 4).await, ["begin", "listed a", "listed b", "listed c", "listed d", "complete"]);
    let requests = server.requests();
    assert!(requests[0].contains("limit=4") && requests[1].contains("limit=2"), "{requests:?}");
    assert!(requests[2].contains("limit=2") && requests[2].contains("continue=next"), "{requests:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_event_or_too_long_is_skipped() {
    let long = format!("{{\"type\":\"ADDED\",\"object\":\"{}\"}}\n", "x".repeat(ANSWER_LIMIT));
    let good = format!("{{\"type\":\"ADDED\",\"object\":{}}}\n", object("a", "1"));
    let events = format!("{long}no JSON\n[]\n{{\"type\":\"NEW\",\"object\":{{}}}}\n{good}{{\"type\":\"ADDED\",\"obj");
    let server = Server::new(vec![list("3", "", &[]), events]);
    assert_eq!(seen(&server, 500).await, ["begin", "complete", "changed a"]);
}

#[tokio::test(start_paused = true)]
async fn an_expired_version_leads_to_a_new_list_and_other_ends_do_not() {
    let error = |code: u16| {
        let status = json!({ "kind": "Status", "metadata": {}, "code": code, "reason": "Reason", "message": "m" });
        format!("{}\n", json!({ "type": "ERROR", "object": status }))
    };
    let bookmark: Value = json!({ "type": "BOOKMARK", "object": { "metadata": { "resourceVersion": "9" } } });
    let server =
        Server::new(vec![list("3", "", &[]), format!("{bookmark}\n{}", error(500)), error(410), list("12", "", &[])]);
    assert_eq!(seen(&server, 500).await, ["begin", "complete", "begin", "complete"]);
    let requests = server.requests();
    assert!(requests[2].contains("resourceVersion=9"), "{requests:?}");
    assert!(requests[4].contains("resourceVersion=12"), "{requests:?}");
}
