//! The objects: templates and files of `charts/cri-resmgr-monitoring`, values from here.

use std::collections::BTreeMap;

use extension_config::names;
use gardener_api::constants::{
    CARE_CONDITION_TYPE_LABEL, MANAGED_RESOURCE_CLASS_SEED, TOKEN_KEY, condition_type::OBSERVABILITY_COMPONENTS_HEALTHY,
};
use managed_resource::{Bundle, Templates};
use serde_json::{Value, json};

const TEMPLATES: [(&str, &str); 3] = [
    ("scrape-config.yaml", include_str!("../../../../charts/cri-resmgr-monitoring/templates/scrape-config.yaml")),
    ("prometheus-rule.yaml", include_str!("../../../../charts/cri-resmgr-monitoring/templates/prometheus-rule.yaml")),
    ("dashboards.yaml", include_str!("../../../../charts/cri-resmgr-monitoring/templates/dashboards.yaml")),
];
/// Rules as Prometheus reads them.
pub(super) const RULES: &str = include_str!("../../../../charts/cri-resmgr-monitoring/rules.yaml");
pub(super) const DASHBOARD: &str = include_str!("../../../../charts/cri-resmgr-monitoring/cri-resmgr.dashboard.json");
/// Names begin with the word by which the shoot's Prometheus selects (`ConfigObjectMeta` of Gardener's `monitoring/utils`).
const PROMETHEUS_RULE: &str = "shoot-cri-resmgr";
const DASHBOARDS: &str = "cri-resmgr-dashboards";
/// Secret with the token of the shoot's Prometheus for the shoot's API, next to it.
const ACCESS_SECRET: &str = "shoot-access-prometheus-shoot";
/// Name of the container's port.
const PORT_NAME: &str = "metrics";
/// Series that an agent may have. It has a fixed number (`node-agent`: `metrics`), to which the ones of the daemon may come.
pub(super) const SAMPLE_LIMIT: u32 = 200;

/// Why there is nothing to apply: our own fault, always.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("render the objects for the shoot's Prometheus")]
    Template(#[from] managed_resource::template::Error),
    #[error("write the objects for the shoot's Prometheus")]
    Objects(#[from] managed_resource::objects::Error),
    #[error("read the rules for the shoot's Prometheus")]
    Rules(#[source] Box<serde_saphyr::Error>),
}

/// Renders the objects of a shoot.
#[derive(Debug)]
pub(super) struct Objects {
    templates: Templates,
    groups: Value,
}

impl Objects {
    pub(super) fn new() -> Result<Self, Error> {
        let mut rules: Value = serde_saphyr::from_str(RULES).map_err(|error| Error::Rules(Box::new(error)))?;
        Ok(Self { templates: Templates::new(&TEMPLATES)?, groups: rules["groups"].take() })
    }

    /// All of them, for the shoot whose namespace this is.
    pub(super) fn bundle(&self, namespace: &str) -> Result<Bundle, Error> {
        let objects = self.templates.render(&json!({
            "namespace": namespace,
            "scrapeConfig": format!("shoot-{}", names::NODE_AGENT),
            "prometheusRule": PROMETHEUS_RULE,
            "dashboards": DASHBOARDS,
            "access": { "secret": ACCESS_SECRET, "key": TOKEN_KEY },
            "sampleLimit": SAMPLE_LIMIT,
            "agent": {
                "name": names::NODE_AGENT,
                "namespace": names::SHOOT_NAMESPACE,
                "pods": format!("{}-.*", names::NODE_AGENT),
                "port": format!("{};{PORT_NAME}", names::NODE_AGENT_CONTAINER),
                "path": format!("/api/v1/namespaces/{}/pods/${{1}}:${{2}}/proxy/metrics", names::SHOOT_NAMESPACE),
            },
            "groups": self.groups,
            "dashboard": DASHBOARD,
        }))?;
        Ok(Bundle {
            name: names::MONITORING_MANAGED_RESOURCE.to_owned(),
            namespace: namespace.to_owned(),
            class: Some(MANAGED_RESOURCE_CLASS_SEED.to_owned()),
            // Else it would count to the health of the control plane.
            labels: BTreeMap::from([(
                CARE_CONDITION_TYPE_LABEL.to_owned(),
                OBSERVABILITY_COMPONENTS_HEALTHY.to_owned(),
            )]),
            inject_labels: BTreeMap::new(),
            // They are the seed's: with the control plane they go, and another seed makes its own.
            keep_objects: false,
            objects,
        })
    }
}
