use proptest::prelude::*;

use super::*;

const START: u64 = 1_800_000_000;

/// A node over time: what was said of it, and when it is.
struct Node {
    published: Published,
    now: u64,
    last: Option<NodeReport>,
    stage: Stage,
    message: String,
    codes: Vec<ReasonCode>,
    backend: Backend,
    inputs: &'static str,
    config: Option<&'static str>,
    in_effect: InEffect,
    problem: ConfigProblem,
    warnings: Vec<String>,
    slot_since: Option<u64>,
    restart_requested: bool,
    done: Done,
    healed: Done,
    desired: &'static str,
}

impl Node {
    fn new() -> Self {
        Self {
            published: Published::default(),
            now: START,
            last: None,
            stage: Stage::Working,
            message: String::new(),
            codes: Vec::new(),
            backend: Backend::Proxy,
            inputs: "a",
            config: None,
            in_effect: InEffect::Known,
            problem: ConfigProblem::None,
            warnings: Vec::new(),
            slot_since: None,
            restart_requested: false,
            done: Done::default(),
            healed: Done::default(),
            desired: "0123abcd",
        }
    }

    /// As desired, and published.
    fn installed() -> Self {
        let mut node = Self::new();
        node.stage = Stage::Installed;
        assert_eq!(node.round(), [""; 0], "the first look is no change");
        node.now += 3600;
        node
    }

    fn stage(&mut self, stage: Stage, codes: &[ReasonCode], message: &str) -> &mut Self {
        (self.stage, self.codes, self.message) = (stage, codes.to_vec(), message.to_owned());
        self
    }

    fn did(&mut self, changes: usize, kubelet_restarts: usize, because: &str) -> &mut Self {
        self.done.append(&Done { changes, kubelet_restarts, because: vec![because.to_owned()] });
        self
    }

    fn report(&self) -> NodeReport {
        NodeReport {
            stage: self.stage,
            phase: "Install".to_owned(),
            desired: self.desired.to_owned(),
            since: self.now,
            restarts: 0,
            message: self.message.clone(),
            warnings: self.warnings.clone(),
            config: self.config.map(str::to_owned),
            retry_at: None,
            awaits_slot: self.slot_since.is_some(),
            backend: Some(backend_word(self.backend).to_owned()),
            version: Some("0.1.0".to_owned()),
            codes: Vec::new(),
            slot_since: self.slot_since,
            published: self.published.clone(),
        }
    }

    /// A round as an agent has it: the Events of it, each as `Reason: note`.
    fn round(&mut self) -> Vec<String> {
        let report = self.report();
        let nothing = Done::default();
        let made = Round {
            report: &report,
            now: self.now,
            codes: &self.codes,
            backend: Some(self.backend),
            inputs: Some(self.inputs),
            in_effect: self.in_effect,
            problem: &self.problem,
            restart_requested: self.restart_requested,
            done: &self.done,
            healed: &nothing,
        };
        let is_heal = is_heal(&self.published, self.last.as_ref(), &made);
        let mut healed = self.healed.clone();
        if is_heal {
            healed.append(&self.done);
        }
        let decision = decide(&self.published, &Round { healed: &healed, ..made });
        let has_published_heal = decision.announcements.iter().any(|one| one.event == NodeEvent::Healed);
        self.healed = if has_published_heal { Done::default() } else { healed };
        if is_heal || (!decision.is_pending && !matches!(self.stage, Stage::Working | Stage::Undecided)) {
            self.done = Done::default();
        }
        self.published = decision.published;
        self.last = Some(self.report());
        decision.announcements.iter().map(|one| format!("{}: {}", one.event.as_str(), one.note)).collect()
    }

    /// Another agent comes, which knows what stands in the report.
    fn next_agent(&mut self) {
        let text = serde_json::to_string(&self.last.as_ref().unwrap()).unwrap();
        let earlier: NodeReport = serde_json::from_str(&text).unwrap();
        self.published = published_before(Some(&earlier));
        self.last = Some(earlier);
        (self.done, self.healed) = (Done::default(), Done::default());
    }

    /// One round that says something, one that has nothing to publish, and another agent that has nothing to publish either.
    fn tells_once(&mut self) -> String {
        let events = self.round();
        assert_eq!(events.len(), 1, "{events:?}");
        assert_eq!(self.round(), [""; 0], "the next round");
        self.next_agent();
        assert_eq!(self.round(), [""; 0], "the next agent");
        self.now += SAME_REASON_SECONDS;
        assert_eq!(self.round(), [""; 0], "later");
        events.into_iter().next().unwrap()
    }
}

