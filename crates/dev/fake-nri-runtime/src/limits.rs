//! Limits on what a plugin may make the runtime hold, and on what a test may.

/// Bytes of one ttrpc message without its header (github.com/containerd/ttrpc v1.2.7, channel.go).
pub const MESSAGE_BYTES: usize = 4 << 20;
/// Bytes of pods and containers in one Synchronize request; what is more goes into further ones.
pub const SYNCHRONIZE_BYTES: usize = MESSAGE_BYTES - 64 * 1024;
/// Requests of one plugin that wait for their answer; nri-plugins have one at a time.
pub const WAITING_REQUESTS: usize = 16;
/// Plugins at a time.
pub const PLUGINS: usize = 16;
/// Pods at a time, ten times what a node has.
pub const PODS: usize = 2_500;
/// Containers at a time.
pub const CONTAINERS: usize = 10_000;
/// Records that are kept; older ones go.
pub const RECORDS: usize = 100_000;
