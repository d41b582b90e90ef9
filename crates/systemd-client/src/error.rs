//! What systemd, or the bus, answers when a call fails.

use std::io;
use std::time::Duration;

/// Why a call to systemd failed. `what` is the call with its unit, for example `RestartUnit kubelet.service`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SystemdError {
    /// The connection to the bus is gone: connect anew.
    #[error("the bus connection is lost ({what})")]
    Disconnected {
        /// The call with its argument: `GetAll kubelet.service`.
        what: String,
        /// What the connection said, where it said anything.
        source: Option<zbus::Error>,
    },
    /// systemd itself is away from the bus, as it is during a daemon-reexec; the same connection works again in a moment. Whether the call
    /// was carried out is unknown.
    #[error("systemd is away from the bus ({what}): {message}")]
    Unavailable {
        /// The call with its argument: `GetAll kubelet.service`.
        what: String,
        /// The bus's text.
        message: String,
    },
    /// No such unit is loaded, or no such unit file exists.
    #[error("no such unit ({what}): {message}")]
    NoSuchUnit {
        /// The call with its argument: `GetAll kubelet.service`.
        what: String,
        /// systemd's text.
        message: String,
    },
    /// Not uid 0, or a security module is in the way.
    #[error("systemd or the bus denies access ({what}): {message}")]
    AccessDenied {
        /// The call with its argument: `GetAll kubelet.service`.
        what: String,
        /// systemd's text.
        message: String,
    },
    /// `/run` has less than 16 MiB free: systemd refuses to reload.
    #[error("systemd finds too little space ({what}): {message}")]
    DiskFull {
        /// The call with its argument: `GetAll kubelet.service`.
        what: String,
        /// systemd's text.
        message: String,
    },
    /// The unit's text has an error, so it can be neither started nor restarted.
    #[error("the unit has a bad setting ({what}): {message}")]
    BadUnitSetting {
        /// The call with its argument: `GetAll kubelet.service`.
        what: String,
        /// systemd's text.
        message: String,
    },
    /// Somebody masked the unit.
    #[error("the unit is masked ({what}): {message}")]
    Masked {
        /// The call with its argument: `GetAll kubelet.service`.
        what: String,
        /// systemd's text.
        message: String,
    },
    /// No answer in time. Whether the call was, or will be, carried out is unknown.
    #[error("no answer within {after:.1?} ({what})")]
    Timeout {
        /// The call, or the job that was waited for.
        what: String,
        /// How long was waited.
        after: Duration,
    },
    /// Any other error that systemd answered.
    #[error("systemd refuses with {name} ({what}): {message}")]
    Refused {
        /// The call with its argument: `GetAll kubelet.service`.
        what: String,
        /// D-Bus error name.
        name: String,
        /// systemd's text.
        message: String,
    },
    /// What a unit has printed cannot be kept or read.
    #[error("cannot read what {what} has printed")]
    Output {
        /// The unit.
        what: String,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The exchange itself is not as expected: a type, a missing property.
    #[error("unexpected exchange with systemd ({what})")]
    Protocol {
        /// The call with its argument: `GetAll kubelet.service`.
        what: String,
        /// What is wrong.
        source: zbus::Error,
    },
}

impl SystemdError {
    /// A new connection is needed.
    #[must_use]
    pub fn needs_reconnect(&self) -> bool {
        matches!(self, Self::Disconnected { .. })
    }

    /// Sorts an error of the bus library.
    pub(crate) fn classify(what: &str, limit: Duration, error: zbus::Error) -> Self {
        let what = what.to_owned();
        match error {
            zbus::Error::InputOutput(ref source) if source.kind() == io::ErrorKind::TimedOut => {
                Self::Timeout { what, after: limit }
            }
            zbus::Error::InputOutput(_) | zbus::Error::Connection(..) | zbus::Error::Handshake(_) => {
                Self::Disconnected { what, source: Some(error) }
            }
            zbus::Error::MethodError(name, message, _) => {
                Self::answered(what, name.as_str(), message.unwrap_or_default())
            }
            zbus::Error::FDO(error) => Self::standard(what, &error),
            source => Self::Protocol { what, source },
        }
    }

