//! The naive model: what was said, what became durable and what is true, and the promises between the three.
//!
//! Written from the rules (`lifecycle.md`) and promises, not from the ledger: a list of every answer and of every pod
//! that ever was. It knows nothing of queues and draws no conclusion of its own. Which create may follow which is in
//! `creates.rs`, how many machines a template may have in `limits.rs`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hfd_core::{
    change::Change,
    id::{MachineName, PodUid, RequestId},
    machine::{Machine, Verdict, VerdictKind},
    request::{MachineRequest, Origin},
    returns::{ReturnEnd, ReturnEntry},
};
use proto_schema::hostfactory::{MachineResult, MachineStatus, RequestState, RequestStatus};

use crate::{
    cluster::{Cluster, Owner},
    creates::Creates,
    disk::Rows,
    limits::Limits,
};

/// A crash loop of a ready machine is a loss after this long (the policy of the simulation), seconds.
pub(crate) const CRASH_LOOP: i64 = 120;
/// Seconds that rounding to whole seconds can cost a deadline in one life.
const ROUNDING: u64 = 3;

/// What was said and what became durable.
#[derive(Debug, Default)]
pub(crate) struct Model {
    /// Ids that a caller has read, with the number of machines (0 = a return).
    pub(crate) acknowledged: BTreeMap<RequestId, u32>,
    /// Every key for which a reply was sent, with its id.
    pub(crate) keys: BTreeMap<String, RequestId>,
    /// Milliseconds of sighted time (at most) when a request was decided.
    decided: BTreeMap<RequestId, (u64, u64)>,
    /// The last answer about each request or return.
    told: BTreeMap<RequestId, RequestStatus>,
    /// Machines whose pods are told gone: none may ever appear again.
    gone: BTreeSet<String>,
    /// Why a create can have failed for good.
    pub(crate) refused: BTreeSet<MachineName>,
    pub(crate) taken: BTreeSet<String>,
    /// Requests as they became durable last.
    headers: BTreeMap<RequestId, Arc<MachineRequest>>,
    pub(crate) creates: Creates,
    pub(crate) limits: Limits,
    /// What the LIST showed at whose end the last rebuild adopted.
    pub(crate) rebuilt_from: BTreeSet<MachineName>,
}

/// What a check needs of the world besides the model.
pub(crate) struct Truth<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) rows: &'a Rows,
    pub(crate) wall: i64,
    /// The namespace that the journal is bound to.
    pub(crate) bound: Option<PodUid>,
    /// Milliseconds since the world began.
    pub(crate) now: u64,
    /// Milliseconds during which the view can have been sighted, and lives of the daemon.
    pub(crate) sighted: u64,
    pub(crate) lives: u64,
}

impl Model {
    /// The state directory was lost: what is only known there is lost with it (`lifecycle.md` 8).
    pub(crate) fn lose_state(&mut self) {
        *self = Self { taken: std::mem::take(&mut self.taken), ..Self::default() };
    }

    pub(crate) fn decide(&mut self, id: RequestId, sighted: u64, lives: u64) {
        self.decided.entry(id).or_insert((sighted, lives));
        self.limits.decide(id);
    }

    /// A reply with an id was sent (whether or not anybody read it).
    pub(crate) fn replied(&mut self, key: &str, id: RequestId, truth: &Truth<'_>) {
        let before = self.keys.entry(key.to_owned()).or_insert(id);
        assert_eq!(*before, id, "the same key got two ids");
        let durable = truth.rows.requests.contains_key(&id) || truth.rows.returns.contains_key(&id);
        assert!(durable, "{id} is acknowledged and not durable");
    }

    // ---- what becomes durable

    /// One change is about to become durable.
    pub(crate) fn becomes_durable(&mut self, change: &Change, truth: &Truth<'_>) {
        match change {
            Change::Machine(name, machine) => {
                self.machine_becomes(*name, machine, truth);
                self.creates.durable(*name, machine, truth.now);
            }
            Change::ReturnEntry(id, place, entry) => {
                let before = truth.rows.entries.get(&(*id, *place));
                self.entry_becomes(entry, before, truth);
            }
            Change::Request(request) => {
                if let Some(key) = &request.key {
                    let same_key = |(id, other): (&RequestId, &Arc<_>)| {
                        let other: &hfd_core::request::MachineRequest = other;
                        *id != request.id && other.key.as_ref().is_some_and(|other| other.text == key.text)
                    };
                    assert!(!truth.rows.requests.iter().any(same_key), "two requests have the key {}", key.text);
                }
                if let Some(before) = truth.rows.requests.get(&request.id) {
                    assert!(
                        before.terminal.is_none() || before.terminal == request.terminal,
                        "a terminal answer changed"
                    );
                    assert!(!before.polled || request.polled, "that a request was polled is durable");
                }
                self.headers.insert(request.id, request.clone());
            }
            Change::Return(returned) => {
                let ended = truth.rows.returns.get(&returned.id).and_then(|before| before.ended_at);
                assert!(ended.is_none() || ended == returned.ended_at, "the end of a return changed");
            }
            Change::Manifest { .. } | Change::Meta(_) | Change::Forget(_) => {}
        }
    }

