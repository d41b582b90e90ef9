//! What a stand-in and the real component have in common, as checks that run unchanged against both. A difference is a defect of the
//! stand-in.

mod apply;
mod cri;
mod fixture;
mod machine;
mod objects;
mod resources;
mod units;
mod versions;
mod watches;

use std::path::PathBuf;
use std::pin::Pin;

use futures::FutureExt as _;

use fixture::Fixture;
pub use machine::Machine;
pub use resources::SeedAndShoot;

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
pub struct ContractReport {
    what: &'static str,
    checked: usize,
    /// Each rule that does not hold, and how the component differs.
    pub broken: Vec<String>,
}

impl std::fmt::Display for ContractReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} rules of {} hold", self.checked - self.broken.len(), self.checked, self.what)?;
        self.broken.iter().try_for_each(|broken| write!(f, "\n  {broken}"))
    }
}

/// Checks all rules of `what` on a subject, one after the other.
pub async fn verify<Subject>(what: &'static str, checks: &[Check<Subject>], subject: &Subject) -> ContractReport {
    let mut broken = Vec::new();
    for check in checks {
        if let Err(error) = (check.run)(subject).await {
            broken.push(format!("{}: {error:#}", check.name));
        }
    }
    ContractReport { what, checked: checks.len(), broken }
}

macro_rules! checks {
    ($on:path; $($module:ident :: $name:ident),+ $(,)?) => {
        &[$(Check { name: stringify!($name), run: |subject| $on(subject, async |fixture| $module::$name(fixture).await).boxed_local() }),+]
    };
}

/// In a namespace of its own.
async fn in_a_namespace(
    client: &kube::Client,
    check: impl AsyncFnOnce(&Fixture) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    check(&Fixture::new(client.clone()).await?).await
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
async fn in_a_clean_seed_and_shoot(
    seed_and_shoot: &SeedAndShoot,
    check: impl AsyncFnOnce(&SeedAndShoot) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let outcome = check(seed_and_shoot).await;
    seed_and_shoot.clean().await.and(outcome)
}

/// Rules of a Kubernetes API.
pub const KUBERNETES_API: &[Check<kube::Client>] = checks![
    in_a_namespace;
    objects::create_sets_uid_and_version_and_refuses_a_second_time,
    objects::create_with_generate_name_makes_a_unique_name,
    objects::create_in_a_missing_namespace_is_not_found,
    objects::a_missing_object_is_not_found,
    objects::an_unknown_resource_is_not_found,
    objects::discovery_lists_a_group_and_does_not_find_an_unknown_one,
    objects::null_fields_are_not_stored,
    objects::string_data_of_a_secret_is_stored_as_base64_data,
    objects::partial_object_metadata_can_be_requested,
    objects::lists_are_filtered_by_label_and_name,
    objects::immutable_fields_cannot_be_changed,
    objects::an_object_whose_name_differs_from_the_path_is_refused,
    objects::delete_collection_deletes_what_the_selector_matches,
    versions::an_update_with_an_old_resource_version_conflicts,
    versions::an_update_without_a_resource_version_wins,
    versions::an_update_that_changes_nothing_keeps_the_resource_version,
    versions::json_patches_apply_and_fail_at_a_failed_test,
    versions::strategic_patches_merge_keyed_lists,
    versions::concurrent_updates_with_retries_lose_nothing,
    versions::the_status_is_changed_through_its_subresource_only,
    versions::the_generation_changes_with_the_specification_only,
    versions::finalizers_delay_a_deletion,
    versions::a_deletion_with_a_uid_precondition_spares_another_object,
    apply::apply_creates_and_an_equal_apply_keeps_the_resource_version,
    apply::a_field_that_is_no_longer_applied_is_removed,
    apply::fields_of_other_managers_survive_an_apply,
    apply::apply_of_a_field_of_another_manager_conflicts_without_force,
    apply::an_updated_field_is_owned_by_the_updating_manager,
    apply::an_equal_value_is_owned_by_both_managers,
    apply::items_of_keyed_lists_have_owners_of_their_own,
    apply::apply_without_a_field_manager_is_refused,
    apply::the_status_is_applied_through_its_subresource_only,
    watches::a_watch_delivers_every_event_in_order,
    watches::a_watch_with_a_selector_reports_an_object_that_stops_matching_as_deleted,
    watches::a_watch_without_a_resource_version_starts_with_the_existing_objects,
    watches::bookmarks_carry_the_current_resource_version,
];

/// Rules of systemd.
pub const SYSTEMD: &[Check<Machine>] = checks![
    on_a_clean_machine;
    units::a_missing_unit_is_not_found_and_can_be_inspected,
    units::a_service_has_a_new_invocation_at_each_start,
    units::exec_start_pre_can_write_the_environment_file_of_the_start,
    units::a_failing_exec_start_pre_fails_the_start,
    units::changed_unit_files_take_effect_after_a_reload,
    units::a_unit_with_two_exec_start_lines_is_bad_and_its_running_process_stays,
    units::a_masked_unit_does_not_start,
    units::a_service_that_exits_with_an_error_has_failed_with_its_status,
    units::a_service_whose_program_cannot_be_executed_fails_after_its_start,
    units::a_killed_service_with_restart_always_gets_a_new_invocation,
    units::a_service_that_reaches_its_start_limit_is_failed,
    units::a_failed_unit_without_its_file_stays_listed_until_reset_failed,
    units::stop_works_in_every_state_of_a_unit,
    units::a_stop_job_cancels_a_start_job_under_way,
    units::a_unit_that_waits_for_its_restart_can_be_stopped,
    units::enable_makes_the_link_and_disable_removes_it,
    units::a_failed_condition_skips_the_start_without_a_failure,
    units::a_timer_starts_its_unit_repeatedly,
    units::try_restart_does_not_start_a_stopped_unit,
    units::changes_of_units_are_signalled,
];

/// Rules of a container runtime, and of the proxy before one.
pub const CONTAINER_RUNTIME: &[Check<PathBuf>] = checks![
    on_a_socket;
    cri::version_reports_containerd_and_cri_v1,
    cri::status_reports_runtime_and_network_readiness,
    cri::one_connection_serves_many_calls,
    cri::many_connections_are_served_at_once,
];

/// Rules of gardener-resource-manager.
pub const RESOURCE_MANAGER: &[Check<SeedAndShoot>] = checks![
    in_a_clean_seed_and_shoot;
    resources::objects_are_applied_marked_and_listed,
    resources::a_change_of_the_secret_alone_is_applied,
    resources::changed_or_deleted_objects_are_restored,
    resources::objects_that_are_no_longer_in_the_secret_are_deleted,
    resources::labels_are_injected_into_objects_and_pods,
    resources::a_daemon_set_without_nodes_is_healthy_at_once,
    resources::a_daemon_set_whose_pods_are_not_ready_is_unhealthy,
    resources::an_object_that_cannot_be_applied_is_named_in_the_condition,
    resources::a_missing_secret_is_named_in_the_condition,
    resources::a_managed_resource_of_another_class_is_ignored,
    resources::a_deletion_removes_the_objects_before_the_finalizer,
    resources::objects_with_keep_objects_survive_a_deletion,
];
