//! The node's policy for nri-plugins: of the ConfigMaps that may hold it one wins, and is checked. Nothing is merged.

use std::collections::{BTreeMap, BTreeSet};

use dynamic_config::Data;
use extension_config::desired_state::{Backend, DesiredState};
use extension_config::names;
use extension_config::nri::POLICY_KEY;
use futures::StreamExt;
use futures::stream::LocalBoxStream;
use node_plan::NodePolicy;
use nri_policy::{Finding, Policy};
use tokio::sync::watch;

use crate::dynamic::{Input, TOO_LONG};

/// What the ConfigMaps say, before anything is checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum FoundPolicy {
    /// Not all that decides is known yet.
    #[default]
    Awaited,
    /// There is none for this node.
    Missing,
    /// The one that wins.
    Found {
        /// Name of its ConfigMap.
        source: String,
        /// Keys and texts of the ConfigMap.
        data: Data,
    },
}

impl FoundPolicy {
    /// The policy as the agent may install it. The controller has checked what it wrote, but whoever may write ConfigMaps may write another one, and
    /// a newer controller may know keys that this agent does not.
    pub(crate) fn checked(&self, accepted: &BTreeSet<String>) -> NodePolicy {
        let (source, data) = match self {
            Self::Awaited => return NodePolicy::Awaited,
            Self::Missing => return NodePolicy::Missing,
            Self::Found { source, data } => (source.clone(), data),
        };
        match document(data, accepted) {
            Ok((kind, document)) => NodePolicy::Valid { source, kind, document },
            Err(problems) => NodePolicy::Invalid { source, problems },
        }
    }
}

/// Kind and document of the policy in a ConfigMap.
fn document(data: &Data, accepted: &BTreeSet<String>) -> Result<(nri_policy::Kind, String), Vec<String>> {
    if let Some(too_long) = data.get(TOO_LONG) {
        return Err(vec![too_long.clone()]);
    }
    let text = data.get(POLICY_KEY).ok_or_else(|| vec![format!("has no key {POLICY_KEY}")])?;
    // serde_json names the place and never repeats the text around it; deep nesting is an error.
    let policy: Policy = serde_json::from_str(text).map_err(|error| vec![format!("{POLICY_KEY}: {error}")])?;
    let accepted: Vec<&String> = accepted.iter().collect();
    let sentence = |finding: Finding| match (finding.omitted, finding.path.as_str()) {
        (0, "") => finding.message,
        (0, path) => format!("{path}: {}", finding.message),
        (omitted, _) => format!("and {omitted} more"),
    };
    let checked =
        policy.check(&accepted).map_err(|findings| findings.into_iter().map(sentence).collect::<Vec<String>>())?;
    // The name is not where it comes from: another ConfigMap with the same policy needs no restart.
    Ok((checked.kind(), checked.document("default")))
}

/// The agent's end: what was found, and that it is wanted.
pub(crate) struct PolicySource {
    wanted: watch::Sender<bool>,
    found: watch::Receiver<FoundPolicy>,
}

impl PolicySource {
    /// The policy that a node with this desired state takes. With another backend it is not searched for.
    pub(crate) fn policy(&self, state: &DesiredState) -> NodePolicy {
        let Backend::NriPlugins(settings) = &state.backend else { return NodePolicy::Awaited };
        self.wanted.send_replace(true);
        self.found.borrow().checked(&settings.accepted)
    }

    /// What shows another one.
    pub(crate) fn changes(&self) -> watch::Receiver<FoundPolicy> {
        self.found.clone()
    }
}

/// Both ends for a node.
pub(crate) fn policies(node: &str) -> (PolicySource, Policies) {
    let (want, wanted) = watch::channel(false);
    let (sender, found) = watch::channel(FoundPolicy::default());
    let policies = Policies { node: node.to_owned(), maps: None, group: GroupLabel::Unread, wanted, found: sender };
    (PolicySource { wanted: want, found }, policies)
}

/// The label that names the node's group.
enum GroupLabel {
    Unread,
    Absent,
    Named(String),
}

/// Follows the ConfigMaps of one node.
pub(crate) struct Policies {
    node: String,
    maps: Option<BTreeMap<String, Data>>,
    group: GroupLabel,
    wanted: watch::Receiver<bool>,
    found: watch::Sender<FoundPolicy>,
}

impl Policies {
    /// Runs until it is dropped. Nothing is watched before somebody wants it: most nodes have another backend.
    pub(crate) async fn run(mut self, inputs: impl FnOnce() -> LocalBoxStream<'static, Input>) {
        if self.wanted.wait_for(|wanted| *wanted).await.is_ok() {
            let mut inputs = inputs();
            while let Some(input) = inputs.next().await {
                self.take(input);
            }
        }
        // A lost watch is opened again below; should all end, what was found last stays true.
        std::future::pending::<()>().await;
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Maps(maps) => self.maps = Some(maps),
            Input::Group(group) => self.group = group.map_or(GroupLabel::Absent, GroupLabel::Named),
            // There are none for policies.
            Input::Adjustments(_) | Input::Adjustment(..) => return,
        }
        let found = self.choose();
        self.found.send_if_modified(|current| {
            let changed = *current != found;
            if changed {
                let source = if let FoundPolicy::Found { source, .. } = &found { source.as_str() } else { "" };
                tracing::info!(source, "found another policy for the node");
            }
            *current = found;
            changed
        });
    }

    /// The node's own, else its group's, else the default.
    fn choose(&self) -> FoundPolicy {
        let Some(maps) = &self.maps else { return FoundPolicy::Awaited };
        let found = |level: &str| {
            let source = format!("{}{level}", names::POLICY_CONFIG_MAP_PREFIX);
            maps.get(&source).map(|data| FoundPolicy::Found { source, data: data.clone() })
        };
        if let Some(own) = found(&format!("node.{}", self.node)) {
            return own;
        }
        let of_group = match &self.group {
            GroupLabel::Unread => return FoundPolicy::Awaited,
            GroupLabel::Absent => None,
            GroupLabel::Named(group) => found(&format!("group.{group}")),
        };
        of_group.or_else(|| found("default")).unwrap_or(FoundPolicy::Missing)
    }
}

#[cfg(test)]
mod tests;
