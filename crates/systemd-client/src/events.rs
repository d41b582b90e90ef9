//! "Something changed: look again."

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::stream::{BoxStream, SelectAll, Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::error::SystemdError;
use crate::signals::JobRemoved;
use crate::systemd::{PROPERTIES_INTERFACE, Systemd, classify, proxy};

/// Events that wait to be taken. When it is full a new one is dropped: "look again" is pending anyway.
const PENDING: usize = 64;

/// A reason to look again. Only a hint: what holds is what a look shows.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A daemon-reload has ended. No property change is sent for what it changed.
    Reloaded,
    /// A job of one of the named units has ended.
    JobRemoved {
        /// Name with its suffix: `kubelet.service`.
        unit: String,
    },
    /// State properties of one of the named units changed.
    UnitChanged {
        /// Name with its suffix: `kubelet.service`.
        unit: String,
    },
    /// A unit was enabled, disabled, masked or linked.
    UnitFilesChanged,
    /// systemd itself came back, after a daemon-reexec.
    ManagerRestarted,
}

/// Stream of events; its end means that the bus connection is lost.
#[derive(Debug)]
pub struct Events {
    receiver: mpsc::Receiver<Event>,
    reader: JoinHandle<()>,
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.receiver.poll_recv(context)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// What a signal means here.
#[derive(Debug)]
enum Signal {
    Matters(Event),
    Unimportant,
    End,
}

impl Systemd {
    /// Events about these units and about systemd as a whole. Call [`Self::subscribe`] before. The signals are read in a task of their
    /// own, so that the caller may be slow.
    pub async fn events(&self, units: &[&str]) -> Result<Events, SystemdError> {
        let mut signals = self.manager_events(units).await?;
        for unit in units {
            signals.push(self.unit_events(unit).await?);
        }
        let (sender, receiver) = mpsc::channel(PENDING);
        let reader = tokio::spawn(async move {
            while let Some(signal) = signals.next().await {
                match signal {
                    // A full channel holds hints enough.
                    Signal::Matters(event) => drop(sender.try_send(event)),
                    Signal::Unimportant => {}
                    // The connection's end ends every stream at once, so the first end is the end of all.
                    Signal::End => break,
                }
            }
        });
        Ok(Events { receiver, reader })
    }

    async fn manager_events(&self, units: &[&str]) -> Result<SelectAll<BoxStream<'static, Signal>>, SystemdError> {
        let what = "opening the signals of systemd";
        let wanted: Vec<String> = units.iter().map(|unit| (*unit).to_owned()).collect();
        let jobs = self.manager_signals(what, "JobRemoved").await?.map(move |message| {
            let removed = JobRemoved::parse("events", &message).ok()?;
            let unit = wanted.contains(&removed.unit).then_some(removed.unit)?;
            Some(Event::JobRemoved { unit })
        });
        let reloads = self.manager_signals(what, "Reloading").await?.map(|message| {
            let begins: bool = message.body().deserialize().unwrap_or(false);
            (!begins).then_some(Event::Reloaded)
        });
        let files = self.manager_signals(what, "UnitFilesChanged").await?;
        let files = files.map(|_| Some(Event::UnitFilesChanged));
        let owner = self.manager.receive_owner_changed().await;
        let owner = owner.map_err(|error| classify(what, error))?;
        let owner = owner.map(|owner| owner.is_some().then_some(Event::ManagerRestarted));
        let mut all = SelectAll::new();
        all.push(with_end(jobs));
        all.push(with_end(reloads));
        all.push(with_end(files));
        all.push(with_end(owner));
        Ok(all)
    }

    async fn unit_events(&self, unit: &str) -> Result<BoxStream<'static, Signal>, SystemdError> {
        let what = format!("opening the signals of {unit}");
        let path = self.unit_path(unit).await?;
        let opened = async {
            let properties = proxy(&self.connection, path.as_str(), PROPERTIES_INTERFACE).await?;
            properties.receive_signal("PropertiesChanged").await
        };
        let signals = opened.await.map_err(|error| classify(&what, error))?;
        let unit = unit.to_owned();
        Ok(with_end(signals.map(move |_| Some(Event::UnitChanged { unit: unit.clone() }))))
    }
}

/// Marks the end of a stream, which would go unnoticed among the others.
fn with_end(stream: impl Stream<Item = Option<Event>> + Send + 'static) -> BoxStream<'static, Signal> {
    let signals = stream.map(|event| event.map_or(Signal::Unimportant, Signal::Matters));
    signals.chain(futures::stream::once(async { Signal::End })).boxed()
}
