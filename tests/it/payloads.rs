//! Real HostFactory traffic through the real scripts: the captured inputs as they are, the captured outputs as the shape
//! that ours must have.

use std::{collections::BTreeSet, fs};

use serde_json::Value;
use tests::{Input, Template, Verb, World};

fn payload(name: &str) -> Vec<u8> {
    let file = tests::bins::source_root().join("tests/payloads").join(name);
    fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn document(name: &str) -> Value {
    serde_json::from_slice(&payload(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn world() -> World {
    World::build().template(Template::new("Spot-Template-VM").max(10)).start()
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().map(|map| map.keys().cloned().collect()).unwrap_or_default()
}

/// payloads/get-available-templates.output.json: a template file with the same content tells the same.
#[test]
fn the_captured_templates_are_told_as_they_were_captured() {
    let captured = document("get-available-templates.output.json");
    let mut template = Template::new("Spot-Template-VM");
    for (key, value) in captured["templates"][0].as_object().expect("a template") {
        if key != "templateId" && !value.is_null() {
            template = template.field(key, value.clone());
        }
    }
    let world = World::build().template(template).start();
    let told = world.templates().remove(0);
    for (key, value) in captured["templates"][0].as_object().expect("a template") {
        assert!(value.is_null() || told[key] == *value, "{key}: {} instead of {value}", told[key]);
    }
}

/// payloads/request-machines.*: the captured request is accepted and answered in the captured shape.
#[test]
fn the_captured_request_for_machines_comes_up() {
    let world = world();
    let input: Value = document("request-machines.input.json");
    let reply = world.call(Verb::RequestMachines, &input);
    assert_eq!(keys(reply.ok()), keys(&document("request-machines.output.json")));
    let raw = world.scripts.call(Verb::RequestMachines, Input::File(&payload("request-machines.input.json")));
    raw.ok();
    let id = reply.json["requestId"].as_str().expect("read strictly before");
    let end = world.wait_end(id);
    assert_eq!((end.status.as_str(), end.machines.len()), ("complete", 10));
}

/// payloads/request-return-machines.input.json and get-request-status.*: a return of hosts that never were ours is
/// answered, and its status has the captured fields.
#[test]
fn the_captured_return_and_its_status_are_answered_in_the_captured_shape() {
    let world = world();
    let input = document("request-return-machines.input.json");
    let ret = world.give_back_as(&input);
    let end = world.wait_end(&ret);
    assert_eq!((end.status.as_str(), end.machines.len()), ("complete", 2));
    let captured = document("get-request-status.return.output.json");
    let mut asked = document("get-request-status.input.json");
    asked["requests"][0]["requestId"] = Value::from(ret);
    let reply = world.call(Verb::GetRequestStatus, &asked);
    let (ours, theirs) = (&reply.ok()["requests"][0], &captured["requests"][0]);
    assert!(keys(theirs).is_subset(&keys(ours)), "{ours}");
    for required in ["machineId", "name", "result", "status", "privateIpAddress", "launchtime", "message"] {
        let kind = |value: &Value| value[required].is_string();
        assert_eq!(kind(&ours["machines"][0]), kind(&theirs["machines"][0]), "{required}");
    }
    assert_eq!(ours["machines"][0]["status"], theirs["machines"][0]["status"]);
}

/// payloads/get-request-status.input.json: as it is, an id that we never gave.
#[test]
fn the_captured_status_question_about_another_plug_ins_return_is_answered() {
    let world = world();
    let input = document("get-request-status.input.json");
    let reply = world.call(Verb::GetRequestStatus, &input);
    assert_eq!(reply.ok()["requests"][0]["status"], "complete_with_error");
    let raw = world.scripts.call(Verb::GetRequestStatus, Input::File(&payload("get-request-status.input.json")));
    assert_eq!(raw.ok(), reply.ok());
}

/// payloads/get-return-requests.*: the shape is the captured one, the answer is about the input: nothing of ours.
#[test]
fn the_captured_reclaim_question_is_answered_about_its_input() {
    let world = world();
    let reply = world.call(Verb::GetReturnRequests, &document("get-return-requests.input.json"));
    assert!(keys(&document("get-return-requests.output.json")).is_subset(&keys(reply.ok())));
    assert_eq!(reply.ok()["requests"], serde_json::json!([]));
}
