//! `interface.md`, "getAvailableTemplates": what is answered.

use serde_json::{Value, json};
use tests::{Template, Verb, World};

/// interface.md, getAvailableTemplates: required fields and attributes, the missing ones of ncores and ncpus as 1.
#[test]
fn a_template_is_told_with_all_that_hostfactory_requires() {
    let world = World::build()
        .template(Template::new("full").max(7))
        .template(
            Template::new("bare")
                .field("attributes", json!({"type": ["String", "X86_64"], "nram": ["Numeric", "2048"]})),
        )
        .start();
    let templates = world.templates();
    assert_eq!(templates[0]["templateId"], "full");
    assert_eq!(templates[0]["maxNumber"], 7);
    let bare = &templates[1]["attributes"];
    assert_eq!(bare["type"], json!(["String", "X86_64"]));
    assert_eq!(bare["ncpus"], json!(["Numeric", "1"]));
    assert_eq!(bare["ncores"], json!(["Numeric", "1"]));
    assert_eq!(bare["nram"], json!(["Numeric", "2048"]));
}

/// interface.md, getAvailableTemplates: the three spellings found in template files, read all, emitted as the first.
#[test]
fn attributes_in_all_three_spellings_are_told_as_type_and_text() {
    let attributes = json!({
        "type": "X86_64",
        "ncpus": ["Numeric", "4"],
        "ncores": ["2"],
        "nram": 8192,
        "zone": "east",
        "rack": ["r7"],
        "price": 0.5,
        "spot": ["Boolean", "1"],
    });
    let world = World::build().template(Template::new("spelled").field("attributes", attributes)).start();
    let told = world.templates().remove(0)["attributes"].clone();
    assert_eq!(told["type"], json!(["String", "X86_64"]));
    assert_eq!(told["ncpus"], json!(["Numeric", "4"]));
    assert_eq!(told["ncores"], json!(["Numeric", "2"]));
    assert_eq!(told["nram"], json!(["Numeric", "8192"]));
    assert_eq!(told["zone"], json!(["String", "east"]));
    assert_eq!(told["rack"], json!(["String", "r7"]));
    assert_eq!(told["price"], json!(["Numeric", "0.5"]));
    assert_eq!(told["spot"], json!(["Boolean", "1"]));
}

/// interface.md, getAvailableTemplates: other fields pass through, the pod specification does not; rank and priceInfo.
#[test]
fn other_fields_pass_through_but_the_pod_specification_does_not() {
    let world = World::build()
        .template(
            Template::new("rich")
                .field("instanceTags", json!("team=xyz"))
                .field("vmTypes", json!({"m3.medium": 1}))
                .field("pgrpName", Value::Null)
                .field("onDemandCapacity", json!(0))
                .field("priceInfo", json!("price:0.1")),
        )
        .start();
    let told = world.templates().remove(0);
    assert_eq!(told["instanceTags"], "team=xyz");
    assert_eq!(told["vmTypes"], json!({"m3.medium": 1}));
    assert_eq!(told["onDemandCapacity"], 0);
    assert_eq!(told["priceInfo"], "price:0.1");
    assert!(told.get("podSpec").is_none() && told.get("podSpecYaml").is_none(), "{told}");
}

/// interface.md, getAvailableTemplates: an input with templates is ignored; the file's order is kept.
#[test]
fn the_input_is_ignored_and_the_files_order_kept() {
    let ids = ["zeta", "alpha", "mid", "beta"];
    let mut build = World::build();
    for id in ids {
        build = build.template(Template::new(id));
    }
    let world = build.start();
    for input in [json!({}), json!({"templates": []}), json!({"templates": [{"templateId": "alpha"}]})] {
        let reply = world.call(Verb::GetAvailableTemplates, &input);
        let told: Vec<&str> = reply.ok()["templates"]
            .as_array()
            .expect("read strictly before")
            .iter()
            .filter_map(|template| template["templateId"].as_str())
            .collect();
        assert_eq!(told, ids, "{input}");
    }
}

/// interface.md, getAvailableTemplates: an empty list, or only maxNumber 0, would make HostFactory drop us: fail.
#[test]
fn without_a_usable_template_the_call_fails() {
    let world = World::build().template(Template::new("none").max(0)).start();
    world.call(Verb::GetAvailableTemplates, &json!({})).refused();
    let reply = world.call(Verb::RequestMachines, &json!({"template": {"templateId": "none", "machineCount": 1}}));
    assert!(
        reply.code == 1 || world.wait_end(reply.ok()["requestId"].as_str().unwrap_or_default()).status != "complete"
    );
    assert!(world.cluster.managed().is_empty());
}

/// interface.md, table: templateId is 1..64 of `[0-9A-Za-z_-]`; an entry that breaks it is reported, the others work.
#[test]
fn a_template_with_an_illegal_id_is_reported_and_the_others_work() {
    let world = World::build()
        .template(Template::new("good_1-A"))
        .template(Template::new("has space"))
        .template(Template::new(""))
        .template(Template::new(&"x".repeat(65)))
        .template(Template::new(&"y".repeat(64)))
        .start();
    let told: Vec<Value> = world.templates().iter().map(|template| template["templateId"].clone()).collect();
    assert_eq!(told, [json!("good_1-A"), json!("y".repeat(64))]);
    world.wait_status_says(&["has space"]);
    world.bring_up(&"y".repeat(64), 1);
}

/// interface.md, table: availableNumber is not emitted by default, whatever is in use.
#[test]
fn what_is_in_use_does_not_change_the_templates_told() {
    let world = World::build().template(Template::new("small").max(3)).start();
    let before = world.templates();
    world.bring_up("small", 3);
    assert_eq!(world.templates(), before);
}
