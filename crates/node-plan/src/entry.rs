//! What is found at one path of the host.

/// First words of every text that we write: how files of ours are known again when the journal is lost.
pub const MARKER: &str = "# Written by gardener-extension-cri-resmgr";

/// What is found at one path; links are not followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// Nothing.
    Absent,
    /// A regular file.
    File {
        /// SHA-256 of the content, in hexadecimal digits.
        sha256: String,
        /// Permission bits.
        mode: u32,
        /// Owner and group are the agent's own (root, but for tests in a sandbox).
        own: bool,
        /// The content starts with [`MARKER`].
        marked: bool,
    },
    /// A directory.
    Directory {
        /// It has no entries.
        empty: bool,
    },
    /// A symbolic link.
    Link {
        /// Its target, as written.
        target: String,
    },
    /// A socket, a device or whatever else.
    Other,
}

impl Entry {
    /// Whether it is a file with this content.
    #[must_use]
    pub fn has_content(&self, wanted: &str) -> bool {
        matches!(self, Self::File { sha256, .. } if sha256 == wanted)
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// Whether it is a regular file with this content, mode and our owner.
    #[must_use]
    pub fn is_file(&self, wanted_sha256: &str, wanted_mode: u32) -> bool {
        matches!(self, Self::File { sha256, mode, own, .. } if sha256 == wanted_sha256 && *mode == wanted_mode && *own)
    }

    /// Whether it is a symbolic link with this target.
    #[must_use]
    pub fn is_link(&self, wanted: &str) -> bool {
        matches!(self, Self::Link { target } if target == wanted)
    }

    /// Whether it hides a unit from systemd: an empty file does so too, but only the link is somebody's intention.
    #[must_use]
    pub fn is_mask(&self) -> bool {
        self.is_link("/dev/null")
    }
}
