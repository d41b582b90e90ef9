//! The runtime: its socket, its one queue of events, and what it holds.

mod events;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prost::Message as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::error::Error;
use crate::link::Incoming;
use crate::objects::{Container, Cpu, Pod};
use crate::plugin::{Plugin, Timeouts};
use crate::record::Record;
use crate::ttrpc::code;
use crate::{api, limits};

/// What it holds.
#[derive(Debug, Default)]
struct Held {
    pods: BTreeMap<String, Pod>,
    containers: BTreeMap<String, Container>,
    /// In the order in which they are asked.
    plugins: Vec<Arc<Plugin>>,
    records: VecDeque<Record>,
}

impl Held {
    fn pod(&self, id: &str) -> Result<&Pod, Error> {
        self.pods.get(id).ok_or_else(|| Error::Unknown { what: "pod", id: id.to_owned() })
    }

    fn container(&self, id: &str) -> Result<&Container, Error> {
        self.containers.get(id).ok_or_else(|| Error::Unknown { what: "container", id: id.to_owned() })
    }

    /// Carries out what plugins want. The ids of containers that there are none of are returned.
    fn update(&mut self, updates: &BTreeMap<String, Cpu>) -> Vec<String> {
        let mut unknown = Vec::new();
        for (id, cpu) in updates {
            let Some(container) = self.containers.get_mut(id) else {
                unknown.push(id.clone());
                continue;
            };
            let before = container.effective.clone();
            container.effective.overlay(cpu);
            container.updates += 1;
            container.changes += usize::from(before != container.effective);
        }
        unknown
    }
}

#[derive(Debug)]
struct Shared {
    timeouts: Timeouts,
    /// Who holds it handles an event, or lets a plugin in: containerd's NRI lock.
    queue: tokio::sync::Mutex<()>,
    held: Mutex<Held>,
    /// Counts records.
    notified: watch::Sender<u64>,
    /// Counts how often the runtime went away.
    ends: watch::Sender<u64>,
}

/// A runtime.
#[derive(Debug)]
pub struct FakeRuntime {
    socket: PathBuf,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

impl Drop for FakeRuntime {
    fn drop(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
        }
        self.shared.ends.send_modify(|count| *count += 1);
    }
}

impl FakeRuntime {
    /// Makes the socket, in place of one that is there, and waits for plugins in the background.
    pub fn listen(socket: &Path, timeouts: Timeouts) -> Result<Self, Error> {
        let shared = Shared {
            timeouts,
            queue: tokio::sync::Mutex::new(()),
            held: Mutex::default(),
            notified: watch::Sender::new(0),
            ends: watch::Sender::new(0),
        };
        let mut runtime = Self { socket: socket.to_owned(), shared: Arc::new(shared), accepting: None };
        runtime.reopen()?;
        Ok(runtime)
    }

