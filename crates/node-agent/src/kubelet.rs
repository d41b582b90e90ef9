//! Looking at kubelet: the *running* one, because variables and files that its unit only names decide what it does.

use extension_config::names::node;
use kubelet_config::{DROP_INS, Settings, is_drop_in, sources};
use node_plan::Kubelet;
use observability::ErrorChain;

use crate::effects::{EffectError, Effects, Result};

/// Levels of directories below `--config-dir`.
const DEPTH: usize = 8;

/// kubelet's unit, process and settings.
pub(crate) async fn look(effects: &impl Effects) -> Result<Kubelet> {
    let view = effects.unit(node::KUBELET_UNIT).await?;
    let command_line = view.command_line.as_deref().map(kubelet_config::of_process);
    let in_unit = view.exec_start.first().map_or(&[][..], Vec::as_slice);
    let settings = settings(effects, command_line.as_deref(), in_unit);
    Ok(Kubelet { unit: view.unit, exec_start: view.exec_start, command_line, settings })
}

fn settings(
    effects: &impl Effects,
    running: Option<&[String]>,
    in_unit: &[String],
) -> std::result::Result<Settings, String> {
    let words = running.unwrap_or(in_unit);
    let mut found = sources(words);
    // Without a process the flag may stand in a variable (kind); where the file then is is a convention of kubeadm.
    let is_guess = running.is_none() && found.file.is_none();
    if is_guess {
        found.file = Some("/var/lib/kubelet/config.yaml".to_owned());
    }
    let mut files = Vec::new();
    if let Some(path) = found.file {
        match effects.read_text(&path).map_err(|error| chain(&error))? {
            Some(text) => files.push((path, text)),
            None if is_guess => {}
            None => return Err(format!("{path} is not there")),
        }
    }
    if let Some(directory) = found.drop_ins {
        let mut paths = Vec::new();
        drop_ins(effects, &directory, DEPTH, &mut paths)?;
        for path in paths {
            if let Some(text) = effects.read_text(&path).map_err(|error| chain(&error))? {
                files.push((path, text));
            }
        }
    }
    Settings::of(words, &files).map_err(|error| ErrorChain(&error).to_string())
}

fn chain(error: &EffectError) -> String {
    ErrorChain(error).to_string()
}

/// The files below a directory that kubelet takes, in its order.
fn drop_ins(
    effects: &impl Effects,
    directory: &str,
    depth: usize,
    paths: &mut Vec<String>,
) -> std::result::Result<(), String> {
    for (name, is_directory) in effects.list(directory).map_err(|error| chain(&error))? {
        let path = format!("{}/{name}", directory.trim_end_matches('/'));
        if is_directory {
            let deeper = depth.checked_sub(1).ok_or_else(|| format!("{path} is too deep: {DEPTH} levels are read"))?;
            drop_ins(effects, &path, deeper, paths)?;
        } else if is_drop_in(&name) {
            if paths.len() == DROP_INS {
                return Err(format!("{directory} has more files than {DROP_INS}"));
            }
            paths.push(path);
        }
    }
    Ok(())
}
