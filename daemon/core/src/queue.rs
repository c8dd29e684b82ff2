//! Who goes next: creates and returns as two classes of one weighted scheduler (`lifecycle.md` 13).
//!
//! * Returns go first, but creates keep at least a quarter of the concurrency.
//! * Within a class requests take turns, so 10,000 machines of one never hold up the few of another.
//! * One template never fills all the slots of the creates: one whose creates hang leaves room for the others.
//! * How many go at once follows what the API server takes (`limit.rs`).
//! * What sleeps (back-off, a look that is due later) stands in no queue and holds no slot.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use crate::{
    id::{MachineName, RequestId, TemplateId},
    limit::{Limit, Load},
};

/// What a call is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// A machine of ours.
    Machine(MachineName),
    /// A name that HostFactory returned and that we did not issue.
    Name(Arc<str>),
}

/// A class of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Creates, and the looks that decide about them.
    Creates,
    /// Deletes, and the looks that decide about them.
    Returns,
}

/// One place in a queue.
#[derive(Debug, Clone)]
pub(crate) struct Ticket {
    pub(crate) target: Target,
    /// The template whose share of the creates it uses.
    pub(crate) template: Option<TemplateId>,
}

#[derive(Debug, Default)]
struct Rotation {
    turns: VecDeque<RequestId>,
    waiting: HashMap<RequestId, VecDeque<Ticket>>,
    depth: usize,
}

impl Rotation {
    fn push(&mut self, request: RequestId, ticket: Ticket) {
        let queue = self.waiting.entry(request).or_default();
        if queue.is_empty() {
            self.turns.push_back(request);
        }
        queue.push_back(ticket);
        self.depth += 1;
    }

    /// The next ticket by turns whose template `may_go`; requests that may not keep their place.
    fn pop(&mut self, may_go: impl Fn(Option<&TemplateId>) -> bool) -> Option<Ticket> {
        for _ in 0..self.turns.len() {
            let request = self.turns.pop_front()?;
            let queue = self.waiting.get_mut(&request)?;
            if !queue.front().is_some_and(|ticket| may_go(ticket.template.as_ref())) {
                self.turns.push_back(request);
                continue;
            }
            let ticket = queue.pop_front();
            if queue.is_empty() {
                self.waiting.remove(&request);
            } else {
                self.turns.push_back(request);
            }
            self.depth -= 1;
            return ticket;
        }
        None
    }
}

/// The queues, the slots and the sleepers.
#[derive(Debug)]
pub(crate) struct Queues {
    limit: Limit,
    creates: Rotation,
    returns: Rotation,
    creates_in_flight: usize,
    returns_in_flight: usize,
    by_template: HashMap<TemplateId, usize>,
    sleepers: BinaryHeap<Reverse<(Duration, Target)>>,
}

impl Queues {
    pub(crate) fn new(concurrency: usize) -> Self {
        Self {
            limit: Limit::new(concurrency.max(2)),
            creates: Rotation::default(),
            returns: Rotation::default(),
            creates_in_flight: 0,
            returns_in_flight: 0,
            by_template: HashMap::new(),
            sleepers: BinaryHeap::new(),
        }
    }

    pub(crate) fn push(&mut self, class: Class, turn: RequestId, ticket: Ticket) {
        match class {
            Class::Creates => self.creates.push(turn, ticket),
            Class::Returns => self.returns.push(turn, ticket),
        }
    }

    /// The next call that may start now, with its class; its slot is taken until [`Self::finished`].
    pub(crate) fn next(&mut self) -> Option<(Class, Ticket)> {
        let (concurrency, in_flight) = (self.limit.now(), self.creates_in_flight + self.returns_in_flight);
        if in_flight >= self.limit.most() {
            return None;
        }
        // The limit was cut below what is in flight, and what hangs may take its whole time-out to end: it must hold up
        // neither returns nor another template meanwhile.
        let drains = in_flight >= concurrency;
        let quarter = (concurrency / 4).max(1);
        let returns_may = match drains {
            true => self.returns_in_flight < quarter,
            false => self.creates.depth == 0 || self.returns_in_flight < concurrency - quarter,
        };
        if returns_may && let Some(ticket) = self.returns.pop(|_| true) {
            self.returns_in_flight += 1;
            return Some((Class::Returns, ticket));
        }
        let share = if drains { 1 } else { (concurrency * 3 / 4).max(1) };
        let by_template = &self.by_template;
        let ticket = self.creates.pop(|template| {
            template.map_or(!drains, |template| by_template.get(template).is_none_or(|&in_flight| in_flight < share))
        })?;
        self.creates_in_flight += 1;
        if let Some(template) = &ticket.template {
            *self.by_template.entry(template.clone()).or_default() += 1;
        }
        Some((Class::Creates, ticket))
    }

    /// Gives the slot of a call back.
    pub(crate) fn finished(&mut self, class: Class, template: Option<&TemplateId>) {
        match class {
            Class::Creates => self.creates_in_flight = self.creates_in_flight.saturating_sub(1),
            Class::Returns => self.returns_in_flight = self.returns_in_flight.saturating_sub(1),
        }
        if class == Class::Creates
            && let Some(template) = template
            && let Some(in_flight) = self.by_template.get_mut(template)
        {
            *in_flight -= 1;
            if *in_flight == 0 {
                self.by_template.remove(template);
            }
        }
    }

    /// Takes what the end of a call says about the API server's load; it was sent at `sent` and ended `now` (monotonic).
    pub(crate) fn heard(&mut self, sent: Duration, now: Duration, load: Load) {
        self.limit.ended(sent, now, load);
    }

