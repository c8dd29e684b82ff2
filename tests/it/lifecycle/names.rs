//! `lifecycle.md` 1, "Names". Widths, alphabets and ordinals of every name told are checked by the strict reader.

use std::collections::BTreeSet;

use tests::{Template, World};

/// lifecycle.md 1: ids and names are unique, of one width, and none is part of another (HostFactory searches substrings).
#[test]
fn no_name_is_part_of_another() {
    let world = World::start();
    let mut all = BTreeSet::new();
    for count in [1, 12, 3] {
        for machine in world.bring_up("small", count) {
            assert!(all.insert(machine.name));
        }
    }
    for name in &all {
        assert!(name.len() <= 63);
        assert!(all.iter().filter(|other| other.contains(name.as_str())).count() == 1, "{name}");
    }
}

/// lifecycle.md 1: the template id stands in an annotation; the label carries it only if it is a valid label value.
#[test]
fn a_template_id_that_is_no_label_value_is_labelled_by_a_hash() {
    let long = format!("_{}_", "t".repeat(62));
    let world = World::build().template(Template::new("plain")).template(Template::new(&long)).start();
    for id in ["plain", &long] {
        let machine = world.bring_up(id, 1).remove(0);
        let pod = world.cluster.pod(&machine.name).expect("it is ready");
        let label = pod["metadata"]["labels"]["symphony/hostfactory-template"].as_str().expect("a label").to_owned();
        assert_eq!(label == id, id == "plain", "{label}");
        let annotations = pod["metadata"]["annotations"].as_object().expect("annotations");
        assert!(annotations.values().any(|value| value == id), "{annotations:?}");
    }
}

/// lifecycle.md 1: the instance name is checked as a label value at start.
#[test]
fn an_instance_name_that_is_no_label_value_is_refused_at_start() {
    let mut world = World::start();
    world.daemon.terminate();
    world.daemon.spec().instance = "not a label".to_owned();
    let log = world.dir().join("refused.log");
    let mut refused = tests::process::Process::start("hfd", world.daemon.spec().command(), &log);
    let status = refused.ended(std::time::Duration::from_secs(20));
    assert!(!status.success());
    assert!(refused.log().contains("not a label"), "{}", refused.log());
}

/// lifecycle.md 1: hfctl makes a fresh key per invocation.
#[test]
fn two_equal_calls_are_two_requests() {
    let world = World::start();
    let (first, second) = (world.request("small", 1), world.request("small", 1));
    assert_ne!(first, second);
    world.wait_end(&first);
    world.wait_end(&second);
    assert_eq!(world.cluster.managed().len(), 2);
}
