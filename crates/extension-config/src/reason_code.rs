//! Why a node is not as desired, as one word each: by which programs distinguish reasons. The sentence beside it is for people and may change.
//!
//! An agent writes these words into its report; a reader of another version meets some that it does not know, and some that are no longer written. So no
//! word is ever given another meaning.

macro_rules! reason_codes {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// Why a node is not as desired.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ReasonCode { $($(#[doc = $doc])* $name,)* }

        impl ReasonCode {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The word for it, as in reports.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }
        }
    };
}

reason_codes! {
    // What the node shall be
    /// It is not known what the node shall be.
    Undecided,
    // Why nothing may be begun
    /// kubelet cannot be led onto the proxy.
    KubeletShape,
    /// systemd has not loaded kubelet's unit.
    KubeletNotLoaded,
    /// A resource manager of kubelet that the proxy works against.
    KubeletManager,
    /// A resource manager of kubelet that sets what a policy sets.
    KubeletPins,
    /// The runtime is none that is known.
    NotContainerd,
    /// containerd is too old for plugins.
    OldContainerd,
    /// containerd takes no plugins.
    NriOff,
    /// Somebody else's policy is here.
    OtherPolicy,
    /// The configuration of kubelet cannot be read.
    KubeletConfiguration,
    /// systemd is too old.
    Systemd,
    /// The image has no program for this machine.
    Architecture,
    /// The former extension was here.
    Predecessor,
    /// Somebody has masked one of our units.
    Masked,
    /// What was there before cannot be moved aside.
    AsideIsTaken,
    /// Somebody else's file stands where ours would.
    Foreign,
    /// The configuration names CPUs that the node does not have.
    AbsentCpus,
    /// A file system is too full.
    Space,
    // Why nothing is done now
    /// A try failed, and the node is clean until the next one.
    RolledBack,
    /// A try failed, and what was proven before it runs until the next one.
    RolledBackToPrevious,
    /// containerd does not answer.
    ContainerdSilent,
    /// Somebody stopped kubelet.
    KubeletStopped,
    /// kubelet was restarted too often.
    RestartBudget,
    /// A switch slot is needed, and none was asked for yet.
    SlotNotAsked,
    /// Other nodes hold all switch slots.
    SlotsTaken,
    /// Nobody can be asked for a switch slot.
    SlotsUnknown,
    /// Gardener updates the node in place.
    UpdateInPlace,
    /// Gardener has failed to update the node in place.
    FailedUpdateInPlace,
    /// No node of the shoot switches any more.
    SwitchesStopped,
    /// An operator or the owner has halted all switches.
    SwitchesHalted,
    /// The node has another backend.
    OtherBackend,
    /// A change of backend would lose something of the node's configuration that nobody has accepted.
    Unaccepted,
    /// The same step is needed in every round.
    Unsettled,
    // What is under way
    /// There are steps to do.
    UnderWay,
    /// A round of the agent ended with an error.
    RoundFailed,
    // What is wrong with a configuration while the node goes on with what it has
    /// A dynamic configuration is not valid.
    ConfigInvalid,
    /// The daemon refused a dynamic configuration.
    ConfigRefused,
    /// A dynamic configuration would need one restart of the daemon after the other.
    ConfigUnsettled,
    /// Nothing can be handed to the daemon.
    ConfigUndelivered,
    /// The node's policy for nri-plugins is missing or not valid.
    PolicyInvalid,
}

impl ReasonCode {
    /// The code with this word; `None` for one of a newer agent.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinguished_by_their_word() {
        for code in ReasonCode::ALL {
            assert_eq!(ReasonCode::parse(code.as_str()), Some(*code));
        }
        assert_eq!(ReasonCode::parse("OfTheFuture"), None);
    }

    /// Readers in shoots know these words.
    #[test]
    fn no_code_is_taken_away() {
        let words: Vec<&str> = ReasonCode::ALL.iter().map(|code| code.as_str()).collect();
        insta::assert_snapshot!(words.join(" "), @"Undecided KubeletShape KubeletNotLoaded KubeletManager KubeletPins NotContainerd OldContainerd NriOff OtherPolicy KubeletConfiguration Systemd Architecture Predecessor Masked AsideIsTaken Foreign AbsentCpus Space RolledBack RolledBackToPrevious ContainerdSilent KubeletStopped RestartBudget SlotNotAsked SlotsTaken SlotsUnknown UpdateInPlace FailedUpdateInPlace SwitchesStopped SwitchesHalted OtherBackend Unaccepted Unsettled UnderWay RoundFailed ConfigInvalid ConfigRefused ConfigUnsettled ConfigUndelivered PolicyInvalid");
    }
}
