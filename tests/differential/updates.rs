//! Changes to pods and nodes, as people make them with kubectl; hfd itself makes none.

use serde_json::json;

use crate::{case::case, pair::idle_pod};

#[test]
fn a_pod_is_patched_alike() {
    case("patches", 0, |case| {
        let path = format!("{}/p", case.pair.pods());
        case.pair.each(|side| drop(side.create(&idle_pod("p"))));
        let patch = |what: &str, body: serde_json::Value| {
            case.same(what, |side| side.admin.call("PATCH", &path, Some(&body)));
        };
        patch("a label", json!({"metadata": {"labels": {"a": "b"}}}));
        patch("a label taken away", json!({"metadata": {"labels": {"a": null}}}));
        patch("all labels taken away", json!({"metadata": {"labels": null}}));
        patch("an annotation", json!({"metadata": {"annotations": {"a": "b"}}}));
        patch("nothing", json!({}));
        patch("a bad label", json!({"metadata": {"labels": {"a": "b c"}}}));
        patch("another name", json!({"metadata": {"name": "q"}}));
        patch("another UID", json!({"metadata": {"uid": "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"}}));
        patch("an old version", json!({"metadata": {"resourceVersion": "1"}}));
        patch("a fixed field", json!({"spec": {"nodeName": "n"}}));
        patch("a list", json!([]));
        case.same("absent", |side| side.admin.call("PATCH", &format!("{path}-absent"), Some(&json!({}))));
        case.same("an unknown type", |side| side.admin.send("PATCH", &path, "application/json", b"{}"));
        case.same("no JSON", |side| side.admin.send("PATCH", &path, "application/merge-patch+json", b"x"));
        case.same("a strategic patch", |side| {
            let body = br#"{"metadata":{"labels":{"s":"t"}}}"#;
            side.admin.send("PATCH", &path, "application/strategic-merge-patch+json", body)
        });
    });
}
