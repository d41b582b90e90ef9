//! What happens to pods and containers. Each is one event in the queue; a plugin that is too slow or gone is dropped in it.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::{FakeRuntime, Shared};
use crate::api::{self, Event};
use crate::error::Error;
use crate::limits;
use crate::link::CallError;
use crate::objects::{Container, Cpu, NewContainer, Pod, State};
use crate::outcome::Outcome;
use crate::plugin::Plugin;
use crate::record::Record;

impl FakeRuntime {
    /// Makes a pod and notifies plugins of it.
    ///
    /// # Errors
    /// When its id is taken or a plugin refuses it; then there is no such pod.
    pub async fn run_pod(&self, pod: Pod) -> Result<(), Error> {
        let _turn = self.shared.queue.lock().await;
        {
            let held = self.shared.held();
            if held.pods.contains_key(&pod.id) {
                return Err(Error::Exists { what: "pod", id: pod.id });
            }
            if held.pods.len() >= limits::PODS {
                return Err(Error::Full { what: "pod", limit: limits::PODS });
            }
        }
        self.shared.notify(Event::RunPod, &pod, None).await?;
        self.shared.held().pods.insert(pod.id.clone(), pod);
        Ok(())
    }

    /// Makes a container with what plugins make of it, and updates others as they want.
    ///
    /// # Errors
    /// When its pod is unknown, its id is taken, a plugin refuses it, or two plugins set one field. Then there is no such
    /// container, and plugins are notified of its stop and removal (containerd v1.7.34, pkg/cri/nri, UndoCreateContainer).
    pub async fn create_container(&self, asked: NewContainer) -> Result<Container, Error> {
        let _turn = self.shared.queue.lock().await;
        let pod = {
            let held = self.shared.held();
            if held.containers.contains_key(&asked.id) {
                return Err(Error::Exists { what: "container", id: asked.id });
            }
            if held.containers.len() >= limits::CONTAINERS {
                return Err(Error::Full { what: "container", limit: limits::CONTAINERS });
            }
            held.pod(&asked.pod)?.clone()
        };
        #[expect(clippy::disallowed_methods, reason = "the runtime notifies plugins when a container was made")]
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut container = Container {
            effective: asked.cpu.clone(),
            asked,
            created_at: i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
            ..Container::default()
        };
        let outcome = match self.shared.ask_for_adjustment(&pod, &container).await {
            Ok(outcome) => outcome,
            Err(error) => {
                self.shared.undo(&pod, &container).await;
                return Err(error);
            }
        };
        container.effective.overlay(&outcome.adjust);
        container.mounts = outcome.mounts;
        let mut held = self.shared.held();
        held.containers.insert(container.asked.id.clone(), container.clone());
        held.update(&outcome.updates);
        Ok(container)
    }

    /// Starts a container.
    ///
    /// # Errors
    /// When it is unknown or a plugin refuses it; then it does not run.
    pub async fn start_container(&self, id: &str) -> Result<(), Error> {
        let _turn = self.shared.queue.lock().await;
        let (pod, container) = self.shared.find(id)?;
        self.shared.notify(Event::StartContainer, &pod, Some(&container)).await?;
        self.shared.set_state(id, State::Running);
        Ok(())
    }

    /// kubelet's update of a container's CPU settings: its values first, then what plugins set.
    ///
    /// # Errors
    /// When it is unknown, a plugin refuses it, or two plugins set one field; then nothing changes.
    pub async fn update_container(&self, id: &str, cpu: &Cpu) -> Result<Container, Error> {
        let _turn = self.shared.queue.lock().await;
        let (pod, container) = self.shared.find(id)?;
        let request = api::UpdateContainerRequest {
            pod: Some(pod.to_api()),
            container: Some(container.to_api(false)),
            linux_resources: Some(api::LinuxResources { memory: None, cpu: Some(cpu.to_api()) }),
        };
        let mut outcome = Outcome::default();
        for plugin in self.shared.asked(Event::UpdateContainer) {
            let answered = self
                .shared
                .ask::<api::UpdatesResponse>(&plugin, "UpdateContainer", &request, |answer| answer.update.len());
            if let Some(answer) = answered.await? {
                outcome.update(answer.update, &plugin.name)?;
            }
        }
        let mut held = self.shared.held();
        if let Some(container) = held.containers.get_mut(id) {
            container.effective.overlay(cpu);
        }
        held.update(&outcome.updates);
        held.container(id).cloned()
    }

    /// Stops a container. A plugin cannot prevent that; what it says goes to the records.
    ///
    /// # Errors
    /// When it is unknown, or two plugins set one field of another one; it is stopped then, too.
    pub async fn stop_container(&self, id: &str) -> Result<(), Error> {
        let _turn = self.shared.queue.lock().await;
        let (pod, container) = self.shared.find(id)?;
        self.shared.set_state(id, State::Stopped);
        let outcome = self.shared.tell_stop(&pod, &container).await?;
        self.shared.held().update(&outcome.updates);
        Ok(())
    }

    /// Removes a container. A plugin cannot prevent that; what it says goes to the records.
    ///
    /// # Errors
    /// When it is unknown.
    pub async fn remove_container(&self, id: &str) -> Result<(), Error> {
        let _turn = self.shared.queue.lock().await;
        let (pod, container) = self.shared.find(id)?;
        self.shared.held().containers.remove(id);
        // In the records.
        let _refused = self.shared.notify(Event::RemoveContainer, &pod, Some(&container)).await;
        Ok(())
    }