#[test]
fn a_switch_is_reported_with_backend_configuration_and_restarts() {
    let mut node = Node::new();
    node.stage(Stage::Installed, &[], "").did(12, 1, "kubelet runs on containerd");
    assert_eq!(
        node.tells_once(),
        "CriResmgrInstalled: kubelet runs through cri-resmgr, with the static configuration, with 1 restart of kubelet"
    );
    let mut plugin = Node::new();
    plugin.stage(Stage::Installed, &[], "").did(12, 0, "x");
    (plugin.backend, plugin.config) = (Backend::Plugin, Some("cri-resmgr-policy.default"));
    assert_eq!(
        plugin.tells_once(),
        "CriResmgrInstalled: a policy of nri-plugins places the containers, with cri-resmgr-policy.default, without a restart of kubelet"
    );
}

#[test]
fn a_change_of_backend_is_reported_as_one() {
    let mut node = Node::installed();
    node.stage(Stage::Working, &[ReasonCode::UnderWay], "3 steps to do").did(9, 1, "x");
    assert_eq!(node.round(), [""; 0]);
    node.stage(Stage::Installed, &[], "").backend = Backend::Plugin;
    node.inputs = "p";
    assert_eq!(
        node.tells_once(),
        "CriResmgrMoved: moved from cri-resmgr: a policy of nri-plugins places the containers, with the static configuration, with 1 restart of kubelet"
    );
}

#[test]
fn a_roll_back_is_reported_with_its_reason_and_so_is_the_recovery() {
    let mut node = Node::installed();
    node.stage(Stage::RolledBack, &[ReasonCode::RolledBackToPrevious], "rolled back after failure 1: it crashed")
        .did(3, 0, "x");
    assert_eq!(node.tells_once(), "CriResmgrRolledBack: rolled back after failure 1: it crashed");
    node.stage(Stage::RolledBack, &[ReasonCode::RolledBackToPrevious], "rolled back after failure 2: it crashed");
    assert_eq!(node.tells_once(), "CriResmgrRolledBack: rolled back after failure 2: it crashed");
    node.stage(Stage::Installed, &[], "").did(4, 0, "other inputs");
    node.inputs = "b";
    assert_eq!(
        node.tells_once(),
        "CriResmgrInstalled: kubelet runs through cri-resmgr, with the static configuration, without a restart of kubelet"
    );
}

#[test]
fn what_blocks_a_node_is_reported_by_its_codes() {
    let mut node = Node::new();
    node.stage(Stage::Blocked, &[ReasonCode::Space], "90 MiB are free");
    assert_eq!(node.tells_once(), "CriResmgrBlocked: Space: 90 MiB are free");
    // The sentence alone is no change.
    node.stage(Stage::Blocked, &[ReasonCode::Space], "80 MiB are free");
    assert_eq!(node.round(), [""; 0]);
    node.stage(Stage::Blocked, &[ReasonCode::Space, ReasonCode::Masked], "80 MiB are free; masked");
    assert_eq!(node.tells_once(), "CriResmgrBlocked: Space, Masked: 80 MiB are free; masked");
}

#[test]
fn a_removal_is_reported_once_and_a_node_that_was_never_switched_reports_nothing() {
    let mut node = Node::installed();
    node.stage(Stage::Clean, &[], "").did(20, 1, "x");
    assert!(node.tells_once().starts_with("CriResmgrRemoved: cri-resmgr is removed; "));
    let mut clean = Node::new();
    clean.stage(Stage::Clean, &[], "");
    assert_eq!(clean.round(), [""; 0]);
    let mut blocked = Node::new();
    blocked.stage(Stage::Blocked, &[ReasonCode::Masked], "m").round();
    assert_eq!(blocked.stage(Stage::Clean, &[], "").round(), [""; 0], "nothing was there");
    // The agent of before has removed it and could not say.
    let mut published = Node::installed();
    assert_eq!(published.stage(Stage::Clean, &[], "").round().len(), 1);
}

