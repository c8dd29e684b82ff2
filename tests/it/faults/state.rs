//! lifecycle.md 8 in full: the state directory lost, old or foreign, and the cluster another one. In each case no machine
//! is created that was not asked for, none is deleted or wanted back that lives, returns work, and `hfctl status` says
//! what happened and what to do.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use serde_json::json;
use tests::{
    Cluster, ClusterOptions, Daemon, Machine, Reply, Scripts, Verb, World, bins, eventually, holds_for, names, process,
    template,
};

use super::SOON;

/// Not a wait for something: how long nothing may happen.
const A_WHILE: Duration = Duration::from_millis(800);

/// `hfd rebuild --from-cluster`, which must succeed.
#[track_caller]
pub(super) fn rebuild(world: &World) {
    let mut command = process_of_hfd();
    command.args(["rebuild", "--from-cluster", "--socket"]).arg(world.daemon.socket());
    let finished = process::run(command, b"", Duration::from_secs(90));
    assert_eq!(finished.code, 0, "{} {}", finished.text(), finished.error_text());
}

fn process_of_hfd() -> std::process::Command {
    std::process::Command::new(bins::hfd())
}

/// Copies the files of a directory.
fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the test's directory can be written");
    for entry in fs::read_dir(from).expect("the directory is there") {
        let path = entry.expect("readable").path();
        if path.is_file() {
            fs::copy(&path, to.join(path.file_name().expect("a file has a name"))).expect("the file can be copied");
        }
    }
}

fn make_private(directory: &Path) {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).expect("the state is ours");
}

/// The pods of these machines are the cluster's only ones of hfd, for a while, and none of them is wanted back.
#[track_caller]
fn assert_left_alone(world: &World, machines: &[Machine]) {
    let mut all: Vec<String> = machines.iter().map(|machine| machine.name.clone()).collect();
    all.sort_unstable();
    holds_for("every machine lives, none is new, none is wanted back", A_WHILE, || {
        world.cluster.managed() == all && world.reclaims(&names(machines)).is_empty() && world.all_reclaims().is_empty()
    });
}

/// Returning these machines ends well, and their pods are gone then.
#[track_caller]
fn assert_returnable(world: &World, machines: &[Machine]) {
    let ret = world.give_back(&names(machines));
    let end = world.wait_end(&ret);
    assert_eq!((end.status.as_str(), end.with("succeed").len()), ("complete", machines.len()), "{end:#?}");
    for machine in machines {
        assert!(world.cluster.pod(&machine.name).is_none(), "{} was said to be gone", machine.name);
    }
}

/// The directory is deleted while the daemon runs: it must not go on acknowledging into files that have no name, which the
/// next start would not find.
#[test]
fn a_state_directory_deleted_under_a_running_daemon_stops_it_before_it_acknowledges_anything_more() {
    let mut world = World::start();
    let machines = world.bring_up("small", 3);
    fs::remove_dir_all(world.dir().join("state")).expect("the state is ours");
    let one = json!({"template": {"templateId": "small", "machineCount": 1}}).to_string();
    let call = ["--timeout", "3", "request-machines", "-f", "-"];
    Reply::read(Verb::RequestMachines, &world.daemon.hfctl(&call, one.as_bytes())).refused();
    let status = world.daemon.process().ended(SOON);
    assert_eq!(status.code(), Some(74), "{}", world.daemon.log());
    assert!(world.daemon.log().contains("rebuild --from-cluster"), "{}", world.daemon.log());

    world.checker().rebuilt = true;
    world.daemon.start_again();
    world.wait_synced();
    world.wait_status_says(&["the journal is empty", "rebuild --from-cluster"]);
    world.call(Verb::RequestMachines, &json!({"template": {"templateId": "small", "machineCount": 1}})).refused();
    assert_left_alone(&world, &machines);
    rebuild(&world);
    assert_left_alone(&world, &machines);
    assert_returnable(&world, &machines);
    world.bring_up("small", 1);
    world.assert_no_pod_twice();
}

/// The same when the directory is moved away and another one is in its place, as a restore under a running daemon does.
#[test]
fn a_journal_replaced_under_a_running_daemon_stops_it_too() {
    let mut world = World::start();
    let machines = world.bring_up("small", 2);
    let (state, aside) = (world.dir().join("state"), world.dir().join("state-aside"));
    fs::rename(&state, &aside).expect("the state is ours");
    copy_files(&aside, &state);
    let one = json!({"template": {"templateId": "small", "machineCount": 1}}).to_string();
    let call = ["--timeout", "3", "request-machines", "-f", "-"];
    Reply::read(Verb::RequestMachines, &world.daemon.hfctl(&call, one.as_bytes())).refused();
    assert_eq!(world.daemon.process().ended(SOON).code(), Some(74), "{}", world.daemon.log());
    // What is at its place now is what counts: of the call that was not acknowledged it knows nothing.
    make_private(&state);
    world.daemon.start_again();
    world.wait_synced();
    assert_left_alone(&world, &machines);
    assert_returnable(&world, &machines);
}

