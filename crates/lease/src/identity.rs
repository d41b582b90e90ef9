//! Who we are in a lease.

use std::hash::{BuildHasher as _, RandomState};

/// `<hostname>_<uuid>`: the host name shows people where the leader runs; the random part distinguishes two processes that share
/// it (a restarted pod). Random enough for that, and for nothing else.
#[must_use]
pub fn identity() -> String {
    format!("{}_{}", hostname(), uuid(random(), random()))
}

fn hostname() -> String {
    // In a container the kernel's name is the pod's.
    let kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = kernel.trim();
    if name.is_empty() { "unknown".to_owned() } else { name.to_owned() }
}

fn random() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

/// A version 4 UUID of 128 random bits.
fn uuid(high: u64, low: u64) -> String {
    let high = (high & !0xf000) | 0x4000;
    let low = (low & !(0b11 << 62)) | (0b10 << 62);
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_has_version_and_variant_bits() {
        assert_eq!(uuid(0, 0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(uuid(u64::MAX, u64::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }

    #[test]
    fn two_identities_differ() {
        assert_ne!(identity(), identity());
        assert!(identity().contains('_'));
    }
}
