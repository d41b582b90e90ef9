//! A shoot's API, read within limits. Nothing is ever written there.

mod exec;
mod pages;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use extension_config::names;
use futures::{AsyncReadExt as _, Future};
use http::{HeaderValue, header};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod};
use k8s_openapi::api::events::v1::Event;
use kube::api::{ListParams, LogParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, Resource as _};

use crate::facts::{self, Facts};
use crate::failure::why;
use crate::limits;
use pages::Meta;
use serde::de::DeserializeOwned;

/// Names us in the API server's audit log.
const USER_AGENT: &str = concat!("kubectl-resmgr/", env!("CARGO_PKG_VERSION"));
/// What the Events of the agents are written by.
const REPORTER: &str = names::NODE_AGENT;
/// Namespace of Events about Nodes.
const EVENTS_OF_NODES: &str = "default";

/// The shoot's API.
#[derive(Clone)]
pub(crate) struct Shoot {
    client: Client,
}

/// What stands in a ConfigMap of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Map {
    pub(crate) name: String,
    pub(crate) data: BTreeMap<String, String>,
}

impl Shoot {
    /// The API that [`client`] finds.
    pub(crate) async fn connect(kubeconfig: Option<&Path>, context: Option<&str>) -> anyhow::Result<Self> {
        Ok(Self { client: client(kubeconfig, context).await? })
    }

    /// The client, for watches.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// All that is known of the nodes. Without Nodes and reports nothing can be said; what else is refused is noted.
    pub(crate) async fn facts(&self) -> anyhow::Result<Facts> {
        let mut facts = Facts::default();
        self.metadata(&Node::url_path(&(), None), None, |meta| facts.nodes.extend(facts::node(meta)))
            .await
            .context("list Nodes")?;
        self.metadata(&namespaced::<Lease>(), Some(&label()), |meta| facts.reports.extend(facts::report(&meta)))
            .await
            .context("list the node reports (Leases in kube-system)")?;
        let mut pods = BTreeMap::new();
        match self.each_pod(None, |pod| pods.extend(facts::pod(pod).filter(|(_, pod)| !pod.is_leaving))).await {
            Ok(()) => facts.pods = Some(pods),
            Err(error) => facts.notes.push(format!("the agents' pods are not looked at: {}", why(&error))),
        }
        self.look_at_the_rest(&mut facts).await;
        Ok(facts)
    }

    /// The objects of which there is one each.
    pub(crate) async fn look_at_the_rest(&self, facts: &mut Facts) {
        match self.daemon_set().await {
            Ok(set) => (facts.set, facts.is_set_hidden) = (set.map(facts::set), false),
            Err(error) => {
                facts.is_set_hidden = true;
                facts.notes.push(format!("the DaemonSet of the agents is not looked at: {}", why(&error)));
            }
        }
        match self.slots().await {
            Ok(None) => facts.slots = facts::SlotsFact::default(),
            Ok(Some(lease)) => match facts::slots(&lease) {
                Ok(slots) => facts.slots = slots,
                Err(why) => facts.notes.push(why),
            },
            Err(error) => facts.notes.push(format!("the switch slots are not looked at: {}", why(&error))),
        }
        let desired = facts.set.as_ref().and_then(|set| set.desired.clone());
        if let Some(hash) = desired {
            facts.backend = self.desired_state(&hash).await.as_deref().and_then(facts::backend);
        }
    }

    /// Each pod of the agents, on one node or on all.
    pub(crate) async fn each_pod(&self, node: Option<&str>, mut take: impl FnMut(Pod)) -> anyhow::Result<()> {
        let parameters = ListParams::default().labels(&label());
        let parameters = match node {
            Some(node) => parameters.fields(&format!("spec.nodeName={node}")),
            None => parameters,
        };
        pages::each::<Pod>(&self.client, &namespaced::<Pod>(), &parameters, pages::Form::Whole, &mut take).await
    }

    async fn metadata(
        &self,
        url: &str,
        labels: Option<&str>,
        mut take: impl FnMut(k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta),
    ) -> anyhow::Result<()> {
        let parameters = labels.map_or_else(ListParams::default, |labels| ListParams::default().labels(labels));
        let mut take = |object: Meta| take(object.metadata);
        pages::each::<Meta>(&self.client, url, &parameters, pages::Form::Metadata, &mut take).await
    }

    /// The DaemonSet of the agents, if it is there.
    pub(crate) async fn daemon_set(&self) -> anyhow::Result<Option<DaemonSet>> {
        let sets: Api<DaemonSet> = Api::namespaced(self.client.clone(), names::SHOOT_NAMESPACE);
        within(sets.get_opt(names::NODE_AGENT)).await
    }

