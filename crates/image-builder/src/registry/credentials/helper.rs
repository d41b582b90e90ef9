//! Docker's credential helpers: the key on standard input, a JSON object on standard output.

use std::process::{Output, Stdio};
use std::time::Duration;

use serde::de::{IgnoredAny, MapAccess};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use super::fields::{self, Fields, replace};
use super::{Credentials, Helper, not_found};
use crate::Error;

/// How long a helper may take: it may ask somebody for a passphrase.
const TIME: Duration = Duration::from_secs(120);
/// Most that is read of what it says, in bytes.
const OUTPUT: u64 = 64 * 1024;
/// How much of what it says when it fails is shown, in characters.
const TOLD: usize = 500;
/// How all helpers say that they know nothing about a registry.
const UNKNOWN: &str = "credentials not found in native keychain";
/// The user that stands for "the secret is an identity token".
const TOKEN: &str = "<token>";

#[derive(Default)]
struct Answer {
    username: Option<String>,
    secret: Option<String>,
}

impl Fields for Answer {
    fn take<'de, M: MapAccess<'de>>(&mut self, name: &str, map: &mut M) -> Result<(), M::Error> {
        match name {
            "username" => replace(&mut self.username, map.next_value()?),
            "secret" => replace(&mut self.secret, map.next_value()?),
            _ => drop(map.next_value::<IgnoredAny>()?),
        }
        Ok(())
    }
}

impl Helper {
    /// What it knows; `None` when that is nothing.
    ///
    /// # Errors
    /// It cannot be started, fails, or takes too long.
    pub(super) async fn ask(&self) -> Result<Option<Credentials>, Error> {
        let mut command = Command::new(&self.program);
        command.arg("get");
        self.ask_with(command, TIME).await
    }

    async fn ask_with(&self, mut command: Command, time: Duration) -> Result<Option<Credentials>, Error> {
        let start = |source| Error::Start { program: self.program.clone(), source };
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(start)?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let all = async {
            let write = async {
                // One that does not listen may answer all the same.
                if let Some(mut stdin) = stdin {
                    let _not_heard = stdin.write_all(self.key.as_bytes()).await;
                }
            };
            let ((), stdout, stderr) = tokio::join!(write, bounded(stdout), bounded(stderr));
            Ok::<_, std::io::Error>(Output { stdout: stdout?, stderr: stderr?, status: child.wait().await? })
        };
        match tokio::time::timeout(time, all).await {
            Ok(output) => self.judge(&output.map_err(start)?),
            Err(_) => Err(not_found(format!("{} gives no answer within {} s", self.program, time.as_secs()))),
        }
    }

    fn judge(&self, output: &Output) -> Result<Option<Credentials>, Error> {
        if [&output.stdout, &output.stderr].into_iter().any(|said| said.len() as u64 > OUTPUT) {
            return Err(not_found(format!("{} says more than {OUTPUT} bytes", self.program)));
        }
        if output.status.success() {
            let no_answer = |_| not_found(format!("{} gave no credentials", self.program));
            let mut reader = serde_json::Deserializer::from_slice(&output.stdout);
            let answer: Answer = fields::read(&mut reader).map_err(no_answer)?;
            let (user, secret) = (answer.username.unwrap_or_default(), answer.secret.unwrap_or_default());
            return Ok(match user.as_str() {
                TOKEN => Credentials::new(String::new(), String::new(), Some(secret)),
                _ => Credentials::new(user, secret, None),
            });
        }
        if [&output.stdout, &output.stderr].into_iter().any(|said| said.trim_ascii() == UNKNOWN.as_bytes()) {
            return Ok(None);
        }
        Err(Error::Program {
            program: format!("{} get", self.program),
            status: output.status.to_string(),
            stderr: joined(&output.stdout, &output.stderr),
        })
    }
}

