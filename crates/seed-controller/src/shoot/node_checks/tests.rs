use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use kube::client::Body;

use super::*;

const SLOW: Duration = Duration::from_secs(19);

/// A shoot's API that answers after a while.
#[derive(Clone, Default)]
struct Slow {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
}

#[async_trait]
impl QueryShoot for Slow {
    async fn query(&self, target: &Target, client: Option<Client>) -> (CheckResult, Option<Client>) {
        struct Count(Arc<AtomicUsize>);
        impl Drop for Count {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        let _count = Count(Arc::clone(&self.now));
        self.most.fetch_max(now, Ordering::Relaxed);
        tokio::time::sleep(SLOW).await;
        self.ended.fetch_add(1, Ordering::Relaxed);
        // A client is given back, so that it is seen whether the next check has it.
        (if client.is_some() { Err(QueryError::Late) } else { Ok(Tally::default()) }, Some(target.seed.clone()))
    }
}

fn target(name: &str) -> Target {
    let nobody = tower::service_fn(|_: http::Request<Body>| async {
        Err::<http::Response<Body>, _>(std::io::Error::other("nobody"))
    });
    Target {
        waiting: Waiting { namespace: name.to_owned(), name: "e".to_owned() },
        seed: Client::new(nobody, "ns"),
        generic_kubeconfig: String::new(),
    }
}

fn is_in_progress(check: &NodeCheck) -> bool {
    matches!(check, NodeCheck::InProgress(None))
}

fn found(check: &NodeCheck) -> Option<bool> {
    match check {
        NodeCheck::Finished(answer) => Some(answer.is_ok()),
        NodeCheck::InProgress(_) => None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_check_does_not_block_its_caller_and_is_returned_once() {
    let (node_checks, mut ended) = NodeChecks::new(Slow::default());
    let target = target("a");
    let start = Instant::now();
    for _ in 0..3 {
        assert!(is_in_progress(&node_checks.check("a", &target, Some(1))));
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(ended.recv().await, Some(target.waiting.clone()));
    assert_eq!(start.elapsed(), SLOW, "one check for three calls");
    assert_eq!(found(&node_checks.check("a", &target, Some(1))), Some(true));
    // What was reported is no change; the next check has the client of this one.
    assert!(matches!(node_checks.check("a", &target, Some(1)), NodeCheck::InProgress(Some(_))));
    ended.recv().await;
    assert_eq!(found(&node_checks.check("a", &target, Some(1))), Some(false));
}

#[tokio::test(start_paused = true)]
async fn twenty_slow_shoots_are_checked_never_more_than_the_limit_at_a_time() {
    let slow = Slow::default();
    let (node_checks, mut ended) = NodeChecks::new(slow.clone());
    let start = Instant::now();
    for number in 0..20 {
        assert!(is_in_progress(&node_checks.check(&number.to_string(), &target(&number.to_string()), Some(1))));
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    for _ in 0..20 {
        ended.recv().await;
    }
    assert_eq!(slow.most.load(Ordering::Relaxed), AT_A_TIME);
    assert_eq!(start.elapsed(), SLOW * 2);
}

/// Nodes that were clean before the removal was in the shoot may be so because nobody had been there yet.
#[tokio::test(start_paused = true)]
async fn a_check_from_before_the_removal_was_in_the_shoot_proves_nothing() {
    let (node_checks, mut ended) = NodeChecks::new(Slow::default());
    let target = target("a");
    assert!(is_in_progress(&node_checks.check("a", &target, None)));
    ended.recv().await;
    assert!(matches!(node_checks.check("a", &target, Some(2)), NodeCheck::InProgress(Some(_))), "another one is begun");
    ended.recv().await;
    // That the shoot cannot be asked is so whenever it was found.
    assert_eq!(found(&node_checks.check("a", &target, Some(3))), Some(false));
}

#[tokio::test(start_paused = true)]
async fn a_check_is_cancelled_when_its_removal_ends_and_when_all_end() {
    let slow = Slow::default();
    let (node_checks, mut ended) = NodeChecks::new(slow.clone());
    for name in ["a", "b", "c"] {
        node_checks.check(name, &target(name), Some(1));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(slow.now.load(Ordering::Relaxed), 3);
    node_checks.forget("a");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(slow.now.load(Ordering::Relaxed), 2);
    drop(node_checks);
    tokio::time::sleep(SLOW * 2).await;
    assert_eq!((slow.now.load(Ordering::Relaxed), slow.ended.load(Ordering::Relaxed)), (0, 0));
    assert_eq!(ended.recv().await, None);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_asks_about_is_forgotten() {
    let (node_checks, mut ended) = NodeChecks::new(Slow::default());
    node_checks.check("a", &target("a"), Some(1));
    ended.recv().await;
    tokio::time::sleep(ABANDONED).await;
    node_checks.check("b", &target("b"), Some(1));
    assert_eq!(node_checks.shared.lock().keys().collect::<Vec<_>>(), ["b"]);
}
