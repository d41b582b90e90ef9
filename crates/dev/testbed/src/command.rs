//! Running a program to its end.

use std::ffi::OsStr;
use std::process::Stdio;

use anyhow::Context as _;
use tokio::io::AsyncWriteExt as _;

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
    Ok(Output::of(&output))
}

impl Output {
    fn of(output: &std::process::Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { stdout: text(&output.stdout), stderr: text(&output.stderr), success: output.status.success() }
    }
}

/// Runs a program that has to succeed, and gives its standard output.
///
/// # Errors
/// When it cannot be run, or fails; the error shows the command and the end of what it printed.
pub async fn run<S: AsRef<OsStr>>(program: &str, args: &[S]) -> anyhow::Result<String> {
    printed(program, args, output(program, args).await?)
}

/// As [`run`], with this text on the program's standard input.
pub(crate) async fn run_with_input(program: &str, input: &str) -> anyhow::Result<String> {
    let mut child = tokio::process::Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot run {program}"))?;
    // Dropped when it is written: the program sees the end.
    child.stdin.take().context("standard input is piped")?.write_all(input.as_bytes()).await?;
    printed::<&str>(program, &[], Output::of(&child.wait_with_output().await?))
}

fn printed<S: AsRef<OsStr>>(program: &str, args: &[S], output: Output) -> anyhow::Result<String> {
    if output.success {
        return Ok(output.stdout);
    }
    let words: Vec<_> = args.iter().map(|arg| arg.as_ref().to_string_lossy()).collect();
    let tail: Vec<&str> = output.stderr.lines().chain(output.stdout.lines()).rev().take(20).collect();
    let tail: Vec<&str> = tail.into_iter().rev().collect();
    anyhow::bail!("`{program} {}` failed:\n{}", words.join(" "), tail.join("\n"))
}
