//! One file, as far as it matters to NRI.

use toml::{Table, Value};

use crate::error::ConfigError;
use crate::imports::{self, Import};
use crate::limits::FILE_BYTES;

/// The plugin's name in configurations from version 2 on.
pub(crate) const NRI: &str = "io.containerd.nri.v1.nri";
/// The plugin's name in version 1 (containerd 1.7 goes by the ID there).
pub(crate) const NRI_ID: &str = "nri";

/// What a file says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Document {
    /// 0 where it is absent, as in containerd.
    pub(crate) version: i64,
    pub(crate) imports: Vec<Import>,
    pub(crate) disabled_plugins: Vec<String>,
    pub(crate) required_plugins: Vec<String>,
    /// Names of the tables below `plugins`.
    pub(crate) plugins: Vec<String>,
    /// The plugin's table, by its name from version 2 on.
    pub(crate) nri: Option<Table>,
    /// The plugin's table, by its ID.
    pub(crate) nri_by_id: Option<Table>,
}

impl Document {
    pub(crate) fn read(file: &str, text: &str) -> Result<Self, ConfigError> {
        if text.len() > FILE_BYTES {
            return Err(ConfigError::TooLarge { file: file.to_owned(), size: text.len() });
        }
        let mut table: Table = text.parse().map_err(|error: toml::de::Error| ConfigError::NotToml {
            file: file.to_owned(),
            line: error
                .span()
                .and_then(|span| text.get(..span.start))
                .map_or(1, |before| 1 + before.matches('\n').count()),
            message: error.message().to_owned(),
        })?;
        for key in table.keys() {
            spelled_key(file, key, &["version", "imports", "disabled_plugins", "required_plugins", "plugins"])?;
        }
        let version = match table.get("version") {
            None => 0,
            Some(Value::Integer(version)) => *version,
            Some(other) => return Err(wrong(file, "version", other, "an integer")),
        };
        let mut plugins = match table.remove("plugins") {
            None => Table::new(),
            Some(Value::Table(plugins)) => plugins,
            Some(other) => return Err(wrong(file, "plugins", &other, "a table")),
        };
        let names = plugins.keys().cloned().collect();
        let mut plugin = |name: &str| match plugins.remove(name) {
            None => Ok(None),
            Some(Value::Table(plugin)) => Ok(Some(plugin)),
            Some(other) => Err(wrong(file, &format!("plugins.{name:?}"), &other, "a table")),
        };
        Ok(Self {
            version,
            imports: imports::resolve(file, &texts(file, &table, "imports")?)?,
            disabled_plugins: texts(file, &table, "disabled_plugins")?,
            required_plugins: texts(file, &table, "required_plugins")?,
            plugins: names,
            nri: plugin(NRI)?,
            nri_by_id: plugin(NRI_ID)?,
        })
    }
}

/// What a file imports, in its order. An entry with a `*` is a pattern, any other names one file; a relative one is seen from the file's
/// own directory.
///
/// # Errors
/// A text that is not read.
pub fn imports(path: &str, text: &str) -> Result<Vec<Import>, ConfigError> {
    Document::read(path, text).map(|document| document.imports)
}

/// Refuses a key that differs from a known one in capitals only. Go's TOML readers take some of them, each version others.
pub(crate) fn spelled_key(file: &str, key: &str, known: &[&'static str]) -> Result<(), ConfigError> {
    match known.iter().find(|known| known.eq_ignore_ascii_case(key) && **known != key) {
        None => Ok(()),
        Some(expected) => Err(ConfigError::Spelling { file: file.to_owned(), key: key.to_owned(), expected }),
    }
}

fn texts(file: &str, table: &Table, key: &str) -> Result<Vec<String>, ConfigError> {
    let allowed = "a list of texts";
    match table.get(key) {
        None => Ok(Vec::new()),
        Some(Value::Array(entries)) => {
            let text = |entry: &Value| match entry {
                Value::String(text) => Ok(text.clone()),
                other => Err(wrong(file, &format!("{key}[]"), other, "a text")),
            };
            entries.iter().map(text).collect()
        }
        Some(other) => Err(wrong(file, key, other, allowed)),
    }
}

pub(crate) fn wrong(file: &str, key: &str, found: &Value, allowed: &'static str) -> ConfigError {
    let found = match found {
        Value::String(_) => "a text",
        Value::Integer(_) => "an integer",
        Value::Float(_) => "a floating-point number",
        Value::Boolean(_) => "a boolean",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    };
    ConfigError::WrongType { file: file.to_owned(), key: key.to_owned(), found, allowed }
}

#[cfg(test)]
mod tests {
    use super::Document;
    use crate::error::ConfigError;

    fn read(text: &str) -> Result<Document, ConfigError> {
        Document::read("/c", text)
    }

    #[test]
    fn keys_are_typed_and_spelled() {
        for (text, reported) in [
            ("version = '2'", "version in /c is a text, an integer is allowed"),
            ("version = 2.0", "version in /c is a floating-point number, an integer is allowed"),
            ("disabled_plugins = 'a'", "disabled_plugins in /c is a text, a list of texts is allowed"),
            ("disabled_plugins = [['a']]", "disabled_plugins[] in /c is a list, a text is allowed"),
            ("plugins = 1", "plugins in /c is an integer, a table is allowed"),
            (
                "plugins.\"io.containerd.nri.v1.nri\" = true",
                "plugins.\"io.containerd.nri.v1.nri\" in /c is a boolean, a table is allowed",
            ),
            (
                "Version = 2",
                "\"Version\" in /c has to be written \"version\": not every containerd takes it in capitals",
            ),
        ] {
            assert_eq!(read(text).unwrap_err().to_string(), reported);
        }
        let document =
            read("version = 2\n[plugins.nri]\n[plugins.'io.containerd.nri.v1.nri']\ndisable = true").unwrap();
        assert_eq!((document.version, document.plugins.len()), (2, 2));
        assert!(document.nri.is_some() && document.nri_by_id.is_some());
    }

    #[test]
    fn an_error_names_its_line_and_nothing_of_the_text() {
        let error = read("version = 2\npassword = s3cret\n").unwrap_err();
        assert!(matches!(error, ConfigError::NotToml { line: 2, .. }), "{error}");
        assert!(!error.to_string().contains("s3cret"), "{error}");
        for twice in ["s3cret = 1\ns3cret = 2", "[s3cret]\n[s3cret]"] {
            let error = read(twice).unwrap_err();
            assert!(matches!(error, ConfigError::NotToml { line: 2, .. }), "{error}");
        }
    }

    #[test]
    fn deep_and_large_texts_end_in_an_error() {
        let deep = 500_000;
        for text in [
            format!("a = {}", "[".repeat(deep)),
            format!("a = {}", "{a=".repeat(deep / 3)),
            format!("[{}a]", "a.".repeat(deep / 2)),
            format!("{}a = 1", "a.".repeat(deep / 2)),
            "#".repeat(1_048_577),
        ] {
            assert!(read(&text).is_err(), "{}…", &text[..20]);
        }
    }
}
