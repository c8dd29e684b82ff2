//! Creates as the rules allow them (`lifecycle.md` 2, 3, 5): which POSTs of a machine were sent, what the daemon was told
//! of each, and which pods came of them.
//!
//! ```text
//! InFlight ─┬─ not done, refused ──────────────────────────────> Settled
//!           ├─ 409 ─> Taken ─┬─ a GET finds nothing of ours ───> Settled
//!           ├─ time-out ─> Unknown ─ the same, begun after the ─┘
//!           │                │       server's own time-out
//!           └─ 201 ──────────┴─ a GET finds ours ──────────────> Exists: never another one in this life
//! ```
//! A start forgets it all: new creates need not wait for those of earlier lives.

use std::collections::BTreeMap;

use hfd_core::{
    id::{MachineName, PodUid},
    machine::Machine,
    outcome::{CreateOutcome, LookOutcome},
};

use crate::{calls::SERVER_TIMEOUT, cluster::Cluster};

/// What the daemon can know of the last POST of a name in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    InFlight,
    /// It has not made a pod, or what it made was looked for and is not there.
    Settled,
    /// 409: somebody's pod has the name.
    Taken,
    /// It may have made a pod, or may still.
    Unknown,
    /// There was a pod of ours.
    Exists,
}

/// The last POST of a name.
#[derive(Debug, Clone, Copy)]
struct Last {
    life: u64,
    sent: u64,
    fate: Fate,
}

/// A pod that came of a POST.
#[derive(Debug, Clone, Copy)]
struct Landed {
    uid: PodUid,
    life: u64,
}

/// All POSTs of all machines. Times are milliseconds of the world.
#[derive(Debug, Default)]
pub(crate) struct Creates {
    last: BTreeMap<MachineName, Last>,
    landed: BTreeMap<MachineName, Vec<Landed>>,
    /// Since when a UID, a verdict or a tombstone of it is durable.
    decided: BTreeMap<MachineName, u64>,
    /// When the server was last asked in that life and had no pod of ours of that name, wall time.
    absent: BTreeMap<(MachineName, u64), i64>,
}

impl Creates {
    /// A machine's facts become durable.
    pub(crate) fn durable(&mut self, name: MachineName, machine: &Machine, now: u64) {
        if machine.uid.is_some() || machine.is_over() {
            self.decided.entry(name).or_insert(now);
        }
    }

    /// A POST is sent.
    pub(crate) fn sent(&mut self, name: MachineName, life: u64, now: u64) {
        let this = Last { life, sent: now, fate: Fate::InFlight };
        let before = self.last.insert(name, this).filter(|before| before.life == life);
        let settled = before.is_none_or(|before| before.fate == Fate::Settled);
        assert!(settled, "a POST is sent for {name} after {before:?}, at {now}");
    }

    /// The daemon that sent the last POST is told what became of it.
    pub(crate) fn answered(&mut self, name: MachineName, life: u64, outcome: &CreateOutcome) {
        let Some(last) = self.last.get_mut(&name).filter(|last| last.life == life) else { return };
        last.fate = match outcome {
            CreateOutcome::Created(_) => Fate::Exists,
            CreateOutcome::AlreadyExists => Fate::Taken,
            CreateOutcome::Ambiguous(_) => Fate::Unknown,
            CreateOutcome::NotDone(_) | CreateOutcome::Unauthorized | CreateOutcome::Refused { .. } => Fate::Settled,
        };
    }

    /// The server reads a GET of the name.
    pub(crate) fn looked_at(&mut self, name: MachineName, life: u64, found: &LookOutcome, wall: i64) {
        if matches!(found, LookOutcome::Absent | LookOutcome::Foreign { .. }) {
            self.absent.insert((name, life), wall);
        }
    }

    /// The daemon is told what a GET, begun at that time, has found.
    pub(crate) fn looked(&mut self, name: MachineName, life: u64, began: u64, found: &LookOutcome) {
        let Some(last) = self.last.get_mut(&name).filter(|last| last.life == life) else { return };
        let over = began >= last.sent + SERVER_TIMEOUT;
        last.fate = match (last.fate, found) {
            (Fate::Taken | Fate::Unknown, LookOutcome::Ours { .. }) => Fate::Exists,
            (Fate::Taken, LookOutcome::Absent | LookOutcome::Foreign { .. }) => Fate::Settled,
            (Fate::Unknown, LookOutcome::Absent | LookOutcome::Foreign { .. }) if over => Fate::Settled,
            (fate, _) => fate,
        };
    }

    /// A POST of that life, sent at that time, has made a pod. That no other pod lives is the cluster's own doing: a
    /// name is unique there.
    pub(crate) fn landed(&mut self, name: MachineName, uid: PodUid, life: u64, sent: u64, cluster: &Cluster) {
        let decided = self.decided.get(&name);
        assert!(decided.is_none_or(|at| sent <= *at), "a POST of {name} lands that was sent after its end or UID");
        let before = self.landed.entry(name).or_default();
        for earlier in before.iter().filter(|earlier| earlier.life == life) {
            let ended = cluster.history[&earlier.uid].gone_at.expect("the name is free");
            let looked = self.absent.get(&(name, life)).is_some_and(|at| *at >= ended);
            assert!(looked, "a second pod of {name} in one life, and nobody has looked after the first one's end");
        }
        before.push(Landed { uid, life });
    }
}
