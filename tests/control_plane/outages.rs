//! An API server that is really gone, frozen, forgetful or overloaded: each on a testbed of the test's own.

use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tests::{
    eventually,
    gate::{
        Gate, Site as Entrance,
        calls::{in_flight_at, next_after, repeated_blindly},
    },
    holds_for,
    testbed::{Options, Testbed},
};

use crate::{
    audit::Call,
    births::Births,
    hostfactory::{shown, slices},
    site::{PATIENCE, Plan, Site, enduring, must},
};

/// The API server's own limit on a request, and the daemon's idea of it: how long a broken create may still land.
const REQUEST_TIMEOUT: &str = "5s";

/// A testbed whose API server gives up on a request soon, and has these further arguments.
fn testbed_with(arguments: &[&str]) -> Testbed {
    let mut api_server = vec![format!("--request-timeout={REQUEST_TIMEOUT}")];
    api_server.extend(arguments.iter().map(|&argument| argument.to_owned()));
    Testbed::start(Options { api_server, ..Options::default() }).expect("a testbed starts")
}

fn plan_on(own: &Testbed, nodes: u32) -> Plan {
    let mut plan = Plan::new(own.facts(), nodes);
    plan.spec.set("kube.server_request_timeout", REQUEST_TIMEOUT);
    plan
}

#[test]
fn an_api_server_killed_under_creates_and_under_deletes_loses_and_doubles_nothing() {
    const MACHINES: usize = 200;
    let mut own = testbed_with(&[]);
    let mut plan = plan_on(&own, 2);
    plan.spec.set_literal("kube.concurrency", "100");
    // What is in flight when the server is killed is in no log of the server's: a gate sees it come, and sees what the
    // daemon does next. It hands on and nothing else; where it has no answer, the daemon has none.
    let api = plan.facts.with_token(plan.ground.token());
    let entrance = Entrance::by_token(&api, plan.ground.namespace()).expect("the daemon has a token");
    let gate = Gate::open(entrance, &plan.spec.kubeconfig).expect("a gate opens on loopback");
    let mut site = plan.start_serving();
    let births = Births::watch(site.ground.admin(), site.ground.namespace());

    let id = site.hf.request("small", MACHINES as u64);
    let half_way = kill_in_the_middle(&mut own, &gate, "create");
    let killed = gate.now();
    site.audit.start_over();
    assert!(half_way < MACHINES, "the API server was killed too late to break a create");
    holds_for("an absent API server is no verdict", Duration::from_secs(3), || {
        let status = site.hf.status(&id);
        assert!(status.with("fail").is_empty(), "{}", shown(&status));
        status.status == "running"
    });
    own.start_api_server().expect("the API server starts again");
    let machines = all_ready(&site, &id);
    assert_eq!(births.names(), MACHINES);
    assert!(births.twice().is_empty(), "two pods of one name: {:?}", births.twice());
    looked_before_it_repeated(&site, &machines);
    let in_flight = looked_for_what_was_in_flight(&gate, killed);
    println!("killed at {half_way} of {MACHINES} pods, {in_flight} in flight; {}", summary(&site.audit.calls()));

    site.audit.start_over();
    let ret = site.hf.give_back(&slices(&machines));
    let deleted = kill_in_the_middle(&mut own, &gate, "delete");
    assert!(deleted < MACHINES, "the API server was killed too late to break a delete");
    let before = site.audit.count("create");
    site.audit.start_over();
    holds_for("an absent API server ends no return", Duration::from_secs(3), || {
        let status = site.hf.status(&ret);
        assert!(status.with("fail").is_empty(), "{}", shown(&status));
        status.status == "running"
    });
    own.start_api_server().expect("the API server starts again");
    site.hf.wait_complete(&ret);
    site.pods().wait_none();
    assert_eq!(before + site.audit.count("create"), 0, "a returned machine was made again");
    assert!(births.twice().is_empty(), "two pods of one name: {:?}", births.twice());
    println!("killed at {deleted} of {MACHINES} deletes; {}", summary(&site.audit.calls()));
}

