//! Risks that an owner may take: rules whose breach is refused unless it is accepted by its id.
//!
//! All of them guard one promise: no policy refuses pods of kube-system unless its owner said so. nri-plugins answers an error when a
//! container finds no room, the runtime then fails to create it, and on such a node neither kube-proxy nor our own agent comes back.
//! Sources: chooseBalloonDef, fillableBalloonInstances, AllocateResources and fillBuiltinBalloonDefs in
//! cmd/plugins/balloons/policy/balloons-policy.go @ v0.14.0.

use std::fmt;

/// A risk; its id is stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Risk {
    /// The balloon type `reserved` has `maxCPUs`: when the requests of the system pods reach it, further ones are refused.
    ReservedMayFill,
    /// The balloon type `reserved` owns no CPU from the start (a cpuset reservation without `minCPUs` gives none): once other balloons
    /// have taken all CPUs, every system pod is refused, also one without requests.
    ReservedNotHeld,
    /// Pods of kube-system go to another balloon type, and that has `maxCPUs`.
    SystemPodsMayFill,
    /// Pods of kube-system go to another balloon type, and that owns no CPU from the start (`minBalloons` or `minCPUs` is 0).
    SystemPodsNotHeld,
    /// Pods of kube-system go to a composite balloon type: its room depends on all of its components.
    SystemPodsInComposite,
    /// Pods of kube-system get a real-time scheduling class: a runtime or kernel that cannot give it refuses the container.
    SystemPodsRealTime,
}

impl Risk {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::ReservedMayFill,
        Self::ReservedNotHeld,
        Self::SystemPodsMayFill,
        Self::SystemPodsNotHeld,
        Self::SystemPodsInComposite,
        Self::SystemPodsRealTime,
    ];

    /// By this the owner accepts it.
    #[must_use]
    pub fn id(self) -> &'static str {
        match self {
            Self::ReservedMayFill => "reserved-may-fill",
            Self::ReservedNotHeld => "reserved-not-held",
            Self::SystemPodsMayFill => "system-pods-may-fill",
            Self::SystemPodsNotHeld => "system-pods-not-held",
            Self::SystemPodsInComposite => "system-pods-in-composite",
            Self::SystemPodsRealTime => "system-pods-real-time",
        }
    }

    /// The risk with this id.
    #[must_use]
    pub fn of_id(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|risk| risk.id() == id)
    }
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}
