//! Where a shoot's API server is, and by what it is known. Pure.

use k8s_openapi::ByteString;
use kube::config::Kubeconfig;
use serde_json::{Value, json};

/// Service of a shoot's API server, in the shoot's namespace in the seed. Its certificate has the name in all its forms
/// (`DNSNamesForService`, gardener/gardener `pkg/utils/kubernetes/service.go`).
const SERVICE: &str = "kube-apiserver";

/// Server, certificate authority (base64), and the name in the certificate where it is another.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    server: String,
    authority: Value,
    tls_server_name: Option<String>,
}

impl Target {
    /// The Service of the shoot whose namespace this is, known by `authority` (PEM).
    pub(super) fn service(namespace: &str, authority: &ByteString) -> Self {
        Self {
            server: format!("https://{SERVICE}.{namespace}.svc"),
            authority: json!(authority),
            tls_server_name: None,
        }
    }

    /// What the generic kubeconfig says. Nothing else of it is used: it names a token file that only pods have, and must not make us run a
    /// program, read a file or trust anybody.
    pub(super) fn of_generic_kubeconfig(text: &str, namespace: &str) -> Result<Self, &'static str> {
        let parsed = Kubeconfig::from_yaml(text).map_err(|_| "cannot be read")?;
        let current = parsed.current_context.as_deref().ok_or("has no current-context")?;
        let context = parsed.contexts.iter().find(|context| context.name == current);
        let context = context.and_then(|context| context.context.as_ref()).ok_or("lacks its current-context")?;
        let cluster = parsed.clusters.iter().find(|cluster| cluster.name == context.cluster);
        let cluster =
            cluster.and_then(|cluster| cluster.cluster.as_ref()).ok_or("lacks the cluster of its current-context")?;
        let server = cluster.server.as_deref().and_then(|server| from_elsewhere(server, namespace));
        let authority = cluster.certificate_authority_data.as_deref().filter(|data| !data.is_empty());
        Ok(Self {
            server: server.ok_or("has no https server")?,
            authority: json!(authority.ok_or("has no certificate-authority-data")?),
            tls_server_name: cluster.tls_server_name.clone(),
        })
    }

    /// With our token for a user.
    pub(super) fn kubeconfig(&self, token: &str) -> Result<Kubeconfig, &'static str> {
        let mut cluster = json!({ "server": self.server, "certificate-authority-data": self.authority });
        if let Some(name) = &self.tls_server_name {
            cluster["tls-server-name"] = json!(name);
        }
        let made = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "shoot",
            "clusters": [{ "name": "shoot", "cluster": cluster }],
            "users": [{ "name": "shoot", "user": { "token": token } }],
            "contexts": [{ "name": "shoot", "context": { "cluster": "shoot", "user": "shoot" } }],
        });
        serde_json::from_value(made).map_err(|_| "cannot be used")
    }
}

