//! gardener-apiserver, which a garden has next to its kube-apiserver: it says whether a registration is one.

use std::path::Path;
use std::sync::Arc;

use crate::ApiServer;
use crate::ledger::Ledger;
use crate::network::{self, Network};
use crate::pki::Reach;
use crate::process::{Daemon, Spawn};

/// Starts it next to `garden`'s kube-apiserver, whose users and roles are its own. It is asked directly, not through
/// the aggregation layer.
pub(crate) fn start(
    program: &Path,
    dir: &Path,
    network: &Network,
    garden: &ApiServer,
    ledger: &Arc<Ledger>,
) -> anyhow::Result<ApiServer> {
    let name = "gardener-apiserver";
    let (address, port) = (network.hub_address(), network::GARDENER_PORT);
    let authority = garden.authority();
    let server = authority.server(&[name, "localhost"], &[&address])?;
    let file = |end: &str, text: &str| -> anyhow::Result<String> {
        let path = dir.join(format!("{name}.{end}"));
        std::fs::write(&path, text)?;
        Ok(path.display().to_string())
    };
    let kubeconfig = garden.admin_kubeconfig().display();
    let args = vec![
        "--etcd-servers=http://127.0.0.1:2379".into(),
        "--cluster-identity=testbed".into(),
        format!("--kubeconfig={kubeconfig}"),
        format!("--authentication-kubeconfig={kubeconfig}"),
        format!("--authorization-kubeconfig={kubeconfig}"),
        format!("--bind-address={address}"),
        format!("--secure-port={port}"),
        format!("--tls-cert-file={}", file("crt", &server.certificate)?),
        format!("--tls-private-key-file={}", file("key", &server.key)?),
    ];
    let hub = network.hub();
    let spawn = Spawn { name, program, args: args.clone(), env: Vec::new(), netns: Some(&hub), logs: dir };
    let daemon = Daemon::start(spawn, ledger)?;
    ApiServer::new(
        name,
        Reach::at(&format!("https://{address}:{port}")),
        dir,
        authority,
        daemon,
        (program.to_owned(), args),
    )
}