    /// Goes away as a containerd that is stopped: the socket vanishes, and plugins lose their connection. Pods and
    /// containers stay, with what was set for them.
    pub async fn close(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            // Cancelled, as wanted.
            let _cancelled = accepting.await;
        }
        // As Go's listener does when it is closed.
        let _gone = std::fs::remove_file(&self.socket);
        // One that was just being synchronized is in no list; its connection ends by this.
        self.shared.ends.send_modify(|count| *count += 1);
        let plugins = std::mem::take(&mut self.shared.held().plugins);
        for plugin in plugins {
            plugin.link.close().await;
            self.shared.record(Record::Dropped { plugin: plugin.name.clone(), reason: "the runtime ends".to_owned() });
        }
    }

    /// Comes back after [`Self::close`].
    pub fn reopen(&mut self) -> Result<(), Error> {
        let failed = |source| Error::Listen { path: self.socket.clone(), source };
        match std::fs::remove_file(&self.socket) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&self.socket).map_err(failed)?;
        let shared = Arc::clone(&self.shared);
        self.accepting = Some(tokio::spawn(async move {
            // One after the other, as in NRI: who does not register keeps others waiting.
            while let Ok((stream, _address)) = listener.accept().await {
                shared.admit(stream).await;
            }
        }));
        Ok(())
    }

    /// The containers, by id.
    #[must_use]
    pub fn containers(&self) -> BTreeMap<String, Container> {
        self.shared.held().containers.clone()
    }

    /// The plugins that are asked, in that order, by index and name.
    #[must_use]
    pub fn plugins(&self) -> Vec<String> {
        let held = self.shared.held();
        held.plugins.iter().filter(|plugin| !plugin.link.is_closed()).map(|plugin| plugin.name.clone()).collect()
    }

    /// What happened so far; of the oldest, what is over [`limits::RECORDS`] is gone.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        self.shared.held().records.iter().cloned().collect()
    }

    /// Changes whenever something was recorded. What follows from it is applied soon after.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.notified.subscribe()
    }

    /// Waits until the records are as wanted, for `limit` at most. Returns whether they came to be.
    pub async fn wait_for(&self, limit: Duration, wanted: impl Fn(&[Record]) -> bool) -> bool {
        let mut notified = self.shared.notified.subscribe();
        let met = async {
            while !wanted(self.shared.held().records.make_contiguous()) {
                if notified.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::time::timeout(limit, met).await.is_ok()
    }
}

impl Shared {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, record: Record) {
        let mut held = self.held();
        if held.records.len() == limits::RECORDS {
            held.records.pop_front();
        }
        held.records.push_back(record);
        drop(held);
        self.notified.send_modify(|count| *count += 1);
    }

    /// Lets a plugin in, or not.
    async fn admit(self: &Arc<Self>, stream: UnixStream) {
        if self.held().plugins.len() >= limits::PLUGINS {
            self.record(Record::NotRegistered { reason: format!("{} plugins are there", limits::PLUGINS) });
            return;
        }
        let connected = Instant::now();
        let (plugin, requests) = match Plugin::register(stream, self.timeouts).await {
            Ok(registered) => registered,
            Err(reason) => return self.record(Record::NotRegistered { reason }),
        };
        let plugin = Arc::new(plugin);
        let (name, nri_version) = (plugin.name.clone(), plugin.nri_version.clone());
        self.record(Record::Registered { plugin: name, nri_version, took: connected.elapsed() });
        let end = self.ends.subscribe();
        tokio::spawn(Arc::clone(self).serve(Arc::clone(&plugin), requests, end));
        self.synchronize(plugin).await;
    }

    async fn synchronize(&self, plugin: Arc<Plugin>) {
        let _turn = self.queue.lock().await;
        let (pods, containers): (Vec<_>, Vec<_>) = {
            let held = self.held();
            (held.pods.values().cloned().collect(), held.containers.values().cloned().collect())
        };
        let asked = Instant::now();
        match plugin.synchronize(&pods, &containers, self.timeouts.request).await {
            Ok(updates) => {
                let took = asked.elapsed();
                let name = plugin.name.clone();
                let count = updates.len();
                {
                    let mut held = self.held();
                    held.update(&of_updates(updates));
                    held.plugins.push(plugin);
                    // Stable: of one index, who came first is asked first.
                    held.plugins.sort_by(|a, b| a.name.get(..2).cmp(&b.name.get(..2)));
                }
                self.record(Record::Synchronized { plugin: name, containers: containers.len(), updates: count, took });
            }
            // Whatever is wrong with it, a plugin that does not synchronize is none.
            Err(error) => self.drop_plugin(&plugin, &format!("Synchronize: {error}")).await,
        }
    }

    async fn drop_plugin(&self, plugin: &Arc<Plugin>, reason: &str) {
        plugin.link.close().await;
        self.held().plugins.retain(|other| !Arc::ptr_eq(other, plugin));
        self.record(Record::Dropped { plugin: plugin.name.clone(), reason: reason.to_owned() });
    }

    /// Handles a plugin's own requests until it is gone.
    async fn serve(
        self: Arc<Self>,
        plugin: Arc<Plugin>,
        mut requests: mpsc::Receiver<Incoming>,
        mut end: watch::Receiver<u64>,
    ) {
        loop {
            let request = tokio::select! {
                request = requests.recv() => request,
                _ended = end.changed() => None,
            };
            let Some(request) = request else { break };
            let answer = match request.method.as_str() {
                "UpdateContainers" => self.unsolicited(&plugin, &request).await,
                other => Err((code::UNIMPLEMENTED, format!("no method {other:?}"))),
            };
            if plugin.link.answer(request.stream, answer, self.timeouts.request).await.is_err() {
                break;
            }
        }
        plugin.link.close().await;
        let was_there = {
            let mut held = self.held();
            let before = held.plugins.len();
            held.plugins.retain(|other| !Arc::ptr_eq(other, &plugin));
            held.plugins.len() < before
        };
        if was_there {
            self.record(Record::Dropped { plugin: plugin.name.clone(), reason: "it closed the connection".to_owned() });
        }
    }

    /// Waits for its turn, as in NRI from v0.12.1 on: a plugin that holds a lock of its own meanwhile answers no event.
    async fn unsolicited(&self, plugin: &Plugin, request: &Incoming) -> Result<bytes::Bytes, (i32, String)> {
        let asked = api::UpdateContainersRequest::decode(request.payload.clone())
            .map_err(|error| (code::UNKNOWN, error.to_string()))?;
        let _turn = self.queue.lock().await;
        let count = asked.update.len();
        let unknown = self.held().update(&of_updates(asked.update));
        self.record(Record::Unsolicited { plugin: plugin.name.clone(), updates: count });
        let failed =
            unknown.into_iter().map(|container_id| api::ContainerUpdate { container_id, ..Default::default() });
        Ok(api::UpdateContainersResponse { failed: failed.collect() }.encode_to_vec().into())
    }
}

fn of_updates(updates: Vec<api::ContainerUpdate>) -> BTreeMap<String, Cpu> {
    let mut found = BTreeMap::<String, Cpu>::new();
    for update in updates {
        let cpu = Cpu::of(update.linux.and_then(|linux| linux.resources));
        found.entry(update.container_id).or_default().overlay(&cpu);
    }
    found
}
