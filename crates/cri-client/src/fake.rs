//! A container runtime and a cri-resmgr for tests: real gRPC over a real unix socket, answering as scripted.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{JoinHandle, JoinSet};
use tonic::Status;
use tonic_prost::ProstCodec;

pub use tonic::Code;

use crate::containers::{
    Container, ContainerState, ContainerStatusRequest, ContainerStatusResponse, ListContainersRequest,
    ListContainersResponse, UpdateContainerResourcesRequest, UpdateContainerResourcesResponse,
};
use crate::resmgr_config::{SetAdjustmentReply, SetAdjustmentRequest, SetConfigReply, SetConfigRequest};
use crate::runtime::{self, Condition, StatusRequest, StatusResponse, VersionRequest, VersionResponse};

/// How the fake answers from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behaviour {
    /// Answers, and `RuntimeReady` is this.
    Answers {
        /// Status of the condition `RuntimeReady`.
        runtime_ready: bool,
    },
    /// Takes connections and calls, but never answers.
    Hangs,
    /// Answers every call with this error.
    Fails(Code),
    /// Answers as ready, but refuses configurations with this text.
    Refuses(String),
    /// Answers as ready after this time.
    Late(Duration),
    /// Ends each call's stream without an answer.
    Breaks,
}

/// Says for the path of a call how this one is answered, if not as scripted.
pub type Script = Arc<dyn Fn(&str) -> Option<Behaviour> + Send + Sync>;

/// Carries out an update of resources, before it is answered.
pub type Updater = Arc<dyn Fn(FakeUpdate) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// What a fake says that it is when nobody cares.
pub const VERSION: &str = "0-fake";

/// What is special about a fake.
#[derive(Clone)]
pub struct Traits {
    /// Answers single calls otherwise.
    pub script: Script,
    /// Version that it says it has.
    pub version: String,
    /// Carries out updates; they are recorded in any case.
    pub updater: Option<Updater>,
}

impl std::fmt::Debug for Traits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Traits").field("version", &self.version).finish_non_exhaustive()
    }
}

/// A container of the fake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FakeContainer {
    /// Labels, those of kubelet among them.
    pub labels: BTreeMap<String, String>,
    /// What it does.
    pub state: ContainerState,
    /// What `ContainerStatus` has under `info` when it is asked to be verbose.
    pub info: String,
}

/// An update of resources, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FakeUpdate {
    /// The container's id.
    pub id: String,
    /// Shares; 0 is no change.
    pub cpu_shares: i64,
    /// CPUs; empty is no change.
    pub cpus: String,
    /// Memory nodes; empty is no change.
    pub mems: String,
}

/// A running fake; it stops when dropped and leaves its socket file behind, as a killed daemon does.
#[derive(Debug)]
pub struct FakeRuntime {
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    behaviour: Behaviour,
    configurations: Vec<BTreeMap<String, String>>,
    adjustments: Vec<String>,
    calls: Vec<String>,
    containers: BTreeMap<String, FakeContainer>,
    updates: Vec<FakeUpdate>,
}

impl FakeRuntime {
    /// Listens on the socket; must be called inside a tokio runtime.
    pub fn serve(socket: &Path, behaviour: Behaviour) -> io::Result<Self> {
        Self::serve_scripted(socket, behaviour, Arc::new(|_| None))
    }

    /// The same with a script that may answer single calls otherwise.
    pub fn serve_scripted(socket: &Path, behaviour: Behaviour, script: Script) -> io::Result<Self> {
        Self::serve_with(socket, behaviour, Traits { script, version: VERSION.to_owned(), updater: None })
    }

