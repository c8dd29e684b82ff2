//! Pods that are pods but break a rule: code, reason, and each cause with its field and words.

use serde_json::{Value, json};

use crate::{
    case::{Case, case},
    pair::idle_pod,
};

/// Creates, in a dry run, a pod that `change` has spoilt.
fn spoilt(case: &Case, what: &str, change: impl FnOnce(&mut Value)) {
    let mut pod = idle_pod("p");
    change(&mut pod);
    case.same_call(what, "POST", &format!("{}?dryRun=All", case.pair.pods()), Some(&pod));
}

#[test]
fn names_that_are_none_are_refused_alike() {
    case("bad names", 0, |case| {
        let long = "x".repeat(300);
        for name in ["Upper", "a/b", "a_b", "-a", "a-", "a..b", ".a", "a.", " a", "ä", ".", "..", "a%b", &long] {
            spoilt(case, &format!("name {name:.20?}"), |pod| pod["metadata"]["name"] = json!(name));
        }
        spoilt(case, "no metadata", |pod| pod["metadata"] = json!({}));
        spoilt(case, "an empty name", |pod| pod["metadata"]["name"] = json!(""));
        spoilt(case, "a name of 253 characters", |pod| pod["metadata"]["name"] = json!("x".repeat(253)));
        for name in ["Upper", "a.b", &"x".repeat(64)] {
            spoilt(case, &format!("host name {name:.20}"), |pod| pod["spec"]["hostname"] = json!(name));
            spoilt(case, &format!("subdomain {name:.20}"), |pod| pod["spec"]["subdomain"] = json!(name));
        }
    });
}

#[test]
fn labels_and_annotations_that_are_none_are_refused_alike() {
    case("bad labels", 0, |case| {
        let long = "x".repeat(64);
        for value in ["a b", "-a", "a-", "a/b", "ä", "_", &long] {
            spoilt(case, &format!("label value {value:.20}"), |pod| pod["metadata"]["labels"] = json!({"k": value}));
        }
        let long_prefix = format!("{}/k", "x".repeat(254));
        for key in ["", "a b", "/a", "a/", "a/b/c", "-a", "A.B/k", "UP/k", &long, &long_prefix] {
            spoilt(case, &format!("label key {key:.20}"), |pod| pod["metadata"]["labels"] = json!({key: "v"}));
            spoilt(case, &format!("annotation key {key:.20}"), |pod| {
                pod["metadata"]["annotations"] = json!({key: "v"});
            });
        }
        for (key, value) in [("a b", "v"), ("k", "a b"), ("k", &long)] {
            spoilt(case, &format!("node selector {key}={value:.20}"), |pod| {
                pod["spec"]["nodeSelector"] = json!({key: value});
            });
        }
    });
}

