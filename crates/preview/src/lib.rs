//! What controller and agent would say to a file, before anybody applies it.
//!
//! Nothing is judged here: each kind goes to the function that decides in the controller or in the agent. [`judge`] reads texts and no
//! files; [`CheckArgs::run`] is the command around it, for every program that has it as a subcommand.

mod command;
mod daemon;
mod documents;
mod image_overrides;
mod kind;
mod kubelet;
pub mod limits;
mod node_files;
mod provider_config;
mod render;
mod report;
mod shoot;
mod values;

pub use command::{CheckArgs, OutputFormat};
pub use documents::{base, judge, judge_node};
pub use kind::Kind;
pub use node_files::NodeFiles;
pub use provider_config::Base;
pub use report::{Finding, Judged, Report, Skipped, Status, Unreadable};
