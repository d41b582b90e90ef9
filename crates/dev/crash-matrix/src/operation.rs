//! Which system calls change a node, and what they do.

use std::fmt;

use nix::fcntl::OFlag;
use nix::libc;

/// What a call does to the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Create,
    Write,
    Truncate,
    MakeDirectory,
    MakeLink,
    Rename,
    Remove,
    Mode,
    Owner,
    Sync,
    /// A message to the bus that changes something.
    Command,
    /// Another message to the bus.
    Query,
}

impl Kind {
    pub(crate) fn is_on_the_bus(self) -> bool {
        matches!(self, Self::Command | Self::Query)
    }

    /// Needs space that a full disk does not have.
    pub(crate) fn takes_space(self) -> bool {
        matches!(self, Self::Create | Self::Write | Self::MakeDirectory | Self::MakeLink | Self::Rename | Self::Sync)
    }
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Operation {
    pub(crate) kind: Kind,
    /// Below the host's root; of a message to the bus its member and object.
    pub(crate) path: String,
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} {}", self.kind, self.path)
    }
}

/// What a call says for itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) number: i64,
    pub(crate) arguments: [u64; 4],
}

/// What has to be looked up in the process that calls.
pub(crate) trait Caller {
    /// What a descriptor stands for: a path, or `socket:[1]`.
    fn descriptor(&self, descriptor: u64) -> Option<String>;
    /// A string in its memory.
    fn text(&self, address: u64) -> Option<String>;
    /// Bytes in its memory, as many as there are.
    fn bytes(&self, address: u64, count: usize) -> Option<Vec<u8>>;

    /// A number in its memory.
    fn number(&self, address: u64) -> Option<u64> {
        self.bytes(address, 8)?.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes))
    }
}

/// Calls of systemd that change something.
const COMMANDS: [&str; 5] = ["StartUnit", "StopUnit", "RestartUnit", "ResetFailedUnit", "Reload"];
/// Member and object stand near the beginning of a message.
const HEAD: usize = 512;

/// What the call does to a node whose files are below `root`; `None` for all that changes nothing there.
pub(crate) fn operation(call: Call, caller: &impl Caller, root: &str) -> Option<Operation> {
    let [first, second, third, fourth] = call.arguments;
    let at = |directory: u64, path: u64| {
        let path = caller.text(path)?;
        if path.starts_with('/') { Some(path) } else { Some(format!("{}/{path}", caller.descriptor(directory)?)) }
    };
    let creates = |flags: u64| flags & u64::from(OFlag::O_CREAT.bits().unsigned_abs()) != 0;
    let (kind, path) = match call.number {
        libc::SYS_openat if creates(third) => (Kind::Create, at(first, second)?),
        // The flags are the first member of `struct open_how`.
        libc::SYS_openat2 if creates(caller.number(third)?) => (Kind::Create, at(first, second)?),
        libc::SYS_write | libc::SYS_pwrite64 | libc::SYS_writev | libc::SYS_sendfile => {
            (Kind::Write, caller.descriptor(first)?)
        }
        libc::SYS_copy_file_range => (Kind::Write, caller.descriptor(third)?),
        libc::SYS_ftruncate => (Kind::Truncate, caller.descriptor(first)?),
        libc::SYS_mkdirat => (Kind::MakeDirectory, at(first, second)?),
        libc::SYS_symlinkat => (Kind::MakeLink, at(second, third)?),
        libc::SYS_renameat | libc::SYS_renameat2 => (Kind::Rename, at(third, fourth)?),
        libc::SYS_unlinkat => (Kind::Remove, at(first, second)?),
        libc::SYS_fchmod => (Kind::Mode, caller.descriptor(first)?),
        libc::SYS_fchown => (Kind::Owner, caller.descriptor(first)?),
        libc::SYS_fsync | libc::SYS_fdatasync => (Kind::Sync, caller.descriptor(first)?),
        // Only the bus passes descriptors, and so only its client uses this call.
        libc::SYS_sendmsg if caller.descriptor(first)?.starts_with("socket:") => {
            // Of `struct msghdr` the third member is the vector, whose first member is the first part's address.
            let head = caller.bytes(caller.number(caller.number(second + 16)?)?, HEAD)?;
            return Some(message(&head));
        }
        _ => return None,
    };
    let below = path.strip_prefix(root)?;
    (below.is_empty() || below.starts_with('/')).then(|| Operation { kind, path: without_temporary(below) })
}

