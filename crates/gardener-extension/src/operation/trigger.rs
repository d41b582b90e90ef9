//! Why an Extension is reconciled.

/// One cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Trigger {
    /// This process sees the object for the first time.
    FirstSeen = 1,
    /// Annotation, deletion or spec changed.
    Changed = 1 << 1,
    /// An operation failed before; its back-off is over.
    Retry = 1 << 2,
    /// An operation is pending, and what it awaits may have changed, or its time is over.
    DependencyChanged = 1 << 3,
    /// Something outside changed that concerns it, such as the base configuration.
    External = 1 << 4,
    /// The periodic resync.
    Resync = 1 << 5,
}

/// Every cause there is.
pub(crate) const ALL: [Trigger; 6] = [
    Trigger::FirstSeen,
    Trigger::Changed,
    Trigger::Retry,
    Trigger::DependencyChanged,
    Trigger::External,
    Trigger::Resync,
];

/// A set of causes: what came together is handled once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Triggers(u8);

impl Triggers {
    /// Whether it is among them.
    #[must_use]
    pub fn contains(self, trigger: Trigger) -> bool {
        self.0 & trigger as u8 != 0
    }

    /// Both sets.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// All but this one.
    #[must_use]
    pub fn without(self, trigger: Trigger) -> Self {
        Self(self.0 & !(trigger as u8))
    }

    /// No cause at all.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// One of them asks for work whatever the object says.
    pub(crate) fn forces(self) -> bool {
        [Trigger::Retry, Trigger::DependencyChanged, Trigger::External, Trigger::Resync]
            .into_iter()
            .any(|trigger| self.contains(trigger))
    }

    /// A request from outside is among them: the status must show that it was taken up.
    pub(crate) fn is_user_request(self) -> bool {
        [Trigger::Changed, Trigger::External].into_iter().any(|trigger| self.contains(trigger))
    }

    /// The causes, for logs.
    pub(crate) fn names(self) -> Vec<Trigger> {
        ALL.into_iter().filter(|trigger| self.contains(*trigger)).collect()
    }
}

impl From<Trigger> for Triggers {
    fn from(trigger: Trigger) -> Self {
        Self(trigger as u8)
    }
}
