//! What the answer to a call for a machine means (`lifecycle.md` 3, 5, 7).
//!
//! An answer moves only what is in flight for the machine, and at most gives it a verdict; what follows from that is
//! planned anew afterwards (`work.rs`).

use std::time::Duration;

use super::Ledger;
use crate::{
    doing::{Create, Delete, Doing, back_off_time},
    id::{MachineName, PodUid},
    machine::VerdictKind,
    outcome::{CreateOutcome, DeleteOutcome, LookOutcome, NotDone, RefusalKind},
    view::Ctx,
};

/// A delete that the server took is sent again when the watch shows no deletion after this long.
const DELETE_AGAIN_AFTER: Duration = Duration::from_secs(30);
/// What the server refused for good (403 on a delete) is tried again this often, in case an operator mends it.
pub(super) const REFUSED_AGAIN_AFTER: Duration = Duration::from_secs(60);
/// A look that found the pod alive though the watch does not show it is repeated this often.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(30);

impl Ledger {
    pub(super) fn create_ended(&mut self, ctx: Ctx<'_>, name: MachineName, outcome: CreateOutcome) {
        let now = ctx.now.mono;
        let dead_at = now + self.policy.server_request_timeout;
        let doing = self.doing.entry(name).or_default();
        match outcome {
            CreateOutcome::Created(uid) => {
                doing.went_well();
                doing.create = Create::Exists { uid, since: now, before_list: false, by_201: true };
            }
            CreateOutcome::AlreadyExists => doing.create = Create::Conflict,
            CreateOutcome::Ambiguous(why) => {
                doing.create = Create::Ambiguous { dead_at };
                doing.last_error = Some(why.into());
            }
            CreateOutcome::NotDone(not_done) => {
                doing.create = Create::Idle;
                back_off(doing, name, now, &not_done);
            }
            CreateOutcome::Unauthorized => {
                doing.create = Create::Idle;
                back_off(doing, name, now, &unauthorized());
            }
            CreateOutcome::Refused { kind, message } => {
                doing.create = Create::Idle;
                let why = format!("the API server refused the pod: {message}");
                // What else waits is not tried before it is known whether the namespace is still ours.
                self.needs.namespace |= kind == RefusalKind::NamespaceGone;
                if !self.sight.is_sighted() {
                    // An earlier create may have made the pod, and we can't see it: no verdict.
                    back_off(doing, name, now, &NotDone { why, retry_after: None, throttled: false });
                } else {
                    doing.last_error = None;
                    self.fail_for_good(ctx, name, &why);
                }
            }
        }
    }

    /// Fails a machine that can't get a pod. One that has a pod all the same, from an earlier create, keeps it.
    fn fail_for_good(&mut self, ctx: Ctx<'_>, name: MachineName, message: &str) {
        if ctx.pods.pod(name).is_none() && self.machine(name).is_some_and(|machine| machine.uid.is_none()) {
            self.give_verdict(ctx.now, name, VerdictKind::Failed, message);
        }
    }

    pub(super) fn delete_ended(&mut self, ctx: Ctx<'_>, name: MachineName, outcome: DeleteOutcome) {
        let now = ctx.now.mono;
        let doing = self.doing.entry(name).or_default();
        let Delete::InFlight(uid) = doing.delete else { return };
        doing.delete = Delete::Idle;
        let mut trouble = None;
        if matches!(outcome, DeleteOutcome::Accepted | DeleteOutcome::Gone) {
            self.forced.remove(&name);
        }
        match outcome {
            // Gone: the watch has yet to say so; only the watch ends a return.
            DeleteOutcome::Accepted | DeleteOutcome::Gone => {
                doing.went_well();
                doing.delete = Delete::Accepted { uid, again_at: now + DELETE_AGAIN_AFTER };
            }
            DeleteOutcome::Refused(why) => {
                let why = format!("the API server refuses to delete the pod: {why}; check the Role of hfd");
                doing.back_off(now, REFUSED_AGAIN_AFTER, &why);
                trouble = Some(why);
            }
            DeleteOutcome::NotDone(not_done) => back_off(doing, name, now, &not_done),
            DeleteOutcome::Ambiguous(why) => {
                back_off(doing, name, now, &NotDone { why, retry_after: None, throttled: false });
            }
            DeleteOutcome::Unauthorized => back_off(doing, name, now, &unauthorized()),
        }
        self.note_trouble(&name.to_string(), trouble.as_deref());
    }

