//! A wall clock that jumps, forward and back, in one life and across a crash (`lifecycle.md` 3): deadlines run on the
//! monotonic clock, and what is told stays within what can be.

use super::world::{World, machine};

const A_DAY: i64 = 24 * 3600;

#[test]
fn a_wall_clock_that_jumps_forward_fails_nothing_and_ends_no_return() {
    let mut world = World::new();
    let ready = world.request_ready(2);
    let id = world.request(1);
    world.ledger.polled(&[id, ready]);
    world.now.wall += 10 * A_DAY;
    world.pass(1);
    assert_eq!(world.told(id), "Running: executing 1");
    assert_eq!(world.told(ready), "Complete: succeed 2");
    assert_eq!(world.at_risk(machine(ready, 0)), None);
    world.all_ready();
    assert_eq!(world.told(id), "Complete: succeed 1");
    assert_eq!(world.cluster.len(), 3);
}

#[test]
fn a_wall_clock_that_jumps_back_fails_nothing_and_tells_no_time_to_come() {
    let mut world = World::new();
    let id = world.request(2);
    world.ledger.polled(&[id]);
    world.now.wall -= 10 * A_DAY;
    world.pass(1);
    assert_eq!(world.told(id), "Running: executing 2");
    world.all_ready();
    world.pass(1);
    assert_eq!(world.told(id), "Complete: succeed 2");
    let told = crate::answer::machine_request(world.request_of(id), world.now.wall);
    assert!(told.machines.iter().all(|machine| (1..=world.now.wall).contains(&machine.launchtime)), "{told:?}");
}

#[test]
fn a_wall_clock_that_jumps_while_the_daemon_is_down_neither_fails_nor_forgets() {
    for jump in [-10 * A_DAY, 10 * A_DAY] {
        let mut world = World::new();
        let (ready, waiting) = (world.request_ready(2), world.request(1));
        world.ledger.polled(&[ready, waiting]);
        world.commit();
        world.crash(jump);
        world.sync();
        world.pass(1);
        assert_eq!(world.told(ready), "Complete: succeed 2", "{jump}");
        assert_eq!(world.told(waiting), "Running: executing 1", "{jump}");
        assert_eq!(world.at_risk(machine(ready, 1)), None, "{jump}");
        world.all_ready();
        assert_eq!(world.told(waiting), "Complete: succeed 1", "{jump}");
        assert_eq!((world.cluster.len(), world.count_sent("POST")), (3, 3), "{jump}: a pod was made again");
    }
}