/// Commits are in the log first: without it the next start would have what was copied out of it, and nothing since.
#[test]
fn a_log_deleted_under_a_running_daemon_stops_it_and_costs_nothing_that_was_acknowledged() {
    let mut world = World::start();
    let machines = world.bring_up("small", 2);
    let files =
        fs::read_dir(world.dir().join("state")).expect("the state is ours").map(|file| file.expect("a file").path());
    let log = files.into_iter().find(|path| path.to_string_lossy().ends_with("-wal")).expect("the journal has a log");
    fs::remove_file(log).expect("the state is ours");
    let one = json!({"template": {"templateId": "small", "machineCount": 1}}).to_string();
    let call = ["--timeout", "3", "request-machines", "-f", "-"];
    Reply::read(Verb::RequestMachines, &world.daemon.hfctl(&call, one.as_bytes())).refused();
    assert_eq!(world.daemon.process().ended(SOON).code(), Some(74), "{}", world.daemon.log());
    world.daemon.start_again();
    world.wait_synced();
    // The call that was refused may be known: its key was never told of.
    assert!(world.reclaims(&names(&machines)).is_empty());
    assert_returnable(&world, &machines);
}

/// The journal is not empty, so it serves; but whether it is a whole one only the cluster shows.
#[test]
fn an_unknown_id_is_not_ended_before_the_cluster_was_seen() {
    let mut world = World::start();
    world.bring_up("small", 1);
    world.daemon.terminate();
    world.cluster.outage(true);
    world.checker().rebuilt = true;
    world.daemon.start_again();
    assert_eq!(world.status("unknownaaaaaaaaa").status, "running");
    assert_eq!(world.status("no/id").status, "complete_with_error");
    world.cluster.outage(false);
    world.wait_synced();
    assert_eq!(world.status("unknownaaaaaaaaa").status, "complete_with_error");
}

/// The namespace answers before its pods are listed: until then nothing was seen.
#[test]
fn the_status_does_not_say_that_the_cluster_was_seen_before_its_pods_are_listed() {
    let mut world = World::start();
    world.bring_up("small", 1);
    world.daemon.terminate();
    let no_list = json!({"status": {"code": 503, "reason": "ServiceUnavailable", "message": "not yet"}});
    world.cluster.pod_fault("list", &no_list);
    world.daemon.start_again();
    let status = eventually("the namespace is known to be ours", SOON, || {
        world.daemon.status().filter(|status| status["state"] != "starting")
    });
    assert_eq!((&status["kube"]["synced"], &status["ready"]), (&json!(false), &json!(false)), "{status}");
    world.cluster.end_faults();
    world.wait_synced();
    assert_eq!(world.status("unknownaaaaaaaaa").status, "complete_with_error");
}

/// A backup of last week: the requests made since then are unknown, and their pods carry this very journal's id.
#[test]
fn an_old_backup_deletes_nothing_judges_nothing_it_does_not_know_and_takes_returns_by_name() {
    let mut world = World::start();
    let before = world.request("small", 3);
    let old = world.wait_end(&before);
    world.daemon.terminate();
    let (state, backup) = (world.dir().join("state"), world.dir().join("backup"));
    copy_files(&state, &backup);
    world.daemon.start_again();
    world.wait_synced();
    let since = world.request("small", 3);
    let young = world.wait_end(&since).machines;
    world.daemon.terminate();
    fs::remove_dir_all(&state).expect("the state is ours");
    copy_files(&backup, &state);
    make_private(&state);
    world.checker().rebuilt = true;
    world.daemon.start_again();
    world.wait_synced();

    world.wait_status_says(&["3 pods of this provider belong to no known request", "rebuild --from-cluster"]);
    let everything: Vec<Machine> = old.machines.iter().chain(&young).cloned().collect();
    assert_left_alone(&world, &everything);
    assert_eq!(world.status(&before), old, "what the backup knows is answered as before");
    assert_eq!(
        world.status(&since).status,
        "running",
        "machines of it live: nothing terminal is said out of ignorance"
    );
    assert_returnable(&world, &young[..1]);

    rebuild(&world);
    let adopted = world.wait_end(&since);
    assert_eq!(adopted.machines.len(), 3, "{adopted:#?}");
    assert_left_alone(
        &world,
        &everything.iter().filter(|machine| machine.name != young[0].name).cloned().collect::<Vec<_>>(),
    );
    assert_returnable(&world, &young[1..]);
    assert_returnable(&world, &old.machines);
    world.bring_up("small", 1);
    world.assert_no_pod_twice();
}