    pub(super) fn look_ended(&mut self, ctx: Ctx<'_>, name: MachineName, outcome: LookOutcome) {
        let now = ctx.now.mono;
        let pod = ctx.pods.pod(name);
        let shown = pod.is_some();
        let doing = self.doing.entry(name).or_default();
        let began = doing.looking.take().unwrap_or(now);
        let found = match outcome {
            LookOutcome::Refused(why) => {
                let why = look_refused(&why);
                doing.back_off_looking(now, REFUSED_AGAIN_AFTER, &why);
                return self.note_trouble(&name.to_string(), Some(&why));
            }
            LookOutcome::NotDone(not_done) => return back_off_looking(doing, name, now, &not_done),
            LookOutcome::Unauthorized => return back_off_looking(doing, name, now, &unauthorized()),
            LookOutcome::Ours { uid, request, .. } if request == name.request => Found::Ours(uid),
            LookOutcome::Ours { .. } | LookOutcome::Foreign { .. } => Found::Stranger,
            LookOutcome::Absent => Found::Nothing,
        };
        let conflicts = matches!((doing.create, &found), (Create::Conflict, Found::Nothing)).then_some(doing.attempts);
        doing.went_well();
        (doing.look_not_before, doing.look_attempts) = (None, 0);
        match (doing.create, found) {
            (Create::Exists { uid, by_201, before_list, .. }, Found::Ours(seen)) if seen == uid => {
                let since = now + LOOK_AGAIN_AFTER.saturating_sub(self.policy.unseen_look_after);
                doing.create = Create::Exists { uid, since, before_list, by_201 };
            }
            (Create::Exists { .. }, _) => doing.create = if shown { Create::Idle } else { Create::Absent },
            (Create::Conflict | Create::Ambiguous { .. }, Found::Nothing) => {
                doing.create = Create::Idle;
                if let Some(before) = conflicts {
                    again_after_conflict(doing, name, now, before);
                }
            }
            (Create::Conflict | Create::Ambiguous { .. }, Found::Stranger) => {
                let why = "the name is taken by a pod that is not ours";
                if !self.sight.is_sighted() {
                    let blind = NotDone { why: why.into(), retry_after: None, throttled: false };
                    return back_off_looking(doing, name, now, &blind);
                }
                doing.create = Create::Idle;
                self.fail_for_good(ctx, name, why);
            }
            (Create::InFlight, _) => {}
            (_, Found::Ours(uid)) => {
                if pod.is_none_or(|pod| pod.uid != uid) {
                    doing.create = Create::Exists { uid, since: now, before_list: false, by_201: false };
                } else {
                    doing.create = Create::Idle;
                }
            }
            (Create::Idle | Create::Absent, Found::Nothing | Found::Stranger) => {}
        }
        self.forget_look_trouble(name);
        // A look settles the creates of earlier lives once they can't land any more; before that it says nothing.
        if self.unsettled.get(&name).is_some_and(|dead_at| *dead_at <= began) {
            self.unsettled.remove(&name);
        }
    }
}

impl Ledger {
    /// Whether the pod may be looked at matters no more; that its delete is refused still does.
    pub(super) fn forget_look_trouble(&mut self, name: MachineName) {
        if self.troubles.is_empty() {
            return;
        }
        let name = name.to_string();
        if self.troubles.get(&*name).is_some_and(|why| why.starts_with(LOOK_REFUSED)) {
            self.note_trouble(&name, None);
        }
    }
}

enum Found {
    Nothing,
    Ours(PodUid),
    Stranger,
}

/// A 409 for a pod that is not there, after so many failures `before`. The first time it is tried again at once: an older
/// pod of the name may have gone just now.
fn again_after_conflict(doing: &mut Doing, name: MachineName, now: Duration, before: u32) {
    doing.attempts = before.max(1);
    if before > 0 {
        let why =
            "the API server says that there is a pod of this name (409) and shows none; does a webhook answer so?";
        back_off(doing, name, now, &NotDone { why: why.into(), retry_after: None, throttled: false });
    }
}

fn back_off(doing: &mut Doing, name: MachineName, now: Duration, not_done: &NotDone) {
    let seed = u64::from(name.ordinal);
    let wait = back_off_time(doing.attempts, seed, not_done.retry_after);
    doing.back_off(now, wait, &not_done.why);
}

fn back_off_looking(doing: &mut Doing, name: MachineName, now: Duration, not_done: &NotDone) {
    let wait = back_off_time(doing.look_attempts, u64::from(name.ordinal), not_done.retry_after);
    doing.back_off_looking(now, wait, &not_done.why);
}

/// How the words for a refused look begin.
const LOOK_REFUSED: &str = "the API server refuses to show the pod";

/// What an operator is told when a look is refused.
pub(super) fn look_refused(why: &str) -> String {
    format!("{LOOK_REFUSED}: {why}; check the Role of hfd (verb get on pods)")
}

pub(super) fn unauthorized() -> NotDone {
    let why = "the API server does not accept our credentials (401)".into();
    NotDone { why, retry_after: None, throttled: false }
}
