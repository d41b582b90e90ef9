//! Whether a shoot's Prometheus shall have our objects. Pure.
//!
//! The shoot's Prometheus has rules by which the shoot's observability is not healthy while *any* scrape pool is empty, and while a job yields nothing
//! (Gardener's `prometheusrules/worker/healthcheck.yaml`). A ScrapeConfig in a shoot without agents would do that: one whose workers are all of another
//! architecture, whose pools are at zero, or which is still without its first node. So it comes when an agent has reported, which no agent does that
//! never ran, goes when there is none any more, and goes before the agents' DaemonSet does.

/// What is known of a shoot whose agents are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Situation {
    /// The operator wants it.
    pub(super) is_enabled: bool,
    /// Its purpose is one with which it gets a Prometheus.
    pub(super) has_prometheus: bool,
    /// Hibernation is asked for: its Prometheus sleeps, as its nodes do.
    pub(super) is_hibernated: bool,
    /// The roll-up has seen reports of agents, or none. `None`: nothing is known of them.
    pub(super) has_agents: Option<bool>,
    /// The seed has the kinds. `None`: it could not be asked.
    pub(super) is_served: Option<bool>,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    /// It shall have them.
    Apply,
    /// Whatever is there stays as it is.
    Keep,
    /// It shall not have them.
    Remove,
}

pub(super) fn plan(situation: Situation) -> Plan {
    let Situation { is_enabled, has_prometheus, is_hibernated, has_agents, is_served } = situation;
    if !is_enabled || !has_prometheus {
        return Plan::Remove;
    }
    // Without nodes there are no agents, and without a Prometheus nobody minds.
    if is_hibernated {
        return Plan::Keep;
    }
    match (has_agents, is_served) {
        (Some(false), _) | (_, Some(false)) => Plan::Remove,
        (Some(true), Some(true)) => Plan::Apply,
        (None, _) | (_, None) => Plan::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_what() {
        use Plan::{Apply, Keep, Remove};
        const ALL: Situation = Situation {
            is_enabled: true,
            has_prometheus: true,
            is_hibernated: false,
            has_agents: Some(true),
            is_served: Some(true),
        };
        let table = [
            ("agents report", ALL, Apply),
            ("the operator does not want it", Situation { is_enabled: false, ..ALL }, Remove),
            ("for testing", Situation { has_prometheus: false, ..ALL }, Remove),
            ("hibernated", Situation { is_hibernated: true, ..ALL }, Keep),
            ("hibernated, its nodes are gone", Situation { is_hibernated: true, has_agents: Some(false), ..ALL }, Keep),
            ("hibernated, and for testing", Situation { is_hibernated: true, has_prometheus: false, ..ALL }, Remove),
            ("in the making", Situation { has_agents: None, ..ALL }, Keep),
            ("its pools are at zero", Situation { has_agents: Some(false), ..ALL }, Remove),
            ("a seed without the kinds", Situation { is_served: Some(false), ..ALL }, Remove),
            ("a seed that cannot be asked", Situation { is_served: None, ..ALL }, Keep),
            ("neither is known", Situation { is_served: None, has_agents: None, ..ALL }, Keep),
            (
                "gone, and the seed cannot be asked",
                Situation { is_served: None, has_agents: Some(false), ..ALL },
                Remove,
            ),
        ];
        for (what, situation, expected) in table {
            assert_eq!(plan(situation), expected, "{what}");
        }
    }

    /// All of them: nothing is applied without everything that it takes, and nothing unknown takes anything away.
    #[test]
    fn every_situation() {
        let maybe = [None, Some(false), Some(true)];
        for bits in 0..8_u8 {
            let [is_enabled, has_prometheus, is_hibernated] = [1, 2, 4].map(|bit| bits & bit != 0);
            for (has_agents, is_served) in maybe.iter().flat_map(|a| maybe.iter().map(move |b| (*a, *b))) {
                let situation = Situation { is_enabled, has_prometheus, is_hibernated, has_agents, is_served };
                let found = plan(situation);
                let may_have = is_enabled && has_prometheus;
                let all_there = may_have && !is_hibernated && has_agents == Some(true) && is_served == Some(true);
                assert_eq!(found == Plan::Apply, all_there, "{situation:?}");
                let nothing_says_no = has_agents != Some(false) && is_served != Some(false);
                if may_have && nothing_says_no {
                    assert_ne!(found, Plan::Remove, "{situation:?}");
                }
                if !may_have {
                    assert_eq!(found, Plan::Remove, "{situation:?}");
                }
            }
        }
    }
}
