//! Fault scripts: what goes wrong at which call of a stand-in.

use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What goes wrong with a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault<Refusal> {
    /// It is refused with an error of its protocol, and nothing is done.
    Refuse(Refusal),
    /// It is done that much later.
    Delay(Duration),
    /// It is not done; its connection breaks, or its process dies.
    Break,
}

#[derive(Debug)]
struct Line<Refusal> {
    words: Vec<String>,
    first: usize,
    last: usize,
    fault: Fault<Refusal>,
    calls: usize,
    hits: usize,
}

/// The script of one stand-in. Clones share it.
#[derive(Debug)]
pub struct Faults<Refusal>(Arc<Mutex<Vec<Line<Refusal>>>>);

impl<Refusal> Clone for Faults<Refusal> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<Refusal> Default for Faults<Refusal> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<Refusal: Clone> Faults<Refusal> {
    /// From now on, of the calls whose description contains each of these words, those with these numbers (from 1) go wrong so.
    pub fn add(&self, words: &str, numbers: impl RangeBounds<usize>, fault: Fault<Refusal>) {
        let first = match numbers.start_bound() {
            Bound::Included(first) => *first,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 1,
        };
        let last = match numbers.end_bound() {
            Bound::Included(last) => *last,
            Bound::Excluded(after) => after.saturating_sub(1),
            Bound::Unbounded => usize::MAX,
        };
        let words = words.split_whitespace().map(str::to_owned).collect();
        self.lines().push(Line { words, first, last, fault, calls: 0, hits: 0 });
    }

    /// Nothing goes wrong any more.
    pub fn clear(&self) {
        self.lines().clear();
    }

    /// How many calls went wrong so far, by the words of the lines.
    #[must_use]
    pub fn hits(&self) -> Vec<(String, usize)> {
        self.lines().iter().map(|line| (line.words.join(" "), line.hits)).collect()
    }

    /// What goes wrong with the call that is made now; of several lines the first decides, and all count it.
    #[must_use]
    pub fn at(&self, call: &str) -> Option<Fault<Refusal>> {
        let mut found = None;
        for line in self.lines().iter_mut() {
            if !line.words.iter().all(|word| call.contains(word)) {
                continue;
            }
            line.calls += 1;
            if found.is_none() && (line.first..=line.last).contains(&line.calls) {
                line.hits += 1;
                found = Some(line.fault.clone());
            }
        }
        found
    }

    fn lines(&self) -> MutexGuard<'_, Vec<Line<Refusal>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_hits_the_nth_call_only() {
        let faults = Faults::<u16>::default();
        faults.add("PATCH pods", 2..=3, Fault::Refuse(409));
        faults.add("PATCH", 3.., Fault::Break);
        let outcome = |call: &str| faults.at(call);
        assert_eq!(outcome("GET /pods"), None);
        assert_eq!(outcome("PATCH /pods/a"), None);
        assert_eq!(outcome("PATCH /pods/a"), Some(Fault::Refuse(409)));
        assert_eq!(outcome("PATCH /pods/b"), Some(Fault::Refuse(409)));
        assert_eq!(outcome("PATCH /pods/b"), Some(Fault::Break));
        assert_eq!(faults.hits(), [("PATCH pods".to_owned(), 2), ("PATCH".to_owned(), 1)]);
        faults.clone().clear();
        assert_eq!(outcome("PATCH /pods/b"), None);
    }
}
