//! A small state with one of everything, that rows, pods and calls can refer to.

use std::sync::Arc;

use hfd_core::{
    answer,
    change::{Change, Meta, Restored},
    id::{JournalId, MachineName, PodUid, RequestId},
    machine::{Machine, Verdict, VerdictKind},
    request::{Caller, Key, MachineRequest, Origin},
    returns::{ReturnEnd, ReturnEntry, ReturnRequest},
};

use crate::published::Published;

/// The moment at which the sample is looked at, epoch seconds.
pub(crate) const NOW: i64 = 1_800_000_000;
const MANIFEST: [u8; 32] = [7; 32];

/// An open request of four machines: ready, lost, returned, wanted; two more are beyond the limit.
pub(crate) fn open_request() -> MachineRequest {
    let mut request = ended_request();
    request.id = RequestId::from_random([1; 10]);
    request.granted = 4;
    request.limit = Some("maxNumber 4 reached".into());
    request.key = Some(Key { text: "key".into(), body: [9; 32] });
    request.terminal = None;
    request.machines = vec![Machine::default(); 6];
    request.fail_beyond_limit();
    for (ordinal, machine) in (0..3u8).zip(&mut request.machines) {
        machine.uid = Some(PodUid::from_bytes([ordinal + 1; 16]));
        machine.uid_recorded_at = NOW - 50;
        machine.ip = Some([10, 0, 0, ordinal].into());
        machine.first_ready = Some(NOW - 40);
    }
    let lost = Verdict { kind: VerdictKind::Lost, message: "node lost".into(), at: NOW - 20 };
    request.machines[1].verdict = Some(Arc::new(lost));
    request.machines[2].returned_by = Some(open_return().id);
    request
}

/// A request whose answer is frozen.
pub(crate) fn ended_request() -> MachineRequest {
    let gone = Machine { gone_at: Some(NOW - 60), first_ready: Some(NOW - 90), ..Machine::default() };
    let mut request = MachineRequest {
        id: RequestId::from_random([2; 10]),
        template: "small".parse().expect("a legal template id"),
        manifest: MANIFEST,
        granted: 1,
        limit: None,
        ready_deadline: 300,
        accepted_at: NOW - 100,
        origin: Origin::Accepted,
        key: None,
        caller: Caller { uid: 1000, pid: 4711 },
        polled: true,
        cancelled: None,
        terminal: None,
        machines: vec![gone],
    };
    request.freeze(NOW - 80);
    request
}

/// An open return: a machine of ours, a strange name, and one that is over.
pub(crate) fn open_return() -> ReturnRequest {
    let entry = |name: &str, machine, end| ReturnEntry {
        name: name.into(),
        machine_id: None,
        machine,
        ip: None,
        launchtime: NOW - 40,
        end,
    };
    let machine = MachineName { request: RequestId::from_random([1; 10]), ordinal: 2 };
    ReturnRequest {
        id: RequestId::from_random([3; 10]),
        accepted_at: NOW - 30,
        deadline: 1800,
        key: Some(Key { text: "return".into(), body: [8; 32] }),
        caller: Caller::default(),
        ended_at: None,
        told_at: None,
        entries: vec![
            entry(&machine.to_string(), Some(machine), None),
            entry("strange", None, None),
            entry("over", None, Some(ReturnEnd::Failed("not gone".into()))),
        ],
    }
}

/// All of it, as it is committed.
pub(crate) fn changes() -> Vec<Change> {
    let body = r#"{"apiVersion":"v1","kind":"Pod","spec":{"containers":[{"name":"a","image":"i"}]}}"#;
    let mut changes = vec![Change::Manifest { hash: MANIFEST, body: body.into() }];
    for request in [open_request(), ended_request()] {
        changes.push(Change::Request(Arc::new(request.clone())));
        changes.extend(request.named_machines().map(|(name, machine)| Change::Machine(name, machine.clone())));
    }
    let returned = open_return();
    changes.push(Change::Return(Arc::new(returned.clone())));
    let entries = (0..).zip(&returned.entries);
    changes.extend(entries.map(|(place, entry)| Change::ReturnEntry(returned.id, place, entry.clone())));
    changes
}

/// All of it, as it is loaded.
pub(crate) fn restored() -> Restored {
    Restored { requests: vec![open_request(), ended_request()], returns: vec![open_return()], ..nothing() }
}

/// A journal that was just made.
pub(crate) fn nothing() -> Restored {
    let meta = Meta { id: JournalId([5; 8]), namespace: None, adopted_journals: Vec::new(), alive_at: NOW };
    Restored { meta, requests: Vec::new(), returns: Vec::new() }
}

/// Asks for everything that HostFactory can ask about.
pub(crate) fn answers(published: &Published, now: i64) {
    let mut names = Vec::new();
    for request in published.all_requests() {
        let answer = answer::machine_request(&request, now);
        assert_eq!(answer.machines.len(), request.machines.len());
        for machine in &answer.machines {
            assert!((1..=now).contains(&machine.launchtime), "a launchtime of {}", machine.launchtime);
            names.push(machine.name.clone());
        }
    }
    for request in published.all_returns() {
        let answer = answer::return_request(&request, published, now);
        assert_eq!(answer.machines.len(), request.entries.len());
        for machine in &answer.machines {
            assert!((1..=now).contains(&machine.launchtime), "a launchtime of {}", machine.launchtime);
        }
    }
    let named: Vec<&str> = names.iter().map(|name| &**name).collect();
    drop(answer::return_requests(Some(&named), published, 300, now));
    drop(answer::return_requests(None, published, 300, now));
}