    /// The same with all that may be special about it.
    pub fn serve_with(socket: &Path, behaviour: Behaviour, traits: Traits) -> io::Result<Self> {
        let listener = UnixListener::bind(socket)?;
        let state = Arc::new(Mutex::new(State {
            behaviour,
            configurations: Vec::new(),
            adjustments: Vec::new(),
            calls: Vec::new(),
            containers: BTreeMap::new(),
            updates: Vec::new(),
        }));
        let (shared, traits) = (Arc::clone(&state), Arc::new(traits));
        let task = tokio::spawn(async move {
            // Dropped with this task, and all connections with it.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve_connection(stream, Arc::clone(&shared), Arc::clone(&traits)));
            }
        });
        Ok(Self { state, task })
    }

    /// Answers this way from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        locked(&self.state).behaviour = behaviour;
    }

    /// Has these containers, by id, from now on.
    pub fn hold(&self, containers: BTreeMap<String, FakeContainer>) {
        locked(&self.state).containers = containers;
    }

    /// Updates of resources so far.
    #[must_use]
    pub fn updates(&self) -> Vec<FakeUpdate> {
        locked(&self.state).updates.clone()
    }

    /// Configurations handed over so far, refused ones too.
    #[must_use]
    pub fn configurations(&self) -> Vec<BTreeMap<String, String>> {
        locked(&self.state).configurations.clone()
    }

    /// Sets of adjustments handed over so far, as JSON.
    #[must_use]
    pub fn adjustments(&self) -> Vec<String> {
        locked(&self.state).adjustments.clone()
    }

    /// Paths of all calls so far.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        locked(&self.state).calls.clone()
    }
}

