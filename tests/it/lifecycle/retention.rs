//! `lifecycle.md` 10, "Retention": the shortest retention that may be configured is an hour, so what is seen here is
//! that nothing is forgotten early and that the size is shown; the forgetting itself is tested where time is injected.

use tests::{World, names};

/// lifecycle.md 10: what is over stays known, also across a restart, and `status` shows the journal's size.
#[test]
fn what_is_over_stays_known_and_the_journals_size_is_shown() {
    let mut world = World::build().set("retention.keep", "1h").start();
    let id = world.request("small", 3);
    let end = world.wait_end(&id);
    let ret = world.give_back(&names(&end.machines));
    let gone = world.wait_end(&ret);
    world.daemon.terminate();
    world.daemon.start_again();
    world.wait_synced();
    assert_eq!(world.status(&id), end);
    assert_eq!(world.status(&ret), gone);
    let status = world.daemon.status().expect("it serves");
    assert!(status["journal"]["bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{status}");
}
