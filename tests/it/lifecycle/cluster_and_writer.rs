//! `lifecycle.md` 8, "Which cluster, which writer".

use std::{fs, time::Duration};

use serde_json::json;
use tests::{Daemon, Verb, World, eventually, holds_for, names};

const SOON: Duration = Duration::from_secs(30);

/// lifecycle.md 8: another namespace UID: no creates, verdicts or reclaims until an operator accepts it.
#[test]
fn a_recreated_namespace_reclaims_nothing_and_creates_nothing_until_accepted() {
    let mut world = World::start();
    let id = world.request("small", 6);
    let end = world.wait_end(&id);
    world.daemon.terminate();
    world.cluster.recreate_namespace();
    world.daemon.start_again();
    world.wait_status_says(&["namespace"]);
    let created = world.cluster.history().len();
    let next = world.call(Verb::RequestMachines, &json!({"template": {"templateId": "small", "machineCount": 1}}));
    holds_for("nothing is decided in a cluster that is not ours", Duration::from_secs(2), || {
        assert_eq!(world.reclaims(&names(&end.machines)), []);
        world.cluster.history().len() == created
    });
    assert_eq!(world.status(&id), end);
    world.hfctl(&["accept-namespace"]);
    eventually("accepted, the losses are told", SOON, || {
        (world.reclaims(&names(&end.machines)).len() == 6).then_some(())
    });
    if next.code == 0 {
        assert_eq!(world.wait_end(next.json["requestId"].as_str().unwrap_or_default()).status, "complete");
    }
    world.bring_up("small", 1);
}

/// lifecycle.md 8: the same while the daemon runs.
#[test]
fn a_namespace_recreated_under_a_running_daemon_reclaims_nothing() {
    let world = World::start();
    let machines = world.bring_up("small", 6);
    world.cluster.recreate_namespace();
    holds_for("nothing is reclaimed", Duration::from_secs(4), || world.reclaims(&names(&machines)).is_empty());
    world.wait_status_says(&["namespace"]);
}

/// lifecycle.md 8: pods of our provider with a foreign journal id: warning, and deletes other than returns stop.
#[test]
fn pods_of_another_writers_journal_are_warned_of_and_stop_all_deletes_but_returns() {
    let world = World::build()
        .template(tests::Template::new("small"))
        .template(tests::Template::new("exits").fate("exit-3"))
        .start();
    let machine = world.bring_up("small", 1).remove(0);
    let pod = world.cluster.pod(&machine.name).expect("it is ready");
    let mut annotations = pod["metadata"]["annotations"].clone();
    let journal = world.daemon.status().expect("it serves")["journal"]["id"].as_str().expect("an id").to_owned();
    for (_, value) in annotations.as_object_mut().expect("annotations") {
        if value == journal.as_str() {
            *value = json!("f".repeat(journal.len()));
        }
    }
    assert_ne!(annotations, pod["metadata"]["annotations"], "no annotation carries the journal's id {journal}");
    let mut labels = pod["metadata"]["labels"].clone();
    labels["symphony/hostfactory-reqid"] = json!("zzzzzzzzzzzzzzzz");
    world.cluster.create_pod("zzzzzzzzzzzzzzzz-00000", &labels, &annotations);
    world.wait_status_says(&["warnings\":[{", "journal"]);
    world.wait_status_says(&["another"]);
    let failed = world.request("exits", 1);
    world.wait_end(&failed).failure();
    holds_for("the failed pod is not deleted", Duration::from_secs(1), || world.cluster.managed().len() == 3);
    let ret = world.give_back(&[&machine.name]);
    assert_eq!(world.wait_end(&ret).status, "complete", "HostFactory's returns go on");
    assert_eq!(world.cluster.managed().len(), 2);
}

/// lifecycle.md 8: empty journal at start, before the first sync: queries are served, unknown ids run, requests wait.
#[test]
fn before_the_first_sync_an_empty_journal_decides_nothing() {
    let world = World::build().during_outage().start();
    assert_eq!(world.templates().len(), 1);
    let told = world.statuses(&["aaaaaaaaaaaaaaaa", "ret-84ffbee9"]);
    assert!(told.iter().all(|status| status.status == "running" && status.machines.is_empty()), "{told:#?}");
    world.call(Verb::RequestMachines, &json!({"template": {"templateId": "small", "machineCount": 1}})).refused();
    assert_eq!(world.reclaims(&["whatever"]), []);
    world.cluster.outage(false);
    world.wait_synced();
    assert_eq!(world.status("aaaaaaaaaaaaaaaa").status, "complete_with_error");
    world.bring_up("small", 1);
}

