//! Noticing that somebody changed the host's files: inotify, debounced, as "look again" ticks.
//!
//! Directories are watched, not files, so that a replaced file is seen. A tick says only that a full check is due: what changed is found
//! out by looking. Openings and readings are masked out, for each daemon-reload makes a flood of them.

mod set;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use futures::stream::{self, Stream, StreamExt};
use inotify::{EventMask, EventStream, Inotify};
use tokio::time::Instant;

use crate::error::HostError;
use crate::root::HostRoot;
use set::WatchSet;

/// Room for a burst of events, bytes; more are read in further rounds.
const BUFFER: usize = 16 * 1024;

/// Longest time from the first event to the tick, as a multiple of the quiet time: a steady trickle must not hold the tick back for ever.
const PATIENCE: u32 = 10;

/// One directory to watch, and which of its entries matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// Host-absolute directory; it may be missing for now.
    pub directory: PathBuf,
    /// Names that matter; empty means all but our own temporary files.
    pub names: Vec<OsString>,
}

impl Watched {
    /// Every entry of the directory.
    pub fn all(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), names: Vec::new() }
    }

    /// Some entries of the directory.
    pub fn only<N: Into<OsString>>(directory: impl Into<PathBuf>, names: impl IntoIterator<Item = N>) -> Self {
        Self { directory: directory.into(), names: names.into_iter().map(Into::into).collect() }
    }
}

/// Why the host's files can no longer be watched. The caller's periodic check is the net below.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The kernel gives no inotify instance, or reading from it failed.
    #[error("cannot use inotify")]
    Inotify(#[source] io::Error),
    /// A directory could not be read.
    #[error("cannot find a directory to watch")]
    Host(#[from] HostError),
    /// A directory could not be added, for example because the user's limit of watches is used up.
    #[error("cannot watch {}", directory.display())]
    Add {
        /// Host-absolute directory.
        directory: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// A running watch.
#[derive(Debug)]
pub struct Watch {
    events: EventStream<Vec<u8>>,
    set: WatchSet,
    quiet: Duration,
}

impl Watch {
    /// Watches these directories from now on; must be called inside a tokio runtime. A tick comes when nothing more has happened for
    /// `quiet` after a change (at the latest ten times that after it).
    pub fn new(root: HostRoot, watched: Vec<Watched>, quiet: Duration) -> Result<Self, WatchError> {
        let inotify = Inotify::init().map_err(WatchError::Inotify)?;
        let events = inotify.into_event_stream(vec![0; BUFFER]).map_err(WatchError::Inotify)?;
        let mut set = WatchSet::new(root, watched);
        set.refresh(&mut events.watches())?;
        Ok(Self { events, set, quiet })
    }

    /// The next "look again". Cancelling loses nothing but the rest of the quiet time.
    pub async fn tick(&mut self) -> Result<(), WatchError> {
        while !self.take().await? {}
        let latest = Instant::now() + self.quiet * PATIENCE;
        loop {
            let quiet_until = (Instant::now() + self.quiet).min(latest);
            match tokio::time::timeout_at(quiet_until, self.take()).await {
                Err(_elapsed) => return Ok(()),
                Ok(outcome) => drop(outcome?),
            }
        }
    }

    /// The ticks as a stream, which ends after an error.
    pub fn into_stream(self) -> impl Stream<Item = Result<(), WatchError>> + Send {
        stream::unfold(Some(self), |watch| async {
            let mut watch = watch?;
            match watch.tick().await {
                Ok(()) => Some((Ok(()), Some(watch))),
                Err(error) => Some((Err(error), None)),
            }
        })
    }

    /// Waits for one event; true if it matters.
    async fn take(&mut self) -> Result<bool, WatchError> {
        let event = match self.events.next().await {
            Some(event) => event.map_err(WatchError::Inotify)?,
            None => return Err(WatchError::Inotify(io::ErrorKind::UnexpectedEof.into())),
        };
        // An overflow belongs to no watch. Events of watches that were given up belong to none of ours either.
        let overflow = event.mask.contains(EventMask::Q_OVERFLOW);
        let matters = overflow || self.set.matters(&event.wd, event.name.as_deref());
        // What is watched must be found anew when a watched directory went away or one on the way to it came.
        let gone = EventMask::IGNORED | EventMask::DELETE_SELF | EventMask::MOVE_SELF | EventMask::UNMOUNT;
        if matters && (overflow || event.mask.intersects(gone | EventMask::ISDIR)) {
            self.set.refresh(&mut self.events.watches())?;
        }
        Ok(matters)
    }
}
