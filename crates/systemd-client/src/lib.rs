//! The systemd D-Bus calls we need, typed, with deadlines.
//!
//! Properties are never cached: systemd changes many of them in a daemon-reload without a signal. A connection does not come back by
//! itself: after [`SystemdError::Disconnected`], or when [`Events`] end, connect anew and look at everything again.

mod error;
mod events;
mod job;
mod journal;
mod signals;
mod systemd;
mod text_enum;
mod transient;
mod unit_files;
mod unit_state;

pub use error::SystemdError;
pub use events::{Event, Events};
pub use job::{Job, JobResult};
pub use journal::{JournalLines, JournalQuery};
pub use systemd::{Systemd, UnitProcess};
pub use transient::{Ended, Trial};
pub use unit_files::{EnableOutcome, UnitFileChange, UnitFileState};
pub use unit_state::{ActiveState, ExecCommand, LoadState, ServiceState, UnitState};
