//! Machine requests: what was accepted, how far it is, and the frozen end (`lifecycle.md` 2-4).

use std::sync::Arc;

use crate::{
    id::{MachineName, RequestId, TemplateId},
    machine::{Machine, MachineOutcome, Verdict, VerdictKind},
};

/// SHA-256 of a resolved manifest or of a request body.
pub type ContentHash = [u8; 32];

/// Who asked, by the socket's peer credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Caller {
    /// User id.
    pub uid: u32,
    /// Process id; 0 = unknown.
    pub pid: i32,
}

/// An idempotency key with the hash of the body it came with (`lifecycle.md` 1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// 1..128 printable characters.
    pub text: Arc<str>,
    /// Hash of verb and body.
    pub body: ContentHash,
}

/// Where a machine request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// HostFactory asked and we answered.
    Accepted,
    /// Rebuilt from the cluster: never creates (`lifecycle.md` 8).
    Adopted,
}

/// The frozen end of a machine request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terminal {
    /// When it was reached, epoch seconds.
    pub at: i64,
    /// One bit a machine, lowest ordinal in the lowest bit of the first byte: it succeeded.
    pub succeeded: Box<[u8]>,
}

impl Terminal {
    /// Whether the machine succeeded.
    #[must_use]
    pub fn has_succeeded(&self, ordinal: u32) -> bool {
        self.succeeded.get(ordinal as usize / 8).is_some_and(|byte| byte >> (ordinal % 8) & 1 == 1)
    }
}

/// A machine request with all of its machines.
#[derive(Debug, Clone, PartialEq)]
pub struct MachineRequest {
    /// Its id.
    pub id: RequestId,
    /// Its template, as named at acceptance.
    pub template: TemplateId,
    /// The resolved manifest at acceptance; all zero for an adopted request.
    pub manifest: ContentHash,
    /// Machines granted within maxNumber: ordinals from here on failed at acceptance.
    pub granted: u32,
    /// Why the others were not granted.
    pub limit: Option<Arc<str>>,
    /// Seconds of sighted time within which a machine must become ready.
    pub ready_deadline: u32,
    /// Wall time of acceptance, epoch seconds.
    pub accepted_at: i64,
    /// Where it came from.
    pub origin: Origin,
    /// Idempotency key, when the caller gave one.
    pub key: Option<Key>,
    /// Who asked.
    pub caller: Caller,
    /// HostFactory asked for its status at least once.
    pub polled: bool,
    /// Set when it was cancelled: why.
    pub cancelled: Option<Arc<str>>,
    /// Its frozen end.
    pub terminal: Option<Terminal>,
    /// Its machines, by ordinal; as many as were asked for.
    pub machines: Vec<Machine>,
}

impl MachineRequest {
    /// Gives the machines beyond the granted ones their verdict: they never were anything but failed.
    pub fn fail_beyond_limit(&mut self) {
        let Some(limit) = &self.limit else { return };
        let verdict = Arc::new(Verdict { kind: VerdictKind::Failed, message: limit.clone(), at: self.accepted_at });
        for machine in self.machines.iter_mut().skip(self.granted as usize) {
            machine.verdict = Some(verdict.clone());
            machine.gone_at = Some(self.accepted_at);
        }
    }

    /// Machines asked for.
    #[must_use]
    pub fn count(&self) -> u32 {
        u32::try_from(self.machines.len()).unwrap_or(u32::MAX)
    }

    /// The machine of that name, if this request has it.
    #[must_use]
    pub fn machine(&self, name: MachineName) -> Option<&Machine> {
        self.machines.get(name.ordinal as usize).filter(|_| name.request == self.id)
    }

    /// Its machines with their names.
    pub fn named_machines(&self) -> impl Iterator<Item = (MachineName, &Machine)> {
        (0..).zip(&self.machines).map(|(ordinal, machine)| (MachineName { request: self.id, ordinal }, machine))
    }

    /// What is answered about a machine: frozen once the request is terminal.
    #[must_use]
    pub fn outcome(&self, ordinal: u32) -> MachineOutcome {
        match &self.terminal {
            Some(terminal) if terminal.has_succeeded(ordinal) => MachineOutcome::Succeed,
            Some(_) => MachineOutcome::Fail,
            None => self.machines.get(ordinal as usize).map_or(MachineOutcome::Fail, Machine::outcome),
        }
    }

    /// Freezes what the machines show now. Call it only when none is executing.
    pub fn freeze(&mut self, at: i64) {
        let mut succeeded = vec![0u8; self.machines.len().div_ceil(8)];
        for (ordinal, machine) in self.machines.iter().enumerate() {
            if machine.outcome() == MachineOutcome::Succeed {
                succeeded[ordinal / 8] |= 1 << (ordinal % 8);
            }
        }
        self.terminal = Some(Terminal { at, succeeded: succeeded.into() });
    }

    /// Why a machine failed, for HostFactory and people.
    #[must_use]
    pub fn failure_message(&self, machine: &Machine) -> Arc<str> {
        match (&machine.verdict, &self.cancelled) {
            (Some(verdict), _) => verdict.message.clone(),
            (None, Some(reason)) if machine.returned_by == Some(self.id) => reason.clone(),
            _ => "returned before ready".into(),
        }
    }
}
