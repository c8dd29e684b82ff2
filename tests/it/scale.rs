//! A thousand machines through the real scripts: consistent polls, exact ends, counted calls.

use tests::{World, eventually, names};

/// 1,000 POST, 1,000 DELETE, one watch, none for the polls; every poll is read strictly on the way.
#[test]
fn a_thousand_machines_come_and_go_for_a_thousand_posts_and_deletes_and_one_watch() {
    // On a busy machine the watch is seconds late, and after five of them hfd looks at what it was told of and not shown.
    let world = World::build().cluster(|cluster| cluster.nodes = 10).set("machines.unseen_look_after", "5m").start();
    // The cluster counts as seen with the list; the watch comes after it.
    let before = eventually("the watch is asked for", world.cluster.patience(), || {
        Some(world.cluster.counters()).filter(|counters| counters.contains_key("watch pods"))
    });
    let count = |key: &str| world.cluster.count(key) - before.get(key).copied().unwrap_or(0);
    let mut polls = 0;
    let id = world.request("small", 1_000);
    let end = world.wait(&id, "ended", |status| {
        polls += 1;
        status.status != "running"
    });
    assert_eq!((end.status.as_str(), end.with("succeed").len()), ("complete", 1_000));
    for _ in 0..5 {
        assert_eq!(world.status(&id), end);
        assert_eq!(world.all_reclaims(), []);
        assert_eq!(world.reclaims(&names(&end.machines)), []);
    }
    let ret = world.give_back(&names(&end.machines));
    let gone = world.wait(&ret, "ended", |status| {
        polls += 1;
        status.status != "running"
    });
    assert_eq!((gone.status.as_str(), gone.with("succeed").len()), ("complete", 1_000));
    assert!(polls >= 2);
    assert_eq!(count("create pods"), 1_000);
    assert_eq!(count("delete pods"), 1_000);
    assert_eq!(count("list pods"), 0);
    assert_eq!(before.get("watch pods"), Some(&1));
    assert_eq!(count("get pods"), 0);
    // A real API server under load ends a watch whose reader lags: that is resumed where it ended, without a list.
    let more_watches = if world.cluster.is_simulated() { 0 } else { 50 };
    assert!(count("watch pods") <= more_watches, "{} watches", count("watch pods"));
    assert_eq!(world.all_reclaims(), []);
    let history = world.cluster.history();
    assert_eq!(history.len(), 1_000);
    assert!(history.values().all(|pod| pod.created == 1 && pod.ever_ready && !pod.exists));
    assert_eq!(world.status(&id), end);
}
