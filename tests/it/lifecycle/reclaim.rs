//! `lifecycle.md` 6, "getReturnRequests": what is listed, what never, and the guard.

use std::time::Duration;

use serde_json::{Value, json};
use tests::{Template, Verb, World, eventually, holds_for, names};

const SOON: Duration = Duration::from_secs(20);

fn listed(world: &World) -> Vec<String> {
    let mut all: Vec<String> = world.all_reclaims().into_iter().map(|(name, _)| name).collect();
    all.sort();
    all
}

/// lifecycle.md 6: lost machines are listed with grace 0; with machines in the input only those, with `{}` all.
#[test]
fn lost_machines_are_listed_with_no_grace() {
    let world = World::start();
    let machines = world.bring_up("small", 6);
    world.cluster.remove_pod(&machines[2].name);
    world.cluster.remove_pod(&machines[4].name);
    eventually("both are listed", SOON, || (listed(&world).len() == 2).then_some(()));
    let asked = world.reclaims(&[&machines[0].name, &machines[4].name]);
    assert_eq!(asked, [(machines[4].name.clone(), 0)]);
}

/// lifecycle.md 6: entries come in the order HostFactory answers them; a name never issued is never listed.
#[test]
fn a_name_we_did_not_issue_is_never_listed() {
    let world = World::start();
    world.cluster.create_pod("stranger", &json!({"app": "database"}), &json!({}));
    let machine = world.bring_up("small", 1).remove(0);
    world.cluster.remove_pod(&machine.name);
    eventually("ours is listed", SOON, || (!listed(&world).is_empty()).then_some(()));
    for foreign in ["stranger", "ip-10-0-58-4.ec2.internal", "", "../x", "aaaaaaaaaaaaaaaa-00000"] {
        assert_eq!(world.reclaims(&[foreign]), [], "{foreign:?}");
    }
    assert_eq!(world.reclaims(&["stranger", &machine.name]).len(), 1);
}

/// lifecycle.md 6: a coming loss is told with the seconds left: deletionTimestamp not ours.
#[test]
fn a_machine_that_somebody_deletes_is_listed_with_its_grace_before_it_is_gone() {
    let world = World::build()
        .template(
            Template::new("slow")
                .annotate("sandbox.hfd/stop-delay", "6s")
                .pod("/spec/terminationGracePeriodSeconds", json!(60)),
        )
        .start();
    let machines = world.bring_up("slow", 2);
    let name = machines[0].name.as_str();
    world.cluster.delete_pod(name);
    let told = eventually("the coming loss is listed", Duration::from_secs(5), || world.all_reclaims().pop());
    assert_eq!(told.0, name);
    assert!(world.cluster.pod(name).is_some(), "it should be told before the pod is gone");
    assert!((1..=60).contains(&told.1), "grace {}", told.1);
    eventually("gone, it is listed with no grace", SOON, || {
        (world.all_reclaims() == [(name.to_owned(), 0)]).then_some(())
    });
}

/// lifecycle.md 6: a coming loss is told: condition DisruptionTarget, before anything is deleted, with the grace that the
/// pod will have.
#[test]
fn a_machine_to_be_evicted_is_listed_with_the_grace_of_its_pod() {
    let world = World::build()
        .template(Template::new("patient").pod("/spec/terminationGracePeriodSeconds", json!(300)))
        .start();
    let machines = world.bring_up("patient", 2);
    world.cluster.set_pod(&machines[1].name, &json!({"disruption": "EvictionByEvictionAPI"}));
    let (name, grace) = eventually("it is listed", SOON, || world.all_reclaims().pop());
    assert_eq!(name, machines[1].name);
    assert!((200..=300).contains(&grace), "{grace}");
}

/// lifecycle.md 6: never while an open return covers it. The strict reader checks the same in every session.
#[test]
fn a_machine_in_an_open_return_is_not_listed() {
    let world = World::build().template(Template::new("slow").annotate("sandbox.hfd/stop-delay", "1500ms")).start();
    let machines = world.bring_up("slow", 3);
    let ret = world.give_back(&names(&machines));
    world.wait(&ret, "ended", |status| {
        assert_eq!(world.reclaims(&names(&machines)), []);
        status.status != "running"
    });
    assert_eq!(world.reclaims(&names(&machines)), []);
    assert_eq!(world.all_reclaims(), []);
}

