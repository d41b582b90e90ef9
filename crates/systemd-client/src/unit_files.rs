//! Enabling and disabling: the links that start a unit at boot.

use crate::error::SystemdError;
use crate::systemd::Systemd;
use crate::text_enum::text_enum;

text_enum! {
    /// Enablement of a unit file.
    UnitFileState {
        /// Links for the next boot exist.
        Enabled = "enabled",
        /// Links until the next boot exist.
        EnabledRuntime = "enabled-runtime",
        /// No links, but an `[Install]` section.
        Disabled = "disabled",
        /// No `[Install]` section.
        Static = "static",
        /// Masked for good.
        Masked = "masked",
        /// Masked until the next boot.
        MaskedRuntime = "masked-runtime",
        /// The unit file itself is a link.
        Linked = "linked",
        /// The unit file itself is a link below `/run`.
        LinkedRuntime = "linked-runtime",
        /// Made by a generator.
        Generated = "generated",
        /// Not valid.
        Bad = "bad",
    }
}

/// One link that systemd made or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitFileChange {
    /// `symlink` or `unlink`.
    pub kind: String,
    /// Path of the link.
    pub path: String,
    /// Where it points; empty for a removed one.
    pub destination: String,
}

/// What enabling did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnableOutcome {
    /// Whether the units have an `[Install]` section; false means that nothing will start them at boot.
    pub carries_install_info: bool,
    /// Links made or removed; empty if all was in place.
    pub changes: Vec<UnitFileChange>,
}

type RawChange = (String, String, String);

fn changes(raw: Vec<RawChange>) -> Vec<UnitFileChange> {
    let change = |(kind, path, destination)| UnitFileChange { kind, path, destination };
    raw.into_iter().map(change).collect()
}

impl Systemd {
    /// Makes the links that start the units at boot, also over existing links with another target. Does not reload.
    pub async fn enable_unit_files(&self, units: &[&str]) -> Result<EnableOutcome, SystemdError> {
        let what = format!("EnableUnitFiles {}", units.join(" "));
        let (carries_install_info, raw): (bool, Vec<RawChange>) =
            self.call(&what, "EnableUnitFiles", &(units, false, true)).await?;
        Ok(EnableOutcome { carries_install_info, changes: changes(raw) })
    }

    /// Removes the links that start the units at boot, dangling ones too; nothing to remove is a success. Does not reload.
    pub async fn disable_unit_files(&self, units: &[&str]) -> Result<Vec<UnitFileChange>, SystemdError> {
        let what = format!("DisableUnitFiles {}", units.join(" "));
        match self.call::<_, Vec<RawChange>>(&what, "DisableUnitFiles", &(units, false)).await {
            Ok(raw) => Ok(changes(raw)),
            Err(SystemdError::NoSuchUnit { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Enablement as the files on the disk say; `None` where there is no such unit file.
    pub async fn unit_file_state(&self, unit: &str) -> Result<Option<UnitFileState>, SystemdError> {
        let what = format!("GetUnitFileState {unit}");
        match self.call::<_, String>(&what, "GetUnitFileState", &(unit,)).await {
            Ok(word) => Ok(Some(UnitFileState::from(word.as_str()))),
            Err(SystemdError::NoSuchUnit { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
