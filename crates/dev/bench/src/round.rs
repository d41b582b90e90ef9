//! One scenario, run by whoever is measured: everything is asked for while nobody works, then the work begins, and the clock with it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::calls;
use crate::figures::{Figures, Phase, percentile};
use crate::floor::Floor;
use crate::gardenlet::Shoots;
use crate::observer::Observer;
use crate::process::Controller;
use crate::seed::{Seed, User};

/// Requests in flight, and how many in all at most.
const IN_FLIGHT: usize = 20;
const REQUESTS: usize = 500;
/// After a phase until what trails behind it (conditions, tokens) is over and counted.
const TRAIL: Duration = Duration::from_secs(3);
/// Before the work begins: watches get what they have missed.
const BREATH: Duration = Duration::from_millis(500);

/// Who is measured.
#[derive(Debug)]
pub(crate) enum Contestant {
    Floor(Floor),
    Ours(Controller),
}

impl Contestant {
    fn user(&self) -> User {
        match self {
            Self::Floor(_) => User::Floor,
            Self::Ours(_) => User::Controller,
        }
    }

    fn pause(&self) -> anyhow::Result<()> {
        match self {
            Self::Floor(floor) => floor.pause(),
            Self::Ours(controller) => controller.pause()?,
        }
        Ok(())
    }

    fn resume(&self) -> anyhow::Result<()> {
        match self {
            Self::Floor(floor) => floor.resume(),
            Self::Ours(controller) => controller.resume()?,
        }
        Ok(())
    }

    fn cpu(&self) -> anyhow::Result<Duration> {
        match self {
            Self::Floor(floor) => floor.cpu(),
            Self::Ours(controller) => Ok(controller.usage()?.cpu),
        }
    }

    fn begun(&self) -> anyhow::Result<Option<usize>> {
        match self {
            Self::Floor(_) => Ok(None),
            Self::Ours(controller) => controller.begun().map(Some),
        }
    }
}

/// A round with everything that it needs.
pub(crate) struct Round<'a> {
    pub(crate) seed: &'a Seed,
    pub(crate) shoots: &'a Shoots,
    pub(crate) observer: &'a Arc<Observer>,
    pub(crate) contestant: &'a Contestant,
}

/// What a phase asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BulkRequest {
    Create,
    Reconcile,
    Delete,
}

impl Round<'_> {
    /// All phases but the removal.
    pub(crate) async fn play(&self) -> anyhow::Result<Figures> {
        let new = self.all_at_once(BulkRequest::Create).await.context("new")?;
        let again_first = self.all_at_once(BulkRequest::Reconcile).await.context("again")?;
        let again = self.all_at_once(BulkRequest::Reconcile).await.context("again")?;
        let in_flight = self.in_flight().await.context("20 in flight")?;
        let usage = match self.contestant {
            Contestant::Floor(_) => None,
            Contestant::Ours(controller) => Some(controller.usage()?),
        };
        Ok(Figures {
            new,
            again_first,
            again,
            in_flight,
            deleted: None,
            rss_kib: usage.map(|usage| usage.rss_kib),
            peak_kib: usage.map(|usage| usage.peak_kib),
        })
    }

    /// Everything off.
    pub(crate) async fn delete(&self) -> anyhow::Result<Phase> {
        self.all_at_once(BulkRequest::Delete).await.context("deleted")
    }

    async fn all_at_once(&self, request: BulkRequest) -> anyhow::Result<Phase> {
        let namespaces = &self.shoots.namespaces;
        let before = Before::of(self)?;
        self.contestant.pause()?;
        self.observer.expect(namespaces);
        match request {
            BulkRequest::Create => self.shoots.create().await?,
            BulkRequest::Reconcile => self.shoots.request().await?,
            BulkRequest::Delete => self.shoots.delete().await?,
        }
        tokio::time::sleep(BREATH).await;
        let start = Instant::now();
        self.contestant.resume()?;
        let times = match request {
            BulkRequest::Delete => self.observer.gone(namespaces).await?,
            BulkRequest::Create | BulkRequest::Reconcile => self.observer.ready(namespaces).await?,
        };
        let took = times.iter().max().map(|last| last.saturating_duration_since(start)).unwrap_or_default();
        let cpu = self.contestant.cpu()?;
        tokio::time::sleep(TRAIL).await;
        let times: Vec<Duration> = times.iter().map(|at| at.saturating_duration_since(start)).collect();
        before.phase(self, &times, took, cpu)
    }

    /// One after the other, so many at a time.
    async fn in_flight(&self) -> anyhow::Result<Phase> {
        let (before, start) = (Before::of(self)?, Instant::now());
        let some = self.shoots.namespaces.iter().take(REQUESTS).cloned();
        let times: Vec<Duration> = stream::iter(some)
            .map(|namespace| async move {
                let one = std::slice::from_ref(&namespace);
                self.observer.expect(one);
                let asked = Instant::now();
                self.shoots.request_one(namespace.clone()).await?;
                let ready = self.observer.ready(one).await?;
                anyhow::Ok(ready.iter().map(|at| at.saturating_duration_since(asked)).max().unwrap_or_default())
            })
            .buffer_unordered(IN_FLIGHT)
            .try_collect()
            .await?;
        let (took, cpu) = (start.elapsed(), self.contestant.cpu()?);
        tokio::time::sleep(TRAIL).await;
        before.phase(self, &times, took, cpu)
    }
}

/// What there was before a phase.
struct Before {
    position: u64,
    cpu: Duration,
    begun: Option<usize>,
}

impl Before {
    fn of(round: &Round<'_>) -> anyhow::Result<Self> {
        let contestant = round.contestant;
        Ok(Self {
            position: calls::position(&round.seed.audit_log())?,
            cpu: contestant.cpu()?,
            begun: contestant.begun()?,
        })
    }

    fn phase(self, round: &Round<'_>, times: &[Duration], took: Duration, cpu: Duration) -> anyhow::Result<Phase> {
        let contestant = round.contestant;
        let mut milliseconds: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1000.0).collect();
        milliseconds.sort_by(f64::total_cmp);
        let begun = contestant.begun()?.zip(self.begun).map(|(now, before)| now - before);
        Ok(Phase {
            extensions: times.len(),
            seconds: took.as_secs_f64(),
            cpu_seconds: cpu.saturating_sub(self.cpu).as_secs_f64(),
            p50_ms: percentile(&milliseconds, 50),
            p99_ms: percentile(&milliseconds, 99),
            calls: calls::since(&round.seed.audit_log(), self.position, contestant.user())?,
            begun,
        })
    }
}
