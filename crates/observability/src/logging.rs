//! Logs: level and format.

use std::fmt;
use std::str::FromStr;

use tracing::Dispatch;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

/// How the lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// For reading at a terminal.
    Text,
}

impl fmt::Display for LogFormat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Json => "json",
            Self::Text => "text",
        })
    }
}

impl FromStr for LogFormat {
    type Err = LogError;

    fn from_str(text: &str) -> Result<Self, LogError> {
        match text {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            other => Err(LogError::Format(other.to_owned())),
        }
    }
}

/// What to log, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// `error`, `warn`, `info`, `debug`, `trace`, or directives of tracing's filter such as `info,lease=debug`.
    pub level: String,
    /// Format of the lines.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Json }
    }
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A word that is no format.
    #[error("unknown log format {0:?}: expected json or text")]
    Format(String),
    /// The level is neither a level nor a list of directives.
    #[error("log level {level:?}")]
    Level {
        /// What was given.
        level: String,
        /// What is wrong with it.
        #[source]
        source: ParseError,
    },
    /// Logging was set up twice.
    #[error("logging is already set up")]
    AlreadySet,
}

/// The client logs the whole answer where it cannot decode one: configurations of all shoots, or a Secret. Its watcher and its request
/// log say nothing that who made the call does not say, with its object. No level has the first two back;
/// `debug,kube_client::client::builder=debug` has the request log, which holds no body.
const SILENT: &str = "kube_client::client=off,kube_runtime::watcher=off";

/// Sets up logging for the whole process: to stderr, times in UTC.
///
/// # Errors
/// When the level cannot be understood or logging is set up already.
pub fn init(config: &LogConfig) -> Result<(), LogError> {
    dispatch(config, std::io::stderr)?.try_init().map_err(|_| LogError::AlreadySet)
}

/// What [`init`] sets up, for any writer.
///
/// # Errors
/// When the level cannot be understood.
fn dispatch<W>(config: &LogConfig, writer: W) -> Result<Dispatch, LogError>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter(&config.level)?).with_writer(writer).with_ansi(false);
    Ok(match config.format {
        LogFormat::Json => builder.json().flatten_event(true).with_span_list(false).finish().into(),
        LogFormat::Text => builder.finish().into(),
    })
}

fn filter(level: &str) -> Result<EnvFilter, LogError> {
    let wrong = |source| LogError::Level { level: level.to_owned(), source };
    // Checked by itself, so that the error is about what was given.
    EnvFilter::try_new(level).map_err(wrong)?;
    // Of two directives for one target the later counts.
    EnvFilter::try_new(format!("{level},{SILENT}")).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that is written under a level.
    #[derive(Clone, Default)]
    struct Written(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

    impl std::io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn written(level: &str, log: impl FnOnce()) -> Result<String, LogError> {
        let written = Written::default();
        let writer = written.clone();
        let subscriber =
            tracing_subscriber::fmt().with_env_filter(filter(level)?).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, log);
        let bytes = written.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    #[test]
    fn no_log_level_lets_the_client_log_response_bodies() -> Result<(), LogError> {
        for level in ["info", "trace", "trace,kube_client=trace", "trace,kube_client::client=trace,kube_runtime=trace"]
        {
            let text = written(level, || {
                tracing::warn!(target: "kube_client::client", "hunter2");
                tracing::error!(target: "kube_client::client::retry", "hunter2");
                tracing::debug!(target: "kube_runtime::watcher", "hunter2");
                tracing::error!(target: "kube_client::client::builder", "hunter2");
                tracing::info!(target: "gardener_extension", "ours");
            })?;
            assert!(text.contains("ours") && !text.contains("hunter2"), "{level}: {text}");
        }
        let builder = written("info,kube_client::client::builder=debug", || {
            tracing::debug!(target: "kube_client::client::builder", "requesting");
        })?;
        assert!(builder.contains("requesting"), "it has no bodies");
        Ok(())
    }

    #[test]
    fn log_formats_survive_parsing_and_display() -> Result<(), LogError> {
        for format in [LogFormat::Json, LogFormat::Text] {
            assert_eq!(format.to_string().parse::<LogFormat>()?, format);
        }
        assert!("logfmt".parse::<LogFormat>().is_err());
        Ok(())
    }

    #[test]
    fn an_invalid_log_level_is_named_in_the_error() {
        let config = LogConfig { level: "info,=lease=".to_owned(), ..LogConfig::default() };
        let error = init(&config).map_err(|error| error.to_string());
        assert_eq!(error, Err(r#"log level "info,=lease=""#.to_owned()));
    }
}
