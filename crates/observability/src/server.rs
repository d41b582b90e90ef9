//! The HTTP server: three paths, GET and HEAD, HTTP/1.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

use crate::connections::{Asked, accept};
use crate::{ErrorChain, Readiness, SharedRegistry};

/// Longest time for a client to send its request head; keeps idle connections from piling up.
const HEADER_DEADLINE: Duration = Duration::from_secs(2);
/// Longest life of a connection; a scrape takes far less.
const CONNECTION_DEADLINE: Duration = Duration::from_secs(30);
/// Longest request head, bytes, and so what a connection may hold.
const HEAD_LIMIT: usize = 16 << 10;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

type Check = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address cannot be bound.
    #[error("listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
}

/// Reads `host:port`, or `:port` for all addresses, as Go does.
///
/// # Errors
/// When it is neither; the text says what is expected.
pub fn parse_address(text: &str) -> Result<SocketAddr, String> {
    match text.strip_prefix(':') {
        Some(port) => port
            .parse()
            .map(|port| SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port))
            .map_err(|_| format!("{port:?} is not a port")),
        None => text.parse().map_err(|_| "expected ADDRESS:PORT or :PORT".to_owned()),
    }
}

/// What to serve. A path whose content was not given answers 404.
#[derive(Clone, Default)]
pub struct Server {
    healthy: Option<Check>,
    ready: Option<Check>,
    registry: Option<SharedRegistry>,
}

impl fmt::Debug for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Server")
            .field("healthz", &self.healthy.is_some())
            .field("readyz", &self.ready.is_some())
            .field("metrics", &self.registry.is_some())
            .finish()
    }
}