/// Kills the API server when it has answered twenty calls of this verb for pods and has as many of them before it: it is
/// frozen before it is killed, so that they wait for it however late we see them. Gives how many it answered.
#[track_caller]
fn kill_in_the_middle(own: &mut Testbed, gate: &Gate, verb: &str) -> usize {
    let count = |is_answered: bool| {
        let calls = gate.calls();
        let mine = calls.iter().filter(|call| call.verb == verb && call.resource == "pods");
        mine.filter(|call| call.answer.is_some() == is_answered).count()
    };
    eventually("some calls are answered", PATIENCE, || (count(true) >= 20).then_some(()));
    own.freeze_api_server(true);
    let frozen = Instant::now();
    while count(false) < 20 && frozen.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(10));
    }
    // In any case: what is frozen would outlive a test that fails here.
    own.kill_api_server();
    assert!(count(false) >= 20, "the API server was frozen too late: only {} calls wait for it", count(false));
    count(true)
}

/// Waits until all machines of a request are ready, on nodes that were silent meanwhile, and gives their names.
#[track_caller]
fn all_ready(site: &Site, id: &str) -> Vec<String> {
    let end = site.hf.wait(id, "ended", |status| {
        site.pods().say_ready();
        status.status != "running"
    });
    assert!(end.status == "complete", "{id}: {}", shown(&end));
    end.machines.into_iter().map(|machine| machine.name).collect()
}

/// Each pod whose create had no answer when the server was killed was looked for next, and no pod was posted again before
/// a look had found that it is not there: from the first call of the daemon to the last. Gives how many were in flight.
#[track_caller]
fn looked_for_what_was_in_flight(gate: &Gate, killed: Duration) -> usize {
    let calls = gate.calls();
    let in_flight = in_flight_at(&calls, killed);
    assert!(!in_flight.is_empty(), "no create was in flight: the API server was killed too late");
    for name in &in_flight {
        let next = next_after(&calls, name, killed);
        assert!(next.is_some_and(|call| call.verb == "get"), "{name} was in flight, and then came {next:?}");
        let found = calls.iter().any(|call| {
            call.name == *name && call.verb == "get" && matches!(call.answer, Some((at, 200 | 404)) if at > killed)
        });
        assert!(found, "{name} was in flight, and no look for it had an answer");
    }
    assert_eq!(repeated_blindly(&calls), Vec::<String>::new(), "posted again without a look");
    in_flight.len()
}

/// The same as the server itself tells it after its restart. What the server has once said it made is not posted again; what it said is there already
/// was looked at; and what may have been made was looked at before it was posted again.
#[track_caller]
fn looked_before_it_repeated(site: &Site, machines: &[String]) {
    let calls = site.audit.calls();
    let mut looks = 0;
    for name in machines {
        let calls: Vec<&Call> = calls.iter().filter(|call| call.name == *name).collect();
        let mut open = None;
        for call in &calls {
            match (call.verb.as_str(), call.code) {
                ("get", code) => {
                    looks += 1;
                    open = open.filter(|_| code != 404);
                }
                // Refused or sent away: nothing was made.
                ("create", 403 | 429 | 503) => {}
                ("create", code) => {
                    assert!(open.is_none(), "{name} was posted again after {open:?} without a look: {calls:#?}");
                    open = Some(code);
                }
                _ => {}
            }
        }
        let looked = calls.last().is_some_and(|call| call.verb == "get");
        assert!(open.is_none_or(|code| code == 201 || looked), "{name}: {calls:#?}");
    }
    // What was in flight when the server was killed, and had not landed, nobody else can tell of.
    assert!(looks > 0, "no create was cut off: the API server was killed too late");
}

/// Calls by verb and code, for the test's output.
fn summary(calls: &[Call]) -> String {
    let kinds: BTreeSet<(&str, u64)> = calls.iter().map(|call| (call.verb.as_str(), call.code)).collect();
    let counted = kinds.iter().map(|(verb, code)| {
        let count = calls.iter().filter(|call| (call.verb.as_str(), call.code) == (verb, *code)).count();
        format!("{count} {verb} {code}")
    });
    counted.collect::<Vec<_>>().join(", ")
}

/// An API server that was frozen and goes on, whatever becomes of the test.
struct Frozen<'a>(&'a Testbed);

impl<'a> Frozen<'a> {
    fn freeze(own: &'a Testbed) -> Self {
        own.freeze_api_server(true);
        Self(own)
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        self.0.freeze_api_server(false);
    }
}