#[test]
fn containers_that_break_a_rule_are_refused_alike() {
    case("bad containers", 0, |case| {
        let main = || json!({"name": "main", "image": "i"});
        spoilt(case, "no spec", |pod| drop(pod.as_object_mut().expect("a pod is an object").remove("spec")));
        spoilt(case, "no containers", |pod| pod["spec"] = json!({}));
        spoilt(case, "an empty list", |pod| pod["spec"]["containers"] = json!([]));
        spoilt(case, "an empty container", |pod| pod["spec"]["containers"] = json!([{}]));
        spoilt(case, "no name", |pod| pod["spec"]["containers"] = json!([{"image": "i"}]));
        spoilt(case, "no image", |pod| pod["spec"]["containers"] = json!([{"name": "main"}]));
        spoilt(case, "an image with spaces around", |pod| pod["spec"]["containers"][0]["image"] = json!(" i "));
        spoilt(case, "the same twice", |pod| pod["spec"]["containers"] = json!([main(), main()]));
        spoilt(case, "the same as an init container", |pod| pod["spec"]["initContainers"] = json!([main()]));
        for name in ["Upper", "a_b", "a.b", &"x".repeat(64)] {
            spoilt(case, &format!("name {name:.20}"), |pod| pod["spec"]["containers"][0]["name"] = json!(name));
        }
        spoilt(case, "pull policy", |pod| pod["spec"]["containers"][0]["imagePullPolicy"] = json!("Sometimes"));
        spoilt(case, "an init container without image", |pod| {
            pod["spec"]["initContainers"] = json!([{"name": "setup"}]);
        });
        spoilt(case, "env without name", |pod| pod["spec"]["containers"][0]["env"] = json!([{"value": "x"}]));
        spoilt(case, "env with a strange name", |pod| pod["spec"]["containers"][0]["env"] = json!([{"name": "a=b"}]));
        spoilt(case, "a mount of no volume", |pod| {
            pod["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "v", "mountPath": "/v"}]);
        });
        spoilt(case, "a mount without path", |pod| {
            pod["spec"]["volumes"] = json!([{"name": "v", "emptyDir": {}}]);
            pod["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "v"}]);
        });
        spoilt(case, "a volume twice", |pod| {
            pod["spec"]["volumes"] = json!([{"name": "v", "emptyDir": {}}, {"name": "v", "emptyDir": {}}]);
        });
        spoilt(case, "a volume without name", |pod| pod["spec"]["volumes"] = json!([{"emptyDir": {}}]));
        spoilt(case, "a port out of range", |pod| {
            pod["spec"]["containers"][0]["ports"] = json!([{"containerPort": 70000}]);
        });
        spoilt(case, "a port without number", |pod| pod["spec"]["containers"][0]["ports"] = json!([{"name": "http"}]));
    });
}

#[test]
fn resources_that_break_a_rule_are_refused_alike() {
    case("bad resources", 0, |case| {
        let with = |what: &str, resources: Value| {
            spoilt(case, what, |pod| pod["spec"]["containers"][0]["resources"] = resources);
        };
        with("a negative request", json!({"requests": {"cpu": "-1"}}));
        with("a negative limit", json!({"limits": {"memory": "-1Gi"}}));
        with("a request above its limit", json!({"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}));
        with("a memory request above its limit", json!({"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}}));
        with("an unknown resource", json!({"requests": {"nonsense": "1"}}));
        with("an extended resource", json!({"requests": {"example.com/gpu": "1"}}));
        with("an extended resource with a limit", json!({"limits": {"example.com/gpu": "1"}}));
        with("half an extended resource", json!({"limits": {"example.com/gpu": "0.5"}}));
        with("numbers", json!({"requests": {"cpu": 0.5, "memory": 1_000_000}}));
        with(
            "other ways of writing",
            json!({"requests": {"cpu": "0.5", "memory": "1.5Gi"}, "limits": {"cpu": "1000m"}}),
        );
        with(
            "more ways of writing",
            json!({"requests": {"cpu": "1.0", "memory": "1e9", "ephemeral-storage": "1000Mi"}}),
        );
        with("thousandths of bytes", json!({"requests": {"memory": "100m"}}));
    });
}

#[test]
fn a_spec_that_breaks_a_rule_is_refused_alike() {
    case("bad specs", 0, |case| {
        spoilt(case, "restart policy", |pod| pod["spec"]["restartPolicy"] = json!("Sometimes"));
        spoilt(case, "restart policy empty", |pod| pod["spec"]["restartPolicy"] = json!(""));
        spoilt(case, "dns policy", |pod| pod["spec"]["dnsPolicy"] = json!("Sometimes"));
        spoilt(case, "negative deadline", |pod| pod["spec"]["activeDeadlineSeconds"] = json!(-1));
        spoilt(case, "priority class", |pod| pod["spec"]["priorityClassName"] = json!("nonsense"));
        spoilt(case, "a priority of its own", |pod| pod["spec"]["priority"] = json!(5));
        spoilt(case, "a system class", |pod| pod["spec"]["priorityClassName"] = json!("system-node-critical"));
        spoilt(case, "service account name", |pod| pod["spec"]["serviceAccountName"] = json!("Bad Name"));
        spoilt(case, "node name", |pod| pod["spec"]["nodeName"] = json!("Bad Name"));
        spoilt(case, "runtime class", |pod| pod["spec"]["runtimeClassName"] = json!("nonsense"));
        for toleration in [
            json!({"key": "a", "operator": "Maybe"}),
            json!({"key": "a", "effect": "Maybe"}),
            json!({"key": "a", "operator": "Exists", "value": "v"}),
            json!({"operator": "Equal"}),
            json!({"key": "a b"}),
            json!({"key": "a", "effect": "NoSchedule", "tolerationSeconds": 5}),
        ] {
            spoilt(case, &format!("toleration {toleration}"), |pod| pod["spec"]["tolerations"] = json!([toleration]));
        }
    });
}

#[test]
fn several_faults_at_once_are_named_in_the_same_order() {
    case("several faults", 0, |case| {
        spoilt(case, "everywhere", |pod| {
            pod["metadata"] = json!({"name": "Bad_Name", "labels": {"k": "a b"}, "annotations": {"a b": ""}});
            pod["spec"]["restartPolicy"] = json!("Sometimes");
            pod["spec"]["dnsPolicy"] = json!("Sometimes");
            pod["spec"]["hostname"] = json!("a.b");
            pod["spec"]["nodeSelector"] = json!({"k": "a b"});
            pod["spec"]["tolerations"] = json!([{"key": "a", "effect": "Maybe"}]);
            pod["spec"]["volumes"] = json!([{"name": "V", "emptyDir": {}}]);
            pod["spec"]["containers"] = json!([
                {"name": "main"}, {"name": "main", "image": "i", "resources": {"limits": {"cpu": "-1"}}}, {"image": "i"},
            ]);
            pod["spec"]["initContainers"] = json!([{"name": "X"}]);
        });
        spoilt(case, "an empty pod", |pod| *pod = json!({"apiVersion": "v1", "kind": "Pod"}));
        // Of two faults in one map the real server names either first.
        spoilt(case, "limit and request", |pod| {
            pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "3"}, "limits": {"cpu": "-1"}});
        });
    });
}
