//! What becomes durable together, and what is undone when there is no room for it (`lifecycle.md` 2, 11).

use std::sync::Arc;

use super::{Dirty, Ledger, Mode, names::NameDoing};
use crate::{
    change::{Batch, Change},
    clock::Now,
    doing::Create,
    id::{MachineName, RequestId},
    request::{MachineRequest, Origin},
    view::Ctx,
};

impl Ledger {
    /// Takes what must become durable now. Follow it with [`Self::committed`] or [`Self::roll_back`] before the next.
    pub fn take_batch(&mut self) -> Batch {
        let dirty = std::mem::take(&mut self.dirty);
        let mut batch = Batch { uses_reserve: dirty.accepted.is_empty(), ..Batch::default() };
        batch.changes.extend(dirty.manifests.into_iter().map(|(hash, body)| Change::Manifest { hash, body }));
        let requests = |id: &RequestId| self.requests.get(*id).cloned();
        batch.changes.extend(dirty.headers.iter().filter_map(requests).map(Change::Request));
        for name in &dirty.machines {
            if let Some(machine) = self.machine(*name) {
                batch.changes.push(Change::Machine(*name, machine.clone()));
            }
        }
        let returns = |id: &RequestId| self.returns.get(*id).cloned();
        batch.changes.extend(dirty.returns.iter().filter_map(returns).map(Change::Return));
        for (id, place) in &dirty.entries {
            if let Some(entry) = self.returns.get(*id).and_then(|request| request.entries.get(*place as usize)) {
                batch.changes.push(Change::ReturnEntry(*id, *place, entry.clone()));
            }
        }
        batch.changes.extend(dirty.forgotten.into_iter().map(Change::Forget));
        if dirty.meta {
            batch.changes.push(Change::Meta(self.meta.clone()));
            batch.meta = Some(self.meta.clone());
        }
        batch.requests = self.requests.take_dirty();
        batch.returns = self.returns.take_dirty();
        batch.machines = dirty.machines.into_iter().collect();
        batch.accepted = dirty.accepted;
        batch
    }

    /// There is something to commit.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        let dirty = &self.dirty;
        !(dirty.headers.is_empty()
            && dirty.machines.is_empty()
            && dirty.returns.is_empty()
            && dirty.entries.is_empty()
            && dirty.forgotten.is_empty()
            && !dirty.meta)
    }

    /// The batch is durable: what it says may be told and acted upon.
    pub fn committed(&mut self, ctx: Ctx<'_>, batch: &Batch) {
        let has_room_again = std::mem::take(&mut self.disk_full);
        let bound_before = self.durable_meta.namespace;
        if let Some(meta) = &batch.meta {
            self.durable_meta = meta.clone();
        }
        self.requests.commit(&batch.requests);
        for (id, request) in &batch.requests {
            if request.as_ref().is_some_and(|request| request.cancelled.is_some()) {
                self.derived.unpolled.remove(id);
            }
            if request.as_ref().is_none_or(|request| request.terminal.is_some()) {
                self.derived.ending_requests.remove(id);
            }
        }
        self.returns.commit(&batch.returns);
        for id in &batch.accepted {
            self.plan_request(ctx, *id);
        }
        if self.durable_meta.namespace != bound_before {
            self.replan_all(ctx);
        }
        // Not only what was committed: the cache may be ahead, and then the guard has to weigh what it shows.
        self.observe_many(ctx, &batch.machines);
        let forgotten = batch.requests.iter().any(|(_, request)| request.is_none())
            || batch.returns.iter().any(|(_, request)| request.is_none());
        if forgotten {
            self.drop_forgotten();
        }
        if has_room_again {
            // Whatever commit it was that found room: what the undone ones had seen is seen again.
            self.observe_all(ctx);
            self.plan_names(ctx);
        }
    }

    /// Nothing volatile outlives the request or the return that it is about.
    fn drop_forgotten(&mut self) {
        let forgotten = |name: &&MachineName| !self.requests.contains(name.request);
        for name in self.at_risk.keys().filter(forgotten).copied().collect::<Vec<_>>() {
            self.set_at_risk(name, None);
        }
        let returns = &self.returns;
        let followed = |doing: &NameDoing| doing.entries.iter().any(|(id, _)| returns.contains(*id));
        let unfollowed: Vec<_> =
            self.names.iter().filter(|(_, doing)| !followed(doing)).map(|(name, _)| name.clone()).collect();
        for name in unfollowed {
            self.names.remove(&name);
            self.note_trouble(&name, None);
        }
    }

    /// The batch could not be made durable (disk full): it and every edit since are undone. What the watch told is
    /// seen again by [`Self::observe_all`] once there is room.
    pub fn roll_back(&mut self, now: Now) {
        self.disk_full = true;
        let undone = self.requests.roll_back();
        self.returns.roll_back();
        self.remember_undone(now, &undone);
        self.dirty = Dirty::default();
        self.meta = self.durable_meta.clone();
        self.undo_acceptance(now);
        self.derive(now);
        self.names.clear();
        self.resume_names(now);
    }

    /// What the undone state knew and nothing else remembers: pods that exist, and that a rebuild is still pending.
    fn remember_undone(&mut self, now: Now, undone: &[(RequestId, Arc<MachineRequest>)]) {
        for (name, machine) in undone.iter().flat_map(|(_, request)| request.named_machines()) {
            let forgotten = self.machine(name).is_some_and(|machine| machine.uid.is_none());
            let seen = || self.doing.get(&name).and_then(|doing| doing.seen_returned);
            if let Some(uid) = machine.uid.or_else(seen).filter(|_| forgotten) {
                let doing = self.doing.entry(name).or_default();
                if matches!(doing.create, Create::Idle | Create::Absent) {
                    // Created, and its UID not durable: known absent, it is failed and not created again.
                    doing.create = Create::Exists { uid, since: now.mono, before_list: false, by_201: true };
                }
            }
        }
        let adopted =
            undone.iter().any(|(id, request)| request.origin == Origin::Adopted && !self.requests.contains(*id));
        if adopted && self.requests.is_empty() {
            self.mode = Mode::RebuildPending;
        }
    }
}
