//! Watches: order and form of events, bookmarks, ends, and versions that can't be served.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{
    case::{Case, case},
    normal::{self, Numbers},
    pair::{Side, bound_pod, idle_pod},
};

/// A merge patch as administrator: hfd itself changes no pod.
fn patch(side: &Side, name: &str, patch: &Value) {
    side.must_as_admin("PATCH", &side.pod_path(name), Some(patch));
}

fn delete(side: &Side, name: &str, query: &str) {
    side.must("DELETE", &format!("{}{query}", side.pod_path(name)), None);
}

/// All events of a watch from `version` on, of which all have happened.
fn replayed(side: &Side, version: &str, query: &str) -> Vec<Value> {
    side.settle();
    side.watched(&format!("timeoutSeconds=1&resourceVersion={version}{query}"))
}

fn versions(events: &[Value]) -> Vec<u64> {
    let version = |event: &Value| event["object"]["metadata"]["resourceVersion"].as_str()?.parse().ok();
    events.iter().map(|event| version(event).expect("each event has a version")).collect()
}

/// A watch's answer as it is compared, whether it is refused or opened: the code, the header, and all that it carries.
fn whole(side: &Side, query: &str, numbers: Numbers) -> Value {
    let path = format!("{}?watch=true&{query}", side.pods());
    let answer = side.hfd.call("GET", &path, None).unwrap_or_else(|error| panic!("{}: {error:#}", side.name));
    let lines = String::from_utf8_lossy(&answer.body).lines().count();
    if answer.code != 200 || lines == 0 {
        return normal::answer(&answer, numbers);
    }
    let events: Vec<Value> = String::from_utf8_lossy(&answer.body)
        .lines()
        .map(|line| normal::normal("", &serde_json::from_str(line).expect("an event is JSON"), numbers))
        .collect();
    let mut events = if query.contains("timeoutSeconds=1") { without_last_bookmark(events) } else { events };
    // Near its end the real server may send the last bookmark twice.
    events.dedup();
    json!({"code": answer.code, "content-type": answer.headers["content-type"].to_str().ok(), "events": events})
}

/// Before the end of a stream that is shorter than the two seconds before which the last bookmark is due, the real
/// server may send one or not.
fn without_last_bookmark(mut events: Vec<Value>) -> Vec<Value> {
    let ordinary = |event: &Value| event["type"] == "BOOKMARK" && event["object"]["metadata"]["annotations"].is_null();
    while events.last().is_some_and(ordinary) {
        events.pop();
    }
    events
}

fn compare_whole(case: &Case, what: &str, numbers: Numbers, query: impl Fn(&Side) -> String) {
    let [sandbox, real] = [&case.pair.sandbox, &case.pair.real].map(|side| whole(side, &query(side), numbers));
    case.compare(what, &sandbox, &real);
}

#[test]
fn events_come_in_the_same_order_and_form() {
    case("events", 0, |case| {
        case.same_value("all that happens to two pods", |side| {
            let version = side.version();
            side.create(&idle_pod("a"));
            side.create(&bound_pod("b"));
            patch(side, "a", &json!({"metadata": {"labels": {"x": "y"}}}));
            patch(side, "b", &json!({"metadata": {"annotations": {"x": "y"}}}));
            delete(side, "a", "");
            delete(side, "b", "");
            delete(side, "b", "?gracePeriodSeconds=5");
            delete(side, "b", "?gracePeriodSeconds=0");
            let events = replayed(side, &version, "");
            let numbers = versions(&events);
            json!({"events": events, "versions ascend": numbers.is_sorted_by(|left, right| left < right)})
        });
        case.same_value("a change that changes nothing", |side| {
            side.create(&idle_pod("c"));
            let version = side.version();
            patch(side, "c", &json!({"metadata": {"labels": {"app": "worker"}}}));
            json!(replayed(side, &version, ""))
        });
        case.same_value("a deleted pod has a version of its own", |side| {
            let before = versions(&[json!({"object": side.pod("c")})]);
            let version = side.version();
            delete(side, "c", "");
            json!(versions(&replayed(side, &version, ""))[0] > before[0])
        });
        case.same_value("a name used again", |side| {
            let version = side.version();
            for _ in 0..2 {
                side.create(&idle_pod("d"));
                delete(side, "d", "");
            }
            let events = replayed(side, &version, "");
            let uid = |event: &Value| event["object"]["metadata"]["uid"].clone();
            json!([events.iter().map(|event| &event["type"]).collect::<Vec<_>>(), uid(&events[1]) == uid(&events[2])])
        });
    });
}

