//! A plugin that stands in for a policy where that is not built: it registers, places containers by one rule, and keeps books as the
//! policies of nri-plugins do. Of a policy it has nothing but that.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use bytes::Bytes;
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::objects::Cpu;
use crate::trunk::{self, Service};
use crate::ttrpc::{self, Assembler, Kind, Message, code};
use crate::{api, limits};

/// What it calls itself; containerd's log has it.
const NAME: &str = "stand-in";
/// After all plugins that start with a lower number, as the policies are started on nodes.
const INDEX: &str = "90";

/// Where containers go.
pub trait Rule: Send + Sync {
    /// CPU settings of a container of this namespace; what is absent or empty stays.
    fn place(&self, namespace: &str) -> Cpu;
}

/// Containers that it knows, and where it has them.
#[derive(Debug, Default)]
struct Books {
    namespaces: BTreeMap<String, String>,
    containers: BTreeMap<String, (Cpu, String)>,
}

impl Books {
    /// Of containers and pods that it is notified of.
    fn take(&mut self, rule: &dyn Rule, container: &api::Container) -> Cpu {
        let namespace = self.namespaces.get(&container.pod_sandbox_id).map_or("", String::as_str);
        let cpu = rule.place(namespace);
        let place = container.linux.as_ref().map(|linux| linux.cgroups_path.clone()).unwrap_or_default();
        self.containers.insert(container.id.clone(), (cpu.clone(), place));
        cpu
    }

    /// In the form of nri-plugins v0.14.0 (pkg/resmgr/cache/cache.go), as far as anybody reads it.
    fn text(&self) -> String {
        let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        let containers = self.containers.iter().map(|(id, (cpu, place))| {
            let (id, cpus, mems, place) = (quoted(id), quoted(&cpu.cpus), quoted(&cpu.mems), quoted(place));
            format!(
                "{id}:{{\"Ctr\":{{\"linux\":{{\"resources\":{{\"cpu\":{{\"cpus\":{cpus},\"mems\":{mems}}}}},\"cgroups_path\":{place}}}}}}}"
            )
        });
        format!("{{\"PolicyName\":\"{NAME}\",\"Containers\":{{{}}}}}\n", containers.collect::<Vec<_>>().join(","))
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        let next = path.with_extension("next");
        std::fs::write(&next, self.text())?;
        std::fs::rename(next, path)
    }
}

/// Registers with the runtime behind this socket, places containers by the rule and writes the books to this file, until the connection ends. `registered`
/// is called when the runtime has reported all containers and has been answered.
///
/// # Errors
/// When there is no runtime, it refuses the registration, or the books cannot be written; the end of the connection is one, too.
pub async fn run(socket: &Path, books: &Path, rule: &dyn Rule, registered: impl FnOnce() + Send) -> io::Result<()> {
    let mut stream = UnixStream::connect(socket).await?;
    let registration = api::RegisterPluginRequest {
        plugin_name: NAME.to_owned(),
        plugin_idx: INDEX.to_owned(),
        nri_version: "v0.11.0".to_owned(),
    };
    let request = ttrpc::Request {
        service: api::RUNTIME.to_owned(),
        method: "RegisterPlugin".to_owned(),
        payload: registration.encode_to_vec().into(),
        timeout_nano: 0,
    };
    send(&mut stream, Service::Runtime, 1, Kind::Request, request.encode_to_vec()).await?;
    let (mut calls, mut content) = (Assembler::default(), Vec::new());
    let (mut kept, mut registered) = (Books::default(), Some(registered));
    loop {
        let mut head = [0; trunk::HEADER];
        stream.read_exact(&mut head).await?;
        let (service, length) = trunk::header(head).map_err(io::Error::other)?;
        content.resize(length, 0);
        stream.read_exact(&mut content).await?;
        if service == Service::Runtime {
            // The answer to the registration; a refusal is followed by the end.
            continue;
        }
        calls.push(&content);
        while let Some(call) = calls.next_message().map_err(io::Error::other)? {
            let request = ttrpc::Request::decode(call.payload).map_err(io::Error::other)?;
            let is_synchronized = request.method == "Synchronize";
            let response = match answer(&mut kept, rule, &request.method, request.payload) {
                Ok(payload) => ttrpc::Response { status: None, payload },
                Err(error) => ttrpc::Response {
                    status: Some(ttrpc::Status { code: code::UNKNOWN, message: error.to_string() }),
                    payload: Bytes::new(),
                },
            };
            kept.write(books)?;
            send(&mut stream, Service::Plugin, call.stream, Kind::Response, response.encode_to_vec()).await?;
            if let Some(registered) = registered.take_if(|_| is_synchronized) {
                registered();
            }
        }
    }
}