#[test]
fn a_heal_is_reported_with_what_was_put_right_and_only_when_nothing_else_was_wanted() {
    let mut node = Node::installed();
    node.did(2, 1, "kubelet runs on containerd");
    assert_eq!(
        node.tells_once(),
        "CriResmgrHealed: put right, with 1 restart of kubelet: kubelet runs on containerd; 2 steps in all"
    );
    let changes: [fn(&mut Node); 4] = [
        |node| node.desired = "89abcdef",
        |node| node.inputs = "b",
        |node| node.restart_requested = true,
        |node| node.backend = Backend::Plugin,
    ];
    for change in changes {
        let mut node = Node::installed();
        node.did(2, 0, "x");
        change(&mut node);
        assert!(!node.round().iter().any(|event| event.starts_with("CriResmgrHealed")));
    }
}

#[test]
fn heals_that_come_often_are_reported_together() {
    let mut node = Node::installed();
    assert_eq!(node.did(1, 0, "a is missing").round().len(), 1);
    for _ in 0..3 {
        node.now += 30;
        assert_eq!(node.did(1, 0, "b is missing").round(), [""; 0]);
    }
    node.now += SAME_REASON_SECONDS;
    assert_eq!(
        node.round(),
        ["CriResmgrHealed: put right, without a restart of kubelet: b is missing; 3 steps in all"]
    );
    node.now += SAME_REASON_SECONDS;
    assert_eq!(node.round(), [""; 0]);
}

#[test]
fn another_configuration_in_effect_is_reported_when_it_is_known() {
    let mut node = Node::installed();
    // The daemon was started anew, and has not got its configuration yet.
    node.in_effect = InEffect::Unknown;
    assert_eq!(node.round(), [""; 0]);
    (node.in_effect, node.config) = (InEffect::Known, Some("cri-resmgr-config.default (89abcdef)"));
    assert_eq!(node.tells_once(), "CriResmgrConfigInEffect: in effect: cri-resmgr-config.default (89abcdef)");
    node.inputs = "b";
    node.did(3, 0, "the daemon was not started with these files");
    assert_eq!(node.tells_once(), "CriResmgrConfigInEffect: in effect: cri-resmgr-config.default (89abcdef)");
}

#[test]
fn problems_and_warnings_are_reported_while_they_hold_and_again_when_they_come_back() {
    let mut node = Node::installed();
    let refused = || ConfigProblem::Some(NodeEvent::ConfigRefused, "cri-resmgr refused x (1a2b3c4d)".to_owned());
    node.problem = refused();
    assert_eq!(node.tells_once(), "CriResmgrConfigRefused: cri-resmgr refused x (1a2b3c4d)");
    // An agent that has not read anything yet knows of no problem, and that is none that is gone.
    node.problem = ConfigProblem::Unknown;
    assert_eq!(node.round(), [""; 0]);
    node.problem = refused();
    assert_eq!(node.round(), [""; 0]);
    node.problem = ConfigProblem::None;
    assert_eq!(node.round(), [""; 0]);
    node.problem = refused();
    assert_eq!(node.round().len(), 1);
    node.warnings = vec!["key a is left out".to_owned()];
    assert_eq!(node.tells_once(), "CriResmgrConfigWarning: the configuration is in effect, but key a is left out");
}

#[test]
fn who_waits_for_a_slot_says_so_when_it_takes_long_and_who_is_held_at_once() {
    let mut node = Node::new();
    node.stage(Stage::Working, &[ReasonCode::SlotsTaken], "waiting for a switch slot").slot_since = Some(START);
    node.now = START + SLOT_OVERDUE_SECONDS - 1;
    assert_eq!(node.round(), [""; 0]);
    node.now += 1;
    assert_eq!(
        node.tells_once(),
        "CriResmgrSlotOverdue: has waited for a switch slot for 30 minutes: SlotsTaken: waiting for a switch slot"
    );
    node.slot_since = None;
    node.stage(Stage::Working, &[ReasonCode::UpdateInPlace], "this node is updated in place");
    assert_eq!(node.tells_once(), "CriResmgrHeld: UpdateInPlace: this node is updated in place");
    node.stage(Stage::Working, &[ReasonCode::UnderWay], "3 steps to do");
    assert_eq!(node.round(), [""; 0]);
    node.stage(Stage::Working, &[ReasonCode::SwitchesHalted], "all switches are halted: INC-4711");
    assert_eq!(node.tells_once(), "CriResmgrHeld: SwitchesHalted: all switches are halted: INC-4711");
}

