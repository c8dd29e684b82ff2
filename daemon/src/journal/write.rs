//! Writes one batch: every change is an upsert of a present value, inside one transaction.

use hfd_core::{
    change::{Change, Meta},
    id::{MachineName, RequestId},
    machine::Machine,
    request::{ContentHash, MachineRequest},
    returns::{ReturnEnd, ReturnEntry, ReturnRequest},
};
use rusqlite::{CachedStatement, Connection, Result, Transaction, TransactionBehavior, params};

use super::values::{Address, Kind, stored_manifest, stored_origin};
use crate::crash_point::{self, Point};

const META: &str = "
UPDATE meta SET journal = ?1, namespace = ?2, adopted_journals = ?3, alive_at = ?4 WHERE only = 1";

const MANIFEST: &str = "
INSERT INTO manifests (hash, body) VALUES (?1, ?2) ON CONFLICT (hash) DO NOTHING";

const REQUEST: &str = "
INSERT INTO requests (id, template, manifest, count, granted, limited, ready_deadline, accepted_at, adopted,
    key, key_body, caller_uid, caller_pid, polled, cancelled, ended_at, succeeded)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)
ON CONFLICT (id) DO UPDATE SET template = excluded.template, manifest = excluded.manifest, count = excluded.count,
    granted = excluded.granted, limited = excluded.limited, ready_deadline = excluded.ready_deadline,
    accepted_at = excluded.accepted_at, adopted = excluded.adopted, key = excluded.key,
    key_body = excluded.key_body, caller_uid = excluded.caller_uid, caller_pid = excluded.caller_pid,
    polled = excluded.polled, cancelled = excluded.cancelled, ended_at = excluded.ended_at,
    succeeded = excluded.succeeded";

const MACHINE: &str = "
INSERT INTO machines (request, ordinal, uid, uid_recorded_at, ip, first_ready, verdict, verdict_message, verdict_at,
    returned_by, gone_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
ON CONFLICT (request, ordinal) DO UPDATE SET uid = excluded.uid, uid_recorded_at = excluded.uid_recorded_at,
    ip = excluded.ip, first_ready = excluded.first_ready, verdict = excluded.verdict,
    verdict_message = excluded.verdict_message, verdict_at = excluded.verdict_at,
    returned_by = excluded.returned_by, gone_at = excluded.gone_at";

const RETURN: &str = "
INSERT INTO returns (id, count, accepted_at, deadline, key, key_body, caller_uid, caller_pid, ended_at, told_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
ON CONFLICT (id) DO UPDATE SET count = excluded.count, accepted_at = excluded.accepted_at,
    deadline = excluded.deadline, key = excluded.key, key_body = excluded.key_body,
    caller_uid = excluded.caller_uid, caller_pid = excluded.caller_pid, ended_at = excluded.ended_at,
    told_at = excluded.told_at";

const RETURN_ENTRY: &str = "
INSERT INTO return_entries (return, position, name, machine_id, machine_request, machine_ordinal, ip, launchtime,
    ended, failure)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
ON CONFLICT (return, position) DO UPDATE SET name = excluded.name, machine_id = excluded.machine_id,
    machine_request = excluded.machine_request, machine_ordinal = excluded.machine_ordinal, ip = excluded.ip,
    launchtime = excluded.launchtime, ended = excluded.ended, failure = excluded.failure";

// Their machines and entries go with them (ON DELETE CASCADE).
const FORGET_REQUEST: &str = "DELETE FROM requests WHERE id = ?1";
const FORGET_RETURN: &str = "DELETE FROM returns WHERE id = ?1";

const FORGET_UNUSED_MANIFESTS: &str = "
DELETE FROM manifests WHERE NOT EXISTS (SELECT 1 FROM requests WHERE requests.manifest = manifests.hash)";

/// Writes `changes` in one transaction and commits it; with any error nothing of them stays.
pub(super) fn write(connection: &mut Connection, changes: &[Change]) -> Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut statements = Statements::prepare(&transaction)?;
    let mut forgets = false;
    for change in changes {
        statements.write(change)?;
        forgets |= matches!(change, Change::Forget(_));
    }
    drop(statements);
    if forgets {
        // Last, because a request later in the batch may use the manifest of one that it forgets.
        transaction.prepare_cached(FORGET_UNUSED_MANIFESTS)?.execute([])?;
    }
    crash_point::pass(Point::InJournal);
    transaction.commit()
}

/// The statements of one batch, taken from the connection's cache once and not once a change.
struct Statements<'c> {
    meta: CachedStatement<'c>,
    manifest: CachedStatement<'c>,
    request: CachedStatement<'c>,
    machine: CachedStatement<'c>,
    returned: CachedStatement<'c>,
    return_entry: CachedStatement<'c>,
    forget_request: CachedStatement<'c>,
    forget_return: CachedStatement<'c>,
}

