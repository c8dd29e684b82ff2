//! As many calls as the API server takes: what its answers do to the number in flight.

use std::time::Duration;

use super::world::World;
use crate::{
    ledger::{Call, CallEnd},
    outcome::{CreateOutcome, NotDone},
};

/// Slots of the creates of one template, of 64.
const SHARE: usize = 48;

fn calls(world: &mut World) -> Vec<Call> {
    std::iter::from_fn(|| world.call()).collect()
}

fn throttled() -> CallEnd {
    let why = NotDone { why: "too many requests".into(), retry_after: Some(Duration::from_secs(1)), throttled: true };
    CallEnd::Create(CreateOutcome::NotDone(why))
}

#[test]
fn creates_that_the_server_throttles_come_back_half_as_many_at_once() {
    let mut world = World::new();
    world.accept(200);
    let sent = calls(&mut world);
    assert_eq!(sent.len(), SHARE);
    world.now.mono += Duration::from_millis(50);
    sent.iter().for_each(|call| world.answer(call, throttled()));
    assert_eq!(calls(&mut world).len(), SHARE / 2, "they were in flight together: one cut");
}

#[test]
fn creates_that_go_well_win_the_slots_back_one_by_one() {
    let mut world = World::new();
    world.accept(4000);
    let sent = calls(&mut world);
    world.now.mono += Duration::from_millis(50);
    sent.iter().for_each(|call| world.answer(call, throttled()));
    let mut in_flight = Vec::new();
    let mut widths = Vec::new();
    for _ in 0..70 {
        in_flight.extend(calls(&mut world));
        widths.push(in_flight.len());
        world.now.mono += Duration::from_millis(50);
        for call in in_flight.drain(..) {
            world.created(&call);
        }
    }
    assert_eq!((widths[0], widths.last().copied()), (SHARE / 2, Some(SHARE)));
    assert!(widths.is_sorted_by(|before, after| before <= after && after - before <= 1), "{widths:?}");
}
