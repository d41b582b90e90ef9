//! Bounds on what callers may make this process hold and do.

use std::time::Duration;

/// Bytes of an AdmissionReview. An update carries two Shoots; an API server takes objects of 1.5 MiB (etcd) and requests of 3 MiB.
pub(crate) const REVIEW_BYTES: usize = 8 << 20;
/// A review of up to so many bytes is small: it takes a place among many. Nearly every Shoot is.
pub(crate) const SMALL_REVIEW_BYTES: usize = 256 << 10;
/// Small reviews that are read at a time: 8 MiB.
pub(crate) const SMALL_REVIEWS: usize = 32;
/// Others that are read at a time: 32 MiB.
pub(crate) const LARGE_REVIEWS: usize = 4;
/// Reviews that are judged at a time, each on a thread of its own.
pub(crate) const JUDGED: usize = 2;
/// Longest time for a TLS handshake and a request's head.
pub(crate) const HEAD_DEADLINE: Duration = Duration::from_secs(3);
/// Longest time for a body, once there is a place for it.
pub(crate) const BODY_DEADLINE: Duration = Duration::from_secs(4);
/// Longest time for everything: API servers wait for [`crate::registration::TIMEOUT_SECONDS`].
pub(crate) const CONNECTION_DEADLINE: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
pub(crate) const HEAD_BYTES: usize = 16 << 10;
/// Longest call of an API server.
pub(crate) const CALL_DEADLINE: Duration = Duration::from_secs(10);
/// Bytes of a PEM text in the Secret that are read: ours have less than 1 KiB.
pub(crate) const PEM_BYTES: usize = 16 << 10;
