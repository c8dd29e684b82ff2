//! Eviction, as `kubectl drain` asks for it, and the binding of a pod.

use serde_json::{Value, json};

use crate::{
    case::case,
    pair::{bound_pod, idle_pod},
};

fn eviction(name: &str) -> Value {
    json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}})
}

#[test]
fn a_pod_is_evicted_alike() {
    case("eviction", 0, |case| {
        let evict = |name: &str| format!("{}/{name}/eviction", case.pair.pods());
        case.pair.each(|side| drop(side.create(&bound_pod("p"))));
        let as_admin = |what: &str, name: &str, query: &str, body: &Value| {
            case.same(what, |side| side.admin.call("POST", &format!("{}{query}", evict(name)), Some(body)));
        };
        as_admin("dry run", "p", "?dryRun=All", &eviction("p"));
        case.same_call("nothing happened", "GET", &format!("{}/p", case.pair.pods()), None);
        as_admin("another name in the body", "p", "", &eviction("q"));
        as_admin(
            "a UID that is another's",
            "p",
            "",
            &json!({
                "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"},
                "deleteOptions": {"preconditions": {"uid": "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"}},
            }),
        );
        as_admin("first", "p", "", &eviction("p"));
        case.same_call("the evicted pod", "GET", &format!("{}/p", case.pair.pods()), None);
        as_admin("again", "p", "", &eviction("p"));
        as_admin("absent", "q", "", &eviction("q"));
        case.pair.each(|side| drop(side.create(&idle_pod("unbound"))));
        as_admin("a pod without node", "unbound", "", &eviction("unbound"));
        case.same_call("it is gone", "GET", &format!("{}/unbound", case.pair.pods()), None);
        case.pair.each(|side| drop(side.create(&bound_pod("r"))));
        as_admin(
            "with a grace of its own",
            "r",
            "",
            &json!({
                "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "r"},
                "deleteOptions": {"gracePeriodSeconds": 3},
            }),
        );
        case.same_call("its grace", "GET", &format!("{}/r", case.pair.pods()), None);
        case.pair.each(|side| drop(side.create(&bound_pod("s"))));
        as_admin(
            "the older version",
            "s",
            "",
            &json!({
                "apiVersion": "policy/v1beta1", "kind": "Eviction", "metadata": {"name": "s"},
            }),
        );
        as_admin("another kind", "s", "", &json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "s"}}));
        as_admin("no kind", "s", "", &json!({"metadata": {"name": "s"}}));
        case.same("empty", |side| side.admin.send("POST", &evict("s"), "application/json", b""));
        case.same("GET", |side| side.admin.call("GET", &evict("s"), None));
    });
}
