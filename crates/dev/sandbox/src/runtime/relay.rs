//! The proxy's relay: what kubelet says goes to containerd, and back.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use faults::{Fault, Faults};

/// Relays until it is dropped. A process that is stopped (`kill -STOP`) takes connections and answers nothing.
/// `connect proxy` is what may go wrong.
pub(super) async fn run(listener: UnixListener, runtime: PathBuf, process: Arc<PathBuf>, faults: Faults<()>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let (runtime, process, fault) = (runtime.clone(), Arc::clone(&process), faults.at("connect proxy"));
        connections.spawn(async move {
            match fault {
                Some(Fault::Delay(time)) => tokio::time::sleep(time).await,
                Some(_) => return,
                None => {}
            }
            if is_stopped(&process) {
                std::future::pending::<()>().await;
            }
            relay(client, runtime).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn relay(mut client: UnixStream, runtime: PathBuf) {
    let Ok(mut server) = UnixStream::connect(&runtime).await else { return };
    // Either side may go at any time; then the other learns it by the closed connection.
    drop(copy_bidirectional(&mut client, &mut server).await);
}

/// Whether the process whose `/proc/PID/stat` this is, is stopped.
fn is_stopped(stat: &std::path::Path) -> bool {
    let text = std::fs::read_to_string(stat).unwrap_or_default();
    text.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['T', 't']))
}
