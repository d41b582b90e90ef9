//! The bed's network: a hub namespace with a bridge, where the control planes listen, a namespace per worker, and a link
//! from the machine itself, so that a kubeconfig of the bed works from anywhere on it.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;

use crate::command::run;
use crate::ledger::{Entry, Ledger, netns_files};

/// Port of the shoot's API server at the hub's address: that of its Service in a seed.
pub(crate) const SHOOT_PORT: u16 = 443;
/// Port of the seed's API server at the hub's address.
pub(crate) const SEED_PORT: u16 = 7443;
/// Port of a second seed's.
pub(crate) const OTHER_SEED_PORT: u16 = 7444;
/// Port of gardener-apiserver at the hub's address.
pub(crate) const GARDENER_PORT: u16 = 8443;
/// Address of the Service `kubernetes` in the shoot.
pub(crate) const SERVICE_ADDRESS: &str = "10.96.0.1";
pub(crate) const SERVICE_RANGE: &str = "10.96.0.0/24";

#[derive(Debug, Clone)]
pub(crate) struct Network {
    index: u8,
    ledger: Arc<Ledger>,
}

impl Network {
    pub(crate) async fn up(index: u8, ledger: &Arc<Ledger>) -> anyhow::Result<Self> {
        let network = Self { index, ledger: Arc::clone(ledger) };
        let (hub, outer) = (network.hub(), network.link());
        ledger.add(Entry::Netns { name: hub.clone() })?;
        ledger.add(Entry::Link { name: outer.clone() })?;
        ledger.add(Entry::NetnsFiles { name: hub.clone() })?;
        std::fs::create_dir_all(network.hub_files())?;
        // No name server: what the file of hosts does not know has no address.
        std::fs::write(network.hub_files().join("resolv.conf"), "# none\n")?;
        network.know(&[])?;
        run("ip", &["netns", "add", &hub]).await?;
        ip_in(&hub, "link set lo up").await?;
        ip_in(&hub, "link add bridge type bridge").await?;
        ip_in(&hub, &format!("addr add {}/24 dev bridge", network.hub_address())).await?;
        ip_in(&hub, "link set bridge up").await?;
        run("ip", &["link", "add", &outer, "type", "veth", "peer", "name", "outside", "netns", &hub]).await?;
        ip_in(&hub, "link set outside master bridge up").await?;
        run("ip", &["addr", "add", &format!("{}/24", network.outer_address()), "dev", &outer]).await?;
        run("ip", &["link", "set", &outer, "up"]).await?;
        Ok(network)
    }

    pub(crate) fn hub(&self) -> String {
        format!("crtb{}-hub", self.index)
    }

    /// What programs in the hub's namespace see in /etc (ip-netns(8)).
    fn hub_files(&self) -> PathBuf {
        netns_files(&self.hub())
    }

    /// From now on exactly these names lead to the hub's address, for programs in it. They see it at once: the file stays the same one.
    pub(crate) fn know(&self, names: &[String]) -> anyhow::Result<()> {
        let hub: Vec<String> = names.iter().map(|name| format!("{} {name}\n", self.hub_address())).collect();
        let text = format!("127.0.0.1 localhost\n{}", hub.concat());
        std::fs::write(self.hub_files().join("hosts"), text).context("cannot write the hub's file of hosts")
    }

    fn link(&self) -> String {
        format!("crtb{}", self.index)
    }

    pub(crate) fn hub_address(&self) -> String {
        format!("10.250.{}.1", self.index)
    }

    /// Address of the machine itself, as seen from the hub.
    pub(crate) fn outer_address(&self) -> String {
        format!("10.250.{}.254", self.index)
    }

    /// Address of what runs as a pod of the shoot's namespace in the seed ([`Self::add_seed_pod`]).
    pub(crate) fn seed_pod_address(&self) -> String {
        format!("10.250.{}.2", self.index)
    }

    pub(crate) fn worker_address(&self, worker: u8) -> String {
        format!("10.250.{}.{}", self.index, 10 + worker)
    }

