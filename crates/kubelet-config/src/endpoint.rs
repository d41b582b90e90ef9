//! What a kubelet talks to.

use extension_config::names::node;

/// What kubelet talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// The daemon's relay socket.
    Proxy,
    /// containerd's own socket, or what kubelet takes where nothing names one.
    Containerd,
    /// Another socket.
    Foreign,
}

impl Endpoint {
    /// Reads an endpoint as kubelet does (k8s.io/cri-client v0.34 `pkg/util/util_unix.go`): a `unix` URL, of which only the path counts, or
    /// a bare path. `/var/run` is `/run`. An empty one is kubelet's default, containerd's socket.
    #[must_use]
    pub fn of(value: &str) -> Self {
        if value.is_empty() {
            return Self::Containerd;
        }
        match path(value).as_deref() {
            Some(node::RELAY_SOCKET) => Self::Proxy,
            Some(node::CONTAINERD_SOCKET) => Self::Containerd,
            _ => Self::Foreign,
        }
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Proxy => "the proxy",
            Self::Containerd => "containerd",
            Self::Foreign => "another runtime",
        })
    }
}

/// The path of the socket without detours; `None` for what is no socket's path.
fn path(value: &str) -> Option<String> {
    let raw = match value.split_once(':') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("unix") => {
            let rest = match rest.strip_prefix("//") {
                // A host in a `unix` URL is read and ignored.
                Some(authority) => &authority[authority.find('/')?..],
                None => rest,
            };
            percent_decoded(rest.split(['?', '#']).next().unwrap_or_default())?
        }
        _ => percent_decoded(value.split(['?', '#']).next().unwrap_or_default())?,
    };
    let mut parts = Vec::new();
    for part in raw.strip_prefix('/')?.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    if parts.starts_with(&["var", "run"]) {
        parts.remove(0);
    }
    Some(format!("/{}", parts.join("/")))
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            bytes.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::Endpoint::{self, Containerd, Foreign, Proxy};

    #[test]
    fn endpoint_of_recognizes_every_spelling_of_a_socket() {
        for (value, endpoint) in [
            ("unix:///run/cri-resmgr/cri-resmgr.sock", Proxy),
            ("unix:/run/cri-resmgr/cri-resmgr.sock", Proxy),
            ("UNIX:///run/cri-resmgr/cri-resmgr.sock", Proxy),
            ("unix://host/run/cri-resmgr/cri-resmgr.sock", Proxy),
            ("/run/cri-resmgr/cri-resmgr.sock", Proxy),
            ("/var/run/cri-resmgr/cri-resmgr.sock", Proxy),
            ("unix:///var/run/cri-resmgr/cri-resmgr.sock", Proxy),
            ("unix:///run//cri-resmgr/./x/../cri-resmgr.sock", Proxy),
            ("unix:///run/cri%2Dresmgr/cri-resmgr.sock", Proxy),
            ("", Containerd),
            ("unix:///run/containerd/containerd.sock", Containerd),
            ("/var/run/containerd/containerd.sock", Containerd),
            ("unix:///run/crio/crio.sock", Foreign),
            ("tcp://127.0.0.1:1234", Foreign),
            ("unix://", Foreign),
            ("unix:run/containerd/containerd.sock", Foreign),
            ("run/containerd/containerd.sock", Foreign),
            ("/run/containerd/containerd%2.sock", Foreign),
            ("/run/variant/run/containerd/containerd.sock", Foreign),
        ] {
            assert_eq!(Endpoint::of(value), endpoint, "{value}");
        }
    }
}