    fn machine_becomes(&mut self, name: MachineName, machine: &Machine, truth: &Truth<'_>) {
        let before = truth.rows.machine(name).unwrap_or_default();
        let latched = |had: bool, same: bool, what: &str| assert!(!had || same, "{what} of {name} changed");
        latched(before.uid.is_some(), before.uid == machine.uid, "the UID");
        latched(before.first_ready.is_some(), before.first_ready == machine.first_ready, "the first readiness");
        latched(before.verdict.is_some(), before.verdict == machine.verdict, "the verdict");
        latched(before.gone_at.is_some(), before.gone_at == machine.gone_at, "the end");
        latched(before.returned_by.is_some(), machine.returned_by.is_some(), "the tombstone");
        let pod = machine.uid.map(|uid| truth.cluster.history.get(&uid).expect("a UID is of a pod that was"));
        if let Some(pod) = pod {
            assert!(pod.name == name.to_string() && pod.owner == Owner::Ours, "{name} has the UID of {pod:?}");
        }
        if before.first_ready.is_none() && machine.first_ready.is_some() {
            assert!(pod.is_some_and(|pod| pod.ready_at.is_some()), "{name} is durably ready and never was");
        }
        if let Some(verdict) = machine.verdict.as_ref().filter(|_| before.verdict.is_none()) {
            self.check_verdict(name, machine, verdict, truth);
        }
        if before.gone_at.is_none() && machine.gone_at.is_some() {
            let left = truth.cluster.ours(&name.to_string());
            assert!(left.is_none(), "{name} is durably gone and its pod is there: {left:?}");
            self.gone.insert(name.to_string());
        }
    }

    /// A verdict has a cause that is true (`reliability.md` 4).
    fn check_verdict(&self, name: MachineName, machine: &Machine, verdict: &Verdict, truth: &Truth<'_>) {
        let (text, why) = (name.to_string(), &*verdict.message);
        let pods = || truth.cluster.history.iter().filter(|(_, pod)| pod.name == text && pod.owner == Owner::Ours);
        let request = &self.headers[&name.request];
        if why.starts_with("maxNumber") {
            // Whether there was room is looked at when the request becomes durable (`limits.rs`).
            let beyond = name.ordinal >= request.granted && request.limit.as_deref() == Some(why);
            assert!(beyond, "{name} was granted and failed: {why}");
        } else if why == "unknown after rebuild" {
            assert!(request.origin == Origin::Adopted, "{name} failed ({why}), and its request was accepted");
            assert!(!self.rebuilt_from.contains(&name), "{name} failed ({why}), and the rebuild's LIST had its pod");
        } else if let Some(seconds) = why.strip_prefix("not ready within ") {
            let limit: u64 = seconds.split(' ').next().and_then(|limit| limit.parse().ok()).expect("a number");
            // An adopted one counts from its adoption, which is not in this list.
            if let Some((since, lives)) = self.decided.get(&name.request) {
                let (ran, lives) = (truth.sighted - since, truth.lives - lives + 1);
                let ran = ran / 1000 + ROUNDING * lives;
                assert!(ran >= limit, "{name} failed at its deadline of {limit} s after {ran} s of sight");
            }
            assert!(machine.first_ready.is_none(), "{name} was ready and failed at its deadline");
        } else if why.starts_with("the API server refused the pod") {
            assert!(self.refused.contains(&name), "no create of {name} was refused");
        } else if why.starts_with("the name is taken") {
            assert!(self.taken.contains(&text), "nobody has taken {name}");
        } else if let Some(uid) = machine.uid {
            self.check_end(name, uid, verdict.kind, truth);
        } else {
            assert!(pods().any(|(_, pod)| pod.going_at.is_some()), "{name} failed ({why}) and its pod lives");
        }
    }

    fn check_end(&self, name: MachineName, uid: PodUid, kind: VerdictKind, truth: &Truth<'_>) {
        let pod = &truth.cluster.history[&uid];
        let crashed = pod.crashing_at.is_some_and(|since| truth.wall + 1 >= since + CRASH_LOOP);
        assert!(pod.going_at.is_some() || crashed, "{name} is {kind:?} and its pod lives: {pod:?}");
        assert!(
            pod.went_with.is_none() || pod.went_with != truth.bound,
            "{name} is {kind:?}, and it went with a namespace that an operator has not given up: {pod:?}"
        );
    }

