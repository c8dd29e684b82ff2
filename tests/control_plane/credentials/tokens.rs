//! Bearer tokens: in the kubeconfig, in a file beside it, and what happens when one is no longer accepted.

use std::{path::Path, time::Duration};

use serde_json::{Value, json};
use tests::{holds_for, template};

use super::{cluster, kubeconfig, plan_as, revoke, token_bound_to, works};
use crate::{
    hostfactory::slices,
    site::{Plan, Site},
    testbed,
};

/// Name of the secret that the first token is bound to.
const FIRST: &str = "first";

#[test]
fn a_token_in_the_kubeconfig_is_taken() {
    let site = plan_as(&testbed(), |plan| json!({"token": plan.ground.token()})).start_serving();
    works(&site.hf);
}

#[test]
fn a_token_file_is_taken_with_the_line_end_that_kubectl_create_token_writes() {
    let plan = plan_as(&testbed(), |plan| {
        plan.file("token", format!("{}\n", plan.ground.token()).as_bytes());
        // Relative to the kubeconfig, as kubectl reads it.
        json!({"tokenFile": "token"})
    });
    works(&plan.start_serving().hf);
}

#[test]
fn a_refused_token_is_an_outage_until_the_kubeconfig_has_a_fresh_one() {
    let facts = testbed();
    let plan = plan_as(&facts, |plan| json!({"token": token_bound_to(&plan.ground, FIRST)}));
    refused_then_refreshed(plan, |site| {
        let fresh = json!({"token": site.ground.token()});
        site.kubeconfig(&kubeconfig(&cluster(&facts), &fresh));
    });
}

#[test]
fn a_refused_token_file_is_an_outage_until_it_is_replaced() {
    let plan = plan_as(&testbed(), |plan| {
        let file = plan.file("token", token_bound_to(&plan.ground, FIRST).as_bytes());
        json!({"tokenFile": file})
    });
    refused_then_refreshed(plan, |site| template::replace(&site.dir().join("token"), site.ground.token().as_bytes()));
}

/// Machines run, one is asked for and one given back while the token is refused, and `refresh` mends it.
#[track_caller]
fn refused_then_refreshed(mut plan: Plan, refresh: impl FnOnce(&Site)) {
    // An established watch is not asked for its token again.
    plan.spec.set("kube.watch_timeout", "5s");
    let site = plan.start_serving();
    let machines = site.hf.bring_up("small", 6);
    let names = slices(&machines);
    revoke(&site.ground, FIRST);
    site.hf.wait_says(&["401", "cluster_unreachable"]);

    let asked = site.hf.request("small", 2);
    let returned = site.hf.give_back(&names[..1]);
    holds_for("a refused token is no verdict", Duration::from_secs(4), || {
        let (asked, returned) = (site.hf.status(&asked), site.hf.status(&returned));
        asked.status == "running" && returned.status == "running" && site.hf.reclaims(&names[1..]).is_empty()
    });

    refresh(&site);
    let more: Vec<String> = site.hf.wait_complete(&asked).machines.into_iter().map(|machine| machine.name).collect();
    site.hf.wait_complete(&returned);
    let status = site.hf.wait_serving();
    assert_eq!(status["warnings"], Value::Array(Vec::new()), "it works, and still: {status:#}");
    assert!(site.hf.reclaims(&names[1..]).is_empty());
    site.hf.take_down(&names[1..]);
    site.hf.take_down(&slices(&more));
    site.pods().wait_none();
}

#[test]
fn the_named_context_is_used_where_the_kubeconfig_has_several() {
    let facts = testbed();
    let mut plan = Plan::new(&facts, 1);
    let nowhere = json!({"server": "https://127.0.0.1:1", "certificate-authority": facts.authority});
    plan.kubeconfig(
        &json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "other",
            "clusters": [{"name": "other", "cluster": nowhere}, {"name": "ours", "cluster": cluster(&facts)}],
            "users": [{"name": "other", "user": {"token": "x"}}, {"name": "ours", "user": {"token": plan.ground.token()}}],
            "contexts": [
                {"name": "other", "context": {"cluster": "other", "user": "other", "namespace": "elsewhere"}},
                {"name": "ours", "context": {"cluster": "ours", "user": "ours"}},
            ],
        })
        .to_string(),
    );
    plan.spec.set("kube.context", "ours");
    let site = plan.start_serving();
    let status = site.hf.wait_serving();
    assert_eq!(status["kube"]["context"], "ours");
    assert_eq!(
        status["kube"]["server"].as_str().map(|server| server.trim_end_matches('/')),
        Some(facts.server.as_str())
    );
    works(&site.hf);
}

#[test]
fn a_kubeconfig_without_usable_credentials_is_said_with_its_reason() {
    let facts = testbed();
    for (user, words) in [
        (json!({}), &["forbidden", "system:anonymous"][..]),
        (json!({"token": "not-one"}), &["401", "credentials"]),
        (json!({"tokenFile": Path::new("absent-token")}), &["absent-token"]),
        (json!({"client-certificate": "absent.crt", "client-key": "absent.key"}), &["absent.crt"]),
    ] {
        let site = plan_as(&facts, |_| user.clone()).start();
        site.hf.wait_says(words);
        // A person mends it; nobody starts the daemon again.
        site.kubeconfig(&kubeconfig(&cluster(&facts), &json!({"token": site.ground.token()})));
        site.hf.wait_serving();
    }
}