async fn bounded(stream: Option<impl AsyncRead + Unpin>) -> std::io::Result<Vec<u8>> {
    let mut said = Vec::new();
    if let Some(stream) = stream {
        stream.take(OUTPUT + 1).read_to_end(&mut said).await?;
    }
    Ok(said)
}

/// The end of what a failed helper said, on one line. Helpers print their errors on standard output, where credentials would be, too.
fn joined(stdout: &[u8], stderr: &[u8]) -> String {
    let stdout = String::from_utf8_lossy(stdout);
    let stdout = if stdout.to_lowercase().contains("\"secret\"") { "(an answer that is not shown)" } else { &stdout };
    let both = format!("{} {stdout}", String::from_utf8_lossy(stderr));
    let words = both.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let line = words.collect::<Vec<_>>().join(" ");
    let excess = line.chars().count().saturating_sub(TOLD);
    line.chars().skip(excess).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn says(script: &str, time: Duration) -> Result<Option<Credentials>, Error> {
        let helper = Helper { program: "docker-credential-x".to_owned(), key: "r.example.com".to_owned() };
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        helper.ask_with(command, time).await
    }

    #[tokio::test]
    async fn a_credential_helper_gets_the_registry_and_its_answer_is_read() {
        let password =
            |user: &str| Some(Credentials { password: Some((user.into(), "s".into())), identity_token: None });
        for (id, script, expected) in [
            ("", r#"read -r key || printf '{"Username": "%s", "Secret": "s"}' "$key""#, password("r.example.com")),
            (
                "C08",
                r#"echo '{"ServerURL": "r.example.com", "Username": "<token>", "Secret": "t"}'"#,
                Some(Credentials { password: None, identity_token: Some("t".into()) }),
            ),
            ("any letter case", r#"echo '{"username": "u", "SECRET": "s"}'"#, password("u")),
            ("nothing in it", r#"echo '{"Username": null, "Secret": ""}'"#, None),
            ("unknown", "echo 'credentials not found in native keychain'; exit 1", None),
            ("unknown, said on standard error", "echo 'credentials not found in native keychain' >&2; exit 1", None),
        ] {
            assert_eq!(says(script, TIME).await.unwrap(), expected, "{id}");
        }
    }

    #[tokio::test]
    async fn a_failing_credential_helper_is_named_with_its_message() {
        for (script, expected) in [
            // C11.
            ("echo 'session expired: sign in again'; exit 1", "session expired: sign in again"),
            ("echo 'no  key' >&2; echo broken; exit 1", "no key broken"),
            (r#"echo '{"Username": "u", "Secret": "hidden"}'; exit 1"#, "(an answer that is not shown)"),
            ("kill -9 $$", "signal: 9"),
        ] {
            let error = says(script, TIME).await.unwrap_err().to_string();
            assert!(error.contains("docker-credential-x get") && error.contains(expected), "{error}");
            assert!(!error.contains("hidden"), "{error}");
        }
        let long = says("yes words | head -c 30000; exit 1", TIME).await.unwrap_err().to_string();
        assert!(long.len() < TOLD + 100, "{long}");
        // What is no answer is not shown, and an endless one is not waited for.
        for (script, expected) in [("echo hidden", "gave no credentials"), ("yes hidden", "more than 65536 bytes")] {
            let error = says(script, TIME).await.unwrap_err();
            let reported = format!("{error} {:?}", std::error::Error::source(&error));
            assert!(reported.contains("docker-credential-x") && reported.contains(expected), "{reported}");
            assert!(!reported.contains("hidden"), "{reported}");
        }
        let late = says("sleep 60", Duration::from_millis(100)).await.unwrap_err();
        assert!(std::error::Error::source(&late).unwrap().to_string().contains("no answer within"), "{late}");
        let absent = Helper { program: "docker-credential-absent-everywhere".to_owned(), key: "r".to_owned() };
        assert!(absent.ask().await.unwrap_err().to_string().contains("docker-credential-absent-everywhere"));
    }
}
