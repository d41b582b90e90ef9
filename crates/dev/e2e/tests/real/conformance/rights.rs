//! The controller's rights in the seed are what it needs: section 7.4, and not more.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use e2e::rbac::{Grant, calls, findings};
use k8s_openapi::api::rbac::v1::{ClusterRole, Role};
use kube::Api;
use kube::api::ListParams;

use super::Fixture;

const ACCOUNT: &str = "gardener-extension-cri-resmgr";

pub(super) async fn conformance_rights_are_what_is_used(fixture: &Fixture) -> anyhow::Result<()> {
    let chart = ListParams::default().labels(&format!("app.kubernetes.io/name={ACCOUNT}"));
    let cluster_roles: Api<ClusterRole> = Api::all(fixture.seed.clone());
    let roles: Api<Role> = Api::all(fixture.seed.clone());
    let mut grants = BTreeSet::new();
    for role in cluster_roles.list(&chart).await? {
        grants.extend(Grant::all_of(&role.rules.unwrap_or_default()));
    }
    let mut namespace = None;
    for role in roles.list(&chart).await? {
        grants.extend(Grant::all_of(&role.rules.unwrap_or_default()));
        namespace = role.metadata.namespace;
    }
    let namespace = namespace.context("the chart has no Role")?;
    let path = fixture.bed.seed().audit_log();
    let log = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let calls = calls(&log, &format!("system:serviceaccount:{namespace}:{ACCOUNT}"))?;
    ensure!(!calls.is_empty() && !grants.is_empty(), "{} calls, {} rights", calls.len(), grants.len());
    let findings = findings(&calls, &grants);
    ensure!(findings.is_empty(), "{}", findings.join("\n"));
    fixture.progress.step(&format!("{} different calls, {} rights, all used", calls.len(), grants.len()));
    Ok(())
}
