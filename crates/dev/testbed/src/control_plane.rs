//! etcd, the API servers of seed and shoot, and the shoot's controller manager and scheduler.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;

use crate::components::ETCD;
use crate::generation::Generation;
use crate::ledger::Ledger;
use crate::network::{self, Network};
use crate::pki::{Authority, Identity, Reach, signing_key};
use crate::process::{Daemon, Spawn};
use crate::{Progress, wait_for};

/// Everything that ServiceAccounts ask for, without contents: what the extension's controller does, for one.
const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  userGroups: [\"system:serviceaccounts\"]
- level: None
";
/// Service of a shoot's API server, in the shoot's namespace in the seed.
pub(crate) const SHOOT_SERVICE: &str = "kube-apiserver";
const READY: Duration = Duration::from_secs(90);

/// One API server of the bed.
#[derive(Debug)]
pub struct ApiServer {
    reach: Reach,
    authority: Arc<Authority>,
    admin_kubeconfig: PathBuf,
    audit_log: PathBuf,
    daemon: Daemon,
    program: PathBuf,
    args: Vec<String>,
}

impl ApiServer {
    /// One that is reached like this and takes the certificates of `authority`; `name` is that of its files in `dir`. With
    /// program and arguments it was started.
    pub(crate) fn new(
        name: &str,
        reach: Reach,
        dir: &Path,
        authority: &Arc<Authority>,
        daemon: Daemon,
        (program, args): (PathBuf, Vec<String>),
    ) -> anyhow::Result<Self> {
        let admin = authority.kubeconfig(&reach, &authority.client("admin", Some("system:masters"))?);
        let admin_kubeconfig = dir.join(format!("{name}.kubeconfig"));
        std::fs::write(&admin_kubeconfig, admin)?;
        let (authority, audit_log) = (Arc::clone(authority), audit_log(dir, name));
        Ok(Self { reach, authority, admin_kubeconfig, audit_log, daemon, program, args })
    }

    pub(crate) fn reach(&self) -> &Reach {
        &self.reach
    }

    pub(crate) fn authority(&self) -> &Arc<Authority> {
        &self.authority
    }

    /// What ServiceAccounts asked for: a JSON document a line (`audit.k8s.io/v1` Event).
    #[must_use]
    pub fn audit_log(&self) -> &Path {
        &self.audit_log
    }

    /// Waits until it answers.
    pub(crate) async fn await_ready(&self) -> anyhow::Result<()> {
        wait_for(&format!("{} to be ready", self.reach.url), READY, || async {
            self.daemon.ensure_alive()?;
            let request = http::Request::get("/readyz").body(Vec::new())?;
            Ok(self.admin().await?.request_text(request).await.map(|_| Some(()))?)
        })
        .await
    }

    /// File of a kubeconfig with all rights.
    #[must_use]
    pub fn admin_kubeconfig(&self) -> &Path {
        &self.admin_kubeconfig
    }

    /// The process.
    #[must_use]
    pub fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// A client with all rights.
    ///
    /// # Errors
    /// When the kubeconfig cannot be read.
    pub async fn admin(&self) -> anyhow::Result<kube::Client> {
        client(&std::fs::read_to_string(&self.admin_kubeconfig)?).await
    }

    /// The generic kubeconfig that gardenlet keeps in a shoot's namespace: its user is whoever mounts a token there, and its server is called
    /// as pods of that namespace call it.
    #[must_use]
    pub fn generic_kubeconfig(&self) -> String {
        let token = "/var/run/secrets/gardener.cloud/shoot/generic-kubeconfig/token";
        let server = Reach::at(&format!("https://{SHOOT_SERVICE}"));
        self.authority.kubeconfig_with(&server, &serde_json::json!({ "tokenFile": token }))
    }

    /// A kubeconfig of another user, by certificate.
    pub(crate) fn user_kubeconfig(&self, user: &str, group: Option<&str>) -> anyhow::Result<String> {
        Ok(self.authority.kubeconfig(&self.reach, &self.authority.client(user, group)?))
    }

    /// A client without a user, for requests that bring their own.
    pub(crate) async fn anonymous(&self) -> anyhow::Result<kube::Client> {
        let text = self.authority.kubeconfig_with(&self.reach, &serde_json::json!({}));
        let kubeconfig = kube::config::Kubeconfig::from_yaml(&text)?;
        let options = kube::config::KubeConfigOptions::default();
        let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?;
        // It passes on what comes, and what becomes of it.
        (config.read_timeout, config.write_timeout, config.default_retry) = (None, None, false);
        Ok(kube::Client::try_from(config)?)
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        &self.reach.url
    }

    /// A kubeconfig for `server` with a token of a ServiceAccount that exists, good for a day.
    ///
    /// # Errors
    /// When the API refuses the token request.
    pub(crate) async fn service_account_kubeconfig(
        &self,
        server: &str,
        namespace: &str,
        name: &str,
    ) -> anyhow::Result<String> {
        let token = self.service_account_token(namespace, name).await?;
        Ok(self.authority.token_kubeconfig(&Reach::at(server), &token))
    }

    /// A token of a ServiceAccount that exists, good for a day.
    ///
    /// # Errors
    /// When the API refuses the token request.
    pub(crate) async fn service_account_token(&self, namespace: &str, name: &str) -> anyhow::Result<String> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.admin().await?, namespace);
        let request = TokenRequest {
            spec: TokenRequestSpec { expiration_seconds: Some(86_400), ..Default::default() },
            ..Default::default()
        };
        let token = accounts.create_token_request(name, &kube::api::PostParams::default(), &request).await?;
        Ok(token.status.context("the API gave no token")?.token)
    }
}

