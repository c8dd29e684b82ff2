//! The namespace itself goes: deleted under running machines, being terminated, made again under the same name.

use std::time::Duration;

use serde_json::json;
use tests::{eventually, holds_for};

use crate::{
    hostfactory::slices,
    site::{PATIENCE, Plan, enduring, must},
    testbed,
};

#[test]
fn a_namespace_that_is_deleted_and_made_again_is_refused_until_it_is_accepted() {
    let mut plan = Plan::new(&testbed(), 1);
    // An established watch is not asked for its token again, nor told of the namespace's end.
    plan.spec.set("kube.watch_timeout", "5s");
    // While these stay, machines can be asked for in a namespace that is being terminated.
    plan.templates(&[enduring("small"), enduring("held").fate("stuck-terminating")]);
    let mut site = plan.start_serving();
    let machines = site.hf.bring_up("held", 6);
    let names = slices(&machines);
    let namespace = format!("/api/v1/namespaces/{}", site.ground.namespace());
    must(site.ground.admin(), "DELETE", &namespace, None);

    // The pods go first, and what they are told by with them: they are about to be lost.
    eventually("the machines are called back", PATIENCE, || (site.hf.reclaims(&names).len() == 6).then_some(()));
    let refused = site.hf.wait_end(&site.hf.request("small", 2));
    for machine in refused.with("fail") {
        assert!(machine.message.contains("because it is being terminated"), "{machine:#?}");
    }
    assert_eq!(refused.with("fail").len(), 2, "{refused:#?}");

    for name in &names {
        let at_once = json!({"gracePeriodSeconds": 0});
        must(site.ground.admin(), "DELETE", &format!("{namespace}/pods/{name}"), Some(&at_once));
    }
    // Then the service account: its token is worth nothing any more.
    eventually("the namespace is gone", PATIENCE, || {
        let answer = site.ground.admin().call("GET", &namespace, None).ok()?;
        (answer.code == 404).then_some(())
    });
    site.hf.wait_daemon("the daemon says so", |status| status["ready"] == false);

    // Another namespace of the same name.
    site.ground.furnish().expect("the namespace can be made again");
    site.kubeconfig(&site.facts.kubeconfig(site.ground.namespace(), site.ground.token()));
    site.audit.start_over();
    site.hf.wait_says(&["foreign_namespace", "uid"]);
    let told = site.hf.ask("small", 1);
    assert!(told.refused().contains("namespace"), "{}", told.stdout);
    holds_for("nothing is made in another namespace, and nothing called lost", Duration::from_secs(3), || {
        site.hf.reclaims(&names).is_empty() && site.audit.count("create") == 0
    });

    let accepted = site.hf.hfctl(&["accept-namespace"]);
    assert!(accepted.code == 0, "{}", accepted.error_text());
    site.hf.wait_serving();
    let mut lost = site.hf.reclaims(&names);
    lost.sort();
    assert_eq!(lost, machines, "accepted, the losses are told");
    site.hf.take_down(&names);
    let more = site.hf.bring_up("small", 2);
    site.hf.take_down(&slices(&more));
    site.pods().wait_none();
}

#[test]
fn machines_refused_by_a_quota_or_by_admission_fail_in_the_servers_words() {
    let plan = Plan::new(&testbed(), 1);
    let namespace = plan.ground.namespace().to_owned();
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "little"},
        "spec": {"hard": {"pods": "2"}}});
    must(plan.ground.admin(), "POST", &format!("/api/v1/namespaces/{namespace}/resourcequotas"), Some(&quota));
    eventually("the quota is in force", PATIENCE, || {
        let path = format!("/api/v1/namespaces/{namespace}/resourcequotas/little");
        let quota = plan.ground.admin().json("GET", &path, None).ok()?;
        (quota["status"]["hard"]["pods"] == "2").then_some(())
    });
    plan.templates(&[
        enduring("small"),
        enduring("wrong").pod("/spec/containers/0/resources", json!({"requests": {"cpu": "-1"}})),
    ]);
    let site = plan.start_serving();
    let end = site.hf.wait_end(&site.hf.request("small", 4));
    assert_eq!((end.with("succeed").len(), end.with("fail").len()), (2, 2), "{end:#?}");
    assert!(end.with("fail").iter().all(|machine| machine.message.contains("exceeded quota: little")), "{end:#?}");

    let end = site.hf.wait_end(&site.hf.request("wrong", 1));
    let words = &end.machines[0].message;
    assert!(words.contains("spec.containers[0].resources.requests"), "{words}");
}
