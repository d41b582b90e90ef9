//! Looking at kubelet: the *running* one, because variables and files that its unit only names decide what it does.

use extension_config::names::node;
use kubelet_config::{Files, read_settings};
use node_plan::Kubelet;
use observability::ErrorChain;

use crate::effects::{self, Result, Units};

/// kubelet's unit, process and settings.
pub(crate) async fn observe(effects: &mut (impl effects::Files + Units)) -> Result<Kubelet> {
    let view = effects.unit(node::KUBELET_UNIT).await?;
    let command_line = view.command_line.as_deref().map(kubelet_config::of_process);
    let in_unit = view.exec_start.first().map_or(&[][..], Vec::as_slice);
    let settings = read_settings(&Host(&*effects), command_line.as_deref(), in_unit);
    Ok(Kubelet { unit: view.unit, exec_start: view.exec_start, command_line, settings })
}

/// The host as [`kubelet_config`] asks for it.
struct Host<'a, E>(&'a E);

impl<E: effects::Files> Files for Host<'_, E> {
    fn text(&self, path: &str) -> std::result::Result<Option<String>, String> {
        self.0.read_text(path).map_err(|error| ErrorChain(&error).to_string())
    }

    fn list(&self, path: &str, most: usize) -> std::result::Result<Vec<(String, bool)>, String> {
        self.0.list(path, most).map_err(|error| ErrorChain(&error).to_string())
    }
}
