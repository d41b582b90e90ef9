//! The API server of every shoot: it holds nothing, and answers when it is asked to.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::seed::kubeconfig;
use crate::tls::Authority;

/// It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct ShootApi {
    /// The generic kubeconfig.
    pub(crate) kubeconfig: String,
    task: AbortHandle,
}

impl Drop for ShootApi {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ShootApi {
    pub(crate) async fn start(authority: &Authority, slowness: Duration) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let kubeconfig = kubeconfig(authority, listener.local_addr()?.port(), &json!({})).to_string();
        let acceptor = authority.acceptor()?;
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(acceptor.clone(), stream, slowness));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { kubeconfig, task: task.abort_handle() })
    }
}

async fn serve(acceptor: TlsAcceptor, stream: TcpStream, slowness: Duration) -> std::io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let mut part = [0; 8192];
    // A request for a list has no body, and comes in one piece.
    while stream.read(&mut part).await? > 0 {
        tokio::time::sleep(slowness).await;
        let body = r#"{"kind":"List","apiVersion":"v1","metadata":{},"items":[]}"#;
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all((head + body).as_bytes()).await?;
    }
    Ok(())
}
