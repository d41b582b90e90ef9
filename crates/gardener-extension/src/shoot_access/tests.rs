use std::sync::{Arc, Mutex};

use http::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};

use super::*;

const OWN: &str = "shoot-access-x";
const GENERIC: &str = "generic-token-kubeconfig-0123abcd";
/// Of nobody.
const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBdzCCAR2gAwIBAgIUZwyRdDJLWBIOhoZv+cOzheYxHB0wCgYIKoZIzj0EAwIw
EDEOMAwGA1UEAwwFc2hvb3QwIBcNMjYxMTI5MDQ0NDQ4WhgPMjEyNjExMDUwNDQ0
NDhaMBAxDjAMBgNVBAMMBXNob290MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
GXc73UPM176hXZyubBdLbCIzlofcTK1I4M307ksajiy2u6a+BKYixuiYTmB8KexX
jGS6lqRHjgQPJfq6HNH+P6NTMFEwHQYDVR0OBBYEFE20NJaPCF7nO4gS9xoL/+eB
KoroMB8GA1UdIwQYMBaAFE20NJaPCF7nO4gS9xoL/+eBKoroMA8GA1UdEwEB/wQF
MAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIgDsZuTE66IDV+PeAwjpIWaQvpFpwLGlXx
JrXY64rgVA0CIQCOjOk4jKZuWiNn1c7FU4S9v4tWcQ0sDPxjUHQbiZB2rw==
-----END CERTIFICATE-----
";

fn access(authority: Authority) -> ShootAccess {
    ShootAccess { secret: OWN, account: "x", account_namespace: "kube-system", authority, user_agent: "x/1" }
}

/// A Secret's data.
fn data(pairs: &[(&str, &str)]) -> Value {
    pairs.iter().map(|(key, text)| ((*key).to_owned(), json!(ByteString(text.as_bytes().to_vec())))).collect()
}

/// What the access comes to in a seed with these Secrets, and which of them were asked for.
async fn outcome(authority: Authority, secrets: Value) -> (Result<(), String>, Vec<String>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    let server = tower::service_fn(move |request: Request<Body>| {
        let name = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        let (code, answer) = match secrets.get(&name) {
            Some(data) => {
                (200, json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "data": data }))
            }
            None => (404, json!({ "apiVersion": "v1", "kind": "Status", "reason": "NotFound", "code": 404 })),
        };
        noted.lock().unwrap().push(name);
        async move { Response::builder().status(code).body(Body::from(answer.to_string().into_bytes())) }
    });
    let outcome = access(authority).client(&Client::new(server, "ns"), "shoot--p--s", GENERIC).await;
    let asked = asked.lock().unwrap().clone();
    (outcome.map(drop).map_err(|error| error.to_string()), asked)
}

fn generic_kubeconfig() -> Value {
    let authority = data(&[("ca", CERTIFICATE)])["ca"].clone();
    let cluster = json!({ "server": "https://kube-apiserver", "certificate-authority-data": authority });
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "a",
        "clusters": [{ "name": "c", "cluster": cluster }],
        "contexts": [{ "name": "a", "context": { "cluster": "c", "user": "u" } }],
    });
    data(&[(KUBECONFIG_KEY, &text.to_string())])
}

#[tokio::test]
async fn with_a_bundle_no_other_secret_is_read() {
    let own = data(&[(TOKEN_KEY, "t"), (CA_BUNDLE_KEY, CERTIFICATE)]);
    let (outcome, asked) = outcome(Authority::Bundle, json!({ OWN: own, GENERIC: generic_kubeconfig() })).await;
    assert_eq!((outcome, asked), (Ok(()), vec![OWN.to_owned()]));
}

/// The resource manager may be older than the seed's gardenlet, or not have come to it: nobody's mistake, and no reason to read more.
#[tokio::test]
async fn no_bundle_yet_means_not_asked() {
    let own = data(&[(TOKEN_KEY, "t")]);
    let (outcome, asked) = outcome(Authority::Bundle, json!({ OWN: own, GENERIC: generic_kubeconfig() })).await;
    let expected = format!("Secret {OWN} holds no certificate authority yet");
    assert_eq!((outcome, asked), (Err(expected), vec![OWN.to_owned()]));
}

#[tokio::test]
async fn in_older_landscapes_the_generic_kubeconfig_is_read() {
    let own = data(&[(TOKEN_KEY, "t")]);
    let both = vec![OWN.to_owned(), GENERIC.to_owned()];
    let (found, asked) =
        outcome(Authority::GenericKubeconfig, json!({ OWN: own, GENERIC: generic_kubeconfig() })).await;
    assert_eq!((found, asked), (Ok(()), both.clone()));
    let (found, asked) = outcome(Authority::GenericKubeconfig, json!({ OWN: own })).await;
    assert_eq!((found, asked), (Err(format!("Secret {GENERIC} does not exist")), both));
}

#[tokio::test]
async fn what_is_missing_or_no_text_is_named() {
    for (own, expected) in [
        (json!({}), "is not filled yet"),
        (data(&[(TOKEN_KEY, "")]), "is not filled yet"),
        (json!({ TOKEN_KEY: ByteString(vec![0xff]) }), "holds no text"),
        (data(&[(TOKEN_KEY, "t"), (CA_BUNDLE_KEY, "")]), "holds no certificate authority yet"),
    ] {
        let (found, _) = outcome(Authority::Bundle, json!({ OWN: own })).await;
        assert_eq!(found, Err(format!("Secret {OWN} {expected}")));
    }
    let (found, _) = outcome(Authority::Bundle, json!({})).await;
    assert_eq!(found, Err(format!("Secret {OWN} does not exist")));
}

#[test]
fn the_secret_asks_for_a_token_and_brings_none() {
    for (authority, bundle) in [(Authority::GenericKubeconfig, None), (Authority::Bundle, Some("true"))] {
        let secret = access(authority).secret("shoot--p--s");
        let text = serde_json::to_value(&secret).unwrap();
        let labels = json!({ PURPOSE_LABEL: "token-requestor", TOKEN_REQUESTOR_CLASS_LABEL: "shoot" });
        assert_eq!(text["metadata"]["labels"], labels);
        let annotations = secret.metadata.annotations.unwrap();
        assert_eq!(annotations.get(SERVICE_ACCOUNT_NAME_ANNOTATION).map(String::as_str), Some("x"));
        assert_eq!(annotations.get(INJECT_CA_BUNDLE_ANNOTATION).map(String::as_str), bundle);
        assert!(secret.data.is_none() && secret.string_data.is_none());
    }
}
