//! Which requests and returns are accepted (`interface.md`; `lifecycle.md` 1, 4, 5).

use std::{sync::Arc, time::Duration};

use thiserror::Error;

use super::{Ledger, Mode, OpenRequest, OpenReturn};
use crate::{
    id::{MachineName, RequestId, TemplateId},
    machine::Machine,
    policy::wall_seconds,
    request::{Caller, ContentHash, Key, MachineRequest, Origin},
    returns::{ReturnEnd, ReturnEntry, ReturnRequest},
    view::Ctx,
};

/// What a template says at the moment of acceptance; later edits never reach an accepted request.
#[derive(Debug, Clone)]
pub struct TemplateTerms {
    /// Its id.
    pub id: TemplateId,
    /// `maxNumber`; `None` = no limit of ours.
    pub max: Option<u32>,
    /// Time within which a machine must become ready.
    pub ready_deadline: Duration,
    /// Content hash of the resolved manifest.
    pub manifest: ContentHash,
    /// The resolved manifest, JSON.
    pub body: Arc<str>,
}

/// A requestMachines call that was understood.
#[derive(Debug, Clone)]
pub struct NewRequest {
    /// A fresh id, for the case that it is accepted.
    pub id: RequestId,
    /// Its template.
    pub template: TemplateTerms,
    /// Machines asked for, at least 1.
    pub count: u32,
    /// Idempotency key.
    pub key: Option<Key>,
    /// Who asks.
    pub caller: Caller,
}

/// A requestReturnMachines call that was understood.
#[derive(Debug, Clone)]
pub struct NewReturn {
    /// A fresh id, for the case that it is accepted.
    pub id: RequestId,
    /// What is returned, at least one.
    pub machines: Vec<ReturnedMachine>,
    /// Idempotency key.
    pub key: Option<Key>,
    /// Who asks.
    pub caller: Caller,
}

/// One machine as the caller names it.
#[derive(Debug, Clone)]
pub struct ReturnedMachine {
    /// The name as given.
    pub name: Arc<str>,
    /// The machineId as given; `None` when absent, empty or equal to the name.
    pub machine_id: Option<Arc<str>>,
}

/// Why a call is not accepted. Nothing was stored.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Denied {
    /// The key was used with another body.
    #[error("idempotency key {key:?} was already used for {used_for} with another body; use a fresh key")]
    KeyReused {
        /// The key.
        key: Arc<str>,
        /// What it was used for.
        used_for: RequestId,
    },
    /// Too many machines at once.
    #[error("machineCount {count} is above the limit of {limit} (limits.max_machine_count)")]
    TooMany {
        /// Asked for.
        count: u32,
        /// Allowed.
        limit: u32,
    },
    /// Creating is not safe now.
    #[error("{0}")]
    NotServing(String),
    /// No room to make it durable.
    #[error("the journal's disk is full: no new request can be made durable; free space in the state directory")]
    DiskFull,
}

impl Ledger {
    /// Accepts a machine request, or answers the id that its key already has.
    ///
    /// # Errors
    /// [`Denied`] says why nothing was stored.
    pub fn request_machines(&mut self, ctx: Ctx<'_>, new: NewRequest) -> Result<RequestId, Denied> {
        if let Some(known) = self.known_key(new.key.as_ref())? {
            return Ok(known);
        }
        let limit = self.policy.max_machine_count.min(MachineName::MAX_COUNT);
        if new.count > limit {
            return Err(Denied::TooMany { count: new.count, limit });
        }
        self.may_accept_requests()?;
        let in_use = self.in_use(&new.template.id);
        let granted = new.template.max.map_or(new.count, |max| max.saturating_sub(in_use).min(new.count));
        let limit = (granted < new.count)
            .then(|| format!("maxNumber {} reached, {in_use} in use", new.template.max.unwrap_or(0)).into());
        let mut request = MachineRequest {
            id: new.id,
            template: new.template.id,
            manifest: new.template.manifest,
            granted,
            limit,
            ready_deadline: u32::try_from(new.template.ready_deadline.as_secs()).unwrap_or(u32::MAX),
            accepted_at: ctx.now.wall,
            origin: Origin::Accepted,
            key: new.key,
            caller: new.caller,
            polled: false,
            cancelled: None,
            terminal: None,
            machines: vec![Machine::default(); new.count as usize],
        };
        request.fail_beyond_limit();
        if let Some(key) = &request.key {
            self.derived.keys.insert(key.text.clone(), new.id);
        }
        *self.derived.in_use.entry(request.template.clone()).or_default() += granted;
        let open = OpenRequest {
            undecided: granted,
            due: self.sight.read(ctx.now) + Duration::from_secs(u64::from(request.ready_deadline)),
        };
        self.derived.open_requests.insert(new.id, open);
        self.derived.unpolled.insert(new.id, self.clocks.polling_by(ctx.now.mono));
        self.dirty.manifests.push((request.manifest, new.template.body));
        self.requests.insert(new.id, request);
        self.dirty.headers.insert(new.id);
        self.dirty.accepted.push(new.id);
        self.freeze_if_decided(ctx.now, new.id);
        Ok(new.id)
    }

