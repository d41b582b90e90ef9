//! One plugin's socket: calls to it, and its own requests.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::trunk::{self, Service};
use crate::ttrpc::{self, Assembler, Kind, Message};
use crate::{api, limits};

/// Why a call brought no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The plugin answered with an error: the event is refused, the plugin stays.
    #[error("code {code}: {message}")]
    Refused { code: i32, message: String },
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    #[error("the connection is closed")]
    Closed,
    #[error("{0}")]
    Protocol(String),
}

/// A request of the plugin.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) stream: u32,
    pub(crate) method: String,
    pub(crate) payload: Bytes,
}

#[derive(Debug)]
struct Shared {
    /// Who waits for which stream's answer; nothing once the connection is closed.
    pending: Mutex<Option<HashMap<u32, oneshot::Sender<ttrpc::Response>>>>,
    closed: watch::Sender<bool>,
}

impl Shared {
    fn with_pending<T>(&self, act: impl FnOnce(&mut HashMap<u32, oneshot::Sender<ttrpc::Response>>) -> T) -> Option<T> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map(act)
    }

    fn close(&self) {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.closed.send_replace(true);
    }
}

#[derive(Debug)]
pub(crate) struct Link {
    shared: Arc<Shared>,
    writer: tokio::sync::Mutex<Option<OwnedWriteHalf>>,
    next_stream: AtomicU32,
    reader: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.reader.abort();
        self.shared.close();
    }
}

impl Link {
    /// The connection, and the plugin's own requests as they come.
    pub(crate) fn open(stream: UnixStream) -> (Self, mpsc::Receiver<Incoming>) {
        let (read, write) = stream.into_split();
        let (incoming, requests) = mpsc::channel(limits::WAITING_REQUESTS);
        let shared = Arc::new(Shared { pending: Mutex::new(Some(HashMap::new())), closed: watch::Sender::new(false) });
        let reader = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move {
                // Whatever ends it: what waits finds the connection closed.
                let _ended = read_all(read, &shared, &incoming).await;
                shared.close();
            }
        });
        let link = Self {
            shared,
            writer: tokio::sync::Mutex::new(Some(write)),
            // A client's streams are odd.
            next_stream: AtomicU32::new(1),
            reader,
        };
        (link, requests)
    }

    /// Calls a method of the plugin and waits for the answer, for `limit` in all.
    pub(crate) async fn call<A: prost::Message + Default>(
        &self,
        method: &str,
        request: &impl prost::Message,
        limit: Duration,
    ) -> Result<A, CallError> {
        let stream = self.next_stream.fetch_add(2, Ordering::Relaxed);
        let asked = async {
            let (sender, answer) = oneshot::channel();
            self.shared.with_pending(|pending| pending.insert(stream, sender)).ok_or(CallError::Closed)?;
            let request = ttrpc::Request {
                service: api::PLUGIN.to_owned(),
                method: method.to_owned(),
                payload: request.encode_to_vec().into(),
                timeout_nano: i64::try_from(limit.as_nanos()).unwrap_or(i64::MAX),
            };
            let payload = request.encode_to_vec().into();
            let message = Message { stream, kind: Kind::Request, flags: ttrpc::REMOTE_CLOSED, payload };
            self.send(Service::Plugin, &message).await?;
            answer.await.map_err(|_closed| CallError::Closed)
        };
        let answered = tokio::time::timeout(limit, asked).await;
        self.shared.with_pending(|pending| pending.remove(&stream));
        let response = answered.map_err(|_elapsed| CallError::TimedOut(limit))??;
        if let Some(status) = response.status.filter(|status| status.code != 0) {
            return Err(CallError::Refused { code: status.code, message: status.message });
        }
        A::decode(response.payload).map_err(|error| CallError::Protocol(format!("answer to {method}: {error}")))
    }

    /// Answers a request of the plugin.
    pub(crate) async fn answer(
        &self,
        stream: u32,
        answer: Result<Bytes, (i32, String)>,
        limit: Duration,
    ) -> Result<(), CallError> {
        let response = match answer {
            Ok(payload) => ttrpc::Response { status: None, payload },
            Err((code, message)) => {
                ttrpc::Response { status: Some(ttrpc::Status { code, message }), payload: Bytes::new() }
            }
        };
        let message = Message { stream, kind: Kind::Response, flags: 0, payload: response.encode_to_vec().into() };
        let sent = tokio::time::timeout(limit, self.send(Service::Runtime, &message)).await;
        sent.map_err(|_elapsed| CallError::TimedOut(limit))?
    }

    /// Sends one message. One that is given up half-way leaves the connection useless: its caller closes it.
    async fn send(&self, service: Service, message: &Message) -> Result<(), CallError> {
        let bytes = message.encode().map_err(|error| CallError::Protocol(error.to_string()))?;
        let mut writer = self.writer.lock().await;
        let writer = writer.as_mut().ok_or(CallError::Closed)?;
        writer.write_all(&trunk::frames(service, &bytes)).await.map_err(|_broken| CallError::Closed)
    }

    /// Closes the socket; the plugin sees its end.
    pub(crate) async fn close(&self) {
        self.shared.close();
        self.reader.abort();
        // Whoever writes now does so within a limit of its own.
        self.writer.lock().await.take();
    }

    pub(crate) fn is_closed(&self) -> bool {
        *self.shared.closed.borrow()
    }
}

async fn read_all(
    mut stream: OwnedReadHalf,
    shared: &Shared,
    incoming: &mpsc::Sender<Incoming>,
) -> Result<(), CallError> {
    let protocol = |error: &dyn std::fmt::Display| CallError::Protocol(error.to_string());
    let (mut answers, mut requests) = (Assembler::default(), Assembler::default());
    let mut content = Vec::new();
    loop {
        let mut head = [0; trunk::HEADER];
        stream.read_exact(&mut head).await.map_err(|_end| CallError::Closed)?;
        let (service, length) = trunk::header(head).map_err(|error| protocol(&error))?;
        content.resize(length, 0);
        stream.read_exact(&mut content).await.map_err(|_end| CallError::Closed)?;
        match service {
            Service::Plugin => {
                answers.push(&content);
                while let Some(message) = answers.next_message().map_err(|error| protocol(&error))? {
                    let response = ttrpc::Response::decode(message.payload).map_err(|error| protocol(&error))?;
                    let waiting = shared.with_pending(|pending| pending.remove(&message.stream)).flatten();
                    // Nobody waits for one that came too late.
                    let _gone = waiting.map(|waiting| waiting.send(response));
                }
            }
            Service::Runtime => {
                requests.push(&content);
                while let Some(message) = requests.next_message().map_err(|error| protocol(&error))? {
                    let request = ttrpc::Request::decode(message.payload).map_err(|error| protocol(&error))?;
                    let method = if request.service == api::RUNTIME { request.method } else { String::new() };
                    let request = Incoming { stream: message.stream, method, payload: request.payload };
                    incoming.try_send(request).map_err(|error| protocol(&error))?;
                }
            }
        }
    }
}
