//! HostFactory's loops: demand, workers that ask and give back, status polls, housekeeping, failovers. Each is a thread
//! with its own dice; their calls overlap.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{
    book::{Book, Job, Named},
    call::Verb,
    factory::{Factory, Stage},
    options::{Batch, Options},
    random::Random,
};

/// Most ids in one status poll.
const IDS_IN_A_POLL: usize = 100;
/// Pause of a worker that has nothing to do.
const IDLE: Duration = Duration::from_millis(20);
/// Times in a thousand that demand jumps to nothing or to all.
const JUMP: usize = 15;
/// Times in a thousand that more is asked for than a template allows.
const BEYOND: usize = 30;
/// Times in a thousand that a batch begins at any template rather than the first with room.
const ANY_TEMPLATE: usize = 250;
/// Times in a thousand, per turn, that machines are returned before they are up.
const UNREADY_RETURN: usize = 100;
/// Times in a thousand, per turn, that returned machines are returned again.
const SECOND_RETURN: usize = 70;
/// Times in a thousand that a poll asks about an id that does not exist, or about ended ones.
const UNKNOWN_ID: usize = 100;
const ENDED_IDS: usize = 300;
/// Times in a thousand that housekeeping asks about everything (`{}`).
const ABOUT_ALL: usize = 200;
/// From this many reclaims on, they are answered by one return.
const FEW: usize = 4;

/// Decides what is wanted, turn by turn.
pub fn demand(factory: &Arc<Factory>) {
    let mut random = factory.random("demand");
    while factory.stage() == Stage::Running {
        // After the start and after a failover nothing is known of the templates.
        if factory.with(|world| world.book.memory.templates.is_empty()) {
            factory.ask(Verb::GetAvailableTemplates, &json!({}), &mut random, Book::templates);
        }
        factory.with(|world| plan(&mut world.book, &mut random, &factory.options));
        factory.pause(factory.options.turn());
    }
}

fn plan(book: &mut Book, random: &mut Random, options: &Options) {
    let (most, batch) = (options.max_machines, options.batch);
    // Long enough that a loss must have been reported.
    let keep_for = options.reclaim_within * 2;
    if book.memory.templates.is_empty() {
        return;
    }
    book.memory.target = walk(book.memory.target, most, random);
    let (target, expected) = (book.memory.target, book.expected(None));
    if expected < target {
        grow(book, random, target - expected, batch);
    } else {
        let mut surplus = book.surplus(keep_for);
        random.shuffle(&mut surplus);
        surplus.truncate(expected - target);
        give_back_in_batches(book, random, &surplus, batch);
    }
    if random.chance(UNREADY_RETURN) {
        return_unready(book, random);
    }
    if random.chance(SECOND_RETURN) {
        let mut again: Vec<Named> = book.memory.returned.iter().cloned().collect();
        random.shuffle(&mut again);
        again.truncate(random.within(1..=5));
        book.plan_return(again);
    }
}

fn walk(now: usize, most: usize, random: &mut Random) -> usize {
    if random.chance(JUMP) {
        return if random.chance(500) { 0 } else { most };
    }
    let step = random.within(0..=(most / 8).max(1));
    if random.chance(500) { (now + step).min(most) } else { now.saturating_sub(step) }
}

fn grow(book: &mut Book, random: &mut Random, mut wanted: usize, batch: Batch) {
    while wanted > 0 {
        let count = random.within(batch.low..=batch.high).min(wanted.max(1));
        let Some((template, room)) = choose(book, random) else { return };
        let count = if random.chance(BEYOND) { count } else { count.min(room) };
        if count == 0 {
            return;
        }
        book.memory.jobs.push_back(Job::Request { template, count });
        wanted -= count.min(wanted);
    }
}

/// The first template in the provider's order that has room; now and then any.
fn choose(book: &Book, random: &mut Random) -> Option<(String, usize)> {
    let room = |id: &str, max: Option<usize>| max.map_or(usize::MAX, |max| max.saturating_sub(book.expected(Some(id))));
    let offers = &book.memory.templates;
    if random.chance(ANY_TEMPLATE) {
        let offer = random.one_of(offers)?;
        return Some((offer.id.clone(), room(&offer.id, offer.max)));
    }
    let found = offers.iter().map(|offer| (offer, room(&offer.id, offer.max))).find(|(_, room)| *room > 0);
    found.map(|(offer, room)| (offer.id.clone(), room))
}

fn give_back_in_batches(book: &mut Book, random: &mut Random, machines: &[Named], batch: Batch) {
    let mut rest = machines;
    while !rest.is_empty() {
        let size = random.within(batch.low..=batch.high).min(rest.len());
        let (now, later) = rest.split_at(size);
        book.plan_return(now.to_vec());
        rest = later;
    }
}

fn return_unready(book: &mut Book, random: &mut Random) {
    let all: Vec<Named> = book.memory.unready.values().flatten().cloned().collect();
    let mut some: Vec<Named> = all.into_iter().filter(|one| !book.memory.busy.contains(&one.name)).collect();
    random.shuffle(&mut some);
    some.truncate(random.within(1..=10));
    book.plan_return(some);
}

