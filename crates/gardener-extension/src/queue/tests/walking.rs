//! The queue as it was before it kept its plans in order: every call walks all entries. Slow and simple, it says what the real one must do.

use std::collections::BTreeMap;

use super::*;

#[derive(Default)]
struct Walking {
    entries: BTreeMap<u8, Entry>,
    ready: VecDeque<u8>,
}

impl Walking {
    fn make_due(&mut self, key: u8, triggers: Triggers) {
        let entry = self.entries.entry(key).or_default();
        entry.due = entry.due.union(triggers);
        if !entry.running && !entry.queued {
            entry.queued = true;
            self.ready.push_back(key);
        }
    }

    fn plan(&mut self, key: u8, (at, triggers): Plan) {
        let entry = self.entries.entry(key).or_default();
        entry.planned = Some(match entry.planned {
            None => (at, triggers),
            Some((sooner, others)) => (at.min(sooner), triggers.union(others)),
        });
    }

    fn ripen(&mut self, now: Instant) -> Option<Instant> {
        let mut ripe = Vec::new();
        for (key, entry) in &mut self.entries {
            if let Some((at, triggers)) = entry.planned.filter(|(at, _)| *at <= now) {
                entry.planned = None;
                ripe.push((at, *key, triggers));
            }
        }
        ripe.sort_by_key(|(at, key, _)| (*at, *key));
        for (_, key, triggers) in ripe {
            self.make_due(key, triggers);
        }
        self.entries.values().filter_map(|entry| entry.planned).map(|(at, _)| at).min()
    }

    fn take(&mut self) -> Option<(u8, Triggers)> {
        let key = self.ready.pop_front()?;
        let entry = self.entries.get_mut(&key)?;
        (entry.queued, entry.running) = (false, true);
        entry.set_aside = entry.planned.take();
        Some((key, std::mem::take(&mut entry.due)))
    }

    fn give_back(&mut self, key: u8, next: Requeue) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.running = false;
        let before = entry.set_aside.take();
        let plan = match next {
            Requeue::After(delay, triggers) => Some((Instant::now() + delay, triggers)),
            Requeue::Nothing => None,
            Requeue::Unchanged => before,
        };
        if let Some(plan) = plan {
            self.plan(key, plan);
        }
        let Some(entry) = self.entries.get_mut(&key) else { return };
        if !entry.due.is_empty() && !entry.queued {
            entry.queued = true;
            self.ready.push_back(key);
        } else if entry.due.is_empty() && entry.planned.is_none() {
            self.entries.remove(&key);
        }
    }

    fn sizes(&self) -> (usize, usize) {
        (self.ready.len(), self.entries.values().filter(|entry| entry.running).count())
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Add(u8, Trigger),
    AddAfter(u8, Trigger, u64),
    Wait(u64),
    Take,
    /// The key that has been with a worker for longest.
    GiveBack(Requeue),
}

fn step() -> impl Strategy<Value = Step> {
    let trigger = || prop_oneof![Just(Trigger::Changed), Just(Trigger::Retry), Just(Trigger::Resync)];
    let next = prop_oneof![
        (0_u64..6, trigger())
            .prop_map(|(seconds, trigger)| Requeue::After(Duration::from_secs(seconds), trigger.into())),
        Just(Requeue::Nothing),
        Just(Requeue::Unchanged),
    ];
    prop_oneof![
        3 => (0_u8..6, trigger()).prop_map(|(key, trigger)| Step::Add(key, trigger)),
        3 => (0_u8..6, trigger(), 1_u64..8).prop_map(|(key, trigger, seconds)| Step::AddAfter(key, trigger, seconds)),
        3 => (0_u64..5).prop_map(Step::Wait),
        5 => Just(Step::Take),
        4 => next.prop_map(Step::GiveBack),
    ]
}

proptest! {
    /// The same keys with the same causes at the same times, the same next time, and the same sizes.
    #[test]
    fn ordered_plans_agree_with_a_walk_over_all_entries(steps in prop::collection::vec(step(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
        runtime.block_on(async {
            let (mut walking, mut state) = (Walking::default(), State::new());
            let mut running = VecDeque::new();
            for step in steps {
                match step {
                    Step::Add(key, trigger) => {
                        walking.make_due(key, trigger.into());
                        state.make_due(key, trigger.into());
                    }
                    Step::AddAfter(key, trigger, seconds) => {
                        let plan = (Instant::now() + Duration::from_secs(seconds), trigger.into());
                        walking.plan(key, plan);
                        state.plan(key, plan);
                    }
                    Step::Wait(seconds) => tokio::time::advance(Duration::from_secs(seconds)).await,
                    Step::Take => {
                        prop_assert_eq!(walking.ripen(Instant::now()), state.ripen(Instant::now()));
                        let taken = walking.take();
                        prop_assert_eq!(taken, state.take());
                        running.extend(taken.map(|(key, _)| key));
                    }
                    Step::GiveBack(next) => if let Some(key) = running.pop_front() {
                        walking.give_back(key, next);
                        state.give_back(key, next);
                    },
                }
                prop_assert_eq!(walking.sizes(), (state.ready.len(), state.running));
                prop_assert_eq!(walking.entries.len(), state.entries.len());
                let planned = state.entries.iter().filter_map(|(key, entry)| Some((entry.planned?.0, *key)));
                prop_assert_eq!(&planned.collect::<BTreeSet<_>>(), &state.plans);
            }
            Ok(())
        })?;
    }
}
