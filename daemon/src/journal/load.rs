//! Reads a whole journal into memory. Every row of every table is read and checked; one that makes no sense is damage,
//! because leaving it out would forget something that was acknowledged.

use std::{
    collections::{HashMap, hash_map::Entry},
    path::Path,
    sync::Arc,
};

use hfd_core::{
    change::{Meta, Restored},
    id::{JournalId, MachineName, RequestId},
    machine::{Machine, Verdict, VerdictKind},
    request::{Caller, ContentHash, MachineRequest, Terminal},
    returns::{ReturnEnd, ReturnEntry, ReturnRequest},
};
use rusqlite::{Connection, Row};

use super::{
    Manifests, OpenError,
    values::{Kind, Template, key, optional_address, optional_request_id, optional_uid, origin, request_id},
};
use crate::crash_point::{self, Point};

/// Reads everything; requests and returns come in the order of their acceptance.
pub(super) fn load(connection: &Connection, path: &Path) -> Result<(Restored, Manifests), OpenError> {
    let reader = Reader { connection, path };
    let meta = reader.meta()?;
    let manifests = reader.manifests()?;
    let requests = reader.requests(&manifests)?;
    crash_point::pass(Point::DuringReplay);
    let returns = reader.returns()?;
    Ok((Restored { meta, requests, returns }, manifests))
}

struct Reader<'a> {
    connection: &'a Connection,
    path: &'a Path,
}

impl Reader<'_> {
    fn meta(&self) -> Result<Meta, OpenError> {
        let (mut meta, adopted) = self
            .connection
            .query_row("SELECT * FROM meta", [], |row| {
                let meta = Meta {
                    id: JournalId(row.get("journal")?),
                    namespace: optional_uid(row, "namespace")?,
                    adopted_journals: Vec::new(),
                    alive_at: row.get("alive_at")?,
                };
                Ok((meta, row.get::<_, Vec<u8>>("adopted_journals")?))
            })
            .map_err(|error| self.failed("read the facts of", error))?;
        let (journals, rest) = adopted.as_chunks::<8>();
        if !rest.is_empty() {
            return Err(self.damaged(format!("its adopted journals take {} bytes", adopted.len())));
        }
        meta.adopted_journals = journals.iter().copied().map(JournalId).collect();
        Ok(meta)
    }

    fn manifests(&self) -> Result<Manifests, OpenError> {
        let mut manifests = Manifests::new();
        self.each("read the manifests of", "SELECT * FROM manifests", |row| {
            manifests.insert(row.get("hash")?, row.get("body")?);
            Ok(Ok(()))
        })?;
        Ok(manifests)
    }

    fn requests(&self, manifests: &Manifests) -> Result<Vec<MachineRequest>, OpenError> {
        // In the order of ids, which is also the order of the machines' rows.
        let mut requests = Vec::new();
        self.each("read the requests of", "SELECT * FROM requests ORDER BY id", |row| {
            let (mut request, count) = request(row)?;
            if request.manifest != ContentHash::default() && !manifests.contains_key(&request.manifest) {
                return Ok(Err(format!("the manifest of request {} is missing", request.id)));
            }
            if count > MachineName::MAX_COUNT || request.granted > count {
                return Ok(Err(format!("request {} has {count} machines, {} granted", request.id, request.granted)));
            }
            request.machines = vec![Machine::default(); count as usize];
            request.fail_beyond_limit();
            requests.push(request);
            Ok(Ok(()))
        })?;
        self.machines(&mut requests)?;
        requests.sort_by_key(|request| (request.accepted_at, request.id));
        Ok(requests)
    }

    /// Lays the machines' rows over `requests`, which are in the order of ids.
    fn machines(&self, requests: &mut [MachineRequest]) -> Result<(), OpenError> {
        let mut verdicts = Verdicts::default();
        let mut at = 0;
        self.each("read the machines of", MACHINES, |row| {
            let (id, ordinal) = (request_id(row, 0)?, row.get::<_, u32>(1)?);
            while requests.get(at).is_some_and(|request| request.id < id) {
                at += 1;
            }
            let request = requests.get_mut(at).filter(|request| request.id == id);
            let Some(place) = request.and_then(|request| request.machines.get_mut(ordinal as usize)) else {
                let name = MachineName { request: id, ordinal };
                return Ok(Err(format!("machine {name} belongs to no request")));
            };
            *place = machine(row, &mut verdicts)?;
            Ok(Ok(()))
        })
    }

    fn returns(&self) -> Result<Vec<ReturnRequest>, OpenError> {
        let mut returns: HashMap<RequestId, (ReturnRequest, u32)> = HashMap::new();
        self.each("read the returns of", "SELECT * FROM returns", |row| {
            let (returned, count) = returned(row)?;
            returns.insert(returned.id, (returned, count));
            Ok(Ok(()))
        })?;
        self.each("read the returned machines of", ENTRIES, |row| {
            let (id, position) = (request_id(row, 0)?, row.get::<_, u32>(1)?);
            match returns.get_mut(&id) {
                Some((returned, _)) if returned.entries.len() == position as usize => {
                    returned.entries.push(entry(row)?);
                }
                _ => return Ok(Err(format!("entry {position} of return {id} is out of place"))),
            }
            Ok(Ok(()))
        })?;
        let incomplete = returns.values().find(|(returned, count)| returned.entries.len() != *count as usize);
        if let Some((returned, count)) = incomplete {
            return Err(self.damaged(format!(
                "return {} has {} of {count} entries",
                returned.id,
                returned.entries.len()
            )));
        }
        let mut returns: Vec<_> = returns.into_values().map(|(returned, _)| returned).collect();
        returns.sort_by_key(|returned| (returned.accepted_at, returned.id));
        Ok(returns)
    }

    /// Calls `take` with every row; its inner error says what is wrong with a row that could be read.
    fn each(
        &self,
        action: &'static str,
        sql: &str,
        mut take: impl FnMut(&Row<'_>) -> rusqlite::Result<Result<(), String>>,
    ) -> Result<(), OpenError> {
        let failed = |error| self.failed(action, error);
        let mut statement = self.connection.prepare(sql).map_err(failed)?;
        let mut rows = statement.query([]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            take(row).map_err(failed)?.map_err(|damage| self.damaged(damage))?;
        }
        Ok(())
    }

    fn failed(&self, action: &'static str, error: rusqlite::Error) -> OpenError {
        match error {
            rusqlite::Error::QueryReturnedNoRows => self.damaged("it has lost its own facts".to_owned()),
            error => OpenError::from_sqlite(self.path, action, error),
        }
    }

    fn damaged(&self, damage: String) -> OpenError {
        OpenError::Damaged { path: self.path.to_owned(), damage }
    }
}

