//! Distance between a client and the API server: bytes arrive later, in the same order and as fast.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

/// Parts that are under way in one direction; more than that wait in the sender's socket.
const UNDER_WAY: usize = 1024;
const PART: usize = 64 << 10;

/// It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) port: u16,
    task: AbortHandle,
}

impl Relay {
    /// To a port of the loopback device; a call and its answer take `latency` longer together.
    pub(crate) async fn start(to: u16, latency: Duration) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(connection(stream, to, latency / 2));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { port, task: task.abort_handle() })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connection(near: TcpStream, to: u16, delay: Duration) -> std::io::Result<()> {
    let far = TcpStream::connect(("127.0.0.1", to)).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
    // When one direction ends, so does the other: nobody here closes a half.
    tokio::select! {
        ended = direction(from_near, to_far, delay) => ended,
        ended = direction(from_far, to_near, delay) => ended,
    }
}

async fn direction(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    delay: Duration,
) -> std::io::Result<()> {
    let (sender, mut parts) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    let read = async {
        loop {
            let mut part = vec![0; PART];
            let length = from.read(&mut part).await?;
            part.truncate(length);
            if length == 0 || sender.send((Instant::now() + delay, part)).await.is_err() {
                return Ok(());
            }
        }
    };
    let write = async {
        while let Some((at, part)) = parts.recv().await {
            tokio::time::sleep_until(at).await;
            to.write_all(&part).await?;
        }
        Ok(())
    };
    tokio::select! {
        ended = read => ended,
        ended = write => ended,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_come_back_unchanged_and_later() -> anyhow::Result<()> {
        let server = TcpListener::bind("127.0.0.1:0").await?;
        let to = server.local_addr()?.port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = server.accept().await {
                let (mut from, mut to) = stream.split();
                drop(tokio::io::copy(&mut from, &mut to).await);
            }
        });
        let latency = Duration::from_millis(40);
        let relay = Relay::start(to, latency).await?;
        let mut client = TcpStream::connect(("127.0.0.1", relay.port)).await?;
        let (sent, start) = (vec![7; 3 * PART], Instant::now());
        client.write_all(&sent).await?;
        let mut received = vec![0; sent.len()];
        client.read_exact(&mut received).await?;
        assert!(received == sent && start.elapsed() >= latency, "{:?}", start.elapsed());
        Ok(())
    }
}