/// The server as a pod of another namespace calls it. gardenlet writes `https://kube-apiserver`, a Service of the shoot's own namespace; a
/// name with a dot and an address mean the same from everywhere. `None` for what is no https server.
fn from_elsewhere(server: &str, namespace: &str) -> Option<String> {
    let uri: http::Uri = server.parse().ok().filter(|uri: &http::Uri| uri.scheme_str() == Some("https"))?;
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
    let host = authority.host();
    if host.is_empty() || host.contains('.') || host.starts_with('[') {
        return (!host.is_empty()).then(|| server.to_owned());
    }
    let port = authority.port().map_or_else(String::new, |port| format!(":{port}"));
    Some(format!("https://{host}.{namespace}.svc{port}{}", uri.path().trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(cluster: &Value, user: &Value) -> String {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "a",
            "clusters": [{ "name": "other", "cluster": {} }, { "name": "c", "cluster": cluster }],
            "users": [{ "name": "u", "user": user }],
            "contexts": [{ "name": "a", "context": { "cluster": "c", "user": "u" } }],
        })
        .to_string()
    }

    #[test]
    fn a_name_of_the_shoots_namespace_is_called_by_its_service_name() {
        for (server, expected) in [
            // What gardenlet writes.
            ("https://kube-apiserver", Some("https://kube-apiserver.shoot--p--s.svc")),
            ("https://kube-apiserver/", Some("https://kube-apiserver.shoot--p--s.svc")),
            ("https://kube-apiserver:443", Some("https://kube-apiserver.shoot--p--s.svc:443")),
            ("https://kube-apiserver:6443/base", Some("https://kube-apiserver.shoot--p--s.svc:6443/base")),
            // With Istio's TLS termination, of a self-hosted shoot, and addresses.
            ("https://api.s.p.internal.example.org", Some("https://api.s.p.internal.example.org")),
            ("https://kubernetes.default.svc", Some("https://kubernetes.default.svc")),
            ("https://kube-apiserver.shoot--p--s.svc:8443", Some("https://kube-apiserver.shoot--p--s.svc:8443")),
            ("https://10.0.0.1:6443", Some("https://10.0.0.1:6443")),
            ("https://[2001:db8::1]", Some("https://[2001:db8::1]")),
            ("https://[::1]:6443", Some("https://[::1]:6443")),
            // Neither our own pod nor an address in disguise.
            ("https://localhost:443", Some("https://localhost.shoot--p--s.svc:443")),
            ("https://2130706433", Some("https://2130706433.shoot--p--s.svc")),
            ("http://kube-apiserver", None),
            ("kube-apiserver", None),
            ("https://", None),
            ("https://:443", None),
            ("https://user:word@kube-apiserver", None),
            ("https://kube apiserver", None),
            ("", None),
        ] {
            assert_eq!(from_elsewhere(server, "shoot--p--s").as_deref(), expected, "{server:?}");
        }
    }

    #[test]
    fn only_server_and_authority_are_taken() {
        let cluster = json!({
            "server": "https://kube-apiserver", "certificate-authority-data": "Q0E=", "tls-server-name": "api",
            "proxy-url": "http://elsewhere", "insecure-skip-tls-verify": true, "certificate-authority": "/etc/passwd",
        });
        let user = json!({ "tokenFile": "/var/run/secrets/token", "exec": { "command": "sh", "apiVersion": "client.authentication.k8s.io/v1" } });
        let target = Target::of_generic_kubeconfig(&generic(&cluster, &user), "ns").unwrap();
        let text = serde_json::to_value(target.kubeconfig("secret-token").unwrap()).unwrap();
        let expected = json!({
            "server": "https://kube-apiserver.ns.svc", "certificate-authority-data": "Q0E=", "tls-server-name": "api",
        });
        assert_eq!(text["clusters"], json!([{ "name": "shoot", "cluster": expected }]));
        assert_eq!(text["users"], json!([{ "name": "shoot", "user": { "token": "secret-token" } }]));
    }

    #[test]
    fn with_a_bundle_the_server_is_known_without_any_kubeconfig() {
        let target = Target::service("ns", &ByteString(b"CA".to_vec()));
        let text = serde_json::to_value(target.kubeconfig("t").unwrap()).unwrap();
        let expected = json!({ "server": "https://kube-apiserver.ns.svc", "certificate-authority-data": "Q0E=" });
        assert_eq!(text["clusters"][0]["cluster"], expected);
    }

    #[test]
    fn what_cannot_be_used_is_named_without_its_text() {
        let good = json!({ "server": "https://a", "certificate-authority-data": "Q0E=" });
        for (text, fault) in [
            ("{".to_owned(), "cannot be read"),
            ("{}".to_owned(), "has no current-context"),
            (json!({ "current-context": "a" }).to_string(), "lacks its current-context"),
            (
                generic(&good, &json!({})).replace("\"c\"", "\"d\"").replacen("\"d\"", "\"x\"", 1),
                "lacks the cluster of its current-context",
            ),
            (
                generic(&json!({ "server": "http://a", "certificate-authority-data": "Q0E=" }), &json!({})),
                "has no https server",
            ),
            (generic(&json!({ "server": "https://a" }), &json!({})), "has no certificate-authority-data"),
        ] {
            assert_eq!(Target::of_generic_kubeconfig(&text, "ns").err(), Some(fault), "{text}");
        }
    }
}
