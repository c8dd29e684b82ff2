//! maxNumber as the rule counts (`lifecycle.md` 4), from rows alone.
//!
//! What the ledger knew when it decided is not durable at once, but it is in the batch of the decision or in an earlier
//! one. So the number in use at a decision lies between what is left of it after that batch and what was in use before
//! it, and both are counted here.

use std::{collections::BTreeMap, sync::Arc};

use hfd_core::{
    change::Change,
    id::{MachineName, RequestId},
    machine::Machine,
    request::{MachineRequest, Origin},
};

use crate::{disk::Rows, factory::TEMPLATES};

/// Which decision it was, of all of the world.
pub(crate) type Turn = u64;

/// What is known of one limited template.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    turns: BTreeMap<RequestId, Turn>,
    /// In use by adoption beyond the limit: this many, until there is room again.
    adopted_beyond: BTreeMap<&'static str, usize>,
}

/// What a batch is about to change.
#[derive(Debug)]
pub(crate) struct Before {
    in_use: Vec<(&'static str, u32, usize)>,
    new: Vec<Arc<MachineRequest>>,
}

impl Limits {
    /// The request is decided now, after all others.
    pub(crate) fn decide(&mut self, id: RequestId) {
        let turn = self.turns.len() as Turn;
        self.turns.entry(id).or_insert(turn);
    }

    fn turn(&self, request: &MachineRequest) -> Turn {
        // What a rebuild adopts is there before anything can be accepted.
        self.turns.get(&request.id).copied().filter(|_| request.origin == Origin::Accepted).unwrap_or(0)
    }

    /// A batch is about to become durable.
    pub(crate) fn before(changes: &[Change], rows: &Rows) -> Before {
        let new = changes.iter().filter_map(|change| match change {
            Change::Request(request) if !rows.requests.contains_key(&request.id) => Some(request.clone()),
            _ => None,
        });
        let new: Vec<_> = new.collect();
        let limited = TEMPLATES.iter().filter_map(|(name, max, _)| Some((*name, (*max)?)));
        let used = |name| if new.is_empty() { 0 } else { in_use(name, rows, |_| true) }; // only decisions need it
        Before { in_use: limited.map(|(name, max)| (name, max, used(name))).collect(), new }
    }

    /// It is durable.
    pub(crate) fn after(&mut self, before: &Before, rows: &Rows) {
        for (template, max, used_before) in &before.in_use {
            let of_it = |request: &&Arc<MachineRequest>| request.template.as_str() == *template;
            for request in before.new.iter().filter(of_it).filter(|request| request.origin == Origin::Accepted) {
                let turn = self.turn(request);
                let earlier = |other: &MachineRequest| other.id != request.id && self.turn(other) <= turn;
                let least = in_use(template, rows, earlier);
                let others = before.new.iter().filter(of_it).filter(|other| earlier(other));
                let most = used_before + others.map(|other| could_be_used(other)).sum::<usize>();
                check_granted(request, *max, least, most);
            }
            let now = in_use(template, rows, |_| true);
            let adopted = before.new.iter().any(|request| of_it(&request) && request.origin == Origin::Adopted);
            let allowed = self.adopted_beyond.entry(template).or_default();
            let allowed_now = (*allowed).max(*max as usize);
            assert!(
                adopted || now <= allowed_now,
                "{now} machines of {template} are in use, {allowed_now} are allowed"
            );
            *allowed = now;
        }
    }
}

/// A machine counts until it failed for good, is returned or is known gone.
fn counts(machine: &Machine) -> bool {
    machine.verdict.is_none() && machine.returned_by.is_none() && machine.gone_at.is_none()
}

fn in_use(template: &str, rows: &Rows, of: impl Fn(&MachineRequest) -> bool) -> usize {
    let requests = rows.requests.values().filter(|request| request.template.as_str() == template && of(request));
    let names =
        requests.flat_map(|request| (0..request.count()).map(|ordinal| MachineName { request: request.id, ordinal }));
    names.filter_map(|name| rows.machine(name)).filter(counts).count()
}

/// How many of a new request's machines were in use at most.
fn could_be_used(request: &MachineRequest) -> usize {
    match request.origin {
        Origin::Accepted => request.granted as usize,
        Origin::Adopted => request.machines.iter().filter(|machine| machine.uid.is_some()).count(),
    }
}

/// A request of a template with a limit got as many machines as there was room for, and the others say so.
fn check_granted(request: &MachineRequest, max: u32, least: usize, most: usize) {
    let (id, count, granted) = (request.id, request.count(), request.granted);
    let room = |used: usize| (max as usize).saturating_sub(used).min(count as usize);
    let room = room(most)..=room(least);
    assert!(room.contains(&(granted as usize)), "{id} got {granted} of {count}, and there was room for {room:?}");
    let said = request.limit.as_deref().map(numbers);
    let Some((said_max, said_in_use)) = said else {
        return assert_eq!(granted, count, "{id} got {granted} of {count}, and nothing says why");
    };
    assert!(granted < count, "{id} got all of its machines, and says {:?}", request.limit);
    assert_eq!(said_max, max, "{id} says {:?}", request.limit);
    assert!((least..=most).contains(&(said_in_use as usize)), "{:?}: {least} to {most} were", request.limit);
    assert_eq!(granted, max.saturating_sub(said_in_use).min(count), "{id} says {:?}", request.limit);
    for (ordinal, machine) in (0..).zip(&request.machines) {
        let why = machine.verdict.as_ref().map(|verdict| &*verdict.message);
        let limited = why == request.limit.as_deref();
        assert_eq!(limited, ordinal >= granted, "{granted} of {id} were granted, and {ordinal} says {why:?}");
    }
}

/// The limit and the number in use of "maxNumber N reached, M in use".
fn numbers(text: &str) -> (u32, u32) {
    let rest = text.strip_prefix("maxNumber ").and_then(|rest| rest.strip_suffix(" in use"));
    let parts = rest.and_then(|rest| rest.split_once(" reached, ")).unwrap_or_else(|| panic!("{text:?}"));
    (parts.0.parse().expect("a number"), parts.1.parse().expect("a number"))
}
