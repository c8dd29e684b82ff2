//! `lifecycle.md` 12, "Manifests".

use serde_json::json;
use tests::{Template, Verb, World};

/// lifecycle.md 12: name, namespace, hostname, our labels and annotations are always ours; what would outlive or rename
/// a pod is removed; each with a warning.
#[test]
fn what_a_template_must_not_set_is_overridden_or_removed_with_a_warning() {
    let world = World::build()
        .template(
            Template::new("greedy")
                .pod("/metadata/name", json!("mine"))
                .pod("/metadata/generateName", json!("mine-"))
                .pod("/metadata/namespace", json!("kube-system"))
                .pod("/metadata/finalizers", json!(["example.com/hold"]))
                .pod(
                    "/metadata/ownerReferences",
                    json!([{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "00000000-0000-4000-8000-000000000000"}]),
                )
                .pod(
                    "/metadata/labels",
                    json!({"app": "worker", "app.kubernetes.io/managed-by": "me", "symphony/hostfactory-reqid": "x"}),
                )
                .pod("/spec/hostname", json!("mine"))
                .annotate("team.example/owner", "grid"),
        )
        .start();
    let machine = world.bring_up("greedy", 1).remove(0);
    let pod = world.cluster.pod(&machine.name).expect("it is ready");
    let metadata = &pod["metadata"];
    assert_eq!(metadata["namespace"], world.cluster.namespace());
    assert_eq!(pod["spec"]["hostname"], machine.name.as_str());
    assert_eq!(metadata["labels"]["app.kubernetes.io/managed-by"], "hfd");
    assert_eq!(metadata["labels"]["symphony/hostfactory-provider"], "k8s-hf");
    let request = machine.name.rsplit_once('-').expect("a name has an ordinal").0;
    assert_eq!(metadata["labels"]["symphony/hostfactory-reqid"], request);
    assert_eq!(metadata["labels"]["app"], "worker", "the template's own labels stay");
    assert_eq!(metadata["annotations"]["team.example/owner"], "grid", "and its annotations");
    for removed in ["generateName", "finalizers", "ownerReferences"] {
        assert!(metadata.get(removed).is_none(), "{removed} stays: {metadata}");
    }
    let said = world.hfctl_json(&["get", "templates"]).to_string() + &world.wait_status_says(&["greedy"]);
    for named in ["generateName", "finalizers", "ownerReferences", "hostname"] {
        assert!(said.contains(named), "no warning names {named}: {said}");
    }
    let ret = world.give_back(&[&machine.name]);
    assert_eq!(world.wait_end(&ret).status, "complete");
}

/// lifecycle.md 12: hostNetwork and setHostnameAsFQDN break the match of machine and host name: unusable by default.
#[test]
fn templates_whose_pods_have_another_host_name_are_unusable_unless_allowed() {
    let network = Template::new("network").pod("/spec/hostNetwork", json!(true));
    let fqdn = Template::new("fqdn").pod("/spec/setHostnameAsFQDN", json!(true));
    let mut world = World::build().template(Template::new("small")).template(network).template(fqdn).start();
    assert_eq!(world.templates().len(), 1);
    for id in ["network", "fqdn"] {
        world.call(Verb::RequestMachines, &json!({"template": {"templateId": id, "machineCount": 1}})).refused();
    }
    world.wait_status_says(&["hostNetwork", "setHostnameAsFQDN"]);
    world.daemon.spec().set_literal("templates.allow_host_network", "true");
    world.crash();
    assert!(world.templates().len() > 1);
    world.bring_up("network", 1);
}

/// lifecycle.md 12 and peers.md 16: the template's grace period is honoured, the pod's own on deletion.
#[test]
fn the_templates_grace_period_is_left_to_the_pod() {
    let world = World::build()
        .template(
            Template::new("patient")
                .pod("/spec/terminationGracePeriodSeconds", json!(77))
                .annotate("sandbox.hfd/stop-delay", "3s"),
        )
        .start();
    let machine = world.bring_up("patient", 1).remove(0);
    let ret = world.give_back(&[&machine.name]);
    let pod = tests::eventually("it is terminating", std::time::Duration::from_secs(20), || {
        world.cluster.pod(&machine.name).filter(|pod| pod["metadata"]["deletionTimestamp"].is_string())
    });
    assert_eq!(pod["metadata"]["deletionGracePeriodSeconds"], 77);
    assert_eq!(world.wait_end(&ret).status, "complete");
}

/// architecture.md, Pods: restartPolicy as the template says; template id, count, ordinal, acceptance time and journal
/// id stand in annotations.
#[test]
fn a_pod_carries_all_that_a_rebuild_needs() {
    let world = World::build().template(Template::new("never").pod("/spec/restartPolicy", json!("Never"))).start();
    let machine = world.bring_up("never", 2).remove(1);
    let pod = world.cluster.pod(&machine.name).expect("it is ready");
    assert_eq!(pod["spec"]["restartPolicy"], "Never");
    let annotations = pod["metadata"]["annotations"].as_object().expect("annotations");
    let journal = world.daemon.status().expect("it serves")["journal"]["id"].clone();
    assert!(annotations.values().any(|value| *value == journal), "{annotations:?}");
    for expected in ["never", "2"] {
        assert!(annotations.values().any(|value| value == expected), "{expected}: {annotations:?}");
    }
}