#[test]
fn a_frozen_api_server_is_no_verdict_and_stops_the_clock_of_the_deadline() {
    let own = testbed_with(&[]);
    let mut plan = plan_on(&own, 1);
    plan.spec.set("kube.fresh_within", "3s");
    plan.spec.set("kube.call_timeout", "3s");
    let late = enduring("late").annotate("sandbox.hfd/start-delay", "6s").field("readyDeadlineSeconds", json!(10));
    plan.templates(&[enduring("small"), late]);
    let site = plan.start_serving();
    let births = Births::watch(site.ground.admin(), site.ground.namespace());
    let machines = site.hf.bring_up("small", 6);
    let names = slices(&machines);
    let late = site.hf.request("late", 2);
    eventually("the late pods have their nodes", PATIENCE, || {
        let bound = site.pods().all().iter().filter(|pod| pod["spec"]["nodeName"].is_string()).count();
        (bound == 8).then_some(())
    });

    let (during, returned);
    {
        let _frozen = Frozen::freeze(&own);
        site.hf.wait_daemon("the view is stale", |status| status["kube"]["fresh"] == false);
        during = site.hf.request("small", 3);
        returned = site.hf.give_back(&names[..1]);
        // Longer than the deadline of the late ones.
        holds_for("a silent API server is no verdict", Duration::from_secs(12), || {
            let running = |id: &str| site.hf.status(id).status == "running";
            running(&late) && running(&during) && running(&returned) && site.hf.reclaims(&names[1..]).is_empty()
        });
    }
    let mut left: Vec<String> = machines[1..].to_vec();
    for id in [&late, &during] {
        left.extend(all_ready(&site, id));
    }
    site.hf.wait_complete(&returned);
    assert!(births.twice().is_empty(), "two pods of one name: {:?}", births.twice());
    assert!(site.hf.reclaims(&slices(&left)).is_empty());
    site.hf.take_down(&slices(&left));
    site.pods().wait_none();
}

#[test]
fn a_watch_that_the_api_server_no_longer_knows_loses_and_reclaims_nothing() {
    let mut own = testbed_with(&[]);
    let mut site = plan_on(&own, 1).start_serving();
    let machines = site.hf.bring_up("small", 10);
    let names = slices(&machines);
    let uids =
        |site: &Site| -> Vec<Value> { site.pods().all().iter().map(|pod| pod["metadata"]["uid"].clone()).collect() };
    let before = uids(&site);

    // A restarted API server knows no version older than its start, and answers 410 to who goes on from one: the daemon
    // will, for it knows of its pods alone, and these are writes to something else.
    for number in 0..3 {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("other-{number}")}});
        let path = format!("/api/v1/namespaces/{}/configmaps", site.ground.namespace());
        must(site.ground.admin(), "POST", &path, Some(&object));
    }
    own.kill_api_server();
    site.audit.start_over();
    own.start_api_server().expect("the API server starts again");
    eventually("the pods are listed anew", PATIENCE, || (site.audit.count("list") > 0).then_some(()));
    site.hf.wait_serving();
    holds_for("nothing is reclaimed", Duration::from_secs(3), || site.hf.reclaims(&names).is_empty());
    assert_eq!(uids(&site), before);
    assert!(site.daemon.log().contains("too old resource version"), "the watch was not refused");
    let verbs: BTreeSet<String> = site.audit.calls().into_iter().map(|call| call.verb).collect();
    assert!(!verbs.contains("create") && !verbs.contains("delete"), "{verbs:?}");
    site.hf.take_down(&names);
    site.pods().wait_none();
}

#[test]
fn an_overloaded_api_server_delays_machines_and_fails_none() {
    const MACHINES: usize = 300;
    // Without priority and fairness the server answers 429 at once instead of queueing; administrators are exempt.
    let own = testbed_with(&[
        "--enable-priority-and-fairness=false",
        "--max-requests-inflight=20",
        "--max-mutating-requests-inflight=10",
    ]);
    let site = plan_on(&own, 3).start_serving();
    let births = Births::watch(site.ground.admin(), site.ground.namespace());
    let begun = Instant::now();
    let id = site.hf.request("small", MACHINES as u64);
    let machines: Vec<String> = site.hf.wait_complete(&id).machines.into_iter().map(|machine| machine.name).collect();
    println!("{MACHINES} machines in {:.1} s; {}", begun.elapsed().as_secs_f32(), summary(&site.audit.calls()));
    let throttled = site.audit.calls().iter().filter(|call| call.code == 429).count();
    assert!(throttled > 0, "the API server was not overloaded: {}", summary(&site.audit.calls()));
    site.hf.take_down(&slices(&machines));
    site.pods().wait_none();
    assert_eq!(births.names(), MACHINES);
    assert!(births.twice().is_empty(), "two pods of one name: {:?}", births.twice());
}
