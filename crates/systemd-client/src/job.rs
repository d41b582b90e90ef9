//! Jobs: starting, stopping, restarting, and waiting for how it ended.

use std::time::Duration;

use futures::{FutureExt, StreamExt, pin_mut, select};
use serde::Serialize;
use tokio::time::Instant;
use zbus::proxy::SignalStream;
use zbus::{OwnedObjectPath, Type};

use crate::error::SystemdError;
use crate::signals::JobRemoved;
use crate::systemd::Systemd;
use crate::text_enum::text_enum;

text_enum! {
    /// How a job ended. `Done` does *not* prove that a `Type=simple` service works: it was only forked. It is also the answer when a
    /// condition was not met and nothing was started.
    JobResult {
        /// Carried out.
        Done = "done",
        /// Superseded by another job.
        Canceled = "canceled",
        /// Took too long.
        Timeout = "timeout",
        /// The unit failed.
        Failed = "failed",
        /// A unit that it requires failed.
        Dependency = "dependency",
        /// Not needed in the unit's state.
        Skipped = "skipped",
        /// An assertion was not met.
        Assert = "assert",
    }
}

/// A job in systemd's queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Number.
    pub id: u32,
    /// Unit that it is for.
    pub unit: String,
    /// `start`, `stop`, `restart`, …
    pub kind: String,
    /// `waiting` or `running`.
    pub state: String,
}

type RawJob = (u32, String, String, String, OwnedObjectPath, OwnedObjectPath);

impl Systemd {
    /// Starts the unit and waits for the job's end, at most `deadline`.
    pub async fn start(&self, unit: &str, deadline: Duration) -> Result<JobResult, SystemdError> {
        self.run_job("StartUnit", unit, deadline).await
    }

    /// Stops the unit and waits for the job's end, at most `deadline`.
    pub async fn stop(&self, unit: &str, deadline: Duration) -> Result<JobResult, SystemdError> {
        self.run_job("StopUnit", unit, deadline).await
    }

    /// Restarts the unit (starts a stopped one) and waits for the job's end, at most `deadline`. Restarts count against the unit's start
    /// limit: call [`Self::reset_failed`] before.
    pub async fn restart(&self, unit: &str, deadline: Duration) -> Result<JobResult, SystemdError> {
        self.run_job("RestartUnit", unit, deadline).await
    }

    /// Jobs in the queue: after a reconnect, is ours still among them?
    pub async fn list_jobs(&self) -> Result<Vec<Job>, SystemdError> {
        let raw: Vec<RawJob> = self.call("ListJobs", "ListJobs", &()).await?;
        let job = |(id, unit, kind, state, ..): RawJob| Job { id, unit, kind, state };
        Ok(raw.into_iter().map(job).collect())
    }

    async fn run_job(&self, method: &'static str, unit: &str, deadline: Duration) -> Result<JobResult, SystemdError> {
        self.run(&format!("{method} {unit}"), method, &(unit, "replace"), deadline).await
    }

    /// Queues a job by a call that answers with its path, and waits for its end, at most `deadline`.
    pub(crate) async fn run<Body>(
        &self,
        what: &str,
        method: &'static str,
        body: &Body,
        deadline: Duration,
    ) -> Result<JobResult, SystemdError>
    where
        Body: Serialize + Type + Sync,
    {
        let what = what.to_owned();
        let end = Instant::now() + deadline;
        // The stream is opened before the call, or a quick job's end would be missed.
        let mut removed = self.manager_signals(&what, "JobRemoved").await?;
        let (job, mut early) = self.queue(&what, method, body, &mut removed).await?;
        loop {
            if let Some(found) = early.take_if(|removed| removed.job == job) {
                return Ok(JobResult::from(found.result.as_str()));
            }
            match tokio::time::timeout_at(end, removed.next()).await {
                Ok(Some(message)) => early = JobRemoved::parse(&what, &message).map(Some)?,
                Ok(None) => return Err(SystemdError::Disconnected { what, source: None }),
                Err(_elapsed) => {
                    return Err(SystemdError::Timeout {
                        what: format!("the end of the job of {what}"),
                        after: deadline,
                    });
                }
            }
        }
    }

    /// Queues the job while the signals are read: a full queue of unread signals would hold back the very answer.
    async fn queue<Body>(
        &self,
        what: &str,
        method: &'static str,
        body: &Body,
        removed: &mut SignalStream<'static>,
    ) -> Result<(OwnedObjectPath, Option<JobRemoved>), SystemdError>
    where
        Body: Serialize + Type + Sync,
    {
        let call = self.call::<_, OwnedObjectPath>(what, method, body).fuse();
        pin_mut!(call);
        let mut early: Vec<JobRemoved> = Vec::new();
        loop {
            select! {
                job = call => {
                    let job = job?;
                    let ended = early.into_iter().find(|removed| removed.job == job);
                    return Ok((job, ended));
                }
                message = removed.next() => match message {
                    Some(message) => early.push(JobRemoved::parse(what, &message)?),
                    None => return Err(SystemdError::Disconnected { what: what.to_owned(), source: None }),
                }
            }
        }
    }
}