    /// The Lease with the switch slots, if it is there.
    async fn slots(&self) -> anyhow::Result<Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta>> {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), names::SHOOT_NAMESPACE);
        Ok(within(leases.get_metadata_opt(names::SWITCH_LEASE)).await?.map(|lease| lease.metadata))
    }

    /// The text of a desired state, if it can be read.
    async fn desired_state(&self, hash: &str) -> Option<String> {
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), names::SHOOT_NAMESPACE);
        let name = format!("{}{hash}", names::DESIRED_STATE_CONFIG_MAP_PREFIX);
        let map = within(maps.get_opt(&name)).await.ok()??;
        map.data?.remove(names::DESIRED_STATE_KEY)
    }

    /// Events that agents have written about their Nodes, and those about the DaemonSet.
    pub(crate) async fn each_event(&self, mut take: impl FnMut(Event)) -> anyhow::Result<()> {
        let of_nodes = ListParams::default().fields(&format!("reportingController={REPORTER}"));
        let url = Event::url_path(&(), Some(EVENTS_OF_NODES));
        pages::each::<Event>(&self.client, &url, &of_nodes, pages::Form::Whole, &mut take)
            .await
            .context("list Events in default")?;
        let of_the_set =
            ListParams::default().fields(&format!("regarding.kind=DaemonSet,regarding.name={}", names::NODE_AGENT));
        pages::each::<Event>(&self.client, &namespaced::<Event>(), &of_the_set, pages::Form::Whole, &mut take)
            .await
            .context("list Events in kube-system")
    }

    /// Each ConfigMap of ours, and those of that name that somebody made by hand.
    pub(crate) async fn each_map(&self, mut take: impl FnMut(Map)) -> anyhow::Result<()> {
        let prefixes =
            [names::DESIRED_STATE_CONFIG_MAP_PREFIX, names::DYNAMIC_CONFIG_MAP_PREFIX, names::POLICY_CONFIG_MAP_PREFIX];
        let mut ours = |map: ConfigMap| {
            let name = map.metadata.name.unwrap_or_default();
            if prefixes.iter().any(|prefix| name.starts_with(prefix)) {
                take(Map { name, data: map.data.unwrap_or_default() });
            }
        };
        let url = namespaced::<ConfigMap>();
        pages::each::<ConfigMap>(&self.client, &url, &ListParams::default(), pages::Form::Whole, &mut ours).await
    }

    /// The text of the desired state that the agents have, if there is one that can be read.
    pub(crate) async fn desired(&self) -> anyhow::Result<Option<String>> {
        let hash = self.daemon_set().await?.map(facts::set).and_then(|set| set.desired);
        Ok(match hash {
            Some(hash) => self.desired_state(&hash).await,
            None => None,
        })
    }

    /// Each Adjustment, whole; none where the kind is not known.
    pub(crate) async fn each_adjustment(&self, mut take: impl FnMut(serde_json::Value)) -> anyhow::Result<()> {
        let (group, version, plural) = (names::ADJUSTMENT_GROUP, names::ADJUSTMENT_VERSION, names::ADJUSTMENT_PLURAL);
        let url = format!("/apis/{group}/{version}/namespaces/{}/{plural}", names::SHOOT_NAMESPACE);
        let listed = pages::each(&self.client, &url, &ListParams::default(), pages::Form::Whole, &mut take).await;
        match listed {
            Err(error) if is_not_found(&error) => Ok(()),
            other => other,
        }
    }

    /// Metadata of each pod of the cluster.
    pub(crate) async fn each_pod_anywhere(
        &self,
        take: impl FnMut(k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta),
    ) -> anyhow::Result<()> {
        self.metadata(&Pod::url_path(&(), None), None, take).await
    }

    /// The end of a pod's log; `previous`: of the run before.
    pub(crate) async fn log(&self, pod: &str, previous: bool) -> anyhow::Result<Vec<u8>> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), names::SHOOT_NAMESPACE);
        let parameters = LogParams {
            container: Some(names::NODE_AGENT_CONTAINER.to_owned()),
            previous,
            tail_lines: Some(limits::LOG_LINES),
            timestamps: true,
            ..LogParams::default()
        };
        let read = async {
            let mut stream = pods.log_stream(pod, &parameters).await?;
            // The last bytes, and never more of them in memory: a line has no limit.
            let (mut stored, mut piece) = (Vec::new(), vec![0; 16 << 10]);
            loop {
                let count = stream.read(&mut piece).await?;
                if count == 0 {
                    return anyhow::Ok(stored);
                }
                stored.extend_from_slice(piece.get(..count).unwrap_or_default());
                let surplus = stored.len().saturating_sub(limits::LOG_BYTES);
                stored.drain(..surplus);
            }
        };
        tokio::time::timeout(limits::CALL, read).await.context("the API server did not answer in time")?
    }
}

fn is_not_found(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref::<kube::Error>(), Some(kube::Error::Api(status)) if status.code == 404)
}

fn label() -> String {
    format!("{}={}", names::NODE_AGENT_LABEL, names::NODE_AGENT)
}

/// Where objects of a kind are in the shoot's namespace of ours.
fn namespaced<K: kube::Resource<DynamicType = ()>>() -> String {
    K::url_path(&(), Some(names::SHOOT_NAMESPACE))
}

/// A client as kubectl finds it: the file, else `KUBECONFIG`, else `~/.kube/config`.
pub(crate) async fn client(kubeconfig: Option<&Path>, context: Option<&str>) -> anyhow::Result<Client> {
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    let file = match kubeconfig {
        Some(path) => Kubeconfig::read_from(path).with_context(|| format!("read {}", path.display()))?,
        None => Kubeconfig::read().context("read the kubeconfig")?,
    };
    let mut config = Config::from_custom_kubeconfig(file, &options).await.context("read the kubeconfig")?;
    config.headers.push((header::USER_AGENT, HeaderValue::from_static(USER_AGENT)));
    Client::try_from(config).context("make a client for the API server")
}

/// Each object of a list, whole, within the limits of all lists.
pub(crate) async fn each<T: DeserializeOwned>(
    client: &Client,
    url: &str,
    mut take: impl FnMut(T),
) -> anyhow::Result<()> {
    pages::each(client, url, &ListParams::default(), pages::Form::Whole, &mut take).await
}

/// A call under its deadline.
async fn within<T>(call: impl Future<Output = kube::Result<T>>) -> anyhow::Result<T> {
    Ok(tokio::time::timeout(limits::CALL, call).await.context("the API server did not answer in time")??)
}
