//! A Kubernetes API over HTTP on the loopback device: the kinds that our programs use, kept in memory.
//!
//! What it does it does as a kube-apiserver does (crate `contract`). It has no authentication, no admission, no schemas, no garbage
//! collection of owned objects and one representation of each kind.

mod apply;
mod calls;
mod failure;
mod fields;
mod http;
mod object;
mod patch;
mod resource;
mod rules;
mod selector;
mod store;
mod watch;
mod write;
mod writer;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch as watch_channel;
use tokio::task::{AbortHandle, JoinSet};

pub use failure::Failure;
pub use object::text;
pub use store::Store;
pub use writer::Writer;

use faults::Faults;

/// A running API server; it ends when it is dropped, and everything in it with it.
#[derive(Debug)]
pub struct ApiServer {
    store: Store,
    url: String,
    calls: calls::Calls,
    faults: Faults<u16>,
    cut: watch_channel::Sender<()>,
    task: AbortHandle,
}

impl ApiServer {
    /// Starts on a free port of the loopback device, with the namespaces that every cluster has.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start() -> anyhow::Result<Self> {
        let store = Store::default();
        for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
            let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
            store.create("", "namespaces", "", namespace, &Writer::named("kube-apiserver"))?;
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no port for an API server")?;
        let url = format!("http://{}", listener.local_addr()?);
        let calls = calls::Calls::default();
        let (faults, cut) = (Faults::default(), watch_channel::Sender::new(()));
        let front = http::Front { store: store.clone(), calls: calls.clone(), faults: faults.clone() };
        let mut cuts = cut.subscribe();
        let task = tokio::spawn(async move {
            // Dropped with this task, and all connections with it.
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => match accepted {
                        Ok((stream, _)) => drop(connections.spawn(http::serve(stream, front.clone()))),
                        Err(_no_more) => return,
                    },
                    _ = cuts.changed() => connections.abort_all(),
                }
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { store, url, calls, faults, cut, task: task.abort_handle() })
    }

    /// What is stored.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Requests so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.calls.counts().map(|(_, count)| count).sum()
    }

    /// Requests so far by what they ask for, in the words of RBAC.
    pub fn requests_by_verb(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.calls.counts().filter(|(_, count)| *count > 0)
    }

    /// Answers so far, as an audit log reports them: `patch extensions/status 409`. A watch is answered when it begins.
    #[must_use]
    pub fn answers(&self) -> BTreeMap<String, u64> {
        self.calls.answers()
    }

    /// What goes wrong with requests, described as `PATCH /api/v1/…?…`; a refusal is an HTTP status.
    #[must_use]
    pub fn faults(&self) -> &Faults<u16> {
        &self.faults
    }

    /// Breaks all connections, and with them all watches.
    pub fn cut(&self) {
        self.cut.send_replace(());
    }

    /// Writes a kubeconfig with which anybody is an administrator.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_kubeconfig(&self, path: &Path) -> anyhow::Result<()> {
        let config = self.kubeconfig();
        std::fs::write(path, format!("{config:#}\n")).with_context(|| format!("cannot write {}", path.display()))
    }

    fn kubeconfig(&self) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "sandbox",
            "clusters": [{ "name": "sandbox", "cluster": { "server": self.url } }],
            "users": [{ "name": "sandbox", "user": {} }],
            "contexts": [{ "name": "sandbox", "context": { "cluster": "sandbox", "user": "sandbox", "namespace": "default" } }],
        })
    }

    /// A client of it.
    ///
    /// # Errors
    /// When there is none.
    pub fn client(&self) -> anyhow::Result<kube::Client> {
        // The first call in a process decides, whoever makes it.
        drop(rustls::crypto::ring::default_provider().install_default());
        Ok(kube::Client::try_from(kube::Config::new(self.url.parse()?))?)
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