/// Two hosts write for one provider: each says so, neither touches the other's machines, and a return works on the host
/// that HostFactory happens to ask.
#[test]
fn two_hosts_that_write_for_one_provider_say_so_and_leave_each_others_machines_alone() {
    let mut world = World::start();
    let mut spec = world.daemon.spec().clone();
    let dir = world.dir().join("second-host");
    fs::create_dir_all(&dir).expect("the test's directory can be written");
    (spec.socket, spec.state_dir) = (dir.join("hfd.sock"), dir.join("state"));
    spec.template_file = Some(world.template_file.clone());
    spec.dir.clone_from(&dir);
    let second = Daemon::start(spec);
    eventually("the second host has seen the cluster", SOON, || {
        second.status().filter(|status| status["kube"]["synced"] == true)
    });
    let scripts = Scripts::new(&dir, second.socket());
    let ask = |verb: Verb, input: serde_json::Value| {
        scripts.call(verb, tests::Input::File(input.to_string().as_bytes())).ok().clone()
    };
    let mine = world.bring_up("small", 3);
    let reply = ask(Verb::RequestMachines, json!({"template": {"templateId": "small", "machineCount": 3}}));
    let theirs = reply["requestId"].as_str().expect("an id").to_owned();
    let told = eventually("the second host's machines are ready", SOON, || {
        let told = ask(Verb::GetRequestStatus, json!({"requests": [{"requestId": theirs}]}));
        (told["requests"][0]["status"] == "complete").then(|| told["requests"][0].clone())
    });
    let other: Vec<Machine> = tests::RequestStatus::read(&told).machines;

    world.wait_status_says(&["second hfd writes", "stop the other hfd"]);
    eventually("the second host says so too", SOON, || {
        second.status().filter(|status| status.to_string().contains("second hfd writes"))
    });
    let all: Vec<Machine> = mine.iter().chain(&other).cloned().collect();
    assert_left_alone(&world, &all);
    let wanted = ask(Verb::GetReturnRequests, json!({}));
    assert_eq!(wanted["requests"], json!([]), "the second host wants a machine back that lives");
    // By name, from either host: HostFactory asked for it.
    assert_returnable(&world, &[other[0].clone(), mine[0].clone()]);
    let reply = ask(Verb::RequestReturnMachines, json!({"machines": [{"name": mine[1].name}]}));
    eventually("the second host ends the return", SOON, || {
        let told = ask(Verb::GetRequestStatus, json!({"requests": [{"requestId": reply["requestId"]}]}));
        (told["requests"][0]["status"] == "complete").then_some(())
    });
    assert!(world.cluster.pod(&mine[1].name).is_none());
    let mut left = vec![mine[2].name.clone(), other[1].name.clone(), other[2].name.clone()];
    left.sort_unstable();
    assert_eq!(world.cluster.managed(), left);
    world.assert_no_pod_twice();
}

/// The context of the kubeconfig is switched to another cluster while the daemon runs, and back.
#[test]
fn a_context_switched_under_a_running_daemon_decides_nothing_until_it_is_switched_back() {
    let mut world = World::start();
    let file = world.dir().join("kubeconfig-that-is-switched");
    let here = fs::read(world.cluster.kubeconfig()).expect("the cluster wrote it");
    template::replace(&file, &here);
    world.daemon.spec().kubeconfig.clone_from(&file);
    world.crash();
    let machines = world.bring_up("small", 6);
    let dir = world.dir().join("other");
    fs::create_dir_all(&dir).expect("the test's directory can be written");
    let other = Cluster::start_gated(&dir, &ClusterOptions { seed: 77, ..ClusterOptions::default() });
    let other_file = fs::read(other.kubeconfig()).expect("the other cluster wrote it");
    template::replace(&file, &other_file);
    // The daemon looks at the file by itself; its old connections end when it has a new client.
    let told = world.wait_status_says(&["foreign_namespace", "check kubeconfig and context", "accept-namespace"]);
    assert!(told.contains(other.address()), "{told}");
    let ret = world.give_back(&names(&machines[..1]));
    let input = json!({"template": {"templateId": "small", "machineCount": 1}});
    let message = world.call(Verb::RequestMachines, &input).refused().to_owned();
    assert!(message.contains("namespace"), "{message}");
    holds_for("nothing is decided in another cluster", A_WHILE, || {
        world.status(&ret).status == "running" && world.reclaims(&names(&machines)).is_empty()
    });
    assert!(other.history().is_empty(), "a pod was made in a cluster where nobody asked for one");
    template::replace(&file, &here);
    assert_eq!(world.wait_end(&ret).status, "complete");
    assert_left_alone(&world, &machines[1..]);
    assert_returnable(&world, &machines[1..]);
    world.bring_up("small", 1);
}