    fn entry_becomes(&mut self, entry: &ReturnEntry, before: Option<&ReturnEntry>, truth: &Truth<'_>) {
        if let Some(before) = before.filter(|before| before.end.is_some()) {
            assert_eq!(before.end, entry.end, "the end of a returned machine changed");
        } else if entry.end == Some(ReturnEnd::Gone) {
            let left = truth.cluster.pods.get(&*entry.name);
            let left = left.filter(|pod| matches!(pod.owner, Owner::Ours | Owner::FormerProvider));
            assert!(left.is_none(), "the return of {} ended and its pod is there: {left:?}", entry.name);
            if entry.machine.is_some() {
                self.gone.insert(entry.name.to_string());
            }
        }
    }

    // ---- what is done

    /// A POST is sent.
    pub(crate) fn post_sent(&mut self, name: MachineName, life: u64, truth: &Truth<'_>) {
        let rows = truth.rows;
        let machine = rows.machine(name);
        let machine = machine.unwrap_or_else(|| panic!("a POST is sent for {name}, whose request is not durable"));
        let over = machine.uid.is_some() || machine.verdict.is_some() || machine.returned_by.is_some();
        assert!(!over, "a POST is sent for {name}, of which is durable: {machine:?}");
        let adopted = rows.requests[&name.request].origin == Origin::Adopted;
        assert!(!adopted, "a POST is sent for {name}, whose request is adopted");
        let told = self.told.get(&name.request).and_then(|status| status.machines.get(name.ordinal as usize));
        let told = told.filter(|machine| !machine.machine_id.is_empty() || machine.result != MachineResult::Executing);
        assert!(told.is_none(), "a POST is sent for {name}, of which was told: {told:?}");
        self.creates.sent(name, life, truth.now);
    }

    /// A POST took effect, which that life has sent at that time.
    pub(crate) fn posted(&mut self, name: MachineName, uid: PodUid, (life, sent): (u64, u64), cluster: &Cluster) {
        let said = self.gone.contains(&name.to_string());
        assert!(!said, "{name} was said to be gone, and a create of it lands");
        self.creates.landed(name, uid, life, sent, cluster);
    }

    /// A DELETE is sent. `second_writer`: the view shows pods of another journal.
    pub(crate) fn delete_sent(&self, name: &str, uid: PodUid, second_writer: bool, truth: &Truth<'_>) {
        let pod = truth.cluster.history.get(&uid).expect("a UID is of a pod that was");
        assert_eq!(pod.name, name, "a DELETE with the UID of another name");
        let returned = |entry: &ReturnEntry| &*entry.name == name;
        let is_returned = || truth.rows.entries.values().any(returned);
        match pod.owner {
            Owner::Ours => {
                let machine = name.parse::<MachineName>().ok().and_then(|name| truth.rows.machine(name));
                let Some(machine) = machine else {
                    assert!(is_returned(), "{name} is no machine of ours and is deleted");
                    return;
                };
                let surplus = machine.uid.is_some_and(|own| own != uid);
                let failed = machine.verdict_kind().is_some_and(|kind| kind != VerdictKind::Overdue);
                assert!(surplus || failed || machine.returned_by.is_some(), "{name} is deleted: {machine:?}");
                let by_hostfactory = is_returned();
                assert!(!second_writer || by_hostfactory, "{name} is deleted while a second writer is seen");
            }
            Owner::FormerProvider => assert!(is_returned(), "{name} is a former provider's and nobody returned it"),
            Owner::OtherInstance | Owner::Stranger => panic!("{name} is not ours and is deleted"),
        }
    }

    // ---- what is said

    /// An answer of getRequestStatus about one id.
    pub(crate) fn tell(&mut self, id: RequestId, status: &RequestStatus, truth: &Truth<'_>) {
        if let Some(&count) = self.acknowledged.get(&id) {
            assert!(!status.machines.is_empty(), "the acknowledged {id} is answered as unknown");
            assert!(count == 0 || status.machines.len() == count as usize, "{id} has not all of its machines");
        }
        let is_return = truth.rows.returns.contains_key(&id);
        if let Some(before) = self.told.get(&id) {
            check_sequence(before, status, is_return);
        }
        for machine in &status.machines {
            if is_return {
                check_returned(machine, truth);
            } else {
                check_machine(machine, truth);
            }
        }
        let results = || status.machines.iter().map(|machine| machine.result);
        match status.status {
            RequestState::Complete => assert!(results().all(|result| result == MachineResult::Succeed)),
            RequestState::CompleteWithError => assert!(results().all(|result| result != MachineResult::Executing)),
            RequestState::Running => {}
        }
        self.told.insert(id, status.clone());
    }

