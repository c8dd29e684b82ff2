//! Whether the namespace is still the one that the journal knows (`lifecycle.md` 8).
//!
//! A namespace that was deleted and made again has none of our pods, and a watch of it goes on as if they had been
//! deleted. So it is asked for (one optional GET) before a LIST is believed, and before a machine whose pod is gone or
//! going, not by us, is judged: only an answer to a question that was sent *after* that was seen says that the machine
//! is lost rather than that we look at another place.

use std::time::Duration;

use super::{
    Ledger,
    sight::{ASK_AGAIN_AFTER, Mode},
};
use crate::{
    clock::Now,
    id::{MachineName, PodUid},
    ordered::HashMap,
    outcome::NamespaceOutcome,
    view::Ctx,
};

/// Whether the namespace is the one that the journal is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// Not asked yet in this life.
    Unknown,
    /// It is, or the question is not permitted to us.
    Ours,
    /// It is another one (the UID), or it is gone (`None`) though the journal is bound.
    Foreign(Option<PodUid>),
}

impl Binding {
    /// Creating pods cannot hit the wrong cluster.
    #[must_use]
    pub const fn allows_creates(self) -> bool {
        matches!(self, Self::Ours)
    }

    /// The namespace is not the one we know.
    #[must_use]
    pub const fn is_foreign(self) -> bool {
        matches!(self, Self::Foreign(_))
    }

    /// Why no request is accepted, for callers.
    #[must_use]
    pub fn refusal(self) -> Option<String> {
        let Self::Foreign(uid) = self else { return None };
        let what = uid.map_or_else(|| "is gone".to_owned(), |uid| format!("has another UID ({uid})"));
        Some(format!(
            "the namespace {what} than the one this journal belongs to: check kubeconfig and context, or accept it with \
             `hfd accept-namespace`"
        ))
    }
}

/// Where reading the namespace was permitted once and is not now, it is tried again this often.
const ASK_HIDDEN_EVERY: Duration = Duration::from_secs(60);

/// What is known of the namespace in this life. Questions are numbered, and one is under way at a time.
#[derive(Debug)]
pub(super) struct Namespace {
    pub(super) binding: Binding,
    /// The last question that was sent.
    sent: u64,
    /// It has neither been answered nor failed.
    under_way: bool,
    /// The last one that was answered.
    answered: u64,
    /// An answer to a question before this one does not say that the present view is of the right place.
    checked_by: u64,
    /// The question is not permitted to us, so it can't be answered.
    hidden: bool,
    /// The last answer was that it is not permitted, though its UID was seen in this life: believed when repeated.
    refused_once: bool,
    /// Why the last question has no answer.
    failure: Option<String>,
    /// Its UID as it was last seen.
    seen: Option<PodUid>,
    /// When it is asked for again (monotonic).
    again_at: Option<Duration>,
    /// Machines seen gone or going, with the first question whose answer vouches that it was here.
    doubted: HashMap<MachineName, u64>,
}

impl Default for Namespace {
    fn default() -> Self {
        Self {
            binding: Binding::Unknown,
            sent: 0,
            under_way: false,
            answered: 0,
            checked_by: 1,
            hidden: false,
            refused_once: false,
            failure: None,
            seen: None,
            again_at: None,
            doubted: HashMap::default(),
        }
    }
}

impl Namespace {
    /// The namespace is ours, by an answer that counts for the present view.
    pub(super) fn is_ours_and_checked(&self) -> bool {
        self.binding == Binding::Ours && self.answered >= self.checked_by
    }

    /// It will be asked for again by the clock.
    pub(super) const fn waits(&self) -> bool {
        self.again_at.is_some()
    }

    /// The number of the next question that is sent.
    const fn next(&self) -> u64 {
        self.sent + 1
    }
}

