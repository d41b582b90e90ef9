//! Ticks come for what matters, and only for that.
#![expect(clippy::expect_used, clippy::panic, reason = "the set-up of a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use host::{FileAttributes, HostRoot, Watch, Watched};

const QUIET: Duration = Duration::from_millis(50);
const SOON: Duration = Duration::from_secs(10);
/// Long enough for a tick that must not come.
const NEVER: Duration = Duration::from_millis(400);

fn start(directory: &Path, watched: Vec<Watched>) -> Watch {
    let root = HostRoot::open(directory).expect("open");
    Watch::new(root, watched, QUIET).expect("watch")
}

async fn ticks(watch: &mut Watch) -> bool {
    match tokio::time::timeout(NEVER, watch.tick()).await {
        Ok(outcome) => {
            outcome.expect("tick");
            true
        }
        Err(_elapsed) => false,
    }
}

async fn expect_tick(watch: &mut Watch, what: &str) {
    let outcome = tokio::time::timeout(SOON, watch.tick()).await;
    outcome.unwrap_or_else(|_| panic!("no tick for {what}")).expect("tick");
}

#[tokio::test]
async fn a_burst_of_changes_is_one_tick_and_reading_is_none() {
    let directory = tempfile::tempdir().expect("temporary directory");
    fs::create_dir(directory.path().join("etc")).expect("make");
    let mut watch = start(directory.path(), vec![Watched::all("/etc")]);
    for number in 0..20 {
        fs::write(directory.path().join(format!("etc/{number}")), "x").expect("write");
    }
    expect_tick(&mut watch, "the burst").await;
    for number in 0..20 {
        fs::read(directory.path().join(format!("etc/{number}"))).expect("read");
    }
    assert!(!ticks(&mut watch).await, "reading is no change");
}

#[tokio::test]
async fn only_changes_of_the_named_entries_tick() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let mut watch = start(directory.path(), vec![Watched::only("/", ["a"])]);
    fs::write(directory.path().join("b"), "").expect("write");
    assert!(!ticks(&mut watch).await);
    fs::write(directory.path().join("a"), "").expect("write");
    expect_tick(&mut watch, "a").await;
}

#[tokio::test]
async fn replaced_and_removed_files_and_directories_tick() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let unit_directory = directory.path().join("system/kubelet.service.d");
    fs::create_dir_all(&unit_directory).expect("make");
    fs::write(unit_directory.join("x.conf"), "").expect("write");
    let watched = vec![Watched::all("/system"), Watched::all("/system/kubelet.service.d")];
    let mut watch = start(directory.path(), watched);
    for round in 0..3 {
        fs::remove_dir_all(&unit_directory).expect("remove");
        expect_tick(&mut watch, &format!("removal {round}")).await;
        fs::create_dir(&unit_directory).expect("make");
        expect_tick(&mut watch, &format!("new directory {round}")).await;
        fs::write(unit_directory.join("x.conf"), "").expect("write");
        expect_tick(&mut watch, &format!("new file {round}")).await;
    }
}

#[tokio::test]
async fn a_directory_that_is_created_later_is_watched_from_then_on() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let mut watch = start(directory.path(), vec![Watched::only("/run/cri-resmgr", ["sock"])]);
    fs::write(directory.path().join("other"), "").expect("write");
    assert!(!ticks(&mut watch).await, "a sibling of a missing directory is nothing");
    fs::create_dir_all(directory.path().join("run/cri-resmgr")).expect("make");
    expect_tick(&mut watch, "the directory").await;
    fs::write(directory.path().join("other2"), "").expect("write");
    fs::write(directory.path().join("run/cri-resmgr/other"), "").expect("write");
    assert!(!ticks(&mut watch).await, "only the name matters");
    fs::write(directory.path().join("run/cri-resmgr/sock"), "").expect("write");
    expect_tick(&mut watch, "the name").await;
}

#[tokio::test]
async fn an_atomic_write_of_ours_is_one_tick_without_temporaries() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let root = HostRoot::open(directory.path()).expect("open");
    let mut watch = start(directory.path(), vec![Watched::all("/")]);
    root.write_atomic("/a", b"1", FileAttributes::with_mode(0o644)).expect("write");
    expect_tick(&mut watch, "the rename").await;
    fs::write(directory.path().join(".a.1-1.cri-resmgr-tmp"), "").expect("write");
    assert!(!ticks(&mut watch).await);
}

#[tokio::test]
async fn an_overflow_is_a_tick_and_does_not_end_the_watch() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let mut watch = start(directory.path(), vec![Watched::all("/")]);
    let limit: usize =
        fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").expect("limit").trim().parse().expect("number");
    // Two names in turn, so that equal events do not merge.
    for number in 0..=limit / 2 {
        let path = directory.path().join((number % 2).to_string());
        fs::write(&path, "").expect("write");
    }
    expect_tick(&mut watch, "the overflow").await;
    while ticks(&mut watch).await {}
    fs::write(directory.path().join("later"), "").expect("write");
    expect_tick(&mut watch, "a change after the overflow").await;
}

#[tokio::test]
async fn a_steady_trickle_of_changes_does_not_delay_the_tick_for_ever() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let watch = start(directory.path(), vec![Watched::all("/")]);
    let path = directory.path().join("busy");
    let writer = tokio::spawn(async move {
        let mut beat = tokio::time::interval(QUIET / 5);
        loop {
            beat.tick().await;
            fs::write(&path, "x").expect("write");
        }
    });
    let mut stream = Box::pin(watch.into_stream());
    for _ in 0..2 {
        tokio::time::timeout(SOON, stream.next()).await.expect("in time").expect("open").expect("tick");
    }
    writer.abort();
}
