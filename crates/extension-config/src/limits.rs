//! Limits on what others write: how much of it is read, how much work it may make, and how much is said about it.
//!
//! Each is far above what anybody needs and far below what hurts a controller that serves many shoots, or an agent with 128 MiB.
//! `docs/configuration.md` lists them; an error that is due to one names the field, its size and what is allowed.

/// Bytes of one configuration, as written and in its canonical form (in which anchors are written out).
pub const CONFIGURATION_BYTES: usize = 64 * 1024;
/// Bytes of a whole providerConfig as JSON, and of the operator's base configuration.
pub const PROVIDER_CONFIG_BYTES: usize = 256 * 1024;
/// Bytes of all configurations of a shoot in canonical form: they share one Secret, for which Kubernetes allows 1 MiB.
pub const EFFECTIVE_BYTES: usize = 512 * 1024;
/// Configurations of one shoot; one for each of a thousand nodes is possible while each has 250 bytes.
pub const CONFIGURATIONS: usize = 1024;
/// Bytes of a key or name: Kubernetes' own limit for names. In canonical form, so that Go's YAML library (1024) can read it as a key.
pub const NAME_BYTES: usize = 253;
/// Worker pools in a selection, and worker pools of a shoot that can be left alone.
pub const WORKER_POOLS: usize = 256;
/// Worker pools that are named of those that are left alone.
pub const WORKER_POOLS_TOLD: usize = 50;
/// Characters that are shown of a value in the Shoot.
pub const VALUE_CHARACTERS: usize = 63;
/// Labels in a selection.
pub const MATCH_LABELS: usize = 64;
/// Bytes of the extra options.
pub const EXTRA_OPTIONS_BYTES: usize = 4096;
/// The first CPU number that no machine has.
pub const CPUS: u32 = 8192;
/// Ranges in a list of CPUs: as many as [`CPUS`] can make that do not touch.
pub const CPU_RANGES: usize = 4096;
/// Partitions of caches and memory bandwidth: four times as many classes as any machine has.
pub const RDT_PARTITIONS: usize = 64;
/// Values that anchors of one configuration may stand for, beyond those that are written.
pub const REPEATED_VALUES: usize = 4 * 1024;
/// Levels of a configuration.
pub const DEPTH: usize = 64;
/// Work on all configurations of one shoot: a byte read, a value looked at, a range of CPUs. A text of any size that is within the other
/// limits takes a few steps for each of its bytes.
pub const STEPS: u64 = 4 * 1024 * 1024;
/// Entries of a section whose entries a running daemon keeps that are remembered one by one; of a longer one, that it is the same.
pub const KEPT_ENTRIES: usize = 1000;
/// Findings that are reported.
pub const FINDINGS: usize = 20;
/// Warnings that are reported.
pub const WARNINGS: usize = 10;
/// Characters of a path in an error or a warning.
pub const PATH_CHARACTERS: usize = 200;
/// Characters of one message.
pub const MESSAGE_CHARACTERS: usize = 600;
/// Bytes of all that is said about one configuration problem.
pub const ERROR_BYTES: usize = 4096;

/// The text, or its beginning and an ellipsis.
#[must_use]
pub(crate) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
