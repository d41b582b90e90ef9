//! Requests: from paths and headers to the store and back.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::Failure;
use super::calls::{Asked, Calls};
use super::object::{only_metadata, text};
use super::resource::Resource;
use super::selector::Selector;
use super::store::{Key, Store};
use super::watch::{self, Watched};
use super::write::{Change, Deleted, Preconditions};
use super::writer::Writer;
use faults::{Fault, Faults};

/// Where a watch without a limit of its own ends.
const WATCH_LIMIT: Duration = Duration::from_secs(300);

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What all connections share.
#[derive(Debug, Clone)]
pub(super) struct Front {
    pub(super) store: Store,
    pub(super) calls: Calls,
    pub(super) faults: Faults<u16>,
}

/// Serves one connection until it ends.
pub(super) async fn serve(stream: TcpStream, front: Front) {
    // Answers are small and awaited.
    let _only_slower_without = stream.set_nodelay(true);
    let service = hyper::service::service_fn(move |request| {
        let (front, asked) = (front.clone(), asked(&request));
        async move {
            front.calls.ask(asked);
            let calls = front.calls.clone();
            let answer = answer(request, front).await;
            if let Ok(answer) = &answer {
                calls.answer(asked, answer.status().as_u16());
            }
            answer
        }
    });
    // A client that goes away ends its connection with an error; that is its business.
    drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}

fn asked(request: &Request<Incoming>) -> Asked {
    let target = Target::parse(request.uri().path()).ok();
    let query = parse_query(request.uri().query().unwrap_or_default());
    let watches = query.get("watch").is_some_and(|value| asks_to_watch(value));
    let about = target.as_ref().map(|target| (target.resource.plural, target.status));
    Asked::of(request.method(), target.map(|target| target.name.is_some()), watches, about)
}

fn asks_to_watch(value: &str) -> bool {
    matches!(value, "true" | "1")
}

/// What a request is about.
struct Target {
    resource: &'static Resource,
    namespace: String,
    name: Option<String>,
    status: bool,
}

impl Target {
    fn parse(path: &str) -> Result<Self, Failure> {
        let words: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (group, version, rest) = match words.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return Err(Failure::unknown_path()),
        };
        let (namespace, plural, rest) = match rest {
            ["namespaces", namespace, plural, rest @ ..] if *plural != "status" => (*namespace, *plural, rest),
            [plural, rest @ ..] => ("", *plural, rest),
            [] => return Err(Failure::unknown_path()),
        };
        let resource = Resource::by_plural(group, plural)?;
        let (name, status) = match rest {
            [] => (None, false),
            [name] => (Some((*name).to_owned()), false),
            [name, "status"] if resource.status => (Some((*name).to_owned()), true),
            _ => return Err(Failure::unknown_path()),
        };
        let misplaced = namespace.is_empty() && resource.namespaced && name.is_some();
        if resource.version != version || misplaced || (!namespace.is_empty() && !resource.namespaced) {
            return Err(Failure::unknown_path());
        }
        Ok(Self { resource, namespace: namespace.to_owned(), name, status })
    }
}

/// An error breaks the connection.
async fn answer(request: Request<Incoming>, front: Front) -> Result<Response<Body>, std::io::Error> {
    let refusal = match front.faults.at(&format!("{} {}", request.method(), request.uri())) {
        Some(Fault::Break) => return Err(std::io::ErrorKind::ConnectionReset.into()),
        Some(Fault::Refuse(code)) => Err(Failure::scripted(code)),
        Some(Fault::Delay(time)) => {
            tokio::time::sleep(time).await;
            Ok(())
        }
        None => Ok(()),
    };
    let answer = match refusal {
        Ok(()) => respond(request, front.store).await,
        Err(failure) => Err(failure),
    };
    Ok(answer.unwrap_or_else(|failure| json_response(failure.code, &failure.status())))
}

/// A request, taken apart.
struct Call {
    store: Store,
    target: Target,
    query: HashMap<String, String>,
    content_type: String,
    metadata_only: bool,
    body: Bytes,
    writer: Writer,
}

