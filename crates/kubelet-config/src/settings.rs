//! kubelet's settings, from its flags and its configuration files.

use std::path::Path;

use serde_json::{Map, Value};

use crate::flags::{self, last};

/// Bytes of one configuration file that are read; Gardener's has about 3 KiB.
pub const FILE_BYTES: usize = 1 << 20;
/// Drop-ins that are read.
pub const DROP_INS: usize = 100;

/// Where a kubelet with these words reads its configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// `--config`.
    pub file: Option<String>,
    /// `--config-dir`: every file below it that [`is_drop_in`], in the order of their paths, each on top of what was read before
    /// (kubernetes v1.34 `cmd/kubelet/app/server.go`, `mergeKubeletConfigurations`).
    pub drop_ins: Option<String>,
}

/// See [`Sources`]. A relative path is one below `/`, where systemd starts a service.
pub fn sources<W: AsRef<str>>(words: &[W]) -> Sources {
    let path = |name| last(words, name).filter(|path| !path.is_empty()).map(absolute);
    Sources { file: path("config"), drop_ins: path("config-dir") }
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

/// Whether kubelet takes a file of its directory of drop-ins.
#[must_use]
pub fn is_drop_in(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "conf")
}

/// A setting and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The value as written.
    pub value: String,
    /// The flag, or the path of the file.
    pub origin: String,
}

/// What of a kubelet's configuration matters to a runtime proxy. `None`: kubelet's default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// CPU manager; the default is `none`.
    pub cpu_manager: Option<Setting>,
    /// Memory manager; the default is `None`.
    pub memory_manager: Option<Setting>,
    /// The runtime's socket as the files name it; the default is containerd's. The flags are [`flags::effective_endpoint`]'s.
    pub endpoint_in_files: Option<Setting>,
}

/// A configuration that kubelet cannot read either, or that is too large for us.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// No YAML or JSON.
    #[error("{path} is no YAML")]
    NotYaml {
        /// The file.
        path: String,
        /// Why.
        source: Box<serde_saphyr::Error>,
    },
    /// Something else than a map.
    #[error("{path} is no map of settings")]
    NotAMap {
        /// The file.
        path: String,
    },
    /// A setting that is no text.
    #[error("{setting} in {path} is no text")]
    NotAText {
        /// The file.
        path: String,
        /// Its key.
        setting: &'static str,
    },
    /// Too much.
    #[error("{path} has {size} bytes, {FILE_BYTES} are read")]
    TooLarge {
        /// The file.
        path: String,
        /// Its size in bytes.
        size: usize,
    },
}

impl Settings {
    /// The settings of a kubelet with these words and these files, path and text each, in the order in which it reads them.
    ///
    /// # Errors
    /// A file that cannot be understood.
    pub fn of<W: AsRef<str>>(words: &[W], files: &[(String, String)]) -> Result<Self, SettingsError> {
        let mut settings = Self::default();
        for (path, text) in files {
            let map = read(path, text)?;
            for (key, setting) in [
                ("cpuManagerPolicy", &mut settings.cpu_manager),
                ("memoryManagerPolicy", &mut settings.memory_manager),
                ("containerRuntimeEndpoint", &mut settings.endpoint_in_files),
            ] {
                match map.get(key) {
                    None => {}
                    // A null takes back what an earlier file said.
                    Some(Value::Null) => *setting = None,
                    Some(Value::String(value)) if value.is_empty() => *setting = None,
                    Some(Value::String(value)) => {
                        *setting = Some(Setting { value: value.clone(), origin: path.clone() });
                    }
                    Some(_) => return Err(SettingsError::NotAText { path: path.clone(), setting: key }),
                }
            }
        }
        // Flags win over files.
        for (flag, setting) in
            [("cpu-manager-policy", &mut settings.cpu_manager), ("memory-manager-policy", &mut settings.memory_manager)]
        {
            if let Some(value) = last(words, flag) {
                *setting = Some(Setting { value: value.to_owned(), origin: format!("--{flag}") });
            }
        }
        Ok(settings)
    }

    /// The runtime that counts, and where it stands; `None` for kubelet's default.
    pub fn endpoint<W: AsRef<str>>(&self, words: &[W]) -> Option<Setting> {
        let flag = last(words, flags::ENDPOINT)
            .map(|value| Setting { value: value.to_owned(), origin: format!("--{}", flags::ENDPOINT) });
        flag.or_else(|| self.endpoint_in_files.clone())
    }
}

