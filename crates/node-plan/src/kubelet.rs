//! How kubelet is started: which units we can override, and which ones end up on somebody else's runtime.

use kubelet_config::{ENDPOINT, Endpoint, Setting, occurrences};

use crate::observed::Kubelet;

const VARIABLE: &str = "KUBELET_EXTRA_ARGS";

/// Why kubelet's unit cannot be overridden.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitShapeError {
    /// None, or several.
    #[error("kubelet.service has {0} ExecStart lines instead of one")]
    ExecStartCount(usize),
    /// Nothing can be appended.
    #[error(
        "the command line of kubelet.service has no unbraced $KUBELET_EXTRA_ARGS, so the endpoint flag cannot be appended"
    )]
    NoVariable,
    /// What is appended would lose.
    #[error("the command line of kubelet.service has --container-runtime-endpoint after $KUBELET_EXTRA_ARGS")]
    EndpointAfterVariable,
    /// It may lose: a variable behind ours is split into words by systemd, and one of the variables names the runtime.
    #[error(
        "the command line of kubelet.service has {0} after $KUBELET_EXTRA_ARGS, and a variable names the container runtime: \
         put $KUBELET_EXTRA_ARGS last"
    )]
    VariableAfterVariable(String),
    /// The unit that the former extension edits with sed, or a file like it.
    #[error(
        "{0} itself names the socket of cri-resmgr, as the former extension edited it; \
         put back unix:///run/containerd/containerd.sock, reload systemd and restart kubelet"
    )]
    EditedByPredecessor(String),
    /// Somebody else's proxy.
    #[error("{origin} names the container runtime {value:?}, which is not containerd's socket")]
    ForeignEndpoint {
        /// Where it stands.
        origin: String,
        /// The socket as written.
        value: String,
    },
}

/// Whether our override can work on this kubelet: its unit (words as D-Bus shows them: quotes and `%` resolved, variables not), its running
/// process, in which the variables are resolved, and its configuration files.
pub fn check_kubelet(kubelet: &Kubelet) -> Result<(), UnitShapeError> {
    let [command] = kubelet.exec_start.as_slice() else {
        return Err(UnitShapeError::ExecStartCount(kubelet.exec_start.len()));
    };
    let in_unit = occurrences(command, ENDPOINT);
    for found in &in_unit {
        is_containerd("the command line of kubelet.service", found.value)?;
    }
    if let Ok(settings) = &kubelet.settings
        && let Some(Setting { value, origin }) = &settings.endpoint_in_files
    {
        is_containerd(origin, value)?;
    }
    let running = kubelet.command_line.as_deref().unwrap_or_default();
    let in_process = occurrences(running, ENDPOINT);
    for found in &in_process {
        // Ours is there by the gate's hand, or is taken out by it.
        if Endpoint::of(found.value) == Endpoint::Foreign {
            is_containerd("the command line of the running kubelet", found.value)?;
        }
    }
    // The braced form always gives exactly one word, so it cannot carry further arguments.
    let is_variable = |word: &String| word.strip_prefix('$') == Some(VARIABLE);
    let variable = command.iter().rposition(is_variable).ok_or(UnitShapeError::NoVariable)?;
    if in_unit.iter().any(|found| found.words.end > variable) {
        return Err(UnitShapeError::EndpointAfterVariable);
    }
    let from_a_variable =
        in_process.iter().filter(|found| Endpoint::of(found.value) != Endpoint::Proxy).count() > in_unit.len();
    let behind = command[variable + 1..].iter().find(|word| word.starts_with('$') && !word.starts_with("$$"));
    match behind {
        Some(behind) if from_a_variable => Err(UnitShapeError::VariableAfterVariable(behind.clone())),
        _ => Ok(()),
    }
}

fn is_containerd(origin: &str, value: &str) -> Result<(), UnitShapeError> {
    let origin = origin.to_owned();
    match Endpoint::of(value) {
        Endpoint::Containerd => Ok(()),
        Endpoint::Proxy => Err(UnitShapeError::EditedByPredecessor(origin)),
        Endpoint::Foreign => Err(UnitShapeError::ForeignEndpoint { origin, value: value.to_owned() }),
    }
}

#[cfg(test)]
mod tests;