impl Server {
    /// Serves nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves `/healthz`: `check` says whether the process works; its error is the body of the 503. It must not block.
    #[must_use]
    pub fn with_health(mut self, check: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> Self {
        self.healthy = Some(Arc::new(check));
        self
    }

    /// Serves `/readyz` from a closure; its error is the body of the 503. It must not block.
    #[must_use]
    pub fn with_ready_check(mut self, check: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> Self {
        self.ready = Some(Arc::new(check));
        self
    }

    /// Serves `/readyz` from a [`Readiness`].
    #[must_use]
    pub fn with_readiness(self, readiness: Readiness) -> Self {
        self.with_ready_check(move || readiness.get())
    }

    /// Serves `/metrics` in the OpenMetrics text format.
    #[must_use]
    pub fn with_metrics(mut self, registry: SharedRegistry) -> Self {
        self.registry = Some(registry);
        self
    }

    /// Binds the address. Separate from [`BoundServer::run`] so that a port in use is fatal at start.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(self, address: SocketAddr) -> Result<BoundServer, ServerError> {
        let listener = TcpListener::bind(address).await.map_err(|source| ServerError::Bind { address, source })?;
        let address = listener.local_addr().unwrap_or(address);
        Ok(BoundServer { server: Arc::new(self), listener, address })
    }

    fn respond(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if method != Method::GET && method != Method::HEAD {
            let mut response = reply(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match path {
            "/healthz" => answer(self.healthy.as_ref()),
            "/readyz" => answer(self.ready.as_ref()),
            "/metrics" => match &self.registry {
                Some(registry) => metrics(registry),
                None => not_found(),
            },
            _ => not_found(),
        }
    }
}

/// A server that has its address.
#[derive(Debug)]
pub struct BoundServer {
    server: Arc<Server>,
    listener: TcpListener,
    address: SocketAddr,
}

impl BoundServer {
    /// The address, with the port that was picked if 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` resolves. Connections under way are cut then: a probe is repeated anyway.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) {
        let server = self.server;
        accept(&self.listener, |stream, asked| serve(Arc::clone(&server), stream, asked), shutdown).await;
    }
}

/// One request each: a client that keeps its connection could not be distinguished from one that only holds it.
async fn serve(server: Arc<Server>, stream: TcpStream, asked: Asked) {
    let service = service_fn(move |request: Request<Incoming>| {
        asked.set();
        let response = server.respond(request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_DEADLINE)
        .max_buf_size(HEAD_LIMIT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(CONNECTION_DEADLINE, connection).await {
        Ok(Ok(())) | Err(_) => {}
        Ok(Err(error)) => tracing::debug!(error = %ErrorChain(&error), "connection ended early"),
    }
}

fn answer(check: Option<&Check>) -> Response<Full<Bytes>> {
    match check.map(|check| check()) {
        None => not_found(),
        Some(Ok(())) => reply(StatusCode::OK, TEXT, "ok\n"),
        Some(Err(reason)) => reply(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{reason}\n")),
    }
}

fn metrics(registry: &SharedRegistry) -> Response<Full<Bytes>> {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, registry) {
        Ok(()) => reply(StatusCode::OK, OPEN_METRICS, text),
        Err(error) => reply(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("cannot encode the metrics: {error}\n")),
    }
}

fn not_found() -> Response<Full<Bytes>> {
    reply(StatusCode::NOT_FOUND, TEXT, "not found\n")
}

fn reply(status: StatusCode, content_type: HeaderValue, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::registry::Registry;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::connections::MAX_CONNECTIONS;

    fn full() -> (crate::ReadinessHandle, Server) {
        let mut registry = Registry::default();
        let counter: Counter = Counter::default();
        counter.inc();
        registry.register("things", "Things", counter);
        let (handle, readiness) = crate::readiness::readiness("starting");
        let server = Server::new().with_health(|| Ok(())).with_readiness(readiness).with_metrics(Arc::new(registry));
        (handle, server)
    }

    async fn ask(server: &Server, method: Method, path: &str) -> (u16, String) {
        let response = server.respond(&method, path);
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    #[tokio::test]
    async fn each_path_of_the_server_answers_with_its_status() {
        let (handle, server) = full();
        assert_eq!(ask(&server, Method::GET, "/healthz").await, (200, "ok\n".to_owned()));
        assert_eq!(ask(&server, Method::GET, "/readyz").await, (503, "starting\n".to_owned()));
        handle.set(Ok(()));
        assert_eq!(ask(&server, Method::GET, "/readyz").await, (200, "ok\n".to_owned()));
        handle.set(Err("node agent lost".to_owned()));
        assert_eq!(ask(&server, Method::GET, "/readyz").await, (503, "node agent lost\n".to_owned()));
        let (status, text) = ask(&server, Method::GET, "/metrics").await;
        assert_eq!(status, 200);
        assert!(text.contains("things_total 1") && text.ends_with("# EOF\n"), "{text}");
        assert_eq!(ask(&server, Method::GET, "/").await.0, 404);
        assert_eq!(ask(&server, Method::POST, "/healthz").await.0, 405);
        let bare = Server::new();
        for path in ["/healthz", "/readyz", "/metrics"] {
            assert_eq!(ask(&bare, Method::GET, path).await.0, 404, "{path}");
        }
    }

    #[tokio::test]
    async fn the_server_answers_over_http_and_stops() -> Result<(), Box<dyn std::error::Error>> {
        let (handle, server) = full();
        handle.set(Ok(()));
        let bound = server.bind(([127, 0, 0, 1], 0).into()).await?;
        let address = bound.address();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let running = tokio::spawn(bound.run(async move {
            let _ = stopped.await;
        }));
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("\r\n\r\nok\n"), "{text}");
        drop(stop);
        tokio::time::timeout(Duration::from_secs(5), running).await??;
        assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
        Ok(())
    }

    async fn probe(address: SocketAddr) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok(text)
    }

    /// What a tenant's pod can do to kubelet's liveness probe.
    #[tokio::test]
    async fn half_open_connections_do_not_starve_probes() -> Result<(), Box<dyn std::error::Error>> {
        let bound = full().1.bind(([127, 0, 0, 1], 0).into()).await?;
        let address = bound.address();
        let running = tokio::spawn(bound.run(std::future::pending()));
        let flood = tokio::spawn(async move {
            let mut held = Vec::new();
            let mut tick = tokio::time::interval(Duration::from_millis(15));
            loop {
                tick.tick().await;
                if let Ok(mut stream) = TcpStream::connect(address).await {
                    let _ = stream.write_all(b"GET /healthz HT").await;
                    held.push(stream);
                }
            }
        });
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        for number in 0..50 {
            tick.tick().await;
            let answer = tokio::time::timeout(Duration::from_secs(1), probe(address)).await;
            let answer = answer.map_err(|_| format!("probe {number} was not answered"))??;
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "probe {number}: {answer}");
        }
        flood.abort();
        running.abort();
        Ok(())
    }

    #[tokio::test]
    async fn the_oldest_idle_connection_is_closed_for_a_new_one() -> Result<(), Box<dyn std::error::Error>> {
        let bound = full().1.bind(([127, 0, 0, 1], 0).into()).await?;
        let address = bound.address();
        let running = tokio::spawn(bound.run(std::future::pending()));
        let mut held = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            held.push(TcpStream::connect(address).await?);
        }
        let answer = tokio::time::timeout(Duration::from_secs(1), probe(address)).await??;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        // The first was closed for it, well before its time was up; the others may still ask.
        let mut rest = Vec::new();
        let read = tokio::time::timeout(HEADER_DEADLINE / 4, held.swap_remove(0).read_to_end(&mut rest)).await?;
        assert!(rest.is_empty() && read.is_ok_and(|length| length == 0));
        let mut last = held.swap_remove(1);
        last.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await?;
        last.read_to_end(&mut rest).await?;
        assert!(rest.starts_with(b"HTTP/1.1 200 OK"));
        running.abort();
        Ok(())
    }

    #[tokio::test]
    async fn a_request_head_beyond_the_limit_closes_the_connection() -> Result<(), Box<dyn std::error::Error>> {
        let bound = full().1.bind(([127, 0, 0, 1], 0).into()).await?;
        let address = bound.address();
        let running = tokio::spawn(bound.run(std::future::pending()));
        let mut stream = TcpStream::connect(address).await?;
        let head = format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(2 * HEAD_LIMIT));
        // The server may close before all is written.
        let _ = stream.write_all(head.as_bytes()).await;
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text).await;
        assert!(!text.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&text));
        running.abort();
        Ok(())
    }

    #[tokio::test]
    async fn bind_to_a_port_in_use_fails() -> Result<(), Box<dyn std::error::Error>> {
        let first = Server::new().bind(([127, 0, 0, 1], 0).into()).await?;
        let second = Server::new().bind(first.address()).await;
        assert!(matches!(second, Err(ServerError::Bind { .. })));
        Ok(())
    }
}
