use std::time::Duration;

use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::certificates::{Situation, Stored};

const NAME: &str = "webhook.garden";

pub(super) struct Webhook {
    address: SocketAddr,
    connector: TlsConnector,
    served: Arc<Served>,
}

fn stored() -> Stored {
    let names = [NAME.to_owned()];
    let now = jiff::Timestamp::now();
    let situation = Situation { stored: &Stored::default(), names: &names, is_published: false, now };
    situation.after(situation.step()).unwrap()
}

fn connector(bundle: &str) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    TlsConnector::from(Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
}

impl Webhook {
    pub(super) async fn start() -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let served = Arc::new(Served::default());
        let stored = stored();
        let connector = connector(&stored.bundle());
        served.take(stored).unwrap();
        let metrics = Metrics::register(&mut prometheus_client::registry::Registry::default());
        let webhook = Server::bind(([127, 0, 0, 1], 0).into(), Arc::clone(&served), metrics).await.unwrap();
        let address = webhook.address().unwrap();
        tokio::spawn(webhook.run(std::future::pending()));
        Self { address, connector, served }
    }

    async fn connect(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        self.connector.connect(ServerName::try_from(NAME).unwrap(), stream).await
    }

    async fn send(&self, request: &[u8]) -> std::io::Result<String> {
        let mut stream = self.connect().await?;
        // The server may answer, and close, before it has read all.
        drop(stream.write_all(request).await);
        drop(stream.flush().await);
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer).await {
            Err(error) if answer.is_empty() => Err(error),
            _ => Ok(String::from_utf8_lossy(&answer).into_owned()),
        }
    }

    pub(super) async fn post(&self, body: &[u8]) -> std::io::Result<String> {
        let head = format!("POST {PATH} HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: {}\r\n\r\n", body.len());
        self.send(&[head.as_bytes(), body].concat()).await
    }
}

fn review(fallback: &str) -> Vec<u8> {
    review_of(&json!({ "configs": { "fallback": fallback } }))
}

pub(super) fn review_of(config: &serde_json::Value) -> Vec<u8> {
    let extension = json!({ "type": "cri-resmgr-extension", "providerConfig": config });
    let review = json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u", "operation": "CREATE", "resource": { "group": "core.gardener.cloud", "resource": "shoots" },
        "object": { "spec": { "extensions": [extension] } } } });
    review.to_string().into_bytes()
}

#[tokio::test]
async fn reviews_are_answered() {
    let webhook = Webhook::start().await;
    let answer = webhook.post(&review("policy: {Active: none}")).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains(r#""allowed":true"#), "{answer}");
    let answer = webhook.post(&review("policy: {Active: nonsense}")).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains(r#""allowed":false"#), "{answer}");
}

#[tokio::test]
async fn hostile_bodies_get_an_answer_and_others_are_served_after_them() {
    let webhook = Webhook::start().await;
    let head = |more: &str| format!("POST {PATH} HTTP/1.1\r\nHost: x\r\n{more}\r\n").into_bytes();
    let chunks =
        [head("Transfer-Encoding: chunked\r\n"), format!("{:x}\r\n", 9 << 20).into_bytes(), vec![b' '; 9 << 20]];
    let deep = format!("{}{}", "[".repeat(4 << 20), "]".repeat(4 << 20));
    for (body, status) in [
        (webhook.post(b"").await, 400),
        (webhook.post(b"\xff\x00").await, 400),
        (webhook.post(deep.as_bytes()).await, 400),
        (webhook.send(&head(&format!("Content-Length: {}\r\n", REVIEW_BYTES + 1))).await, 413),
        (webhook.send(&chunks.concat()).await, 413),
        (webhook.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await, 404),
        (webhook.send(format!("GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await, 405),
    ] {
        let body = body.unwrap();
        assert!(body.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {body}");
    }
    assert!(webhook.post(&review("policy: {Active: none}")).await.unwrap().contains(r#""allowed":true"#));
}

/// Whoever can reach the port can open connections, and write slowly.
#[tokio::test]
async fn slow_clients_do_not_keep_others_waiting() {
    let webhook = Webhook::start().await;
    let mut open = Vec::new();
    for number in 0..200_usize {
        let mut stream = webhook.connect().await.unwrap();
        let length = if number % 2 == 0 { 1000 } else { REVIEW_BYTES };
        let head = format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{{");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        open.push(stream);
    }
    // Places for small bodies are free again when their deadline is over; API servers wait for longer than that.
    let answer = timeout(2 * BODY_DEADLINE, webhook.post(&review("policy: {Active: none}"))).await.unwrap().unwrap();
    assert!(answer.contains(r#""allowed":true"#), "{answer}");
}

#[tokio::test]
async fn a_certificate_is_exchanged_without_a_refused_request() {
    let webhook = Webhook::start().await;
    let (former, next) = (webhook.served.stored().unwrap(), stored());
    let both = Webhook { connector: connector(&(former.bundle() + &next.bundle())), ..Webhook::start().await };
    let both = Webhook { address: webhook.address, served: Arc::clone(&webhook.served), ..both };
    for index in 0..20 {
        both.served.take(if index % 2 == 0 { next.clone() } else { former.clone() }).unwrap();
        let answer =
            timeout(Duration::from_secs(5), both.post(&review("policy: {Active: none}"))).await.unwrap().unwrap();
        assert!(answer.contains(r#""allowed":true"#), "{answer}");
    }
    // Who trusts the former authority alone has to be given both first.
    both.served.take(next).unwrap();
    assert!(webhook.post(&review("policy: {Active: none}")).await.is_err());
}

#[tokio::test]
async fn without_a_certificate_nothing_is_served_and_probes_say_why() {
    let served = Served::default();
    let now = jiff::Timestamp::now();
    served.failed("the garden is away");
    let why = served.check(now).unwrap_err();
    assert!(why.contains("no certificate yet: the garden is away"), "{why}");
    served.take(stored()).unwrap();
    assert_eq!(served.check(now), Ok(()));
    assert!(served.check(now + jiff::SignedDuration::from_hours(24 * 10)).unwrap_err().contains("has ended"));
}
