//! Names of temporary files: dot-files, which systemd and cri-resmgr ignore, with a suffix that distinguishes them from others'.

use std::ffi::{OsStr, OsString};
use std::sync::atomic::{AtomicU32, Ordering};

/// Ends every temporary name that we make.
const SUFFIX: &str = ".cri-resmgr-tmp";

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A fresh name; another process may have left the same one, so the caller must create exclusively and ask again.
pub(crate) fn name_for(name: &OsStr) -> OsString {
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}-{}{SUFFIX}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed)));
    temporary
}

/// Whether an entry was made by [`name_for`], by this process or an earlier one.
pub(crate) fn is_temporary(name: &OsStr) -> bool {
    let bytes = name.as_encoded_bytes();
    bytes.starts_with(b".") && bytes.ends_with(SUFFIX.as_bytes())
}
