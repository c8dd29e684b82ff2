//! The first debugging queries for people and programs (`operators.md`, "Exit codes").

use serde_json::Value;
use tests::{World, daemon::hfctl_on};

/// hfctl: `status`, `get`, `describe`, as a table and as JSON.
#[test]
fn the_debugging_queries_show_tables_to_people_and_json_to_programs() {
    let world = World::start();
    let id = world.request("small", 2);
    let machines = world.wait_end(&id).machines;
    let ret = world.give_back(&[machines[0].name.as_str()]);
    world.wait_end(&ret);
    let shown = [
        (&["status"][..], "synced"),
        (&["get", "requests"][..], id.as_str()),
        (&["get", "machines"][..], machines[1].name.as_str()),
        (&["get", "templates"][..], "small"),
        (&["describe", "request", &id][..], machines[1].name.as_str()),
        (&["describe", "machine", &machines[1].name][..], machines[1].ip.as_str()),
        (&["describe", "request", &ret][..], machines[0].name.as_str()),
    ];
    for (arguments, expected) in shown {
        let table = world.hfctl(arguments);
        assert!(serde_json::from_str::<Value>(&table).is_err(), "{arguments:?} shows people JSON: {table}");
        let json = world.hfctl_json(arguments).to_string();
        assert!(json.contains(expected), "{arguments:?} -o json lacks {expected}: {json}");
        if expected != "synced" {
            assert!(table.contains(expected), "{arguments:?} lacks {expected}: {table}");
        }
        assert!(!table.contains('\u{1b}'), "{arguments:?} colours a pipe");
    }
}

/// operators.md, Exit codes: 2 usage, 3 daemon not running, 4 no such object; HostFactory's verbs only 0 and 1.
#[test]
fn exit_codes_tell_usage_absence_and_a_missing_daemon_apart() {
    let world = World::start();
    assert_eq!(world.daemon.hfctl(&["describe", "request", "aaaaaaaaaaaaaaaa"], b"").code, 4);
    assert_eq!(world.daemon.hfctl(&["describe", "machine", "nobody"], b"").code, 4);
    assert_eq!(world.daemon.hfctl(&["no-such-command"], b"").code, 2);
    assert_eq!(world.daemon.hfctl(&["get", "requests", "--no-such-flag"], b"").code, 2);
    let nowhere = hfctl_on(&world.dir().join("nobody.sock"), &["status"], b"");
    assert_eq!(nowhere.code, 3, "{}", nowhere.error_text());
}

/// style.md 8: a broken pipe is success, not a panic.
#[test]
fn a_reader_that_goes_away_is_no_failure() {
    use std::process::Command;
    let world = World::start();
    let script = "\"$0\" --socket \"$1\" get templates | true; exit 0";
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(tests::bins::hfctl()).arg(world.daemon.socket());
    let finished = tests::process::run(command, b"", std::time::Duration::from_secs(20));
    assert!(!finished.error_text().contains("panicked"), "{}", finished.error_text());
}
