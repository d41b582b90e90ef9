//! Units without a file of their own, and credentials of units.

use std::io;

use zbus::OwnedVariant;

use super::below;
use super::manager::{JobKind, Manager, Refusal};
use super::unit::{Files, TRANSIENT};

/// Variable that has the directory of a unit's credentials.
pub(super) const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// Where units' credentials are.
pub(super) const CREDENTIALS: &str = "/run/credentials";

/// Directory of a unit's credentials, as the host sees it.
pub(super) fn credentials(unit: &str) -> String {
    format!("{CREDENTIALS}/{unit}")
}

/// `ExecStart`: path, arguments with the zeroth, failure is ignored.
type RawCommand = (String, Vec<String>, bool);

impl Manager {
    /// Makes a unit of these properties and queues its start. As systemd does, it writes them into a file, which goes with the unit. What confines
    /// the unit is left out: nothing here could be harmed by what is faked.
    pub(super) fn start_transient(&self, name: &str, properties: Vec<(String, OwnedVariant)>) -> Result<u32, Refusal> {
        if self.knows(name) {
            return Err(refusal("UnitExists", &format!("Unit {name} was already loaded or has a fragment file.")));
        }
        let text = self.unit_text(name, properties).map_err(|error| refusal("BadUnitSetting", &error.to_string()))?;
        let write = || {
            std::fs::create_dir_all(below(&self.root, TRANSIENT))?;
            std::fs::write(below(&self.root, &format!("{TRANSIENT}/{name}")), text)
        };
        write().map_err(|error| refusal("BadUnitSetting", &error.to_string()))?;
        self.queue(name, JobKind::Start)
    }

    fn unit_text(&self, name: &str, properties: Vec<(String, OwnedVariant)>) -> anyhow::Result<String> {
        let mut text = "[Service]\n".to_owned();
        for (key, value) in properties {
            let line = match key.as_str() {
                "Type" => format!("Type={}", String::try_from(value)?),
                "ExecStart" => {
                    let commands = Vec::<RawCommand>::try_from(value)?;
                    let words = commands.into_iter().flat_map(|(_, words, _)| words);
                    let words: Vec<String> = words.map(|word| format!("\"{word}\"")).collect();
                    format!("ExecStart={}", words.join(" "))
                }
                "TimeoutStartUSec" => format!("TimeoutStartSec={}ms", u64::try_from(value)? / 1000),
                "StandardOutputFile" => format!("StandardOutput=file:{}", String::try_from(value)?),
                "SetCredential" => {
                    let directory = credentials(name);
                    std::fs::create_dir_all(below(&self.root, &directory))?;
                    for (credential, content) in Vec::<(String, Vec<u8>)>::try_from(value)? {
                        std::fs::write(below(&self.root, &format!("{directory}/{credential}")), content)?;
                    }
                    format!("Environment={CREDENTIALS_DIRECTORY}={directory}")
                }
                _ => continue,
            };
            text.push_str(&line);
            text.push('\n');
        }
        Ok(text)
    }

    /// With the unit go its file and its credentials.
    pub(super) fn forget_transient(&self, name: &str) {
        // Most units have neither.
        let _absent = std::fs::remove_file(below(&self.root, &format!("{TRANSIENT}/{name}")));
        self.drop_credentials(name);
    }

    /// Copies what `LoadCredential=` names, for this run.
    pub(super) fn load_credentials(&self, name: &str, files: &Files) -> io::Result<()> {
        for setting in files.settings.all("Service", "LoadCredential") {
            let (credential, path) = setting.split_once(':').unwrap_or((setting, setting));
            let directory = credentials(name);
            std::fs::create_dir_all(below(&self.root, &directory))?;
            std::fs::copy(below(&self.root, path), below(&self.root, &format!("{directory}/{credential}")))?;
        }
        Ok(())
    }

    pub(super) fn drop_credentials(&self, name: &str) {
        // Most units have none.
        let _absent = std::fs::remove_dir_all(below(&self.root, &credentials(name)));
    }

    /// Writes what a program has printed where its unit says; else it is lost.
    pub(super) fn keep_output(&self, files: &Files, output: &str) -> io::Result<()> {
        match files.settings.last("Service", "StandardOutput").and_then(|place| place.strip_prefix("file:")) {
            Some(path) => std::fs::write(below(&self.root, path), output),
            None => Ok(()),
        }
    }
}

fn refusal(name: &str, message: &str) -> Refusal {
    Refusal { name: format!("org.freedesktop.systemd1.{name}"), message: message.to_owned() }
}
