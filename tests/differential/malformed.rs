//! Bodies that are no pod at all: broken JSON, wrong types, wrong kinds, too large, unknown fields.

use serde_json::{Value, json};

use crate::{case::case, pair::idle_pod};

/// The same pod with one value replaced.
fn with(pointer: &str, value: Value) -> Value {
    let mut pod = idle_pod("p");
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    let parent = pod.pointer_mut(parent).expect("the parent is there");
    match parent {
        Value::Array(items) => items[key.parse::<usize>().expect("an index")] = value,
        parent => parent[key] = value,
    }
    pod
}

#[test]
fn a_body_that_is_no_json_is_refused_alike() {
    case("no JSON", 0, |case| {
        let pods = case.pair.pods();
        for (what, kind, body) in [
            ("empty", "application/json", ""),
            ("a word", "application/json", "hello"),
            ("cut off", "application/json", r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p""#),
            ("cut off after a key", "application/json", r#"{"apiVersion":"v1","kind":"#),
            ("an array", "application/json", "[]"),
            ("a number", "application/json", "7"),
            ("null", "application/json", "null"),
            ("an empty object", "application/json", "{}"),
            ("followed by more", "application/json", r#"{"apiVersion":"v1","kind":"Pod"} x"#),
            ("a type that nobody knows", "text/plain", "hello"),
            ("a form", "application/x-www-form-urlencoded", "a=b"),
        ] {
            case.same(what, |side| side.hfd.send("POST", &pods, kind, body.as_bytes()));
        }
    });
}

#[test]
fn a_body_of_another_kind_is_refused_alike() {
    case("another kind", 0, |case| {
        let pods = case.pair.pods();
        for (what, pointer, value) in [
            ("kind Node", "/kind", json!("Node")),
            ("kind Nonsense", "/kind", json!("Nonsense")),
            ("a list of pods", "/kind", json!("PodList")),
            ("version v2", "/apiVersion", json!("v2")),
            ("version apps/v1", "/apiVersion", json!("apps/v1")),
            ("kind a number", "/kind", json!(7)),
            ("version an object", "/apiVersion", json!({})),
        ] {
            case.same_call(what, "POST", &pods, Some(&with(pointer, value)));
        }
        case.same_call(
            "a Deployment",
            "POST",
            &pods,
            Some(&json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "p"}, "spec": {},
            })),
        );
        case.same_call("kind without version", "POST", &pods, Some(&json!({"kind": "Pod", "metadata": {"name": "p"}})));
        case.same_call(
            "version without kind",
            "POST",
            &pods,
            Some(&json!({
                "apiVersion": "v1", "metadata": {"name": "p"},
            })),
        );
    });
}

#[test]
fn values_of_a_wrong_type_are_refused_alike() {
    case("wrong types", 0, |case| {
        let pods = case.pair.pods();
        for (what, pointer, value) in [
            ("metadata a list", "/metadata", json!([])),
            ("metadata a text", "/metadata", json!("p")),
            ("name a number", "/metadata/name", json!(7)),
            ("name an object", "/metadata/name", json!({})),
            ("labels a list", "/metadata/labels", json!(["a"])),
            ("a label a number", "/metadata/labels/app", json!(7)),
            ("a label a truth value", "/metadata/labels/app", json!(true)),
            ("a label null", "/metadata/labels/app", json!(null)),
            ("annotations a text", "/metadata/annotations", json!("a")),
            ("an annotation an object", "/metadata/annotations", json!({"a": {}})),
            ("spec a list", "/spec", json!([])),
            ("spec null", "/spec", json!(null)),
            ("containers an object", "/spec/containers", json!({})),
            ("containers a text", "/spec/containers", json!("main")),
            ("containers null", "/spec/containers", json!(null)),
            ("a container a text", "/spec/containers/0", json!("main")),
            ("a container null", "/spec/containers/0", json!(null)),
            ("a container's name a number", "/spec/containers/0/name", json!(7)),
            ("image a list", "/spec/containers/0/image", json!([])),
            ("args a text", "/spec/containers/0/args", json!("run")),
            ("an argument a number", "/spec/containers/0/args", json!([1])),
            ("env an object", "/spec/containers/0/env", json!({"A": "b"})),
            ("env's value a number", "/spec/containers/0/env", json!([{"name": "A", "value": 1}])),
            ("resources a text", "/spec/containers/0/resources", json!("1")),
            ("requests a list", "/spec/containers/0/resources", json!({"requests": []})),
            ("a request a list", "/spec/containers/0/resources", json!({"requests": {"cpu": []}})),
            ("a request true", "/spec/containers/0/resources", json!({"requests": {"cpu": true}})),
            ("grace a text", "/spec/terminationGracePeriodSeconds", json!("30")),
            ("grace a fraction", "/spec/terminationGracePeriodSeconds", json!(1.5)),
            ("restart policy a number", "/spec/restartPolicy", json!(1)),
            ("node selector a list", "/spec/nodeSelector", json!([])),
            ("a node selector's value true", "/spec/nodeSelector", json!({"a": true})),
            ("tolerations an object", "/spec/tolerations", json!({})),
            ("toleration seconds a text", "/spec/tolerations", json!([{"tolerationSeconds": "5"}])),
            ("host network a text", "/spec/hostNetwork", json!("true")),
            ("security context a list", "/spec/securityContext", json!([])),
            ("run as user a text", "/spec/securityContext", json!({"runAsUser": "root"})),
            ("affinity a text", "/spec/affinity", json!("a")),
            ("pull secrets texts", "/spec/imagePullSecrets", json!(["a"])),
            ("priority a text", "/spec/priority", json!("high")),
            ("service account a number", "/spec/serviceAccountName", json!(1)),
            ("volumes an object", "/spec/volumes", json!({})),
            ("volume mounts a text", "/spec/containers/0/volumeMounts", json!("x")),
        ] {
            case.same_call(what, "POST", &pods, Some(&with(pointer, value)));
        }
    });
}

