//! How kubelet is started: which units we can override, and which endpoint a running one uses.

use extension_config::names::node;
use serde::{Deserialize, Serialize};

const FLAG: &str = "--container-runtime-endpoint";
const VARIABLE: &str = "KUBELET_EXTRA_ARGS";

/// What kubelet talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Endpoint {
    /// The daemon's relay socket.
    Proxy,
    /// containerd's own socket, or what kubelet takes without the flag.
    Containerd,
    /// Another socket.
    Foreign,
}

impl Endpoint {
    /// Reads the value of the flag: a `unix:` URL or a bare path; `/var/run` is `/run`.
    #[must_use]
    pub fn of(value: &str) -> Self {
        let path = value.strip_prefix("unix://").or_else(|| value.strip_prefix("unix:")).unwrap_or(value);
        let path = path.strip_prefix("/var").filter(|rest| rest.starts_with("/run/")).unwrap_or(path);
        match path {
            node::RELAY_SOCKET => Self::Proxy,
            node::CONTAINERD_SOCKET => Self::Containerd,
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

/// Value and word position of the last endpoint flag; the last one wins in kubelet.
fn last_endpoint<'a>(words: &[&'a str]) -> Option<(usize, &'a str)> {
    let mut last = None;
    for (position, word) in words.iter().enumerate() {
        // Both dashes forms are pflag's; a single dash is not.
        match word.strip_prefix(FLAG) {
            Some("") => {
                if let Some(value) = words.get(position + 1) {
                    last = Some((position + 1, *value));
                }
            }
            Some(rest) => {
                if let Some(value) = rest.strip_prefix('=') {
                    last = Some((position, value));
                }
            }
            None => {}
        }
    }
    last
}

/// The endpoint that a command line (as systemd shows it: words joined by blanks, some quoted) ends up with.
#[must_use]
pub fn effective_endpoint(command_line: &str) -> Endpoint {
    let words: Vec<&str> = command_line.split_whitespace().map(|word| word.trim_matches(['"', '\''])).collect();
    last_endpoint(&words).map_or(Endpoint::Containerd, |(_, value)| Endpoint::of(value.trim_matches(['"', '\''])))
}

/// Why kubelet's unit cannot be overridden.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitShapeError {
    /// None, or several.
    #[error("kubelet.service has {0} ExecStart lines instead of one")]
    ExecStartCount(usize),
    /// Nothing can be appended.
    #[error(
        "the command line of kubelet.service has no word $KUBELET_EXTRA_ARGS, nor can another one carry the endpoint"
    )]
    NoVariable,
    /// What is appended would lose.
    #[error("the command line of kubelet.service has --container-runtime-endpoint after $KUBELET_EXTRA_ARGS")]
    EndpointAfterVariable,
    /// The sed-edited unit of the Go original (node.md §7).
    #[error(
        "the command line of kubelet.service itself names the socket of cri-resmgr, as the former extension edited it; \
         put back --container-runtime-endpoint=unix:///run/containerd/containerd.sock, reload systemd and restart kubelet"
    )]
    EditedByPredecessor,
    /// Somebody else's proxy.
    #[error("kubelet.service names the container runtime {0:?}, which is not containerd's socket")]
    ForeignEndpoint(String),
}

/// Whether our override can work on a unit with these `ExecStart` command lines (words as D-Bus shows them: quotes and `%` resolved, variables
/// not).
pub fn check_unit_shape(exec_start: &[Vec<String>]) -> Result<(), UnitShapeError> {
    let [command] = exec_start else {
        return Err(UnitShapeError::ExecStartCount(exec_start.len()));
    };
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let endpoint = last_endpoint(&words);
    if let Some((_, value)) = endpoint {
        match Endpoint::of(value) {
            Endpoint::Containerd => {}
            Endpoint::Proxy => return Err(UnitShapeError::EditedByPredecessor),
            Endpoint::Foreign => return Err(UnitShapeError::ForeignEndpoint(value.to_owned())),
        }
    }
    // The braced form always gives exactly one word, so it cannot carry further arguments.
    let variable = words.iter().rposition(|word| word.strip_prefix('$') == Some(VARIABLE));
    let variable = variable.ok_or(UnitShapeError::NoVariable)?;
    if endpoint.is_some_and(|(position, _)| position > variable) {
        return Err(UnitShapeError::EndpointAfterVariable);
    }
    Ok(())
}

/// `cpuManagerPolicy` of a KubeletConfiguration, `none` where it is not set. Only the top-level key counts.
#[must_use]
pub fn cpu_manager_policy(configuration: &str) -> String {
    let key = |line: &str| -> Option<String> {
        let value = match line.strip_prefix("cpuManagerPolicy:") {
            Some(value) => value,
            None => line.trim().strip_prefix("\"cpuManagerPolicy\":")?.trim_end().trim_end_matches(','),
        };
        let value = value.split(" #").next().unwrap_or_default().trim().trim_matches(['"', '\'']);
        Some(value.to_owned())
    };
    configuration.lines().find_map(key).filter(|value| !value.is_empty()).unwrap_or_else(|| "none".to_owned())
}

#[cfg(test)]
mod tests;
