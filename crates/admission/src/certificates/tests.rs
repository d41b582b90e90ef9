use jiff::{SignedDuration, Timestamp};

use super::*;

const NAME: &str = "gardener-extension-cri-resmgr-admission.garden";

fn start() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn names() -> Vec<String> {
    vec![NAME.to_owned()]
}

/// A garden as far as it matters: the Secret, the webhook configuration, and replicas with clocks of their own.
struct Garden {
    now: Timestamp,
    secret: Stored,
    /// What API servers trust, with the time since when.
    published: Vec<(Timestamp, String)>,
    replicas: Vec<Replica>,
    made: usize,
}

struct Replica {
    clock: SignedDuration,
    served: Option<Stored>,
}

impl Garden {
    fn new(clocks: &[SignedDuration]) -> Self {
        let replicas = clocks.iter().map(|clock| Replica { clock: *clock, served: None }).collect();
        Self { now: start(), secret: Stored::default(), published: Vec::new(), replicas, made: 0 }
    }

    /// What [`crate::keeper::Keeper`] does in a round.
    fn round(&mut self, replica: usize) {
        for _ in 0..4 {
            let stored = Stored::from_data(&self.secret.data());
            let names = names();
            let bundle = self.published.last().map_or("", |(_, bundle)| bundle);
            let is_published = stored.authority.as_ref().is_some_and(|pair| bundle.contains(&pair.certificate));
            let now = self.now + self.replicas[replica].clock;
            let situation = Situation { stored: &stored, names: &names, is_published, now };
            let step = situation.step();
            if step == Step::Nothing {
                self.publish(&stored);
                self.replicas[replica].served = Some(stored);
                return;
            }
            let saved = match (step, &self.replicas[replica].served) {
                (Step::Everything, Some(served)) => situation.saved(served).unwrap(),
                _ => None,
            };
            let next = saved.unwrap_or_else(|| situation.after(step).unwrap());
            self.made += 1;
            self.publish(&next);
            self.secret = next.clone();
            self.replicas[replica].served = Some(next);
        }
        panic!("a round has no end at {}", self.now);
    }

    fn publish(&mut self, stored: &Stored) {
        let bundle = stored.bundle();
        if self.published.last().is_none_or(|(_, former)| *former != bundle) {
            self.published.push((self.now, bundle));
        }
    }

    /// What an API server goes by that hears of a change so much later.
    fn believed(&self, late: SignedDuration) -> Option<&str> {
        let known = self.published.iter().rev().find(|(since, _)| *since + late <= self.now);
        known.or(self.published.first()).map(|(_, bundle)| bundle.as_str())
    }

    /// Every replica is trusted by every API server.
    fn check(&self) {
        for late in [SignedDuration::ZERO, SignedDuration::from_mins(2)] {
            let bundle = self.believed(late).unwrap();
            let authorities: Vec<&str> = bundle.split_inclusive("-----END CERTIFICATE-----\n").collect();
            for (index, replica) in self.replicas.iter().enumerate() {
                let Some(server) = replica.served.as_ref().and_then(|served| served.server.as_ref()) else { continue };
                assert!(
                    authorities.iter().any(|authority| read::is_trusted(server, authority, &names(), self.now)),
                    "replica {index} is not trusted at {} by {} authorities",
                    self.now,
                    authorities.len()
                );
            }
        }
    }

    /// Rounds of all replicas: every minute for a while after each change, and else, for the sake of the test's time, every three hours.
    fn pass(&mut self, time: SignedDuration) {
        let (mut changed, end) = (self.now, self.now + time);
        while self.now < end {
            let made = self.made;
            for replica in 0..self.replicas.len() {
                self.round(replica);
                self.check();
            }
            if self.made > made {
                changed = self.now;
            }
            let is_quiet = self.now.duration_since(changed) > SignedDuration::from_mins(8);
            self.now += if is_quiet { SignedDuration::from_hours(3) } else { SignedDuration::from_mins(1) };
        }
    }
}

