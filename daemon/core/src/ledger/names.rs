//! Returned names that we did not issue (`lifecycle.md` 5): undecided until the cluster can be seen, then one
//! unfiltered look. A pod of another HostFactory provider is deleted and followed, since HostFactory itself returned
//! it by name (that is how a site moves over); any other pod is left alone.

use std::{sync::Arc, time::Duration};

use super::{
    Ledger, Mode,
    ended::{REFUSED_AGAIN_AFTER, look_refused, unauthorized},
    work::{Action, CallEnd},
};
use crate::{
    clock::Now,
    doing::back_off_time,
    id::{MachineName, PodUid, RequestId},
    outcome::{DeleteOutcome, LookOutcome, NotDone},
    queue::{Class, Target, Ticket},
    returns::ReturnEnd,
    view::Ctx,
};

/// How often a pod that goes is looked for.
const FOLLOW_EVERY: Duration = Duration::from_secs(2);

/// What is known about such a name.
#[derive(Debug, Clone, Default)]
pub(super) struct NameDoing {
    /// The open entries that wait for it.
    pub(super) entries: Vec<(RequestId, u32)>,
    /// The pod that is being deleted.
    uid: Option<PodUid>,
    /// Its deletion was taken by the server, or was under way.
    deleting: bool,
    in_flight: bool,
    queued: bool,
    not_before: Option<Duration>,
    attempts: u32,
    pub(super) last_error: Option<Arc<str>>,
}

