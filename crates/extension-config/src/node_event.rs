//! Reasons of the Events on a Node: the words by which people filter and alert, so none of them ever changes or is taken away.
//!
//! What they say, and when, is decided by the agent (`node-agent`: `events`, and `shoot::slots` for the record of the switch slots);
//! docs/events.md has a row for each.

macro_rules! node_events {
    ($($(#[doc = $doc:literal])* $name:ident = $word:literal $kind:ident,)*) => {
        /// What an Event on a Node is about.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum NodeEvent { $($(#[doc = $doc])* $name,)* }

        impl NodeEvent {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The Event's `reason`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// Whether the Event's `type` is `Warning`: somebody should look. Else it is `Normal`.
            #[must_use]
            pub const fn is_warning(self) -> bool {
                match self { $(Self::$name => node_events!(@$kind),)* }
            }
        }
    };
    (@warning) => { true };
    (@normal) => { false };
}

node_events! {
    /// The node has a backend that it had not.
    Installed = "CriResmgrInstalled" normal,
    /// The node has another backend than before.
    Moved = "CriResmgrMoved" normal,
    /// Nothing of ours is left.
    Removed = "CriResmgrRemoved" normal,
    /// The node was put back after a failure.
    RolledBack = "CriResmgrRolledBack" warning,
    /// Something keeps the node from becoming as desired.
    Blocked = "CriResmgrBlocked" warning,
    /// What somebody else changed was put right.
    Healed = "CriResmgrHealed" normal,
    /// What is to be done is held for a reason that is not the node's own.
    Held = "CriResmgrHeld" normal,
    /// The node has waited long for a switch slot.
    SlotOverdue = "CriResmgrSlotOverdue" warning,
    /// After too many roll-backs no further node switches.
    SwitchesStopped = "CriResmgrSwitchesStopped" warning,
    /// The record of switch slots is none of ours.
    SwitchesUnreadable = "CriResmgrSwitchesUnreadable" warning,
    /// A slot of somebody who is no Node does not count.
    SlotIgnored = "CriResmgrSlotIgnored" warning,
    /// Another configuration is in effect than before.
    ConfigInEffect = "CriResmgrConfigInEffect" normal,
    /// A configuration is in effect, but its owner should know something about it.
    ConfigWarning = "CriResmgrConfigWarning" warning,
    /// A configuration is wrong and is not handed to the daemon.
    ConfigInvalid = "CriResmgrConfigInvalid" warning,
    /// The daemon refused a dynamic configuration, or did not start with it.
    ConfigRefused = "CriResmgrConfigRefused" warning,
    /// A dynamic configuration would need one restart of the daemon after the other.
    ConfigUnsettled = "CriResmgrConfigUnsettled" warning,
    /// Nothing can be handed to the daemon.
    ConfigUndelivered = "CriResmgrConfigUndelivered" warning,
}

impl NodeEvent {
    /// The one with this reason; `None` for one of a newer agent.
    #[must_use]
    pub fn parse(reason: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|event| event.as_str() == reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_distinguished_by_their_reason() {
        for event in NodeEvent::ALL {
            assert_eq!(NodeEvent::parse(event.as_str()), Some(*event));
            assert!(event.as_str().starts_with("CriResmgr"), "{event:?}");
        }
        assert_eq!(NodeEvent::parse("CriResmgrOfTheFuture"), None);
    }
}
