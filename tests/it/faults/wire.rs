//! reliability.md, "API server", where the wire to it is what breaks: bytes late, trickling, lost, torn off. Between the
//! daemon and whatever API server the test runs on stands a proxy of bare bytes.

use std::time::Duration;

use serde_json::json;
use tests::{
    World, eventually,
    gate::{
        Gate, Site,
        calls::{in_flight_at, next_after, repeated_blindly},
        tcp::{Weather, Wire},
    },
    http::Endpoint,
    names,
};

use super::{Ordeal, SOON};

/// A world whose daemon reaches its cluster over a wire, and gives up on it soon.
fn wired() -> (World, Wire) {
    let mut world = World::build().set("kube.call_timeout", "2s").set("kube.fresh_within", "2s").start();
    let wire = Wire::to(world.cluster.address()).expect("loopback has a free port");
    let file = world.dir().join("kubeconfig-over-the-wire");
    wire.write_kubeconfig(world.cluster.kubeconfig(), &file).expect("the kubeconfig leads to the cluster");
    world.daemon.spec().kubeconfig = file;
    world.crash();
    (world, wire)
}

/// All five verbs in this weather, which must have struck.
#[track_caller]
fn weathered(ordeal: Ordeal, weather: Weather) {
    let (mut world, wire) = wired();
    ordeal.undergo(
        &mut world,
        |_| wire.set(weather),
        |_| {
            eventually("the weather has struck", SOON, || (wire.struck() > 0).then_some(()));
            wire.set(Weather::Fair);
        },
    );
}

#[test]
fn a_wire_that_is_slow_only_delays() {
    weathered(Ordeal::delaying(), Weather::Late(Duration::from_millis(150)));
}

#[test]
fn bytes_that_trickle_only_delay() {
    weathered(Ordeal::delaying(), Weather::Trickle(64, Duration::from_millis(3)));
}

#[test]
fn a_half_open_connection_is_given_up_and_is_no_verdict() {
    weathered(Ordeal::delaying().saying(&["\"fresh\":false"]), Weather::Deaf);
}

#[test]
fn answers_that_never_arrive_double_nothing() {
    weathered(Ordeal::delaying(), Weather::Mute);
}

#[test]
fn answers_that_are_cut_in_the_middle_double_nothing() {
    weathered(Ordeal::delaying(), Weather::CutAfter(90));
}

#[test]
fn connections_that_are_reset_in_the_middle_of_an_answer_double_nothing() {
    weathered(Ordeal::delaying(), Weather::ResetAfter(90));
}

/// The bytes of a watch are torn at every place of an event, by an end and by a reset: none is taken for a whole one.
#[test]
fn a_watch_that_is_cut_anywhere_in_a_frame_loses_no_event() {
    let (world, wire) = wired();
    let machines = world.bring_up("small", 2);
    for bytes in [1, 7, 300, 1_000] {
        for weather in [Weather::CutAfter(bytes), Weather::ResetAfter(bytes)] {
            let torn = wire.torn_watches();
            wire.set(weather);
            let id = world.request("small", 1);
            // Not any connection: the watch itself, with a part of an event on its way.
            eventually("a watch is torn inside an event", SOON, || (wire.torn_watches() > torn).then_some(()));
            wire.set(Weather::Fair);
            assert_eq!(world.wait_end(&id).status, "complete", "{weather:?}");
        }
    }
    assert_eq!(world.reclaims(&names(&machines)), []);
    world.assert_no_pod_twice();
}

/// A server that is reset again and again under a burst of creates and of deletes.
#[test]
fn resets_under_a_burst_of_creates_and_deletes_lose_and_double_nothing() {
    let (world, wire) = wired();
    // Not synchronisation: creates and deletes are in flight for long enough that resets strike them.
    world.cluster.pod_fault("create", &json!({"delayMs": 40}));
    world.cluster.pod_fault("delete", &json!({"delayMs": 40}));
    let id = world.request("small", 60);
    for share in [5, 20, 40] {
        eventually("a part is created", SOON, || (world.cluster.history().len() >= share).then_some(()));
        wire.reset_all();
    }
    let end = world.wait_end(&id);
    assert_eq!((end.status.as_str(), end.with("succeed").len()), ("complete", 60));
    let ret = world.give_back(&names(&end.machines));
    for left in [50, 30, 10] {
        eventually("a part is deleted", SOON, || (world.cluster.managed().len() <= left).then_some(()));
        wire.reset_all();
    }
    let gone = world.wait_end(&ret);
    assert_eq!((gone.status.as_str(), gone.with("succeed").len()), ("complete", 60));
    assert!(world.cluster.managed().is_empty());
    assert!(wire.struck() > 0, "nothing was reset");
    world.assert_no_pod_twice();
}

/// What was in flight when all connections broke is looked for next, and nothing is posted again before a look has found
/// that it is not there; what the server has made all the same, and the watch shows, need not be looked for before its
/// request is answered. A gate before the wire sees every call.
#[test]
fn a_create_in_flight_when_connections_break_is_looked_for_before_it_is_repeated() {
    let (mut world, wire) = wired();
    let api = Endpoint::from_kubeconfig(&world.daemon.spec().kubeconfig).expect("the kubeconfig is written");
    let file = world.dir().join("kubeconfig-of-the-outer-gate");
    let site = Site::by_token(&api, world.cluster.namespace()).expect("the daemon has a token");
    let gate = Gate::open(site, &file).expect("a gate opens on loopback");
    world.daemon.spec().kubeconfig = file;
    world.crash();
    // Ten never get an answer, so that the break strikes them whenever it comes; of the others the server may have made
    // some, or makes them before it has given up on them.
    world.cluster.fault(&json!({"verb": "create", "resource": "pods", "count": 10, "action": {"hang": true}}));
    world.cluster.pod_fault("create", &json!({"delayMs": 1500}));
    let id = world.request("small", 20);
    let broken = eventually("creates are in flight", SOON, || {
        let now = gate.now();
        (in_flight_at(&gate.calls(), now).len() >= 5).then_some(now)
    });
    wire.reset_all();
    world.cluster.end_faults();
    let end = world.wait_end(&id);
    assert_eq!((end.status.as_str(), end.with("succeed").len()), ("complete", 20));
    let calls = gate.calls();
    let in_flight = in_flight_at(&calls, broken);
    assert!(!in_flight.is_empty(), "every create had its answer");
    for name in &in_flight {
        let next = next_after(&calls, name, broken);
        assert!(next.is_none_or(|call| call.verb == "get"), "{name} was in flight, and then came {next:?}");
    }
    assert_eq!(repeated_blindly(&calls), Vec::<String>::new());
    world.assert_no_pod_twice();
}
