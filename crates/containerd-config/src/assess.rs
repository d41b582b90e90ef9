//! What NRI is going to be with a configuration.

use std::time::Duration;

use crate::config::Config;
use crate::error::ConfigError;
use crate::limits::LONGEST_TIMEOUT;
use crate::table::{REGISTRATION_TIMEOUT, REQUEST_TIMEOUT, Setting, Timeout};
use crate::version::{ContainerdVersion, OLDEST, Rules};

const SOCKET: &str = "/var/run/nri/nri.sock";
const REGISTRATION: Duration = Duration::from_secs(5);
const REQUEST: Duration = Duration::from_secs(2);

/// What NRI is going to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Nri {
    /// A plugin can connect.
    Usable {
        /// Path of the socket.
        socket: String,
        /// How long a plugin may take for one answer.
        request_timeout: Duration,
        /// How long a plugin may take to register.
        registration_timeout: Duration,
    },
    /// It is off, and a drop-in can switch it on.
    Off {
        /// Why.
        why: Off,
    },
    /// It is not for us to change.
    Refused {
        /// Why.
        reason: Refusal,
    },
}

/// Why NRI is off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Off {
    /// Nobody has switched it on: containerd 1.7.
    ByDefault,
    /// `disable = true` on containerd 1.7. It is no decision of the owner's: `containerd config default`, with which Gardener's nodes begin,
    /// writes it there.
    Disabled {
        /// The file.
        file: String,
    },
}

/// Why NRI is left as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Too old.
    #[error("containerd {0} is older than {OLDEST}, in which registering a plugin cannot hang any more")]
    TooOld(ContainerdVersion),
    /// A line whose rules are not known.
    #[error("containerd {0} is not known here, 1.7 and 2 are")]
    UnknownVersion(ContainerdVersion),
    /// The owner has switched it off, from 2.0 on.
    #[error("disable in {file} is true: NRI is switched off by the node's owner")]
    Disabled {
        /// The file.
        file: String,
    },
    /// The owner has taken the plugin out. A drop-in cannot put it back, because the lists of all files count together.
    #[error("disabled_plugins in {file} has io.containerd.nri.v1.nri")]
    DisabledPlugin {
        /// The file.
        file: String,
    },
    /// The owner has closed the socket.
    #[error("disable_connections in {file} is true: no plugin can connect")]
    ConnectionsDisabled {
        /// The file.
        file: String,
    },
    /// An integer, which is nanoseconds, and with which containerd 2 does not start.
    #[error("{key} in {file} is the integer {value}, which means nanoseconds; a text such as \"2s\" is allowed")]
    IntegerTimeout {
        /// The file.
        file: String,
        /// Its key.
        key: &'static str,
        /// Nanoseconds.
        value: i64,
    },
    /// A timeout below zero, with which every plugin is dropped at once.
    #[error("{key} in {file} is {value} ns, below zero")]
    NegativeTimeout {
        /// The file.
        file: String,
        /// Its key.
        key: &'static str,
        /// Nanoseconds.
        value: i64,
    },
    /// A configuration of version 1 on 1.7: beside it, a drop-in with version 2 could stop containerd.
    #[error(
        "{main} has no version = 2: containerd reads it as version 1, and would not start with a file of version 2 beside it"
    )]
    VersionOne {
        /// The main file.
        main: String,
    },
    /// No import finds the drop-in.
    #[error("{main} imports nothing that finds {path}")]
    NotImported {
        /// The main file.
        main: String,
        /// The drop-in.
        path: String,
    },
    /// Another file has the last word.
    #[error("{file} is read after {path} and would override it")]
    Overridden {
        /// The drop-in.
        path: String,
        /// The other file.
        file: String,
    },
    /// A timeout that is not written.
    #[error("{key} {value:?}: 1 ms to {LONGEST_TIMEOUT:?} are allowed, in whole milliseconds")]
    Timeout {
        /// Its key.
        key: &'static str,
        /// The value.
        value: Duration,
    },
    /// A value of the owner's that cannot be written down again for every reader of TOML.
    #[error("{key} in {file} has control characters")]
    ControlCharacters {
        /// The file.
        file: String,
        /// Its key.
        key: String,
    },
    /// The configuration without the drop-in, or with it, is not read.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// What NRI is going to be when containerd starts with this configuration. `drop_in` is the path that [`crate::drop_in`] would write; it
/// matters only where NRI is off.
#[must_use]
pub fn assess(config: &Config, drop_in: &str) -> Nri {
    judge(config, drop_in).unwrap_or_else(|reason| Nri::Refused { reason })
}

pub(crate) fn judge(config: &Config, drop_in: &str) -> Result<Nri, Refusal> {
    let containerd = config.containerd();
    if !containerd.is_known() && containerd >= OLDEST {
        return Err(Refusal::UnknownVersion(containerd));
    }
    if containerd < OLDEST {
        return Err(Refusal::TooOld(containerd));
    }
    if let Some(file) = config.disabled_in() {
        return Err(Refusal::DisabledPlugin { file: file.to_owned() });
    }
    let table = config.nri();
    if let Some(Setting { value: true, file }) = &table.disable_connections {
        return Err(Refusal::ConnectionsDisabled { file: file.clone() });
    }
    let request_timeout = timeout(REQUEST_TIMEOUT, table.request_timeout.as_ref(), REQUEST)?;
    let registration_timeout = timeout(REGISTRATION_TIMEOUT, table.registration_timeout.as_ref(), REGISTRATION)?;
    let is_off_by_default = containerd.rules() == Rules::Replace;
    match &table.disable {
        Some(Setting { value: true, file }) if !is_off_by_default => Err(Refusal::Disabled { file: file.clone() }),
        Some(Setting { value: true, file }) => off(config, drop_in, Off::Disabled { file: file.clone() }),
        None if is_off_by_default => off(config, drop_in, Off::ByDefault),
        _ => {
            let socket = table.socket_path.as_ref().map(|setting| setting.value.clone());
            // An empty path is none, to containerd too.
            let socket = socket.filter(|path| !path.is_empty()).unwrap_or_else(|| SOCKET.to_owned());
            Ok(Nri::Usable { socket, request_timeout, registration_timeout })
        }
    }
}

/// NRI is off: a drop-in has to be possible.
fn off(config: &Config, drop_in: &str, why: Off) -> Result<Nri, Refusal> {
    can_have(config, drop_in)?;
    Ok(Nri::Off { why })
}

/// Whether a drop-in would be loaded, and by its own rules.
pub(crate) fn can_have(config: &Config, drop_in: &str) -> Result<(), Refusal> {
    let main = config.sources().main().to_owned();
    if config.containerd().rules() == Rules::Replace && config.version() == 1 && config.sources().has_main() {
        return Err(Refusal::VersionOne { main });
    }
    match config.sources().with(drop_in, "")? {
        Some(_) => Ok(()),
        None => Err(Refusal::NotImported { main, path: drop_in.to_owned() }),
    }
}

fn timeout(key: &'static str, setting: Option<&Setting<Timeout>>, default: Duration) -> Result<Duration, Refusal> {
    let Some(Setting { value, file }) = setting else { return Ok(default) };
    if value.is_integer {
        return Err(Refusal::IntegerTimeout { file: file.clone(), key, value: value.nanoseconds });
    }
    let negative = || Refusal::NegativeTimeout { file: file.clone(), key, value: value.nanoseconds };
    value.duration(default).ok_or_else(negative)
}
