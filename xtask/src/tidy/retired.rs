//! Identifiers that were given up for the field's words, and may not come back where that was done. A name that means something else in
//! another crate is free there: each is retired for the folders that are listed with it.

use std::path::Path;

/// A name, the one that is written instead, and the folders of the crates that are done with it.
struct Retired {
    name: &'static str,
    instead: &'static str,
    folders: &'static [&'static str],
}

const NODE: &[&str] = &["crates/node-plan/", "crates/node-agent/", "crates/dynamic-config/"];
const LEASE: &[&str] = &["crates/lease/", "crates/node-agent/src/shoot"];
const ENGINE: &[&str] = &["crates/gardener-extension/"];
const CONTROLLER: &[&str] = &["crates/gardener-extension/", "crates/seed-controller/"];
const EVERYWHERE: &[&str] = &["crates/", "xtask/src/"];

macro_rules! retired {
    ($($folders:expr => { $($name:literal: $instead:literal),+ $(,)? })+) => {
        &[$($(Retired { name: $name, instead: $instead, folders: $folders }),+),+]
    };
}

const RETIRED: &[Retired] = retired! {
    NODE => {
        "Duty": "DaemonMode", "duty": "daemon_mode",
        "Standing": "ConfigStatus", "standing": "config_status",
        "Renewal": "RestartRequest", "renewal": "restart_request",
        "Kept": "RestartBoundState", "unsettled": "needs_repeated_restart",
        "untold": "unreported", "tell": "report", "announce": "record_event",
        "residue": "leftovers", "left_down": "is_down_unintentionally", "harm": "corrupt",
        "Witnesses": "Probe and Clock", "Surroundings": "DaemonEnvironment",
        "Images": "PayloadBinaries", "Permit": "SwitchPermit", "Crowd": "AgentDaemonSet", "Cluster": "ShootApi",
        "Lab": "Fixture", "Bench": "Fixture", "World": "ApiState",
    }
    LEASE => {
        "Ask": "SlotRequest", "Verdict": "SlotDecision", "Doubt": "SlotWarning", "strangers": "non_members",
        "endurance": "effective_lease_duration",
    }
    &["crates/host/"] => { "own_view": "path_in_this_namespace", "Journal": "StateFile", "JournalError": "StateFileError" }
    &["crates/extension-config/", "crates/nri-policy/"] => { "Kept": "RestartBoundState", "untold": "omitted" }
    EVERYWHERE => {
        "told": "reported", "Told": "the name of what was reported", "is_news": "is_changed", "news": "a word for the change",
        "so_many": "the number's name", "Witness": "Probe", "lone": "standalone", "mishap": "fault", "breaches": "violations",
    }
    ENGINE => {
        "Ending": "ReconcileOutcome", "Next": "Requeue", "Seen": "FirstSeen", "Awaited": "DependencyChanged",
        "is_loud": "is_user_request", "is_quiet": "is_resync_only", "Tracks": "PerObjectState", "Track": "ObjectState",
        "held_up": "blocked", "goes_on": "take_blocked", "forgive": "reset_backoff", "Surroundings": "ShootContext",
        "Accidents": "TransientRetry", "Act": "ExternalEvent", "Fate": "ApiOutcome", "World": "FakeSeed",
        "News": "ExtensionUpdate", "ClusterNews": "ClusterUpdate", "Sight": "TargetState", "announces": "must_record_start",
        "Begun": "StartOutcome", "attempt": "try_reconcile", "settle": "handle_outcome", "people": "other_actors",
        "Verdict": "ActuatorOutcome or DesiredCondition",
    }
    CONTROLLER => {
        "look": "reconcile, check or observe", "Look": "NodeCheck", "looks": "queue or node_checks", "Looks": "NodeChecks",
        "looked": "checked", "unasked": "query_error_note",
    }
    &["crates/seed-controller/"] => {
        "Unasked": "QueryError", "Ask": "QueryShoot", "Standing": "Summary", "standing": "summary or recorded", "World": "ShootState",
    }
    &["crates/kubectl-resmgr/"] => { "Standing": "Urgency", "standing": "urgency", "Kept": "Stored", "look": "status" }
    &["crates/nri-policy/"] => { "Verdict": "CheckOutcome", "verdict": "outcome" }
    &["crates/dynamic-config/src/core", "crates/dev/fake-kube-api/"] => { "settle": "run_until_idle" }
    &["crates/dev/bench/"] => { "Landscape": "Scenario", "landscape": "scenario", "Ask": "BulkRequest", "played": "run" }
    &["crates/dev/testbed/", "crates/dev/e2e/"] => { "lone_worker": "standalone_worker" }
    &["crates/dev/e2e/"] => {
        "Ground": "Fixture", "ground": "fixture", "Place": "NamespaceFixture", "Lab": "NodeFixture", "lab": "fixture",
        "PlayedNode": "FakeNode", "StageOptions": "TestEnvironmentOptions", "on_stage": "in_environment",
    }
    &["crates/dev/testbed/"] => { "Launch": "Spawn", "Verdict": "Assessment" }
    &["crates/dev/fake-nri-runtime/"] => { "Ground": "Fixture", "ground": "fixture", "tell": "notify" }
    &["crates/dev/fake-kube-api/"] => { "announce": "broadcast_change" }
    &["crates/dev/fake-systemd/"] => { "tell": "emit", "play": "start" }
    &["crates/dev/e2e/src/", "xtask/src/e2e.rs"] => { "Landscape": "GardenerShoot", "landscape": "gardener_shoot" }
    &["crates/dev/sandbox/src/"] => { "Ground": "ControlPlanes", "BedFaults": "SandboxFaults", "look": "observe", "tell": "report" }
    &["crates/dev/crash-matrix/"] => {
        "Lane": "WorkerNode", "Mishap": "FaultKind", "struck": "injected_at", "spoil": "corrupt", "Spoil": "Inject",
        "Ask": "Query", "Order": "Command",
    }
    &["crates/dev/contract/"] => { "Ground": "Fixture", "Landscape": "SeedAndShoot", "Verdict": "ContractReport" }
    &["crates/dev/sandbox/src/", "crates/dev/fake-systemd/"] => { "Launch": "Spawn", "played": "faked" }
};