/// lifecycle.md 6: never while not synced.
#[test]
fn nothing_is_listed_while_not_synced_or_not_fresh() {
    let mut world = World::build().set("kube.fresh_within", "1s").start();
    let machines = world.bring_up("small", 8);
    world.cluster.outage(true);
    world.cluster.remove_pod(&machines[0].name);
    holds_for("an outage tells nothing", Duration::from_secs(2), || listed(&world).is_empty());
    world.daemon.crash_and_restart();
    holds_for("a restart in an outage tells nothing", Duration::from_millis(700), || listed(&world).is_empty());
    world.cluster.outage(false);
    eventually("the loss is told", SOON, || (listed(&world) == [machines[0].name.clone()]).then_some(()));
}

/// lifecycle.md 6: the phantom: returned, ended, told or unasked for a while, and still named by the caller.
#[test]
fn a_returned_machine_that_the_caller_still_names_is_listed_again_after_a_while() {
    let world = World::build().set("returns.phantom_after", "1s").start();
    world.checker().returned_may_be_reclaimed = true;
    let machines = world.bring_up("small", 3);
    // One is returned and polled, one returned by a reply that got lost.
    let told = world.give_back(&[&machines[0].name]);
    world.wait_end(&told);
    world.give_back(&[&machines[1].name]);
    eventually("both phantoms are listed when named", SOON, || {
        let mut names: Vec<String> =
            world.reclaims(&names(&machines)).into_iter().map(|(name, grace)| format!("{name} {grace}")).collect();
        names.sort();
        let mut wanted = [format!("{} 0", machines[0].name), format!("{} 0", machines[1].name)];
        wanted.sort();
        (names == wanted).then_some(())
    });
    assert_eq!(world.all_reclaims(), [], "{{}} lists only what is not yet returned");
}

/// lifecycle.md 6, the guard: more than half and at least five at once are confirmed by one quorum LIST, outside the
/// polls; until then the answer is `[]` with a warning; confirmed, it latches.
#[test]
fn a_mass_loss_is_confirmed_by_a_list_before_it_is_told() {
    let world = World::start();
    let machines = world.bring_up("small", 10);
    let hold =
        world.cluster.pod_fault("list", &json!({"status": {"code": 500, "reason": "InternalError", "message": "x"}}));
    world.cluster.silence(true);
    for machine in &machines[..7] {
        world.cluster.remove_pod(&machine.name);
    }
    world.cluster.silence(false);
    world.wait_status_says(&["mass_loss"]);
    holds_for("unconfirmed, nothing is told", Duration::from_millis(500), || {
        let reply = world.call(Verb::GetReturnRequests, &json!({}));
        reply.ok()["requests"] == json!([])
    });
    world.cluster.end_fault(hold);
    eventually("confirmed, all seven are told", Duration::from_secs(40), || (listed(&world).len() == 7).then_some(()));
    let lists = world.cluster.count("list pods");
    world.cluster.remove_pod(&machines[7].name);
    eventually("the next single one needs no confirmation", SOON, || (listed(&world).len() == 8).then_some(()));
    assert_eq!(world.cluster.count("list pods"), lists);
}

/// interface.md: getReturnRequests answers about the input, machine ids aside.
#[test]
fn the_machine_id_in_the_question_does_not_matter() {
    let world = World::start();
    let machine = world.bring_up("small", 1).remove(0);
    world.cluster.remove_pod(&machine.name);
    eventually("it is listed", SOON, || (!listed(&world).is_empty()).then_some(()));
    for id in ["", machine.id.as_str(), machine.name.as_str(), "another"] {
        let reply =
            world.call(Verb::GetReturnRequests, &json!({"machines": [{"name": machine.name, "machineId": id}]}));
        assert_eq!(reply.ok()["requests"].as_array().map(Vec::len), Some(1), "{id:?}");
    }
    let polls: Vec<Value> = (0..5).map(|_| world.call(Verb::GetReturnRequests, &json!({})).ok().clone()).collect();
    assert!(polls.windows(2).all(|pair| pair[0] == pair[1]), "told until it is returned");
}
