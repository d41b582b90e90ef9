//! The desired state, as it is mounted into the agent's pod.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use extension_config::desired_state::{Backend, Daemon, DesiredState, hash8, sha256};
use extension_config::{cri_resmgr, extra_options};

use crate::cli::NodeOptions;

/// Longest text, bytes: no ConfigMap holds more.
const LIMIT: u64 = 1 << 20;

/// A desired state with the hash that names it.
#[derive(Debug, Clone)]
pub(crate) struct Mounted {
    /// The state.
    pub(crate) state: DesiredState,
    /// First eight digits of the text's SHA-256.
    pub(crate) hash: String,
}

/// Why there is no desired state to follow.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DesiredFileError {
    /// The file cannot be read.
    #[error("cannot read the desired state {}", path.display())]
    Unreadable {
        /// Path in the agent's container.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// Its text.
    #[error(transparent)]
    Decode(#[from] extension_config::desired_state::DecodeError),
    /// What the daemon would run with.
    #[error("{field} of the desired state is not valid: {}", problems.join("; "))]
    Invalid {
        /// The field.
        field: &'static str,
        /// Keys or options that are wrong, and why.
        problems: Vec<String>,
    },
    /// Somebody else's text.
    #[error(
        "the desired state has the sha256 sum {found}, this pod follows {expected}: its ConfigMap was not written by the extension"
    )]
    Foreign {
        /// Sum of the text that is mounted.
        found: String,
        /// Sum that the pod was given.
        expected: String,
    },
}

/// The file, and the text that must stand in it.
#[derive(Debug, Clone)]
pub(crate) struct DesiredFile {
    path: PathBuf,
    sha256: Option<String>,
}

impl DesiredFile {
    /// Path and hash as the flags of the pod have them.
    pub(crate) fn of(options: &NodeOptions) -> Self {
        Self { path: options.desired_state.clone(), sha256: options.desired_state_sha256.clone() }
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file. A text with another sum than the pod was given is not checked any further: the ConfigMap can be deleted and made anew
    /// by whoever may write ConfigMaps, the pod's template cannot.
    pub(crate) fn read(&self) -> Result<Mounted, DesiredFileError> {
        let text = self.text().map_err(|source| DesiredFileError::Unreadable { path: self.path.clone(), source })?;
        if let Some(expected) = &self.sha256 {
            let found = sha256(&text);
            if found != *expected {
                return Err(DesiredFileError::Foreign { found, expected: expected.clone() });
            }
        }
        decode(&text)
    }

    fn text(&self) -> std::io::Result<String> {
        let mut text = String::new();
        File::open(&self.path)?.take(LIMIT + 1).read_to_string(&mut text)?;
        if text.len() as u64 > LIMIT {
            return Err(std::io::Error::other(format!("it is longer than {LIMIT} bytes")));
        }
        Ok(text)
    }
}

/// The file's text.
pub(crate) fn decode(text: &str) -> Result<Mounted, DesiredFileError> {
    let mut state = DesiredState::decode(text)?;
    if let Backend::CriResmgr(daemon) = &mut state.backend {
        *daemon = admitted(daemon)?;
    }
    Ok(Mounted { state, hash: hash8(text) })
}

/// What the controller did is done again, whoever it was that wrote the text: the daemon is given what was read, in the one form for it, and
/// without what reaches files and sockets.
fn admitted(daemon: &Daemon) -> Result<Daemon, DesiredFileError> {
    let configuration = |field, text: &Option<String>| {
        let canonical = text.as_deref().map(cri_resmgr::canonical).transpose();
        canonical.map_err(|findings| {
            let problems = findings.iter().map(|finding| format!("{} {}", finding.path, finding.message)).collect();
            DesiredFileError::Invalid { field, problems }
        })
    };
    let options = extra_options::canonical(&daemon.extra_options)
        .map_err(|problems| DesiredFileError::Invalid { field: "extraOptions", problems })?;
    Ok(Daemon {
        fallback_config: configuration("fallbackConfig", &daemon.fallback_config)?,
        force_config: configuration("forceConfig", &daemon.force_config)?,
        extra_options: options.text,
    })
}

#[cfg(test)]
mod tests {
    use extension_config::desired_state::{Backend, Daemon, DesiredState, Phase, Selection, sha256};

    use super::{DesiredFile, DesiredFileError, LIMIT};

    fn state(daemon: Daemon) -> DesiredState {
        let backend = Backend::CriResmgr(daemon);
        DesiredState { phase: Phase::Install, selection: Selection::default(), backend, handover: None }
    }

    fn daemon_of(backend: Backend) -> Daemon {
        match backend {
            Backend::CriResmgr(daemon) => daemon,
            Backend::NriPlugins(other) => panic!("{other:?}"),
        }
    }

    fn text(options: &str) -> String {
        let daemon = Daemon { extra_options: options.to_owned(), ..Daemon::default() };
        state(daemon).encode().unwrap()
    }

    #[test]
    fn a_desired_state_with_another_sum_than_the_pod_was_given_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("desired.json");
        let file = |sum: Option<&str>| DesiredFile { path: path.clone(), sha256: sum.map(sha256) };
        let (ours, forged) = (text("--v=1"), text("--metrics-interval=1s"));
        std::fs::write(&path, &forged).unwrap();
        let error = file(Some(&ours)).read().unwrap_err();
        assert!(matches!(error, DesiredFileError::Foreign { .. }) && error.to_string().contains(&sha256(&forged)));
        // The chart of an earlier version gives no sum.
        assert_eq!(daemon_of(file(None).read().unwrap().state.backend).extra_options, "--metrics-interval=1s");
        std::fs::write(&path, &ours).unwrap();
        assert_eq!(daemon_of(file(Some(&ours)).read().unwrap().state.backend).extra_options, "--v=1");
    }

    #[test]
    fn options_and_configuration_of_the_desired_state_are_validated_again() {
        let daemon = |options: &str, fallback: &str| Daemon {
            extra_options: options.to_owned(),
            fallback_config: Some(fallback.to_owned()),
            force_config: None,
        };
        let read = |daemon: Daemon| {
            super::decode(&state(daemon).encode().unwrap()).map(|mounted| daemon_of(mounted.state.backend))
        };
        // A controller of an earlier version hands on what the owner wrote.
        let raw = "policy: {Active: none}\ndump: {File: /x, Config: 'off:.*'}\n";
        let given = read(daemon("--v=1  --log_file=/etc/passwd", raw)).unwrap();
        let fallback = given.fallback_config.clone().unwrap();
        assert_eq!(given.extra_options, "--v=1");
        assert!(fallback.contains("\"Active\"") && !fallback.contains("File"), "{fallback}");
        assert_eq!(read(given.clone()).unwrap(), given, "what is canonical stays as it is");
        for (options, fallback, field) in
            [("--relay-socket=/x", raw, "extraOptions"), ("", "policy: [", "fallbackConfig")]
        {
            let error = read(daemon(options, fallback)).unwrap_err();
            assert!(matches!(error, DesiredFileError::Invalid { field: found, .. } if found == field), "{error}");
        }
    }

    #[test]
    fn a_desired_state_beyond_the_limit_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("desired.json");
        std::fs::write(&path, vec![b' '; usize::try_from(LIMIT).unwrap() + 1]).unwrap();
        let error = DesiredFile { path, sha256: None }.read().unwrap_err();
        assert!(observability::ErrorChain(&error).to_string().contains("longer than"), "{error}");
    }
}
