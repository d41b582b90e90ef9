//! Lists, page by page. An object that is none of its kind is passed over; a page that is too large is asked for again with fewer objects.

use anyhow::{Context as _, bail};
use futures::AsyncReadExt as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::api::{ListParams, Request};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::limits;

/// What of an object is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// All of it.
    Whole,
    /// Its metadata: a Node has tens of kilobytes else.
    Metadata,
}

/// An object of which only this is wanted.
#[derive(Debug, Deserialize)]
pub(super) struct Meta {
    pub(super) metadata: ObjectMeta,
}

#[derive(Debug, Deserialize)]
struct Page<'a> {
    #[serde(default)]
    metadata: PageMeta,
    /// An empty list of metadata is `null` (Kubernetes 1.34).
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Debug, Default, Deserialize)]
struct PageMeta {
    #[serde(default, rename = "continue")]
    next: Option<String>,
}

/// Gives each object to `take`.
pub(super) async fn each<T: DeserializeOwned>(
    client: &Client,
    url: &str,
    parameters: &ListParams,
    form: Form,
    take: &mut impl FnMut(T),
) -> anyhow::Result<()> {
    let mut parameters = parameters.clone().limit(limits::PAGE);
    let mut seen = 0;
    loop {
        let request = Request::new(url);
        let request = match form {
            Form::Whole => request.list(&parameters),
            Form::Metadata => request.list_metadata(&parameters),
        };
        let Some(bytes) = read(client, request.context("make the request")?).await? else {
            let fewer = parameters.limit.unwrap_or(limits::PAGE) / 8;
            if fewer == 0 {
                bail!("a page of less than eight objects has more than {} bytes", limits::PAGE_BYTES);
            }
            parameters.limit = Some(fewer);
            continue;
        };
        // Not the error itself, which may repeat the text.
        let page: Page<'_> = serde_json::from_slice(&bytes).map_err(|error| {
            anyhow::anyhow!("the API server's answer is no list (line {}, column {})", error.line(), error.column())
        })?;
        for item in page.items.iter().flatten() {
            seen += 1;
            if seen > limits::OBJECTS {
                bail!("there are more than {} objects", limits::OBJECTS);
            }
            if let Ok(object) = serde_json::from_str(item.get()) {
                take(object);
            }
        }
        match page.metadata.next.filter(|next| !next.is_empty()) {
            Some(next) => parameters.continue_token = Some(next),
            None => return Ok(()),
        }
    }
}

/// The answer's bytes; `None` where there are too many.
async fn read(client: &Client, request: http::Request<Vec<u8>>) -> anyhow::Result<Option<Vec<u8>>> {
    let read = async {
        let stream = client.request_stream(request).await?;
        let mut bytes = Vec::new();
        let most = u64::try_from(limits::PAGE_BYTES).unwrap_or(u64::MAX);
        stream.take(most + 1).read_to_end(&mut bytes).await?;
        anyhow::Ok((bytes.len() <= limits::PAGE_BYTES).then_some(bytes))
    };
    tokio::time::timeout(limits::CALL, read).await.context("the API server did not answer in time")?
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use http::{Request as HttpRequest, Response};
    use kube::client::Body;

    use super::*;

    /// An API that answers by what stands behind the `?`, and remembers it.
    fn api(answer: impl Fn(&str) -> (u16, Vec<u8>) + Clone + Send + 'static) -> (Client, Arc<Mutex<Vec<String>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        let service = tower::service_fn(move |request: HttpRequest<Body>| {
            let query = request.uri().query().unwrap_or_default().to_owned();
            let (code, body) = answer(&query);
            seen.lock().unwrap().push(query);
            async move { Response::builder().status(code).body(Body::from(body)) }
        });
        (Client::new(service, "ns"), asked)
    }

    async fn names(client: &Client) -> anyhow::Result<Vec<String>> {
        let mut names = Vec::new();
        let mut take = |object: Meta| names.extend(object.metadata.name);
        each::<Meta>(client, "/api/v1/nodes", &ListParams::default(), Form::Metadata, &mut take).await?;
        Ok(names)
    }

    fn page(names: &[&str], next: &str) -> Vec<u8> {
        let items: Vec<_> = names.iter().map(|name| serde_json::json!({ "metadata": { "name": name } })).collect();
        serde_json::json!({ "metadata": { "continue": next }, "items": items }).to_string().into_bytes()
    }

    #[tokio::test]
    async fn all_pages_are_read_and_what_is_no_object_is_passed_over() {
        let (client, asked) = api(|query| {
            if query.contains("continue=more") {
                return (200, page(&["c"], ""));
            }
            let text = r#"{"metadata":{"continue":"more"},"items":[{"metadata":{"name":"a"}},7,{"metadata":{"name":[]}},{"metadata":{"name":"b"}}]}"#;
            (200, text.into())
        });
        assert_eq!(names(&client).await.unwrap(), ["a", "b", "c"]);
        assert_eq!(*asked.lock().unwrap(), ["&limit=250", "&limit=250&continue=more"]);
    }

    #[tokio::test]
    async fn a_page_that_is_too_large_is_asked_for_in_smaller_ones() {
        let (client, asked) = api(|query| {
            let is_large = query.contains("limit=250");
            (200, if is_large { vec![b' '; limits::PAGE_BYTES + 1] } else { page(&["a"], "") })
        });
        assert_eq!(names(&client).await.unwrap(), ["a"]);
        assert_eq!(*asked.lock().unwrap(), ["&limit=250", "&limit=31"]);
        let (client, asked) = api(|_| (200, vec![b' '; limits::PAGE_BYTES + 1]));
        let error = names(&client).await.unwrap_err().to_string();
        assert_eq!(error, "a page of less than eight objects has more than 33554432 bytes");
        assert_eq!(asked.lock().unwrap().len(), 3);
    }

    #[tokio::test]
    async fn a_refusal_is_reported_and_an_answer_that_is_no_list_is_not_repeated() {
        let refusal =
            r#"{"kind":"Status","status":"Failure","reason":"Forbidden","code":403,"message":"nodes is forbidden"}"#;
        let (client, _) = api(move |_| (403, refusal.into()));
        assert!(format!("{:#}", names(&client).await.unwrap_err()).contains("nodes is forbidden"));
        let (client, _) = api(|_| (200, b"\x1b[2J".to_vec()));
        let error = names(&client).await.unwrap_err().to_string();
        assert_eq!(error, "the API server's answer is no list (line 1, column 1)");
    }

    #[tokio::test]
    async fn an_empty_list_is_one() {
        for items in ["null", "[]"] {
            let (client, _) = api(move |_| (200, format!(r#"{{"metadata":{{}},"items":{items}}}"#).into_bytes()));
            assert!(names(&client).await.unwrap().is_empty());
        }
    }

    #[tokio::test]
    async fn a_list_without_end_ends() {
        let many = vec!["n"; 250];
        let (client, asked) = api(move |_| (200, page(&many, "more")));
        let error = names(&client).await.unwrap_err().to_string();
        assert_eq!(error, "there are more than 25000 objects");
        assert_eq!(asked.lock().unwrap().len(), 101);
    }
}
