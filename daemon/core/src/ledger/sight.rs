//! What we see and whether it may be believed: relists, freshness, the loss guard (`lifecycle.md` 6, 7).

use std::collections::HashMap;
use std::time::Duration;

use super::{Ledger, rebuild::RebuildPhase};
use crate::{doing::Create, id::MachineName, outcome::ListOutcome, view::Ctx};

/// An unanswered guard LIST or namespace GET is asked again after this long.
pub(super) const ASK_AGAIN_AFTER: Duration = Duration::from_secs(2);

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

    pub(super) fn guard_tick(&mut self, now: Duration) {
        if self.list_again_at.is_some_and(|at| at <= now) {
            self.list_again_at = None;
            self.needs.list = self.guard.is_open();
        }
        self.ask_namespace_again(now);
    }

    /// Recomputes whether we are sighted; regained sight looks at everything again. Returns whether it did.
    pub(super) fn refresh_sight(&mut self, ctx: Ctx<'_>) -> bool {
        let right_place = self.namespace.is_ours_and_checked();
        let sighted = self.watching && self.fresh && right_place && self.mode == Mode::Serving;
        let regained = sighted && !self.sight.is_sighted();
        self.sight.set_sighted(sighted, ctx.now);
        if regained {
            for doing in self.doing.values_mut() {
                (doing.not_before, doing.look_not_before) = (None, None);
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
}
