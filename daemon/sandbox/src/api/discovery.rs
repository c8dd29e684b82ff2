//! Version, health and discovery: what clients ask before they ask for anything.

use serde_json::{Value, json};

use super::Answer;
use crate::object::Resource;
use crate::refusal::Refusal;

/// The page behind a path outside the resources.
pub(super) fn page(path: &str) -> Result<Answer, Refusal> {
    let value = match path.strip_suffix('/').filter(|path| path.starts_with("/api")).unwrap_or(path) {
        "/healthz" | "/readyz" | "/livez" => return Ok(Answer::text("ok")),
        "/version" => version(),
        "/" => json!({"paths": ["/api", "/api/v1", "/apis", "/healthz", "/livez", "/readyz", "/version"]}),
        "/api" => json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}),
        "/api/v1" => resource_list("v1", &core_resources()),
        "/apis" => json!({
            "kind": "APIGroupList", "apiVersion": "v1", "groups": [group("authorization.k8s.io"), group("policy")]
        }),
        "/apis/authorization.k8s.io" => with_type("APIGroup", group("authorization.k8s.io")),
        "/apis/policy" => with_type("APIGroup", group("policy")),
        "/apis/authorization.k8s.io/v1" => resource_list("authorization.k8s.io/v1", &[access_review()]),
        "/apis/policy/v1" => resource_list("policy/v1", &[disruption_budget()]),
        path if path.starts_with("/api/") => return Err(Refusal::no_such_path()),
        _ => return Err(Refusal::no_such_page()),
    };
    Ok(Answer::json(200, &value))
}

fn version() -> Value {
    json!({
        "major": "1", "minor": "36", "gitVersion": "v1.36.3", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "none", "compiler": "none", "platform": "sandbox"
    })
}

fn group(name: &str) -> Value {
    let version = json!({"groupVersion": format!("{name}/v1"), "version": "v1"});
    json!({"name": name, "versions": [version], "preferredVersion": version})
}

fn with_type(kind: &str, mut value: Value) -> Value {
    value["kind"] = kind.into();
    value["apiVersion"] = "v1".into();
    value
}

fn resource_list(version: &str, resources: &[Value]) -> Value {
    let mut list = json!({"kind": "APIResourceList", "groupVersion": version, "resources": resources});
    if version != "v1" {
        // the real server leaves it out for the oldest group
        list["apiVersion"] = "v1".into();
    }
    list
}

fn core_resources() -> Vec<Value> {
    let mut resources: Vec<_> = Resource::ALL
        .into_iter()
        .map(|resource| {
            let (short_name, verbs): (_, &[&str]) = match resource {
                Resource::Pods => {
                    ("po", &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"])
                }
                Resource::Nodes => ("no", &["delete", "get", "list", "patch", "update", "watch"]),
                Resource::Namespaces => ("ns", &["create", "delete", "get", "list", "patch", "update", "watch"]),
                Resource::Quotas => ("quota", &["create", "delete", "get", "list", "patch", "update", "watch"]),
                Resource::Events => ("ev", &["delete", "get", "list", "watch"]),
            };
            json!({
                "name": resource.plural(), "singularName": resource.kind().to_lowercase(),
                "namespaced": resource.is_namespaced(), "kind": resource.kind(), "verbs": verbs,
                "shortNames": [short_name]
            })
        })
        .collect();
    resources.push(json!({
        "name": "pods/eviction", "singularName": "", "namespaced": true, "group": "policy", "version": "v1",
        "kind": "Eviction", "verbs": ["create"]
    }));
    resources
}

fn access_review() -> Value {
    json!({
        "name": "selfsubjectaccessreviews", "singularName": "selfsubjectaccessreview", "namespaced": false,
        "kind": "SelfSubjectAccessReview", "verbs": ["create"]
    })
}

/// There are no budgets, but kubectl wants every group to have something in it.
fn disruption_budget() -> Value {
    json!({
        "name": "poddisruptionbudgets", "singularName": "poddisruptionbudget", "namespaced": true,
        "kind": "PodDisruptionBudget", "verbs": [], "shortNames": ["pdb"]
    })
}
