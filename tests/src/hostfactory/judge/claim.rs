//! What replies claim about the cluster.

use std::sync::Arc;

use crate::hostfactory::{call::Call, clock::Moment, pods::PodView, rule::Rule};

/// A claim, and the call whose reply makes it.
#[derive(Debug, Clone)]
pub struct Claim {
    /// What is claimed.
    pub kind: Kind,
    /// By what.
    pub call: Arc<Call>,
}

/// What is claimed.
#[derive(Debug, Clone)]
pub enum Kind {
    /// It was Ready with this UID and address at some instant since acceptance.
    Ready {
        /// The machine.
        name: String,
        /// Its machineId.
        uid: String,
        /// Its address.
        address: String,
        /// Acceptance.
        since: Moment,
    },
    /// A pod of this name had this UID.
    Existed {
        /// The machine.
        name: String,
        /// Its machineId.
        uid: String,
        /// Acceptance.
        since: Moment,
    },
    /// No pod of this name exists now.
    Gone {
        /// The machine.
        name: String,
        /// The rule that says so.
        rule: Rule,
    },
    /// It is lost, or about to be.
    Reclaimed {
        /// The machine.
        name: String,
    },
    /// It failed, and not without a cause.
    Failed {
        /// The machine.
        name: String,
        /// Whether an answer had told that it succeeded.
        known_ready: bool,
        /// The latest question that was answered with executing.
        executing: Option<Moment>,
    },
    /// These are not all in use at once.
    InUse {
        /// The template.
        template: String,
        /// Its maxNumber.
        limit: usize,
        /// The machines that were told to have succeeded and are not returned.
        names: Vec<String>,
    },
}

/// A look of our own at a pod, taken after the reply.
#[derive(Debug, Clone)]
pub enum Look {
    /// There is no pod of the name.
    Absent,
    /// There is one.
    There {
        /// How it stands.
        view: PodView,
        /// Whether its node is gone or marked as leaving.
        node_leaving: bool,
    },
}

/// Where a claim stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It is true.
    True,
    /// Nobody can tell: the watch was blind.
    Undecided,
    /// The watch may still show it.
    Wait,
    /// It takes a look.
    Look,
}

impl Kind {
    /// The rule that it is held to.
    pub fn rule(&self) -> Rule {
        match self {
            Self::Ready { .. } => Rule::SucceedWasReady,
            Self::Existed { .. } => Rule::MachineIdExisted,
            Self::Gone { rule, .. } => *rule,
            Self::Reclaimed { .. } => Rule::ReclaimLostOnly,
            Self::Failed { .. } => Rule::FailHasCause,
            Self::InUse { .. } => Rule::MaxNumber,
        }
    }

    /// The one machine that it is about.
    pub fn machine(&self) -> Option<&str> {
        match self {
            Self::Ready { name, .. }
            | Self::Existed { name, .. }
            | Self::Gone { name, .. }
            | Self::Reclaimed { name }
            | Self::Failed { name, .. } => Some(name),
            Self::InUse { .. } => None,
        }
    }
}
