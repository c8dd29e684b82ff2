//! Namespaces: read, made, on their way out.

use serde_json::json;
use tests::http::Response;

use crate::{
    case::case,
    pair::{bound_pod, idle_pod},
};

#[test]
fn a_namespace_is_read_and_made_alike() {
    case("namespaces", 0, |case| {
        let own = format!("/api/v1/namespaces/{}", case.pair.namespace());
        case.same_call("its own", "GET", &own, None);
        case.same("that of everybody", |side| side.admin.call("GET", "/api/v1/namespaces/default", None));
        case.same("one that is not there", |side| side.admin.call("GET", "/api/v1/namespaces/there-is-none", None));
        let collection = "/api/v1/namespaces";
        for (what, name) in [
            ("a bad name", "Bad_Name".to_owned()),
            ("a name with a dot", "a.b".to_owned()),
            ("a long name", "x".repeat(64)),
            ("a name that is taken", case.pair.namespace().to_owned()),
        ] {
            let body = json!({"metadata": {"name": name}});
            case.same(what, |side| side.admin.call("POST", collection, Some(&body)));
        }
        let body = json!({"metadata": {"name": format!("{}-new", case.pair.namespace()), "labels": {"a": "b"}}});
        case.same("dry run", |side| side.admin.call("POST", &format!("{collection}?dryRun=All"), Some(&body)));
        case.same("the default one deleted", |side| {
            side.admin.call("DELETE", "/api/v1/namespaces/default?dryRun=All", None)
        });
    });
}

/// A namespace without the conditions in which the real controller reports how far its deletion has come.
fn without_progress(mut answer: Response) -> anyhow::Result<Response> {
    let mut namespace = answer.json()?;
    namespace["status"].as_object_mut().map(|status| status.remove("conditions"));
    answer.body = namespace.to_string().into_bytes();
    Ok(answer)
}

#[test]
fn a_namespace_on_its_way_out_takes_no_pods_alike() {
    case("terminating namespaces", 0, |case| {
        let own = format!("/api/v1/namespaces/{}", case.pair.namespace());
        let pods = case.pair.pods();
        case.pair.each(|side| drop(side.create(&bound_pod("p"))));
        case.same("delete", |side| side.admin.call("DELETE", &own, None));
        case.same("read", |side| without_progress(side.admin.call("GET", &own, None)?));
        case.same("create", |side| {
            // The role goes with the namespace, so that hfd itself may soon be forbidden.
            side.admin.call("POST", &pods, Some(&idle_pod("q")))
        });
        case.same("create, dry run", |side| {
            side.admin.call("POST", &format!("{pods}?dryRun=All"), Some(&idle_pod("q")))
        });
        case.same("create under a taken name", |side| side.admin.call("POST", &pods, Some(&idle_pod("p"))));
        case.same("create a bad pod", |side| side.admin.call("POST", &pods, Some(&json!({"metadata": {"name": "r"}}))));
        case.same("delete again", |side| without_progress(side.admin.call("DELETE", &own, None)?));
        case.same("make it again", |side| {
            side.admin.call("POST", "/api/v1/namespaces", Some(&json!({"metadata": {"name": case.pair.namespace()}})))
        });
    });
}
