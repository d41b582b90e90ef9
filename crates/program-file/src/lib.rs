//! What a program's file says about the machine that can run it: 64-bit little-endian ELF, the only kind that our nodes have.

use std::fs::File;

use object::LittleEndian;
use object::elf::{EM_AARCH64, EM_X86_64, FileHeader64, PT_INTERP};
use object::read::elf::{FileHeader as _, ProgramHeader as _};
use object::read::{ReadCache, ReadRef};

/// A program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The machine that it is for, where that is one that we know.
    pub machine: Option<Machine>,
    /// It asks for a dynamic loader (a program header of type `PT_INTERP`). An image without a file system can only start one that does not.
    pub needs_loader: bool,
    /// The newest of the versions of glibc that it asks for (`GLIBC_2.34`); `None` when it asks for none.
    pub newest_glibc: Option<String>,
}

/// A machine that we have images for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// `x86_64`, Go's `amd64`.
    X86_64,
    /// `aarch64`, Go's `arm64`.
    Aarch64,
}

impl Machine {
    /// Rust's name of it ([`std::env::consts::ARCH`]).
    #[must_use]
    pub fn rust_name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }
}

impl Program {
    /// Reads a program that is in memory; `None` when it is no 64-bit little-endian ELF file, or a damaged one.
    #[must_use]
    pub fn of_bytes(content: &[u8]) -> Option<Self> {
        read(content)
    }

    /// Reads the headers of a file; `None` when it is no 64-bit little-endian ELF file, or a damaged one.
    #[must_use]
    pub fn of_file(file: File) -> Option<Self> {
        read(&ReadCache::new(file))
    }
}

fn read<'data>(data: impl ReadRef<'data>) -> Option<Program> {
    let header = FileHeader64::<LittleEndian>::parse(data).ok()?;
    let endian = header.endian().ok()?;
    let machine = match header.e_machine(endian) {
        EM_X86_64 => Some(Machine::X86_64),
        EM_AARCH64 => Some(Machine::Aarch64),
        _ => None,
    };
    let programs = header.program_headers(endian, data).ok()?;
    let needs_loader = programs.iter().any(|program| program.p_type(endian) == PT_INTERP);
    Some(Program { machine, needs_loader, newest_glibc: newest_glibc(header, endian, data) })
}

/// The newest version of glibc; `None` also for a program without sections, which are not needed to run it.
fn newest_glibc<'data>(
    header: &FileHeader64<LittleEndian>,
    endian: LittleEndian,
    data: impl ReadRef<'data>,
) -> Option<String> {
    let sections = header.sections(endian, data).ok()?;
    let (mut libraries, link) = sections.gnu_verneed(endian, data).ok()??;
    let strings = sections.strings(endian, data, link).ok()?;
    let mut newest: Option<(Vec<u32>, String)> = None;
    while let Ok(Some((_, mut versions))) = libraries.next() {
        while let Ok(Some(version)) = versions.next() {
            let Some(name) = version.name(endian, strings).ok().and_then(|name| std::str::from_utf8(name).ok()) else {
                continue;
            };
            let Some(number) = name.strip_prefix("GLIBC_") else { continue };
            let Ok(number) = number.split('.').map(str::parse).collect::<Result<Vec<u32>, _>>() else { continue };
            newest = newest.max(Some((number, name.to_owned())));
        }
    }
    newest.map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program without any segment or section.
    fn elf(machine: u8) -> [u8; 64] {
        let mut elf = [0; 64];
        elf[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1]);
        (elf[18], elf[52], elf[54], elf[58]) = (machine, 64, 56, 64);
        elf
    }

    #[test]
    fn a_dynamic_program_needs_a_loader_and_a_glibc() {
        // This test's own binary is linked dynamically.
        let path = std::env::current_exe().unwrap();
        let own = Program::of_file(File::open(&path).unwrap()).unwrap();
        assert_eq!(own.machine.map(Machine::rust_name), Some(std::env::consts::ARCH));
        assert!(own.needs_loader);
        if cfg!(target_env = "gnu") {
            let newest = own.newest_glibc.clone().unwrap();
            assert!(newest.starts_with("GLIBC_2."), "{newest}");
        }
        assert_eq!(Program::of_bytes(&std::fs::read(path).unwrap()), Some(own));
    }

    #[test]
    fn only_machines_of_our_images_are_known() {
        let machine = |number| Program::of_bytes(&elf(number)).unwrap().machine;
        assert_eq!(machine(62), Some(Machine::X86_64));
        assert_eq!(machine(183), Some(Machine::Aarch64));
        assert_eq!(machine(40), None, "a 32-bit ARM");
    }

    #[test]
    fn a_program_without_segments_needs_nothing() {
        let none = Program { machine: Some(Machine::X86_64), needs_loader: false, newest_glibc: None };
        assert_eq!(Program::of_bytes(&elf(62)), Some(none));
    }

    #[test]
    fn what_is_no_elf_file_or_cut_off_is_no_program() {
        let (mut big_endian, mut no_segments) = (elf(62), elf(62));
        big_endian[5] = 2;
        // One segment, beyond the end.
        (no_segments[32], no_segments[56]) = (64, 1);
        for content in [&elf(62)[..63], &big_endian, &no_segments, b"#!/bin/sh\n", b""] {
            assert_eq!(Program::of_bytes(content), None, "{content:?}");
        }
    }
}
