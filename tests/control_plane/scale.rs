//! A thousand machines, and what they cost the API server.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::Verb;

use crate::{
    births::Births,
    hostfactory::{shown, slices},
    site::Plan,
    testbed,
};

const MACHINES: usize = 1_000;
const NODES: u32 = 100;
/// Times that everything is asked for.
const POLLS: usize = 50;

/// A machine on which it takes this long is busy with other things, and its nodes may have been silent.
const SLOW: Duration = Duration::from_secs(30);

/// Watches that a daemon may need. It needs one, told to last 200 s. But the API server ends a watch that does not keep
/// up with its events, and each end costs a new one: 4,000 and more events in seconds, on a machine that runs the whole
/// cluster, do that now and then. It then goes on from where it was, without a LIST.
const WATCHES: usize = 20;

#[test]
fn a_thousand_machines_cost_a_create_and_a_delete_each_and_polls_cost_nothing() {
    let mut plan = Plan::new(&testbed(), NODES);
    // On a busy machine the watch is seconds late, and after five of them hfd looks at what it was told of and not shown.
    plan.spec.set("machines.unseen_look_after", "5m");
    let site = plan.start_serving();
    let births = Births::watch(site.ground.admin(), site.ground.namespace());

    let begun = Instant::now();
    let id = site.hf.request("small", MACHINES as u64);
    let end = site.hf.wait(&id, "ended", |status| {
        if begun.elapsed() > SLOW {
            site.pods().say_ready();
        }
        status.status != "running"
    });
    assert!(end.status == "complete", "{}", shown(&end));
    let machines: Vec<String> = end.machines.into_iter().map(|machine| machine.name).collect();
    println!("{MACHINES} machines ready in {:.1} s", begun.elapsed().as_secs_f32());

    let quiet = site.audit.calls();
    let asked = json!({"requests": [{"requestId": id}]});
    for _ in 0..POLLS {
        site.hf.call(Verb::GetRequestStatus, &asked);
        assert!(site.hf.reclaims(&slices(&machines)).is_empty());
    }
    let grown: Vec<_> =
        site.audit.calls().split_off(quiet.len()).into_iter().filter(|call| call.verb != "watch").collect();
    assert!(grown.is_empty(), "{POLLS} polls caused {grown:#?}");

    let begun = Instant::now();
    site.hf.take_down(&slices(&machines));
    println!("{MACHINES} machines gone in {:.1} s", begun.elapsed().as_secs_f32());
    assert_eq!(births.names(), MACHINES);
    assert!(births.twice().is_empty(), "two pods of one name: {:?}", births.twice());
    assert_eq!(site.pods().managed(), [""; 0]);

    let count =
        |verb: &str| site.audit.calls().iter().filter(|call| call.verb == verb && call.resource == "pods").count();
    assert_eq!((count("create"), count("delete"), count("get")), (MACHINES, MACHINES, 0));
    assert_eq!(count("list"), 1, "the one LIST is the first");
    assert!((1..=WATCHES).contains(&count("watch")), "{} watches", count("watch"));
    println!("1 list, {} watches", count("watch"));
}