/// Every breach in the file at `path` (relative to the repository), as a line for people.
pub(super) fn check(path: &Path, text: &str) -> Vec<String> {
    let is_rust = path.extension().is_some_and(|extension| extension == "rs");
    let Some(path) = path.to_str().filter(|_| is_rust) else { return Vec::new() };
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        for word in identifiers(line) {
            let is_retired = |retired: &&Retired| {
                retired.name == word && retired.folders.iter().any(|folder| path.starts_with(folder))
            };
            if let Some(Retired { name, instead, .. }) = RETIRED.iter().find(is_retired) {
                findings.push(format!("{path}:{number} has the retired name {name}; it is {instead} now"));
            }
        }
    }
    findings
}

/// Identifiers of a line's code. What follows `//` or stands between quotes is prose, or a name of somebody else.
fn identifiers(line: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let code = line.split("//").next().unwrap_or_default();
    code.split('"')
        .filter(move |_| {
            quoted = !quoted;
            quoted
        })
        // A text over several lines looks like code: what follows a backslash in it is no whole word.
        .flat_map(|code| code.split(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '\\')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        check(Path::new(path), text)
    }

    #[test]
    fn a_retired_name_is_found_with_its_successor() {
        let found = findings("crates/node-agent/src/a.rs", "use x;\nfn f(duty: Duty) {}\n");
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], "crates/node-agent/src/a.rs:2 has the retired name duty; it is daemon_mode now");
    }

    #[test]
    fn other_crates_comments_strings_and_longer_names_are_free() {
        for (path, text) in [
            ("crates/preview/src/a.rs", "fn f(duty: Duty) {}"),
            ("crates/node-agent/src/a.rs", "// duty"),
            ("crates/node-agent/src/a.rs", "let x = \"duty\";"),
            ("crates/node-agent/src/a.rs", "let duty_free = heavy_duty;"),
            ("crates/node-agent/src/a.rs", r"dep\tduty"),
            ("crates/node-agent/README.md", "duty"),
        ] {
            assert_eq!(findings(path, text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn no_name_is_retired_twice_in_one_folder() {
        let mut all: Vec<_> =
            RETIRED.iter().flat_map(|retired| retired.folders.iter().map(|f| (*f, retired.name))).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
