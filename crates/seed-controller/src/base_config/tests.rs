use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Mutex;

use http::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;

/// What the API server answers to one list, and then sends in the watch that follows. An empty watch stays silent.
enum Round {
    Fails,
    Serves { listed: Vec<Value>, events: Vec<Value> },
}

fn map(version: u32, policy: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": { "policy": policy },
        "metadata": { "name": names::BASE_CONFIG_MAP, "namespace": "ns", "resourceVersion": version.to_string() },
    })
}

fn event(type_: &str, object: &Value) -> Value {
    json!({ "type": type_, "object": object })
}

/// Plays the rounds; the times of the lists are returned as they happen.
fn client(rounds: Vec<Round>) -> (Client, Arc<Mutex<Vec<Instant>>>) {
    let (rounds, lists) = (Arc::new(Mutex::new(VecDeque::from(rounds))), Arc::new(Mutex::new(Vec::new())));
    let times = Arc::clone(&lists);
    let events = Arc::new(Mutex::new(Vec::new()));
    let service = tower::service_fn(move |request: Request<Body>| {
        let is_watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
        let (code, text) = if is_watch {
            let reported = std::mem::take(&mut *events.lock().unwrap());
            let lines: Vec<String> = reported.iter().map(|event: &Value| format!("{event}\n")).collect();
            (200, lines.concat())
        } else {
            times.lock().unwrap().push(Instant::now());
            match rounds.lock().unwrap().pop_front() {
                Some(Round::Serves { listed, events: next }) => {
                    *events.lock().unwrap() = next;
                    let list = json!({
                        "apiVersion": "v1", "kind": "ConfigMapList", "metadata": { "resourceVersion": "1" }, "items": listed,
                    });
                    (200, list.to_string())
                }
                Some(Round::Fails) | None => {
                    let status = json!({ "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": 403, "reason": "Forbidden", "message": "no" });
                    (403, status.to_string())
                }
            }
        };
        async move {
            if is_watch && text.is_empty() {
                std::future::pending::<()>().await;
            }
            Ok::<_, Infallible>(Response::builder().status(code).body(Body::from(text.into_bytes())).unwrap())
        }
    });
    (Client::new(service, "ns"), lists)
}

/// Follows the watch for so long; what is in effect whenever the revision moves.
async fn follow(rounds: Vec<Round>, time: Duration) -> (Vec<Option<String>>, Vec<Instant>) {
    let base = Arc::new(BaseConfig::default());
    let (watch, mut revision) = BaseConfigWatch::new(Arc::clone(&base), &mut Registry::default());
    let (client, lists) = client(rounds);
    let mut seen = Vec::new();
    let wait = async {
        while revision.changed().await.is_ok() {
            seen.push(base.current().and_then(|data| data.get("policy").cloned()));
        }
    };
    tokio::select! {
        () = watch.run(client, "ns") => panic!("the watch ended"),
        () = wait => panic!("nobody watches"),
        () = tokio::time::sleep(time) => {}
    }
    let lists = lists.lock().unwrap().clone();
    (seen, lists)
}

#[tokio::test(start_paused = true)]
async fn configuration_follows_lists_and_events() {
    let gone = event("DELETED", &map(4, "c"));
    let rounds = vec![Round::Serves { listed: vec![map(1, "a")], events: Vec::new() }];
    let (seen, _) = follow(rounds, Duration::from_secs(5)).await;
    assert_eq!(seen, [Some("a".to_owned())]);
    for (events, last) in [
        (vec![event("MODIFIED", &map(2, "b"))], Some("b".to_owned())),
        (vec![event("MODIFIED", &map(2, "b")), gone.clone()], None),
        (vec![event("DELETED", &map(2, "a")), event("ADDED", &map(3, "c"))], Some("c".to_owned())),
    ] {
        let rounds = vec![Round::Serves { listed: vec![map(1, "a")], events }];
        let (seen, _) = follow(rounds, Duration::from_secs(5)).await;
        // The list may have been overtaken by an event before anybody read it: only the last state is promised.
        assert_eq!(seen.last().cloned().flatten(), last, "{seen:?}");
    }
}

/// The first complete list without the ConfigMap says that there is none: readiness waits for that.
#[tokio::test(start_paused = true)]
async fn empty_list_means_no_configuration() {
    let (seen, _) =
        follow(vec![Round::Serves { listed: Vec::new(), events: Vec::new() }], Duration::from_secs(5)).await;
    assert_eq!(seen, [None]);
}

/// What was in effect stays while nothing can be listed, and each attempt is later than the one before.
#[tokio::test(start_paused = true)]
async fn failing_list_is_repeated_ever_more_slowly() {
    let (seen, lists) =
        follow(std::iter::repeat_with(|| Round::Fails).take(8).collect(), Duration::from_secs(300)).await;
    assert_eq!(seen, [None::<String>; 0]);
    let waits: Vec<Duration> = lists.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits[0] < Duration::from_secs(2), "{waits:?}");
    assert!(waits[6..].iter().all(|wait| *wait >= Duration::from_secs(30)), "{waits:?}");
}
