//! Deterministic OCI images and Helm chart archives, without a container engine.
//!
//! Everything is a function of its input bytes: entries are sorted, owners are 0, times are the epoch, and gzip
//! carries neither name nor time. Two builds of equal inputs have equal digests.
//!
//! | module | from → to |
//! |---|---|
//! | [`tree`] | paths and contents → tar |
//! | [`definition`] | `deploy/images/*.yaml` → what an image is made of |
//! | [`image`] | trees and a configuration → blobs, manifest, index |
//! | [`layout`] | an image → OCI layout, `oci-archive`, `docker-archive` |
//! | [`toolchain`] | which platforms can be built here |
//! | [`chart`] | a chart's folder → `.tgz` |
//! | [`payload`] | the daemon's release archive: a file, a download, or built from source |
//! | [`sbom`] | crates and Go modules of an image → its software bill of materials |
//! | [`registry`] | an image or a chart → a registry |

pub mod binaries;
pub mod chart;
pub mod definition;
pub mod digest;
mod error;
pub mod gzip;
pub mod image;
pub mod layout;
pub mod payload;
mod platform;
mod program;
pub mod reference;
pub mod registry;
pub mod sbom;
pub mod toolchain;
pub mod tree;

pub use digest::Digest;
pub use error::Error;
