//! From a configuration of cri-resmgr v0.9.2 to policies of nri-plugins v0.14.0: which policy to write, which labels and annotations to
//! add, and, for each key of the old configuration, whether it means the same, means something else, is lost, or needs a decision.
//!
//! Pure and total: [`convert`] reads no files and always has an answer for what is within the [`limits`]. Every leaf key of the input stands
//! exactly once in the [`Report`]; a key that nothing is known of needs a decision. A policy is only given out when [`nri_policy::check`]
//! takes it.
//!
//! [`read::read`] makes an [`Input`] of texts, [`render`] texts of a [`Conversion`]; [`ConvertArgs::run`] is the command around them, for every program that has it
//! as a subcommand.
//!
//! [`resolve`] is what controller, webhook and previews go by where a shoot goes over from one backend to the other.
//!
//! What depends on the node is not checked, save how many CPUs it has ([`Input::node_cpus`]).

mod adjustments;
mod annotations;
mod balloon_types;
mod balloons;
mod command;
mod controllers;
mod convert;
mod cpu_classes;
mod document;
mod input;
mod key;
pub mod limits;
mod migration;
mod observe;
mod path;
mod rdt;
pub mod read;
pub mod render;
mod report;
mod resources;
mod rule;
mod section;
mod target;
mod topology_aware;

pub use command::{ConvertArgs, ConvertOptions, Failed};
pub use convert::{Conversion, Label, convert};
pub use input::{Input, TooMuch};
pub use migration::resolve;
pub use report::{Entry, Note, Report, Verdict};
pub use rule::{Grade, Rule};
