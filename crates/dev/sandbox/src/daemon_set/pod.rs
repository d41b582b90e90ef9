//! One pod on one node.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::PodHost;
use super::object::PodObject;
use super::runner::Running;
use fake_kube_api::Store;
use faults::{Fault, Faults};

/// Until a pod that ended, or cannot start yet, is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Revision and DaemonSet that a pod is to be of.
type Wanted = Option<(String, Arc<Value>)>;

/// What is known of the pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct State {
    /// Revision of the pod that is there.
    pub(super) revision: Option<String>,
    pub(super) ready: bool,
}

/// Keeps one pod as it is wanted.
#[derive(Debug)]
pub(super) struct Keeper {
    wanted: watch::Sender<Wanted>,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Keeper {
    pub(super) fn start(shoot: Store, host: PodHost) -> Self {
        let (wanted, receiver) = watch::channel(None);
        let state = Arc::new(Mutex::new(State::default()));
        let task = tokio::spawn(keep(shoot, host, receiver, Arc::clone(&state)));
        Self { wanted, state, task }
    }

    pub(super) fn state(&self) -> State {
        locked(&self.state).clone()
    }

    pub(super) fn is_gone(&self) -> bool {
        locked(&self.state).revision.is_none()
    }

    pub(super) fn is_reported(&self, revision: &str) -> bool {
        self.wanted.borrow().as_ref().is_some_and(|(reported, _)| reported == revision)
    }

    pub(super) fn want(&self, wanted: Wanted) {
        self.wanted.send_if_modified(|reported| {
            let revision = |wanted: &Wanted| wanted.as_ref().map(|(revision, _)| revision.clone());
            let is_new = revision(reported) != revision(&wanted);
            if is_new {
                *reported = wanted;
            }
            is_new
        });
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn keep(shoot: Store, host: PodHost, mut wanted: watch::Receiver<Wanted>, state: Arc<Mutex<State>>) {
    loop {
        let Some((revision, set)) = wanted.borrow_and_update().clone() else {
            if wanted.changed().await.is_err() {
                return;
            }
            continue;
        };
        *locked(&state) = State { revision: Some(revision.clone()), ready: false };
        let pod = PodObject { shoot: &shoot, set: &set, node: &host.node, revision: &revision };
        pod.create();
        // The same pod, as often as its process has to be started.
        let is_other = |wanted: &Wanted| wanted.as_ref().is_none_or(|(now, _)| *now != revision);
        while !is_other(&wanted.borrow()) {
            let started = match host.faults.at(&format!("start {}", host.node)) {
                Some(fault) => Err(anyhow::anyhow!("the pod cannot be started: {fault:?}")),
                None => host.runner.start(&pod),
            };
            match started {
                Ok(mut running) => attend(&mut running, &pod, &host.faults, &mut wanted, &state).await,
                // What it mounts is not there yet.
                Err(why) => pod.say("Pending", false, &format!("{why:#}")),
            }
            locked(&state).ready = false;
            // Either is a reason to look again.
            drop(tokio::time::timeout(RETRY, wanted.wait_for(is_other)).await);
        }
        pod.delete();
        *locked(&state) = State::default();
    }
}

/// Probes the pod until its program has ended, by itself or because another pod is wanted.
async fn attend(
    running: &mut Running,
    pod: &PodObject<'_>,
    faults: &Faults<()>,
    wanted: &mut watch::Receiver<Wanted>,
    state: &Mutex<State>,
) {
    let (mut reported, period) = (None, running.probe_period());
    loop {
        match faults.at(&format!("probe {}", pod.node)) {
            Some(Fault::Delay(time)) => tokio::time::sleep(time).await,
            Some(_) => running.kill(),
            None => {}
        }
        let answer = running.probe().await.and_then(|()| pod.gates());
        let ready = answer.is_ok();
        locked(state).ready = ready;
        let message = answer.err().unwrap_or_default();
        if reported.as_ref() != Some(&message) {
            pod.say("Running", ready, &message);
            reported = Some(message);
        }
        tokio::select! {
            () = running.ended() => return,
            _changed = wanted.changed() => break,
            () = tokio::time::sleep(period) => {}
        }
    }
    locked(state).ready = false;
    let grace = pod.set["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap_or(30);
    running.end(Duration::from_secs(grace)).await;
}
