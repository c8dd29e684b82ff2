//! What we see and whether it may be believed: relists, freshness, the namespace, the loss guard
//! (`lifecycle.md` 6, 7, 8).

use std::collections::HashMap;
use std::time::Duration;

use super::{Ledger, rebuild::RebuildPhase};
use crate::{
    doing::Create,
    id::{MachineName, PodUid},
    outcome::{ListOutcome, NamespaceOutcome},
    view::Ctx,
};

/// An unanswered guard LIST or namespace GET is asked again after this long.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(2);

/// How far the journal can be trusted to know what runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The journal is empty and the cluster was not seen yet.
    FirstStart,
    /// The journal is empty but pods of ours run: nothing is judged or created until a rebuild.
    RebuildPending,
    /// Normal.
    Serving,
}

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

impl Ledger {
    /// A LIST of the watch is about to be sent.
    pub fn list_began(&mut self, ctx: Ctx<'_>) {
        self.watching = false;
        // A relist may be of a namespace that was deleted and made again: it is not judged by before that is known.
        self.doubt_namespace(ctx);
        for doing in self.doing.values_mut() {
            if let Create::Exists { before_list, by_201: true, .. } = &mut doing.create {
                *before_list = true;
            }
        }
        if self.rebuild == Some(RebuildPhase::RelistAsked) {
            self.rebuild = Some(RebuildPhase::Listing);
        }
    }

    /// The LIST is complete and in the cache; `swept` are the pods that vanished with it.
    pub fn list_done(&mut self, ctx: Ctx<'_>, swept: &[MachineName]) {
        self.watching = true;
        for (name, doing) in &mut self.doing {
            if let Create::Exists { uid, before_list: true, .. } = doing.create {
                let shown = ctx.pods.pod(*name);
                if shown.as_ref().is_none_or(|pod| pod.uid != uid) {
                    doing.create = if shown.is_some() { Create::Idle } else { Create::Absent };
                }
            }
        }
        if self.mode == Mode::FirstStart {
            let empty = ctx.pods.names().is_empty();
            self.mode = if empty { Mode::Serving } else { Mode::RebuildPending };
            if !empty && self.policy.rebuild_permitted {
                self.start_rebuild(ctx);
            }
        }
        if self.rebuild == Some(RebuildPhase::Listing) {
            self.adopt(ctx);
        }
        self.bind_if_new();
        self.refresh_sight(ctx);
        self.observe_many(ctx, swept);
    }

    /// Pods that the watch showed or removed.
    pub fn pods_seen(&mut self, ctx: Ctx<'_>, names: &[MachineName]) {
        self.observe_many(ctx, names);
    }

    /// The watch broke, or works again without a new LIST.
    pub fn freshness(&mut self, ctx: Ctx<'_>, fresh: bool) {
        self.fresh = fresh;
        self.refresh_sight(ctx);
    }

    /// The namespace was asked for.
    pub fn namespace_seen(&mut self, ctx: Ctx<'_>, outcome: &NamespaceOutcome) {
        let before = self.binding;
        self.binding = match (outcome, self.meta.namespace) {
            (NamespaceOutcome::Known(uid), Some(bound)) if *uid != bound => Binding::Foreign(Some(*uid)),
            // Not being allowed to look does not bring back a namespace that was seen to be gone.
            (NamespaceOutcome::NotAllowed, Some(_)) if before == Binding::Foreign(None) => before,
            (NamespaceOutcome::Known(_) | NamespaceOutcome::NotAllowed, _) | (NamespaceOutcome::NotFound, None) => {
                Binding::Ours
            }
            (NamespaceOutcome::NotFound, Some(_)) => Binding::Foreign(None),
            (NamespaceOutcome::NotDone(_) | NamespaceOutcome::Unauthorized, _) => {
                self.clocks.namespace_again_at = Some(ctx.now.mono + ASK_AGAIN_AFTER);
                return;
            }
        };
        if self.binding == Binding::Foreign(None) {
            // A watch goes on over a namespace that is gone, so no new LIST may come to ask whether it was made again.
            self.clocks.namespace_again_at = Some(ctx.now.mono + ASK_AGAIN_AFTER);
        }
        self.namespace_checked = true;
        self.namespace_hidden = *outcome == NamespaceOutcome::NotAllowed;
        if let NamespaceOutcome::Known(uid) = outcome {
            self.clocks.seen_namespace = Some(*uid);
        }
        self.bind_if_new();
        self.refresh_sight(ctx);
        if before != self.binding {
            self.replan_all(ctx);
        }
    }

