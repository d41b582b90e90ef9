//! A configuration that names CPUs which the machine does not have.

use super::model::{NodeState, installation, proxy};
use crate::desired::{Desired, Installation};
use crate::hold::Hold;
use crate::observed::Observed;
use crate::plan::Target;
use crate::preflight::absent_cpus;
use crate::refusal::Refusal;
use crate::static_config::StaticConfig;

fn naming(cpus: &str) -> Installation {
    let text = format!(
        "policy: {{Active: balloons, AvailableResources: {{CPU: 'cpuset:{cpus}'}}, ReservedResources: {{CPU: 1}}}}"
    );
    let mut naming = installation("none", "v1");
    proxy(&mut naming).config = StaticConfig::Fallback(text);
    naming
}

fn desired(installation: Installation) -> Desired {
    Desired::Installed(Box::new(installation))
}

#[test]
fn cpus_that_a_new_node_lacks_refuse_the_install() {
    let model = NodeState::default();
    for forced in [false, true] {
        let mut wanted = naming("0-7");
        if forced {
            let config = &mut proxy(&mut wanted).config;
            *config = StaticConfig::Force(config.text().unwrap_or_default().to_owned());
        }
        let plan = model.plan(&desired(wanted));
        assert_eq!((plan.target, plan.steps), (Target::Installed, vec![]));
        let absent =
            "policy.AvailableResources.CPU is cpuset:0-7, but this node does not have the CPUs 4-7; it has 0-3";
        assert_eq!(plan.holds, [Hold::Refused(Refusal::AbsentCpus(absent.into()))]);
    }
    assert!(!model.plan(&desired(naming("0-3"))).steps.is_empty());
    let unknown = NodeState { cpus: "", ..model };
    assert!(!unknown.plan(&desired(naming("0-7"))).steps.is_empty(), "what is not known refuses nothing");
}

#[test]
fn a_new_configuration_with_absent_cpus_is_refused_and_the_node_stays() {
    let mut model = NodeState::default();
    model.converge(&desired(naming("0-3"))).unwrap();
    let plan = model.plan(&desired(naming("0-7")));
    assert!(plan.steps.is_empty() && plan.holds.len() == 1, "{plan:?}");
}

/// The machine has lost CPUs, or an earlier agent did not look.
#[test]
fn absent_cpus_that_were_in_effect_already_stay_with_a_warning() {
    let mut model = NodeState::default();
    model.converge(&desired(naming("0-3"))).unwrap();
    model.cpus = "0-1";
    let warned = |observed: &Observed, wanted: &Installation| absent_cpus(observed, wanted).in_effect;
    assert_eq!(warned(&model.observe(), &naming("0-3")).len(), 1);
    assert!(model.plan(&desired(naming("0-3"))).is_settled());
    // A new payload, other options, another key: an upgrade never fails for it.
    let mut upgrade = naming("0-3");
    proxy(&mut upgrade).daemon = super::model::blob("v2");
    proxy(&mut upgrade).extra_options = "-v".into();
    assert_eq!(model.converge(&desired(upgrade)), Ok(0));
    // As written before the journal remembered what was proven.
    if let Some(journal) = &mut model.journal {
        journal.proven = None;
    }
    assert_eq!(warned(&model.observe(), &naming("0-3")).len(), 1);
}
