//! `peers.md`, "Faults seen in them": each of the 22 as a test that our product must pass.

use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tests::{Input, Machine, Template, Verb, World, eventually, holds_for, names, process, script};

const SOON: Duration = Duration::from_secs(30);

/// Waits until the pods of all these machines are there and are being deleted.
#[track_caller]
fn wait_terminating(world: &World, machines: &[Machine]) {
    eventually("all are terminating", SOON, || {
        let pods = world.cluster.pods();
        let all =
            pods.len() == machines.len() && pods.iter().all(|pod| pod["metadata"]["deletionTimestamp"].is_string());
        all.then_some(())
    });
}

fn machine_request(template: &str, count: u64) -> Value {
    json!({"template": {"templateId": template, "machineCount": count}})
}

/// peers.md, fault 1: judged by the pods that exist instead of by the count asked for.
#[test]
fn fault_01_complete_is_never_said_with_fewer_ready_pods_than_asked_for() {
    let world = World::start();
    let fault =
        world.cluster.fault(&json!({"verb": "create", "resource": "pods", "count": 3, "action": {"delayMs": 1500}}));
    let id = world.request("small", 8);
    world.wait(&id, "ended", |status| {
        let ready = world.cluster.history().values().filter(|pod| pod.ever_ready).count();
        assert!(status.status != "complete" || ready == 8, "complete with {ready} ready pods");
        assert_eq!(status.machines.len(), 8);
        status.status != "running"
    });
    world.cluster.end_fault(fault);
}

/// peers.md, fault 2: unschedulable pods declared "fully fulfilled" at the deadline.
#[test]
fn fault_02_unschedulable_machines_fail_at_the_deadline_and_are_not_called_fulfilled() {
    let mut world = World::build()
        .cluster(|cluster| (cluster.nodes, cluster.pods_per_node) = (1, 3))
        .set("machines.ready_deadline", "10s")
        .start();
    let id = world.request("small", 5);
    // What gets ready while nobody looks is ready, however long it takes; the deadline is for the others.
    eventually("all are made", SOON, || (world.cluster.history().len() == 5).then_some(()));
    world.daemon.kill9();
    let ready = || world.cluster.history().values().filter(|pod| pod.ever_ready).count();
    eventually("three are ready", world.cluster.patience(), || (ready() == 3).then_some(()));
    world.daemon.start_again();
    let end = world.wait_end(&id);
    assert_eq!(end.status, "complete_with_error");
    assert_eq!((end.with("succeed").len(), end.with("fail").len()), (3, 2));
    assert!(end.with("fail").iter().all(|machine| machine.message.to_lowercase().contains("pods")), "{end:#?}");
}

/// peers.md, fault 3: a fresh return in error until a worker touched it; a return complete while pods still ran.
#[test]
fn fault_03_a_return_runs_from_the_first_answer_until_the_pods_are_gone() {
    let world = World::build().template(Template::new("held").fate("stuck-terminating")).start();
    let machines = world.bring_up("held", 4);
    let ret = world.give_back(&names(&machines));
    assert_eq!(world.status(&ret).status, "running");
    wait_terminating(&world, &machines);
    for (gone, machine) in (1..).zip(&machines) {
        assert_eq!(world.status(&ret).status, "running");
        world.cluster.remove_pod(&machine.name);
        world.wait(&ret, "told that one more is gone", |status| {
            let left = world.cluster.managed().len();
            assert!(status.status == "running" || left == 0, "{} with {left} pods", status.status);
            status.with("succeed").len() == gone
        });
    }
    assert_eq!(world.wait_end(&ret).status, "complete");
}

/// peers.md, fault 4: a transient API error turned into a terminal status, or into "all machines gone".
#[test]
fn fault_04_a_transient_api_error_is_no_verdict_and_no_loss() {
    let world = World::start();
    let machines = world.bring_up("small", 6);
    let id = world.request("small", 2);
    for code in [500, 503, 429] {
        let fault =
            world.cluster.pod_fault("*", &json!({"status": {"code": code, "reason": "", "message": "transient"}}));
        world.cluster.watch("cut");
        holds_for("nothing terminal and nothing lost", Duration::from_millis(700), || {
            world.status(&id).with("fail").is_empty() && world.reclaims(&names(&machines)).is_empty()
        });
        world.cluster.end_fault(fault);
    }
    assert_eq!(world.wait_end(&id).status, "complete");
    assert_eq!(world.reclaims(&names(&machines)), []);
}

