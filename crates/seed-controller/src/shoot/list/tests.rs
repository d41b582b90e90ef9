//! Servers of shoots whose owners mean no good.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use extension_config::names;
use futures::stream::{self, BoxStream, StreamExt as _};
use http::{Request as HttpRequest, Response};
use http_body_util::StreamBody;
use hyper::body::Frame;
use k8s_openapi::api::core::v1::Node;
use serde_json::json;

use super::*;
use crate::removal::nodes::Agent;
use crate::shoot::nodes;

type Parts = BoxStream<'static, Bytes>;

/// A server, how many bytes of its answers were taken, and what it was asked.
struct Server {
    client: Client,
    taken: Arc<AtomicUsize>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new(answer: impl Fn(&str) -> (u16, Parts) + Send + 'static) -> Self {
        let (taken, asked) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (count, noted) = (Arc::clone(&taken), Arc::clone(&asked));
        let service = tower::service_fn(move |request: HttpRequest<Body>| {
            let target = request.uri().to_string();
            let (code, parts) = answer(&target);
            noted.lock().unwrap().push(target);
            let count = Arc::clone(&count);
            let frames = parts.map(move |part| {
                count.fetch_add(part.len(), Ordering::Relaxed);
                Ok::<_, Infallible>(Frame::data(part))
            });
            async move { Response::builder().status(code).body(StreamBody::new(frames)) }
        });
        Self { client: Client::new(service, "ns"), taken, asked }
    }

    /// Names of the nodes that it lists.
    async fn names(&self) -> Result<Vec<String>, String> {
        let mut names = Vec::new();
        let mut lists = Lists::of(&self.client);
        let listed = lists.each::<Node>("nodes", None, "a=b", |object| names.push(object.metadata.name)).await;
        listed.map(|()| names).map_err(|error| error.to_string())
    }

    fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

fn one(text: impl Into<Bytes>) -> Parts {
    stream::iter([text.into()]).boxed()
}

fn list(items: &str, next: &str) -> String {
    format!(r#"{{"kind":"List","apiVersion":"v1","metadata":{{"continue":"{next}"}},"items":[{items}]}}"#)
}

#[tokio::test]
async fn pages_are_asked_for_one_after_the_other() {
    let server = Server::new(|target| {
        let page = if target.contains("continue=two") {
            r#"{"metadata":{"name":"b"}}"#
        } else {
            r#"{"metadata":{"name":"a"}}"#
        };
        (200, one(list(page, if target.contains("continue=two") { "" } else { "two" })))
    });
    assert_eq!(server.names().await, Ok(vec!["a".to_owned(), "b".to_owned()]));
    let asked = server.asked.lock().unwrap().clone();
    let first = format!("/api/v1/nodes?&labelSelector=a%3Db&limit={PAGE}");
    assert_eq!(asked, [first.clone(), format!("{first}&continue=two")]);
}

/// The whole list would be longer than any memory.
#[tokio::test]
async fn an_endless_list_is_read_up_to_the_limit() {
    let server = Server::new(|_| {
        let part = Bytes::from(r#"{"metadata":{"name":"n"}},"#.repeat(1000));
        (200, stream::once(async { Bytes::from_static(br#"{"items":["#) }).chain(stream::repeat(part)).boxed())
    });
    let expected = format!("there is too much to look at: more than {PAGE_MIB} MiB for {PAGE} of nodes");
    assert_eq!(server.names().await, Err(expected));
    assert!(server.taken() < PAGE_MIB * MIB + (64 << 10), "{} bytes were read", server.taken());
}

#[tokio::test]
async fn endless_pages_are_read_up_to_the_limit() {
    let item = format!(r#"{{"metadata":{{"name":"n","annotations":{{"a":"{}"}}}}}}"#, "x".repeat(3 << 20));
    let page = Bytes::from(list(&item, "more"));
    let server = Server::new(move |_| (200, one(page.clone())));
    let expected = format!("there is too much to look at: more than {CHECK_MIB} MiB in all, at the list of nodes");
    assert_eq!(server.names().await, Err(expected));
    assert!(server.taken() < (CHECK_MIB + PAGE_MIB) * MIB, "{} bytes were read", server.taken());
    // Without any bytes to speak of.
    for items in ["", r#"{"metadata":{"name":"n"}}"#] {
        let server = Server::new(move |_| (200, one(list(items, "more"))));
        let expected = format!("there is too much to look at: more than {OBJECTS} of nodes");
        assert_eq!(server.names().await, Err(expected));
        assert!(server.asked.lock().unwrap().len() <= OBJECTS + 1);
    }
}

/// The limit that was asked for is no limit of the server.
#[tokio::test]
async fn more_objects_than_any_shoot_has_are_not_kept() {
    let server = Server::new(|_| (200, one(list(&vec!["{}"; 100_000].join(","), ""))));
    assert_eq!(server.names().await, Err(format!("there is too much to look at: more than {OBJECTS} of nodes")));
}

/// 100 000 Leases of 250 KB, all at once: 25 GB.
#[tokio::test]
async fn leases_with_huge_reports_end_the_check_and_nothing_else() {
    let server = Server::new(|target| {
        if !target.contains("leases") {
            return (200, one(list("", "")));
        }
        let annotations = json!({ names::NODE_REPORT_ANNOTATION: "x".repeat(250_000) });
        let lease = json!({ "metadata": { "name": "cri-resmgr-node-a", "annotations": annotations } });
        let first = stream::once(async { Bytes::from_static(br#"{"items":["#) });
        (200, first.chain(stream::repeat(Bytes::from(format!("{lease},"))).take(100_000)).boxed())
    });
    let outcome = nodes(&server.client).await.map_err(|error| error.to_string());
    let expected = format!("there is too much to look at: more than {PAGE_MIB} MiB for {PAGE} of leases");
    assert_eq!(outcome, Err(expected));
    assert!(server.taken() < (PAGE_MIB + 1) * MIB, "{} bytes were read", server.taken());
}

#[tokio::test]
async fn one_object_that_cannot_be_read_is_one_object() {
    let deep =
        format!(r#"{{"metadata":{{"name":"deep"}},"spec":{{"a":{}{}}}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    let items = [
        r#"{"metadata":{"name":"a"}}"#,
        deep.as_str(),
        r#"{"metadata":{"name":"odd","annotations":7,"creationTimestamp":"yesterday"},"spec":[],"status":"?"}"#,
        r#"{"metadata":{"name":17}}"#,
        r#""no object""#,
        r#"{"metadata":{"name":"z"}}"#,
    ]
    .join(",");
    let server = Server::new(move |target| (200, one(list(if target.contains("nodes") { &items } else { "" }, ""))));
    assert_eq!(server.names().await, Ok(["a", "deep", "odd", "", "", "z"].map(str::to_owned).to_vec()));
    let found = nodes(&server.client).await.unwrap();
    let names: Vec<_> = found.iter().map(|node| (node.name.as_str(), node.agent)).collect();
    // Nobody says of any of them that it is clean.
    let awaited = ["(no name)", "a", "deep", "odd", "z"].map(|name| (name, Agent::Missing));
    assert_eq!(names, awaited);
}

#[tokio::test]
async fn what_is_no_list_is_no_shoot_without_nodes() {
    for answer in
        ["", "{}", "[]", "null", r#"{"items":{}}"#, r#"{"items":[}"#, r#"{"items":[],"metadata":{"continue":1}}"#]
    {
        let server = Server::new(move |_| (200, one(answer)));
        let expected = "its API server answered with something else than a list of nodes".to_owned();
        assert_eq!(server.names().await, Err(expected), "{answer}");
    }
    let server = Server::new(|_| (200, one(r#"{"items":null}"#)));
    assert_eq!(server.names().await, Ok(Vec::new()));
    let server = Server::new(|_| (200, one(list("", &"x".repeat(TOKEN + 1)))));
    assert!(server.names().await.is_err());
}

#[tokio::test]
async fn of_a_refusal_only_its_reason_is_reported() {
    let status = |reason: &str| json!({ "kind": "Status", "reason": reason, "message": "secret" }).to_string();
    for (code, answer, expected) in [
        (403, status("Forbidden"), "Forbidden"),
        (401, status("Unauthorized"), "Unauthorized"),
        (403, status("<b>call 0123456</b>"), "HTTP status 403"),
        (403, status(&"x".repeat(65)), "HTTP status 403"),
        (503, "no JSON".to_owned(), "HTTP status 503"),
        (302, status("Found"), "Found"),
        (500, format!("{}{}", status("Late"), " ".repeat(REFUSAL)), "HTTP status 500"),
    ] {
        let server = Server::new(move |_| (code, one(answer.clone())));
        let expected = format!("its API server refused to list nodes: {expected}");
        assert_eq!(server.names().await, Err(expected), "{code}");
    }
}
