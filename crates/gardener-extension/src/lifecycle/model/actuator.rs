//! An actuator that does nothing, and keeps a record of what it was asked to do.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;

use super::{ActuatorOutcome, FINALIZER, Shared, finalizers};
use crate::{Actuator, ActuatorError, Context, Operation, Outcome, ProviderStatus};

#[async_trait]
impl Actuator for Shared {
    async fn reconcile(&self, context: &Context) -> Result<Outcome, ActuatorError> {
        self.call(Operation::Reconcile, context)
    }

    async fn delete(&self, context: &Context) -> Result<Outcome, ActuatorError> {
        self.call(Operation::Delete, context)
    }

    async fn force_delete(&self, context: &Context) -> Result<Outcome, ActuatorError> {
        self.call(Operation::ForceDelete, context)
    }

    async fn migrate(&self, context: &Context) -> Result<Outcome, ActuatorError> {
        self.call(Operation::Migrate, context)
    }

    async fn restore(&self, context: &Context) -> Result<Outcome, ActuatorError> {
        self.call(Operation::Restore, context)
    }
}

impl Shared {
    fn call(&self, operation: Operation, context: &Context) -> Result<Outcome, ActuatorError> {
        let mut seed = self.seed();
        let began = seed.tick();
        let last = context.extension.last_operation().map(|last| (last.type_, last.state));
        let migrated =
            last == Some((gardener_api::LastOperationType::Migrate, gardener_api::LastOperationState::Succeeded));
        if migrated && !matches!(operation, Operation::Migrate | Operation::Restore) {
            seed.violations.push(format!("{operation:?} after the Extension went to another seed"));
        }
        let migrating = context.shoot.as_deref().is_some_and(gardener_api::Shoot::is_migrating);
        if migrating && operation == Operation::Reconcile {
            seed.violations.push("it installs while the Shoot goes to another seed".to_owned());
        }
        let ours = finalizers(&json!(context.extension.as_ref())).iter().any(|found| found == FINALIZER);
        if !ours && operation != Operation::Migrate {
            seed.violations.push(format!("{operation:?} without a finalizer"));
        }
        match seed.results.pop_front().unwrap_or(ActuatorOutcome::Done) {
            ActuatorOutcome::Done => {
                seed.done = Some((operation, began));
                // Another one each time: it must be written together with the end of the operation.
                seed.provider_status = matches!(operation, Operation::Reconcile | Operation::Restore)
                    .then(|| json!({ "reconciled": began }));
                let value = seed.provider_status.clone();
                Ok(Outcome::done()
                    .with_provider_status(value.map(|value| ProviderStatus { value, events: Vec::new() })))
            }
            ActuatorOutcome::Pending => Ok(Outcome::pending("m", Duration::from_secs(1))),
            ActuatorOutcome::Transient => Err(ActuatorError::transient("Reason", "m")),
            ActuatorOutcome::Configuration => Err(ActuatorError::configuration("Reason", "m")),
        }
    }
}
