//! A proxy in front of an API server that makes calls fail, and counts what goes through it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use http::header::{CONNECTION, CONTENT_TYPE, HOST, RETRY_AFTER, TRANSFER_ENCODING};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::client::Body;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};

/// How a call may fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Conflict,
    TooManyRequests,
    InternalError,
    Delay,
    /// There is no answer, ever: the caller has to give up.
    Hang,
    /// The call is served, and its answer lost.
    AnswerLost,
    /// The connection ends; a watch runs for a while before.
    Dropped,
}

const FAULTS: [Fault; 6] =
    [Fault::Conflict, Fault::TooManyRequests, Fault::InternalError, Fault::Delay, Fault::AnswerLost, Fault::Dropped];
/// How long a delayed call is held up.
const DELAY: Duration = Duration::from_secs(2);
/// One of so many delays is for ever.
const HANGS: u64 = 12;
/// Life of a watch that is dropped.
const WATCH: Duration = Duration::from_secs(3);

#[derive(Debug, Default)]
struct State {
    percent: AtomicU8,
    calls: AtomicU64,
    writes: AtomicU64,
    injected: Mutex<BTreeMap<Fault, usize>>,
}

/// The proxy; it ends when it is dropped, with all connections. Requests bring their own user. The connection to it is not encrypted.
#[derive(Debug)]
pub struct FaultProxy {
    url: String,
    state: Arc<State>,
    task: AbortHandle,
}

impl FaultProxy {
    pub(crate) async fn start(address: &str, upstream: kube::Client) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((address, 0)).await.context("no port for a proxy")?;
        let url = format!("http://{}", listener.local_addr()?);
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, upstream.clone(), Arc::clone(&shared)));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { url, state, task: task.abort_handle() })
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on so many of a hundred calls fail, of every kind and in every way.
    pub fn fail(&self, percent: u8) {
        self.state.percent.store(percent, Ordering::Relaxed);
    }

    /// Writes that came through, but for those on Leases.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.state.writes.load(Ordering::Relaxed)
    }

    /// Calls so far, and what was done to them.
    #[must_use]
    pub fn summary(&self) -> String {
        let calls = self.state.calls.load(Ordering::Relaxed);
        let injected: Vec<String> =
            self.state.injected().iter().map(|(fault, count)| format!("{count} {fault:?}")).collect();
        format!("{calls} calls, of them {}", injected.join(", "))
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl State {
    fn injected(&self) -> MutexGuard<'_, BTreeMap<Fault, usize>> {
        self.injected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(&self, method: &Method) -> Option<Fault> {
        let random = mix(self.calls.fetch_add(1, Ordering::Relaxed));
        if random % 100 >= u64::from(self.percent.load(Ordering::Relaxed)) {
            return None;
        }
        let fault = FAULTS[usize::try_from((random / 100) % 6).unwrap_or_default()];
        let fault = match fault {
            // Nobody conflicts with a reader.
            Fault::Conflict if method == Method::GET => Fault::InternalError,
            // Each costs the caller half a minute.
            Fault::Delay if (random / 600).is_multiple_of(HANGS) => Fault::Hang,
            other => other,
        };
        *self.injected().entry(fault).or_default() += 1;
        Some(fault)
    }
}

/// The same sequence in every run (splitmix64).
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

async fn serve(stream: TcpStream, upstream: kube::Client, state: Arc<State>) {
    let cut = Arc::new(Notify::new());
    let service = service_fn(|request: Request<Incoming>| {
        let (upstream, state, cut) = (upstream.clone(), Arc::clone(&state), Arc::clone(&cut));
        async move { answer(request, &upstream, &state, &cut).await }
    });
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // An error is the wanted end of a dropped call, or the client's own.
        _ended = connection => {}
        () = cut.notified() => {}
    }
}

async fn answer(
    request: Request<Incoming>,
    upstream: &kube::Client,
    state: &State,
    cut: &Arc<Notify>,
) -> anyhow::Result<Response<Body>> {
    let watches = request.uri().query().is_some_and(|query| query.contains("watch=true"));
    let fault = state.fault(request.method());
    match fault {
        Some(Fault::Conflict) => return refusal(StatusCode::CONFLICT, "Conflict"),
        Some(Fault::TooManyRequests) => return refusal(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests"),
        Some(Fault::InternalError) => return refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
        Some(Fault::Delay) => tokio::time::sleep(DELAY).await,
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Dropped) if watches => {
            let cut = Arc::clone(cut);
            tokio::spawn(async move {
                tokio::time::sleep(WATCH).await;
                cut.notify_one();
            });
        }
        Some(Fault::Dropped) => anyhow::bail!("dropped"),
        Some(Fault::AnswerLost) | None => {}
    }
    if request.method() != Method::GET && !request.uri().path().contains("/leases") {
        state.writes.fetch_add(1, Ordering::Relaxed);
    }
    let (mut parts, body) = request.into_parts();
    for header in [HOST, CONNECTION, TRANSFER_ENCODING] {
        parts.headers.remove(header);
    }
    let body = Body::from(body.collect().await?.to_bytes().to_vec());
    let answered = upstream.send(Request::from_parts(parts, body)).await;
    if fault == Some(Fault::AnswerLost) {
        anyhow::bail!("answer lost");
    }
    let mut response = answered?;
    for header in [CONNECTION, TRANSFER_ENCODING] {
        response.headers_mut().remove(header);
    }
    Ok(response)
}

fn refusal(code: StatusCode, reason: &str) -> anyhow::Result<Response<Body>> {
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": reason, "message": "injected", "code": code.as_u16(),
    });
    let response = Response::builder().status(code).header(CONTENT_TYPE, "application/json");
    let response = if code == StatusCode::TOO_MANY_REQUESTS { response.header(RETRY_AFTER, "1") } else { response };
    Ok(response.body(Body::from(status.to_string().into_bytes()))?)
}
