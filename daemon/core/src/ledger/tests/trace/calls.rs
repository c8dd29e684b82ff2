//! Calls of the ledger, and what becomes of them.

use super::{
    super::model::state::{B_AMBIG, B_FORBID},
    oracle::Beside,
    walk::{Sent, Walk},
};
use crate::{
    ledger::{Action, CallEnd},
    outcome::{CreateOutcome, DeleteOutcome, NotDone},
    pod::{Deletion, Phase},
};

/// The server gives a call up after this long.
const SERVER_TIME_OUT: i64 = 60;

impl Walk {
    /// The ledger's next call; `false` = the model has no room for another pod.
    pub(super) fn start_call(&mut self) -> bool {
        if !self.up || self.late.len() + self.old.len() > 1 {
            return true;
        }
        let Some(call) = self.world.call() else { return true };
        let until = self.world.now.wall + SERVER_TIME_OUT;
        match call.action {
            Action::Create(_) if self.next_uid == 4 => return false,
            Action::Create(_) => {
                self.post = Some(Sent { until, what: call });
                self.say_of_machine("hfd: sends POST");
                self.compare(Beside::Nothing);
            }
            Action::Delete { uid, .. } => {
                if self.delete.is_some() {
                    self.delete_is_lost();
                }
                self.delete = Some(Sent { until, what: (uid, Some(call)) });
                self.say_of_machine("hfd: sends DELETE");
                self.compare(Beside::Nothing);
            }
            Action::Look => {
                let found = self.name.map(|name| self.world.look(name)).expect("a look is for a machine");
                self.world.answer(&call, CallEnd::Look(found));
                self.oracle.look();
                self.compare(Beside::Nothing);
            }
        }
        true
    }

    /// The POST under way ends, one way or another.
    pub(super) fn post_ends(&mut self) {
        let ambiguous = self.has(B_AMBIG);
        let gives_up = !self.up || ambiguous && self.dice.roll(4) == 0;
        if self.post.is_none() || !gives_up && !self.room() {
            return;
        }
        let Some(Sent { until, what: call }) = self.post.take() else { return };
        if gives_up {
            self.late.push(until);
            self.say_of_machine("hfd: gives up on POST, which may land late");
            self.world.answer_lost(&call);
            return self.compare(Beside::Nothing);
        }
        let taken = self.is_taken();
        let uid = if taken { None } else { Some(self.create()) };
        let lost = ambiguous && self.dice.roll(3) == 0;
        let (step, outcome) = match (lost, uid) {
            (true, _) => ("api: POST lands, answer lost", CreateOutcome::Ambiguous("connection reset".into())),
            (false, Some(uid)) => ("api: POST lands, answer arrives", CreateOutcome::Created(uid)),
            (false, None) => ("api: POST lands, answer arrives", CreateOutcome::AlreadyExists),
        };
        self.say_of_machine(step);
        self.world.answer(&call, CallEnd::Create(outcome));
        self.compare(Beside::Shown); // a 409 about a pod that the watch has shown is settled
    }

    /// A POST that nobody waits for lands, or never will.
    pub(super) fn late_post(&mut self) {
        let of_this_life = !self.late.is_empty() && (self.old.is_empty() || self.dice.roll(2) == 0);
        let under_way = if of_this_life { &mut self.late } else { &mut self.old };
        if under_way.is_empty() {
            return;
        }
        let lands = self.dice.roll(4) > 0;
        if lands && (self.is_taken() || self.next_uid == 4 || !self.room()) {
            return;
        }
        let under_way = if of_this_life { &mut self.late } else { &mut self.old };
        under_way.pop();
        let step = match (lands, of_this_life) {
            (false, _) => "api: late POST never lands",
            (true, true) => "api: late POST lands",
            (true, false) => "api: late POST of an earlier life lands",
        };
        if lands {
            self.create();
        }
        self.say_of_machine(step);
        self.compare(Beside::Nothing);
    }

    /// The DELETE under way ends.
    pub(super) fn delete_ends(&mut self) {
        let Some(delete) = &self.delete else { return };
        let (uid, name) = (delete.what.0, self.name.expect("a delete is for a machine"));
        let hit = self.world.cluster.get(&name).is_some_and(|pod| pod.uid == uid);
        if self.world.deletes_refused || !hit || self.dice.roll(5) == 0 {
            return self.delete_is_lost();
        }
        if !self.room() {
            return;
        }
        let Some(Sent { what: (_, call), .. }) = self.delete.take() else { return };
        let pod = self.world.cluster.get(&name).expect("it was hit").clone();
        if pod.deletion.is_none() {
            if pod.phase == Phase::Pending {
                self.world.cluster.remove(&name);
            } else {
                let ends_at = self.world.now.wall + 30;
                self.world.cluster.entry(name).and_modify(|pod| pod.deletion = Some(Deletion { ends_at }));
            }
            self.emit();
        }
        self.say_of_machine("api: DELETE lands");
        if let Some(call) = call {
            let lost = self.dice.roll(3) == 0;
            let outcome = if lost { DeleteOutcome::Ambiguous("reset".into()) } else { DeleteOutcome::Accepted };
            self.world.answer(&call, CallEnd::Delete(outcome));
        }
        self.compare(Beside::Nothing);
    }

    /// The DELETE under way does nothing.
    pub(super) fn delete_is_lost(&mut self) {
        let Some(Sent { what: (uid, call), .. }) = self.delete.take() else { return };
        self.say_of_machine("api: DELETE lost");
        if let Some(call) = call {
            let there = self.name.and_then(|name| self.world.cluster.get(&name)).is_some_and(|pod| pod.uid == uid);
            let outcome = match (self.world.deletes_refused, there) {
                (true, _) => DeleteOutcome::Refused("forbidden".into()),
                (false, false) => DeleteOutcome::Gone,
                (false, true) => {
                    DeleteOutcome::NotDone(NotDone { why: "503".into(), retry_after: None, throttled: false })
                }
            };
            self.world.answer(&call, CallEnd::Delete(outcome));
        }
        self.keep_under_way();
    }

    /// Deletes are refused from now on, or allowed again.
    pub(super) fn refuse_deletes(&mut self) {
        if self.has(B_FORBID) {
            self.world.deletes_refused = !self.world.deletes_refused;
            let refused = self.world.deletes_refused;
            self.say(if refused { "api: DELETE refused (403) from now on" } else { "api: DELETE allowed again" });
        }
    }
}
