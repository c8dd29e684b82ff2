//! The same `--request-id` with the same body is one request, also concurrently and across a crash; with another body it
//! is refused (lifecycle.md 1).

use std::{collections::BTreeSet, path::Path, thread};

use serde_json::{Value, json};
use tests::{Reply, Verb, World, daemon::hfctl_on, eventually};

use super::SOON;

/// One call with a key.
fn call(socket: &Path, verb: Verb, key: &str, input: &Value) -> Reply {
    let arguments = ["--timeout", "60", verb.command(), "--request-id", key, "-f", "-"];
    Reply::read(verb, &hfctl_on(socket, &arguments, input.to_string().as_bytes()))
}

fn machines(count: u64) -> Value {
    json!({"template": {"templateId": "small", "machineCount": count}})
}

fn ids(replies: &[Reply]) -> BTreeSet<&str> {
    replies.iter().filter(|reply| reply.code == 0).filter_map(|reply| reply.json["requestId"].as_str()).collect()
}

#[test]
fn twenty_callers_at_once_with_one_key_make_one_request_and_one_return() {
    let world = World::start();
    let socket = world.daemon.socket();
    let at_once = |verb: Verb, key: &str, input: &Value| -> Vec<Reply> {
        thread::scope(|scope| {
            let callers: Vec<_> = (0..20).map(|_| scope.spawn(|| call(socket, verb, key, input))).collect();
            callers.into_iter().map(|caller| caller.join().expect("no caller panics")).collect()
        })
    };
    let asked = at_once(Verb::RequestMachines, "one-of-twenty", &machines(2));
    assert!(asked.iter().all(|reply| reply.code == 0), "{asked:#?}");
    assert_eq!(ids(&asked).len(), 1, "{asked:#?}");
    assert_eq!(world.known_requests(), 1);
    let id = ids(&asked).pop_first().expect("one").to_owned();
    world.checker().rebuilt = true;
    let end = world.wait_end(&id);
    assert_eq!((end.machines.len(), world.cluster.managed().len()), (2, 2));
    let input = json!({"machines": [{"name": end.machines[0].name}, {"name": end.machines[1].name}]});
    let back = at_once(Verb::RequestReturnMachines, "back-of-twenty", &input);
    assert_eq!(ids(&back).len(), 1, "{back:#?}");
    assert_eq!(world.known_requests(), 2);
    world.wait_no_pods();
    world.assert_no_pod_twice();
}

#[test]
fn callers_with_one_key_across_crashes_make_one_request() {
    let mut world = World::start();
    // A journal that is empty takes no request before it has seen the cluster, which is after each of these starts.
    world.bring_up("small", 1);
    let socket = world.daemon.socket().to_owned();
    let mut replies = thread::scope(|scope| {
        let callers: Vec<_> = (0..12)
            .map(|_| scope.spawn(|| call(&socket, Verb::RequestMachines, "one-across-crashes", &machines(3))))
            .collect();
        for _ in 0..4 {
            world.daemon.crash_and_restart();
        }
        callers.into_iter().map(|caller| caller.join().expect("no caller panics")).collect::<Vec<_>>()
    });
    world.crash();
    replies.push(call(&socket, Verb::RequestMachines, "one-across-crashes", &machines(3)));
    assert!(replies.iter().all(|reply| reply.code == 0), "{replies:#?}");
    assert_eq!(ids(&replies).len(), 1, "{replies:#?}");
    assert_eq!(world.known_requests(), 2);
    eventually("its machines are there", SOON, || (world.cluster.managed().len() == 4).then_some(()));
    world.assert_no_pod_twice();
}

#[test]
fn of_two_bodies_with_one_key_one_is_a_request_and_the_other_is_refused_also_after_a_crash() {
    let mut world = World::start();
    let socket = world.daemon.socket().to_owned();
    let replies: Vec<(u64, Reply)> = thread::scope(|scope| {
        let callers: Vec<_> = (0..10)
            .map(|number| {
                let (socket, count) = (&socket, 1 + number % 2);
                scope.spawn(move || (count, call(socket, Verb::RequestMachines, "two-bodies", &machines(count))))
            })
            .collect();
        callers.into_iter().map(|caller| caller.join().expect("no caller panics")).collect()
    });
    let accepted: BTreeSet<u64> =
        replies.iter().filter(|(_, reply)| reply.code == 0).map(|(count, _)| *count).collect();
    assert_eq!(accepted.len(), 1, "{replies:#?}");
    let won = *accepted.first().expect("one");
    let refused = replies.iter().filter(|(count, _)| *count != won);
    assert!(refused.clone().all(|(_, reply)| reply.refused().contains("two-bodies")), "{replies:#?}");
    assert_eq!(refused.count(), 5);
    world.crash();
    call(&socket, Verb::RequestMachines, "two-bodies", &machines(3 - won)).refused();
    let names = json!({"machines": [{"name": "whoever"}]});
    call(&socket, Verb::RequestReturnMachines, "two-bodies", &names).refused();
    assert_eq!(world.known_requests(), 1);
    let made = usize::try_from(won).expect("one or two");
    eventually("the one request's machines are there", SOON, || (world.cluster.managed().len() == made).then_some(()));
}