impl ApiServer {
    /// Kills it and waits until it has ended.
    pub(crate) async fn kill(&self) -> anyhow::Result<()> {
        self.daemon.signal(nix::sys::signal::Signal::SIGKILL)?;
        wait_for("a kube-apiserver to end", READY, || async { Ok((!self.daemon.is_alive()).then_some(())) }).await
    }

    /// Starts it again after [`Self::kill`], and waits until it is ready.
    pub(crate) async fn start(&mut self, hub: &str, logs: &Path, ledger: &Arc<Ledger>) -> anyhow::Result<()> {
        let name = self.daemon.name().to_owned();
        let args = self.args.clone();
        let spawn = Spawn { name: &name, program: &self.program, args, env: Vec::new(), netns: Some(hub), logs };
        self.daemon = Daemon::start(spawn, ledger)?;
        self.await_ready().await
    }
}

/// A client for the text of a kubeconfig.
pub(crate) async fn client(kubeconfig: &str) -> anyhow::Result<kube::Client> {
    let kubeconfig = kube::config::Kubeconfig::from_yaml(kubeconfig)?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default()).await?;
    Ok(kube::Client::try_from(config)?)
}

/// Programs of the control planes.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    etcd: PathBuf,
    apiserver: PathBuf,
    controller_manager: PathBuf,
    scheduler: PathBuf,
}

impl Programs {
    pub(crate) async fn obtain(generation: Generation, root: &Path, progress: &Progress) -> anyhow::Result<Self> {
        let kubernetes = generation.kubernetes();
        Ok(Self {
            etcd: ETCD.obtain(root, progress).await?,
            apiserver: kubernetes.apiserver.obtain(root, progress).await?,
            controller_manager: kubernetes.controller_manager.obtain(root, progress).await?,
            scheduler: kubernetes.scheduler.obtain(root, progress).await?,
        })
    }
}

/// Both control planes, ready.
#[derive(Debug)]
pub(crate) struct ControlPlanes {
    pub(crate) seed: ApiServer,
    pub(crate) shoot: ApiServer,
    pub(crate) servers: Vec<Daemon>,
}

/// Everything that the servers share.
pub(crate) struct Setup<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) network: &'a Network,
    pub(crate) ledger: &'a Arc<Ledger>,
    pub(crate) authority: &'a Arc<Authority>,
    pub(crate) programs: &'a Programs,
    /// Namespace of the shoot in the seed.
    pub(crate) shoot_namespace: &'a str,
}

