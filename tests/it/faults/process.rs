//! reliability.md, "Process": the daemon killed, stopped, frozen and started again while each verb is called; the journal
//! of the version before and of the version after. The kernel's out-of-memory killer sends the same SIGKILL as kill -9.

use std::{fs, thread, time::Duration};

use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::{Value, json};
use tests::{Input, Reply, Verb, World, eventually, holds_for, names, process};

use super::SOON;

/// A journal of version 1, as its hfd left it: a request for two machines of `compute-small`, ended well and asked for with
/// the key `golden-key`, and a return of the second machine, ended.
const VERSION_1: &str = include_str!("journal-1.sql");
/// The ids of that request and that return.
const GOLDEN: [&str; 2] = ["xmonc4wucbengebf", "smtlu6gqkvvwgdlt"];
/// SQLite's number for the schema version of the newest journal.
const VERSION: i64 = 1;

/// What is asked of a verb while the daemon suffers: all of it must end exactly right.
fn input_of(verb: Verb, known: &str, machine: &str) -> Value {
    match verb {
        Verb::GetAvailableTemplates => json!({}),
        Verb::RequestMachines => json!({"template": {"templateId": "small", "machineCount": 1}}),
        Verb::GetRequestStatus => json!({"requests": [{"requestId": known}]}),
        Verb::RequestReturnMachines => json!({"machines": [{"name": machine}]}),
        Verb::GetReturnRequests => json!({"machines": [{"name": machine}]}),
    }
}

/// Whether callers may find no socket: a daemon that stops in an orderly way, and that systemd did not start, removes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IsAway {
    Never,
    InAnOrderlyWay,
}

/// Calls each verb several times, all at once, while `suffer` is done to the daemon; then looks at what is left.
#[track_caller]
fn each_verb_while(is_away: IsAway, suffer: impl Fn(&mut tests::Daemon)) {
    let mut world = World::start();
    let known = world.request("small", 6);
    let end = world.wait_end(&known);
    let returned: Vec<String> = end.machines.iter().take(3).map(|machine| machine.name.clone()).collect();
    let calls: Vec<(Verb, Value)> =
        (0..3).flat_map(|round| Verb::ALL.map(|verb| (verb, input_of(verb, &known, &returned[round])))).collect();
    let (scripts, daemon) = (&world.scripts, &mut world.daemon);
    let replies: Vec<Reply> = thread::scope(|scope| {
        let callers: Vec<_> = (0_u64..)
            .zip(&calls)
            .map(|(number, (verb, input))| {
                scope.spawn(move || {
                    // Not synchronisation: the calls are meant to be spread over what the daemon suffers.
                    thread::sleep(Duration::from_millis(number * 15));
                    scripts.call(*verb, Input::File(input.to_string().as_bytes()))
                })
            })
            .collect();
        (0..3).for_each(|_| suffer(daemon));
        callers.into_iter().map(|caller| caller.join().expect("no caller panics")).collect()
    });
    world.wait_synced();
    world.checker().rebuilt = true;
    let (mut requests, mut returns) = (0, 0);
    for (reply, (verb, _)) in replies.iter().zip(&calls) {
        if reply.code == 1 && is_away == IsAway::InAnOrderlyWay {
            assert!(reply.message().contains("hfd is not running"), "{}", reply.stdout);
            continue;
        }
        let id = || reply.json["requestId"].as_str().unwrap_or_else(|| panic!("no id in {}", reply.stdout)).to_owned();
        match verb {
            // The daemon came back within the call's time: each is answered.
            Verb::GetRequestStatus => assert_eq!(reply.ok()["requests"][0]["status"], "complete"),
            Verb::GetAvailableTemplates => assert_eq!(reply.ok()["templates"].as_array().map(Vec::len), Some(1)),
            Verb::RequestMachines => {
                reply.ok();
                requests += 1;
                assert_eq!(world.wait_end(&id()).status, "complete");
            }
            Verb::RequestReturnMachines => {
                reply.ok();
                returns += 1;
                assert_eq!(world.wait_end(&id()).with("succeed").len(), 1);
            }
            Verb::GetReturnRequests => assert_eq!(reply.ok()["requests"], json!([]), "one that lives or is returned"),
        }
    }
    // The first request, and what was acknowledged; without an orderly stop that is all that was asked.
    let all = is_away == IsAway::InAnOrderlyWay || (requests, returns) == (3, 3);
    assert!(all, "{requests} requests and {returns} returns");
    assert_eq!(world.known_requests(), 1 + requests + returns);
    assert_eq!(world.status(&known), end);
    let left = usize::try_from(6 + requests - returns).expect("a handful");
    eventually("the pods are exactly those", SOON, || (world.cluster.managed().len() == left).then_some(()));
    assert_eq!(world.reclaims(&names(&end.machines[3..])), []);
    world.assert_no_pod_twice();
}