/// Does what was planned.
pub fn work(factory: &Arc<Factory>, name: &str) {
    let mut random = factory.random(name);
    while !factory.stopped() {
        match factory.with(|world| world.book.memory.jobs.pop_front()) {
            None => {
                factory.pause(IDLE);
            }
            // What was wanted before the drain is wanted no longer.
            Some(Job::Request { .. }) if factory.stage() != Stage::Running => {}
            Some(Job::Request { template, count }) => {
                let input = json!({"template": {"templateId": template, "machineCount": count}});
                factory.ask(Verb::RequestMachines, &input, &mut random, |book, reply| {
                    book.accepted(reply, &template, count);
                });
            }
            Some(Job::Return(machines)) => {
                give_back(factory, &mut random, &machines);
                factory.with(|world| world.book.done(&machines));
            }
        }
    }
}

fn give_back(factory: &Arc<Factory>, random: &mut Random, machines: &[Named]) {
    let entries: Vec<Value> = machines.iter().map(Named::entry).collect();
    let input = json!({ "machines": entries });
    factory.ask(Verb::RequestReturnMachines, &input, random, |book, reply| book.returned(reply, machines));
}

/// Asks about everything that is open, turn by turn.
pub fn poll(factory: &Arc<Factory>, name: &str) {
    let mut random = factory.random(name);
    while !factory.stopped() {
        let (mut ids, closed) = factory.with(|world| {
            let closed: Vec<String> = world.book.memory.closed.iter().cloned().collect();
            (world.book.open_ids(), closed)
        });
        if random.chance(ENDED_IDS) {
            let asked_again = (0..3).filter_map(|_| random.one_of(&closed).cloned());
            ids.extend(asked_again);
        }
        if random.chance(UNKNOWN_ID) {
            ids.push(random.word(16));
        }
        ids.sort_unstable();
        ids.dedup();
        random.shuffle(&mut ids);
        for some in ids.chunks(IDS_IN_A_POLL) {
            let asked: Vec<Value> = some.iter().map(|id| json!({ "requestId": id })).collect();
            factory.ask(Verb::GetRequestStatus, &json!({ "requests": asked }), &mut random, Book::status);
        }
        factory.pause(factory.options.turn());
    }
}

/// Asks what the provider wants back, and gives it back.
pub fn housekeeping(factory: &Arc<Factory>) {
    let mut random = factory.random("housekeeping");
    // The first question is about everything: what an earlier HostFactory left behind is returned.
    let mut asked_about_all = false;
    while !factory.stopped() {
        let held = factory.with(|world| {
            let machines = world.book.database.machines.iter();
            machines.map(|(name, held)| Named { name: name.clone(), id: held.id.clone() }.entry()).collect::<Vec<_>>()
        });
        let about_all = random.chance(ABOUT_ALL) || !asked_about_all;
        let input = if about_all { json!({}) } else { json!({ "machines": held }) };
        let mut wanted = Vec::new();
        asked_about_all |= factory.ask(Verb::GetReturnRequests, &input, &mut random, |book, reply| {
            let names = reply["requests"].as_array().into_iter().flatten();
            wanted.extend(names.filter_map(|entry| Some(book.named(entry["machine"].as_str()?))));
        });
        // In the order of the reply: one by one when they are few, else by one return.
        let size = if wanted.len() < FEW { 1 } else { wanted.len() };
        for machines in wanted.chunks(size) {
            give_back(factory, &mut random, machines);
        }
        factory.pause(factory.options.turn());
    }
}

/// Lets HostFactory's host die now and then.
pub fn failovers(factory: &Arc<Factory>) {
    let every = factory.options.failover_every;
    while !every.is_zero() && factory.pause(every) {
        factory.fail_over();
    }
}

/// One turn of the drain: all that HostFactory has, or may get, is given back.
pub fn drain_turn(factory: &Arc<Factory>, random: &mut Random) {
    let batch = factory.options.batch;
    factory.with(|world| {
        let book = &mut world.book;
        let mut machines = book.returnable();
        let busy = &book.memory.busy;
        machines.extend(book.memory.unready.values().flatten().filter(|one| !busy.contains(&one.name)).cloned());
        // Not twice: the same machine stays listed as unready until the next poll.
        machines.retain(|machine| !book.database.given_back.contains(&machine.name));
        machines.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        machines.dedup_by(|one, other| one.name == other.name);
        give_back_in_batches(book, random, &machines, batch);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostfactory::book::Offer;

    fn book(max: Option<usize>) -> Book {
        let mut book = Book::default();
        book.memory.templates =
            vec![Offer { id: "small".to_owned(), max }, Offer { id: "large".to_owned(), max: None }];
        book
    }

    #[test]
    fn demand_stays_between_nothing_and_its_most_and_reaches_both() {
        let mut random = Random::of(3, "demand");
        let mut now = 0;
        let walked: Vec<usize> = (0..2000)
            .map(|_| {
                now = walk(now, 40, &mut random);
                now
            })
            .collect();
        assert!(walked.iter().all(|target| *target <= 40));
        assert!(walked.contains(&0) && walked.contains(&40));
    }

    #[test]
    fn the_first_template_with_room_is_asked_for_and_then_the_next() {
        let mut random = Random::of(5, "demand");
        let mut book = book(Some(10));
        grow(&mut book, &mut random, 200, Batch { low: 20, high: 100 });
        let asked = |wanted: &str| {
            let jobs = book.memory.jobs.iter().filter_map(|job| match job {
                Job::Request { template, count } if template == wanted => Some(*count),
                _ => None,
            });
            jobs.sum::<usize>()
        };
        assert!(asked("small") >= 10 || asked("large") >= 190, "{:?}", book.memory.jobs);
        assert!(asked("large") > 0);
    }
}