    /// An operator accepts the present namespace as the journal's.
    ///
    /// # Errors
    /// Says why there is nothing to accept.
    pub fn accept_namespace(&mut self, ctx: Ctx<'_>) -> Result<PodUid, String> {
        let Binding::Foreign(Some(uid)) = self.binding else {
            return Err("the namespace is not in question: nothing to accept".into());
        };
        self.meta.namespace = Some(uid);
        self.dirty.meta = true;
        self.binding = Binding::Ours;
        self.namespace_checked = true;
        self.refresh_sight(ctx);
        self.replan_all(ctx);
        Ok(uid)
    }

    /// The guard's LIST answered.
    pub fn guard_listed(&mut self, ctx: Ctx<'_>, outcome: ListOutcome) {
        let ListOutcome::Pods(pods) = outcome else {
            self.list_again_at = Some(ctx.now.mono + ASK_AGAIN_AFTER);
            return;
        };
        let listed: HashMap<_, _> = pods.into_iter().map(|pod| (pod.name, pod)).collect();
        let uids: HashMap<_, _> = self
            .guard
            .held()
            .into_iter()
            .map(|name| (name, self.machine(name).and_then(|machine| machine.uid)))
            .collect();
        let (held, contradicted) = self.guard.settle(|name| {
            let uid = uids.get(&name).copied().flatten();
            match listed.get(&name) {
                None => true,
                Some(pod) if Some(pod.uid) != uid || pod.deleting || pod.ended => true,
                // It lives. The view agrees on that and has another reason (a disruption): believe it.
                Some(_) => ctx.pods.pod(name).is_some_and(|pod| pod.deletion.is_none() && !pod.has_ended()),
            }
        });
        if contradicted {
            // A view that shows what is not so is not judged by again before it is listed anew.
            self.needs.relist = true;
            self.watching = false;
            self.refresh_sight(ctx);
        } else {
            for name in held {
                self.observe(ctx, name);
            }
        }
    }

    /// The guard holds losses back until a LIST confirms them.
    #[must_use]
    pub fn is_guarding(&self) -> bool {
        self.guard.is_open()
    }

    /// The view may be judged by: synced, fresh, and of the right namespace.
    #[must_use]
    pub fn is_sighted(&self) -> bool {
        self.sight.is_sighted()
    }

    /// The last commit failed for lack of room.
    #[must_use]
    pub const fn is_disk_full(&self) -> bool {
        self.disk_full
    }

    /// How far the journal can be trusted.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// The namespace's state.
    #[must_use]
    pub const fn binding(&self) -> Binding {
        self.binding
    }

    /// Whether the namespace's UID is hidden from us: then another namespace of this name is not noticed.
    #[must_use]
    pub const fn is_namespace_hidden(&self) -> bool {
        self.namespace_hidden
    }

    /// Judges nothing before the namespace's UID was asked for again.
    pub(super) fn doubt_namespace(&mut self, ctx: Ctx<'_>) {
        self.namespace_checked = false;
        self.needs.namespace = true;
        self.refresh_sight(ctx);
    }

    pub(super) fn guard_tick(&mut self, now: Duration) {
        if self.list_again_at.is_some_and(|at| at <= now) {
            self.list_again_at = None;
            self.needs.list = self.guard.is_open();
        }
        if self.clocks.namespace_again_at.is_some_and(|at| at <= now) {
            self.clocks.namespace_again_at = None;
            self.needs.namespace = true;
        }
    }

    /// Recomputes whether we are sighted; regained sight looks at everything again. Returns whether it did.
    pub(super) fn refresh_sight(&mut self, ctx: Ctx<'_>) -> bool {
        let right_place = self.binding == Binding::Ours && self.namespace_checked;
        let sighted = self.watching && self.fresh && right_place && self.mode == Mode::Serving;
        let regained = sighted && !self.sight.is_sighted();
        self.sight.set_sighted(sighted, ctx.now);
        if regained {
            for doing in self.doing.values_mut() {
                doing.not_before = None;
            }
            self.observe_all(ctx);
            self.plan_names(ctx);
        }
        regained
    }

    pub(super) fn replan_all(&mut self, ctx: Ctx<'_>) {
        for id in self.requests.iter().map(|(id, _)| *id).collect::<Vec<_>>() {
            self.plan_request(ctx, id);
        }
    }

    /// Binds the journal to the namespace at the first sync that knows its UID.
    fn bind_if_new(&mut self) {
        if self.meta.namespace.is_none()
            && self.mode == Mode::Serving
            && self.watching
            && let Some(uid) = self.clocks.seen_namespace
        {
            self.meta.namespace = Some(uid);
            self.dirty.meta = true;
        }
    }
}
