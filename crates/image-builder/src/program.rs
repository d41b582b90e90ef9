//! Programs that we start: cargo, go, git, docker's credential helpers.

use std::process::{Command, Stdio};

use crate::Error;

/// How much of a failed program's standard error is kept.
const STDERR_LINES: usize = 20;

/// Runs `command` to its end and returns its standard output. Its standard error appears in the error alone.
pub(crate) fn output(command: &mut Command) -> Result<Vec<u8>, Error> {
    let name = name(command);
    let output =
        command.stdin(Stdio::null()).output().map_err(|source| Error::Start { program: name.clone(), source })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = stderr.trim_end().lines().collect();
    let stderr = lines[lines.len().saturating_sub(STDERR_LINES)..].join("\n");
    Err(Error::Program { program: name, status: output.status.to_string(), stderr })
}

/// Runs `command` to its end with our terminal.
pub(crate) fn run(command: &mut Command) -> Result<(), Error> {
    let name = name(command);
    let status =
        command.stdin(Stdio::null()).status().map_err(|source| Error::Start { program: name.clone(), source })?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Program { program: name, status: status.to_string(), stderr: "see above".to_owned() })
}

fn name(command: &Command) -> String {
    let arguments = command.get_args().take(3).map(|argument| argument.to_string_lossy().into_owned());
    let program = command.get_program().to_string_lossy().into_owned();
    std::iter::once(program).chain(arguments).collect::<Vec<_>>().join(" ")
}