    /// Accepts a return, or answers the id that its key already has. An id is always answered but for a reused key.
    ///
    /// # Errors
    /// [`Denied::KeyReused`].
    pub fn return_machines(&mut self, ctx: Ctx<'_>, new: NewReturn) -> Result<RequestId, Denied> {
        if let Some(known) = self.known_key(new.key.as_ref())? {
            return Ok(known);
        }
        let id = new.id;
        let mut ours = Vec::new();
        let mut gone_before = Vec::new();
        let mut unknown = Vec::new();
        let mut entries = Vec::with_capacity(new.machines.len());
        for (place, returned) in (0..).zip(new.machines) {
            let entry = self.return_entry(ctx, returned);
            match (entry.machine, &entry.end) {
                (Some(machine), None) => ours.push((machine, place)),
                (Some(machine), Some(_)) => gone_before.push(machine),
                (None, None) => unknown.push((entry.name.clone(), place)),
                _ => {}
            }
            entries.push(entry);
        }
        if let Some(key) = &new.key {
            self.derived.keys.insert(key.text.clone(), id);
        }
        let undecided = ours.len() + unknown.len();
        let places = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        let request = ReturnRequest {
            id,
            accepted_at: ctx.now.wall,
            deadline: u32::try_from(wall_seconds(self.policy.return_deadline)).unwrap_or(u32::MAX),
            key: new.key,
            caller: new.caller,
            ended_at: None,
            told_at: None,
            entries,
        };
        self.returns.insert(id, request);
        self.dirty.returns.insert(id);
        self.dirty.entries.extend((0..places).map(|place| (id, place)));
        let due = ctx.now.mono + self.policy.return_deadline;
        self.derived.open_returns.insert(id, OpenReturn { undecided, due });
        for machine in gone_before {
            self.edit_machine(machine, |machine| machine.returned_by = Some(id));
        }
        for (machine, place) in &ours {
            self.derived.covering.entry(*machine).or_default().push((id, *place));
            self.edit_machine(*machine, |machine| machine.returned_by = Some(id));
        }
        for (name, place) in unknown {
            self.follow_name(ctx, &name, id, place);
        }
        for (machine, _) in ours {
            self.observe(ctx, machine);
        }
        self.end_return_if_decided(ctx.now, id);
        Ok(id)
    }

    /// An operator wants the pods of these returned machines deleted without grace (`lifecycle.md` 5: a pod that hangs
    /// in Terminating on a dead node).
    pub fn force(&mut self, ctx: Ctx<'_>, names: &[MachineName]) {
        for name in names {
            if self.machine(*name).is_some_and(|machine| machine.is_returned() && machine.gone_at.is_none()) {
                self.forced.insert(*name);
                self.plan(ctx, *name);
            }
        }
    }

    /// HostFactory asked about these requests: remembered, so that they are not taken for unknown to it.
    pub fn polled(&mut self, ids: &[RequestId]) {
        for id in ids {
            if self.requests.get(*id).is_some_and(|request| !request.polled) {
                self.derived.unpolled.remove(id);
                self.edit_header(*id, |request| request.polled = true);
            }
        }
    }

    /// The terminal answers of these returns were given.
    pub fn told(&mut self, ctx: Ctx<'_>, ids: &[RequestId]) {
        for id in ids {
            let ended_untold = |request: &Arc<ReturnRequest>| request.ended_at.is_some() && request.told_at.is_none();
            if self.returns.get(*id).is_some_and(ended_untold)
                && let Some(request) = self.returns.edit(*id)
            {
                request.told_at = Some(ctx.now.wall);
                self.dirty.returns.insert(*id);
            }
        }
    }

    /// Machines that count against a template's maxNumber.
    #[must_use]
    pub fn in_use(&self, template: &TemplateId) -> u32 {
        self.derived.in_use.get(template).copied().unwrap_or(0)
    }

    fn known_key(&self, key: Option<&Key>) -> Result<Option<RequestId>, Denied> {
        let Some(key) = key else { return Ok(None) };
        let Some(&id) = self.derived.keys.get(&key.text) else { return Ok(None) };
        let before = self.requests.get(id).and_then(|request| request.key.as_ref());
        let before = before.or_else(|| self.returns.get(id).and_then(|request| request.key.as_ref()));
        match before {
            Some(before) if before.body == key.body => Ok(Some(id)),
            _ => Err(Denied::KeyReused { key: key.text.clone(), used_for: id }),
        }
    }

    fn may_accept_requests(&self) -> Result<(), Denied> {
        if self.disk_full {
            return Err(Denied::DiskFull);
        }
        match self.mode {
            Mode::Serving => self.namespace.binding.refusal().map_or(Ok(()), |why| Err(Denied::NotServing(why))),
            Mode::FirstStart => Err(Denied::NotServing(
                "the journal is empty and the cluster was not seen yet: wait until the first sync (hfctl status)"
                    .into(),
            )),
            Mode::RebuildPending => Err(Denied::NotServing(
                "the journal is empty but pods of this provider run: run `hfd rebuild --from-cluster` first".into(),
            )),
        }
    }

    fn return_entry(&self, ctx: Ctx<'_>, returned: ReturnedMachine) -> ReturnEntry {
        let named = returned.name.parse::<MachineName>().ok();
        let known = named.and_then(|name| Some((name, self.requests.get(name.request)?)));
        let known = known.and_then(|(name, request)| Some((name, request, request.machine(name)?)));
        let mut entry = ReturnEntry {
            name: returned.name,
            machine_id: returned.machine_id,
            machine: None,
            ip: None,
            launchtime: ctx.now.wall,
            end: None,
        };
        if let Some((name, request, machine)) = known {
            entry.machine = Some(name);
            entry.ip = machine.ip;
            entry.launchtime = machine.first_ready.unwrap_or(request.accepted_at);
            if let Some(uid) = machine.uid {
                entry.machine_id = Some(uid.to_string().into());
            }
            if machine.gone_at.is_some() {
                entry.end = Some(ReturnEnd::Gone);
            }
        } else if !super::names::can_name_a_pod(&entry.name) {
            // No pod can have that name (RFC 1123 subdomain), so none is there.
            entry.end = Some(ReturnEnd::Gone);
        }
        entry
    }
}
