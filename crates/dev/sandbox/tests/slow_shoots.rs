//! Shoots whose API servers take their time cost no other shoot anything: the real controller, with twenty removals whose looks hang.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use base64::Engine as _;
use extension_config::names;
use fake_kube_api::{ApiServer, Writer};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use sandbox::Binaries;
use serde_json::{Value, json};
use testbed::gardenlet::{Gardenlet, example_shoot};
use testbed::wait_for;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio_rustls::TlsAcceptor;

const CONTROLLER: &str = "extension-cri-resmgr";
const REMOVING: usize = 20;
/// Just below the longest check.
const SLOW: Duration = Duration::from_secs(19);
const PATIENCE: Duration = Duration::from_secs(60);

/// An API server that answers every request after [`SLOW`].
struct SlowServer {
    kubeconfig: String,
    /// Requests that wait for their answer, and the most that did at a time.
    waiting: Arc<(AtomicUsize, AtomicUsize)>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for SlowServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl SlowServer {
    async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("https://{}", listener.local_addr()?);
        let (acceptor, authority) = tls()?;
        let waiting = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
        let counts = Arc::clone(&waiting);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(acceptor.clone(), stream, Arc::clone(&counts)));
            }
        });
        let authority = base64::engine::general_purpose::STANDARD.encode(authority);
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "shoot",
            "clusters": [{ "name": "shoot", "cluster": { "server": url, "certificate-authority-data": authority } }],
            "contexts": [{ "name": "shoot", "context": { "cluster": "shoot", "user": "shoot" } }],
        });
        Ok(Self { kubeconfig: kubeconfig.to_string(), waiting, task })
    }

    fn waiting(&self) -> usize {
        self.waiting.0.load(Ordering::Relaxed)
    }
}

async fn serve(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    counts: Arc<(AtomicUsize, AtomicUsize)>,
) -> std::io::Result<()> {
    struct Waits(Arc<(AtomicUsize, AtomicUsize)>);
    impl Drop for Waits {
        fn drop(&mut self) {
            self.0.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
    let mut stream = acceptor.accept(stream).await?;
    let mut part = [0; 4096];
    while stream.read(&mut part).await? > 0 {
        let now = counts.0.fetch_add(1, Ordering::Relaxed) + 1;
        counts.1.fetch_max(now, Ordering::Relaxed);
        let _waits = Waits(Arc::clone(&counts));
        // Whoever gives up meanwhile waits no more.
        tokio::select! {
            () = tokio::time::sleep(SLOW) => {}
            _gone = stream.read(&mut part) => return Ok(()),
        }
        let body = r#"{"kind":"List","apiVersion":"v1","metadata":{},"items":[]}"#;
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all((head + body).as_bytes()).await?;
    }
    Ok(())
}

/// For 127.0.0.1, with the certificate authority as PEM.
fn tls() -> anyhow::Result<(TlsAcceptor, String)> {
    let (key, mut params) = (KeyPair::generate()?, CertificateParams::default());
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key)?.pem();
    let issuer = Issuer::new(params, key);
    let (key, mut params) = (KeyPair::generate()?, CertificateParams::default());
    params.subject_alt_names.push(SanType::IpAddress("127.0.0.1".parse()?));
    let certificate = params.signed_by(&key, &issuer)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)?;
    Ok((TlsAcceptor::from(Arc::new(config)), authority))
}

/// A shoot's namespace in the seed, with what gardenlet keeps there.
async fn shoot(seed: &ApiServer, name: &str, example: &Value, kubeconfig: Option<&str>) -> anyhow::Result<Gardenlet> {
    let labels = json!({ "gardener.cloud/role": "shoot" });
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } });
    seed.store().create("", "namespaces", "", namespace, &Writer::named("gardenlet"))?;
    let mut gardenlet = Gardenlet::new(seed.client()?, name, names::EXTENSION_TYPE);
    if let Some(text) = kubeconfig {
        gardenlet = gardenlet.with_generic_kubeconfig(text.to_owned());
        let token = json!({ "token": base64::engine::general_purpose::STANDARD.encode("t") });
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": { "name": names::SHOOT_ACCESS_SECRET, "namespace": name }, "data": token,
        });
        seed.store().create("", "secrets", name, secret, &Writer::named("gardener-resource-manager"))?;
    }
    gardenlet.sync_cluster(example).await?;
    Ok(gardenlet)
}

fn start_controller(binaries: &Binaries, dir: &Path) -> anyhow::Result<Child> {
    let log = std::fs::File::create(dir.join("controller.log"))?;
    let mut command = Command::new(&binaries.controller);
    command.env_clear().kill_on_drop(true).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.arg("--kubeconfig").arg(dir.join("seed.yaml"));
    command.args(["--namespace", CONTROLLER, "--leader-election=false", "--log-format=text"]);
    command.args(["--metrics-bind-address=127.0.0.1:0", "--health-bind-address=127.0.0.1:0"]);
    command.spawn().context("cannot start the controller")
}

#[tokio::test]
async fn twenty_slow_removals_do_not_delay_another_shoot() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let binaries = Binaries::build(&root)?;
    let (dir, seed, slow) = (tempfile::tempdir()?, ApiServer::start().await?, SlowServer::start().await?);
    seed.write_kubeconfig(&dir.path().join("seed.yaml"))?;
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": CONTROLLER } });
    seed.store().create("", "namespaces", "", namespace, &Writer::named("gardenlet"))?;
    let example = example_shoot(&root, "shoot--p--s")?;
    let _controller = start_controller(&binaries, dir.path())?;

    let mut removing = Vec::new();
    for number in 0..REMOVING {
        removing.push(shoot(&seed, &format!("shoot--p--slow{number}"), &example, Some(&slow.kubeconfig)).await?);
    }
    let other = shoot(&seed, "shoot--p--other", &example, None).await?;
    for gardenlet in removing.iter().chain([&other]) {
        let timestamp = gardenlet.deploy_extension("reconcile", None).await?;
        gardenlet.wait_ready(&timestamp, PATIENCE).await?;
    }
    for gardenlet in &removing {
        gardenlet.delete_extension().await?;
    }
    // As many as the controller has workers; every one of them would be waiting for a shoot.
    let hang = wait_for("the checks to hang", PATIENCE, || async { Ok((slow.waiting() >= 5).then_some(())) }).await;
    hang.with_context(|| std::fs::read_to_string(dir.path().join("controller.log")).unwrap_or_default())?;

    let start = Instant::now();
    let timestamp = other.deploy_extension("reconcile", None).await?;
    other.wait_ready(&timestamp, PATIENCE).await?;
    let served_after = start.elapsed();
    // A second where nothing else runs; a look lasts 19 s.
    anyhow::ensure!(served_after < SLOW / 4, "another shoot was served after {served_after:.1?} only");
    println!("another shoot was served after {served_after:.1?}");
    // The slow ones are named as what they are, and all of them get their turn, so many at a time.
    wait_for("all removals to be under way", SLOW * 4, || async {
        for gardenlet in &removing {
            let extension = gardenlet.extensions().get(names::EXTENSION_TYPE).await?;
            let description = &extension.data["status"]["lastOperation"]["description"];
            let reported = description.as_str().unwrap_or_default().contains("cri-resmgr is removed");
            anyhow::ensure!(
                reported || description.to_string().contains("written to the shoot"),
                "{}",
                extension.data["status"]
            );
        }
        Ok(Some(()))
    })
    .await?;
    let most = slow.waiting.1.load(Ordering::Relaxed);
    anyhow::ensure!((6..=16).contains(&most), "{most} checks at a time");
    Ok(())
}
