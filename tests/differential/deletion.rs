//! Deletion: grace, preconditions, propagation, and what each is answered.

use serde_json::{Value, json};

use crate::{
    case::{Case, case},
    pair::{bound_pod, idle_pod},
};

fn path(case: &Case, name: &str) -> String {
    format!("{}/{name}", case.pair.pods())
}

fn options(fields: &Value) -> Value {
    let mut options = json!({"apiVersion": "v1", "kind": "DeleteOptions"});
    for (key, value) in fields.as_object().into_iter().flatten() {
        options[key] = value.clone();
    }
    options
}

#[test]
fn a_pod_on_a_node_is_deleted_with_its_grace_alike() {
    case("graceful deletion", 0, |case| {
        case.pair.each(|side| drop(side.create(&bound_pod("p"))));
        case.same_call("first", "DELETE", &path(case, "p"), Some(&options(&json!({}))));
        case.same_call("read", "GET", &path(case, "p"), None);
        case.same_call("again", "DELETE", &path(case, "p"), None);
        case.same_call("with grace 0", "DELETE", &path(case, "p"), Some(&options(&json!({"gracePeriodSeconds": 0}))));
        case.same_call("when it is gone", "DELETE", &path(case, "p"), None);
        case.same_call("read when it is gone", "GET", &path(case, "p"), None);
    });
}

#[test]
fn a_pod_without_node_is_gone_at_once_alike() {
    case("deletion without node", 0, |case| {
        case.pair.each(|side| drop(side.create(&idle_pod("p"))));
        case.same_call("delete", "DELETE", &path(case, "p"), None);
        case.same_call("read", "GET", &path(case, "p"), None);
        case.pair.each(|side| drop(side.create(&idle_pod("q"))));
        let graceful = options(&json!({"gracePeriodSeconds": 60}));
        case.same_call("with a grace period", "DELETE", &path(case, "q"), Some(&graceful));
        case.same_call("read again", "GET", &path(case, "q"), None);
    });
}

#[test]
fn a_grace_period_is_shortened_and_never_lengthened() {
    case("grace periods", 0, |case| {
        case.pair.each(|side| drop(side.create(&bound_pod("p"))));
        case.same_value("5, then 60, then 1, then its own", |side| {
            let mut seen = Vec::new();
            let mut begun = Value::Null;
            for query in ["?gracePeriodSeconds=5", "?gracePeriodSeconds=60", "?gracePeriodSeconds=1", ""] {
                let pod = side.must("DELETE", &format!("{}{query}", side.pod_path("p")), None);
                let metadata = &pod["metadata"];
                let stamp = metadata["deletionTimestamp"].clone();
                let relation = match (seconds(&begun), seconds(&stamp)) {
                    (None, _) => json!("the first"),
                    (Some(before), Some(now)) => json!(now - before),
                    (Some(_), None) => json!("no time"),
                };
                begun = stamp;
                seen.push(json!([metadata["deletionGracePeriodSeconds"], relation, metadata["generation"]]));
            }
            json!(seen)
        });
        case.pair.each(|side| drop(side.create(&bound_pod("q"))));
        case.same_call("negative", "DELETE", &format!("{}?gracePeriodSeconds=-7", path(case, "q")), None);
        case.pair.each(|side| drop(side.create(&bound_pod("r"))));
        case.same_call("garbled", "DELETE", &format!("{}?gracePeriodSeconds=x", path(case, "r")), None);
        case.same_call(
            "a text in the body",
            "DELETE",
            &path(case, "r"),
            Some(&options(&json!({"gracePeriodSeconds": "5"}))),
        );
        let five = options(&json!({"gracePeriodSeconds": 5}));
        case.same_call("body and query", "DELETE", &format!("{}?gracePeriodSeconds=9", path(case, "r")), Some(&five));
        let mut none = bound_pod("none");
        none["spec"]["terminationGracePeriodSeconds"] = json!(0);
        case.same_call("a pod whose own grace is 0", "POST", &case.pair.pods(), Some(&none));
        case.same_call("its deletion", "DELETE", &path(case, "none"), None);
    });
}

/// Seconds of the day of a time.
fn seconds(stamp: &Value) -> Option<i64> {
    let time = stamp.as_str()?.get(11..19)?;
    let mut parts = time.split(':').filter_map(|part| part.parse::<i64>().ok());
    Some(parts.next()? * 3600 + parts.next()? * 60 + parts.next()?)
}

