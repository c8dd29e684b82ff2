//! Who may do what: tokens, permissions, access reviews.

use serde_json::json;

use crate::{
    case::case,
    pair::{PATIENCE, idle_pod},
};
use tests::eventually;

#[test]
fn a_bad_token_is_refused_alike() {
    case("tokens", 0, |case| {
        let pods = case.pair.pods();
        let reads = [
            pods.clone(),
            format!("{pods}?watch=true"),
            format!("/api/v1/namespaces/{}", case.pair.namespace()),
            "/api/v1/nonsense".to_owned(),
        ];
        for path in &reads {
            let bad = Some("nonsense");
            case.same(&format!("a bad token for {}", path.rsplit('/').next().unwrap_or(path)), |side| {
                side.hfd.with_token(bad).call("GET", path, None)
            });
        }
        case.same("a create", |side| side.hfd.with_token(Some("a.b.c")).call("POST", &pods, Some(&idle_pod("p"))));
        case.same("a delete", |side| side.hfd.with_token(Some("x")).call("DELETE", &format!("{pods}/p"), None));
        case.same("no token", |side| side.hfd.with_token(None).call("GET", &pods, None));
    });
}

#[test]
fn what_the_shipped_role_does_not_allow_is_refused_alike() {
    case("forbidden", 0, |case| {
        let pods = case.pair.pods();
        let sandbox = &case.pair.sandbox;
        let deny = |verb: &str, resource: &str| {
            let denial = json!({"verb": verb, "resource": resource});
            sandbox.must_as_admin("POST", "/sandbox/deny", Some(&denial));
        };
        for (verb, resource) in [
            ("patch", "pods"),
            ("update", "pods"),
            ("deletecollection", "pods"),
            ("create", "pods/eviction"),
            ("get", "resourcequotas"),
            ("create", "resourcequotas"),
            ("list", "namespaces"),
            ("create", "namespaces"),
        ] {
            deny(verb, resource);
        }
        let label = json!({"metadata": {"labels": {"a": "b"}}});
        case.same_call("patch", "PATCH", &format!("{pods}/p"), Some(&label));
        case.same_call("update", "PUT", &format!("{pods}/p"), Some(&idle_pod("p")));
        case.same_call("deletecollection", "DELETE", &pods, None);
        let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}});
        case.same_call("evict", "POST", &format!("{pods}/p/eviction"), Some(&eviction));
        case.same_call("get a quota", "GET", &pods.replace("/pods", "/resourcequotas/q"), None);
        case.same_call("create a quota", "POST", &pods.replace("/pods", "/resourcequotas"), Some(&json!({})));
        case.same_call("list namespaces", "GET", "/api/v1/namespaces", None);
        case.same_call("create a namespace", "POST", "/api/v1/namespaces", Some(&json!({"metadata": {"name": "n"}})));
        case.same_call("its own namespace", "GET", &format!("/api/v1/namespaces/{}", case.pair.namespace()), None);
    });
}

#[test]
fn a_withdrawn_permission_is_refused_alike() {
    case("withdrawn", 0, |case| {
        let pods = case.pair.pods();
        for verb in ["get", "list", "watch", "create", "delete"] {
            let denial = json!({"verb": verb, "resource": "pods"});
            case.pair.sandbox.must_as_admin("POST", "/sandbox/deny", Some(&denial));
        }
        let binding = "/apis/rbac.authorization.k8s.io/v1".to_owned()
            + &pods.trim_start_matches("/api/v1").replace("/pods", "/rolebindings/hfd");
        let real = &case.pair.real;
        real.must_as_admin("DELETE", &binding, None);
        eventually("the permission is gone", PATIENCE, || {
            (real.hfd.call("GET", &pods, None).ok()?.code == 403).then_some(())
        });
        case.same_call("list", "GET", &pods, None);
        case.same_call("list of the whole cluster", "GET", "/api/v1/pods", None);
        case.same_call("watch", "GET", &format!("{pods}?watch=true"), None);
        case.same_call("get", "GET", &format!("{pods}/p"), None);
        case.same_call("create", "POST", &pods, Some(&idle_pod("p")));
        case.same_call("create what is no JSON", "POST", &pods, Some(&json!(7)));
        case.same_call("delete", "DELETE", &format!("{pods}/p"), None);
    });
}

#[test]
fn access_reviews_are_answered_alike() {
    case("access reviews", 0, |case| {
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        case.pair.sandbox.must_as_admin("POST", "/sandbox/deny", Some(&json!({"verb": "patch", "resource": "pods"})));
        for (verb, resource) in [
            ("create", "pods"),
            ("delete", "pods"),
            ("list", "pods"),
            ("watch", "pods"),
            ("get", "pods"),
            ("patch", "pods"),
        ] {
            let review = json!({
                "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": {"namespace": case.pair.namespace(), "verb": verb, "resource": resource}},
            });
            case.same_call(&format!("{verb} {resource}"), "POST", path, Some(&review));
        }
        for (what, body) in [
            ("nothing asked", json!({"spec": {}})),
            (
                "both asked",
                json!({"spec": {
                "resourceAttributes": {"verb": "get"}, "nonResourceAttributes": {"verb": "get", "path": "/"}}}),
            ),
            ("another kind", json!({"apiVersion": "v1", "kind": "Pod"})),
            ("a text", json!("x")),
        ] {
            case.same_call(what, "POST", path, Some(&body));
        }
        case.same("empty", |side| side.hfd.send("POST", path, "application/json", b""));
        case.same("GET", |side| side.admin.call("GET", path, None));
    });
}