    /// The pods' range of a worker.
    pub(crate) fn pod_range(worker: u8) -> String {
        format!("100.64.{worker}.0/24")
    }

    /// The namespace of a worker: linked to the bridge, with routes to its pods from the hub and the other workers, and the Service address of
    /// the API server translated to the real one, which is all of kube-proxy that the bed needs.
    pub(crate) async fn add_worker(&self, worker: u8, workers: u8) -> anyhow::Result<()> {
        let name = self.worker_namespace(worker);
        self.ledger.add(Entry::Netns { name: name.clone() })?;
        let (hub, port) = (self.hub(), format!("w{worker}"));
        run("ip", &["netns", "add", &name]).await?;
        ip_in(&name, "link set lo up").await?;
        run("ip", &["link", "add", "eth0", "netns", &name, "type", "veth", "peer", "name", &port, "netns", &hub])
            .await?;
        ip_in(&hub, &format!("link set {port} master bridge up")).await?;
        ip_in(&name, &format!("addr add {}/24 dev eth0", self.worker_address(worker))).await?;
        ip_in(&name, "link set eth0 up").await?;
        ip_in(&name, &format!("route add default via {}", self.hub_address())).await?;
        // A landscape's API servers reach pods through the VPN.
        let (range, via) = (Self::pod_range(worker), self.worker_address(worker));
        ip_in(&hub, &format!("route add {range} via {via}")).await?;
        for other in (1..=workers).filter(|other| *other != worker) {
            let (range, via) = (Self::pod_range(other), self.worker_address(other));
            ip_in(&name, &format!("route add {range} via {via}")).await?;
        }
        for chain in ["PREROUTING", "OUTPUT"] {
            let to = format!("{}:{SHOOT_PORT}", self.hub_address());
            let rule =
                format!("-t nat -A {chain} -d {SERVICE_ADDRESS}/32 -p tcp --dport 443 -j DNAT --to-destination {to}");
            let args: Vec<&str> = ["netns", "exec", &name, "iptables"].into_iter().chain(rule.split(' ')).collect();
            run("ip", &args).await?;
        }
        Ok(())
    }

    /// A namespace as of a pod in the shoot's namespace in the seed: these names lead to the hub, and there is no way to the shoot's nodes and pods.
    pub(crate) async fn add_seed_pod(&self, names: &[&str]) -> anyhow::Result<String> {
        let (hub, name) = (self.hub(), format!("crtb{}-pod", self.index));
        self.ledger.add(Entry::Netns { name: name.clone() })?;
        self.ledger.add(Entry::NetnsFiles { name: name.clone() })?;
        let files = netns_files(&name);
        std::fs::create_dir_all(&files)?;
        std::fs::write(files.join("resolv.conf"), "# none\n")?;
        std::fs::write(
            files.join("hosts"),
            format!("127.0.0.1 localhost\n{} {}\n", self.hub_address(), names.join(" ")),
        )?;
        run("ip", &["netns", "add", &name]).await?;
        ip_in(&name, "link set lo up").await?;
        run("ip", &["link", "add", "eth0", "netns", &name, "type", "veth", "peer", "name", "pod", "netns", &hub])
            .await?;
        ip_in(&hub, "link set pod master bridge up").await?;
        ip_in(&name, &format!("addr add {}/32 dev eth0", self.seed_pod_address())).await?;
        ip_in(&name, "link set eth0 up").await?;
        for address in [self.hub_address(), self.outer_address()] {
            ip_in(&name, &format!("route add {address} dev eth0")).await?;
        }
        Ok(name)
    }

    /// Name of a worker's namespace.
    pub(crate) fn worker_namespace(&self, worker: u8) -> String {
        format!("crtb{}-w{worker}", self.index)
    }
}

async fn ip_in(netns: &str, words: &str) -> anyhow::Result<()> {
    let args: Vec<&str> = ["-n", netns].into_iter().chain(words.split(' ')).collect();
    run("ip", &args).await.map(drop)
}