#[test]
fn every_replica_is_trusted_through_many_rotations() {
    let mut garden = Garden::new(&[SignedDuration::ZERO, SignedDuration::from_mins(3), SignedDuration::from_mins(-3)]);
    garden.pass(SignedDuration::from_hours(24 * 65));
    // Three rotations of the authority, each of three writes, and a server's certificate every four days.
    assert!((20..=30).contains(&garden.made), "{} writes in 65 days", garden.made);
}

#[test]
fn clocks_that_are_an_hour_apart_do_not_make_replicas_work_against_each_other() {
    let mut garden = Garden::new(&[SignedDuration::from_mins(50), SignedDuration::ZERO]);
    garden.round(0);
    for _ in 0..100 {
        garden.round(1);
        garden.round(0);
        garden.now += SignedDuration::from_mins(1);
    }
    assert_eq!(garden.made, 1);
}

#[test]
fn a_lost_secret_interrupts_nobody() {
    for clear in
        [(|_| Stored::default()) as fn(&Stored) -> Stored, |stored| Stored { authority: None, ..stored.clone() }]
    {
        let mut garden = Garden::new(&[SignedDuration::ZERO, SignedDuration::ZERO]);
        garden.pass(SignedDuration::from_hours(1));
        let before = garden.replicas[0].served.as_ref().unwrap().server.clone();
        garden.secret = clear(&garden.secret);
        garden.round(0);
        garden.check();
        assert_eq!(garden.replicas[0].served.as_ref().unwrap().server, before, "what is served goes on");
        garden.pass(SignedDuration::from_hours(1));
        assert_ne!(garden.replicas[0].served.as_ref().unwrap().server, before);
        garden.pass(SignedDuration::from_hours(30));
        assert_eq!(garden.secret.former_authority, None);
    }
}

#[test]
fn a_garden_that_was_asleep_for_long_starts_anew() {
    let mut garden = Garden::new(&[SignedDuration::ZERO]);
    garden.round(0);
    for days in [8, 10, 25, 40] {
        garden.now += SignedDuration::from_hours(24 * days);
        garden.replicas[0].served = None;
        garden.round(0);
        assert!(garden.secret.server_ends().unwrap() > garden.now);
        let bundle = garden.believed(SignedDuration::ZERO).unwrap();
        assert!(bundle.contains(&garden.secret.authority.as_ref().unwrap().certificate));
        // Where everything had ended, API servers have to hear of it first.
        garden.now += SignedDuration::from_mins(3);
        garden.pass(SignedDuration::from_mins(20));
    }
}

#[test]
fn whatever_stands_in_the_secret_is_made_good() {
    let mut good = Garden::new(&[SignedDuration::ZERO]);
    good.round(0);
    let good = good.secret.data();
    let large = vec![b'x'; 1 << 20];
    let junk = [&b""[..], b"\xff\xfe", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &large];
    for key in good.keys() {
        for junk in junk {
            let mut data = good.clone();
            data.insert(key.clone(), ByteString(junk.to_vec()));
            let mut garden = Garden::new(&[SignedDuration::ZERO]);
            garden.secret = Stored::from_data(&data);
            garden.round(0);
            garden.check();
            assert!(garden.secret.server.is_some() && garden.secret.authority.is_some(), "{key}");
        }
    }
    // A key of another certificate.
    let mut other = Garden::new(&[SignedDuration::ZERO]);
    other.round(0);
    let mut data = good.clone();
    data.insert("tls.key".to_owned(), other.secret.data()["tls.key"].clone());
    assert_eq!(Stored::from_data(&data).server, None);
}

#[test]
fn another_name_takes_another_certificate() {
    let mut garden = Garden::new(&[SignedDuration::ZERO]);
    garden.round(0);
    let names = vec!["other.garden.svc".to_owned()];
    let situation = Situation { stored: &garden.secret, names: &names, is_published: true, now: garden.now };
    assert_eq!(situation.step(), Step::Server);
    let next = situation.after(Step::Server).unwrap();
    assert_eq!(Situation { stored: &next, ..situation }.step(), Step::Nothing);
}

#[test]
fn neither_key_nor_certificate_is_shown_by_debug() {
    let pair = make::authority(start()).unwrap();
    assert_eq!(format!("{pair:?}"), "Pair { .. }");
}