#[test]
fn an_agent_after_one_that_remembered_nothing_reports_only_changes() {
    for (stage, codes) in [
        (Stage::Installed, &[][..]),
        (Stage::Clean, &[]),
        (Stage::Blocked, &[ReasonCode::Masked]),
        (Stage::RolledBack, &[ReasonCode::RolledBack]),
    ] {
        let mut node = Node::new();
        node.stage(stage, codes, "m");
        let before = NodeReport { published: Published::default(), ..node.report() };
        node.published = published_before(Some(&before));
        node.last = Some(before);
        assert_eq!(node.round(), [""; 0], "{stage:?}");
        let event = node.stage(Stage::Blocked, &[ReasonCode::Space, ReasonCode::Foreign], "other").round();
        assert_eq!(event.len(), 1, "{stage:?}");
    }
}

#[test]
fn a_node_that_goes_to_and_fro_is_reported_once_in_a_while_and_by_its_last_state() {
    let mut node = Node::installed();
    let mut count = 0;
    for minute in 0..60_u64 {
        node.now = START + 7200 + 60 * minute;
        if minute % 2 == 0 {
            node.stage(Stage::Blocked, &[ReasonCode::ContainerdSilent], "silent");
        } else {
            node.stage(Stage::Installed, &[], "");
        }
        count += node.round().len();
    }
    assert!((2..=12).contains(&count), "{count} Events in an hour");
    node.now += SAME_REASON_SECONDS;
    node.round();
    let last = word(&node.published, Topic::Node).unwrap();
    assert_eq!((last.reason.as_str(), last.about.as_str()), ("CriResmgrInstalled", "cri-resmgr"));
}

#[test]
fn what_stands_in_a_report_is_taken_within_bounds() {
    let mut report = Node::installed().report();
    let word = Word { reason: "x".repeat(1000), about: String::new() };
    report.published.topics.insert("another".to_owned(), word);
    report.published.at.insert("another".to_owned(), 7);
    let published = published_before(Some(&report));
    assert!(
        published.topics.len() <= Topic::ALL.len()
            && !published.topics.contains_key("another")
            && published.at.is_empty()
    );
}

/// Whatever happens to a node.
fn change() -> impl Strategy<Value = (u8, u64, u8)> {
    (any::<u8>(), 0_u64..900, any::<u8>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever happens: a reason is reported at most once in its period, a round after which nothing changed says nothing, nor does another agent.
    #[test]
    fn no_reason_is_reported_twice_in_its_period_and_no_state_twice_in_a_row(changes in proptest::collection::vec(change(), 1..60)) {
        let mut node = Node::installed();
        let mut last: BTreeMap<String, u64> = BTreeMap::new();
        for (what, wait, detail) in changes {
            node.now += wait;
            match what % 9 {
                0 => drop(node.stage(Stage::Installed, &[], "")),
                1 => drop(node.stage(Stage::Blocked, &[ReasonCode::ALL[usize::from(detail) % 20]], "m")),
                2 => drop(node.stage(Stage::RolledBack, &[ReasonCode::RolledBack], &format!("failure {detail}"))),
                3 => drop(node.stage(Stage::Clean, &[], "")),
                4 => drop(node.stage(Stage::Working, &[ReasonCode::UpdateInPlace], "m")),
                5 => drop(node.did(1, usize::from(detail % 2), "x")),
                6 => node.inputs = if detail % 2 == 0 { "a" } else { "b" },
                7 => node.problem = ConfigProblem::Some(NodeEvent::ConfigInvalid, format!("{}", detail % 3)),
                _ => node.backend = if detail % 2 == 0 { Backend::Proxy } else { Backend::Plugin },
            }
            for event in node.round() {
                let reason = event.split(':').next().unwrap().to_owned();
                prop_assert!(event.len() < 600, "{event}");
                if let Some(before) = last.insert(reason, node.now) {
                    prop_assert!(node.now - before >= SAME_REASON_SECONDS, "{event}");
                }
            }
            prop_assert_eq!(node.round(), Vec::<String>::new());
            if detail % 5 == 0 {
                node.next_agent();
                prop_assert_eq!(node.round(), Vec::<String>::new());
            }
        }
        prop_assert!(serde_json::to_string(&node.published).unwrap().len() < 1500);
    }
}
