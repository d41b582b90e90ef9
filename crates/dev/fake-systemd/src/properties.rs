//! Properties of units, as `GetAll` gives them.

use std::collections::HashMap;
use std::path::Path;

use unit_files::Command;
use zbus::Variant;

use super::unit::Unit;

type Properties = HashMap<&'static str, Variant<'static>>;
/// Path, arguments, whether a failure is ignored, and times, process and exit of the last run, which nobody here asks for.
type Exec = (String, Vec<String>, bool, u64, u64, u64, u64, u32, i32, i32);

pub(super) fn unit(root: &Path, name: &str, unit: &Unit) -> Properties {
    HashMap::from([
        ("Id", Variant::from(name.to_owned())),
        ("Names", Variant::from(vec![name.to_owned()])),
        ("LoadState", Variant::from(unit.files.load_state)),
        ("LoadError", Variant::from(unit.files.load_error.clone())),
        ("ActiveState", Variant::from(unit.active)),
        ("SubState", Variant::from(unit.sub)),
        ("FragmentPath", Variant::from(unit.files.fragment.clone())),
        ("DropInPaths", Variant::from(unit.files.drop_ins.clone())),
        ("NeedDaemonReload", Variant::from(false)),
        ("UnitFileState", Variant::from(unit.files.unit_file_state(root, name))),
        ("InvocationID", Variant::from(unit.invocation.clone())),
        ("ActiveEnterTimestampMonotonic", Variant::from(unit.active_enter)),
        ("StartLimitBurst", Variant::from(unit.start_limit_burst())),
    ])
}

pub(super) fn service(name: &str, unit: &Unit) -> Properties {
    let control_group = if unit.main_pid == 0 { String::new() } else { control_group(name) };
    let environment_files = unit.files.settings.environment_files().into_iter();
    let environment_files: Vec<_> = environment_files.map(|(path, optional)| (path.to_owned(), optional)).collect();
    HashMap::from([
        ("MainPID", Variant::from(unit.main_pid)),
        ("NRestarts", Variant::from(unit.n_restarts)),
        ("Result", Variant::from(unit.result)),
        ("ExecMainStatus", Variant::from(unit.exit.1)),
        ("ExecMainCode", Variant::from(unit.exit.0)),
        ("EnvironmentFiles", Variant::from(environment_files)),
        ("ExecStartPre", Variant::from(commands(&unit.files.commands("ExecStartPre")))),
        ("ExecStart", Variant::from(commands(&unit.files.commands("ExecStart")))),
        ("ControlGroup", Variant::from(control_group)),
    ])
}

fn commands(all: &[Command]) -> Vec<Exec> {
    let exec = |command: &Command| {
        (command.path.clone(), command.arguments.clone(), command.ignore_failure, 0, 0, 0, 0, 0, 0, 0)
    };
    all.iter().map(exec).collect()
}

pub(super) fn control_group(name: &str) -> String {
    format!("/system.slice/{name}")
}
