//! gardener-resource-manager, once for the seed's own ManagedResources and once for the shoot's.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use crate::ledger::Ledger;
use crate::network::Network;
use crate::pki::Authority;
use crate::process::{Daemon, Spawn};

/// Which ManagedResources one resource manager serves, and where it applies their objects.
pub(crate) struct ResourceManager<'a> {
    pub(crate) name: &'a str,
    /// `seed` or the default class of shoots.
    pub(crate) class: Option<&'a str>,
    /// Namespace whose ManagedResources it serves; `None` is all.
    pub(crate) namespace: Option<&'a str>,
    pub(crate) source_kubeconfig: &'a Path,
    pub(crate) target_kubeconfig: &'a Path,
    /// Base of its three ports, in the hub's namespace.
    pub(crate) port: u16,
}

impl ResourceManager<'_> {
    pub(crate) fn start(
        &self,
        program: &Path,
        dir: &Path,
        network: &Network,
        authority: &Authority,
        ledger: &Arc<Ledger>,
    ) -> anyhow::Result<Daemon> {
        let own = dir.join(self.name);
        std::fs::create_dir_all(&own)?;
        let server = authority.server(&["gardener-resource-manager", "localhost"], &["127.0.0.1"])?;
        std::fs::write(own.join("tls.crt"), server.certificate)?;
        std::fs::write(own.join("tls.key"), server.key)?;
        // Readiness of the workers' agents is what a roll-out waits for, so health is checked as often as allowed.
        let mut config = json!({
            "apiVersion": "resourcemanager.config.gardener.cloud/v1alpha1",
            "kind": "ResourceManagerConfiguration",
            "sourceClientConnection": { "kubeconfig": self.source_kubeconfig, "namespaces": self.namespace.into_iter().collect::<Vec<_>>() },
            "targetClientConnection": { "kubeconfig": self.target_kubeconfig },
            "leaderElection": { "leaderElect": false },
            "server": {
                "webhooks": { "bindAddress": "127.0.0.1", "port": self.port, "tls": { "serverCertDir": own } },
                "healthProbes": { "bindAddress": "127.0.0.1", "port": self.port + 1 },
                "metrics": { "bindAddress": "127.0.0.1", "port": self.port + 2 },
            },
            "logLevel": "info",
            "logFormat": "json",
            "controllers": {
                "managedResource": { "syncPeriod": "15s", "concurrentSyncs": 5 },
                "health": { "syncPeriod": "15s", "concurrentSyncs": 5 },
                "garbageCollector": { "enabled": false },
                // It serves the class "shoot" only.
                "tokenRequestor": { "enabled": self.class.is_none(), "concurrentSyncs": 5 },
            },
        });
        if let Some(class) = self.class {
            config["controllers"]["resourceClass"] = json!(class);
        }
        let file = own.join("config.yaml");
        std::fs::write(&file, format!("{config:#}\n"))?;
        let hub = network.hub();
        let args = vec![format!("--config={}", file.display())];
        Daemon::start(Spawn { name: self.name, program, args, env: Vec::new(), netns: Some(&hub), logs: dir }, ledger)
    }
}