    /// The last answer about one id.
    pub(crate) fn last_told(&self, id: RequestId) -> Option<&RequestStatus> {
        self.told.get(&id)
    }

    /// A machine is listed by getReturnRequests.
    pub(crate) fn reclaim(&self, name: &str, truth: &Truth<'_>) {
        let machine = name.parse::<MachineName>().ok();
        let machine = machine.and_then(|name| truth.rows.machine(name));
        let machine = machine.unwrap_or_else(|| panic!("{name} was not issued here and is listed"));
        let open = |entry: &ReturnEntry| &*entry.name == name && entry.end.is_none();
        assert!(!truth.rows.entries.values().any(open), "{name} is being returned and is listed");
        let Some(uid) = machine.uid else {
            assert!(machine.gone_at.is_some(), "{name} has no pod yet and is listed");
            return;
        };
        let pod = &truth.cluster.history[&uid];
        let crashed = machine.verdict_kind() == Some(VerdictKind::Lost);
        assert!(pod.going_at.is_some() || crashed, "{name} lives and is listed: {pod:?}");
        assert!(
            pod.went_with.is_none() || pod.went_with != truth.bound,
            "{name} is listed, and it went with a namespace that an operator has not given up: {pod:?}"
        );
    }

    // ---- the end

    /// All faults are over and time has passed.
    pub(crate) fn check_ends(&self) {
        for id in self.acknowledged.keys() {
            let told = self.told.get(id).unwrap_or_else(|| panic!("nothing was ever said about {id}"));
            assert!(told.status != RequestState::Running, "{id} never ends: {told:?}");
            let silent = |machine: &MachineStatus| machine.result == MachineResult::Fail && machine.message.is_empty();
            assert!(!told.machines.iter().any(silent), "a machine of {id} failed without a reason");
        }
    }
}

/// What an answer may be after an earlier one about the same id.
fn check_sequence(before: &RequestStatus, after: &RequestStatus, is_return: bool) {
    let id = &after.request_id;
    let frozen = before.status != RequestState::Running;
    assert!(!frozen || before.status == after.status, "{id} was {:?} and is {:?}", before.status, after.status);
    assert_eq!(before.machines.len(), after.machines.len(), "{id} has other machines");
    for (was, is) in before.machines.iter().zip(&after.machines) {
        let name = &is.name;
        assert_eq!(was.name, *name, "{id} has other machines");
        assert!(was.machine_id.is_empty() || was.machine_id == is.machine_id, "the machineId of {name} changed");
        assert!(!frozen || was.machine_id == is.machine_id, "{name} got another machineId in a frozen answer");
        assert!(!frozen || was.result == is.result, "{name} was {:?} and is {:?}", was.result, is.result);
        let back = is.result == MachineResult::Executing && was.result != MachineResult::Executing;
        let revived = was.result == MachineResult::Fail && is.result == MachineResult::Succeed;
        assert!(!back && !revived, "{name} was {:?} and is {:?}", was.result, is.result);
        let ready = was.result == MachineResult::Succeed && !is_return;
        assert!(!ready || was.launchtime == is.launchtime, "the launchtime of {name} changed");
    }
}

fn check_machine(machine: &MachineStatus, truth: &Truth<'_>) {
    let name = &machine.name;
    assert!((1..=truth.wall).contains(&machine.launchtime), "the launchtime of {name} is {}", machine.launchtime);
    let uid = machine.machine_id.parse::<PodUid>().ok();
    let pod = uid.map(|uid| truth.cluster.history.get(&uid).expect("a machineId is of a pod that was"));
    if machine.result == MachineResult::Succeed {
        let pod = pod.unwrap_or_else(|| panic!("{name} has succeeded without a pod"));
        assert!(pod.ready_at.is_some(), "{name} is told succeed and never was ready");
        assert!(!machine.private_ip_address.is_empty(), "{name} has succeeded without an address");
    }
}

fn check_returned(machine: &MachineStatus, truth: &Truth<'_>) {
    let name = &machine.name;
    assert!((1..=truth.wall).contains(&machine.launchtime), "the launchtime of {name} is {}", machine.launchtime);
    if machine.result == MachineResult::Succeed {
        let left = truth.cluster.pods.get(&**name);
        let left = left.filter(|pod| matches!(pod.owner, Owner::Ours | Owner::FormerProvider));
        assert!(left.is_none(), "{name} is told gone and its pod is there: {left:?}");
    }
}
