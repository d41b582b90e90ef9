//! The right to switch, which only some nodes of a shoot have at a time, as a node sees its own (docs/decisions/0005-switch-slots.md).

use std::fmt;

/// Whether this node may begin what only a few nodes of a shoot do at a time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Slot {
    /// Nobody was asked yet.
    #[default]
    NotAsked,
    /// Yes, now.
    Held,
    /// Not yet.
    Waiting(Wait),
    /// Not before something changes.
    Stopped {
        /// Roll-backs in the shoot with the same change.
        rollbacks: usize,
    },
}

/// What a node waits for that may not switch yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// Other nodes hold all slots.
    SlotsTaken {
        /// How many there are.
        slots: u32,
    },
    /// Somebody has halted all switches.
    Halted {
        /// Why, as they say; empty where they do not.
        reason: String,
    },
    /// Nobody can be asked, and why.
    SlotsUnknown(String),
    /// Gardener updates the node in place.
    UpdateInPlace {
        /// The label of the Node that says so.
        label: &'static str,
    },
    /// Gardener has failed to.
    FailedUpdateInPlace {
        /// The label of the Node that says so.
        label: &'static str,
    },
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SlotsTaken { slots } => {
                let nodes = if *slots == 1 { "node" } else { "nodes" };
                write!(f, "waiting for a switch slot ({slots} {nodes} at a time)")
            }
            Self::Halted { reason } if reason.is_empty() => f.write_str("all switches are halted"),
            Self::Halted { reason } => write!(f, "all switches are halted: {reason}"),
            Self::SlotsUnknown(reason) => write!(f, "cannot ask for a switch slot: {reason}"),
            Self::UpdateInPlace { label } => write!(f, "this node is updated in place ({label})"),
            Self::FailedUpdateInPlace { label } => {
                write!(f, "the update of this node in place has failed ({label})")
            }
        }
    }
}