impl Setup<'_> {
    pub(crate) async fn up(&self, with_shoot_controllers: bool) -> anyhow::Result<ControlPlanes> {
        let mut servers = vec![self.etcd()?];
        let seed = self.seed("seed", network::SEED_PORT)?;
        // As Gardener has it: no address of the machine that it runs on. Who calls it by that names the name in the certificate.
        let service = self.shoot_names();
        let own =
            ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"];
        let names: Vec<&str> = service.iter().map(String::as_str).chain(own).chain(["localhost"]).collect();
        let of_shoot = self.authority.server(&names, &["127.0.0.1", "::1", network::SERVICE_ADDRESS])?;
        let shoot = self.api_server("shoot", network::SHOOT_PORT, &of_shoot, Some(SHOOT_SERVICE))?;
        for server in [&seed, &shoot] {
            server.await_ready().await?;
        }
        if with_shoot_controllers {
            let key = self.dir.join("shoot-signing.key").display().to_string();
            servers.push(self.controller(
                "kube-controller-manager",
                &self.programs.controller_manager,
                &shoot,
                &[
                    format!("--service-account-private-key-file={key}"),
                    format!("--root-ca-file={}", self.dir.join("ca.crt").display()),
                    "--use-service-account-credentials".into(),
                ],
            )?);
            servers.push(self.controller("kube-scheduler", &self.programs.scheduler, &shoot, &[])?);
        }
        Ok(ControlPlanes { seed, shoot, servers })
    }

    /// Another seed, ready.
    pub(crate) async fn other_seed(&self) -> anyhow::Result<ApiServer> {
        let seed = self.seed("other-seed", network::OTHER_SEED_PORT)?;
        seed.await_ready().await?;
        Ok(seed)
    }

    fn seed(&self, name: &str, port: u16) -> anyhow::Result<ApiServer> {
        let address = self.network.hub_address();
        let identity = self.authority.server(&["kube-apiserver", "localhost"], &[&address, "127.0.0.1"])?;
        self.api_server(name, port, &identity, None)
    }

    fn spawn(&self, name: &str, program: &Path, args: Vec<String>) -> anyhow::Result<Daemon> {
        let hub = self.network.hub();
        Daemon::start(Spawn { name, program, args, env: Vec::new(), netns: Some(&hub), logs: self.dir }, self.ledger)
    }

    fn etcd(&self) -> anyhow::Result<Daemon> {
        let args = [
            format!("--data-dir={}", self.dir.join("etcd").display()),
            "--unsafe-no-fsync".into(),
            "--listen-client-urls=http://127.0.0.1:2379".into(),
            "--advertise-client-urls=http://127.0.0.1:2379".into(),
            "--listen-peer-urls=http://127.0.0.1:2380".into(),
        ];
        self.spawn("etcd", &self.programs.etcd, args.into())
    }

    /// What the shoot's API server is called in the seed (`DNSNamesForService` in gardener's `pkg/utils/kubernetes/service.go`).
    fn shoot_names(&self) -> [String; 4] {
        let namespace = self.shoot_namespace;
        ["", &format!(".{namespace}"), &format!(".{namespace}.svc"), &format!(".{namespace}.svc.cluster.local")]
            .map(|end| format!("{SHOOT_SERVICE}{end}"))
    }

    fn api_server(
        &self,
        cluster: &str,
        port: u16,
        server: &Identity,
        tls_name: Option<&'static str>,
    ) -> anyhow::Result<ApiServer> {
        let address = self.network.hub_address();
        let kubelet_client = self.authority.client("kube-apiserver", Some("system:masters"))?;
        let (private, public) = signing_key()?;
        let file = |name: &str, text: &str| -> anyhow::Result<String> {
            let path = self.dir.join(format!("{cluster}-{name}"));
            std::fs::write(&path, text)?;
            Ok(path.display().to_string())
        };
        let signing_key = file("signing.key", &private)?;
        let args = vec![
            "--etcd-servers=http://127.0.0.1:2379".into(),
            format!("--etcd-prefix=/{cluster}"),
            format!("--bind-address={address}"),
            format!("--advertise-address={address}"),
            format!("--secure-port={port}"),
            format!("--tls-cert-file={}", file("server.crt", &server.certificate)?),
            format!("--tls-private-key-file={}", file("server.key", &server.key)?),
            format!("--client-ca-file={}", self.dir.join("ca.crt").display()),
            format!("--kubelet-client-certificate={}", file("to-kubelet.crt", &kubelet_client.certificate)?),
            format!("--kubelet-client-key={}", file("to-kubelet.key", &kubelet_client.key)?),
            "--kubelet-preferred-address-types=InternalIP".into(),
            "--service-account-issuer=https://kubernetes.default.svc".into(),
            // The second is that of tokens from gardener-resource-manager's token requestor.
            "--api-audiences=https://kubernetes.default.svc,gardener".into(),
            format!("--service-account-key-file={}", file("signing.pub", &public)?),
            format!("--service-account-signing-key-file={signing_key}"),
            format!("--service-cluster-ip-range={}", network::SERVICE_RANGE),
            "--authorization-mode=Node,RBAC".into(),
            "--allow-privileged".into(),
            format!("--audit-policy-file={}", file("audit-policy.yaml", AUDIT_POLICY)?),
            format!("--audit-log-path={}", audit_log(self.dir, cluster).display()),
        ];
        let program = self.programs.apiserver.clone();
        let daemon = self.spawn(&format!("{cluster}-kube-apiserver"), &program, args.clone())?;
        let reach = Reach { url: format!("https://{address}:{port}"), tls_name };
        ApiServer::new(cluster, reach, self.dir, self.authority, daemon, (program, args))
    }

    fn controller(&self, name: &str, program: &Path, api: &ApiServer, more: &[String]) -> anyhow::Result<Daemon> {
        let kubeconfig = self.dir.join(format!("{name}.kubeconfig"));
        std::fs::write(&kubeconfig, api.user_kubeconfig(&format!("system:{name}"), None)?)?;
        let mut args = vec![format!("--kubeconfig={}", kubeconfig.display()), "--leader-elect=false".to_owned()];
        args.extend_from_slice(more);
        self.spawn(name, program, args)
    }
}

fn audit_log(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}-audit.log"))
}
