//! What a program's file says about the machine that can run it.

use crate::platform::Platform;

/// The platform of a 64 bit little-endian ELF file; `None` for anything else and for other machines.
#[must_use]
pub fn platform(elf: &[u8]) -> Option<Platform> {
    const X86_64: u16 = 62;
    const AARCH64: u16 = 183;
    match u16::from_le_bytes(header(elf)?.get(18..20)?.try_into().ok()?) {
        X86_64 => Some(Platform::LinuxAmd64),
        AARCH64 => Some(Platform::LinuxArm64),
        _ => None,
    }
}

/// Whether an ELF file asks for a dynamic loader (a program header of type `PT_INTERP`); `None` when it is no 64 bit
/// little-endian ELF file. An image without a file system can only start one that does not.
#[must_use]
pub fn needs_loader(elf: &[u8]) -> Option<bool> {
    const PT_INTERP: u32 = 3;
    let elf = header(elf)?;
    let offset = usize::try_from(u64::from_le_bytes(elf.get(32..40)?.try_into().ok()?)).ok()?;
    let size = usize::from(u16::from_le_bytes(elf.get(54..56)?.try_into().ok()?));
    let count = usize::from(u16::from_le_bytes(elf.get(56..58)?.try_into().ok()?));
    for index in 0..count {
        let at = offset.checked_add(index.checked_mul(size)?)?;
        let kind = u32::from_le_bytes(elf.get(at..at.checked_add(4)?)?.try_into().ok()?);
        if kind == PT_INTERP {
            return Some(true);
        }
    }
    Some(false)
}

/// The file itself, when it is one whose header we know.
fn header(elf: &[u8]) -> Option<&[u8]> {
    elf.starts_with(&[0x7f, b'E', b'L', b'F', 2, 1]).then_some(elf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_program_needs_a_loader() {
        // This test's own binary is linked dynamically.
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(needs_loader(&own), Some(true));
        assert_eq!(platform(&own), Platform::of_this_machine());
        assert_eq!(needs_loader(b"#!/bin/sh\n"), None);
        assert_eq!(needs_loader(&own[..40]), None);
    }

    #[test]
    fn only_the_machines_of_our_platforms_are_known() {
        let elf = |machine: u8| [&[0x7f, b'E', b'L', b'F', 2, 1][..], &[0; 12], &[machine, 0]].concat();
        assert_eq!(platform(&elf(62)), Some(Platform::LinuxAmd64));
        assert_eq!(platform(&elf(183)), Some(Platform::LinuxArm64));
        assert_eq!(platform(&elf(40)), None, "a 32 bit ARM");
        assert_eq!(platform(&elf(62)[..19]), None);
        assert_eq!(platform(b"#!/bin/sh and a long enough text"), None);
    }
}
