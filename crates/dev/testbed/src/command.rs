//! Running a program to its end.

use std::ffi::OsStr;
use std::process::Stdio;

use anyhow::Context as _;

/// What a program printed, and whether it succeeded.
#[derive(Debug, Clone)]
pub struct Output {
    /// Standard output, lossily decoded.
    pub stdout: String,
    /// Standard error, lossily decoded.
    pub stderr: String,
    /// Exit status 0.
    pub success: bool,
}

pub(crate) async fn output<S: AsRef<OsStr>>(program: &str, args: &[S]) -> anyhow::Result<Output> {
    let output = tokio::process::Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("cannot run {program}"))?;
    Ok(Output {
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        success: output.status.success(),
    })
}

/// Runs a program that has to succeed, and gives its standard output.
///
/// # Errors
/// When it cannot be run, or fails; the error shows the command and the end of what it printed.
pub async fn run<S: AsRef<OsStr>>(program: &str, args: &[S]) -> anyhow::Result<String> {
    let output = output(program, args).await?;
    if output.success {
        return Ok(output.stdout);
    }
    let words: Vec<_> = args.iter().map(|arg| arg.as_ref().to_string_lossy()).collect();
    let tail: Vec<&str> = output.stderr.lines().chain(output.stdout.lines()).rev().take(20).collect();
    let tail: Vec<&str> = tail.into_iter().rev().collect();
    anyhow::bail!("`{program} {}` failed:\n{}", words.join(" "), tail.join("\n"))
}