/// Whether a pod can have that name: an RFC 1123 subdomain (Kubernetes documentation, "Object Names and IDs").
pub(super) fn can_name_a_pod(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let label = |label: &str| {
        let bytes = label.as_bytes();
        let ends = bytes.first().is_some_and(|byte| legal(*byte)) && bytes.last().is_some_and(|byte| legal(*byte));
        ends && bytes.iter().all(|byte| legal(*byte) || *byte == b'-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

impl Ledger {
    /// Follows a name for one entry of a return.
    pub(super) fn follow_name(&mut self, ctx: Ctx<'_>, name: &Arc<str>, id: RequestId, place: u32) {
        self.names.entry(name.clone()).or_default().entries.push((id, place));
        self.plan_name(ctx, name);
    }

    /// After a start or an undone commit: follows the names of all open returns again.
    pub(super) fn resume_names(&mut self, _now: Now) {
        for id in self.derived.open_returns.keys() {
            let Some(request) = self.returns.get(*id) else { continue };
            for (place, entry) in (0..).zip(&request.entries) {
                if entry.end.is_none() && entry.machine.is_none() {
                    self.names.entry(entry.name.clone()).or_default().entries.push((*id, place));
                }
            }
        }
    }

    /// Puts every followed name where it belongs: names that a rebuild made ours become machines.
    pub(super) fn plan_names(&mut self, ctx: Ctx<'_>) {
        for name in self.names.keys().cloned().collect::<Vec<_>>() {
            let ours = name.parse::<MachineName>().ok().filter(|machine| self.machine(*machine).is_some());
            match ours {
                Some(machine) => self.take_over_name(ctx, &name, machine),
                None => self.plan_name(ctx, &name),
            }
        }
    }

    pub(super) fn plan_name(&mut self, ctx: Ctx<'_>, name: &Arc<str>) {
        let decidable = self.may_decide_names(name);
        let Some(doing) = self.names.get_mut(name) else { return };
        if doing.queued || doing.in_flight || !decidable {
            return;
        }
        if let Some(not_before) = doing.not_before.filter(|not_before| *not_before > ctx.now.mono) {
            self.queues.sleep_until(not_before, Target::Name(name.clone()));
            return;
        }
        let Some((turn, _)) = doing.entries.first().copied() else { return };
        doing.queued = true;
        self.queues.push(Class::Returns, turn, Ticket { target: Target::Name(name.clone()), template: None });
    }

    pub(super) fn start_name_call(&mut self, ctx: Ctx<'_>, name: &Arc<str>) -> Option<Action> {
        let decidable = self.may_decide_names(name);
        let doing = self.names.get_mut(name)?;
        doing.queued = false;
        if !decidable || doing.not_before.is_some_and(|not_before| not_before > ctx.now.mono) {
            self.plan_name(ctx, name);
            return None;
        }
        let committed = |(id, _): &(RequestId, u32)| self.returns.committed(*id).is_some();
        if !doing.entries.iter().any(committed) {
            // Not durable yet: nothing is done for it. The commit plans it again.
            doing.not_before = Some(ctx.now.mono + Duration::from_millis(20));
            self.plan_name(ctx, name);
            return None;
        }
        doing.in_flight = true;
        match doing.uid {
            Some(uid) if !doing.deleting => Some(Action::Delete { uid, force: false }),
            _ => Some(Action::Look),
        }
    }

    pub(super) fn name_call_ended(&mut self, ctx: Ctx<'_>, name: &Arc<str>, end: CallEnd) {
        let now = ctx.now.mono;
        let Some(doing) = self.names.get_mut(name) else { return };
        doing.in_flight = false;
        match end {
            CallEnd::Look(LookOutcome::Absent) => return self.end_name(ctx, name, &ReturnEnd::Gone),
            CallEnd::Look(LookOutcome::Foreign { hostfactory: false, .. }) => {
                let why = format!("a pod named {name:?} exists that no HostFactory provider created: not touched");
                return self.end_name(ctx, name, &ReturnEnd::Failed(why.into()));
            }
            CallEnd::Look(
                LookOutcome::Ours { uid, deleting, .. } | LookOutcome::Foreign { uid, deleting, hostfactory: true },
            ) => {
                if doing.uid.is_some_and(|before| before != uid) {
                    return self.end_name(ctx, name, &ReturnEnd::Gone);
                }
                doing.uid = Some(uid);
                doing.deleting = deleting;
                doing.attempts = 0;
                doing.last_error = None;
                doing.not_before = deleting.then_some(now + FOLLOW_EVERY);
            }
            CallEnd::Delete(DeleteOutcome::Accepted | DeleteOutcome::Gone) => {
                doing.deleting = true;
                doing.not_before = Some(now + FOLLOW_EVERY / 4);
            }
            CallEnd::Delete(DeleteOutcome::Refused(why)) => {
                let why = format!("the API server refuses to delete the pod: {why}; check the Role of hfd");
                doing.last_error = Some(why.as_str().into());
                doing.not_before = Some(now + REFUSED_AGAIN_AFTER);
                self.note_trouble(name, Some(&why));
            }
            CallEnd::Look(LookOutcome::Refused(why)) => {
                let why = look_refused(&why);
                doing.last_error = Some(why.as_str().into());
                doing.not_before = Some(now + REFUSED_AGAIN_AFTER);
                self.note_trouble(name, Some(&why));
            }
            CallEnd::Delete(DeleteOutcome::NotDone(not_done)) | CallEnd::Look(LookOutcome::NotDone(not_done)) => {
                back_off(doing, now, &not_done);
            }
            CallEnd::Delete(DeleteOutcome::Ambiguous(why)) => {
                doing.deleting = true;
                back_off(doing, now, &NotDone { why, retry_after: None, throttled: false });
            }
            CallEnd::Delete(DeleteOutcome::Unauthorized) | CallEnd::Look(LookOutcome::Unauthorized) => {
                back_off(doing, now, &unauthorized());
            }
            CallEnd::Create(_) => {}
        }
        self.plan_name(ctx, name);
    }

    /// What holds a returned name, for answers.
    pub(super) fn what_holds_name(&self, name: &str) -> String {
        match self.names.get(name) {
            Some(doing) if doing.last_error.is_some() => doing.last_error.as_deref().unwrap_or_default().to_owned(),
            Some(doing) if doing.deleting => "the pod is still terminating".into(),
            _ if !self.may_decide_names(name) => "the cluster was not seen yet, or a rebuild is pending".into(),
            _ => "undecided".into(),
        }
    }

    fn may_decide_names(&self, name: &str) -> bool {
        let ours_by_form = name.parse::<MachineName>().is_ok();
        let journal_known = match self.mode {
            Mode::Serving => true,
            Mode::FirstStart => false,
            Mode::RebuildPending => !ours_by_form,
        };
        self.sight.is_sighted() && journal_known && !self.namespace.binding.is_foreign()
    }

    fn end_name(&mut self, ctx: Ctx<'_>, name: &Arc<str>, end: &ReturnEnd) {
        self.note_trouble(name, None);
        for (id, place) in self.names.remove(name).map(|doing| doing.entries).unwrap_or_default() {
            self.end_entry(ctx.now, id, place, end.clone());
        }
    }

    /// A rebuild brought the request back: the entries cover a machine of ours from now on.
    fn take_over_name(&mut self, ctx: Ctx<'_>, name: &Arc<str>, machine: MachineName) {
        for (id, place) in self.names.remove(name).map(|doing| doing.entries).unwrap_or_default() {
            let Some(entry) = self.returns.edit(id).and_then(|request| request.entries.get_mut(place as usize)) else {
                continue;
            };
            entry.machine = Some(machine);
            self.dirty.entries.insert((id, place));
            if self.machine(machine).is_some_and(|machine| machine.gone_at.is_some()) {
                self.end_entry(ctx.now, id, place, ReturnEnd::Gone);
            } else {
                self.derived.covering.entry(machine).or_default().push((id, place));
                self.edit_machine(machine, |machine| machine.returned_by = Some(id));
            }
        }
        self.observe(ctx, machine);
    }
}

fn back_off(doing: &mut NameDoing, now: Duration, not_done: &NotDone) {
    let wait = back_off_time(doing.attempts, doing.entries.len() as u64, not_done.retry_after);
    doing.attempts = doing.attempts.saturating_add(1);
    doing.last_error = Some(not_done.why.as_str().into());
    doing.not_before = Some(now + wait);
}

#[cfg(test)]
mod tests {
    use super::can_name_a_pod;

    #[test]
    fn only_rfc_1123_subdomains_can_name_a_pod() {
        for name in ["a", "ip-10-0-57-7.ec2.internal", "x0"] {
            assert!(can_name_a_pod(name), "{name}");
        }
        for name in ["", "../x", "a/b", "A", "-a", "a..b", "a_b", "é"] {
            assert!(!can_name_a_pod(name), "{name}");
        }
        assert!(!can_name_a_pod(&"a".repeat(300)));
    }
}