#[test]
fn quantities_that_are_none_are_refused_alike() {
    case("bad quantities", 0, |case| {
        let pods = case.pair.pods();
        for text in ["", "one", "1 Gi", "1Gib", "-1", "1.5.2", "1e", "0x10", "999999999999999999999999", "1n"] {
            let resources = json!({"requests": {"memory": text}});
            let what = format!("memory {text:?}");
            let pod = with("/spec/containers/0/resources", resources);
            case.same_call(&what, "POST", &format!("{pods}?dryRun=All"), Some(&pod));
        }
    });
}

#[test]
fn unknown_fields_are_treated_alike_at_each_level_of_validation() {
    case("unknown fields", 0, |case| {
        let pods = case.pair.pods();
        let mut pod = with("/spec/containers/0/immage", json!("x"));
        pod["spec"]["restartpolicy"] = json!("Never");
        pod["metadata"]["lables"] = json!({});
        pod["nonsense"] = json!(1);
        for level in ["", "&fieldValidation=Ignore", "&fieldValidation=Warn", "&fieldValidation=Strict"] {
            let path = format!("{pods}?dryRun=All{level}");
            case.same_call(&format!("several{level}"), "POST", &path, Some(&pod));
        }
        case.same_call("a level that is none", "POST", &format!("{pods}?fieldValidation=Lax"), Some(&idle_pod("p")));
        let strict = format!("{pods}?dryRun=All&fieldValidation=Strict");
        for (what, pointer) in [
            ("at the top", "/extra"),
            ("in the metadata", "/metadata/extra"),
            ("in the spec", "/spec/extra"),
            ("in a container", "/spec/containers/0/extra"),
        ] {
            case.same_call(what, "POST", &strict, Some(&with(pointer, json!(1))));
        }
        let twice = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","name":"q"},
            "spec":{"schedulerName":"nobody","containers":[{"name":"main","image":"i"}]}}"#;
        case.same("a field twice, strict", |side| side.hfd.send("POST", &strict, "application/json", twice.as_bytes()));
        let path = format!("{pods}?dryRun=All");
        case.same("a field twice", |side| side.hfd.send("POST", &path, "application/json", twice.as_bytes()));
    });
}

#[test]
fn a_body_that_is_too_large_is_refused_alike() {
    case("too large", 0, |case| {
        let pods = case.pair.pods();
        for (what, size) in [("4 MB", 4 << 20), ("a byte above 3 MiB", (3 << 20) + 1)] {
            let mut pod = idle_pod("p");
            pod["metadata"]["annotations"] = json!({"a": ""});
            let rest = size - pod.to_string().len();
            pod["metadata"]["annotations"]["a"] = json!("x".repeat(rest));
            case.same_call(what, "POST", &pods, Some(&pod));
        }
        let mut pod = idle_pod("p");
        pod["metadata"]["annotations"] = json!({"a": "x".repeat(300_000)});
        case.same_call("annotations of 300 kB", "POST", &pods, Some(&pod));
        let mut pod = idle_pod("p");
        pod["spec"]["containers"][0]["args"] = json!(["x".repeat(2_000_000)]);
        case.same_call("an argument of 2 MB", "POST", &pods, Some(&pod));
    });
}