#[test]
fn a_selected_watch_shows_what_comes_in_and_goes_out_alike() {
    case("selected watches", 0, |case| {
        let moves = |side: &Side, query: &str| {
            let version = side.version();
            side.create(&idle_pod("p"));
            patch(side, "p", &json!({"metadata": {"labels": {"app": "other"}}}));
            patch(side, "p", &json!({"metadata": {"labels": {"more": "1"}}}));
            patch(side, "p", &json!({"metadata": {"labels": {"app": "worker"}}}));
            patch(side, "p", &json!({"metadata": {"labels": {"app": null}}}));
            delete(side, "p", "");
            let events = replayed(side, &version, query);
            let numbers = versions(&events);
            json!({"events": events, "versions ascend": numbers.is_sorted_by(|left, right| left < right)})
        };
        case.same_value("by label", |side| moves(side, "&labelSelector=app%3Dworker"));
        case.same_value("by the absence of a label", |side| moves(side, "&labelSelector=%21more"));
        case.same_value("by name", |side| moves(side, "&fieldSelector=metadata.name%3Dp"));
        case.same_value("by another name", |side| moves(side, "&fieldSelector=metadata.name%3Dq"));
        case.same_value("deleted while it is selected", |side| {
            let version = side.version();
            side.create(&bound_pod("r"));
            delete(side, "r", "?gracePeriodSeconds=0");
            json!(replayed(side, &version, "&labelSelector=app%3Dworker"))
        });
        let names = |query: &'static str| move |side: &Side| json!(side.watched(&format!("timeoutSeconds=1&{query}")));
        case.pair.each(|side| {
            side.create(&idle_pod("s"));
            side.create(&bound_pod("t"));
        });
        case.pair.settle();
        case.same_value("without a version", names("labelSelector=app%3Dworker"));
        case.same_value("from version 0", names("resourceVersion=0"));
        case.same_value("on one node", names("resourceVersion=0&fieldSelector=spec.nodeName%3Dghost"));
    });
}

#[test]
fn bookmarks_and_initial_events_have_the_same_form() {
    case("bookmarks", 0, |case| {
        case.pair.each(|side| {
            side.create(&idle_pod("a"));
            side.create(&idle_pod("b"));
        });
        case.pair.settle();
        let kept = Numbers::Kept;
        for query in [
            "timeoutSeconds=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
            "timeoutSeconds=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan\
             &resourceVersion=0",
            "timeoutSeconds=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan\
             &labelSelector=app%3Dother",
            "timeoutSeconds=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
            "timeoutSeconds=1&allowWatchBookmarks=true&sendInitialEvents=false&resourceVersionMatch=NotOlderThan",
            "timeoutSeconds=1&sendInitialEvents=true",
            "timeoutSeconds=1&sendInitialEvents=true&resourceVersionMatch=Exact&resourceVersion=1",
            "timeoutSeconds=1&resourceVersionMatch=NotOlderThan&resourceVersion=1",
            "timeoutSeconds=1&allowWatchBookmarks=nonsense&resourceVersion=0",
            "timeoutSeconds=x",
            "timeoutSeconds=-1&resourceVersion=x",
            "labelSelector=%28",
            "fieldSelector=nonsense%3D1",
            "timeoutSeconds=1&limit=1&resourceVersion=0",
            "timeoutSeconds=1&continue=x&resourceVersion=0",
        ] {
            compare_whole(case, query, kept, |_| query.to_owned());
        }
        case.same_value("the bookmark after the initial events is not older than they are", |side| {
            let query =
                "timeoutSeconds=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
            json!(versions(&side.watched(query)).iter().rev().is_sorted_by(|later, earlier| later >= earlier))
        });
        compare_whole(case, "a quiet stream without bookmarks", kept, |side| {
            format!("timeoutSeconds=2&resourceVersion={}", side.version())
        });
    });
}

/// hfd takes a watch for dead that says nothing for 90 s (`lifecycle.md` 7): bookmarks have to keep a quiet one alive.
#[test]
fn a_quiet_watch_has_a_bookmark_long_before_its_end() {
    // A bookmark also comes just before a watch ends, and that one does not count.
    const LIFE: Duration = Duration::from_secs(900);
    case("quiet watches", 0, |case| {
        case.same_value("the first bookmark", |side| {
            let query = format!("watch=true&timeoutSeconds={}&allowWatchBookmarks=true", LIFE.as_secs());
            let path = format!("{}?{query}&resourceVersion={}", side.pods(), side.version());
            let begun = Instant::now();
            let mut events = side.hfd.watch(&path).unwrap_or_else(|error| panic!("{}: {error:#}", side.name));
            let first = events.next().expect("a quiet watch is not empty").expect("an event");
            json!([first, begun.elapsed() < LIFE / 2])
        });
    });
}

#[test]
fn versions_that_are_none_are_refused_alike() {
    case("versions of watches", 0, |case| {
        for version in ["x", "-1", "1.5"] {
            compare_whole(case, version, Numbers::Kept, |_| format!("timeoutSeconds=1&resourceVersion={version}"));
        }
    });
}

#[test]
fn a_watch_of_one_pod_and_of_metadata_is_alike() {
    case("other watches", 0, |case| {
        case.pair.each(|side| drop(side.create(&idle_pod("a"))));
        case.pair.settle();
        let path = format!("{}?watch=true&timeoutSeconds=1&resourceVersion=0", case.pair.pods());
        let events = |side: &Side, accept: &str| {
            let answer = side.get_accepting(&path, accept).expect("an answer");
            let lines = String::from_utf8_lossy(&answer.body).lines().map(str::to_owned).collect::<Vec<_>>();
            let events: Vec<Value> = lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
            json!([answer.code, answer.headers["content-type"].to_str().ok(), events])
        };
        case.same_value("metadata", |side| {
            events(side, "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1")
        });
        case.same_value("a stream of JSON", |side| events(side, "application/json;stream=watch"));
        case.same_value("anything", |side| events(side, "*/*"));
    });
}