    fn standard(what: String, error: &zbus::fdo::Error) -> Self {
        use zbus::DBusError;
        let name = error.name().to_string();
        let message = error.description().unwrap_or_default().to_owned();
        match error {
            zbus::fdo::Error::ServiceUnknown(_)
            | zbus::fdo::Error::NameHasNoOwner(_)
            | zbus::fdo::Error::NoReply(_) => Self::Unavailable { what, message },
            zbus::fdo::Error::AccessDenied(_)
            | zbus::fdo::Error::AuthFailed(_)
            | zbus::fdo::Error::InteractiveAuthorizationRequired(_) => Self::AccessDenied { what, message },
            zbus::fdo::Error::FileNotFound(_) => Self::NoSuchUnit { what, message },
            zbus::fdo::Error::Disconnected(_) => Self::Disconnected { what, source: None },
            _ => Self::Refused { what, name, message },
        }
    }

    fn answered(what: String, name: &str, message: String) -> Self {
        match name.strip_prefix("org.freedesktop.systemd1.") {
            Some("NoSuchUnit") => Self::NoSuchUnit { what, message },
            Some("DiskFull") => Self::DiskFull { what, message },
            Some("BadUnitSetting") => Self::BadUnitSetting { what, message },
            Some("UnitMasked") => Self::Masked { what, message },
            _ => Self::Refused { what, name: name.to_owned(), message },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(1);

    fn classified(error: zbus::Error) -> SystemdError {
        SystemdError::classify("Call unit", LIMIT, error)
    }

    #[test]
    fn io_errors_mean_a_lost_bus_except_for_a_timeout() {
        let io = |kind: io::ErrorKind| zbus::Error::InputOutput(std::sync::Arc::new(kind.into()));
        assert!(matches!(classified(io(io::ErrorKind::TimedOut)), SystemdError::Timeout { after: LIMIT, .. }));
        assert!(classified(io(io::ErrorKind::BrokenPipe)).needs_reconnect());
        assert!(classified(zbus::Error::Handshake("rejected".to_owned())).needs_reconnect());
        assert!(matches!(classified(zbus::Error::InvalidReply), SystemdError::Protocol { .. }));
    }

    #[test]
    fn standard_dbus_errors_are_classified() {
        use zbus::fdo::Error;
        let text = String::new;
        let of = |error: Error| classified(zbus::Error::FDO(Box::new(error)));
        assert!(matches!(of(Error::NoReply(text())), SystemdError::Unavailable { .. }));
        assert!(matches!(of(Error::ServiceUnknown(text())), SystemdError::Unavailable { .. }));
        assert!(matches!(of(Error::AccessDenied(text())), SystemdError::AccessDenied { .. }));
        assert!(matches!(of(Error::InteractiveAuthorizationRequired(text())), SystemdError::AccessDenied { .. }));
        assert!(matches!(of(Error::FileNotFound(text())), SystemdError::NoSuchUnit { .. }));
        assert!(of(Error::Disconnected(text())).needs_reconnect());
        let refused = of(Error::InvalidArgs("bad mode".to_owned()));
        assert_eq!(
            refused.to_string(),
            "systemd refuses with org.freedesktop.DBus.Error.InvalidArgs (Call unit): bad mode"
        );
    }

    #[test]
    fn systemds_dbus_errors_are_classified() {
        let of = |name: &str| SystemdError::answered("Call unit".to_owned(), name, String::new());
        assert!(matches!(of("org.freedesktop.systemd1.NoSuchUnit"), SystemdError::NoSuchUnit { .. }));
        assert!(matches!(of("org.freedesktop.systemd1.DiskFull"), SystemdError::DiskFull { .. }));
        assert!(matches!(of("org.freedesktop.systemd1.BadUnitSetting"), SystemdError::BadUnitSetting { .. }));
        assert!(matches!(of("org.freedesktop.systemd1.UnitMasked"), SystemdError::Masked { .. }));
        assert!(matches!(of("System.Error.EROFS"), SystemdError::Refused { name, .. } if name == "System.Error.EROFS"));
    }
}