    /// Stops and removes a pod that has no containers any more, or whose containers vanish with it.
    ///
    /// # Errors
    /// When it is unknown.
    pub async fn remove_pod(&self, id: &str) -> Result<(), Error> {
        let _turn = self.shared.queue.lock().await;
        let pod = {
            let mut held = self.shared.held();
            let pod = held.pod(id)?.clone();
            held.pods.remove(id);
            held.containers.retain(|_, container| container.asked.pod != id);
            pod
        };
        for event in [Event::StopPod, Event::RemovePod] {
            // In the records.
            let _refused = self.shared.notify(event, &pod, None).await;
        }
        Ok(())
    }
}

impl Shared {
    fn find(&self, id: &str) -> Result<(Pod, Container), Error> {
        let held = self.held();
        let container = held.container(id)?;
        Ok((held.pod(&container.asked.pod)?.clone(), container.clone()))
    }

    fn set_state(&self, id: &str, state: State) {
        if let Some(container) = self.held().containers.get_mut(id) {
            container.state = state;
        }
    }

    fn asked(&self, event: Event) -> Vec<Arc<Plugin>> {
        self.held().plugins.iter().filter(|plugin| plugin.wants(event)).cloned().collect()
    }

    /// One plugin's answer; none when it is too slow or gone, and is dropped.
    async fn ask<A: prost::Message + Default>(
        &self,
        plugin: &Arc<Plugin>,
        method: &'static str,
        request: &impl prost::Message,
        updates: impl Fn(&A) -> usize,
    ) -> Result<Option<A>, Error> {
        // An event's name is in the request; the call is the same for all of them.
        let call = match method {
            "CreateContainer" | "UpdateContainer" | "StopContainer" => method,
            _ => "StateChange",
        };
        let asked = Instant::now();
        match plugin.link.call::<A>(call, request, self.timeouts.request).await {
            Ok(answer) => {
                let (plugin, updates) = (plugin.name.clone(), updates(&answer));
                self.record(Record::Answered { plugin, method, updates, took: asked.elapsed() });
                Ok(Some(answer))
            }
            Err(CallError::Refused { message, .. }) => {
                let plugin = plugin.name.clone();
                self.record(Record::Refused { plugin: plugin.clone(), method, message: message.clone() });
                Err(Error::Refused { plugin, method, message })
            }
            Err(error) => {
                self.drop_plugin(plugin, &format!("{method}: {error}")).await;
                Ok(None)
            }
        }
    }

    /// Notifies plugins of an event that they answer with nothing. They are called as by NRI up to v0.11; later ones call
    /// newer plugins by a method for each event, and fall back to this for the others.
    async fn notify(&self, event: Event, pod: &Pod, container: Option<&Container>) -> Result<(), Error> {
        let method = match event {
            Event::RunPod => "RunPodSandbox",
            Event::StopPod => "StopPodSandbox",
            Event::RemovePod => "RemovePodSandbox",
            Event::StartContainer => "StartContainer",
            Event::RemoveContainer => "RemoveContainer",
            Event::CreateContainer | Event::UpdateContainer | Event::StopContainer => "StateChange",
        };
        let request = api::StateChangeEvent {
            event: event as i32,
            pod: Some(pod.to_api()),
            container: container.map(|container| container.to_api(false)),
        };
        for plugin in self.asked(event) {
            self.ask::<api::Empty>(&plugin, method, &request, |_| 0).await?;
        }
        Ok(())
    }

    async fn ask_for_adjustment(&self, pod: &Pod, container: &Container) -> Result<Outcome, Error> {
        let request = api::ContainerRequest { pod: Some(pod.to_api()), container: Some(container.to_api(true)) };
        let mut outcome = Outcome::of_creation(&container.asked.id);
        for plugin in self.asked(Event::CreateContainer) {
            let answered = self.ask::<api::CreateContainerResponse>(&plugin, "CreateContainer", &request, |answer| {
                answer.update.len()
            });
            if let Some(answer) = answered.await? {
                outcome.adjust(answer.adjust.unwrap_or_default(), &plugin.name)?;
                outcome.update(answer.update, &plugin.name)?;
            }
        }
        Ok(outcome)
    }

    /// Notifies plugins that a container is at its end. Who answers with an error is left out.
    async fn tell_stop(&self, pod: &Pod, container: &Container) -> Result<Outcome, Error> {
        let request = api::ContainerRequest { pod: Some(pod.to_api()), container: Some(container.to_api(false)) };
        let mut outcome = Outcome::default();
        for plugin in self.asked(Event::StopContainer) {
            let answered =
                self.ask::<api::UpdatesResponse>(&plugin, "StopContainer", &request, |answer| answer.update.len());
            if let Ok(Some(answer)) = answered.await {
                outcome.update(answer.update, &plugin.name)?;
            }
        }
        Ok(outcome)
    }

    /// Notifies plugins that a container did not come to be.
    async fn undo(&self, pod: &Pod, container: &Container) {
        if let Ok(outcome) = self.tell_stop(pod, container).await {
            self.held().update(&outcome.updates);
        }
        // In the records.
        let _refused = self.notify(Event::RemoveContainer, pod, Some(container)).await;
    }
}
