//! A gRPC channel over a unix socket.

use std::error::Error as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};

use crate::error::{CriError, Phase};

/// Goes into the `:authority` header. Go servers refuse a request whose authority is a path, so it is an ordinary name.
const AUTHORITY: &str = "http://localhost";
/// Longest answer, bytes: kubelet's own limit. A list of some hundred containers has more than the library's 4 MiB where their annotations are long.
const ANSWER_BYTES: usize = 16 << 20;

/// A connected client side: the socket's name for errors, and the channel.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    socket: PathBuf,
    channel: Channel,
}

impl Connection {
    /// Connects within `limit`. The first connection is made here, so that the operating system's error is known; the channel makes later
    /// ones by itself when the server restarts.
    pub(crate) async fn open(socket: &Path, limit: Duration) -> Result<Self, CriError> {
        let connect_error = |source| CriError::Connect { socket: socket.to_owned(), source };
        let first = match timeout(limit, UnixStream::connect(socket)).await {
            Ok(stream) => stream.map_err(connect_error)?,
            Err(_elapsed) => return Err(timed_out(socket, Phase::Connect, limit)),
        };
        let path = socket.to_owned();
        let mut first = Some(first);
        let connector = tower::service_fn(move |_: Uri| {
            let ready = first.take();
            let path = path.clone();
            async move {
                let stream = match ready {
                    Some(stream) => stream,
                    None => UnixStream::connect(path).await?,
                };
                Ok::<_, io::Error>(TokioIo::new(stream))
            }
        });
        let channel = Endpoint::from_static(AUTHORITY).connect_with_connector_lazy(connector);
        Ok(Self { socket: socket.to_owned(), channel })
    }

    /// One unary call within `limit`.
    pub(crate) async fn call<Request, Reply>(
        &self,
        phase: Phase,
        path: &'static str,
        request: Request,
        limit: Duration,
    ) -> Result<Reply, CriError>
    where
        Request: prost::Message + Send + Sync + 'static,
        Reply: prost::Message + Default + Send + Sync + 'static,
    {
        let failed = |status: &tonic::Status| CriError::Call {
            socket: self.socket.clone(),
            phase,
            // A status that the server sent has no source. One made here of a broken connection has, and its code is any.
            code: if status.source().is_some() { tonic::Code::Unavailable } else { status.code() },
            message: status.message().to_owned(),
        };
        let exchange = async {
            let mut client = tonic::client::Grpc::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES);
            client.ready().await.map_err(|error| CriError::Call {
                socket: self.socket.clone(),
                phase,
                code: tonic::Code::Unavailable,
                message: error.to_string(),
            })?;
            let codec = tonic_prost::ProstCodec::<Request, Reply>::default();
            client
                .unary(tonic::Request::new(request), http::uri::PathAndQuery::from_static(path), codec)
                .await
                .map(tonic::Response::into_inner)
                .map_err(|status| failed(&status))
        };
        match timeout(limit, exchange).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(timed_out(&self.socket, phase, limit)),
        }
    }
}

pub(crate) fn timed_out(socket: &Path, phase: Phase, after: Duration) -> CriError {
    CriError::Timeout { socket: socket.to_owned(), phase, after }
}
