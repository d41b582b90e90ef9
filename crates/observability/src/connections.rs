//! The connections of a server: so many at a time, and who has to go for one more.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use crate::ErrorChain;

/// Most connections at a time: for one more, one of the peer that has most of them has to go. Bounds memory against a client gone wild without
/// keeping out anybody at another address, as kubelet's probes and API servers are.
pub(crate) const MAX_CONNECTIONS: usize = 128;

/// By which a connection says that its request has come.
#[derive(Clone, Debug, Default)]
pub struct Asked(Arc<AtomicBool>);

impl Asked {
    /// The request has come: from now on others have to go first.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
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
                Ok((stream, peer)) => {
                    let asked = Asked::default();
                    connections.add(peer.ip().to_canonical(), serve(stream, asked.clone()), asked);
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
    open: Vec<Connection>,
}

struct Connection {
    peer: IpAddr,
    task: AbortHandle,
    asked: Asked,
}

impl Connections {
    fn add(&mut self, peer: IpAddr, serving: impl Future<Output = ()> + Send + 'static, asked: Asked) {
        self.forget_ended();
        if self.open.len() >= MAX_CONNECTIONS {
            let open: Vec<(IpAddr, bool)> = self.open.iter().map(|it| (it.peer, it.asked.is_set())).collect();
            if let Some(index) = who_goes(&open) {
                self.open.remove(index).task.abort();
            }
        }
        self.open.push(Connection { peer, task: self.tasks.spawn(serving), asked });
    }

    fn forget_ended(&mut self) {
        self.open.retain(|connection| !connection.task.is_finished());
    }
}

/// Which of the open connections, given oldest first with whether they have asked, has to go for one more: of the peer that has most of them, the
/// oldest that has asked nothing yet, else its oldest. So a peer that opens more than its share cuts its own.
fn who_goes(open: &[(IpAddr, bool)]) -> Option<usize> {
    let mut peers: Vec<IpAddr> = open.iter().map(|(peer, _)| *peer).collect();
    peers.sort_unstable();
    // Of peers that have equally many, the last: any will do.
    let most = peers.chunk_by(PartialEq::eq).max_by_key(|of_one| of_one.len())?.first()?;
    let oldest = |is_wanted: fn(bool) -> bool| open.iter().position(|(peer, asked)| peer == most && is_wanted(*asked));
    oldest(|asked| !asked).or_else(|| oldest(|_| true))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u8) -> IpAddr {
        [10, 0, 0, number].into()
    }

    #[test]
    fn the_peer_with_most_connections_loses_its_oldest_silent_one() {
        let silent = |number| (peer(number), false);
        let asked = |number| (peer(number), true);
        for (open, expected) in [
            (vec![], None),
            (vec![silent(1)], Some(0)),
            (vec![silent(1), silent(2), silent(2)], Some(1)),
            (vec![silent(1), asked(2), silent(2), silent(2)], Some(2)),
            (vec![silent(1), asked(2), asked(2)], Some(1)),
            (vec![asked(1), silent(1), silent(1), silent(2), silent(2)], Some(1)),
        ] {
            assert_eq!(who_goes(&open), expected, "{open:?}");
        }
    }

    #[test]
    fn a_flood_from_one_address_cuts_nobody_else() {
        let mut open = vec![(peer(1), false)];
        for _ in 0..10 * MAX_CONNECTIONS {
            if open.len() >= MAX_CONNECTIONS {
                open.remove(who_goes(&open).unwrap());
            }
            open.push((peer(2), false));
        }
        assert_eq!((open.len(), open[0].0), (MAX_CONNECTIONS, peer(1)));
    }
}