/// lifecycle.md 8: empty journal with pods of ours in the cluster: refused, nothing judged, until rebuilt.
#[test]
fn a_lost_journal_is_rebuilt_from_the_cluster_by_command_only() {
    let mut world = World::start();
    let kept = world.request("small", 3);
    let machines = world.wait_end(&kept).machines;
    let partly = world.request("small", 2);
    let second = world.wait_end(&partly).machines;
    world.daemon.terminate();
    world.cluster.remove_pod(&second[0].name);
    fs::remove_dir_all(world.dir().join("state")).expect("the state is ours");
    world.checker().rebuilt = true;
    world.daemon.start_again();
    world.wait_synced();

    world.call(Verb::RequestMachines, &json!({"template": {"templateId": "small", "machineCount": 1}})).refused();
    assert_eq!(world.status(&kept).status, "running", "an unknown id is not judged");
    world.wait_status_says(&["rebuild"]);
    let ret = world.give_back(&[&machines[0].name]);
    holds_for("a name of ours executes until the rebuild", Duration::from_millis(700), || {
        world.status(&ret).status == "running"
    });
    assert_eq!(world.cluster.managed().len(), 4);

    let socket = world.daemon.socket().display().to_string();
    let mut command = std::process::Command::new(tests::bins::hfd());
    command.args(["rebuild", "--from-cluster", "--socket", &socket]);
    let finished = tests::process::run(command, b"", Duration::from_secs(60));
    assert_eq!(finished.code, 0, "{} {}", finished.text(), finished.error_text());

    assert_eq!(world.wait_end(&ret).status, "complete");
    let status = world.wait_end(&partly);
    assert_eq!(status.machines.len(), 2, "{status:#?}");
    assert_eq!(status.with("fail").len(), 1, "{status:#?}");
    assert!(status.with("fail")[0].message.contains("rebuild"), "{status:#?}");
    assert_eq!(world.wait_end(&kept).machines.len(), 3);
    let back = world.give_back(&names(&machines));
    assert_eq!(world.wait_end(&back).status, "complete");
    world.assert_no_pod_twice();
    world.bring_up("small", 1);
}

/// lifecycle.md 8: a lost journal and an empty cluster: a first start.
#[test]
fn an_empty_journal_and_no_pods_of_ours_is_a_first_start() {
    let mut world = World::start();
    world.cluster.create_pod("somebody", &json!({"app": "x"}), &json!({}));
    world.daemon.terminate();
    fs::remove_dir_all(world.dir().join("state")).expect("the state is ours");
    world.crash();
    world.bring_up("small", 1);
}

/// lifecycle.md 8: pods of ours with an unknown request are adopted or reported, never removed automatically.
#[test]
fn an_orphan_is_reported_and_never_removed() {
    let mut world = World::start();
    let machine = world.bring_up("small", 1).remove(0);
    let pod = world.cluster.pod(&machine.name).expect("it is ready");
    let mut labels = pod["metadata"]["labels"].clone();
    labels["symphony/hostfactory-reqid"] = json!("yyyyyyyyyyyyyyyy");
    world.cluster.create_pod("yyyyyyyyyyyyyyyy-00003", &labels, &pod["metadata"]["annotations"]);
    world.wait_status_says(&["\"orphans\":1", "rebuild"]);
    world.crash();
    holds_for("it stays", Duration::from_secs(1), || world.cluster.managed().len() == 2);
}

/// reliability.md, Process: two daemons started on one state directory: the second refuses.
#[test]
fn a_second_daemon_on_the_same_state_directory_refuses() {
    let mut world = World::start();
    let mut spec = world.daemon.spec().clone();
    spec.socket = world.dir().join("second.sock");
    let log = world.dir().join("second.log");
    let mut second = tests::process::Process::start("the second hfd", spec.command(), &log);
    let status = second.ended(SOON);
    assert!(!status.success());
    assert!(second.log().contains("state"), "{}", second.log());
    world.bring_up("small", 1);
    // Nor is the first one's socket taken from it.
    spec.socket = world.daemon.socket().to_owned();
    spec.state_dir = world.dir().join("state2");
    let mut third = tests::process::Process::start("the third hfd", spec.command(), &log);
    assert!(!third.ended(SOON).success());
    world.bring_up("small", 1);
}

/// lifecycle.md 8: a cluster that is another one behind the same files is no loss of all machines.
#[test]
fn another_cluster_behind_the_kubeconfig_reclaims_nothing() {
    let mut world = World::start();
    let machines = world.bring_up("small", 6);
    let dir = world.dir().join("other");
    fs::create_dir_all(&dir).expect("the test's directory can be written");
    let options = tests::ClusterOptions { seed: 77, ..tests::ClusterOptions::default() };
    let other = tests::Cluster::start(&dir, &options);
    world.daemon.terminate();
    world.daemon.spec().kubeconfig = other.kubeconfig().to_owned();
    other.namespace().clone_into(&mut world.daemon.spec().namespace);
    world.daemon.start_again();
    world.wait_status_says(&["namespace"]);
    holds_for("nothing is reclaimed", Duration::from_secs(1), || world.reclaims(&names(&machines)).is_empty());
    assert!(other.history().is_empty());
    let daemon: &Daemon = &world.daemon;
    assert!(daemon.status().is_some());
}
