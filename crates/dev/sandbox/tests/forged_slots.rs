//! Who forges the record of the switch slots holds nobody up by it.

use std::path::Path;
use std::time::Duration;

use extension_config::names;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{Patch, PatchParams};
use sandbox::{Binaries, Sandbox, WORKER_POOL};
use serde_json::json;

/// Time between two writes of the forger: much less than a slot lasts without a sign.
const FORGED_EVERY: Duration = Duration::from_secs(1);

/// A holder that is no Node of the shoot takes the only slot, and is renewed for ever.
async fn forge(leases: Api<Lease>) {
    loop {
        let record = json!({ "holders": [{ "name": "ghost", "renewed": jiff::Timestamp::now() }], "failures": [] });
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": { "name": names::SWITCH_LEASE, "annotations": { (names::SWITCHES_ANNOTATION): record.to_string() } },
        });
        let parameters = PatchParams::apply("forger").force();
        drop(leases.patch(names::SWITCH_LEASE, &parameters, &Patch::Apply(lease)).await);
        tokio::time::sleep(FORGED_EVERY).await;
    }
}

#[tokio::test]
async fn a_forged_holder_in_the_slot_record_delays_no_node() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let sandbox = Sandbox::up(&root, &Binaries::build(&root)?, &[WORKER_POOL]).await?;
    let forger = tokio::spawn(forge(Api::namespaced(sandbox.shoot.client()?, names::SHOOT_NAMESPACE)));
    let outcome = async {
        sandbox.switch_on(None).await?;
        sandbox.wait_installed(&sandbox.nodes()[0]).await?;
        let reported = sandbox.shoot.store().list("events.k8s.io", "events", "default");
        let ignored: Vec<_> = reported.iter().filter(|event| event["reason"] == "CriResmgrSlotIgnored").collect();
        anyhow::ensure!(ignored.len() == 1, "{} Events about the ghost: {reported:?}", ignored.len());
        anyhow::ensure!(ignored[0]["note"].as_str().is_some_and(|note| note.contains("\"ghost\"")), "{}", ignored[0]);
        Ok(())
    };
    let outcome = outcome.await.map_err(|error: anyhow::Error| error.context(sandbox.explain()));
    forger.abort();
    sandbox.down().await?;
    outcome
}
