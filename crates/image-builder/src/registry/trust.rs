//! Who may get credentials, judged by names alone.
//!
//! Credentials are for one registry. They leave for three other places, all of them named by the registry:
//!
//! - **The token server** (`realm` of a challenge). Docker Hub, ghcr.io and most others have it on another host, and the
//!   protocol has no word for which hosts belong to a registry, so any host is taken, as Docker, containerd and podman do; what is
//!   asked for is TLS. A registry without TLS, which the user named as such or which is on loopback, may have its token server
//!   without TLS, too, if that is on the same host, or both are on loopback.
//! - **The place of an upload** (`Location`). The distribution specification allows another host (signed URLs of a store) and
//!   forbids to send it credentials (CVE-2020-15157): where scheme, host or port are others, they are left out.
//! - **Redirects**. `reqwest` drops them where scheme, host or port change; while we sign in, no redirect leads to such a place.

use std::net::IpAddr;

use reqwest::Url;

use crate::reference::split_port;

/// Whether a registry (`host[:port]`) is on this machine, which needs no TLS: `localhost` or an address of loopback, as containerd
/// has it. Names are not looked up: `127.0.0.1.nip.io` is somebody's name, and what it means can change between two requests.
/// `*.localhost` is not taken either: not every resolver answers it itself.
pub(super) fn is_loopback(registry: &str) -> bool {
    let (host, _port) = split_port(registry);
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || address.parse().is_ok_and(|ip: IpAddr| ip.to_canonical().is_loopback())
}

/// The token server that a registry names in a challenge; `plain` where the registry itself is spoken to without TLS.
///
/// # Errors
/// Why it hears nothing from us.
pub(super) fn token_server(realm: &str, registry: &str, plain: bool) -> Result<Url, String> {
    let url =
        Url::parse(realm).map_err(|error| format!("the registry names a token server that is no URL: {error}"))?;
    let host = url.host_str().unwrap_or_default();
    let same_host = host.eq_ignore_ascii_case(split_port(registry).0);
    match url.scheme() {
        "https" => Ok(url),
        "http" if plain && (same_host || (is_loopback(registry) && is_loopback(host))) => Ok(url),
        _ => Err(format!(
            "the registry names the token server {}, which would hear credentials without TLS; refused: a token server \
             speaks https, or is that of a registry without TLS and on its host",
            url.origin().ascii_serialization()
        )),
    }
}

/// Whether a redirect stays where it was: same scheme, host and port.
pub(super) fn stays(from: Option<&Url>, to: &Url) -> bool {
    from.is_some_and(|from| from.origin() == to.origin())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_needs_no_tls() {
        for (registry, expected) in [
            ("localhost:5001", true),
            ("localhost", true),
            ("LOCALHOST:5001", true),
            ("127.0.0.1:5000", true),
            ("127.255.0.1", true),
            ("[::1]:5000", true),
            ("[::1]", true),
            ("[0:0::1]:5000", true),
            ("[::ffff:127.0.0.1]:5000", true),
            ("registry.local.gardener.cloud:5001", false),
            ("registry.example.com", false),
            ("localhost.example.com:5000", false),
            ("registry.localhost:5000", false),
            ("127.anything.example.com", false),
            ("127.0.0.1.nip.io", false),
            ("127.0.0.1.nip.io:5000", false),
            ("127.", false),
            // Forms that only the C library's old functions read as addresses.
            ("0x7f.1", false),
            ("127.1", false),
            ("2130706433", false),
            ("0.0.0.0:5000", false),
            ("128.0.0.1", false),
            ("[::2]:5000", false),
            ("[fe80::1]", false),
            ("::1", false),
            ("", false),
        ] {
            assert_eq!(is_loopback(registry), expected, "{registry}");
        }
    }

    #[test]
    fn a_token_server_must_speak_tls() {
        let refused = |realm: &str, registry: &str, plain| token_server(realm, registry, plain).unwrap_err();
        for (realm, registry) in [
            ("https://auth.docker.io/token", "index.docker.io"),
            ("https://registry.example.com/token", "registry.example.com"),
            ("https://10.0.0.1:8443/token?x=y", "registry.example.com:5000"),
        ] {
            assert_eq!(token_server(realm, registry, false).unwrap().as_str(), realm);
        }
        for (realm, registry, plain) in [
            ("http://auth.example.com/token", "registry.example.com", false),
            ("http://registry.example.com/token", "registry.example.com", false),
            ("http://localhost/token", "registry.example.com", false),
            ("http://127.0.0.1/token", "registry.example.com", false),
            ("http://auth.example.com/token", "registry.example.com:5000", true),
            ("http://auth.example.com/token", "localhost:5000", true),
            ("http://localhost/token", "registry.example.com:5000", true),
            ("http://127.0.0.1.nip.io/token", "localhost:5000", true),
            ("http://registry.example.com@auth.example.com/token", "registry.example.com", true),
            ("ftp://registry.example.com/token", "registry.example.com", true),
            ("file:///etc/passwd", "localhost", true),
            ("/token", "localhost", true),
            ("", "localhost", true),
        ] {
            assert!(refused(realm, registry, plain).starts_with("the registry names "), "{realm}");
        }
        // A realm may carry a secret; the error does not.
        assert!(
            !refused("http://user:secret@auth.example.com/secret?secret", "r.example.com", false).contains("secret")
        );
    }

    #[test]
    fn a_registry_without_tls_may_have_a_token_server_without_tls() {
        for (realm, registry) in [
            ("http://registry.example.com:5001/token", "registry.example.com:5000"),
            ("http://localhost:5001/token", "127.0.0.1:5000"),
            ("http://127.0.0.1:5001/token", "localhost:5000"),
            ("http://[::1]:5001/token", "[::1]:5000"),
            ("http://[fd00::1]:5001/token", "[fd00::1]:5000"),
        ] {
            assert!(token_server(realm, registry, true).is_ok(), "{realm}");
        }
    }

    #[test]
    fn a_redirect_is_followed_within_scheme_host_and_port_only() {
        let url = |text: &str| Url::parse(text).unwrap();
        let from = url("https://auth.example.com/token");
        assert!(stays(Some(&from), &url("https://auth.example.com:443/v2/token")));
        for to in ["http://auth.example.com/token", "https://example.com/token", "https://auth.example.com:444/token"] {
            assert!(!stays(Some(&from), &url(to)), "{to}");
        }
        assert!(!stays(None, &from));
    }
}