impl Drop for FakeRuntime {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn locked(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve_connection(stream: UnixStream, state: Arc<Mutex<State>>, traits: Arc<Traits>) {
    let service = hyper::service::service_fn(move |request| answer(request, Arc::clone(&state), Arc::clone(&traits)));
    let connection =
        hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
    // A client that goes away ends its connection with an error; that is its business.
    drop(connection.await);
}

async fn answer(
    request: Request<Incoming>,
    state: Arc<Mutex<State>>,
    traits: Arc<Traits>,
) -> Result<Response<tonic::body::Body>, io::Error> {
    let path = request.uri().path().to_owned();
    let behaviour = {
        let mut state = locked(&state);
        state.calls.push(path.clone());
        (traits.script)(&path).unwrap_or_else(|| state.behaviour.clone())
    };
    let runtime_ready = match &behaviour {
        Behaviour::Hangs => std::future::pending().await,
        Behaviour::Fails(code) => return Ok(Status::new(*code, "as told").into_http()),
        Behaviour::Answers { runtime_ready } => *runtime_ready,
        Behaviour::Refuses(_) => true,
        Behaviour::Late(time) => {
            tokio::time::sleep(*time).await;
            true
        }
        Behaviour::Breaks => return Err(io::ErrorKind::ConnectionReset.into()),
    };
    let refusal = match behaviour {
        Behaviour::Refuses(text) => text,
        _ => String::new(),
    };
    // What Go's gRPC demands too.
    if request.uri().authority().is_none_or(|authority| authority.as_str().contains('/')) {
        return Ok(Status::internal("malformed authority").into_http());
    }
    let response = match path.as_str() {
        "/runtime.v1.RuntimeService/Version" => {
            let runtime_version = traits.version.clone();
            unary(request, move |_: VersionRequest| VersionResponse {
                version: "0.1.0".to_owned(),
                runtime_name: "containerd".to_owned(),
                runtime_version: runtime_version.clone(),
                runtime_api_version: "v1".to_owned(),
            })
            .await
        }
        "/runtime.v1.RuntimeService/Status" => unary(request, move |_: StatusRequest| status(runtime_ready)).await,
        "/runtime.v1.RuntimeService/ListContainers" => {
            unary(request, move |_: ListContainersRequest| list(&locked(&state).containers)).await
        }
        "/runtime.v1.RuntimeService/ContainerStatus" => {
            try_unary(request, move |request: ContainerStatusRequest| {
                let known =
                    locked(&state).containers.get(&request.container_id).map(|container| container.info.clone());
                let info = known.ok_or_else(|| not_found(&request.container_id))?;
                let info = request.verbose.then(|| ("info".to_owned(), info));
                Ok(ContainerStatusResponse { info: info.into_iter().collect() })
            })
            .await
        }
        "/runtime.v1.RuntimeService/UpdateContainerResources" => {
            let reported = Arc::new(Mutex::new(None));
            let asked = Arc::clone(&reported);
            let answer = try_unary(request, move |request: UpdateContainerResourcesRequest| {
                let (update, reply) = update(&mut locked(&state), request)?;
                *asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(update);
                Ok(reply)
            })
            .await;
            let update = reported.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let (Some(updater), Some(update)) = (&traits.updater, update) {
                updater(update).await;
            }
            answer
        }
        "/v1.Config/SetConfig" => {
            unary(request, move |request: SetConfigRequest| {
                locked(&state).configurations.push(request.config.into_iter().collect());
                SetConfigReply { error: refusal.clone() }
            })
            .await
        }
        "/v1.Config/SetAdjustment" => {
            unary(request, move |request: SetAdjustmentRequest| {
                locked(&state).adjustments.push(request.adjustment);
                SetAdjustmentReply { errors: HashMap::new() }
            })
            .await
        }
        _ => Status::unimplemented(path).into_http(),
    };
    Ok(response)
}

fn list(containers: &BTreeMap<String, FakeContainer>) -> ListContainersResponse {
    let containers = containers.iter().map(|(id, container)| Container {
        id: id.clone(),
        state: match container.state {
            ContainerState::Created => 0,
            ContainerState::Running => 1,
            ContainerState::Exited => 2,
            ContainerState::Unknown => 3,
        },
        labels: container.labels.clone().into_iter().collect(),
    });
    ListContainersResponse { containers: containers.collect() }
}

fn update(
    state: &mut State,
    request: UpdateContainerResourcesRequest,
) -> Result<(FakeUpdate, UpdateContainerResourcesResponse), Status> {
    if !state.containers.contains_key(&request.container_id) {
        return Err(not_found(&request.container_id));
    }
    let linux = request.linux.unwrap_or_default();
    let update = FakeUpdate {
        id: request.container_id,
        cpu_shares: linux.cpu_shares,
        cpus: linux.cpuset_cpus,
        mems: linux.cpuset_mems,
    };
    state.updates.push(update.clone());
    Ok((update, UpdateContainerResourcesResponse {}))
}

fn not_found(id: &str) -> Status {
    Status::not_found(format!("container {id}"))
}

async fn unary<Query, Reply>(
    request: Request<Incoming>,
    reply: impl Fn(Query) -> Reply + Send + Sync + 'static,
) -> Response<tonic::body::Body>
where
    Query: prost::Message + Default + Send + Sync + 'static,
    Reply: prost::Message + Default + Send + Sync + 'static,
{
    try_unary(request, move |query| Ok(reply(query))).await
}

async fn try_unary<Query, Reply>(
    request: Request<Incoming>,
    reply: impl Fn(Query) -> Result<Reply, Status> + Send + Sync + 'static,
) -> Response<tonic::body::Body>
where
    Query: prost::Message + Default + Send + Sync + 'static,
    Reply: prost::Message + Default + Send + Sync + 'static,
{
    let handler = tower::service_fn(move |request: tonic::Request<Query>| {
        let reply = reply(request.into_inner());
        async move { reply.map(tonic::Response::new) }
    });
    tonic::server::Grpc::new(ProstCodec::<Reply, Query>::default()).unary(handler, request).await
}

fn status(runtime_ready: bool) -> StatusResponse {
    let condition = |kind: &str, status: bool| Condition {
        r#type: kind.to_owned(),
        status,
        reason: String::new(),
        message: String::new(),
    };
    StatusResponse {
        status: Some(runtime::Status {
            conditions: vec![condition("RuntimeReady", runtime_ready), condition("NetworkReady", false)],
        }),
    }
}
