//! Benchmarks. Figures of one machine say little about another: what counts is the ratio of two figures of one run.
//!
//! [`ControllerArgs`] is our program beside a bare client that issues the writes that cannot be left out, on a real etcd and kube-apiserver.
//! Nothing of this crate ships.

#[cfg(test)]
mod budget;
mod calls;
mod controller;
mod figures;
mod floor;
mod gardenlet;
mod kinds;
mod observer;
mod plot;
mod process;
mod relay;
mod resource_manager;
mod round;
mod seed;
mod shoot_api;
mod table;
mod tls;

pub use controller::ControllerArgs;
pub use plot::PlotArgs;