impl Ledger {
    /// The namespace was asked for. Without a question under way it counts as asked at this instant.
    pub fn namespace_seen(&mut self, ctx: Ctx<'_>, outcome: &NamespaceOutcome) {
        let before = self.namespace.binding;
        if !std::mem::take(&mut self.namespace.under_way) {
            self.namespace.sent += 1;
        }
        if let Some(why) = self.is_no_answer(outcome) {
            self.namespace.failure = Some(why);
            self.namespace.again_at = Some(ctx.now.mono + ASK_AGAIN_AFTER);
            return;
        }
        let binding = match (outcome, outcome.uid(), self.meta.namespace) {
            (_, Some(uid), Some(bound)) if uid != bound => Binding::Foreign(Some(uid)),
            // Not being allowed to look does not bring back a namespace that was seen to be gone, or another's.
            (NamespaceOutcome::NotAllowed, _, Some(_)) if before.is_foreign() => before,
            (NamespaceOutcome::NotFound, _, Some(_)) => Binding::Foreign(None),
            _ => Binding::Ours,
        };
        let answered_before = self.namespace.answered;
        self.namespace.binding = binding;
        self.namespace.answered = self.namespace.sent;
        self.namespace.failure = None;
        self.namespace.refused_once = false;
        self.namespace.hidden = *outcome == NamespaceOutcome::NotAllowed;
        self.namespace.seen = outcome.uid().or(self.namespace.seen);
        if binding == Binding::Foreign(None) || matches!(outcome, NamespaceOutcome::Terminating(_)) {
            // A watch goes on over a namespace that is gone, so no new LIST may come to ask whether it was made again.
            self.namespace.again_at = Some(ctx.now.mono + ASK_AGAIN_AFTER);
        } else if self.namespace.hidden && self.meta.namespace.is_some() {
            // It was permitted when the journal was bound, and may be again.
            self.namespace.again_at = Some(ctx.now.mono + ASK_HIDDEN_EVERY);
        }
        self.bind_if_new();
        self.refresh_sight(ctx);
        if before != binding {
            self.replan_all(ctx);
        }
        self.judge_doubted(ctx, answered_before);
    }

    /// Why an outcome answers nothing. One refusal after answers may be a proxy's, or of a Role that is being replaced.
    fn is_no_answer(&mut self, outcome: &NamespaceOutcome) -> Option<String> {
        match outcome {
            NamespaceOutcome::NotDone(not_done) => Some(not_done.why.clone()),
            NamespaceOutcome::Unauthorized => Some(super::ended::unauthorized().why),
            NamespaceOutcome::NotAllowed if self.namespace.seen.is_some() && !self.namespace.hidden => {
                let repeated = std::mem::replace(&mut self.namespace.refused_once, true);
                (!repeated).then(|| "reading the namespace is not permitted (403)".to_owned())
            }
            _ => None,
        }
    }

    /// An operator accepts the present namespace as the journal's.
    ///
    /// # Errors
    /// Says why there is nothing to accept.
    pub fn accept_namespace(&mut self, ctx: Ctx<'_>) -> Result<PodUid, String> {
        let Binding::Foreign(Some(uid)) = self.namespace.binding else {
            return Err("the namespace is not in question: nothing to accept".into());
        };
        self.meta.namespace = Some(uid);
        self.dirty.meta = true;
        self.namespace.binding = Binding::Ours;
        // It may have been replaced since it was seen.
        self.needs.namespace = true;
        self.refresh_sight(ctx);
        Ok(uid)
    }

    /// The acceptance of a namespace may not have become durable: then it is not ours.
    pub(super) fn undo_acceptance(&mut self, now: Now) {
        if let (Some(bound), Some(seen)) = (self.meta.namespace, self.namespace.seen)
            && bound != seen
            && self.namespace.binding == Binding::Ours
        {
            self.namespace.binding = Binding::Foreign(Some(seen));
            self.sight.set_sighted(false, now);
        }
    }

    /// Whether the namespace was found to be ours after this machine's pod was seen gone or going. If that is not known
    /// yet it is asked, and the machine is looked at again with the answer.
    pub(super) fn is_loss_here(&mut self, name: MachineName) -> bool {
        if self.namespace.hidden || self.meta.namespace.is_none() {
            return true; // nothing can tell
        }
        let next = self.namespace.next();
        let asked = *self.namespace.doubted.entry(name).or_insert(next);
        if asked == next {
            self.needs.namespace = true;
        }
        asked <= self.namespace.answered
    }

