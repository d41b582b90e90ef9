//! What the answers of all plugins to one event come to (github.com/containerd/nri v0.12.2, pkg/adaptation/result.go and
//! pkg/api/owners.go): each field of each container is one plugin's.

use std::collections::{BTreeMap, HashMap};

use crate::api;
use crate::error::Error;
use crate::field::{Field, fields};
use crate::objects::{Cpu, Mount};

/// Collected so far.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// The container that the event creates.
    creating: Option<String>,
    owners: HashMap<(String, Field), String>,
    pub(crate) adjust: Cpu,
    pub(crate) mounts: Vec<Mount>,
    /// By container.
    pub(crate) updates: BTreeMap<String, Cpu>,
}

impl Outcome {
    pub(crate) fn of_creation(container: &str) -> Self {
        Self { creating: Some(container.to_owned()), ..Self::default() }
    }

    /// What a plugin makes of the new container.
    pub(crate) fn adjust(&mut self, adjustment: api::ContainerAdjustment, plugin: &str) -> Result<(), Error> {
        let container = self.creating.clone().unwrap_or_default();
        for mount in adjustment.mounts {
            self.claim(&container, Field::Mount(mount.destination.clone()), plugin)?;
            self.mounts.push(Mount { destination: mount.destination, source: mount.source });
        }
        let cpu = Cpu::of(adjustment.linux.and_then(|linux| linux.resources));
        for field in fields(&cpu) {
            self.claim(&container, field, plugin)?;
        }
        self.adjust.overlay(&cpu);
        Ok(())
    }

    /// What a plugin makes of other containers.
    pub(crate) fn update(&mut self, updates: Vec<api::ContainerUpdate>, plugin: &str) -> Result<(), Error> {
        for update in updates {
            let container = update.container_id;
            if self.creating.as_ref() == Some(&container) {
                return Err(Error::UpdateDuringCreation { plugin: plugin.to_owned(), container });
            }
            let cpu = Cpu::of(update.linux.and_then(|linux| linux.resources));
            let claimed = fields(&cpu).try_for_each(|field| self.claim(&container, field, plugin));
            match claimed {
                Ok(()) => self.updates.entry(container).or_default().overlay(&cpu),
                Err(_conflict) if update.ignore_failure => {}
                Err(conflict) => return Err(conflict),
            }
        }
        Ok(())
    }

    fn claim(&mut self, container: &str, field: Field, plugin: &str) -> Result<(), Error> {
        let owner = self.owners.entry((container.to_owned(), field.clone())).or_insert_with(|| plugin.to_owned());
        if owner == plugin {
            return Ok(());
        }
        Err(Error::Conflict { container: container.to_owned(), field, first: owner.clone(), second: plugin.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(cpu: &Cpu) -> api::LinuxResources {
        api::LinuxResources { memory: None, cpu: Some(cpu.to_api()) }
    }

    fn adjustment(cpu: &Cpu) -> api::ContainerAdjustment {
        let linux = Some(api::LinuxContainerAdjustment { resources: Some(resources(cpu)) });
        api::ContainerAdjustment { mounts: Vec::new(), linux }
    }

    fn update(container: &str, cpu: &Cpu, ignore_failure: bool) -> Vec<api::ContainerUpdate> {
        let linux = Some(api::LinuxContainerUpdate { resources: Some(resources(cpu)) });
        vec![api::ContainerUpdate { container_id: container.to_owned(), linux, ignore_failure }]
    }

    fn cpus(list: &str) -> Cpu {
        Cpu { cpus: list.to_owned(), ..Cpu::default() }
    }

    #[test]
    fn fields_of_two_plugins_are_joined() {
        let mut outcome = Outcome::of_creation("new");
        outcome.adjust(adjustment(&cpus("1")), "10-a").unwrap();
        outcome.adjust(adjustment(&Cpu { shares: Some(7), ..Cpu::default() }), "20-b").unwrap();
        assert_eq!(outcome.adjust, Cpu { shares: Some(7), ..cpus("1") });
    }

    #[test]
    fn a_field_of_two_plugins_is_a_conflict() {
        let mut outcome = Outcome::of_creation("new");
        outcome.adjust(adjustment(&cpus("1")), "10-a").unwrap();
        let error = outcome.adjust(adjustment(&cpus("1")), "20-b").unwrap_err();
        assert_eq!(error.to_string(), r#"plugins 10-a and 20-b both set cpuset.cpus of container "new""#);
        let mount = api::Mount { destination: "/x".to_owned(), source: "/y".to_owned() };
        let mounted = api::ContainerAdjustment { mounts: vec![mount], linux: None };
        outcome.adjust(mounted.clone(), "10-a").unwrap();
        assert!(outcome.adjust(mounted, "20-b").unwrap_err().to_string().contains("mount /x"));
    }

    #[test]
    fn updates_conflict_unless_they_may_fail() {
        let mut outcome = Outcome::of_creation("new");
        outcome.update(update("old", &cpus("1"), false), "10-a").unwrap();
        outcome.update(update("old", &cpus("2"), true), "20-b").unwrap();
        assert_eq!(outcome.updates["old"], cpus("1"));
        assert!(matches!(outcome.update(update("old", &cpus("2"), false), "20-b"), Err(Error::Conflict { .. })));
        outcome.update(update("old", &cpus("3"), false), "10-a").unwrap();
        assert_eq!(outcome.updates["old"], cpus("3"));
    }

    #[test]
    fn the_new_container_cannot_be_updated() {
        let mut outcome = Outcome::of_creation("new");
        let refused = outcome.update(update("new", &cpus("1"), true), "10-a");
        assert!(matches!(refused, Err(Error::UpdateDuringCreation { .. })));
        Outcome::default().update(update("new", &cpus("1"), false), "10-a").unwrap();
    }
}
