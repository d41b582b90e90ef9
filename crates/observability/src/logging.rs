//! Logs: level and format.

use std::fmt;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

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

/// Every call that fails is told once more by who made it, with its object; kube's own line has neither, and comes even when the
/// next try succeeds. `debug,kube_client::client::builder=debug` has it back.
const SILENT: &str = "kube_client::client::builder=off";

/// Sets up logging for the whole process: to stderr, times in UTC.
///
/// # Errors
/// When the level cannot be understood or logging is set up already.
pub fn init(config: &LogConfig) -> Result<(), LogError> {
    let filter = filter(&config.level)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    match config.format {
        LogFormat::Json => builder.json().flatten_event(true).with_span_list(false).try_init(),
        LogFormat::Text => builder.try_init(),
    }
    .map_err(|_| LogError::AlreadySet)
}

fn filter(level: &str) -> Result<EnvFilter, LogError> {
    let wrong = |source| LogError::Level { level: level.to_owned(), source };
    // Checked by itself, so that the error is about what was given.
    EnvFilter::try_new(level).map_err(wrong)?;
    EnvFilter::try_new(format!("{SILENT},{level}")).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kube_is_silent_unless_asked() -> Result<(), LogError> {
        let text = filter("info")?.to_string();
        assert!(text.contains(SILENT) && text.contains("info"), "{text}");
        let text = filter("info,kube_client::client::builder=debug")?.to_string();
        assert!(text.contains("kube_client::client::builder=debug") && !text.contains(SILENT), "{text}");
        Ok(())
    }

    #[test]
    fn formats_are_read_and_written_alike() -> Result<(), LogError> {
        for format in [LogFormat::Json, LogFormat::Text] {
            assert_eq!(format.to_string().parse::<LogFormat>()?, format);
        }
        assert!("logfmt".parse::<LogFormat>().is_err());
        Ok(())
    }

    #[test]
    fn a_level_that_is_none_is_named() {
        let config = LogConfig { level: "info,=lease=".to_owned(), ..LogConfig::default() };
        let error = init(&config).map_err(|error| error.to_string());
        assert_eq!(error, Err(r#"log level "info,=lease=""#.to_owned()));
    }
}
