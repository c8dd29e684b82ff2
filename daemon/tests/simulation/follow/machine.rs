//! One machine that is followed: how the world's numbers are the model's, and what is compared.

use std::collections::HashMap;

use hfd_core::{
    id::{MachineName, PodUid, RequestId},
    machine::VerdictKind,
    pod::{Phase, PodRecord},
    returns::ReturnEnd,
};

use super::{
    PODS,
    model::state::{Pod, S, small},
    oracle::Oracle,
};
use crate::world::World;

/// A machine, and the model's states of it.
pub(super) struct Machine {
    pub(super) oracle: Oracle,
    pub(super) uids: HashMap<PodUid, u8>,
    pub(super) next_uid: u8,
    pub(super) returns: Vec<(RequestId, u32)>,
    /// POSTs that were given up, of this life and of earlier ones, and are under way.
    pub(super) late: usize,
    pub(super) old: usize,
    /// One is unanswered.
    pub(super) posting: bool,
    pub(super) stranger: bool,
    /// No call of an earlier life is under way.
    pub(super) settled: bool,
    pub(super) touched: bool,
    pub(super) over: bool,
    pub(super) seen: Option<Seen>,
}

/// What happened to a POST.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Post {
    /// It is sent, and does nothing.
    SentInVain,
    Sent,
    /// It took effect, or met a pod of that name; the answer arrives or does not.
    Lands {
        answered: bool,
    },
    /// Nobody waits for it any more.
    GivenUp,
    /// One that was given up, of this life or an earlier one, took effect or never will.
    Late {
        this_life: bool,
        lands: bool,
    },
}

/// What is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) late: u8,
    pub(super) old: u8,
    pub(super) pod: u8,
    pub(super) uid: u8,
    pub(super) ready: bool,
    pub(super) verdict: u8,
    pub(super) tomb: bool,
    pub(super) gone: bool,
    pub(super) polled: bool,
    /// Ended, failed.
    pub(super) returns: Vec<(bool, bool)>,
}

impl Machine {
    pub(super) fn new(oracle: Oracle, settled: bool) -> Self {
        Self {
            oracle,
            uids: HashMap::new(),
            next_uid: 1,
            returns: Vec::new(),
            late: 0,
            old: 0,
            posting: false,
            stranger: false,
            settled,
            touched: true,
            over: false,
            seen: None,
        }
    }

    /// The model's number of a pod.
    pub(super) fn number(&mut self, uid: PodUid) -> u8 {
        let next = &mut self.next_uid;
        *self.uids.entry(uid).or_insert_with(|| {
            *next += 1;
            *next - 1
        })
    }

    /// HostFactory returns it.
    pub(super) fn returned(&mut self, entry: (RequestId, u32)) {
        if self.returns.len() == 2 {
            self.over = true;
            return;
        }
        self.returns.push(entry);
        self.oracle.step(("HF: requestReturnMachines, committed, answered (mask)", 1));
        self.touched = true;
    }

    /// Something happened to a POST of it.
    pub(super) fn post(&mut self, what: Post) {
        self.touched = true;
        let lands = matches!(what, Post::Lands { .. } | Post::Late { lands: true, .. });
        if self.next_uid >= PODS || lands && !self.oracle.has_room() {
            self.over = true;
            return;
        }
        let step = match what {
            Post::SentInVain => return self.oracle.in_vain(("hfd: sends POST", 0)),
            Post::Sent => "hfd: sends POST",
            Post::Lands { answered: true } => "api: POST lands, answer arrives",
            Post::Lands { answered: false } => "api: POST lands, answer lost",
            Post::GivenUp => "hfd: gives up on POST, which may land late",
            Post::Late { lands: false, .. } => "api: late POST never lands",
            Post::Late { this_life: true, .. } => "api: late POST lands",
            Post::Late { this_life: false, .. } => "api: late POST of an earlier life lands",
        };
        match what {
            Post::Sent => self.posting = true,
            Post::Lands { .. } => self.posting = false,
            Post::GivenUp => (self.posting, self.late) = (false, self.late + 1),
            Post::Late { this_life: true, .. } => self.late -= 1,
            Post::Late { this_life: false, .. } => self.old -= 1,
            Post::SentInVain => {}
        }
        self.oracle.step((step, 0));
    }

    /// A pod of somebody else has the name.
    pub(super) fn taken(&mut self) {
        let pod = Pod { uid: self.next_uid, ph: 1, term: 0, stranger: 1 };
        self.next_uid += 1;
        (self.stranger, self.touched) = (true, true);
        self.over |= self.next_uid > PODS || !self.oracle.pod_is(pod, self.next_uid);
    }

    /// The pod of that name has changed.
    pub(super) fn pod_is(&mut self, pod: Option<&PodRecord>) {
        let pod = pod.map_or_else(Pod::default, |pod| Pod {
            uid: self.number(pod.uid),
            ph: match pod.phase {
                _ if pod.has_ended() => 3,
                _ if pod.ready && pod.ip.is_some() => 1,
                Phase::Pending => 0,
                _ => 2,
            },
            term: 2 * u8::from(pod.deletion.is_some()),
            stranger: 0,
        });
        self.touched = true;
        self.over |= self.next_uid > PODS || !self.oracle.pod_is(pod, self.next_uid);
    }
}

impl Seen {
    pub(super) fn of(name: MachineName, machine: &Machine, world: &World) -> Option<Self> {
        let rows = &world.disk.rows;
        let row = rows.machine(name)?;
        let number = |uid: PodUid| machine.uids.get(&uid).copied().unwrap_or(u8::MAX);
        let pod = world.cluster.ours(&name.to_string());
        let ends = machine.returns.iter().map(|key| rows.entries.get(key).and_then(|entry| entry.end.as_ref()));
        Some(Self {
            late: small(machine.late),
            old: small(machine.old),
            pod: pod.map_or(0, |pod| number(pod.record.uid)),
            uid: row.uid.map_or(0, number),
            ready: row.was_ready(),
            verdict: match row.verdict_kind() {
                None => 0,
                Some(VerdictKind::Failed | VerdictKind::Overdue) => 1,
                Some(VerdictKind::Lost) => 2,
            },
            tomb: row.is_returned(),
            gone: row.gone_at.is_some(),
            polled: rows.requests[&name.request].polled,
            returns: ends.map(|end| (end.is_some(), matches!(end, Some(ReturnEnd::Failed(_))))).collect(),
        })
    }

    pub(super) fn agrees(&self, s: &S) -> bool {
        let m = &s.m[0];
        let pod = if m.pod.stranger == 1 { 0 } else { m.pod.uid };
        // Under a tombstone, or with an end, hfd records no UID, and no verdict under a tombstone.
        let uid = m.uid == self.uid || self.uid == 0 && (self.tomb || self.verdict != 0);
        let verdict = m.verdict == self.verdict || self.tomb && self.verdict == 0;
        let returns = self.returns.iter().zip(&s.ret).all(|((ended, failed), r)| match (*ended, *failed) {
            (false, _) => r.fail == 0,
            (true, true) => r.fail == 1 || m.gone == 1,
            (true, false) => m.gone == 1,
        });
        let facts = (m.ready == 1, m.tomb == 1, m.gone == 1) == (self.ready, self.tomb, self.gone);
        (m.late, m.old, pod) == (self.late, self.old, self.pod) && uid && verdict && facts && returns
    }
}
