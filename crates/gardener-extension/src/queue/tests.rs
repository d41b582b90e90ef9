use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;

mod walking;

async fn is_empty(queue: &Queue<&'static str>) -> bool {
    tokio::time::timeout(Duration::from_millis(1), queue.next()).await.is_err()
}

#[tokio::test(start_paused = true)]
async fn causes_are_collected_and_a_running_key_waits() {
    let queue = Queue::new();
    queue.add("a", Trigger::FirstSeen);
    queue.add("a", Trigger::Changed);
    let (key, triggers) = queue.next().await.expect("work");
    assert_eq!((key, triggers.names()), ("a", vec![Trigger::FirstSeen, Trigger::Changed]));
    queue.add("a", Trigger::External);
    assert!(is_empty(&queue).await, "a worker has it");
    queue.done("a", Requeue::Nothing);
    assert_eq!(queue.next().await, Some(("a", Trigger::External.into())));
    queue.done("a", Requeue::Nothing);
    assert!(is_empty(&queue).await);
    assert!(queue.lock().entries.is_empty() && queue.lock().plans.is_empty(), "nothing is kept of a key that is done");
}

#[tokio::test(start_paused = true)]
async fn plans_ripen_and_survive_other_causes() {
    let queue = Queue::new();
    queue.add("a", Trigger::Changed);
    assert!(queue.next().await.is_some());
    queue.done("a", Requeue::After(Duration::from_secs(10), Trigger::Retry.into()));
    assert!(queue.is_running_or_planned(&"a", Trigger::Retry));
    queue.add("a", Trigger::Changed);
    assert_eq!(queue.next().await, Some(("a", Trigger::Changed.into())));
    queue.done("a", Requeue::Unchanged);
    let before = Instant::now();
    assert_eq!(queue.next().await, Some(("a", Trigger::Retry.into())));
    assert_eq!(before.elapsed(), Duration::from_secs(10));
    queue.done("a", Requeue::After(Duration::from_secs(5), Trigger::Resync.into()));
    queue.add("a", Trigger::Changed);
    assert!(queue.next().await.is_some());
    queue.done("a", Requeue::Nothing);
    assert!(!queue.is_running_or_planned(&"a", Trigger::Resync));
}

#[tokio::test(start_paused = true)]
async fn what_is_planned_during_the_work_survives_it() {
    let queue = Queue::new();
    queue.add("a", Trigger::Changed);
    assert!(queue.next().await.is_some());
    queue.add_after("a", Trigger::External, Duration::from_secs(2));
    queue.done("a", Requeue::Nothing);
    assert_eq!(queue.next().await, Some(("a", Trigger::External.into())));
}

#[tokio::test(start_paused = true)]
async fn a_later_plan_never_delays_a_sooner_one() {
    let queue = Queue::new();
    queue.add_after("a", Trigger::Retry, Duration::from_secs(1));
    queue.add_after("a", Trigger::External, Duration::from_secs(9));
    let before = Instant::now();
    let both = Triggers::from(Trigger::Retry).union(Trigger::External.into());
    assert_eq!(queue.next().await, Some(("a", both)));
    assert_eq!(before.elapsed(), Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn closing_frees_every_waiter() {
    let queue = Arc::new(Queue::<&str>::new());
    let waiters: Vec<_> = (0..3)
        .map(|_| {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move { queue.next().await })
        })
        .collect();
    tokio::task::yield_now().await;
    queue.close();
    for waiter in waiters {
        assert!(matches!(tokio::time::timeout(Duration::from_secs(1), waiter).await, Ok(Ok(None))));
    }
}

proptest! {
    /// Many workers, many additions: each addition leads to a run that begins after it, and no two runs overlap.
    #[test]
    fn nothing_is_lost_and_nothing_runs_twice_at_a_time(keys in prop::collection::vec(0_u8..4, 1..60), workers in 1_usize..5) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
        runtime.block_on(async {
            let queue = Arc::new(Queue::new());
            let running = Arc::new(Mutex::new(HashSet::new()));
            let runs = Arc::new(AtomicUsize::new(0));
            let tasks: Vec<_> = (0..workers).map(|_| {
                let (queue, running, runs) = (Arc::clone(&queue), Arc::clone(&running), Arc::clone(&runs));
                tokio::spawn(async move {
                    while let Some((key, triggers)) = queue.next().await {
                        assert!(!triggers.is_empty());
                        assert!(running.lock().expect("lock").insert(key), "two workers on one key");
                        tokio::time::sleep(Duration::from_millis(u64::from(key) + 1)).await;
                        running.lock().expect("lock").remove(&key);
                        runs.fetch_add(1, Ordering::Relaxed);
                        queue.done(key, Requeue::Nothing);
                    }
                })
            }).collect();
            for key in &keys {
                queue.add(*key, Trigger::Changed);
                if key % 2 == 0 {
                    tokio::task::yield_now().await;
                }
            }
            tokio::time::timeout(Duration::from_secs(60), async {
                while queue.sizes() != (0, 0) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }).await.expect("everything is worked off");
            queue.close();
            for task in tasks {
                task.await.expect("no worker panics");
            }
            let distinct = keys.iter().collect::<HashSet<_>>().len();
            assert!(runs.load(Ordering::Relaxed) >= distinct);
        });
    }
}