impl<'c> Statements<'c> {
    fn prepare(transaction: &'c Transaction<'_>) -> Result<Self> {
        Ok(Self {
            meta: transaction.prepare_cached(META)?,
            manifest: transaction.prepare_cached(MANIFEST)?,
            request: transaction.prepare_cached(REQUEST)?,
            machine: transaction.prepare_cached(MACHINE)?,
            returned: transaction.prepare_cached(RETURN)?,
            return_entry: transaction.prepare_cached(RETURN_ENTRY)?,
            forget_request: transaction.prepare_cached(FORGET_REQUEST)?,
            forget_return: transaction.prepare_cached(FORGET_RETURN)?,
        })
    }

    fn write(&mut self, change: &Change) -> Result<()> {
        match change {
            Change::Manifest { hash, body } => self.manifest(hash, body),
            Change::Request(request) => self.request(request),
            Change::Machine(name, machine) => self.machine(*name, machine),
            Change::Return(returned) => self.returned(returned),
            Change::ReturnEntry(id, position, entry) => self.return_entry(*id, *position, entry),
            Change::Meta(meta) => self.meta(meta),
            Change::Forget(id) => self.forget(*id),
        }
    }

    fn meta(&mut self, meta: &Meta) -> Result<()> {
        let adopted: Vec<u8> = meta.adopted_journals.iter().flat_map(|journal| journal.0).collect();
        let namespace = meta.namespace.map(|uid| uid.to_bytes());
        self.meta.execute(params![meta.id.0, namespace, adopted, meta.alive_at])?;
        Ok(())
    }

    fn manifest(&mut self, hash: &ContentHash, body: &str) -> Result<()> {
        self.manifest.execute(params![hash, body])?;
        Ok(())
    }

    fn request(&mut self, request: &MachineRequest) -> Result<()> {
        self.request.execute(params![
            request.id.to_bytes(),
            request.template.as_str(),
            stored_manifest(&request.manifest),
            request.count(),
            request.granted,
            request.limit,
            request.ready_deadline,
            request.accepted_at,
            stored_origin(request.origin),
            request.key.as_ref().map(|key| &*key.text),
            request.key.as_ref().map(|key| &key.body),
            request.caller.uid,
            request.caller.pid,
            request.polled,
            request.cancelled,
            request.terminal.as_ref().map(|terminal| terminal.at),
            request.terminal.as_ref().map(|terminal| &terminal.succeeded),
        ])?;
        Ok(())
    }

    fn machine(&mut self, name: MachineName, machine: &Machine) -> Result<()> {
        let verdict = machine.verdict.as_deref();
        self.machine.execute(params![
            name.request.to_bytes(),
            name.ordinal,
            machine.uid.map(|uid| uid.to_bytes()),
            machine.uid_recorded_at,
            machine.ip.map(Address),
            machine.first_ready,
            verdict.map(|verdict| Kind(verdict.kind)),
            verdict.map(|verdict| &*verdict.message),
            verdict.map(|verdict| verdict.at),
            machine.returned_by.map(RequestId::to_bytes),
            machine.gone_at,
        ])?;
        Ok(())
    }

    fn returned(&mut self, returned: &ReturnRequest) -> Result<()> {
        self.returned.execute(params![
            returned.id.to_bytes(),
            u32::try_from(returned.entries.len()).unwrap_or(u32::MAX),
            returned.accepted_at,
            returned.deadline,
            returned.key.as_ref().map(|key| &*key.text),
            returned.key.as_ref().map(|key| &key.body),
            returned.caller.uid,
            returned.caller.pid,
            returned.ended_at,
            returned.told_at,
        ])?;
        Ok(())
    }

    fn return_entry(&mut self, id: RequestId, position: u32, entry: &ReturnEntry) -> Result<()> {
        let failure = match &entry.end {
            Some(ReturnEnd::Failed(why)) => Some(&**why),
            Some(ReturnEnd::Gone) | None => None,
        };
        self.return_entry.execute(params![
            id.to_bytes(),
            position,
            entry.name,
            entry.machine_id,
            entry.machine.map(|name| name.request.to_bytes()),
            entry.machine.map(|name| name.ordinal),
            entry.ip.map(Address),
            entry.launchtime,
            entry.end.is_some(),
            failure,
        ])?;
        Ok(())
    }

    fn forget(&mut self, id: RequestId) -> Result<()> {
        self.forget_request.execute([id.to_bytes()])?;
        self.forget_return.execute([id.to_bytes()])?;
        Ok(())
    }
}
