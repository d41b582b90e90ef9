//! Two replicas of the webhook, as their Deployment starts them, behind what stands for their Service.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use e2e::{Artifacts, TestEnvironment};
use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, Config};
use nix::sys::signal::Signal;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose};
use serde_json::json;
use testbed::{ChartInstallation, Daemon, wait_for};
use time::OffsetDateTime;
use tokio::io::{AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

const NAME: &str = "gardener-extension-cri-resmgr-admission";
const SECRET: &str = "gardener-extension-cri-resmgr-admission-certificates";
/// Namespace and account that gardener-operator gives the webhook in the garden.
const GARDEN_NAMESPACE: &str = "extension-cri-resmgr-extension";
const GARDEN_ACCOUNT: &str = "extension-admission-cri-resmgr-extension";
const PORTS: [u16; 2] = [10250, 10251];
const READY: Duration = Duration::from_secs(60);

pub(super) struct Replicas {
    daemons: Vec<Daemon>,
    service: Service,
    addresses: [String; 2],
    metrics: Vec<String>,
    runtime: Client,
    secrets: Api<Secret>,
}

/// Reviews that were answered, and those of them within 100 ms.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reviews {
    pub(super) all: u64,
    pub(super) quick: u64,
}

/// What of the Secret is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) authority: String,
    pub(super) server: String,
}

impl Replicas {
    /// The charts as gardener-operator renders them, and both replicas with their accounts.
    pub(super) async fn start(environment: &TestEnvironment) -> anyhow::Result<Self> {
        let bed = &environment.bed;
        let (garden, runtime) = (bed.main_seed(), bed.other_seed()?);
        let chart = crate::root().join("charts").join(NAME);
        create_garden_account(environment).await?;
        let values = json!({ "gardener": { "virtualCluster": { "enabled": true,
            "serviceAccount": { "name": GARDEN_ACCOUNT, "namespace": "kube-system" } } } });
        garden
            .install(&ChartInstallation {
                folder: &chart.join("application"),
                name: "extension-admission-virtual-cri-resmgr-extension",
                namespace: GARDEN_NAMESPACE,
                values: &values.to_string(),
            })
            .await?;
        let install = json!({ "gardener": { "runtimeCluster": { "priorityClassName": "gardener-garden-system-400" },
            "virtualCluster": { "enabled": true, "namespace": GARDEN_NAMESPACE } } });
        install_runtime(environment, &install.to_string()).await?;

        let client = runtime.server().admin().await?;
        let secrets: Api<Secret> = Api::namespaced(client.clone(), "garden");
        let empty = secrets.get(SECRET).await?;
        ensure!(empty.data.is_none_or(|data| data.is_empty()), "the Secret of the chart is not empty");
        let addresses = PORTS.map(|port| format!("{}:{port}", bed.hub_address()));
        let service = Service::start(&bed.outer_address(), addresses.clone()).await?;
        let (host, port) = service.address.rsplit_once(':').context("an address without a port")?;
        let kubeconfigs = [
            runtime.account_kubeconfig("garden", NAME).await?.display().to_string(),
            garden.account_kubeconfig("kube-system", GARDEN_ACCOUNT).await?.display().to_string(),
        ];
        let program = Artifacts::from_env()?.controller;
        let mut daemons = Vec::new();
        for (index, address) in addresses.iter().enumerate() {
            let args = [
                "admission".to_owned(),
                format!("--kubeconfig={}", kubeconfigs[0]),
                format!("--garden-kubeconfig={}", kubeconfigs[1]),
                "--namespace=garden".to_owned(),
                format!("--service={NAME}"),
                format!("--secret={SECRET}"),
                "--mode=url".to_owned(),
                format!("--host={host}"),
                format!("--port={port}"),
                format!("--owner-namespace={GARDEN_NAMESPACE}"),
                format!("--bind-address={address}"),
                format!("--metrics-bind-address={}:{}", bed.hub_address(), 18080 + index),
                format!("--health-bind-address={}:{}", bed.hub_address(), 18090 + index),
            ];
            daemons.push(runtime.start_program(&format!("admission-{index}"), &program, &args)?);
        }
        for (index, daemon) in daemons.iter().enumerate() {
            let url = format!("http://{}:{}", bed.hub_address(), 18090 + index);
            let probe = Client::try_from(Config::new(url.parse()?))?;
            wait_for("a replica to be ready", READY, || async {
                daemon.ensure_alive()?;
                probe.request_text(http::Request::get("/readyz").body(Vec::new())?).await?;
                Ok(Some(()))
            })
            .await?;
        }
        let metrics =
            (0..daemons.len()).map(|index| format!("http://{}:{}", bed.hub_address(), 18080 + index)).collect();
        Ok(Self { daemons, service, addresses, metrics, runtime: client, secrets })
    }