/// Machines that fail for one reason share the verdict in memory.
#[derive(Default)]
struct Verdicts(HashMap<(u8, i64, Arc<str>), Arc<Verdict>>);

impl Verdicts {
    fn shared(&mut self, kind: VerdictKind, message: Arc<str>, at: i64) -> Arc<Verdict> {
        match self.0.entry((kind as u8, at, message)) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(place) => {
                let message = place.key().2.clone();
                place.insert(Arc::new(Verdict { kind, message, at })).clone()
            }
        }
    }
}

fn request(row: &Row<'_>) -> rusqlite::Result<(MachineRequest, u32)> {
    let terminal = match row.get("ended_at")? {
        Some(at) => Some(Terminal { at, succeeded: row.get("succeeded")? }),
        None => None,
    };
    let request = MachineRequest {
        id: request_id(row, "id")?,
        template: row.get::<_, Template>("template")?.0,
        manifest: row.get::<_, Option<_>>("manifest")?.unwrap_or_default(),
        granted: row.get("granted")?,
        limit: row.get("limited")?,
        ready_deadline: row.get("ready_deadline")?,
        accepted_at: row.get("accepted_at")?,
        origin: origin(row.get("adopted")?),
        key: key(row)?,
        caller: caller(row)?,
        polled: row.get("polled")?,
        cancelled: row.get("cancelled")?,
        terminal,
        machines: Vec::new(),
    };
    Ok((request, row.get("count")?))
}

/// By position, because there are many and a name is looked up anew in every row.
const MACHINES: &str = "
SELECT request, ordinal, uid, uid_recorded_at, ip, first_ready, verdict, verdict_message, verdict_at, returned_by,
    gone_at
FROM machines ORDER BY request, ordinal";

fn machine(row: &Row<'_>, verdicts: &mut Verdicts) -> rusqlite::Result<Machine> {
    let verdict = match row.get::<_, Option<Kind>>(6)? {
        Some(Kind(kind)) => Some(verdicts.shared(kind, row.get(7)?, row.get(8)?)),
        None => None,
    };
    Ok(Machine {
        uid: optional_uid(row, 2)?,
        uid_recorded_at: row.get(3)?,
        ip: optional_address(row, 4)?,
        first_ready: row.get(5)?,
        verdict,
        returned_by: optional_request_id(row, 9)?,
        gone_at: row.get(10)?,
    })
}

fn returned(row: &Row<'_>) -> rusqlite::Result<(ReturnRequest, u32)> {
    let returned = ReturnRequest {
        id: request_id(row, "id")?,
        accepted_at: row.get("accepted_at")?,
        deadline: row.get("deadline")?,
        key: key(row)?,
        caller: caller(row)?,
        ended_at: row.get("ended_at")?,
        told_at: row.get("told_at")?,
        entries: Vec::new(),
    };
    Ok((returned, row.get("count")?))
}

/// By position, like [`MACHINES`].
const ENTRIES: &str = "
SELECT return, position, name, machine_id, machine_request, machine_ordinal, ip, launchtime, ended, failure
FROM return_entries ORDER BY return, position";

fn entry(row: &Row<'_>) -> rusqlite::Result<ReturnEntry> {
    let machine = match optional_request_id(row, 4)? {
        Some(request) => Some(MachineName { request, ordinal: row.get(5)? }),
        None => None,
    };
    let end = match (row.get(8)?, row.get(9)?) {
        (false, _) => None,
        (true, None) => Some(ReturnEnd::Gone),
        (true, Some(why)) => Some(ReturnEnd::Failed(why)),
    };
    let (name, machine_id) = (row.get(2)?, row.get(3)?);
    Ok(ReturnEntry { name, machine_id, machine, ip: optional_address(row, 6)?, launchtime: row.get(7)?, end })
}

fn caller(row: &Row<'_>) -> rusqlite::Result<Caller> {
    Ok(Caller { uid: row.get("caller_uid")?, pid: row.get("caller_pid")? })
}
