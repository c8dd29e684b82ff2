//! Credentials as they come to a daemon: tokens, certificates, plug-ins, service account files, proxies; what becomes
//! of them while it runs, and what it says when they don't work.

mod certificates;
mod connect_proxy;
mod in_cluster;
mod plugin;
mod proxy;
mod tokens;

use serde_json::{Value, json};
use tests::testbed::{Facts, Ground};

use crate::{
    hostfactory::{HostFactory, slices},
    site::{Plan, must},
};

/// A kubeconfig with one context of that cluster and that user.
fn kubeconfig(cluster: &Value, user: &Value) -> String {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "here",
        "clusters": [{"name": "here", "cluster": cluster}],
        "users": [{"name": "me", "user": user}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
    })
    .to_string()
}

/// The testbed's API server, with its authority's certificate as a file.
fn cluster(facts: &Facts) -> Value {
    json!({"server": facts.server, "certificate-authority": facts.authority})
}

/// A plan whose daemon is this user of the testbed's API server.
#[track_caller]
fn plan_as(facts: &Facts, user: impl FnOnce(&Plan) -> Value) -> Plan {
    let plan = Plan::new(facts, 1);
    let user = user(&plan);
    plan.kubeconfig(&kubeconfig(&cluster(facts), &user));
    plan
}

/// A machine comes and goes: every verb that hfd has is accepted.
#[track_caller]
fn works(hf: &HostFactory) {
    let machines = hf.bring_up("small", 1);
    hf.take_down(&slices(&machines));
}

/// A token of the service account `hfd` that is good as long as the secret `secret` exists, which is made here.
#[track_caller]
fn token_bound_to(ground: &Ground, secret: &str) -> String {
    let namespace = ground.namespace();
    let object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": secret}});
    let made = must(ground.admin(), "POST", &format!("/api/v1/namespaces/{namespace}/secrets"), Some(&object));
    let ask = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {
        "expirationSeconds": 3600,
        "boundObjectRef": {"apiVersion": "v1", "kind": "Secret", "name": secret, "uid": made["metadata"]["uid"]},
    }});
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/hfd/token");
    let granted = must(ground.admin(), "POST", &path, Some(&ask));
    granted["status"]["token"].as_str().expect("a granted token has a text").to_owned()
}

/// Makes the tokens that are bound to a secret worthless. The API server remembers for up to 10 s that they were good.
#[track_caller]
fn revoke(ground: &Ground, secret: &str) {
    must(ground.admin(), "DELETE", &format!("/api/v1/namespaces/{}/secrets/{secret}", ground.namespace()), None);
}
