//! LIST: selectors, pages, versions.

use serde_json::{Value, json};
use tests::http::Response;

use crate::{
    case::{Case, case},
    pair::{Side, bound_pod, idle_pod},
};

/// Percent-encodes what a query can't hold as it is.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().into_iter().flatten();
    items.map(|item| item["metadata"]["name"].as_str().unwrap_or("?").to_owned()).collect()
}

fn page(side: &Side, query: &str) -> Value {
    side.must("GET", &format!("{}?{query}", side.pods()), None)
}

fn create_numbered(case: &Case, count: u32) {
    case.pair.each(|side| {
        for number in 0..count {
            side.create(&bound_pod(&format!("pod-{number:02}")));
        }
    });
    case.pair.settle();
}

#[test]
fn a_list_has_the_same_form() {
    case("lists", 0, |case| {
        let pods = case.pair.pods();
        case.same_call("empty", "GET", &pods, None);
        case.pair.each(|side| {
            for name in ["b", "a", "c.d", "c-d"] {
                side.create(&idle_pod(name));
            }
        });
        case.same_call("four", "GET", &pods, None);
        case.same_call("limit 2", "GET", &format!("{pods}?limit=2"), None);
        case.same_call("limit 0", "GET", &format!("{pods}?limit=0"), None);
        case.same_call("a garbled limit", "GET", &format!("{pods}?limit=x"), None);
        case.same_call("a negative limit", "GET", &format!("{pods}?limit=-1"), None);
        case.same_call("an unknown parameter", "GET", &format!("{pods}?nonsense=1"), None);
        case.same("metadata only", |side| {
            side.get_accepting(&pods, "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")
        });
        case.same("a namespace that is not there", |side| {
            side.admin.call("GET", "/api/v1/namespaces/there-is-none/pods", None)
        });
    });
}

#[test]
fn label_selectors_select_alike() {
    case("label selectors", 0, |case| {
        let pods = case.pair.pods();
        case.pair.each(|side| {
            for (name, labels) in [
                ("a", json!({"app": "web", "tier": "1"})),
                ("b", json!({"app": "db", "tier": "2"})),
                ("c", json!({"app": "", "other": "x"})),
                ("d", json!({})),
            ] {
                let mut pod = idle_pod(name);
                pod["metadata"]["labels"] = labels;
                side.create(&pod);
            }
        });
        for selector in [
            "app",
            "!app",
            "app=web",
            "app==web",
            "app!=web",
            "app in (web,db)",
            "app in (web, db)",
            "app notin (web)",
            "app in ()",
            "app in (web,)",
            "app=",
            "app!=",
            "tier>1",
            "tier<2",
            "tier>x",
            "app=web,tier=1",
            "app=web,tier=2",
            "app = web",
            " app ",
            ",",
            "app=web,",
            ",app",
            "app===web",
            "app in web",
            "app in (web",
            "=web",
            "!",
            "!!app",
            "a b",
            "app=we b",
            "app=a/b",
            "Bad_/x",
            "x/y/z",
            "app in (a b)",
            "(",
            "app=web;tier=1",
            "app not in (web)",
            "app=%",
            "other",
            "-x",
            "app=-x",
            "symphony/hostfactory-provider=k8s-hf,app.kubernetes.io/managed-by=hfd",
        ] {
            let path = format!("{pods}?labelSelector={}", escaped(selector));
            case.same(&format!("selector {selector:?}"), |side| {
                let answer = side.hfd.call("GET", &path, None)?;
                Ok(if answer.code == 200 { shortened(answer)? } else { answer })
            });
        }
        let long = "x".repeat(64);
        for (what, selector) in [("a long value", format!("app={long}")), ("a long key", format!("{long}=v"))] {
            case.same_call(what, "GET", &format!("{pods}?labelSelector={selector}"), None);
        }
    });
}

#[test]
fn field_selectors_select_alike() {
    case("field selectors", 0, |case| {
        let pods = case.pair.pods();
        case.pair.each(|side| {
            side.create(&idle_pod("a"));
            side.create(&bound_pod("b"));
        });
        for selector in [
            "metadata.name=a",
            "metadata.name==a",
            "metadata.name!=a",
            "metadata.name=none",
            "metadata.namespace=x",
            "spec.nodeName=ghost",
            "spec.nodeName=",
            "spec.nodeName!=",
            "status.phase=Pending",
            "status.phase!=Pending",
            "spec.restartPolicy=Always",
            "spec.schedulerName=nobody",
            "spec.serviceAccountName=default",
            "spec.hostNetwork=false",
            "status.podIP=",
            "status.nominatedNodeName=",
            "metadata.name=a,spec.nodeName=",
            "metadata.labels=x",
            "metadata.uid=x",
            "spec.nonsense=x",
            "nonsense",
            "a=b=c",
            "=x",
            ",",
            "metadata.name",
            "status.phase in (Pending)",
            "metadata.name=a\\,b",
        ] {
            let path = format!("{pods}?fieldSelector={}", escaped(selector));
            case.same(&format!("selector {selector:?}"), |side| {
                let answer = side.hfd.call("GET", &path, None)?;
                Ok(if answer.code == 200 { shortened(answer)? } else { answer })
            });
        }
    });
}