async fn respond(request: Request<Incoming>, store: Store) -> Result<Response<Body>, Failure> {
    let (head, body) = request.into_parts();
    if head.uri.path() == "/version" {
        let version = json!({ "major": "1", "minor": "33", "gitVersion": "v1.33.0-sandbox", "platform": "sandbox" });
        return Ok(json_response(200, &version));
    }
    if let (&Method::GET, ["", "apis", group, version]) =
        (&head.method, head.uri.path().split('/').collect::<Vec<_>>().as_slice())
    {
        return discovery(&store, group, version);
    }
    let target = Target::parse(head.uri.path())?;
    let query = parse_query(head.uri.query().unwrap_or_default());
    let header_text =
        |name| head.headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok()).unwrap_or_default();
    let body = body.collect().await.map_err(|error| Failure::bad_request(&error.to_string()))?.to_bytes();
    let agent =
        header_text(header::USER_AGENT).split('/').next().filter(|agent| !agent.is_empty()).unwrap_or("unknown");
    let writer = Writer::named(query.get("fieldManager").filter(|name| !name.is_empty()).map_or(agent, String::as_str));
    let call = Call {
        writer: if target.status { writer.status() } else { writer },
        content_type: header_text(header::CONTENT_TYPE).to_owned(),
        metadata_only: header_text(header::ACCEPT).contains("as=PartialObjectMetadata"),
        store,
        target,
        query,
        body,
    };
    match (&head.method, call.target.name.clone()) {
        (&Method::GET, Some(name)) => call.get(&name),
        (&Method::GET, None) if asks_to_watch(call.parameter("watch")) => call.watch(),
        (&Method::GET, None) => call.list(),
        (&Method::POST, None) => call.create(),
        (&Method::PUT, Some(name)) => call.change(&name, &Change::Replace(&decode(&call.body)?)),
        (&Method::PATCH, Some(name)) => call.patch(&name),
        (&Method::DELETE, Some(name)) => call.delete(&name),
        (&Method::DELETE, None) => call.delete_all(),
        _ => Err(Failure::method()),
    }
}