/// JSON is read as such, because YAML knows no tabs between its words. Of several documents kubelet reads the first.
fn read(path: &str, text: &str) -> Result<Map<String, Value>, SettingsError> {
    if text.len() > FILE_BYTES {
        return Err(SettingsError::TooLarge { path: path.to_owned(), size: text.len() });
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let json = text.trim_start().starts_with('{').then(|| serde_json::from_str(text).ok()).flatten();
    let value = if let Some(value) = json {
        value
    } else {
        // A key that is there twice is an error to kubelet's strict reader and the last one's to the lenient one that comes after it.
        // The lines around an error would reach the agent's log.
        let options = serde_saphyr::options! {
            duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::LastWins,
            with_snippet: false,
        };
        let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options)
            .map_err(|source| SettingsError::NotYaml { path: path.to_owned(), source: Box::new(source) })?;
        documents.into_iter().next().unwrap_or_default()
    };
    match value {
        Value::Object(map) => Ok(map),
        Value::Null => Ok(Map::new()),
        _ => Err(SettingsError::NotAMap { path: path.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(words: &str, texts: &[&str]) -> Result<Settings, SettingsError> {
        let files: Vec<_> = texts.iter().enumerate().map(|(at, text)| (format!("/{at}"), (*text).to_owned())).collect();
        Settings::of(&words.split(' ').collect::<Vec<_>>(), &files)
    }

    fn cpu_manager(words: &str, texts: &[&str]) -> String {
        settings(words, texts).unwrap().cpu_manager.map_or("none".to_owned(), |setting| setting.value)
    }

    #[test]
    fn the_cpu_manager_policy_is_found_in_every_form_of_a_file() {
        for (text, policy) in [
            ("", "none"),
            ("---\n", "none"),
            ("apiVersion: x\ncpuManagerPolicy: static\n", "static"),
            ("apiVersion: x\r\ncpuManagerPolicy: static\r\n", "static"),
            ("\u{feff}cpuManagerPolicy: static\n", "static"),
            ("cpuManagerPolicy: \"none\" # fine\n", "none"),
            ("\"cpuManagerPolicy\": >-\n  static\n", "static"),
            ("cpuManagerPolicy   : static # why\n", "static"),
            ("cpuManagerPolicy:\n", "none"),
            ("cpuManagerPolicy: ''\n", "none"),
            ("nested:\n  cpuManagerPolicy: static\n", "none"),
            ("cpuManagerPolicy: none\ncpuManagerPolicy: static\n", "static"),
            ("{\n  \"cpuManagerPolicy\": \"static\"\n}", "static"),
            ("{\n\t\"cpuManagerPolicy\":\t\"static\"\n}", "static"),
            (r#"{"kind":"KubeletConfiguration","cpuManagerPolicy":"static"}"#, "static"),
            ("{kind: KubeletConfiguration, cpuManagerPolicy: static}", "static"),
            ("cpuManagerPolicyOptions: {}\n", "none"),
            ("a: &p static\ncpuManagerPolicy: *p\n", "static"),
            ("cpuManagerPolicy: static\n---\ncpuManagerPolicy: none\n", "static"),
        ] {
            assert_eq!(cpu_manager("kubelet", &[text]), policy, "{text:?}");
        }
    }

    #[test]
    fn later_files_win_and_flags_win_over_all() {
        assert_eq!(cpu_manager("kubelet", &["cpuManagerPolicy: none", "cpuManagerPolicy: static"]), "static");
        assert_eq!(cpu_manager("kubelet", &["cpuManagerPolicy: static", "x: 1"]), "static");
        assert_eq!(cpu_manager("kubelet", &["cpuManagerPolicy: static", "cpuManagerPolicy: null"]), "none");
        assert_eq!(cpu_manager("kubelet --cpu_manager_policy none", &["cpuManagerPolicy: static"]), "none");
        let found = settings("kubelet --memory-manager-policy=Static", &["memoryManagerPolicy: None"]).unwrap();
        let expected = Setting { value: "Static".to_owned(), origin: "--memory-manager-policy".to_owned() };
        assert_eq!(found.memory_manager, Some(expected));
    }

    #[test]
    fn the_endpoint_of_a_file_counts_without_the_flag() {
        let file = "containerRuntimeEndpoint: unix:///run/crio/crio.sock\n";
        let of = |words: &str| {
            let words: Vec<&str> = words.split(' ').collect();
            settings("kubelet", &[file]).unwrap().endpoint(&words).unwrap()
        };
        let file = Setting { value: "unix:///run/crio/crio.sock".to_owned(), origin: "/0".to_owned() };
        assert_eq!(of("kubelet"), file);
        assert_eq!(of("kubelet --container-runtime-endpoint=/x").value, "/x");
    }

    #[test]
    fn a_file_that_kubelet_cannot_read_is_an_error_that_names_it() {
        for (text, error) in [
            ("a: [", "/0 is no YAML"),
            ("- a", "/0 is no map of settings"),
            ("cpuManagerPolicy: [static]", "cpuManagerPolicy in /0 is no text"),
            ("cpuManagerPolicy: 5", "cpuManagerPolicy in /0 is no text"),
        ] {
            assert_eq!(settings("kubelet", &[text]).unwrap_err().to_string(), error, "{text}");
        }
        let large = format!("a: {}", "x".repeat(FILE_BYTES));
        assert!(matches!(settings("kubelet", &[&large]), Err(SettingsError::TooLarge { .. })));
    }

    #[test]
    fn a_deep_or_repetitive_file_ends_in_an_error() {
        let deep = format!("a: {}", "[".repeat(100_000));
        assert!(settings("kubelet", &[&deep]).is_err());
        let levels = (1..30).map(|at| format!("a{at}: &a{at} [*a{0}, *a{0}]", at - 1));
        let bomb: Vec<String> = std::iter::once("a0: &a0 [x, x]".to_owned()).chain(levels).collect();
        assert!(settings("kubelet", &[&bomb.join("\n")]).is_err());
    }

    #[test]
    fn configuration_files_are_those_of_the_flags() {
        let words = ["kubelet", "--config", "/a", "--config_dir=b"];
        assert_eq!(sources(&words), Sources { file: Some("/a".to_owned()), drop_ins: Some("/b".to_owned()) });
        assert_eq!(sources(&["kubelet", "--config="]), Sources::default());
        assert!(is_drop_in("10-a.conf") && !is_drop_in("10-a.yaml"));
    }
}
