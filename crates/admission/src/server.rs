//! The HTTPS server for API servers: one path, one request a connection.

mod places;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use observability::ErrorChain;
use observability::connections::{Asked, accept};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::limits::{BODY_DEADLINE, CONNECTION_DEADLINE, HEAD_BYTES, HEAD_DEADLINE, REVIEW_BYTES};
use crate::metrics::Metrics;
use crate::registration::PATH;
use crate::served::Served;
use crate::verdict::{Verdict, judge};
use crate::{answer, logs, review};
use places::Places;

/// The server, with its address.
pub(crate) struct Server {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    judge: Arc<Judge>,
}

/// What every connection needs.
struct Judge {
    places: Places,
    metrics: Metrics,
}

/// A body that gets no review for an answer.
struct Refused(StatusCode, String);

impl Server {
    /// Binds the address.
    pub(crate) async fn bind(address: SocketAddr, served: Arc<Served>, metrics: Metrics) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let mut config = ServerConfig::builder().with_no_client_auth().with_cert_resolver(served);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let judge = Arc::new(Judge { places: Places::default(), metrics });
        Ok(Self { listener, acceptor: TlsAcceptor::from(Arc::new(config)), judge })
    }

    pub(crate) fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown` resolves.
    pub(crate) async fn run(self, shutdown: impl Future<Output = ()> + Send) {
        let serve = |stream, asked| serve(self.acceptor.clone(), Arc::clone(&self.judge), stream, asked);
        accept(&self.listener, serve, shutdown).await;
    }
}

async fn serve(acceptor: TlsAcceptor, judge: Arc<Judge>, stream: TcpStream, asked: Asked) {
    let stream = match timeout(HEAD_DEADLINE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(error = %ErrorChain(&error), "a TLS handshake failed"),
        Err(_) => return,
    };
    let service = service_fn(move |request| {
        let (judge, asked) = (Arc::clone(&judge), asked.clone());
        async move { Ok::<_, Infallible>(respond(&judge, request, &asked).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(HEAD_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(CONNECTION_DEADLINE, connection).await {
        Ok(Ok(())) | Err(_) => {}
        Ok(Err(error)) => tracing::debug!(error = %ErrorChain(&error), "a connection ended early"),
    }
}

async fn respond(judge: &Judge, request: Request<Incoming>, asked: &Asked) -> Response<Full<Bytes>> {
    if request.uri().path() != PATH {
        return text(StatusCode::NOT_FOUND, "not found\n");
    }
    if request.method() != Method::POST {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only POST\n");
    }
    match judge.review(request.into_body(), asked).await {
        Ok(answer) => {
            let mut response = Response::new(Full::new(answer.into()));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Err(Refused(status, why)) => {
            judge.metrics.refused();
            tracing::warn!(status = status.as_u16(), why, "refused a body that is no review");
            text(status, format!("{why}\n"))
        }
    }
}

impl Judge {
    async fn review(&self, body: Incoming, asked: &Asked) -> Result<Vec<u8>, Refused> {
        let start = Instant::now();
        // A length that is not declared may be any; that it is kept to is seen below.
        let most = usize::try_from(body.size_hint().upper().unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
        let too_long = || Refused(StatusCode::PAYLOAD_TOO_LARGE, format!("the body may have {REVIEW_BYTES} bytes"));
        if most > REVIEW_BYTES && body.size_hint().upper().is_some() {
            return Err(too_long());
        }
        let place = self.places.take(most).await;
        let body = match timeout(BODY_DEADLINE, Limited::new(body, REVIEW_BYTES).collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => return Err(too_long()),
            Ok(Err(_)) => return Err(Refused(StatusCode::BAD_REQUEST, "the body ended early".to_owned())),
            Err(_) => {
                let most = BODY_DEADLINE.as_secs();
                return Err(Refused(StatusCode::REQUEST_TIMEOUT, format!("the body took more than {most} s")));
            }
        };
        asked.set();
        let turn = self.places.turn().await;
        let judged = tokio::task::spawn_blocking(move || {
            let judged = review::read(&body).map(|asked| {
                let verdict = judge(&asked.request);
                logs::judged(&asked.request, &verdict);
                let answer = answer::write(asked.version, &asked.request.uid, &verdict);
                (matches!(verdict, Verdict::Allowed { .. }), answer)
            });
            drop((turn, place));
            judged
        });
        let internal = || Refused(StatusCode::INTERNAL_SERVER_ERROR, "the review could not be judged".to_owned());
        let judged = judged.await.map_err(|_| internal())?;
        let (is_allowed, answer) = judged.map_err(|error| Refused(StatusCode::BAD_REQUEST, error.to_string()))?;
        self.metrics.judged(is_allowed, start.elapsed());
        answer.map_err(|_| internal())
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod times;
