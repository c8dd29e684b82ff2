//! What is answered to those who ask for a past that is forgotten: 410, from which kube's watcher starts over.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tests::{eventually, http::Endpoint};

use crate::{
    case::{Case, case},
    normal::{self, Numbers},
    pair::{PATIENCE, Side, bound_pod},
};

/// Makes both sides forget all that was before now: the sandbox by its own endpoint, the real server's storage as the
/// server itself has it done every five minutes.
fn forget(case: &Case) {
    case.pair.sandbox.must_as_admin("POST", "/sandbox/watch/compact", None);
    let real = &case.pair.real;
    let flags = real.admin.get_accepting("/flagz", "text/plain").expect("the server shows its flags").body;
    let flags = String::from_utf8_lossy(&flags).into_owned();
    // What stands between a flag's name and its value changes from answer to answer.
    let is_etcd = |line: &&str| line.starts_with("etcd-servers") && !line.starts_with("etcd-servers-");
    let line = flags.lines().find(is_etcd).expect("it has an etcd");
    let address = line.split(['[', ']']).nth(1).expect("the address of etcd");
    let now = json!({"revision": real.version(), "physical": true});
    Endpoint::plain(address, None)
        .json("POST", "/v3/kv/compaction", Some(&now))
        .unwrap_or_else(|error| panic!("{error:#}"));
}

/// The same place in the list, of a version that is long forgotten.
fn aged(side: &Side, token: &str) -> String {
    if side.name == "sandbox" {
        return token.to_owned();
    }
    let text = URL_SAFE_NO_PAD.decode(token.trim_end_matches('=')).expect("a token is base64");
    let mut place: Value = serde_json::from_slice(&text).expect("a token is JSON");
    place["rv"] = json!(2);
    URL_SAFE_NO_PAD.encode(place.to_string())
}

#[test]
fn a_page_of_a_forgotten_state_is_refused_alike() {
    case("forgotten lists", 0, |case| {
        case.pair.each(|side| {
            for name in ["a", "b", "c"] {
                side.create(&bound_pod(name));
            }
        });
        let tokens = [&case.pair.sandbox, &case.pair.real].map(|side| {
            let list = side.must("GET", &format!("{}?limit=1", side.pods()), None);
            let token = list["metadata"]["continue"].as_str().expect("there is more").to_owned();
            side.create(&bound_pod("d"));
            aged(side, &token)
        });
        forget(case);
        let token = |side: &Side| if side.name == "sandbox" { &tokens[0] } else { &tokens[1] };
        case.same("the next page", |side| {
            side.hfd.call("GET", &format!("{}?limit=1&continue={}", side.pods(), token(side)), None)
        });
        case.same_value("the rest by the token of the refusal", |side| {
            let refused = side.hfd.call("GET", &format!("{}?limit=1&continue={}", side.pods(), token(side)), None);
            let status = refused.expect("an answer").json().expect("a Status");
            let token = status["metadata"]["continue"].as_str().expect("a way on").trim_end_matches('=').to_owned();
            let list = side.must("GET", &format!("{}?limit=10&continue={token}", side.pods()), None);
            let names = list["items"].as_array().into_iter().flatten().map(|pod| pod["metadata"]["name"].clone());
            json!([names.collect::<Vec<_>>(), list["metadata"]["continue"]])
        });
        case.same_but_numbers("a list of exactly an old version", |side| {
            side.hfd.call("GET", &format!("{}?resourceVersion=2&resourceVersionMatch=Exact", side.pods()), None)
        });
        case.same_but_numbers("a page of an old version", |side| {
            side.hfd.call("GET", &format!("{}?resourceVersion=2&limit=2", side.pods()), None)
        });
    });
}

/// A kind of its own: the real server has watched it only from now on, and so knows nothing older, as of the pods after
/// its restart. The name is that of the case's namespace, for cases run side by side.
fn new_kind(case: &Case) -> String {
    let group = format!("{}.hfd.test", case.pair.namespace());
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("things.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}},
            }],
        },
    });
    let real = &case.pair.real;
    real.must_as_admin("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", Some(&definition));
    let path = format!("/apis/{group}/v1/namespaces/{}/things", case.pair.namespace());
    eventually("the new kind is served", PATIENCE, || {
        (real.admin.call("GET", &path, None).ok()?.code == 200).then_some(())
    });
    path
}

#[test]
fn a_watch_from_a_forgotten_version_is_told_so_alike() {
    case("forgotten watches", 0, |case| {
        let things = new_kind(case);
        case.pair.each(|side| drop(side.create(&bound_pod("a"))));
        case.pair.sandbox.must_as_admin("POST", "/sandbox/watch/compact", None);
        for bookmarks in ["", "&allowWatchBookmarks=true"] {
            let query = format!("watch=true&timeoutSeconds=5&resourceVersion=1{bookmarks}");
            case.same_but_numbers(&format!("too old{bookmarks}"), |side| {
                let path = if side.name == "sandbox" { &side.pods() } else { &things };
                side.admin.call("GET", &format!("{path}?{query}"), None)
            });
        }
        let name = things.split('/').nth(2).expect("a group").to_owned();
        let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.{name}");
        case.pair.real.must_as_admin("DELETE", &path, None);
    });
}

#[test]
fn a_version_that_is_still_to_come_is_refused_alike() {
    case("versions to come", 0, |case| {
        for query in [
            "resourceVersion=9000000000",
            "resourceVersion=9000000000&resourceVersionMatch=NotOlderThan",
            "resourceVersion=9000000000&resourceVersionMatch=Exact",
            "resourceVersion=9000000000&limit=2",
        ] {
            case.same_but_numbers(query, |side| side.hfd.call("GET", &format!("{}?{query}", side.pods()), None));
        }
        let watch = "watch=true&timeoutSeconds=5&allowWatchBookmarks=true&resourceVersion=9000000000";
        for more in ["", "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"] {
            case.same_value(&format!("watch{more}"), |side| {
                let answer = side.hfd.call("GET", &format!("{}?{watch}{more}", side.pods()), None).expect("an answer");
                let body = normal::text(&String::from_utf8_lossy(&answer.body), Numbers::Masked);
                json!([answer.code, serde_json::from_str::<Value>(&body).ok()])
            });
        }
    });
}