fn answer(books: &mut Books, rule: &dyn Rule, method: &str, payload: Bytes) -> Result<Bytes, prost::DecodeError> {
    let bytes = |message: &dyn Encode| Ok(message.bytes());
    match method {
        // All events.
        "Configure" => bytes(&api::ConfigureResponse { events: 0 }),
        "Synchronize" => {
            let request = api::SynchronizeRequest::decode(payload)?;
            books.namespaces.extend(request.pods.into_iter().map(|pod| (pod.id, pod.namespace)));
            let mut update = Vec::new();
            for container in &request.containers {
                let cpu = books.take(rule, container);
                update.push(api::ContainerUpdate {
                    container_id: container.id.clone(),
                    linux: Some(api::LinuxContainerUpdate { resources: Some(resources(&cpu)) }),
                    ignore_failure: false,
                });
            }
            // In parts, only the last of which may have updates; this one holds few containers.
            let update = if request.more { Vec::new() } else { update };
            bytes(&api::SynchronizeResponse { update, more: request.more })
        }
        "CreateContainer" => {
            let request = api::ContainerRequest::decode(payload)?;
            if let Some(pod) = request.pod {
                books.namespaces.insert(pod.id, pod.namespace);
            }
            let cpu = request.container.map(|container| books.take(rule, &container)).unwrap_or_default();
            let linux = Some(api::LinuxContainerAdjustment { resources: Some(resources(&cpu)) });
            let adjust = Some(api::ContainerAdjustment { mounts: Vec::new(), linux });
            bytes(&api::CreateContainerResponse { adjust, update: Vec::new() })
        }
        "StopContainer" => {
            let request = api::ContainerRequest::decode(payload)?;
            if let Some(container) = request.container {
                books.containers.remove(&container.id);
            }
            bytes(&api::UpdatesResponse { update: Vec::new() })
        }
        _ => bytes(&api::Empty {}),
    }
}

/// For messages of several types.
trait Encode {
    fn bytes(&self) -> Bytes;
}

impl<M: prost::Message> Encode for M {
    fn bytes(&self) -> Bytes {
        self.encode_to_vec().into()
    }
}

fn resources(cpu: &Cpu) -> api::LinuxResources {
    api::LinuxResources { memory: None, cpu: Some(cpu.to_api()) }
}

async fn send(stream: &mut UnixStream, service: Service, number: u32, kind: Kind, payload: Vec<u8>) -> io::Result<()> {
    let message = Message { stream: number, kind, flags: 0, payload: payload.into() };
    let bytes = message.encode().map_err(io::Error::other)?;
    debug_assert!(bytes.len() <= limits::MESSAGE_BYTES);
    stream.write_all(&trunk::frames(service, &bytes)).await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::{FakeRuntime, NewContainer, Pod, Timeouts};

    use super::*;

    struct Two;

    impl Rule for Two {
        fn place(&self, namespace: &str) -> Cpu {
            let cpus = if namespace == "kube-system" { "0" } else { "1-2" };
            Cpu { cpus: cpus.to_owned(), mems: "0".to_owned(), shares: Some(2), ..Cpu::default() }
        }
    }

    async fn create(runtime: &FakeRuntime, namespace: &str) {
        let pod = Pod { id: format!("pod-{namespace}"), namespace: namespace.to_owned(), ..Pod::default() };
        runtime.run_pod(pod).await.unwrap();
        let asked = NewContainer {
            id: namespace.to_owned(),
            pod: format!("pod-{namespace}"),
            cgroups_path: format!("/x/{namespace}"),
            ..NewContainer::default()
        };
        runtime.create_container(asked).await.unwrap();
    }

    #[tokio::test]
    async fn the_runtime_takes_it_for_a_plugin_and_its_books_are_so() {
        let folder = tempfile::tempdir().unwrap();
        let (socket, books) = (folder.path().join("nri.sock"), folder.path().join("cache"));
        let runtime = FakeRuntime::listen(&socket, Timeouts::default()).unwrap();
        create(&runtime, "kube-system").await;
        let (registered, mut is_registered) = tokio::sync::mpsc::unbounded_channel();
        let of_books = books.clone();
        let plugin = tokio::spawn(async move {
            run(&socket, &of_books, &Two, || registered.send(()).unwrap()).await.map_err(|error| error.kind())
        });
        tokio::time::timeout(Duration::from_secs(20), is_registered.recv()).await.unwrap().unwrap();
        create(&runtime, "default").await;
        let found: Vec<_> = runtime.containers().into_iter().map(|(id, one)| (id, one.effective.cpus)).collect();
        assert_eq!(found, [("default".to_owned(), "1-2".to_owned()), ("kube-system".to_owned(), "0".to_owned())]);
        let text: serde_json::Value = serde_json::from_slice(&std::fs::read(&books).unwrap()).unwrap();
        let entry = &text["Containers"]["default"]["Ctr"]["linux"];
        assert_eq!((&entry["resources"]["cpu"]["mems"], &entry["cgroups_path"]), (&"0".into(), &"/x/default".into()));
        runtime.stop_container("default").await.unwrap();
        assert!(!std::fs::read_to_string(&books).unwrap().contains("/x/default"));
        drop(runtime);
        assert_eq!(plugin.await.unwrap(), Err(io::ErrorKind::UnexpectedEof), "it ends with the runtime");
    }
}