#[test]
fn each_verb_is_answered_and_doubles_nothing_while_the_daemon_is_killed_again_and_again() {
    each_verb_while(IsAway::Never, tests::Daemon::crash_and_restart);
}

#[test]
fn each_verb_is_answered_and_doubles_nothing_while_the_daemon_is_stopped_again_and_again() {
    each_verb_while(IsAway::InAnOrderlyWay, |daemon| {
        assert!(daemon.terminate().success());
        daemon.start_again();
    });
}

#[test]
fn each_verb_is_answered_and_doubles_nothing_while_the_daemon_is_frozen_again_and_again() {
    each_verb_while(IsAway::Never, |daemon| {
        daemon.process().signal(Signal::STOP);
        // Not synchronisation: how long it is frozen.
        thread::sleep(Duration::from_millis(80));
        daemon.process().signal(Signal::CONT);
    });
}

/// Killed as soon as its process is there, whatever it was doing then: opening, replaying, binding its socket.
#[test]
fn starts_that_are_killed_at_any_moment_leave_a_whole_journal() {
    let mut world = World::start();
    let id = world.request("small", 5);
    let end = world.wait_end(&id);
    world.daemon.kill9();
    let log = world.dir().join("killed-starts.log");
    for pause in [0, 3, 8, 15, 25, 40, 60] {
        let mut starting = process::Process::start("hfd", world.daemon.spec().command(), &log);
        // Not synchronisation: the kill is meant to strike anywhere.
        thread::sleep(Duration::from_millis(pause));
        starting.kill9();
    }
    world.daemon.start_again();
    world.wait_synced();
    assert_eq!(world.status(&id), end);
    assert_eq!(world.reclaims(&names(&end.machines)), []);
    world.bring_up("small", 1);
    world.assert_no_pod_twice();
}

/// The journal, opened as no hfd has it open.
fn journal(world: &World) -> Connection {
    Connection::open(journal_file(world)).expect("the journal is an SQLite file")
}

fn journal_file(world: &World) -> std::path::PathBuf {
    let state = world.dir().join("state");
    let mut files =
        fs::read_dir(state).expect("the state directory is there").map(|entry| entry.expect("readable").path());
    files
        .find(|path| fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"SQLite format 3")))
        .expect("the journal is in the state directory")
}

/// Back by one version: what the newer hfd has added stays, and nothing is lost.
#[test]
fn a_journal_of_the_next_version_that_this_one_can_use_is_used_and_loses_nothing() {
    let mut world = World::start();
    let id = world.request("small", 2);
    let end = world.wait_end(&id);
    world.daemon.terminate();
    let newer = format!(
        "ALTER TABLE requests ADD COLUMN of_the_next_version TEXT NOT NULL DEFAULT 'new';
         CREATE TABLE of_the_next_version (x INTEGER) STRICT; INSERT INTO of_the_next_version VALUES (7);
         PRAGMA user_version = {};",
        VERSION + 1
    );
    journal(&world).execute_batch(&newer).expect("the journal can be changed");
    world.daemon.start_again();
    world.wait_synced();
    assert_eq!(world.status(&id), end);
    let more = world.bring_up("small", 2);
    world.crash();
    assert_eq!(world.reclaims(&names(&more)), []);
    world.daemon.terminate();
    let read = |what: &str| journal(&world).query_row(what, [], |row| row.get::<_, i64>(0)).expect("a number");
    assert_eq!(read("PRAGMA user_version"), VERSION + 1, "the newer hfd would take it for an older journal");
    assert_eq!(read("SELECT x FROM of_the_next_version"), 7);
    assert_eq!(read("SELECT count(*) FROM requests WHERE of_the_next_version = 'new'"), 2);
}

