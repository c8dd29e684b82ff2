//! A quota that is used up: the 403 that hfd tells from a missing permission.

use serde_json::{Value, json};
use tests::eventually;

use crate::{
    case::{Case, case},
    pair::{PATIENCE, bound_pod, idle_pod},
};

/// Makes a quota and waits until the server counts for it.
fn limit(case: &Case, name: &str, hard: &Value) {
    let path = format!("/api/v1/namespaces/{}/resourcequotas", case.pair.namespace());
    let quota =
        json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name}, "spec": {"hard": hard}});
    case.pair.each(|side| {
        side.must_as_admin("POST", &path, Some(&quota));
        eventually("the quota is counted", PATIENCE, || {
            let quota = side.admin.json("GET", &format!("{path}/{name}"), None).ok()?;
            (quota["status"]["hard"] == *hard).then_some(())
        });
    });
}

#[test]
fn a_used_up_number_of_pods_is_refused_alike() {
    case("used up pods", 0, |case| {
        let pods = case.pair.pods();
        limit(case, "few", &json!({"pods": "2"}));
        case.same_call("the first", "POST", &pods, Some(&bound_pod("a")));
        case.same_call("the second", "POST", &pods, Some(&bound_pod("b")));
        case.same_call("one too many", "POST", &pods, Some(&bound_pod("c")));
        case.same_call("one too many, dry run", "POST", &format!("{pods}?dryRun=All"), Some(&bound_pod("c")));
        case.same_call("a name that is taken", "POST", &pods, Some(&bound_pod("a")));
        case.same_call("a bad pod", "POST", &pods, Some(&json!({"metadata": {"name": "d"}})));
        case.same_value("its status", |side| {
            let quotas = side.must_as_admin("GET", &pods.replace("/pods", "/resourcequotas"), None);
            quotas["items"][0]["status"].clone()
        });
        case.pair.each(|side| drop(side.must("DELETE", &side.pod_path("a"), None)));
        case.same_call("while one is being deleted", "POST", &pods, Some(&bound_pod("c")));
        case.pair.each(|side| {
            side.must("DELETE", &format!("{}?gracePeriodSeconds=0", side.pod_path("a")), None);
            // The real server gives room back when its controller has counted again.
            eventually("there is room again", PATIENCE, || {
                let answer =
                    side.hfd.call("POST", &format!("{}?dryRun=All", side.pods()), Some(&idle_pod("c"))).ok()?;
                (answer.code == 201).then_some(())
            });
        });
        case.same_call("when it is gone", "POST", &pods, Some(&bound_pod("c")));
    });
}

#[test]
fn used_up_resources_are_refused_alike() {
    case("used up resources", 0, |case| {
        let pods = case.pair.pods();
        limit(case, "small", &json!({"requests.cpu": "1", "limits.memory": "1Gi"}));
        case.same_call("no requests", "POST", &pods, Some(&idle_pod("a")));
        let mut pod = idle_pod("b");
        pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "600m"}, "limits": {"memory": "600Mi"}});
        case.same_call("the first", "POST", &pods, Some(&pod));
        pod["metadata"]["name"] = json!("c");
        case.same_call("too much of both", "POST", &pods, Some(&pod));
        pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("100m");
        case.same_call("too much of one", "POST", &pods, Some(&pod));
    });
}

#[test]
fn of_two_quotas_the_used_up_one_is_named() {
    case("two quotas", 0, |case| {
        // Only one of them is used up: of two the real server names either.
        limit(case, "many", &json!({"pods": "5", "requests.cpu": "5"}));
        limit(case, "none", &json!({"count/pods": "0"}));
        let mut pod = idle_pod("a");
        pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "1"}});
        case.same_call("the other is used up", "POST", &case.pair.pods(), Some(&pod));
    });
}