impl Call {
    fn parameter(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    fn selector(&self) -> Result<Selector, Failure> {
        Selector::parse(self.parameter("labelSelector"), self.parameter("fieldSelector"))
    }

    fn object(&self, code: u16, object: &Value) -> Response<Body> {
        if self.metadata_only { json_response(code, &only_metadata(object)) } else { json_response(code, object) }
    }

    fn get(&self, name: &str) -> Result<Response<Body>, Failure> {
        let key = Key::new(self.target.resource, &self.target.namespace, name);
        let found = self.store.lock().get(&key).map(|stored| Arc::clone(&stored.object));
        let found = found.ok_or_else(|| Failure::not_found(self.target.resource, name))?;
        Ok(self.object(200, &found))
    }

    fn watch(self) -> Result<Response<Body>, Failure> {
        let watched = Watched {
            resource: self.target.resource,
            selector: self.selector()?,
            revision: revision(self.parameter("resourceVersion"))?,
            bookmarks: self.parameter("allowWatchBookmarks") == "true",
            metadata_only: self.metadata_only,
            limit: self.parameter("timeoutSeconds").parse().map_or(WATCH_LIMIT, Duration::from_secs),
            namespace: self.target.namespace,
        };
        Ok(response(200, UnsyncBoxBody::new(StreamBody::new(watch::stream(self.store, watched)))))
    }

    fn list(&self) -> Result<Response<Body>, Failure> {
        let selector = self.selector()?;
        let state = self.store.lock();
        let items = state.list(self.target.resource, &self.target.namespace, &selector);
        let revision = state.revision().to_string();
        drop(state);
        let (api_version, kind) = if self.metadata_only {
            ("meta.k8s.io/v1".to_owned(), "PartialObjectMetadataList".to_owned())
        } else {
            (self.target.resource.api_version(), format!("{}List", self.target.resource.kind))
        };
        let item = |object: &Arc<Value>| if self.metadata_only { only_metadata(object) } else { Value::clone(object) };
        let items: Vec<Value> = items.iter().map(item).collect();
        let list = json!({
            "apiVersion": api_version, "kind": kind, "metadata": { "resourceVersion": revision }, "items": items,
        });
        Ok(json_response(200, &list))
    }

    fn create(&self) -> Result<Response<Body>, Failure> {
        let Target { resource, namespace, .. } = &self.target;
        let created =
            self.store.create(resource.group, resource.plural, namespace, decode(&self.body)?, &self.writer)?;
        Ok(self.object(201, &created))
    }

    fn change(&self, name: &str, change: &Change<'_>) -> Result<Response<Body>, Failure> {
        let Target { resource, namespace, .. } = &self.target;
        let (object, created) = self.store.change(resource, namespace, name, change, &self.writer)?;
        Ok(self.object(if created { 201 } else { 200 }, &object))
    }

    fn patch(&self, name: &str) -> Result<Response<Body>, Failure> {
        let body = decode(&self.body)?;
        let change = match self.content_type.as_str() {
            "application/merge-patch+json" => Change::Merge(&body),
            "application/json-patch+json" => Change::Json(&body),
            "application/strategic-merge-patch+json" if self.target.resource.is_builtin() => Change::Strategic(&body),
            "application/apply-patch+yaml" if self.parameter("fieldManager").is_empty() => {
                let message = "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch";
                return Err(Failure::unprocessable(message));
            }
            // JSON is YAML; nobody here sends anything else.
            "application/apply-patch+yaml" => Change::Apply { object: &body, force: self.parameter("force") == "true" },
            other => return Err(Failure::media_type(other)),
        };
        self.change(name, &change)
    }

    fn preconditions(&self) -> Result<Preconditions, Failure> {
        let options = if self.body.is_empty() { Value::Null } else { decode(&self.body)? };
        let wanted = |member: &str| options["preconditions"][member].as_str().map(str::to_owned);
        Ok(Preconditions { uid: wanted("uid"), resource_version: wanted("resourceVersion") })
    }

    fn delete(&self, name: &str) -> Result<Response<Body>, Failure> {
        let resource = self.target.resource;
        match self.store.remove(resource, &self.target.namespace, name, &self.preconditions()?)? {
            Deleted::Pending(object) => Ok(self.object(200, &object)),
            Deleted::Gone(object) => {
                let uid = &object["metadata"]["uid"];
                let details = json!({ "name": name, "group": resource.group, "kind": resource.plural, "uid": uid });
                let status = json!({
                    "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
                });
                Ok(json_response(200, &status))
            }
        }
    }

    /// Answers with what was there.
    fn delete_all(&self) -> Result<Response<Body>, Failure> {
        let (answer, preconditions) = (self.list()?, self.preconditions()?);
        let resource = self.target.resource;
        let all = self.store.lock().list(resource, &self.target.namespace, &self.selector()?);
        for object in all {
            let (namespace, name) = (text(&object, "/metadata/namespace"), text(&object, "/metadata/name"));
            self.store.remove(resource, namespace, name, &preconditions)?;
        }
        Ok(answer)
    }
}

/// The kinds of a group in one version: those that are served, and those that a definition speaks of, which are not.
fn discovery(store: &Store, group: &str, version: &str) -> Result<Response<Body>, Failure> {
    let kind = |plural: &str, kind: &str, namespaced: bool| json!({ "name": plural, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": ["get", "list"] });
    let mut all: Vec<Value> = Resource::of_group(group, version)
        .map(|resource| kind(resource.plural, resource.kind, resource.namespaced))
        .collect();
    store.visit("apiextensions.k8s.io", "customresourcedefinitions", "", |definition| {
        let spec = &definition["spec"];
        let has_version = spec["versions"]
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one["name"] == version && one["served"] == true));
        let plural = text(definition, "/spec/names/plural");
        if spec["group"] == group && has_version && !all.iter().any(|known| known["name"] == plural) {
            all.push(kind(plural, text(definition, "/spec/names/kind"), spec["scope"] == "Namespaced"));
        }
    });
    if all.is_empty() {
        return Err(Failure::unknown_path());
    }
    let list = json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": format!("{group}/{version}"), "resources": all,
    });
    Ok(json_response(200, &list))
}

/// `None` stands for "whatever is there".
fn revision(text: &str) -> Result<Option<u64>, Failure> {
    match text {
        "" | "0" => Ok(None),
        text => {
            text.parse().map(Some).map_err(|_| Failure::bad_request(&format!("invalid resource version: {text:?}")))
        }
    }
}

fn decode(bytes: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(bytes).map_err(|error| Failure::bad_request(&format!("the body is not JSON: {error}")))
}

fn json_response(code: u16, value: &Value) -> Response<Body> {
    response(code, UnsyncBoxBody::new(Full::new(Bytes::from(value.to_string()))))
}

fn response(code: u16, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

fn parse_query(query: &str) -> HashMap<String, String> {
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}
