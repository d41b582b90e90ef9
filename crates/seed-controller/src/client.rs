//! The client of the seed's API.

use std::path::Path;

use anyhow::Context as _;
use http::HeaderValue;
use http::header;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

/// How the controller introduces itself to API servers. kube's client (5.0) sends no user agent, and an API server then calls a writer
/// who names no field manager (of Events, say) `unknown`.
pub(crate) const USER_AGENT: &str = concat!("gardener-extension-cri-resmgr/", env!("CARGO_PKG_VERSION"));

/// The kubeconfig of the flag or KUBECONFIG comes first, then the pod's service account, then what kubectl would use.
pub(crate) async fn client(kubeconfig: Option<&Path>) -> anyhow::Result<Client> {
    let mut config = match kubeconfig {
        Some(path) if !path.as_os_str().is_empty() => {
            let kubeconfig = Kubeconfig::read_from(path).with_context(|| format!("read {}", path.display()))?;
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
                .await
                .context("use the kubeconfig")?
        }
        _ => match Config::incluster_env() {
            Ok(config) => config,
            Err(_) => Config::infer().await.context("find the seed's API server")?,
        },
    };
    config.headers.push((header::USER_AGENT, HeaderValue::from_static(USER_AGENT)));
    Client::try_from(config).context("set up the client")
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use extension_config::names;
    use gardener_extension::managed_resources::set_keep_objects;
    use gardener_extension::retry::retrying_client;
    use lease::{Fence, Heartbeat, fenced_client};
    use serde_json::json;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    use super::*;

    /// A server that answers each request with an object that can be a ManagedResource and a Lease, and hands over the head of each request.
    async fn server() -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
        // As `main` does it; the other test may have been first.
        drop(rustls::crypto::ring::default_provider().install_default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, heads) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
                let head = loop {
                    let read = stream.read(&mut chunk).await.unwrap();
                    assert!(read > 0, "the client closed its request early");
                    bytes.extend_from_slice(&chunk[..read]);
                    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
                    let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
                    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
                    let length = length.map_or(0, |length| length.trim().parse::<usize>().unwrap());
                    if bytes.len() >= end + 4 + length {
                        break head;
                    }
                };
                let object = json!({ "metadata": { "name": "r" }, "spec": { "secretRefs": [] } }).to_string();
                let length = object.len();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{object}"
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
                sender.send(head).unwrap();
            }
        });
        (address, heads)
    }

    fn user_agent(head: &str) -> Option<&str> {
        head.lines().find_map(|line| line.strip_prefix("user-agent:")).map(str::trim)
    }

    #[tokio::test]
    async fn requests_name_user_agent_and_field_manager() {
        let (address, mut heads) = server().await;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kubeconfig");
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{ "name": "c", "cluster": { "server": format!("http://{address}") } }],
            "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "c" } }],
            "users": [{ "name": "c", "user": {} }],
        });
        std::fs::write(&path, kubeconfig.to_string()).unwrap();
        // As `process` wraps it.
        let client = client(Some(&path)).await.unwrap();
        let client = fenced_client(retrying_client(client).unwrap(), Fence::open());

        set_keep_objects(&client, names::CONTROLLER_NAME, "ns", "r", true).await.unwrap();
        let (read, written) = (heads.recv().await.unwrap(), heads.recv().await.unwrap());
        assert!(read.starts_with("get ") && written.starts_with("patch "), "{read}\n{written}");
        assert_eq!((user_agent(&read), user_agent(&written)), (Some(USER_AGENT), Some(USER_AGENT)));
        assert!(written.contains("fieldmanager=gardener-extension-cri-resmgr"), "{written}");

        let heartbeat = Heartbeat {
            client,
            namespace: "ns".to_owned(),
            name: "l".to_owned(),
            holder: "h".to_owned(),
            field_manager: names::CONTROLLER_NAME.to_owned(),
            interval: std::time::Duration::from_secs(30),
        };
        heartbeat.renew(jiff::Timestamp::now()).await.unwrap();
        let renewal = heads.recv().await.unwrap();
        assert_eq!(user_agent(&renewal), Some(USER_AGENT));
        assert!(renewal.contains("fieldmanager=gardener-extension-cri-resmgr"), "{renewal}");
    }

    /// Why the header is set here: should kube's client send one some day, this says so.
    #[tokio::test]
    async fn client_of_kube_sends_no_user_agent_by_itself() {
        let (address, mut heads) = server().await;
        let client = Client::try_from(Config::new(format!("http://{address}").parse().unwrap())).unwrap();
        gardener_extension::managed_resources::get(&client, "ns", "r").await.unwrap();
        assert_eq!(user_agent(&heads.recv().await.unwrap()), None);
    }

    #[test]
    fn user_agent_begins_with_the_controllers_name() {
        assert_eq!(USER_AGENT.split_once('/'), Some((names::CONTROLLER_NAME, env!("CARGO_PKG_VERSION"))));
    }
}