/// peers.md, fault 5: unknown request id: exception without output, `running` for ever, or losing the other answers.
#[test]
fn fault_05_an_unknown_id_is_answered_as_such_beside_the_known_ones() {
    let world = World::start();
    let id = world.request("small", 1);
    world.wait_end(&id);
    let told = world.statuses(&["unknown", &id, "../../etc/passwd"]);
    let states: Vec<&str> = told.iter().map(|status| status.status.as_str()).collect();
    assert_eq!(states, ["complete_with_error", "complete", "complete_with_error"]);
    assert!(told[0].message.contains("unknown"));
}

/// peers.md, fault 6: non-JSON on stdout with exit 0, stderr merged into stdout, empty stdout on failure.
#[test]
fn fault_06_stdout_is_one_json_document_whatever_happens() {
    let mut world = World::start();
    for verb in Verb::ALL {
        for garbage in [&b""[..], b"garbage", b"[]", b"null", b"{}{}", b"\xff\xfe"] {
            world.scripts.call(verb, Input::File(garbage));
        }
    }
    world.daemon.kill9();
    world.assert_all_verbs_fail();
    world.daemon.start_again();
}

/// peers.md, fault 7: kill -9 of the creator mid-request: crash loop on 409, or leaked pods.
#[test]
fn fault_07_a_kill_in_the_middle_of_creates_neither_loops_nor_leaks() {
    let mut world = World::build().set_literal("kube.concurrency", "4").start();
    world.cluster.pod_fault("create", &json!({"delayMs": 25}));
    let id = world.request("small", 67);
    for share in [10, 30, 50] {
        eventually("some more are created", SOON, || (world.cluster.history().len() >= share).then_some(()));
        world.daemon.crash_and_restart();
    }
    let end = world.wait_end(&id);
    assert_eq!((end.status.as_str(), end.machines.len()), ("complete", 67));
    let told: BTreeSet<&str> = names(&end.machines).into_iter().collect();
    let there = world.cluster.managed();
    assert_eq!(there.iter().map(String::as_str).collect::<BTreeSet<_>>(), told);
    world.assert_no_pod_twice();
}

/// peers.md, fault 8: kill -9 of the watcher while a pod is deleted: `running` for ever.
#[test]
fn fault_08_a_pod_that_goes_while_the_daemon_is_dead_ends_its_return() {
    let mut world = World::build().template(Template::new("held").fate("stuck-terminating")).start();
    let machines = world.bring_up("held", 3);
    let ret = world.give_back(&names(&machines));
    wait_terminating(&world, &machines);
    world.daemon.kill9();
    for machine in &machines {
        world.cluster.remove_pod(&machine.name);
    }
    eventually("all are gone", SOON, || world.cluster.managed().is_empty().then_some(()));
    world.daemon.start_again();
    assert_eq!(world.wait_end(&ret).status, "complete");
}

/// peers.md, fault 9: one unusable pod specification blocks the healthy requests; one broken template the good ones.
#[test]
fn fault_09_an_unusable_specification_or_template_blocks_nobody_else() {
    let world = World::build()
        .template(Template::new("invalid").pod("/spec/containers", json!([])))
        .template(Template::new("broken").field("podSpec", json!("missing.yaml")))
        .template(Template::new("unplaceable").fate("never-scheduled"))
        .template(Template::new("good"))
        .start();
    let invalid = world.call(Verb::RequestMachines, &machine_request("invalid", 3));
    world.request("unplaceable", 50);
    world.bring_up("good", 3);
    if invalid.code == 0 {
        let id = invalid.json["requestId"].as_str().unwrap_or_default();
        assert_eq!(world.wait_end(id).with("fail").len(), 3);
    }
    assert!(world.templates().iter().any(|template| template["templateId"] == "good"));
}

