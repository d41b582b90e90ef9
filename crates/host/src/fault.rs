//! Scripted faults for tests of what is built on this crate.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::errno::Errno;

use crate::operation::Hook;

/// What happens at the chosen step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The step fails once with `ENOSPC`.
    NoSpace,
    /// The step fails once with `EIO`.
    Io,
    /// The step fails once with `EROFS`.
    ReadOnly,
    /// The process dies before the step: it and every later changing step fail, so that not even cleaning up is done.
    Crash,
}

/// Makes the n-th changing step fail (see [`crate::Operation::changes`]), and counts the steps.
#[derive(Debug, Clone)]
pub struct FaultScript {
    inner: Arc<Inner>,
}

struct Inner {
    fault: Option<(usize, Fault)>,
    steps: AtomicUsize,
}

impl fmt::Debug for Inner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Inner").field("fault", &self.fault).field("steps", &self.steps).finish()
    }
}

impl FaultScript {
    /// No fault: only counts the changing steps.
    #[must_use]
    pub fn counting() -> Self {
        Self::new(None)
    }

    /// The changing step with this number, counted from 0, meets the fault.
    #[must_use]
    pub fn at(step: usize, fault: Fault) -> Self {
        Self::new(Some((step, fault)))
    }

    fn new(fault: Option<(usize, Fault)>) -> Self {
        Self { inner: Arc::new(Inner { fault, steps: AtomicUsize::new(0) }) }
    }

    /// How many changing steps were asked for so far.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.inner.steps.load(Ordering::SeqCst)
    }

    /// The hook for [`crate::HostRoot::with_hook`].
    #[must_use]
    pub fn hook(&self) -> Hook {
        let inner = Arc::clone(&self.inner);
        Arc::new(move |step| {
            if !step.operation.changes() {
                return Ok(());
            }
            inner.check(inner.steps.fetch_add(1, Ordering::SeqCst))
        })
    }
}

impl Inner {
    fn check(&self, step: usize) -> io::Result<()> {
        let errno = match self.fault {
            Some((at, Fault::NoSpace)) if at == step => Errno::ENOSPC,
            Some((at, Fault::Io)) if at == step => Errno::EIO,
            Some((at, Fault::ReadOnly)) if at == step => Errno::EROFS,
            Some((at, Fault::Crash)) if at <= step => {
                return Err(io::Error::other("the process has crashed (scripted)"));
            }
            _ => return Ok(()),
        };
        Err(errno.into())
    }
}
