//! The connections of a server: so many at a time, and who has to go for one more.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use crate::ErrorChain;

/// Most connections at a time: for one more, the oldest that has asked nothing yet has to go. Bounds memory against a client gone wild without
/// keeping out who asks at once, as kubelet's probes do.
pub(crate) const MAX_CONNECTIONS: usize = 128;

/// By which a connection says that its request has come.
#[derive(Clone, Debug, Default)]
pub struct Asked(Arc<AtomicBool>);

impl Asked {
    /// The request has come: from now on others have to go first.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Accepts connections and serves each until `shutdown` resolves; those under way are cut then.
pub async fn accept<S>(
    listener: &TcpListener,
    serve: impl Fn(TcpStream, Asked) -> S,
    shutdown: impl Future<Output = ()> + Send,
) where
    S: Future<Output = ()> + Send + 'static,
{
    let mut connections = Connections::default();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => return,
            Some(_) = connections.tasks.join_next(), if !connections.tasks.is_empty() => connections.forget_ended(),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let asked = Asked::default();
                    connections.add(serve(stream, asked.clone()), asked);
                }
                Err(error) => {
                    tracing::warn!(error = %ErrorChain(&error), "cannot accept a connection");
                    // Out of file descriptors: accepting at once again would spin. Not a wait for a condition.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
}

/// Those that are open, oldest first.
#[derive(Default)]
struct Connections {
    tasks: JoinSet<()>,
    open: Vec<(AbortHandle, Asked)>,
}

impl Connections {
    fn add(&mut self, serving: impl Future<Output = ()> + Send + 'static, asked: Asked) {
        self.forget_ended();
        if self.open.len() >= MAX_CONNECTIONS {
            let oldest = self.open.iter().position(|(_, asked)| !asked.0.load(Ordering::Relaxed)).unwrap_or(0);
            self.open.remove(oldest).0.abort();
        }
        self.open.push((self.tasks.spawn(serving), asked));
    }

    fn forget_ended(&mut self) {
        self.open.retain(|(task, _)| !task.is_finished());
    }
}
