//! The file that systemd reads before kubelet's `ExecStart`.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

const VARIABLE: &str = "KUBELET_EXTRA_ARGS";

/// The assignment in double quotes, in which systemd (systemd.exec(5), `EnvironmentFile=`) takes everything literally, line feeds too, but
/// for the four characters that a backslash protects.
pub(crate) fn assignment(value: &str) -> String {
    let mut line = format!("{VARIABLE}=\"");
    for character in value.chars() {
        if matches!(character, '"' | '\\' | '`' | '$') {
            line.push('\\');
        }
        line.push(character);
    }
    line.push_str("\"\n");
    line
}

/// Writes the value, atomically.
pub(crate) fn write(path: &Path, value: &str) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    match DirBuilder::new().mode(0o755).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // Only one kubelet starts at a time, so one temporary name is enough; a leftover of a killed gate is overwritten.
    let temporary = path.with_extension("env.tmp");
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| file.write_all(assignment(value).as_bytes()))
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        drop(fs::remove_file(&temporary));
    }
    written
}

/// Removes the file; a missing one is a success.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A small model of systemd's reader, for one assignment in double quotes.
    fn read_back(line: &str) -> Option<String> {
        let body = line.strip_prefix("KUBELET_EXTRA_ARGS=\"")?;
        let mut value = String::new();
        let mut characters = body.chars();
        loop {
            match characters.next()? {
                '"' => break,
                '\\' => match characters.next()? {
                    protected @ ('"' | '\\' | '`' | '$') => value.push(protected),
                    '\n' => {}
                    other => {
                        value.push('\\');
                        value.push(other);
                    }
                },
                other => value.push(other),
            }
        }
        (characters.as_str() == "\n").then_some(value)
    }

    #[test]
    fn assignment_quotes_special_characters() {
        assert_eq!(assignment(""), "KUBELET_EXTRA_ARGS=\"\"\n");
        assert_eq!(
            assignment(r#"--node-ip="::" --a=$b`c\d 50%"#),
            "KUBELET_EXTRA_ARGS=\"--node-ip=\\\"::\\\" --a=\\$b\\`c\\\\d 50%\"\n"
        );
    }

    #[test]
    fn write_makes_the_directory_and_leaves_no_temporary() {
        let root = tempfile::tempdir().expect("temporary directory");
        let path = root.path().join("own/runtime.env");
        write(&path, "--a").expect("first");
        write(&path, "--b").expect("over the first");
        assert_eq!(fs::read_to_string(&path).expect("read"), "KUBELET_EXTRA_ARGS=\"--b\"\n");
        assert_eq!(fs::read_dir(root.path().join("own")).expect("list").count(), 1);
        remove(&path).expect("remove");
        remove(&path).expect("remove again");
    }

    proptest! {
        #[test]
        fn systemd_reads_back_the_same_value(value in "\\PC{0,20}[\"\\\\$`%' \t\n#;=a-z]{0,30}") {
            prop_assert_eq!(read_back(&assignment(&value)), Some(value));
        }
    }
}
