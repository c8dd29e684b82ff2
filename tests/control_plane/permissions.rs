//! What hfd asks of the API server, held against what the shipped manifests grant: no more, and no less.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};
use tests::{eventually, holds_for, testbed::ground};

use crate::{
    audit::{Call, refused, used},
    hostfactory::{slices, warnings},
    site::{PATIENCE, Permission, Plan, Site},
    testbed,
};

/// Pods in one page of the daemon's LIST in the test that wants several pages.
const PAGE: usize = 10;

#[test]
fn hfd_uses_exactly_the_permissions_that_are_shipped() {
    let mut plan = Plan::new(&testbed(), 1);
    plan.spec.set_literal("kube.page_size", &PAGE.to_string());
    // After a start, creates of the life before may still land until then.
    plan.spec.set("kube.server_request_timeout", "5s");
    let mut site = plan.start_serving();
    use_everything(&mut site);

    let calls = site.audit.calls();
    let refused = refused(&calls);
    assert!(refused.is_empty(), "refused: {refused:#?}");
    let granted = granted(site.ground.namespace());
    let used = used(&calls);
    let idle: Vec<_> = granted.difference(&used).collect();
    let beyond: Vec<_> = used.difference(&granted).collect();
    assert!(idle.is_empty(), "granted by scripts/rbac, and never used: {idle:?}");
    assert!(beyond.is_empty(), "used without being granted by scripts/rbac: {beyond:?}");
}

/// Makes the daemon do all that it can do to a cluster.
fn use_everything(site: &mut Site) {
    let machines = site.hf.bring_up("small", 25);
    site.crash();
    let pages = |calls: &[Call]| calls.iter().filter(|call| call.uri.contains("continue=")).count();
    assert!(pages(&site.audit.calls()) >= 2, "25 pods in pages of {PAGE}: {:#?}", site.audit.calls());
    site.hf.take_down(&["somebody-elses-name"]);

    // Most of the machines go at once: the daemon asks again before it tells.
    let lists = site.audit.count("list");
    let (lost, kept) = machines.split_at(20);
    for name in lost {
        site.pods().delete(name);
    }
    eventually("the lost machines are told", PATIENCE, || {
        let told: BTreeSet<String> = site.hf.reclaims(&slices(&machines)).into_iter().collect();
        (told == lost.iter().cloned().collect()).then_some(())
    });
    assert!(site.audit.count("list") > lists, "the loss was told without a confirming LIST");
    site.hf.take_down(&slices(lost));
    site.hf.take_down(&slices(kept));
    site.pods().wait_none();
}

/// Verb and resource of every grant in the shipped manifests.
fn granted(namespace: &str) -> BTreeSet<(String, String)> {
    let manifests = ground::shipped(namespace).expect("the shipped manifests can be read");
    let rules = manifests.iter().flat_map(|object| object["rules"].as_array().cloned().unwrap_or_default());
    rules.flat_map(|rule| pairs(&rule)).collect()
}

fn pairs(rule: &Value) -> Vec<(String, String)> {
    let texts = |key: &str| -> Vec<String> {
        rule[key].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let (verbs, resources) = (texts("verbs"), texts("resources"));
    verbs.iter().flat_map(|verb| resources.iter().map(move |resource| (verb.clone(), resource.clone()))).collect()
}

#[test]
fn without_the_cluster_role_hfd_works_and_says_what_it_does_not_see() {
    let plan = Plan::new(&testbed(), 1);
    Permission::Namespace.take(&plan.ground);
    let site = plan.start_serving();
    let machines = site.hf.bring_up("small", 3);
    let status = site.hf.wait_says(&["namespace", "not permitted"]);
    assert!(warnings(&status).contains(&"namespace_unseen"), "{status:#}");
    site.hf.take_down(&slices(&machines));
    site.pods().wait_none();

    Permission::Namespace.give(&site.ground);
    let mut site = site;
    site.crash();
    let status = site.hf.wait_serving();
    assert!(warnings(&status).is_empty(), "granted, and still: {status:#}");
}

#[test]
fn with_nothing_but_the_cluster_role_hfd_says_what_is_refused_and_goes_on_when_it_is_granted() {
    let plan = Plan::new(&testbed(), 1);
    Permission::Pods.take(&plan.ground);
    refused_until_granted(&plan.start(), &[Permission::Pods]);
}

#[test]
fn without_any_permission_hfd_says_what_is_refused_and_goes_on_when_it_is_granted() {
    let plan = Plan::new(&testbed(), 1);
    Permission::Pods.take(&plan.ground);
    Permission::Namespace.take(&plan.ground);
    refused_until_granted(&plan.start(), &[Permission::Namespace, Permission::Pods]);
}

fn refused_until_granted(site: &Site, missing: &[Permission]) {
    let status = site.hf.wait_says(&["pods is forbidden", "cannot list resource", "system:serviceaccount:"]);
    assert_eq!(status["ready"], json!(false), "{status:#}");
    // Nothing is known of the cluster yet: a request is refused with words, not lost.
    let told = site.hf.ask("small", 2);
    assert!(!told.refused().is_empty());
    assert!(site.audit.calls().iter().all(|call| call.verb != "create"), "{:#?}", site.audit.calls());

    for permission in missing {
        permission.give(&site.ground);
    }
    site.hf.wait_serving();
    let machines = site.hf.bring_up("small", 2);
    site.hf.take_down(&slices(&machines));
    site.pods().wait_none();
}

#[test]
fn permissions_taken_away_lose_nothing_and_work_goes_on_when_they_are_given_back() {
    let mut plan = Plan::new(&testbed(), 1);
    plan.spec.set("kube.watch_timeout", "5s");
    let site = plan.start_serving();
    let machines = site.hf.bring_up("small", 6);
    let names = slices(&machines);
    let before: Vec<Value> = site.pods().all().iter().map(|pod| pod["metadata"]["uid"].clone()).collect();

    Permission::Pods.take(&site.ground);
    Permission::Namespace.take(&site.ground);
    site.hf.wait_says(&["pods is forbidden"]);
    let ret = site.hf.give_back(&names[..1]);
    let asked = site.hf.request("small", 2);
    site.hf.wait(&ret, "says why it is not done", |status| status.machines[0].message.contains("forbidden"));
    holds_for("nothing is judged by what can't be seen", Duration::from_secs(3), || {
        site.hf.reclaims(&names).is_empty()
            && site.hf.status(&ret).status == "running"
            && site.hf.status(&asked).status == "running"
    });
    let now: Vec<Value> = site.pods().all().iter().map(|pod| pod["metadata"]["uid"].clone()).collect();
    assert_eq!(now, before, "the pods are others than before");

    Permission::Pods.give(&site.ground);
    site.hf.wait_complete(&ret);
    let more: Vec<String> = site.hf.wait_complete(&asked).machines.into_iter().map(|machine| machine.name).collect();
    assert!(site.hf.reclaims(&names[1..]).is_empty());
    site.hf.take_down(&names[1..]);
    site.hf.take_down(&slices(&more));
    site.pods().wait_none();
}
