//! What a stand-in and the real component have in common, as checks that run unchanged against both. A difference is a defect of the
//! stand-in.

mod apply;
mod ground;
mod objects;
mod versions;
mod watches;

use std::pin::Pin;

use futures::FutureExt as _;

pub use ground::Ground;

type Outcome<'a> = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send + 'a>>;

/// One rule of a Kubernetes API.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// What holds.
    pub name: &'static str,
    run: fn(&Ground) -> Outcome<'_>,
}

macro_rules! checks {
    ($($module:ident :: $name:ident),+ $(,)?) => {
        &[$(Check { name: stringify!($name), run: |ground| $module::$name(ground).boxed() }),+]
    };
}

/// All rules.
pub const KUBERNETES_API: &[Check] = checks![
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

impl Check {
    /// Checks it, in a namespace of its own.
    ///
    /// # Errors
    /// How the API differs.
    pub async fn run(&self, client: &kube::Client) -> anyhow::Result<()> {
        let ground = Ground::new(client.clone()).await?;
        (self.run)(&ground).await
    }
}
