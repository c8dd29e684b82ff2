//! The committed documents: schemas and OpenRPC follow from the types, and every example fits them.
//!
//! `UPDATE_GOLDEN=1 cargo test -p proto-schema` rewrites the generated ones after a change of a type.

use std::{collections::BTreeSet, fs, path::PathBuf};

use proto_schema::{
    Call, CallVisitor,
    hostfactory::{
        Accepted, AvailableTemplates, GetRequestStatus, RequestMachinesInput, RequestStatuses, ReturnInput,
        ReturnRequests, ReturnRequestsInput, StatusInput, TemplatesInput,
    },
    input::{InputDocument, parse_input},
    schema, visit_calls,
};
use serde::{Serialize, de::DeserializeOwned};

fn path(relative: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(relative)
}

fn golden(name: &str) -> String {
    fs::read_to_string(path("golden").join(name)).unwrap_or_else(|error| panic!("golden/{name}: {error}"))
}

fn generated(relative: &str, value: &impl Serialize) {
    let mut text = serde_json::to_string_pretty(value).expect("generated documents are plain data");
    text.push('\n');
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        fs::write(path(relative), text).expect("the source tree is writable when asked to update");
        return;
    }
    let committed = fs::read_to_string(path(relative)).unwrap_or_default();
    assert!(committed == text, "{relative} no longer follows from the types; run with UPDATE_GOLDEN=1 and review");
}

fn reads<T: InputDocument>(name: &str) -> T {
    parse_input(&golden(name)).unwrap_or_else(|error| panic!("golden/{name}: {error}"))
}

fn reads_and_writes_alike<T: Serialize + DeserializeOwned>(name: &str) {
    let text = golden(name);
    let value: T = serde_json::from_str(&text).unwrap_or_else(|error| panic!("golden/{name}: {error}"));
    assert_eq!(serde_json::to_string(&value).expect("a reply is plain data"), text.trim_end(), "golden/{name}");
}

#[test]
fn the_committed_schemas_follow_from_the_types() {
    let schemas = schema::schemas();
    for (name, schema) in &schemas {
        generated(&format!("schemas/{name}.json"), schema);
    }
    let files: BTreeSet<String> = fs::read_dir(path("schemas"))
        .expect("schemas/ is part of the tree")
        .map(|entry| entry.expect("readable").file_name().to_string_lossy().replace(".json", ""))
        .collect();
    assert_eq!(files, schemas.into_keys().collect(), "schemas/ holds one file for each params and reply, and no other");
}

#[test]
fn the_committed_openrpc_document_follows_from_the_types() {
    generated("openrpc.json", &schema::openrpc());
}

#[test]
fn every_reference_of_the_openrpc_document_leads_somewhere() {
    fn references(value: &serde_json::Value, found: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(map) => {
                if let Some(serde_json::Value::String(target)) = map.get("$ref") {
                    found.push(target.clone());
                }
                map.values().for_each(|inner| references(inner, found));
            }
            serde_json::Value::Array(items) => items.iter().for_each(|inner| references(inner, found)),
            _ => {}
        }
    }
    let document = schema::openrpc();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    for target in found {
        let pointer = target.strip_prefix('#').unwrap_or_else(|| panic!("{target} leaves the document"));
        assert!(document.pointer(pointer).is_some(), "{target} leads nowhere");
    }
}

#[test]
fn every_method_has_one_name_and_a_summary() {
    #[derive(Default)]
    struct Names(Vec<&'static str>);
    impl CallVisitor for Names {
        fn visit<C: Call>(&mut self) {
            self.0.push(C::METHOD);
        }
    }
    let mut names = Names::default();
    visit_calls(&mut names);
    assert_eq!(names.0.iter().collect::<BTreeSet<_>>().len(), names.0.len());
    assert!(names.0.contains(&GetRequestStatus::METHOD));
    for method in schema::openrpc()["methods"].as_array().expect("a list") {
        assert!(
            method["summary"].as_str().is_some_and(|summary| summary.len() > 10),
            "{} is undocumented",
            method["name"]
        );
    }
}

#[test]
fn every_example_of_ours_is_read_and_replies_are_written_alike() {
    reads::<TemplatesInput>("getAvailableTemplates.input.json");
    assert_eq!(reads::<RequestMachinesInput>("requestMachines.input.json").template.machine_count, 2);
    assert_eq!(reads::<StatusInput>("getRequestStatus.input.json").requests.len(), 2);
    assert!(reads::<ReturnInput>("requestReturnMachines.input.json").machines[0].machine_id.is_some());
    assert!(reads::<ReturnRequestsInput>("getReturnRequests.input.json").machines.is_some());
    reads_and_writes_alike::<AvailableTemplates>("getAvailableTemplates.output.json");
    reads_and_writes_alike::<Accepted>("requestMachines.output.json");
    reads_and_writes_alike::<RequestStatuses>("getRequestStatus.output.json");
    reads_and_writes_alike::<Accepted>("requestReturnMachines.output.json");
    reads_and_writes_alike::<RequestStatuses>("getRequestStatus.return.output.json");
    reads_and_writes_alike::<ReturnRequests>("getReturnRequests.output.json");
    reads_and_writes_alike::<ReturnRequests>("getReturnRequests.nothing.output.json");
}

#[test]
fn captured_inputs_of_hostfactory_are_read() {
    let demand = reads::<RequestMachinesInput>("captured/request-machines.input.json").template;
    assert_eq!((demand.template_id.as_str(), demand.machine_count), ("Spot-Template-VM", 10));
    assert_eq!(
        reads::<StatusInput>("captured/get-request-status.input.json").requests[0].request_id,
        "ret-84ffbee9-8c84-4afe-8e8e-ac052a7ff8d3"
    );
    assert_eq!(reads::<ReturnInput>("captured/request-return-machines.input.json").machines.len(), 2);
    let believed = reads::<ReturnRequestsInput>("captured/get-return-requests.input.json").machines;
    assert_eq!(believed.map(|machines| machines.len()), Some(1));
}

#[test]
fn captured_outputs_of_another_provider_have_our_shape() {
    fn accepts<T: DeserializeOwned>(name: &str) -> T {
        serde_json::from_str(&golden(name)).unwrap_or_else(|error| panic!("golden/{name}: {error}"))
    }
    let templates: AvailableTemplates = accepts("captured/get-available-templates.output.json");
    assert_eq!(templates.templates[0]["maxNumber"], 10);
    let accepted: Accepted = accepts("captured/request-machines.output.json");
    assert_eq!(accepted.request_id, "r-010d8f03b13097efd");
    let returns: ReturnRequests = accepts("captured/get-return-requests.output.json");
    assert_eq!(returns.requests[0].grace_period, 0);
    // That provider leaves out publicIpAddress; everything ours always emits is otherwise there.
    let statuses: serde_json::Value = accepts("captured/get-request-status.return.output.json");
    let machine = statuses["requests"][0]["machines"][0].as_object().expect("a machine");
    for field in ["machineId", "name", "result", "status", "privateIpAddress", "launchtime", "message"] {
        assert!(machine.contains_key(field), "{field}");
    }
}
