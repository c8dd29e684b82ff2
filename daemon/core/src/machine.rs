//! One machine: its durable facts, and what follows from them alone (`lifecycle.md` 2, 3).
//!
//! ```text
//! wanted ─> created(uid) ─> ready ─> lost | returned ─> gone
//!    └──────────┴─> failed ──────────────────────────────┘
//! ```
//! Every field is a latch: once set it keeps its value (except `returned_by`, which names the latest return). What is
//! in flight for a machine is volatile and lives elsewhere (`doing.rs`).

use std::{net::IpAddr, sync::Arc};

use crate::{
    id::{PodUid, RequestId},
    pod::PodRecord,
};

/// The durable facts of one machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Machine {
    /// UID of its pod, as the watch showed it first; constant from then on.
    pub uid: Option<PodUid>,
    /// Wall time at which the UID was recorded, epoch seconds.
    pub uid_recorded_at: i64,
    /// Address of its pod, as it was when it became ready first.
    pub ip: Option<IpAddr>,
    /// The ready latch: epoch seconds at which it was seen ready for the first time.
    pub first_ready: Option<i64>,
    /// The final failure or loss.
    pub verdict: Option<Arc<Verdict>>,
    /// The tombstone: the latest return that covers it, or its own request's id when that was cancelled.
    pub returned_by: Option<RequestId>,
    /// Its pod is known gone, and none can appear any more; epoch seconds.
    pub gone_at: Option<i64>,
}

/// Why a machine failed or was lost. Machines that fail for one reason share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Its kind.
    pub kind: VerdictKind,
    /// For people, in the cluster's own words where it has any.
    pub message: Arc<str>,
    /// When it was given, epoch seconds.
    pub at: i64,
}

/// Kind of a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerdictKind {
    /// It never became ready; its pod, if there is one, is deleted.
    Failed,
    /// An adopted machine missed its deadline. It may have been told `succeed` once, so its pod is left to a return
    /// or an operator (`lifecycle.md` 8).
    Overdue,
    /// It was ready and is no more.
    Lost,
}

/// What HostFactory is told about a machine of a machine request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MachineOutcome {
    /// Undecided.
    Executing,
    /// It was ready.
    Succeed,
    /// It will not be.
    Fail,
}

impl Machine {
    /// The ready latch.
    #[must_use]
    pub const fn was_ready(&self) -> bool {
        self.first_ready.is_some()
    }

    /// A tombstone lies on it.
    #[must_use]
    pub const fn is_returned(&self) -> bool {
        self.returned_by.is_some()
    }

    /// What follows from the facts; a terminal request answers what it froze instead.
    #[must_use]
    pub const fn outcome(&self) -> MachineOutcome {
        match (&self.verdict, self.first_ready, self.returned_by) {
            (None, Some(_), _) => MachineOutcome::Succeed,
            (None, None, None) => MachineOutcome::Executing,
            _ => MachineOutcome::Fail,
        }
    }

    /// It lacks a pod: accepted, without UID, verdict or tombstone.
    #[must_use]
    pub const fn is_wanted(&self) -> bool {
        self.uid.is_none() && self.verdict.is_none() && self.returned_by.is_none() && self.gone_at.is_none()
    }

    /// It counts against its template's maxNumber (`lifecycle.md` 4).
    #[must_use]
    pub const fn is_in_use(&self) -> bool {
        self.verdict.is_none() && self.returned_by.is_none() && self.gone_at.is_none()
    }

    /// HostFactory has it, and nothing bad is known about it.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        self.first_ready.is_some() && self.is_in_use()
    }

    /// No pod of it shall remain.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.verdict.is_some() || self.returned_by.is_some()
    }

    /// The kind of its verdict.
    #[must_use]
    pub fn verdict_kind(&self) -> Option<VerdictKind> {
        self.verdict.as_ref().map(|verdict| verdict.kind)
    }

    /// `pod` is its pod: the durable UID, or any while none is recorded.
    #[must_use]
    pub fn owns(&self, pod: &PodRecord) -> bool {
        self.uid.is_none_or(|uid| uid == pod.uid)
    }
}
