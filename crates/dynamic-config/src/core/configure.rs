//! Configurations.

use super::{Answer, Core, Push};
use crate::memory::{By, Refused};
use crate::selection::{self, Data, FALLBACK, Read, Selected, Source};

/// A configuration for the daemon, by the hash of its canonical form, or of its texts where these cannot be read.
pub(super) struct Candidate {
    source: Source,
    read: Result<Read, Vec<String>>,
}

impl Candidate {
    /// Reads a content, unless it is the one that was read last.
    fn of(name: &str, data: &Data, last: &mut Option<(String, Result<Read, Vec<String>>)>) -> Self {
        let raw = selection::hash(data);
        let known = last.take().filter(|(hash, _)| *hash == raw);
        let (_, read) = last.insert(known.unwrap_or_else(|| (raw.clone(), selection::read(data))));
        let hash = read.as_ref().map_or(raw, |read| selection::hash(&read.data));
        Self { source: Source { name: name.to_owned(), hash }, read: read.clone() }
    }
}

impl Core {
    pub(super) fn next_config(&mut self) -> Option<Push> {
        let Candidate { source, read } = self.candidate()?;
        let run = self.memory.run.as_mut()?;
        if let Some(accepted) = run.accepted.as_mut().filter(|accepted| accepted.hash == source.hash) {
            // Perhaps the same content under another name.
            *accepted = source;
            self.memory.refused = None;
            return None;
        }
        if let Some(refused) = self.memory.refused.as_mut().filter(|refused| refused.source.hash == source.hash) {
            refused.source = source;
            return None;
        }
        self.memory.refused = None;
        self.needs_repeated_restart = None;
        match read {
            // One that this run began with goes on with a warning: what was in effect is not taken away.
            Ok(read) if !self.began_with(&source) && !read.absent(self.cpus.as_ref()).is_empty() => {
                let keys = read.absent(self.cpus.as_ref());
                self.memory.refused = Some(Refused { source, by: By::Check, keys });
                None
            }
            Ok(Read { data, kept, .. }) => {
                self.checked = Some((source.hash.clone(), kept));
                Some(Push::Config { source, data })
            }
            Err(keys) => {
                self.memory.refused = Some(Refused { source, by: By::Check, keys });
                None
            }
        }
    }

    fn began_with(&self, source: &Source) -> bool {
        self.memory.run.as_ref().and_then(|run| run.started_with.as_ref()) == Some(&source.hash)
    }

    /// The configuration that the daemon shall run with; `None`: not known, or the one that it has anyway.
    fn candidate(&mut self) -> Option<Candidate> {
        match selection::select(self.maps.as_ref(), &self.node, &self.group) {
            Selected::Unknown => None,
            Selected::Map(name, data) => Some(Candidate::of(name, data, &mut self.read)),
            Selected::None => {
                self.read = None;
                // A daemon that was never given anything runs with its static configuration. One that was keeps that for ever, over its
                // restarts too, so it is given the static one: there is no way to give it none.
                let run = self.memory.run.as_ref()?;
                let has = run.accepted.as_ref().map(|accepted| &accepted.hash).or(run.started_with.as_ref());
                let found = self.fallback.as_ref().map(|data| Candidate::of(FALLBACK, data, &mut None));
                let wanted = found.filter(|found| has.is_some_and(|has| *has != found.source.hash));
                if wanted.is_none() {
                    self.memory.refused = None;
                    self.needs_repeated_restart = None;
                }
                wanted
            }
        }
    }

    pub(super) fn config_answered(&mut self, source: &Source, answer: &Answer) {
        let again = self.memory.renewed_for.as_ref() == Some(&source.hash);
        let kept = self.checked.take().filter(|(hash, _)| *hash == source.hash).map(|(_, kept)| kept);
        let Some(run) = self.memory.run.as_mut() else { return };
        let because = match answer {
            Answer::Accepted => {
                run.accepted = Some(source.clone());
                let because = run.kept.as_ref().zip(kept.as_ref()).and_then(|(old, new)| old.restart_for(new));
                match (&mut run.kept, kept) {
                    (Some(old), Some(new)) => old.absorb(new),
                    (unknown, new) => *unknown = new,
                }
                because
            }
            Answer::Refused(_) => {
                self.memory.refused = Some(Refused { source: source.clone(), by: By::Daemon, keys: Vec::new() });
                Some("what it refused may be in effect in part".to_owned())
            }
        };
        let Some(because) = because else {
            // It runs as it should: a later need of a restart is a new one.
            self.memory.renewed_for = None;
            return;
        };
        if again {
            self.needs_repeated_restart = Some((source.clone(), because));
            return;
        }
        run.end = Some(format!("{source}: {because}"));
        self.memory.renewed_for = Some(source.hash.clone());
        if *answer == Answer::Accepted {
            self.memory.starting = Some(source.clone());
        }
    }
}
