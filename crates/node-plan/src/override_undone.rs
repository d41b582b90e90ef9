//! What others write into kubelet.service after us and against us.

use extension_config::names::node;

/// The variable of the host's own arguments, to which the gate appends.
const EXTRA_ARGUMENTS: &str = "KUBELET_EXTRA_ARGS";

/// How a later drop-in undoes our override.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OverrideUndone {
    /// The gate is not run before kubelet.
    #[error("a later drop-in of kubelet.service undoes ours: ExecStartPre does not run the gate")]
    GateIsNotRun,
    /// What the gate writes is not read.
    #[error("a later drop-in of kubelet.service undoes ours: EnvironmentFile does not name {}", node::RUNTIME_ENV)]
    EnvironmentIsNotRead,
    /// A file that is read after the gate's sets the same variable.
    #[error("a later drop-in of kubelet.service undoes ours: EnvironmentFile {path} sets {EXTRA_ARGUMENTS}")]
    VariableIsSetAgain {
        /// Path of the environment file on the host.
        path: String,
    },
}

/// What of a loaded kubelet.service undoes the override; `None`: the gate runs before kubelet, and no file that is read after the gate's sets the
/// same variable. `read` gives the text of an environment file, where there is one.
///
/// # Errors
/// Those of `read`.
pub fn override_undone<E>(
    exec_start_pre: &[Vec<String>],
    environment_files: &[String],
    read: impl Fn(&str) -> Result<Option<String>, E>,
) -> Result<Option<OverrideUndone>, E> {
    if !exec_start_pre.iter().any(|command| command.first().is_some_and(|program| program == node::GATE)) {
        return Ok(Some(OverrideUndone::GateIsNotRun));
    }
    let Some(ours) = environment_files.iter().rposition(|path| path == node::RUNTIME_ENV) else {
        return Ok(Some(OverrideUndone::EnvironmentIsNotRead));
    };
    for path in &environment_files[ours + 1..] {
        let text = read(path)?.unwrap_or_default();
        if unit_files::environment(&text).iter().any(|(name, _)| name == EXTRA_ARGUMENTS) {
            return Ok(Some(OverrideUndone::VariableIsSetAgain { path: path.clone() }));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use extension_config::names::node;

    use super::{OverrideUndone, override_undone};

    fn undone(exec_start_pre: &[&str], environment_files: &[&str]) -> Option<OverrideUndone> {
        let commands: Vec<Vec<String>> = exec_start_pre.iter().map(|program| vec![(*program).to_owned()]).collect();
        let files: Vec<String> = environment_files.iter().map(|path| (*path).to_owned()).collect();
        let read = |path: &str| Ok::<_, Infallible>((path == "/sets").then(|| "KUBELET_EXTRA_ARGS=--v=4\n".to_owned()));
        match override_undone(&commands, &files, read) {
            Ok(found) => found,
        }
    }

    #[test]
    fn a_later_drop_in_undoes_the_override_in_three_ways() {
        let again = OverrideUndone::VariableIsSetAgain { path: "/sets".to_owned() };
        for (exec_start_pre, environment_files, expected) in [
            (&[node::GATE][..], &[node::RUNTIME_ENV][..], None),
            (&["/bin/true", node::GATE], &["/sets", node::RUNTIME_ENV, "/sets-nothing"], None),
            (&["/bin/true"], &[node::RUNTIME_ENV], Some(OverrideUndone::GateIsNotRun)),
            (&[node::GATE], &["/sets"], Some(OverrideUndone::EnvironmentIsNotRead)),
            (&[node::GATE], &[node::RUNTIME_ENV, "/sets"], Some(again)),
        ] {
            assert_eq!(undone(exec_start_pre, environment_files), expected, "{exec_start_pre:?} {environment_files:?}");
        }
    }
}
