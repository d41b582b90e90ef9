//! Leader election: the runner around [`crate::record`].

use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::Timing;
use crate::fence::{Fence, State};
use crate::record::{Action, Candidate, Observer, released};

/// Which lease, and who asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElectionConfig {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// Who we are; see [`crate::identity`].
    pub identity: String,
    /// In whose name the Lease is written.
    pub field_manager: String,
    /// Times.
    pub timing: Timing,
}

/// Why an election ended.
#[derive(Debug, thiserror::Error)]
pub enum ElectionError {
    /// Another process holds the lease now, or this one could not renew it in time. The process must end: what it still has in
    /// memory may be outdated.
    #[error("lost the lease {namespace}/{name}")]
    Lost {
        /// Namespace of the Lease.
        namespace: String,
        /// Name of the Lease.
        name: String,
    },
}

/// Takes part in an election.
#[derive(Debug)]
pub struct Elector {
    api: Lock,
    state: watch::Sender<State>,
}

#[derive(Debug)]
struct Lock {
    api: Api<Lease>,
    config: ElectionConfig,
    observer: Observer,
}

/// What one try came to.
#[derive(Debug)]
enum Attempt {
    /// Ours since this moment (the request's beginning).
    Held(Instant),
    /// Another's.
    Other(Option<String>),
}

#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error("{0} the lease")]
    Api(&'static str, #[source] Box<kube::Error>),
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
}

impl Elector {
    /// A candidate, and the fence that opens when it is elected. `client` must not be a fenced one.
    #[must_use]
    pub fn new(client: Client, config: ElectionConfig) -> (Self, Fence) {
        let (state, fence) = Fence::new();
        let api = Api::namespaced(client, &config.namespace);
        (Self { api: Lock { api, config, observer: Observer::default() }, state }, fence)
    }

    /// Stands for election, and once elected renews, until `stop` resolves. Then it gives the lease back, so that the next leader need
    /// not wait: `stop` may resolve only after everything that writes has ended.
    ///
    /// # Errors
    /// When the lease was held and is lost. The fence is closed by then.
    pub async fn run(mut self, stop: impl Future<Output = ()> + Send) -> Result<(), ElectionError> {
        tokio::pin!(stop);
        let mut held_since: Option<Instant> = None;
        let timing = self.api.config.timing;
        loop {
            let attempt = tokio::select! {
                attempt = self.api.attempt() => attempt,
                () = &mut stop => return self.stop(held_since).await,
            };
            match attempt {
                Ok(Attempt::Held(since)) => {
                    if held_since.is_none() {
                        tracing::info!(
                            lease = self.api.name(),
                            identity = self.api.config.identity,
                            "became the leader"
                        );
                    }
                    held_since = Some(since);
                    self.state.send_replace(State::Held(since + timing.renew_deadline));
                }
                Ok(Attempt::Other(holder)) => {
                    if held_since.is_some() {
                        tracing::error!(lease = self.api.name(), ?holder, "another process took the lease");
                        return Err(self.lost());
                    }
                    tracing::debug!(lease = self.api.name(), ?holder, "waiting for the lease");
                }
                Err(error) => {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(lease = self.api.name(), %error, cause, "cannot take or renew the lease; trying again");
                }
            }
            let pause = Instant::now() + timing.retry_period;
            let until = held_since.map_or(pause, |since| pause.min(since + timing.renew_deadline));
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                () = &mut stop => return self.stop(held_since).await,
            }
            if held_since.is_some_and(|since| Instant::now() >= since + timing.renew_deadline) {
                tracing::error!(lease = self.api.name(), "could not renew the lease in time");
                return Err(self.lost());
            }
        }
    }

    fn lost(&self) -> ElectionError {
        self.state.send_replace(State::Lost);
        let ElectionConfig { namespace, name, .. } = self.api.config.clone();
        ElectionError::Lost { namespace, name }
    }

    async fn stop(self, held_since: Option<Instant>) -> Result<(), ElectionError> {
        // First the fence, then the lease: never the other way round.
        self.state.send_replace(State::Lost);
        if held_since.is_some() {
            match self.api.release().await {
                Ok(()) => tracing::info!(lease = self.api.name(), "gave the lease back"),
                Err(error) => tracing::warn!(lease = self.api.name(), %error, "could not give the lease back"),
            }
        }
        Ok(())
    }
}

impl Lock {
    /// One try, within half the renew deadline, so that a second one fits before the lease is lost.
    async fn attempt(&mut self) -> Result<Attempt, AttemptError> {
        let limit = self.config.timing.renew_deadline / 2;
        tokio::time::timeout(limit, self.try_once()).await.map_err(|_| AttemptError::Timeout(limit))?
    }

    async fn try_once(&mut self) -> Result<Attempt, AttemptError> {
        // Everybody else starts counting when the write arrives, which is later than this.
        let begun = Instant::now();
        let ElectionConfig { namespace, name, identity, timing, .. } = &self.config;
        let found = self.api.get_opt(name).await.map_err(failed("get"))?;
        let who = Candidate { namespace, name, identity };
        let action = self.observer.decide(found.as_ref(), &who, *timing, Instant::now(), Timestamp::now());
        let written = match action {
            Action::Wait => {
                let holder = found.and_then(|lease| lease.spec?.holder_identity);
                return Ok(Attempt::Other(holder));
            }
            Action::Create(lease) => self.api.create(&self.parameters(), &lease).await,
            Action::Replace(lease) => self.api.replace(name, &self.parameters(), &lease).await,
        };
        match written {
            Ok(_) => Ok(Attempt::Held(begun)),
            // Somebody was faster. Who holds it now shows at the next try.
            Err(kube::Error::Api(status)) if status.code == 409 => {
                Err(AttemptError::Api("lost the race for", Box::new(kube::Error::Api(status))))
            }
            Err(error) => Err(failed("write")(error)),
        }
    }

    async fn release(&self) -> Result<(), AttemptError> {
        let ElectionConfig { name, identity, timing, .. } = &self.config;
        let release = async {
            let Some(found) = self.api.get_opt(name).await.map_err(failed("get"))? else { return Ok(()) };
            let Some(free) = released(&found, identity, Timestamp::now()) else { return Ok(()) };
            self.api.replace(name, &self.parameters(), &free).await.map_err(failed("release"))?;
            Ok(())
        };
        let limit = timing.retry_period;
        tokio::time::timeout(limit, release).await.map_err(|_| AttemptError::Timeout(limit))?
    }

    fn parameters(&self) -> PostParams {
        PostParams { field_manager: Some(self.config.field_manager.clone()), ..PostParams::default() }
    }

    fn name(&self) -> String {
        format!("{}/{}", self.config.namespace, self.config.name)
    }
}

fn failed(action: &'static str) -> impl Fn(kube::Error) -> AttemptError {
    move |error| AttemptError::Api(action, Box::new(error))
}
