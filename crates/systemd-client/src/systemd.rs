//! The connection and its calls.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};
use zbus::proxy::CacheProperties;
use zbus::{Connection, OwnedObjectPath, OwnedVariant, Proxy, Type};

use crate::error::SystemdError;
use crate::unit_state::{Properties, UnitState};

pub(crate) const DESTINATION: &str = "org.freedesktop.systemd1";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER_INTERFACE: &str = "org.freedesktop.systemd1.Manager";
pub(crate) const PROPERTIES_INTERFACE: &str = "org.freedesktop.DBus.Properties";

/// Longest wait for the answer to one call. A reload of a node with many units takes seconds.
const METHOD_TIMEOUT: Duration = Duration::from_secs(45);

/// Longest wait for the bus to accept the connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Signals that may wait unread. zbus stops reading the socket at the limit, so all streams are polled all the time anyway.
const MAX_QUEUED: NonZeroUsize = NonZeroUsize::new(512).unwrap();

/// A connection to systemd over the system bus. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Systemd {
    pub(crate) connection: Connection,
    pub(crate) manager: Proxy<'static>,
}

/// A process of a unit, as systemd sees it: no access to the host's `/proc` is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitProcess {
    /// Control group.
    pub control_group: String,
    /// Process id in the host's view.
    pub pid: u32,
    /// Command line: arguments joined by blanks; one that holds blanks or quotes stands in double quotes with C escapes (systemd 252).
    pub command_line: String,
}

impl Systemd {
    /// Connects to the bus at a D-Bus address, `unix:path=/host/run/dbus/system_bus_socket` for example. Never systemd's private socket:
    /// what it sends is not a bus, and zbus cannot read it.
    pub async fn connect(address: &str) -> Result<Self, SystemdError> {
        let what = format!("connecting to {address}");
        let building =
            zbus::connection::Builder::address(address).method_timeout(METHOD_TIMEOUT).max_queued(MAX_QUEUED).build();
        let connection = match tokio::time::timeout(CONNECT_TIMEOUT, building).await {
            Ok(outcome) => outcome.map_err(|error| SystemdError::classify(&what, CONNECT_TIMEOUT, error))?,
            Err(_elapsed) => {
                return Err(SystemdError::Timeout { what, after: CONNECT_TIMEOUT });
            }
        };
        let manager = proxy(&connection, MANAGER_PATH, MANAGER_INTERFACE)
            .await
            .map_err(|error| SystemdError::classify(&what, METHOD_TIMEOUT, error))?;
        Ok(Self { connection, manager })
    }

    /// Asks systemd for its signals; needed before events, harmless when done already.
    pub async fn subscribe(&self) -> Result<(), SystemdError> {
        match self.call::<_, ()>("Subscribe", "Subscribe", &()).await {
            Err(SystemdError::Refused { name, .. }) if name.ends_with(".AlreadySubscribed") => Ok(()),
            other => other,
        }
    }

    /// Version of systemd, `252.39-1~deb12u1` for example.
    pub async fn version(&self) -> Result<String, SystemdError> {
        let what = "the property Version";
        let value = self.manager.get_property("Version").await;
        value.map_err(|error| classify(what, error))
    }

    /// daemon-reload: reads all unit files again; answers when done.
    pub async fn reload(&self) -> Result<(), SystemdError> {
        self.call("Reload", "Reload", &()).await
    }

    /// Looks at a unit, loading it first where it is not. A missing unit is no error but a [`crate::LoadState::NotFound`].
    pub async fn load_unit(&self, unit: &str) -> Result<UnitState, SystemdError> {
        let path = self.unit_path(unit).await?;
        let what = format!("GetAll {unit}");
        let values = self.all_properties(&what, &path, "org.freedesktop.systemd1.Unit").await?;
        let mut state = Properties { what: &what, values }.into_unit()?;
        if is_service(unit) {
            let values = self.all_properties(&what, &path, "org.freedesktop.systemd1.Service").await?;
            let service = Properties { what: &what, values };
            state.service = Some(service.into_service()?);
        }
        Ok(state)
    }

    /// Processes of the unit; none where it does not run or is not loaded.
    pub async fn unit_processes(&self, unit: &str) -> Result<Vec<UnitProcess>, SystemdError> {
        let what = format!("GetUnitProcesses {unit}");
        let raw: Vec<(String, u32, String)> = match self.call(&what, "GetUnitProcesses", &(unit,)).await {
            Err(SystemdError::NoSuchUnit { .. }) => Vec::new(),
            other => other?,
        };
        let process = |(control_group, pid, command_line)| UnitProcess { control_group, pid, command_line };
        Ok(raw.into_iter().map(process).collect())
    }

    /// Clears the failed state, the restart counter and the start-limit counter; a unit that is not loaded is a success.
    pub async fn reset_failed(&self, unit: &str) -> Result<(), SystemdError> {
        let what = format!("ResetFailedUnit {unit}");
        match self.call(&what, "ResetFailedUnit", &(unit,)).await {
            Err(SystemdError::NoSuchUnit { .. }) => Ok(()),
            other => other,
        }
    }

    /// Object path of a unit, which is loaded where it is not.
    pub(crate) async fn unit_path(&self, unit: &str) -> Result<OwnedObjectPath, SystemdError> {
        self.call(&format!("LoadUnit {unit}"), "LoadUnit", &(unit,)).await
    }

    /// A method of the manager.
    pub(crate) async fn call<Body, Reply>(
        &self,
        what: &str,
        method: &'static str,
        body: &Body,
    ) -> Result<Reply, SystemdError>
    where
        Body: Serialize + Type + Sync,
        Reply: DeserializeOwned + Type,
    {
        let outcome = self.manager.call(method, body).await;
        outcome.map_err(|error| classify(what, error))
    }

    async fn all_properties(
        &self,
        what: &str,
        path: &OwnedObjectPath,
        interface: &str,
    ) -> Result<HashMap<String, OwnedVariant>, SystemdError> {
        let read = async {
            let properties = proxy(&self.connection, path.as_str(), PROPERTIES_INTERFACE).await?;
            properties.call("GetAll", &(interface,)).await
        };
        read.await.map_err(|error| classify(what, error))
    }
}

/// Sorts the error of a call.
pub(crate) fn classify(what: &str, error: zbus::Error) -> SystemdError {
    SystemdError::classify(what, METHOD_TIMEOUT, error)
}

/// A proxy without the property cache, which a daemon-reload would leave stale for ever.
pub(crate) async fn proxy(
    connection: &Connection,
    path: &str,
    interface: &'static str,
) -> Result<Proxy<'static>, zbus::Error> {
    zbus::proxy::Builder::new(connection)
        .destination(DESTINATION)
        .path(path.to_owned())
        .interface(interface)
        .cache_properties(CacheProperties::No)
        .build()
        .await
}

fn is_service(unit: &str) -> bool {
    std::path::Path::new(unit).extension().is_some_and(|kind| kind == "service")
}
