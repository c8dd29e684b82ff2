//! What clients ask before they ask for anything: version, health, and which resources there are.

use serde_json::{Value, json};

use crate::{case::case, pair::Side};

/// What kube-rs and kubectl read of the named resources of a list.
fn resources(side: &Side, path: &str, wanted: &[&str]) -> Value {
    let list = side.must("GET", path, None);
    let all = list["resources"].as_array().cloned().unwrap_or_default();
    let found: Vec<Value> = wanted
        .iter()
        .map(|name| {
            let resource = all.iter().find(|resource| resource["name"] == *name).cloned().unwrap_or_default();
            json!({
                "name": resource["name"], "singularName": resource["singularName"], "kind": resource["kind"],
                "namespaced": resource["namespaced"], "shortNames": resource["shortNames"],
                "group": resource["group"], "version": resource["version"],
            })
        })
        .collect();
    json!([list["kind"], list["apiVersion"], list["groupVersion"], found])
}

#[test]
fn pages_of_health_and_version_are_alike() {
    case("health and version", 0, |case| {
        for path in
            ["/readyz", "/healthz", "/livez", "/readyz/", "/nonsense", "/apis/nonsense", "/apis/nonsense/v1", "/api/v2"]
        {
            case.same(path, |side| side.admin.call("GET", path, None));
        }
        case.same_value("version", |side| {
            let version = side.must("GET", "/version", None);
            json!([version["major"], version["minor"], version["gitVersion"]])
        });
        case.same("POST to a page", |side| side.admin.call("POST", "/version", Some(&json!({}))));
        case.same("a resource that is not there", |side| side.admin.call("GET", "/api/v1/nonsense", None));
        case.same("a path below it", |side| side.admin.call("GET", "/api/v1/namespaces/default/nonsense/x", None));
        case.same("a resource of no group", |side| side.admin.call("GET", "/apis/nonsense/v1/things", None));
        case.same("a wrong method", |side| side.admin.call("TRACE", "/api/v1/pods", None));
    });
}

#[test]
fn resources_are_announced_alike() {
    case("discovery", 0, |case| {
        case.same_value("the versions of the core", |side| side.must("GET", "/api", None)["versions"].clone());
        case.same_value("core resources", |side| {
            resources(side, "/api/v1", &["pods", "nodes", "namespaces", "resourcequotas", "events", "pods/eviction"])
        });
        case.same_value("policy", |side| resources(side, "/apis/policy/v1", &["poddisruptionbudgets"]));
        case.same_value("access reviews", |side| {
            resources(side, "/apis/authorization.k8s.io/v1", &["selfsubjectaccessreviews"])
        });
        case.same_value("groups", |side| {
            let list = side.must("GET", "/apis", None);
            let groups = list["groups"].as_array().cloned().unwrap_or_default();
            let ours = groups
                .into_iter()
                .filter(|group| ["authorization.k8s.io", "policy"].iter().any(|name| group["name"] == *name));
            let mut ours: Vec<Value> = ours.collect();
            ours.sort_by_key(|group| group["name"].to_string());
            json!([list["kind"], list["apiVersion"], ours])
        });
    });
}
