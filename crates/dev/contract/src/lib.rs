//! What a stand-in and the real component have in common, as checks that run unchanged against both. A difference is a defect of the
//! stand-in.

mod apply;
mod cri;
mod ground;
mod machine;
mod objects;
mod resources;
mod units;
mod versions;
mod watches;

use std::path::PathBuf;
use std::pin::Pin;

use futures::FutureExt as _;

use ground::Ground;
pub use machine::Machine;
pub use resources::Landscape;

type Outcome<'a> = Pin<Box<dyn Future<Output = anyhow::Result<()>> + 'a>>;

/// One rule of a component, checked on a subject of it.
#[derive(Debug, Clone, Copy)]
pub struct Check<Subject: 'static> {
    /// What holds.
    pub name: &'static str,
    run: fn(&Subject) -> Outcome<'_>,
}

/// What became of the rules of one component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    what: &'static str,
    checked: usize,
    /// Each rule that does not hold, and how the component differs.
    pub broken: Vec<String>,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} rules of {} hold", self.checked - self.broken.len(), self.checked, self.what)?;
        self.broken.iter().try_for_each(|broken| write!(f, "\n  {broken}"))
    }
}

/// Checks all rules of `what` on a subject, one after the other.
pub async fn verify<Subject>(what: &'static str, checks: &[Check<Subject>], subject: &Subject) -> Verdict {
    let mut broken = Vec::new();
    for check in checks {
        if let Err(error) = (check.run)(subject).await {
            broken.push(format!("{}: {error:#}", check.name));
        }
    }
    Verdict { what, checked: checks.len(), broken }
}

macro_rules! checks {
    ($on:path; $($module:ident :: $name:ident),+ $(,)?) => {
        &[$(Check { name: stringify!($name), run: |subject| $on(subject, async |ground| $module::$name(ground).await).boxed_local() }),+]
    };
}

/// In a namespace of its own.
async fn in_a_namespace(
    client: &kube::Client,
    check: impl AsyncFnOnce(&Ground) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    check(&Ground::new(client.clone()).await?).await
}

/// What the check made is taken away, whatever it found.
async fn on_a_clean_machine(
    machine: &Machine,
    check: impl AsyncFnOnce(&Machine) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let outcome = check(machine).await;
    machine.clean().await.and(outcome)
}

async fn on_a_socket(socket: &PathBuf, check: impl AsyncFnOnce(&PathBuf) -> anyhow::Result<()>) -> anyhow::Result<()> {
    check(socket).await
}

/// What the check made is taken away, whatever it found.
async fn in_a_clean_landscape(
    landscape: &Landscape,
    check: impl AsyncFnOnce(&Landscape) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let outcome = check(landscape).await;
    landscape.clean().await.and(outcome)
}

/// Rules of a Kubernetes API.
pub const KUBERNETES_API: &[Check<kube::Client>] = checks![
    in_a_namespace;
    objects::creating_gives_identity_and_only_once,
    objects::names_can_be_generated,
    objects::a_namespace_must_exist,
    objects::what_is_missing_is_not_found,
    objects::an_unknown_kind_is_not_found,
    objects::nulls_are_not_stored,
    objects::texts_of_secrets_are_encoded,
    objects::metadata_alone_can_be_asked_for,
    objects::labels_and_names_select,
    objects::what_is_immutable_stays,
    objects::the_name_must_be_that_of_the_address,
    objects::a_collection_can_be_deleted,
    versions::an_outdated_write_is_refused,
    versions::a_write_without_a_version_wins,
    versions::the_same_again_is_no_write,
    versions::json_patches_test_and_change,
    versions::strategic_patches_merge_keyed_lists,
    versions::counting_together_loses_nothing,
    versions::the_status_is_apart,
    versions::the_generation_counts_changes_of_the_specification,
    versions::finalizers_hold_a_deletion,
    versions::a_deletion_can_be_bound_to_an_identity,
    apply::applying_creates_and_the_same_again_is_no_write,
    apply::what_is_no_longer_applied_goes,
    apply::what_others_own_stays,
    apply::others_values_are_not_taken_without_force,
    apply::what_was_updated_belongs_to_who_updated_it,
    apply::the_same_value_is_shared,
    apply::items_of_keyed_lists_are_owned_one_by_one,
    apply::applying_needs_a_manager,
    apply::the_status_is_applied_apart,
    watches::everything_is_told_in_order,
    watches::a_selector_tells_of_what_leaves,
    watches::without_a_version_everything_comes_first,
    watches::bookmarks_tell_where_one_is,
];

/// Rules of systemd.
pub const SYSTEMD: &[Check<Machine>] = checks![
    on_a_clean_machine;
    units::what_is_missing_is_told_and_no_error_to_look_at,
    units::a_service_starts_stops_and_is_a_new_one_each_time,
    units::commands_before_the_start_make_what_the_start_gets,
    units::a_command_before_that_fails_ends_the_start,
    units::files_count_after_a_reload,
    units::a_unit_with_two_programs_is_bad_and_what_runs_goes_on,
    units::a_masked_unit_does_not_start,
    units::what_exits_has_failed_with_its_status,
    units::what_cannot_be_executed_has_failed_after_its_start,
    units::what_is_killed_comes_back_as_a_new_run,
    units::what_fails_again_and_again_is_given_up,
    units::a_failed_unit_stays_without_its_file_until_it_is_reset,
    units::a_unit_is_stopped_in_any_state,
    units::a_stop_cancels_the_start_that_runs,
    units::what_waits_to_be_started_again_can_be_stopped,
    units::enabling_makes_the_link_and_disabling_takes_it,
    units::a_condition_holds_back_without_a_failure,
    units::a_timer_starts_its_unit_again_and_again,
    units::try_restart_leaves_alone_what_does_not_run,
    units::changes_are_told,
];

/// Rules of a container runtime, and of the proxy before one.
pub const CONTAINER_RUNTIME: &[Check<PathBuf>] = checks![
    on_a_socket;
    cri::it_is_containerd_and_speaks_v1,
    cri::it_is_ready_and_tells_of_the_network,
    cri::one_connection_serves_many_calls,
    cri::many_connections_are_served_at_once,
];

/// Rules of gardener-resource-manager.
pub const RESOURCE_MANAGER: &[Check<Landscape>] = checks![
    in_a_clean_landscape;
    resources::objects_are_applied_marked_and_listed,
    resources::a_change_of_the_secret_alone_is_applied,
    resources::what_somebody_changed_or_deleted_is_put_right,
    resources::what_is_no_longer_listed_goes,
    resources::labels_are_injected_into_objects_and_pods,
    resources::a_daemon_set_without_nodes_is_healthy,
    resources::a_daemon_set_whose_pods_are_not_ready_is_not,
    resources::what_cannot_be_applied_is_told,
    resources::a_missing_secret_is_told,
    resources::another_class_is_left_alone,
    resources::a_deletion_takes_the_objects_first,
    resources::objects_that_are_kept_stay,
];