/// The namespace is deleted and made again: said with what to do, nothing decided, and after the operator's word the
/// machines that went with it end like any that were lost.
#[test]
fn a_namespace_made_again_is_said_with_what_to_do_and_returns_work_after_the_operators_word() {
    let world = World::start();
    let machines = world.bring_up("small", 5);
    world.cluster.recreate_namespace();
    world.wait_status_says(&["foreign_namespace", "another uid", "accept-namespace"]);
    let made = world.cluster.history().len();
    let ret = world.give_back(&names(&machines[..1]));
    let input = json!({"template": {"templateId": "small", "machineCount": 1}});
    assert!(world.call(Verb::RequestMachines, &input).refused().contains("accept-namespace"));
    holds_for("nothing is wanted back", A_WHILE, || world.reclaims(&names(&machines)).is_empty());
    assert_eq!(world.cluster.history().len(), made, "something was made in a namespace that is not ours");
    world.hfctl(&["accept-namespace"]);
    assert_eq!(world.wait_end(&ret).status, "complete");
    eventually("what went with the namespace is told", SOON, || {
        (world.reclaims(&names(&machines[1..])).len() == 4).then_some(())
    });
    let back = world.give_back(&names(&machines[1..]));
    assert_eq!(world.wait_end(&back).status, "complete");
    world.bring_up("small", 1);
}

/// Orphans: adopted by the operator's command with all their machines, and by nothing else; a pod of another instance or
/// of nobody, though named like ours, is never touched, adopted or reported.
#[test]
fn orphans_are_reported_and_adopted_by_command_and_lookalikes_of_others_are_never_touched() {
    let world = World::start();
    let machine = world.bring_up("small", 1).remove(0);
    let pod = world.cluster.pod(&machine.name).expect("it is ready");
    let (labels, annotations) = (&pod["metadata"]["labels"], &pod["metadata"]["annotations"]);
    let mut own = labels.clone();
    own["symphony/hostfactory-reqid"] = json!("orphanaaaaaaaaaa");
    world.cluster.create_pod("orphanaaaaaaaaaa-00001", &own, annotations);
    let mut of_another = labels.clone();
    of_another["symphony/hostfactory-reqid"] = json!("otheraaaaaaaaaaa");
    for (key, value) in of_another.as_object_mut().expect("labels") {
        if value == "k8s-hf" {
            assert!(key.contains("provider") || key.contains("instance"), "{key} carries the instance's name");
            *value = json!("another-instance");
        }
    }
    assert_ne!(of_another, own, "no label carries the instance's name");
    world.cluster.create_pod("otheraaaaaaaaaaa-00000", &of_another, annotations);
    world.cluster.create_pod("nobodyaaaaaaaaaa-00000", &json!({"app": "web"}), &json!({}));

    world.wait_status_says(&["\"orphans\":1", "1 pods of this provider belong to no known request", "rebuild"]);
    assert_eq!(world.status("orphanaaaaaaaaaa").status, "running", "a machine of it lives");
    world.checker().rebuilt = true;
    rebuild(&world);
    world.wait_status_says(&["\"orphans\":0"]);
    let adopted = world.wait("orphanaaaaaaaaaa", "adopted", |status| !status.machines.is_empty());
    assert!(adopted.machines.iter().any(|machine| machine.name == "orphanaaaaaaaaaa-00001"), "{adopted:#?}");
    let told = world.statuses(&["otheraaaaaaaaaaa", "nobodyaaaaaaaaaa"]);
    assert!(told.iter().all(|status| status.machines.is_empty()), "{told:#?}");
    holds_for("others' pods stay", A_WHILE, || {
        let there = world.cluster.pod_names();
        ["otheraaaaaaaaaaa-00000", "nobodyaaaaaaaaaa-00000", "orphanaaaaaaaaaa-00001"]
            .iter()
            .all(|name| there.iter().any(|other| other == name))
    });
    // Returned by name, the orphan goes; a pod of nobody does not.
    let ret = world.give_back(&["orphanaaaaaaaaaa-00001", "nobodyaaaaaaaaaa-00000"]);
    let end = world.wait_end(&ret);
    assert_eq!((end.with("succeed").len(), end.with("fail").len()), (1, 1), "{end:#?}");
    assert!(world.cluster.pod("nobodyaaaaaaaaaa-00000").is_some());
    assert!(world.cluster.pod("orphanaaaaaaaaaa-00001").is_none());
}