#[test]
fn pages_show_one_state_whatever_is_deleted_between_them() {
    case("pages", 0, |case| {
        create_numbered(case, 25);
        let pods = case.pair.pods();
        case.same_value("all pages", |side| {
            let mut pages = Vec::new();
            let mut more = String::new();
            loop {
                let list = page(side, &format!("limit=10{more}"));
                pages.push(json!([names(&list), list["metadata"]]));
                let Some(token) = list["metadata"]["continue"].as_str() else { break };
                more = format!("&continue={}", escaped(token));
                if pages.len() == 1 {
                    for name in ["pod-03", "pod-12", "pod-24"] {
                        side.must("DELETE", &format!("{}?gracePeriodSeconds=0", side.pod_path(name)), None);
                    }
                    side.create(&bound_pod("pod-15-later"));
                }
            }
            json!(pages)
        });
        case.same_value("all pages have the version of the first", |side| {
            let first = page(side, "limit=10");
            side.create(&bound_pod("zz"));
            let token = first["metadata"]["continue"].as_str().expect("there is more");
            let second = page(side, &format!("limit=100&continue={}", escaped(token)));
            side.must("DELETE", &format!("{}?gracePeriodSeconds=0", side.pod_path("zz")), None);
            let version = |list: &Value| list["metadata"]["resourceVersion"].clone();
            json!([version(&first) == version(&second), names(&second), second["metadata"]["continue"]])
        });
        case.same_value("a selected page has no count of the rest", |side| {
            let list = page(side, "limit=10&labelSelector=app%3Dworker");
            json!([names(&list), list["metadata"]])
        });
        case.same_value("a page that ends with the last", |side| {
            let list = page(side, "limit=23");
            json!([names(&list).len(), list["metadata"]])
        });
        for token in ["x", "nonsense%3D%3D", "eyJ2IjoibWV0YS5rOHMuaW8vdjEifQ", "00", "%20"] {
            case.same_call(&format!("token {token}"), "GET", &format!("{pods}?limit=10&continue={token}"), None);
        }
        case.same("a token with a version", |side| {
            let list = page(side, "limit=10");
            let token = escaped(list["metadata"]["continue"].as_str().expect("there is more"));
            side.hfd.call("GET", &format!("{pods}?limit=10&resourceVersion=1&continue={token}"), None)
        });
        case.same("a token without a limit", |side| {
            let list = page(side, "limit=20");
            let token = escaped(list["metadata"]["continue"].as_str().expect("there is more"));
            shortened(side.hfd.call("GET", &format!("{pods}?continue={token}"), None)?)
        });
    });
}

#[test]
fn versions_of_lists_are_taken_alike() {
    case("versions of lists", 0, |case| {
        create_numbered(case, 3);
        let pods = case.pair.pods();
        for query in [
            "resourceVersion=0",
            "resourceVersion=0&limit=2",
            "resourceVersion=0&resourceVersionMatch=NotOlderThan",
            "resourceVersion=0&resourceVersionMatch=Exact",
            "resourceVersionMatch=Exact",
            "resourceVersionMatch=NotOlderThan",
            "resourceVersion=x",
            "resourceVersion=-1",
            "resourceVersion=x&resourceVersionMatch=Exact",
            "resourceVersion=0&resourceVersionMatch=Nonsense",
            "resourceVersion=5&resourceVersionMatch=",
            "sendInitialEvents=true",
            "sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
        ] {
            let path = format!("{pods}?{query}");
            case.same(query, |side| {
                let answer = side.hfd.call("GET", &path, None)?;
                Ok(if answer.code == 200 { shortened(answer)? } else { answer })
            });
        }
        for matching in ["", "&resourceVersionMatch=NotOlderThan", "&resourceVersionMatch=Exact", "&limit=1"] {
            case.same_value(&format!("an older version{matching}"), |side| {
                let version = side.version();
                side.create(&bound_pod("later"));
                case.pair.settle();
                let path = format!("{pods}?resourceVersion={version}{matching}");
                let answer = side.hfd.call("GET", &path, None).expect("an answer");
                side.must("DELETE", &format!("{}?gracePeriodSeconds=0", side.pod_path("later")), None);
                let list = answer.json().expect("a list");
                let exact = list["metadata"]["resourceVersion"] == version.as_str();
                json!([answer.code, exact, names(&list), list["metadata"]["remainingItemCount"]])
            });
        }
    });
}

/// A list whose items are only names.
fn shortened(mut answer: Response) -> anyhow::Result<Response> {
    let mut list = answer.json()?;
    list["items"] = json!(names(&list));
    answer.body = list.to_string().into_bytes();
    Ok(answer)
}