/// peers.md, fault 10: count 0 or negative "succeeds", `true` is one machine, 10^9 runs on, maxNumber not enforced.
#[test]
fn fault_10_counts_that_make_no_sense_are_refused_and_max_number_holds() {
    let world = World::build().template(Template::new("small").max(2)).start();
    for count in [json!(0), json!(-3), json!(true), json!(1_000_000_000)] {
        let begun = Instant::now();
        world
            .call(Verb::RequestMachines, &json!({"template": {"templateId": "small", "machineCount": count}}))
            .refused();
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
    let end = world.wait_end(&world.request("small", 3));
    assert_eq!((end.with("succeed").len(), end.with("fail").len()), (2, 1));
}

/// peers.md, fault 11: names like `../../x` create files outside the work directory; ids like `/etc` list directories.
#[test]
fn fault_11_names_and_ids_like_paths_touch_no_file() {
    let world = World::start();
    let list = |world: &World| {
        let mut all: Vec<_> =
            fs::read_dir(world.dir()).expect("ours").map(|entry| entry.expect("ours").path()).collect();
        all.sort();
        all
    };
    let before = list(&world);
    let told = world.statuses(&["/etc", "../../x", "..", "state/../../x"]);
    assert!(told.iter().all(|status| status.status == "complete_with_error" && status.machines.is_empty()));
    world.wait_end(&world.give_back(&["../../x", "../x", "/tmp/x"]));
    world.reclaims(&["../../x"]);
    world.call(Verb::RequestMachines, &machine_request("../../small", 1)).refused();
    world.call_with(Verb::RequestMachines, &["--request-id", "../../x"], &machine_request("small", 1));
    assert_eq!(list(&world), before);
}

/// peers.md, fault 12: a mistyped work directory is created silently and every live machine reported as gone.
#[test]
fn fault_12_a_mistyped_state_directory_reclaims_no_machine() {
    let mut world = World::start();
    let id = world.request("small", 6);
    let machines = world.wait_end(&id).machines;
    world.daemon.terminate();
    let spec = world.daemon.spec();
    spec.state_dir = spec.dir.join("staet");
    world.checker().rebuilt = true;
    world.daemon.start_again();
    world.wait_synced();
    assert_eq!(world.reclaims(&names(&machines)), []);
    assert_eq!(world.status(&id).status, "running");
    world.wait_status_says(&["rebuild"]);
    assert_eq!(world.cluster.managed().len(), 6);
}

/// peers.md, fault 13: logs of 13 KB a pod and 1.3 MB a status call, never rotated, in /tmp.
#[test]
fn fault_13_polls_write_no_log_and_a_machine_only_a_few_lines() {
    let world = World::start();
    let id = world.request("small", 50);
    world.wait_end(&id);
    let before = world.daemon.log().len();
    assert!(before < 50 * 2_000 + 20_000, "{before} bytes for 50 machines");
    for _ in 0..30 {
        world.status(&id);
        world.all_reclaims();
        world.templates();
    }
    let written = world.daemon.log().len() - before;
    assert!(written < 4_000, "{written} bytes for 90 polls");
}

/// peers.md, fault 14: metrics labelled by pod name and address. There are no metrics yet beyond the counts of API calls:
/// those are keyed by verb and resource alone.
#[test]
fn fault_14_counts_are_keyed_by_verb_and_resource_never_by_pod() {
    let world = World::start();
    let machines = world.bring_up("small", 5);
    let status = world.daemon.status().expect("it serves");
    let calls = status["apiCalls"].as_object().expect("counts of API calls");
    assert_eq!(calls["create pods"], 5);
    for key in calls.keys() {
        assert!(machines.iter().all(|machine| !key.contains(&machine.name) && !key.contains(&machine.ip)), "{key}");
        assert!(key.split(' ').count() == 2, "{key}");
    }
}

/// peers.md, fault 15: pods created one after another; retries on 403, 409, 422; no timeouts.
#[test]
fn fault_15_creates_run_side_by_side_are_not_repeated_in_vain_and_time_out() {
    let mut world = World::start();
    world.cluster.reset_counters();
    let hang = world.cluster.pod_fault("create", &json!({"hang": true}));
    let id = world.request("small", 40);
    // Within less than a call may take: none of them has been answered or given up.
    let within = Duration::from_secs(25);
    eventually("all 40 are posted", within, || (world.cluster.count("create pods") == 40).then_some(()));
    world.cluster.end_fault(hang);
    world.daemon.spec().set("kube.call_timeout", "1s");
    world.crash();
    let end = world.wait_end(&id);
    assert_eq!((end.status.as_str(), end.with("succeed").len()), ("complete", 40));
    for code in [403, 422] {
        world.cluster.reset_counters();
        let refuse =
            world.cluster.pod_fault("create", &json!({"status": {"code": code, "reason": "", "message": "no"}}));
        world.wait_end(&world.request("small", 3));
        assert_eq!(world.cluster.count("create pods"), 3);
        world.cluster.end_fault(refuse);
    }
    world.cluster.fault(&json!({"verb": "create", "resource": "pods", "count": 2, "action": {"hang": true}}));
    assert_eq!(world.bring_up("small", 3).len(), 3);
    world.assert_no_pod_twice();
}

/// peers.md, fault 16: the pod's grace overwritten; pods stuck on a finalizer; 20 of 200 lost pods never recorded.
#[test]
fn fault_16_nothing_of_ours_holds_a_pod_and_every_lost_pod_is_recorded() {
    let mut world = World::build().cluster(|cluster| cluster.nodes = 3).start();
    let machines = world.bring_up("small", 200);
    let pod = world.cluster.pod(&machines[0].name).expect("it is ready");
    assert!(pod["metadata"].get("finalizers").is_none());
    assert_eq!(pod["spec"]["terminationGracePeriodSeconds"], 30);
    world.daemon.kill9();
    for machine in &machines[..20] {
        world.cluster.delete_pod(&machine.name);
    }
    eventually("they go although the daemon is down", SOON, || (world.cluster.managed().len() == 180).then_some(()));
    world.daemon.start_again();
    eventually("all twenty are told", SOON, || (world.all_reclaims().len() == 20).then_some(()));
}

/// peers.md, fault 17: listing what HostFactory itself returned, ignoring evictions, ignoring the input.
#[test]
fn fault_17_the_reclaim_list_has_evictions_and_no_returns_and_heeds_its_input() {
    let world = World::start();
    let machines = world.bring_up("small", 4);
    let ret = world.give_back(&[&machines[0].name]);
    world.cluster.set_pod(&machines[1].name, &json!({"disruption": "EvictionByEvictionAPI"}));
    eventually("the eviction is told", SOON, || {
        let told = world.all_reclaims();
        (told.len() == 1 && told[0].0 == machines[1].name).then_some(())
    });
    assert_eq!(world.reclaims(&[&machines[0].name, &machines[2].name]), []);
    assert_eq!(world.wait_end(&ret).status, "complete");
    assert_eq!(world.reclaims(&[&machines[0].name]), []);
}

/// peers.md, fault 18: orphan collection that deletes live pods when its set of known requests is empty.
#[test]
fn fault_18_an_empty_journal_deletes_no_live_pod() {
    let mut world = World::start();
    world.bring_up("small", 5);
    world.daemon.terminate();
    fs::remove_dir_all(world.dir().join("state")).expect("the state is ours");
    world.checker().rebuilt = true;
    world.daemon.start_again();
    world.wait_synced();
    holds_for("the pods stay", Duration::from_secs(2), || {
        world.cluster.history().values().filter(|pod| pod.exists).count() == 5
    });
    assert_eq!(world.cluster.count("delete pods"), 0);
}

/// peers.md, fault 19: `--dry-run` creating real pods.
#[test]
fn fault_19_an_unknown_flag_such_as_dry_run_does_nothing_at_all() {
    let world = World::start();
    let input = machine_request("small", 2).to_string();
    let finished = world.daemon.hfctl(&["request-machines", "--dry-run", "-f", "-"], input.as_bytes());
    script::Reply::read(Verb::RequestMachines, &finished).refused();
    holds_for("nothing is created", Duration::from_millis(500), || world.cluster.history().is_empty());
    assert_eq!(world.known_requests(), 0);
}

/// peers.md, fault 20: pending time-out measured from a start time that unschedulable pods never get.
#[test]
fn fault_20_pods_that_never_start_miss_the_deadline_all_the_same() {
    let world = World::build()
        .template(Template::new("stuck").fate("never-scheduled"))
        .set("machines.ready_deadline", "10s")
        .start();
    let begun = Instant::now();
    world.wait_end(&world.request("stuck", 1)).failure();
    assert!(begun.elapsed() < Duration::from_secs(20));
    world.wait_no_pods();
}

/// peers.md, fault 21: Running but not Ready pods reported as usable, or dropped from the output.
#[test]
fn fault_21_a_running_pod_that_is_not_ready_is_listed_and_not_usable() {
    let world = World::build().template(Template::new("cold").fate("never-ready")).start();
    let id = world.request("cold", 2);
    eventually("both run", SOON, || {
        let pods = world.cluster.pods();
        (pods.len() == 2 && pods.iter().all(|pod| pod["status"]["phase"] == "Running")).then_some(())
    });
    let status = world.status(&id);
    assert_eq!((status.status.as_str(), status.with("executing").len()), ("running", 2));
}

/// peers.md, fault 22: templates' own ncpus and nram replaced by 1 and 1024.
#[test]
fn fault_22_the_templates_own_sizes_are_told() {
    let attributes = json!({"type": ["String", "X86_64"], "ncpus": ["Numeric", "16"], "ncores": ["Numeric", "8"],
        "nram": ["Numeric", "65536"]});
    let world = World::build().template(Template::new("large").field("attributes", attributes.clone())).start();
    assert_eq!(world.templates()[0]["attributes"], attributes);
    let shown = process::run(world.scripts.command(Verb::GetAvailableTemplates, &json!({})), b"", SOON);
    assert!(shown.text().contains("65536"));
}
