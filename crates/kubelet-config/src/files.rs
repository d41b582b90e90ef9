//! Which files a kubelet reads, asked of whoever can read them.

use crate::settings::{DROP_INS, Settings, is_drop_in, sources};

/// Levels of directories below `--config-dir`.
const DEPTH: usize = 8;
/// Names below `--config-dir` that are checked, those that kubelet passes over and directories included.
const ENTRIES: usize = 1000;
/// Where kubeadm puts the file.
const CONVENTION: &str = "/var/lib/kubelet/config.yaml";

/// The files of a node, by absolute path. An error is a text that names its place.
pub trait Files {
    /// A file's text; `None` when it is not there.
    ///
    /// # Errors
    /// When it cannot be read.
    fn text(&self, path: &str) -> Result<Option<String>, String>;
    /// Names in a directory in their order, true for directories; none when it is not there.
    ///
    /// # Errors
    /// When it cannot be read, or has more than `most`.
    fn list(&self, path: &str, most: usize) -> Result<Vec<(String, bool)>, String>;
}

/// The settings of a kubelet: of the running one where its words are known, else by the words of its unit.
///
/// # Errors
/// Why they are not known.
pub fn read_settings(files: &impl Files, running: Option<&[String]>, in_unit: &[String]) -> Result<Settings, String> {
    let words = running.unwrap_or(in_unit);
    let mut found = sources(words);
    // Without a process the flag may stand in a variable (kind); where the file then is is a convention of kubeadm.
    let is_guess = running.is_none() && found.file.is_none();
    if is_guess {
        found.file = Some(CONVENTION.to_owned());
    }
    let mut texts = Vec::new();
    if let Some(path) = found.file {
        match files.text(&path)? {
            Some(text) => texts.push((path, text)),
            None if is_guess => {}
            None => return Err(format!("{path} is not there")),
        }
    }
    if let Some(directory) = found.drop_ins {
        let mut paths = Vec::new();
        let mut left = ENTRIES;
        drop_ins(files, &directory, DEPTH, &mut left, &mut paths)?;
        for path in paths {
            if let Some(text) = files.text(&path)? {
                texts.push((path, text));
            }
        }
    }
    Settings::of(words, &texts).map_err(|error| chain(&error))
}

/// An error and what is behind it.
fn chain(error: &dyn std::error::Error) -> String {
    let behind = std::iter::successors(error.source(), |error| error.source());
    behind.fold(error.to_string(), |reported, error| format!("{reported}: {error}"))
}

/// The files below a directory that kubelet takes, in its order.
fn drop_ins(
    files: &impl Files,
    directory: &str,
    depth: usize,
    left: &mut usize,
    paths: &mut Vec<String>,
) -> Result<(), String> {
    let names = files.list(directory, *left)?;
    *left = left
        .checked_sub(names.len())
        .ok_or_else(|| format!("{directory} has too much in it: {ENTRIES} names are looked at"))?;
    for (name, is_directory) in names {
        let path = format!("{}/{name}", directory.trim_end_matches('/'));
        if is_directory {
            let deeper = depth.checked_sub(1).ok_or_else(|| format!("{path} is too deep: {DEPTH} levels are read"))?;
            drop_ins(files, &path, deeper, left, paths)?;
        } else if is_drop_in(&name) {
            if paths.len() == DROP_INS {
                return Err(format!("{directory} has more files than {DROP_INS}"));
            }
            paths.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{ENTRIES, Files, read_settings};

    /// A directory of drop-ins with so many other files in each of so many directories.
    struct Wide(usize, usize);

    impl Files for Wide {
        fn text(&self, _: &str) -> Result<Option<String>, String> {
            Ok(Some(String::new()))
        }

        fn list(&self, path: &str, most: usize) -> Result<Vec<(String, bool)>, String> {
            let (count, is_directory) = if path == "/d" { (self.0, true) } else { (self.1, false) };
            // One more than is asked for is enough to know.
            Ok((0..count.min(most + 1)).map(|index| (format!("{index:04}"), is_directory)).collect())
        }
    }

    #[test]
    fn configuration_drop_ins_beyond_the_limit_are_refused() {
        let words = ["kubelet".to_owned(), "--config-dir=/d".to_owned(), "--config=/c".to_owned()];
        assert!(read_settings(&Wide(9, 100), Some(&words), &words).is_ok());
        for wide in [Wide(10, 100), Wide(ENTRIES + 1, 0), Wide(1_000_000, 0), Wide(1, 1_000_000)] {
            let error = read_settings(&wide, Some(&words), &words).unwrap_err();
            assert!(error.contains("has too much in it: 1000 names are looked at"), "{error}");
        }
    }
}