    pub(crate) fn sleep_until(&mut self, wake_at: Duration, target: Target) {
        self.sleepers.push(Reverse((wake_at, target)));
    }

    /// The next sleeper whose time has come.
    pub(crate) fn wake(&mut self, now: Duration) -> Option<Target> {
        let Reverse((wake_at, _)) = self.sleepers.peek()?;
        if *wake_at > now {
            return None;
        }
        self.sleepers.pop().map(|Reverse((_, target))| target)
    }

    /// When the next sleeper wakes.
    pub(crate) fn next_wake(&self) -> Option<Duration> {
        self.sleepers.peek().map(|Reverse((wake_at, _))| *wake_at)
    }

    /// Calls that may be in flight now, and ever.
    pub(crate) const fn limits(&self) -> (usize, usize) {
        (self.limit.now(), self.limit.most())
    }

    /// Waiting creates, waiting returns, calls in flight.
    pub(crate) fn depths(&self) -> (usize, usize, usize) {
        (self.creates.depth, self.returns.depth, self.creates_in_flight + self.returns_in_flight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(n: u8) -> RequestId {
        RequestId::from_random([n; 10])
    }

    fn ticket(n: u8, ordinal: u32, template: &str) -> Ticket {
        Ticket {
            target: Target::Machine(MachineName { request: request(n), ordinal }),
            template: template.parse().ok(),
        }
    }

    fn owner(ticket: &Ticket) -> RequestId {
        match &ticket.target {
            Target::Machine(name) => name.request,
            Target::Name(name) => panic!("{name} is no machine"),
        }
    }

    #[test]
    fn a_small_request_behind_ten_thousand_machines_goes_second() {
        let mut queues = Queues::new(8);
        for ordinal in 0..10_000 {
            queues.push(Class::Creates, request(1), ticket(1, ordinal, "big"));
        }
        queues.push(Class::Creates, request(2), ticket(2, 0, "small"));
        let order: Vec<_> = (0..2).filter_map(|_| queues.next()).map(|(_, ticket)| owner(&ticket)).collect();
        assert_eq!(order, [request(1), request(2)]);
    }

    #[test]
    fn creates_keep_a_quarter_of_the_slots_under_a_flood_of_returns() {
        let mut queues = Queues::new(8);
        for ordinal in 0..100 {
            queues.push(Class::Returns, request(1), ticket(1, ordinal, "t"));
            queues.push(Class::Creates, request(2), ticket(2, ordinal, "t"));
        }
        let started: Vec<_> = std::iter::from_fn(|| queues.next()).map(|(class, _)| class).collect();
        assert_eq!(started.len(), 8);
        assert_eq!(started.iter().filter(|class| **class == Class::Creates).count(), 2);
    }

    #[test]
    fn a_template_whose_creates_hang_leaves_slots_for_another() {
        let mut queues = Queues::new(8);
        for ordinal in 0..100 {
            queues.push(Class::Creates, request(1), ticket(1, ordinal, "hangs"));
        }
        assert_eq!(std::iter::from_fn(|| queues.next()).count(), 6);
        queues.push(Class::Creates, request(2), ticket(2, 0, "healthy"));
        assert_eq!(queues.next().map(|(_, ticket)| owner(&ticket)), Some(request(2)));
    }

    #[test]
    fn after_a_429_half_as_many_go_and_the_classes_share_those() {
        let mut queues = Queues::new(16);
        for ordinal in 0..100 {
            queues.push(Class::Returns, request(1), ticket(1, ordinal, "t"));
            queues.push(Class::Creates, request(2), ticket(2, ordinal, "t"));
        }
        queues.heard(Duration::ZERO, Duration::from_millis(10), Load::TooMuch);
        let started: Vec<_> = std::iter::from_fn(|| queues.next()).map(|(class, _)| class).collect();
        assert_eq!(started.len(), 8);
        assert_eq!(started.iter().filter(|class| **class == Class::Creates).count(), 2);
    }

    #[test]
    fn creates_that_hang_hold_up_neither_returns_nor_another_template_after_a_429() {
        let mut queues = Queues::new(64);
        for ordinal in 0..100 {
            queues.push(Class::Creates, request(1), ticket(1, ordinal, "hangs"));
        }
        assert_eq!(std::iter::from_fn(|| queues.next()).count(), 48);
        queues.heard(Duration::ZERO, Duration::from_millis(10), Load::TooMuch);
        assert!(queues.next().is_none(), "more of them than may be are in flight");
        for ordinal in 0..100 {
            queues.push(Class::Returns, request(2), ticket(2, ordinal, "t"));
            queues.push(Class::Creates, request(3), ticket(3, ordinal, "healthy"));
        }
        let started: Vec<_> = std::iter::from_fn(|| queues.next()).map(|(_, ticket)| owner(&ticket)).collect();
        let count = |of| started.iter().filter(|owner| **owner == request(of)).count();
        assert_eq!((count(1), count(2), count(3)), (0, 8, 1), "a quarter of 32, and one");
    }

    #[test]
    fn a_finished_call_gives_its_slot_back() {
        let mut queues = Queues::new(2);
        for ordinal in 0..3 {
            queues.push(Class::Returns, request(1), ticket(1, ordinal, "t"));
        }
        assert_eq!(std::iter::from_fn(|| queues.next()).count(), 2);
        queues.finished(Class::Returns, None);
        assert!(queues.next().is_some());
    }
}
