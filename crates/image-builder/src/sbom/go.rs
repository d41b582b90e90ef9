//! What a Go program says about itself: the build information that the linker leaves in every program
//! (`debug/buildinfo`, since Go 1.18).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Component, Kind, escape};

/// Begins the block, at an address that is a multiple of 16.
const MAGIC: &[u8] = b"\xff Go buildinf:";
const ALIGNMENT: usize = 16;
/// Bit of the flags' byte: the two texts follow the header, each with its length before it.
const INLINE: u8 = 2;
const HEADER: usize = 32;
/// Bytes around the modules' text that only the linker looks for.
const SENTINEL: usize = 16;

/// The program and all modules that are linked into it; empty when it is no Go program, or one that an older Go has
/// built. `version` is for a program that was built outside of its module's release and does not know its own.
pub(super) fn components(program: &[u8], version: Option<&str>) -> Vec<Component> {
    let Some((go_version, modules)) = texts(program) else { return Vec::new() };
    let mut found = vec![library("stdlib", go_version.trim_start_matches("go"), None)];
    for line in modules.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        match fields[..] {
            ["mod", path, own, ..] => {
                let own = Some(own).filter(|own| *own != "(devel)").or(version);
                found.push(Component { kind: Kind::Application, ..module(path, own, None) });
            }
            ["dep", path, version, ..] => found.push(library(path, version, fields.get(3).copied())),
            // What the module above was replaced by; a folder has no version.
            ["=>", path, version, ..] if version.starts_with('v') => {
                found.pop();
                found.push(library(path, version, fields.get(3).copied()));
            }
            _ => {}
        }
    }
    found
}

fn library(path: &str, version: &str, sum: Option<&str>) -> Component {
    module(path, Some(version), sum)
}

fn module(path: &str, version: Option<&str>, sum: Option<&str>) -> Component {
    let at = version.map(|version| format!("@{}", escape(version))).unwrap_or_default();
    // `h1:` is a sha256 over the module's files and their names.
    let sum = sum.and_then(|sum| STANDARD.decode(sum.strip_prefix("h1:")?).ok());
    Component {
        kind: Kind::Library,
        name: path.to_owned(),
        version: version.map(str::to_owned),
        purl: Some(format!("pkg:golang/{}{at}", path.to_lowercase())),
        licence: None,
        sha256: sum.map(hex::encode),
    }
}

/// Go's version and the modules' lines.
fn texts(program: &[u8]) -> Option<(&str, &str)> {
    let at = (0..program.len()).step_by(ALIGNMENT).find(|at| program[*at..].starts_with(MAGIC))?;
    let block = &program[at..];
    if block.get(MAGIC.len() + 1)? & INLINE == 0 {
        return None;
    }
    let (version, rest) = text(block.get(HEADER..)?)?;
    let (modules, _) = text(rest)?;
    let modules = modules.get(SENTINEL..modules.len().checked_sub(SENTINEL)?)?;
    Some((std::str::from_utf8(version).ok()?, std::str::from_utf8(modules).ok()?))
}

/// One text with its length (a base 128 number, least significant first) before it, and what follows.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut length, mut digits) = (0_usize, 0_u32);
    loop {
        let byte = bytes.get(digits as usize)?;
        length |= usize::from(byte & 0x7f).checked_shl(digits * 7)?;
        digits += 1;
        if byte & 0x80 == 0 {
            break;
        }
    }
    bytes.get(digits as usize..)?.split_at_checked(length)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// As much of a program as carries the block: `modules` as Go's linker would write them.
    pub(in crate::sbom) fn program(modules: &str) -> Vec<u8> {
        let mut block = vec![0; 5 * ALIGNMENT];
        block.extend_from_slice(MAGIC);
        block.extend_from_slice(&[8, INLINE]);
        block.resize(5 * ALIGNMENT + HEADER, 0);
        let modules = format!("{0}{modules}{0}", "x".repeat(SENTINEL));
        for text in ["go1.26.8", &modules] {
            let mut length = text.len();
            while length > 0x7f {
                block.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
                length >>= 7;
            }
            block.push(u8::try_from(length).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
        block
    }

    #[test]
    fn go_modules_and_their_replacements_are_read_from_a_program() {
        let sum = STANDARD.encode([7; 32]);
        let program = program(&format!(
            "path\ta.b/C/cmd/tool\nmod\ta.b/C\tv0.9.2\th1:x=\ndep\tgithub.com/X/y\tv1.0.0+incompatible\th1:{sum}\n\
             dep\told\tv1.0.0\n=>\tnew\tv2.0.0\t\ndep\ta.b/C/pkg/topology\tv0.0.0\n=>\t./pkg/topology\t(devel)\t\n\
             build\t-compiler=gc\n"
        ));
        let found = components(&program, Some("9.9.9"));
        let purls: Vec<_> = found.iter().map(|part| part.purl.as_deref().unwrap()).collect();
        assert_eq!(
            purls,
            [
                "pkg:golang/stdlib@1.26.8",
                "pkg:golang/a.b/c@v0.9.2",
                "pkg:golang/github.com/x/y@v1.0.0%2Bincompatible",
                "pkg:golang/new@v2.0.0",
                "pkg:golang/a.b/c/pkg/topology@v0.0.0",
            ]
        );
        assert_eq!(found[1].kind, Kind::Application);
        assert_eq!(found[2].sha256, Some("07".repeat(32)));
    }

    #[test]
    fn a_file_without_go_build_information_has_no_modules() {
        let good = program("mod\tx\tv1.0.0\t\n");
        let mut pointers = good.clone();
        pointers[5 * ALIGNMENT + MAGIC.len() + 1] = 0;
        for bytes in [&b"\x7fELF"[..], &[], MAGIC, &good[..good.len() - 1], &pointers] {
            assert_eq!(components(bytes, None), [], "{} bytes", bytes.len());
        }
        assert!(!components(&good, None).is_empty());
    }
}
