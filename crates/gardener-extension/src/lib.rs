//! The generic engine of a Gardener Extension controller.
//!
//! Level L3. It watches the Extensions of one type, decides what is asked for ([`operation`], pure), calls the
//! [`Actuator`], and keeps status, finalizer, annotation and health condition as gardenlet expects them. Nothing in here
//! knows what the extension does. Secrets and configuration texts never reach a log.

pub mod actuator;
mod backoff;
mod cache;
pub mod call;
pub mod config;
pub mod controller;
pub mod error;
pub mod events;
#[cfg(test)]
mod golden;
mod health;
mod key;
mod lifecycle;
pub mod managed_resources;
pub mod metrics;
pub mod observer;
mod observing;
pub mod operation;
mod queue;
mod reason;
pub mod retry;
pub mod shoot_access;
mod status;
pub mod text;
mod transition;
mod watch;
mod writers;

pub use actuator::{Actuator, ActuatorError, Context, ErrorClass, Outcome, Progress, ProviderStatus};
pub use config::{ControllerConfig, HealthConfig, ObservationConfig};
pub use controller::{Controller, ControllerHandle};
pub use error::Error;
pub use events::{EventSink, Notice};
pub use metrics::Metrics;
pub use observer::{Observation, Observer, Subject, Unseen};
pub use operation::Operation;
pub use reason::OF_EVENTS as EVENT_REASONS;