#[test]
fn preconditions_are_held_alike() {
    case("preconditions", 0, |case| {
        case.pair.each(|side| drop(side.create(&bound_pod("p"))));
        let other = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";
        let guarded = |fields: Value| options(&json!({ "preconditions": fields }));
        case.same_call("another UID", "DELETE", &path(case, "p"), Some(&guarded(json!({"uid": other}))));
        case.same_call("no UID at all", "DELETE", &path(case, "p"), Some(&guarded(json!({"uid": ""}))));
        case.same_but_numbers("another version", |side| {
            side.hfd.call("DELETE", &side.pod_path("p"), Some(&guarded(json!({"resourceVersion": "1"}))))
        });
        case.same_but_numbers("another UID, grace 0", |side| {
            let body = options(&json!({"preconditions": {"uid": other}, "gracePeriodSeconds": 0}));
            side.hfd.call("DELETE", &side.pod_path("p"), Some(&body))
        });
        case.same_call(
            "another UID, dry run",
            "DELETE",
            &format!("{}?dryRun=All", path(case, "p")),
            Some(&guarded(json!({"uid": other}))),
        );
        case.same_call("absent", "DELETE", &path(case, "q"), Some(&guarded(json!({"uid": other}))));
        case.same_call("precondition of a wrong type", "DELETE", &path(case, "p"), Some(&guarded(json!({"uid": 7}))));
        case.same("the right UID", |side| {
            let uid = side.pod("p").expect("the pod is there")["metadata"]["uid"].clone();
            side.hfd.call("DELETE", &side.pod_path("p"), Some(&guarded(json!({ "uid": uid }))))
        });
        case.same_call("another UID while it goes", "DELETE", &path(case, "p"), Some(&guarded(json!({"uid": other}))));
        case.same("the right UID again", |side| {
            let uid = side.pod("p").expect("the pod is there")["metadata"]["uid"].clone();
            side.hfd.call("DELETE", &side.pod_path("p"), Some(&guarded(json!({ "uid": uid }))))
        });
        case.same("the right version", |side| {
            let version = side.pod("p").expect("the pod is there")["metadata"]["resourceVersion"].clone();
            let body = options(&json!({"preconditions": {"resourceVersion": version}, "gracePeriodSeconds": 0}));
            side.hfd.call("DELETE", &side.pod_path("p"), Some(&body))
        });
    });
}

#[test]
fn ways_of_propagation_and_dry_runs_are_taken_alike() {
    case("propagation", 0, |case| {
        for policy in ["Background", "Foreground", "Orphan", "Nonsense", ""] {
            let name = format!("p-{}", policy.to_lowercase()).trim_end_matches('-').to_owned();
            case.pair.each(|side| drop(side.create(&bound_pod(&name))));
            let body = options(&json!({ "propagationPolicy": policy }));
            case.same_call(&format!("policy {policy:?}"), "DELETE", &path(case, &name), Some(&body));
        }
        case.pair.each(|side| drop(side.create(&bound_pod("q"))));
        case.same_call("in the query", "DELETE", &format!("{}?propagationPolicy=Background", path(case, "q")), None);
        case.pair.each(|side| drop(side.create(&bound_pod("d"))));
        case.same_call("dry run in the query", "DELETE", &format!("{}?dryRun=All", path(case, "d")), None);
        case.same_call("dry run in the body", "DELETE", &path(case, "d"), Some(&options(&json!({"dryRun": ["All"]}))));
        case.same_call(
            "dry run with grace 0",
            "DELETE",
            &format!("{}?dryRun=All&gracePeriodSeconds=0", path(case, "d")),
            None,
        );
        case.same_call("a dry run that is none", "DELETE", &format!("{}?dryRun=Some", path(case, "d")), None);
        case.same_call("nothing happened", "GET", &path(case, "d"), None);
    });
}

#[test]
fn bodies_of_deletions_that_are_none_are_refused_alike() {
    case("bodies of deletions", 0, |case| {
        for (what, body) in [
            ("no JSON", "hello"),
            ("an array", "[]"),
            ("cut off", r#"{"kind":"#),
            ("another kind", r#"{"kind":"Pod","apiVersion":"v1"}"#),
            ("no kind", r"{}"),
            ("kind and no version", r#"{"kind":"DeleteOptions"}"#),
            ("another version", r#"{"kind":"DeleteOptions","apiVersion":"v9"}"#),
            ("that of the group", r#"{"kind":"DeleteOptions","apiVersion":"policy/v1"}"#),
            ("an unknown field", r#"{"kind":"DeleteOptions","apiVersion":"v1","nonsense":1}"#),
        ] {
            case.pair.each(|side| drop(side.hfd.call("POST", &side.pods(), Some(&bound_pod("p")))));
            case.same(what, |side| side.hfd.send("DELETE", &side.pod_path("p"), "application/json", body.as_bytes()));
        }
    });
}

#[test]
fn a_collection_is_deleted_alike() {
    case("collections", 0, |case| {
        case.pair.each(|side| {
            side.create(&bound_pod("a"));
            side.create(&idle_pod("b"));
        });
        let pods = case.pair.pods();
        case.same("dry run", |side| side.admin.call("DELETE", &format!("{pods}?dryRun=All"), None));
        case.same("none selected", |side| side.admin.call("DELETE", &format!("{pods}?labelSelector=x"), None));
        case.same("a garbled selector", |side| side.admin.call("DELETE", &format!("{pods}?labelSelector=%28"), None));
        case.same("all", |side| side.admin.call("DELETE", &pods, None));
        case.same_call("what is left", "GET", &pods, None);
    });
}
