//! A seed without nodes: a real etcd and a real kube-apiserver on the loopback device, for whoever is allowed everything.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use serde_json::{Value, json};
use testbed::components::{ETCD, KUBE_APISERVER, gardener_module};
use testbed::{Progress, wait_for};

use crate::tls::Authority;

/// Who speaks to the API server, by the name that its audit log has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum User {
    /// gardenlet's and gardener-resource-manager's part, and whoever measures.
    Bench,
    /// The bare client.
    Floor,
    /// Our program.
    Controller,
}

const USERS: [User; 3] = [User::Bench, User::Floor, User::Controller];
const CRDS: [&str; 3] = [
    "example/seed-crds/10-crd-extensions.gardener.cloud_extensions.yaml",
    "example/seed-crds/10-crd-extensions.gardener.cloud_clusters.yaml",
    "example/resource-manager/10-crd-resources.gardener.cloud_managedresources.yaml",
];
/// What those who are measured ask for, without contents. What it costs is the same for both.
const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- level: Metadata
  users: [floor, controller]
- level: None
";
const READY: Duration = Duration::from_secs(90);

impl User {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bench => "bench",
            Self::Floor => "floor",
            Self::Controller => "controller",
        }
    }
}

/// Both processes end when it is dropped, and their folder goes.
#[derive(Debug)]
pub(crate) struct Seed {
    processes: Vec<Process>,
    authority: Authority,
    port: u16,
    // Last: what runs in it ends before it is removed.
    dir: tempfile::TempDir,
}

/// A process that is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Starts a program whose output goes to a file.
pub(crate) fn start(mut command: Command, log: &Path) -> anyhow::Result<Process> {
    let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    let program = command.get_program().to_string_lossy().into_owned();
    Ok(Process(command.spawn().with_context(|| format!("cannot start {program}"))?))
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

impl Seed {
    pub(crate) async fn up(root: &Path, progress: &Progress) -> anyhow::Result<Self> {
        let etcd = ETCD.obtain(root, progress).await?;
        let api_server = KUBE_APISERVER.obtain(root, progress).await?;
        let dir = tempfile::Builder::new().prefix("cri-resmgr-bench-").tempdir().context("no temporary folder")?;
        let (clients, peers, port) = (free_port()?, free_port()?, free_port()?);
        let authority = Authority::new()?;
        let mut seed = Self { processes: Vec::new(), authority, port, dir };
        let (clients, peers) = (format!("http://127.0.0.1:{clients}"), format!("http://127.0.0.1:{peers}"));
        let mut command = Command::new(etcd);
        command.arg("--unsafe-no-fsync").arg("--data-dir").arg(seed.path("etcd"));
        command.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
        command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
        command.args(["--initial-cluster", &format!("default={peers}"), "--quota-backend-bytes", "8589934592"]);
        seed.processes.push(start(command, &seed.path("etcd.log"))?);
        let command = seed.api_server(&api_server, &clients)?;
        seed.processes.push(start(command, &seed.path("kube-apiserver.log"))?);
        let client = seed.client(User::Bench).await?;
        wait_for("kube-apiserver to be ready", READY, || async {
            let request = http::Request::get("/readyz").body(Vec::new())?;
            Ok(client.request_text(request).await.map(|_| Some(()))?)
        })
        .await
        .with_context(|| std::fs::read_to_string(seed.path("kube-apiserver.log")).unwrap_or_default())?;
        seed.apply_crds(root, &client).await?;
        Ok(seed)
    }

    fn api_server(&self, program: &Path, etcd: &str) -> anyhow::Result<Command> {
        let file = |name: &str, text: &str| -> anyhow::Result<PathBuf> {
            let path = self.path(name);
            std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            Ok(path)
        };
        let identity = self.authority.server()?;
        let signing = rcgen::KeyPair::generate()?;
        // The group is exempt from priority and fairness: what is measured is work, and not a queue's share.
        let tokens: String = USERS.map(|user| format!("{0},{0},{0},system:masters\n", user.name())).concat();
        let mut command = Command::new(program);
        command.args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--authorization-mode=AlwaysAllow"]);
        command.args([
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-cluster-ip-range=10.96.0.0/24",
        ]);
        command.arg(format!("--secure-port={}", self.port)).arg(format!("--etcd-servers={etcd}"));
        for (flag, path) in [
            ("tls-cert-file", file("server.crt", &identity.certificate)?),
            ("tls-private-key-file", file("server.key", &identity.key)?),
            ("token-auth-file", file("tokens.csv", &tokens)?),
            ("service-account-signing-key-file", file("signing.key", &signing.serialize_pem())?),
            ("service-account-key-file", file("signing.pub", &signing.public_key_pem())?),
            ("audit-policy-file", file("audit-policy.yaml", AUDIT_POLICY)?),
            ("audit-log-path", self.audit_log()),
        ] {
            command.arg(format!("--{flag}={}", path.display()));
        }
        Ok(command)
    }

    async fn apply_crds(&self, root: &Path, client: &Client) -> anyhow::Result<()> {
        let module = gardener_module(root).await?;
        let kind = GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::from_gvk(&kind));
        for file in CRDS {
            let path = module.join(file);
            let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let object: DynamicObject = serde_saphyr::from_str(&text)?;
            let name = object.metadata.name.clone().context("a CRD has a name")?;
            api.patch(&name, &PatchParams::apply("bench").force(), &Patch::Apply(&object)).await?;
            wait_for(&format!("the CRD {name} to be established"), READY, || async {
                let crd = api.get(&name).await?;
                let conditions = crd.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
                let is_established = |found: &Value| found["type"] == "Established" && found["status"] == "True";
                Ok(conditions.iter().any(is_established).then_some(()))
            })
            .await?;
        }
        Ok(())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn audit_log(&self) -> PathBuf {
        self.path("audit.log")
    }

    pub(crate) fn authority(&self) -> &Authority {
        &self.authority
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// A kubeconfig for the API server at a port of the loopback device: its own or a relay's.
    pub(crate) fn kubeconfig(&self, user: User, port: u16) -> Value {
        kubeconfig(&self.authority, port, &json!({ "token": user.name() }))
    }

    pub(crate) async fn client(&self, user: User) -> anyhow::Result<Client> {
        self.client_at(user, self.port).await
    }

    pub(crate) async fn client_at(&self, user: User, port: u16) -> anyhow::Result<Client> {
        let text = self.kubeconfig(user, port).to_string();
        let kubeconfig = kube::config::Kubeconfig::from_yaml(&text)?;
        let options = kube::config::KubeConfigOptions::default();
        Ok(Client::try_from(kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?)?)
    }
}

/// A kubeconfig for a server of this authority.
pub(crate) fn kubeconfig(authority: &Authority, port: u16, user: &Value) -> Value {
    let certificate = base64::engine::general_purpose::STANDARD.encode(&authority.certificate);
    let cluster = json!({ "server": format!("https://127.0.0.1:{port}"), "certificate-authority-data": certificate });
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "seed",
        "clusters": [{ "name": "seed", "cluster": cluster }],
        "users": [{ "name": "seed", "user": user }],
        "contexts": [{ "name": "seed", "context": { "cluster": "seed", "user": "seed" } }],
    })
}