    /// Creates can't hit the wrong place, and that this is the right one is durable.
    pub(super) fn may_create_here(&self) -> bool {
        let durable = self.durable_meta.namespace;
        self.namespace.binding.allows_creates() && (durable.is_none() || durable == self.meta.namespace)
    }

    /// The machine's pod is gone or going, and whether the namespace is ours still is not answered.
    pub(super) fn waits_for_namespace(&self, name: MachineName) -> bool {
        self.namespace.doubted.get(&name).is_some_and(|asked| *asked > self.namespace.answered)
    }

    /// How many machines wait for an answer about the namespace, and why there is none, when the last question failed.
    #[must_use]
    pub fn unanswered_losses(&self) -> Option<(usize, &str)> {
        let why = self.namespace.failure.as_deref()?;
        let waiting = self.namespace.doubted.values().filter(|asked| **asked > self.namespace.answered).count();
        (waiting > 0).then_some((waiting, why))
    }

    /// The namespace was answered: the machines that waited for that are judged, or known to be elsewhere.
    fn judge_doubted(&mut self, ctx: Ctx<'_>, answered_before: u64) {
        if self.namespace.binding.is_foreign() {
            self.namespace.doubted.clear();
            return;
        }
        let (answered, hidden) = (self.namespace.answered, self.namespace.hidden);
        let newly = |asked: u64| hidden || (asked > answered_before && asked <= answered);
        let waited = self.namespace.doubted.iter().filter(|(_, asked)| newly(**asked));
        let mut names: Vec<_> = waited.map(|(name, _)| *name).collect();
        names.sort_unstable();
        // Together: many that waited for one answer are a mass loss.
        self.observe_many(ctx, &names);
        for name in names {
            if self.machine(name).is_none_or(|machine| machine.gone_at.is_some()) {
                self.forget_doubt(name);
            }
        }
    }

    /// The machine's pod is there, or its end is decided: what was asked for it before says nothing of what comes.
    pub(super) fn forget_doubt(&mut self, name: MachineName) {
        self.namespace.doubted.remove(&name);
    }

    /// The namespace's state.
    #[must_use]
    pub const fn binding(&self) -> Binding {
        self.namespace.binding
    }

    /// Whether the namespace's UID is hidden from us: then another namespace of this name is not noticed.
    #[must_use]
    pub const fn is_namespace_hidden(&self) -> bool {
        self.namespace.hidden
    }

    /// Judges nothing before the namespace's UID was asked for again.
    pub(super) fn doubt_namespace(&mut self, ctx: Ctx<'_>) {
        self.namespace.checked_by = self.namespace.next();
        self.namespace.again_at = None;
        self.needs.namespace = true;
        self.refresh_sight(ctx);
    }

    /// Whether the question is to be sent now; it counts as sent. What is wanted meanwhile waits for its answer, or for
    /// the time after a failure.
    pub(super) fn take_namespace_question(&mut self) -> bool {
        let sends = self.needs.namespace && !self.namespace.under_way && self.namespace.again_at.is_none();
        if sends {
            self.needs.namespace = false;
            self.namespace.under_way = true;
            self.namespace.sent += 1;
        }
        sends
    }

    pub(super) fn ask_namespace_again(&mut self, now: Duration) {
        if self.namespace.again_at.is_some_and(|at| at <= now) {
            self.namespace.again_at = None;
            self.needs.namespace = true;
        }
    }

    /// Binds the journal to the namespace at the first sync that knows its UID.
    pub(super) fn bind_if_new(&mut self) {
        if self.meta.namespace.is_none()
            && self.mode == Mode::Serving
            && self.watching
            && let Some(uid) = self.namespace.seen
        {
            self.meta.namespace = Some(uid);
            self.dirty.meta = true;
        }
    }
}
