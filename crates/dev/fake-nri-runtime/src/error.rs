//! What can go wrong, for the test that drives the runtime.

use std::path::PathBuf;

use crate::field::Field;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket cannot be made.
    #[error("cannot listen on {}: {source}", path.display())]
    Listen {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is none of that id.
    #[error("no {what} {id:?}")]
    Unknown {
        /// `pod` or `container`.
        what: &'static str,
        /// The id that was asked for.
        id: String,
    },
    /// The id is taken.
    #[error("{what} {id:?} exists already")]
    Exists {
        /// `pod` or `container`.
        what: &'static str,
        /// The id that was to be made.
        id: String,
    },
    /// As many as there may be ([`crate::limits`]).
    #[error("{limit} {what}s exist, no more are allowed")]
    Full {
        /// `pod` or `container`.
        what: &'static str,
        /// How many are allowed.
        limit: usize,
    },
    /// A plugin answered with an error: what was asked for does not happen, and kubelet would try again.
    #[error("plugin {plugin} refused {method}: {message}")]
    Refused {
        /// Index and name, `90-resource-manager`.
        plugin: String,
        /// Method of NRI's service, `CreateContainer`.
        method: &'static str,
        /// The plugin's words.
        message: String,
    },
    /// Two plugins want to set one field.
    #[error("plugins {first} and {second} both set {field} of container {container:?}")]
    Conflict {
        /// Container's id.
        container: String,
        /// What both set.
        field: Field,
        /// The plugin that was asked first.
        first: String,
        /// The plugin that was asked later.
        second: String,
    },
    /// A plugin wants to update the container that it is asked to adjust.
    #[error("plugin {plugin} updates container {container:?} during its creation")]
    UpdateDuringCreation {
        /// Index and name.
        plugin: String,
        /// Container's id.
        container: String,
    },
}