/// A version that this hfd can't use is refused with what to do, and the file is left byte for byte as it was.
#[test]
fn a_journal_of_a_version_too_new_is_refused_with_instructions_and_left_untouched() {
    let mut world = World::start();
    let machines = world.bring_up("small", 2);
    world.daemon.terminate();
    let newer = format!("UPDATE meta SET oldest_reader = {0}; PRAGMA user_version = {0};", VERSION + 1);
    let connection = journal(&world);
    connection.execute_batch(&newer).expect("the journal can be changed");
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("the log is emptied");
    connection.close().expect("nobody else has it open");
    let before = fs::read(journal_file(&world)).expect("readable");
    let log = world.dir().join("refused.log");
    let mut refused = process::Process::start("hfd", world.daemon.spec().command(), &log);
    assert_eq!(refused.ended(SOON).code(), Some(78), "{}", refused.log());
    let said = refused.log();
    assert!(said.contains("start the newer hfd again") && said.contains("schema 2"), "{said}");
    assert_eq!(fs::read(journal_file(&world)).expect("readable"), before, "a refused journal was written to");
    assert_eq!(world.cluster.managed().len(), machines.len());

    let older = format!("UPDATE meta SET oldest_reader = {VERSION}; PRAGMA user_version = {VERSION};");
    journal(&world).execute_batch(&older).expect("the journal can be changed");
    world.daemon.start_again();
    world.wait_synced();
    assert_eq!(world.reclaims(&names(&machines)), []);
}

/// Forward: a journal as version 1 left it is taken over with all it says. When there is a version 2, this is its proof.
#[test]
fn a_journal_of_version_1_is_taken_over_with_nothing_lost() {
    let mut world = World::build().template(tests::Template::new("compute-small")).start();
    world.daemon.terminate();
    let file = journal_file(&world);
    for entry in fs::read_dir(world.dir().join("state")).expect("the state directory is there") {
        let path = entry.expect("readable").path();
        if path.to_string_lossy().starts_with(&*file.to_string_lossy()) {
            fs::remove_file(path).expect("the state is ours");
        }
    }
    Connection::open(&file).expect("it can be made").execute_batch(VERSION_1).expect("the golden journal is SQL");
    world.checker().rebuilt = true;
    world.daemon.start_again();
    world.wait_synced();

    let request = world.status(GOLDEN[0]);
    let told: Vec<(&str, &str)> =
        request.machines.iter().map(|machine| (machine.name.as_str(), machine.result.as_str())).collect();
    let names = [format!("{}-00000", GOLDEN[0]), format!("{}-00001", GOLDEN[0])];
    let expected = [(names[0].as_str(), "succeed"), (names[1].as_str(), "succeed")];
    assert_eq!((request.status.as_str(), told.as_slice()), ("complete", &expected[..]), "{request:#?}");
    assert_eq!(world.status(GOLDEN[1]).status, "complete");
    let two = json!({"template": {"templateId": "compute-small", "machineCount": 2}});
    let again = world.call_with(Verb::RequestMachines, &["--request-id", "golden-key"], &two);
    assert_eq!(again.ok()["requestId"], GOLDEN[0], "its key is forgotten");
    let other = json!({"template": {"templateId": "compute-small", "machineCount": 3}});
    world.call_with(Verb::RequestMachines, &["--request-id", "golden-key"], &other).refused();
    holds_for("nothing is made anew", Duration::from_millis(500), || world.cluster.history().is_empty());
    eventually("the machine whose pod is gone is wanted back, and no other", SOON, || {
        (world.all_reclaims() == [(names[0].clone(), 0)]).then_some(())
    });
}
