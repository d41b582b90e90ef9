//! Reads the nodes of a shoot for the roll-up: two lists, of metadata alone, since an agent's report is an annotation.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use extension_config::names;
use extension_config::node_report::lease_name;
use gardener_extension::shoot_access::ShootAccess;
use gardener_extension::{Notice, Observation, Observer, Subject, Unseen};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node as ApiNode;
use kube::Client;
use observability::ErrorChain;
use serde_json::Value;
use tokio::time::Instant;

use super::limits::{ABANDONED, CLIENTS, DEADLINE};
use super::list::Lists;
use super::{QueryError, chosen, ours};
use crate::monitoring::Reports;
use crate::rollup::{self, AgentReport, Node, Report};

/// See the module.
pub(crate) struct RollUps {
    access: ShootAccess,
    seed: Client,
    clients: Clients,
    /// Reported where agents are.
    reports: Arc<Reports>,
}

impl RollUps {
    pub(crate) fn new(access: ShootAccess, seed: Client, reports: Arc<Reports>) -> Self {
        Self { access, seed, clients: Clients::default(), reports }
    }

    /// With the client of the check before, if it is still good: its token may have been renewed, or its server have another certificate.
    async fn nodes(&self, subject: &Subject) -> Result<Vec<Node>, QueryError> {
        if let Some(client) = self.clients.get(&subject.namespace) {
            if let Ok(nodes) = nodes(&client).await {
                return Ok(nodes);
            }
            self.clients.remove(&subject.namespace);
        }
        let client = self.access.client(&self.seed, &subject.namespace, &subject.generic_kubeconfig).await?;
        let found = nodes(&client).await?;
        self.clients.put(&subject.namespace, client);
        Ok(found)
    }
}

#[async_trait]
impl Observer for RollUps {
    async fn observe(&self, subject: &Subject) -> Result<Observation, String> {
        let nodes = tokio::time::timeout(DEADLINE, self.nodes(subject)).await.unwrap_or(Err(QueryError::Late));
        let nodes = nodes.map_err(|reason| ErrorChain(&reason).to_string())?;
        let before = rollup::before(subject.before.as_ref());
        let all = rollup::roll_up(&nodes, &before, Timestamp::now());
        let status = all.status();
        self.reports.note(&subject.namespace, &status);
        Ok(Observation { status, is_settled: all.is_settled() })
    }

    fn unseen(&self, before: Option<&Value>, since: Timestamp, why: &Unseen) -> Value {
        rollup::unseen(before, since, why)
    }

    fn detail(&self, status: &Value) -> Option<String> {
        rollup::sentence(status)
    }

    fn notices(&self, before: Option<&Value>, now: &Value) -> Vec<Notice> {
        rollup::notice(before, now).into_iter().collect()
    }

    fn forget(&self, namespace: &str) {
        self.clients.remove(namespace);
        self.reports.forget(namespace);
    }
}

/// The nodes that an agent works on. A Lease without one of them is of a machine that is gone.
async fn nodes(client: &Client) -> Result<Vec<Node>, QueryError> {
    let mut lists = Lists::of_metadata(client);
    let mut named: BTreeMap<String, Node> = BTreeMap::new();
    let mut nameless = Vec::new();
    lists
        .each::<ApiNode>("nodes", None, &chosen(), |object| {
            let name = object.metadata.name;
            if rollup::valid_name(&name) {
                named.insert(lease_name(&name), Node { name, report: Report::Missing });
            } else {
                // No API server has such; it counts all the same.
                nameless.push(Node { name: "(no name)".to_owned(), report: Report::Missing });
            }
        })
        .await?;
    lists
        .each::<Lease>("leases", Some(names::SHOOT_NAMESPACE), &ours(), |object| {
            if let Some(node) = named.get_mut(&object.metadata.name) {
                let report = object.metadata.annotations.report;
                node.report = report.as_deref().and_then(AgentReport::read).map_or(Report::Unreadable, Report::Present);
            }
        })
        .await?;
    Ok(named.into_values().chain(nameless).collect())
}

/// The clients of the last checks, by the shoot's namespace: the last ones, since each has memory and a connection of its own.
#[derive(Default)]
struct Clients(Mutex<HashMap<String, (Client, Instant)>>);

impl Clients {
    fn get(&self, namespace: &str) -> Option<Client> {
        let mut all = self.lock();
        let (client, used) = all.get_mut(namespace)?;
        *used = Instant::now();
        Some(client.clone())
    }

    fn put(&self, namespace: &str, client: Client) {
        let (mut all, now) = (self.lock(), Instant::now());
        all.retain(|_, (_, used)| now.duration_since(*used) < ABANDONED);
        if all.len() >= CLIENTS {
            let oldest = all.iter().min_by_key(|(_, (_, used))| *used).map(|(namespace, _)| namespace.clone());
            oldest.map(|oldest| all.remove(&oldest));
        }
        all.insert(namespace.to_owned(), (client, now));
    }

    fn remove(&self, namespace: &str) {
        self.lock().remove(namespace);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Client, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