    pub(super) fn logs(&self) -> Vec<String> {
        self.daemons.iter().map(|daemon| daemon.log_tail(40)).collect()
    }

    /// Most memory so far, of those that live.
    pub(super) fn peak_kib(&self) -> anyhow::Result<Vec<u64>> {
        let peak = |daemon: &Daemon| {
            let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid()))?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
            Ok(line.trim().trim_end_matches(" kB").parse()?)
        };
        self.daemons.iter().map(peak).collect()
    }

    /// What their metrics say of the reviews so far.
    pub(super) async fn reviews(&self) -> anyhow::Result<Reviews> {
        let mut reviews = Reviews { all: 0, quick: 0 };
        for url in &self.metrics {
            let client = Client::try_from(Config::new(url.parse()?))?;
            let text = client.request_text(http::Request::get("/metrics").body(Vec::new())?).await?;
            let number = |name: &str| -> anyhow::Result<u64> {
                let line = text.lines().find_map(|line| line.strip_prefix(name));
                Ok(line.with_context(|| format!("no {name} in the metrics"))?.trim().parse()?)
            };
            reviews.all += number("admission_review_duration_seconds_count")?;
            reviews.quick += number(r#"admission_review_duration_seconds_bucket{le="0.1"}"#)?;
        }
        Ok(reviews)
    }

    /// Kills one, and waits until its port is closed: what it has accepted until then would get no answer, as in any cluster.
    pub(super) async fn kill(&self, index: usize) -> anyhow::Result<()> {
        self.daemons[index].signal(Signal::SIGKILL)?;
        wait_for("the port of a killed replica to be closed", READY, || async {
            Ok(TcpStream::connect(&self.addresses[index]).await.is_err().then_some(()))
        })
        .await
    }

    pub(super) async fn secret(&self) -> anyhow::Result<Stored> {
        let data = self.secrets.get(SECRET).await?.data.unwrap_or_default();
        let text = |key: &str| data.get(key).map_or_else(String::new, |it| String::from_utf8_lossy(&it.0).into_owned());
        Ok(Stored { authority: text("ca.crt"), server: text("tls.crt") })
    }

    async fn patch_secret(&self, data: &serde_json::Value) -> anyhow::Result<()> {
        let patch = Patch::Merge(json!({ "data": data }));
        self.secrets.patch(SECRET, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    pub(super) async fn clear_secret(&self) -> anyhow::Result<()> {
        self.patch_secret(&serde_json::Value::Null).await
    }

    /// As if the authority had been due ten minutes ago: what follows takes minutes, and nobody shall wait for them here.
    pub(super) async fn begin_rotation(&self, before: &Stored) -> anyhow::Result<()> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "the next authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params.not_before = OffsetDateTime::now_utc() - Duration::from_secs(25 * 60);
        params.not_after = OffsetDateTime::now_utc() + Duration::from_secs(30 * 24 * 3600);
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
        self.patch_secret(&json!({ "ca.crt": bytes(&certificate), "ca.key": bytes(&key.serialize_pem()),
            "ca-former.crt": bytes(&before.authority) }))
            .await
    }

    /// Waits until each replica serves a certificate of this authority.
    pub(super) async fn ensure_served(&self, authority: &str, limit: Duration) -> anyhow::Result<()> {
        for address in &self.addresses {
            let mut config = Config::new(format!("https://{address}").parse()?);
            let lines: String = authority.lines().filter(|line| !line.starts_with("-----")).collect();
            config.root_cert = Some(vec![base64::engine::general_purpose::STANDARD.decode(lines)?]);
            config.tls_server_name = self.service.address.rsplit_once(':').map(|(host, _)| host.to_owned());
            let client = Client::try_from(config)?;
            wait_for(&format!("{address} to serve the new certificate"), limit, || async {
                let answer = client.send(http::Request::get("/").body(kube::client::Body::empty())?).await?;
                ensure!(answer.status().as_u16() == 404, "{}", answer.status());
                Ok(Some(()))
            })
            .await?;
        }
        Ok(())
    }

    /// Makes Gardener's resource manager apply the chart once more, and waits until it has.
    pub(super) async fn touch_managed_resource(&self) -> anyhow::Result<()> {
        let deployments: Api<Deployment> = Api::namespaced(self.runtime.clone(), "garden");
        let scale = json!({ "metadata": { "labels": { "app.kubernetes.io/name": "somebody-else" } } });
        deployments.patch(NAME, &PatchParams::default(), &Patch::Merge(scale)).await?;
        wait_for("the resource manager to put the Deployment right", Duration::from_secs(60), || async {
            let labels = deployments.get(NAME).await?.metadata.labels.unwrap_or_default();
            ensure!(labels.get("app.kubernetes.io/name").is_some_and(|name| name == NAME), "{labels:?}");
            Ok(Some(()))
        })
        .await
    }

    /// Hostile bodies, and connections that say nothing, to both replicas until it is stopped.
    pub(super) fn flood(&self) -> Flood {
        let sent = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for number in 0..16_usize {
            let (address, sent) = (self.addresses[number % 2].clone(), Arc::clone(&sent));
            tasks.spawn(async move {
                loop {
                    if number % 4 == 3 {
                        hold(&address).await;
                    } else if post(&address, number).await.is_ok() {
                        sent.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        Flood { tasks, sent }
    }
}

/// As Gardener's token requestor makes it.
async fn create_garden_account(environment: &TestEnvironment) -> anyhow::Result<()> {
    let accounts: Api<ServiceAccount> = Api::namespaced(environment.bed.seed().admin().await?, "kube-system");
    let account = serde_json::from_value(json!({ "metadata": { "name": GARDEN_ACCOUNT } }))?;
    accounts.create(&PostParams::default(), &account).await?;
    Ok(())
}

/// The tokens so far are worth nothing from now on; another one stands where they stood.
pub(super) async fn replace_garden_account(environment: &TestEnvironment) -> anyhow::Result<()> {
    let accounts: Api<ServiceAccount> = Api::namespaced(environment.bed.seed().admin().await?, "kube-system");
    accounts.delete(GARDEN_ACCOUNT, &DeleteParams::default()).await?;
    create_garden_account(environment).await?;
    environment.bed.main_seed().renew_token("kube-system", GARDEN_ACCOUNT).await.map(drop)
}

/// As gardener-operator installs it.
async fn install_runtime(environment: &TestEnvironment, values: &str) -> anyhow::Result<()> {
    let folder = crate::root().join("charts").join(NAME).join("runtime");
    let name = "extension-admission-runtime-cri-resmgr-extension";
    let runtime = environment.bed.other_seed()?;
    runtime.install(&ChartInstallation { folder: &folder, name, namespace: "garden", values }).await
}

/// Connections that never speak.
async fn hold(address: &str) {
    let mut held = Vec::new();
    for _ in 0..50 {
        if let Ok(mut stream) = TcpStream::connect(address).await {
            drop(stream.write_all(&[0x16, 3]).await);
            held.push(stream);
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
}

async fn post(address: &str, number: usize) -> anyhow::Result<()> {
    const MIB: usize = 1 << 20;
    let body = match number % 4 {
        0 => "[".repeat(7 * MIB),
        1 => format!(r#"{{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{{"uid":"u","operation":"CREATE",
            "resource":{{"group":"core.gardener.cloud","resource":"shoots"}},"object":{{"spec":{{"extensions":[{}]}}}}}}}}"#,
            vec![r#"{"type":"cri-resmgr-extension","providerConfig":{"configs":{"fallback":"a: &a [1,1]\nb: [*a,*a]"}}}"#; 20_000].join(",")),
        _ => "x".repeat(9 * MIB),
    };
    let mut config = Config::new(format!("https://{address}").parse()?);
    config.accept_invalid_certs = true;
    let client = Client::try_from(config)?;
    let request = http::Request::post("/webhooks/validate-shoots").body(body.into_bytes().into())?;
    client.send(request).await?;
    Ok(())
}

/// A flood, until it is stopped.
pub(super) struct Flood {
    tasks: JoinSet<()>,
    sent: Arc<AtomicUsize>,
}

impl Flood {
    /// How many bodies got an answer.
    pub(super) async fn stop(mut self) -> usize {
        self.tasks.shutdown().await;
        self.sent.load(Ordering::Relaxed)
    }
}

/// Stands for the Service: takes the replicas by turns, and passes over one that does not listen. As behind kube-proxy in a cluster, a replica sees
/// the address of the caller: another one than that of a flood.
struct Service {
    address: String,
    task: AbortHandle,
}

impl Service {
    async fn start(address: &str, replicas: [String; 2]) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((address, 0)).await?;
        let (caller, address) = (listener.local_addr()?.ip(), listener.local_addr()?.to_string());
        let task = tokio::spawn(async move {
            let (mut connections, mut turn) = (JoinSet::new(), 0_usize);
            while let Ok((mut stream, _)) = listener.accept().await {
                turn += 1;
                let order = [replicas[turn % 2].clone(), replicas[(turn + 1) % 2].clone()];
                connections.spawn(async move {
                    for replica in order {
                        if let Ok(mut upstream) = connect_from(caller, &replica).await {
                            drop(copy_bidirectional(&mut stream, &mut upstream).await);
                            return;
                        }
                    }
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, task: task.abort_handle() })
    }
}

async fn connect_from(source: IpAddr, to: &str) -> anyhow::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(source, 0))?;
    Ok(socket.connect(to.parse()?).await?)
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}
