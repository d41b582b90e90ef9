//! What happened between the runtime and its plugins.

use std::time::Duration;

/// One thing that happened. Plugins are named by index and name, `90-resource-manager`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A plugin connected, registered and was configured.
    Registered {
        /// Which.
        plugin: String,
        /// NRI version that it was built with, as it says.
        nri_version: String,
        /// Since it connected.
        took: Duration,
    },
    /// Somebody connected and did not become a plugin.
    NotRegistered {
        /// Why.
        reason: String,
    },
    /// A plugin was notified of everything, and its answer was applied.
    Synchronized {
        /// Which.
        plugin: String,
        /// Containers that it was notified of.
        containers: usize,
        /// Updates in its answer.
        updates: usize,
        /// Until it had answered.
        took: Duration,
    },
    /// A plugin answered an event.
    Answered {
        /// Which.
        plugin: String,
        /// Method, or name of the event.
        method: &'static str,
        /// Updates of other containers in its answer.
        updates: usize,
        /// Until it had answered.
        took: Duration,
    },
    /// A plugin answered an event with an error.
    Refused {
        /// Which.
        plugin: String,
        /// Method, or name of the event.
        method: &'static str,
        /// Its words.
        message: String,
    },
    /// A plugin updated containers without being asked.
    Unsolicited {
        /// Which.
        plugin: String,
        /// How many.
        updates: usize,
    },
    /// A plugin is no longer one.
    Dropped {
        /// Which.
        plugin: String,
        /// Why.
        reason: String,
    },
}