/// Whether a message changes something, and what it is about (D-Bus specification, "Message Format": header fields are aligned to 8 bytes;
/// field 1 is the object, 3 the member).
fn message(head: &[u8]) -> Operation {
    let field = |mark: [u8; 4]| {
        let at = (16..head.len()).step_by(8).find(|at| head[*at..].starts_with(&mark))?;
        let length = u32::from_le_bytes(*head.get(at + 4..)?.first_chunk()?);
        let text = head.get(at + 8..)?.get(..usize::try_from(length).ok()?)?;
        Some(String::from_utf8_lossy(text).into_owned())
    };
    let member = field([3, 1, b's', 0]).unwrap_or_else(|| "(authentication)".to_owned());
    let kind = if COMMANDS.contains(&member.as_str()) { Kind::Command } else { Kind::Query };
    let object = field([1, 1, b'o', 0]).unwrap_or_default();
    let path = format!("{member} {}", object.rsplit('/').next().unwrap_or_default());
    Operation { kind, path: path.trim_end().to_owned() }
}

/// A temporary file under the name that it is going to get: `/etc/.a.cfg.77-3.cri-resmgr-tmp` is about `/etc/a.cfg`.
fn without_temporary(path: &str) -> String {
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    let inner = name.strip_prefix('.').and_then(|name| name.strip_suffix(".cri-resmgr-tmp"));
    inner
        .and_then(|inner| inner.rsplit_once('.'))
        .map_or_else(|| path.to_owned(), |(name, _number)| format!("{directory}/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The head of a message: 16 bytes, then the fields.
    const HELLO: &[u8] = b"l\x01\x00\x01........\x60...\x01\x01o\x00\x05\x00\x00\x00/a/bc\x00\x00\x00\x03\x01s\x00\x06\x00\x00\x00Reload\x00";

    struct Process;

    impl Caller for Process {
        fn descriptor(&self, descriptor: u64) -> Option<String> {
            match descriptor {
                3 => Some("/bed/node/etc".into()),
                4 => Some("/bed/node/etc/.a.cfg.77-3.cri-resmgr-tmp".into()),
                5 => Some("socket:[99]".into()),
                6 => Some("/bed/nodes".into()),
                _ => None,
            }
        }

        fn text(&self, address: u64) -> Option<String> {
            match address {
                1 => Some("a.cfg".into()),
                2 => Some("/proc/self/stat".into()),
                _ => None,
            }
        }

        fn bytes(&self, address: u64, _count: usize) -> Option<Vec<u8>> {
            Some(if address == 900 { HELLO.to_vec() } else { address.to_ne_bytes().to_vec() })
        }

        fn number(&self, address: u64) -> Option<u64> {
            // A message header at 100 leads to a vector at 800, and that to a message at 900.
            Some(match address {
                116 => 800,
                800 => 900,
                other => other,
            })
        }
    }

    fn seen(number: i64, arguments: [u64; 4]) -> Option<String> {
        operation(Call { number, arguments }, &Process, "/bed/node").map(|found| found.to_string())
    }

    #[test]
    fn system_calls_that_change_a_node_are_recognized() {
        let create = u64::from(OFlag::O_CREAT.bits().unsigned_abs());
        for (number, arguments, expected) in [
            (libc::SYS_openat, [3, 1, create, 0], Some("Create /etc/a.cfg")),
            (libc::SYS_openat2, [3, 1, create, 0], Some("Create /etc/a.cfg")),
            (libc::SYS_openat, [3, 1, 0, 0], None),
            (libc::SYS_openat, [3, 2, create, 0], None),
            (libc::SYS_write, [4, 0, 0, 0], Some("Write /etc/a.cfg")),
            (libc::SYS_write, [6, 0, 0, 0], None),
            (libc::SYS_write, [9, 0, 0, 0], None),
            (libc::SYS_renameat, [6, 2, 3, 1], Some("Rename /etc/a.cfg")),
            (libc::SYS_symlinkat, [0, 3, 1, 0], Some("MakeLink /etc/a.cfg")),
            (libc::SYS_fsync, [3, 0, 0, 0], Some("Sync /etc")),
            (libc::SYS_sendmsg, [5, 100, 0, 0], Some("Command Reload bc")),
            (libc::SYS_sendmsg, [4, 100, 0, 0], None),
            (libc::SYS_read, [4, 0, 0, 0], None),
        ] {
            assert_eq!(seen(number, arguments).as_deref(), expected, "{number} {arguments:?}");
        }
    }
}
