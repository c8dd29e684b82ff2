//! The gate itself (`tests::gate`), in front of a simulated cluster: what passes, what is counted, and each thing that
//! it makes go wrong.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{
    Cluster, ClusterOptions, eventually,
    http::{Endpoint, Events, Response},
};

const PODS: &str = "/api/v1/namespaces/default/pods";
const SOON: Duration = Duration::from_secs(20);

/// A simulated cluster, a gate in front of it, and somebody who comes through the gate.
struct Scene {
    through: Endpoint,
    cluster: Cluster,
    // Last: the cluster's files lie in it.
    _dir: TempDir,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let cluster = Cluster::start_gated(dir.path(), &ClusterOptions::default());
        let through = Endpoint::from_kubeconfig(cluster.kubeconfig()).expect("the gate wrote it");
        Self { through, cluster, _dir: dir }
    }

    fn create(&self, name: &str) -> anyhow::Result<Response> {
        self.through.call("POST", PODS, Some(&pod(name)))
    }

    /// Sees the pod past the gate.
    fn is_there(&self, name: &str) -> bool {
        self.cluster.pod(name).is_some()
    }

    /// A watch from now on, and the version that it begins at.
    fn watch(&self) -> (Events, u64) {
        let list = self.through.json("GET", PODS, None).expect("pods can be listed");
        let version = list["metadata"]["resourceVersion"].as_str().expect("a list has a version").to_owned();
        let version = version.parse().expect("versions are numbers");
        (self.watch_from(version), version)
    }

    fn watch_from(&self, version: u64) -> Events {
        let path = format!("{PODS}?watch=1&allowWatchBookmarks=true&resourceVersion={version}&timeoutSeconds=120");
        self.through.watch(&path).expect("a watch is never refused")
    }
}

fn pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [{"name": "main", "image": "registry.example/other:1"}]}})
}

fn next(events: &mut Events) -> Value {
    events.next().expect("the watch has not ended").expect("the watch is not broken")
}

/// What passes is what the server says, its refusals too, and all of it is counted.
#[test]
fn what_passes_is_the_servers_own_answer_and_is_counted() {
    let scene = Scene::new();
    assert_eq!(scene.create("a").expect("an answer").code, 201);
    let again = scene.create("a").expect("an answer");
    let direct = scene.cluster.endpoint().call("POST", PODS, Some(&pod("a"))).expect("an answer");
    assert_eq!((again.code, &again.body), (409, &direct.body));
    assert_eq!(again.headers.get("content-type"), direct.headers.get("content-type"));
    let (mut watch, _) = scene.watch();
    let gone = scene.through.call("DELETE", &format!("{PODS}/a"), Some(&json!({"gracePeriodSeconds": 0})));
    assert_eq!(gone.expect("an answer").code, 200);
    while next(&mut watch)["type"] != "DELETED" {}
    let counters = scene.cluster.counters();
    let counters: Vec<(&str, u64)> = counters.iter().map(|(key, count)| (key.as_str(), *count)).collect();
    assert_eq!(counters, [("create pods", 2), ("delete pods", 1), ("list pods", 1), ("watch pods", 1)]);
    scene.cluster.reset_counters();
    assert!(scene.cluster.counters().is_empty());
}

/// An answer is made up, and nothing is done, or it is done all the same.
#[test]
fn an_answer_is_given_instead_of_or_after_the_operation() {
    let scene = Scene::new();
    let busy = json!({"code": 429, "message": "Too many requests", "retryAfter": 7, "plainText": true});
    scene.cluster.fault(&json!({"verb": "create", "resource": "pods", "count": 1, "action": {"status": busy}}));
    let answer = scene.create("a").expect("an answer");
    assert_eq!((answer.code, answer.body.as_slice()), (429, &b"Too many requests\n"[..]));
    assert_eq!(answer.headers["retry-after"], "7");
    assert!(!scene.is_there("a"));
    let late = json!({"code": 504, "reason": "Timeout", "message": "x"});
    scene.cluster.fault(&json!({"verb": "create", "resource": "pods", "count": 1, "action": {"statusAfter": late}}));
    let answer = scene.create("a").expect("an answer");
    assert_eq!((answer.code, answer.json().expect("a Status")["reason"].clone()), (504, json!("Timeout")));
    assert!(scene.is_there("a"));
    assert_eq!(scene.create("b").expect("an answer").code, 201, "both faults are used up");
}

/// A connection is closed without an answer, and the operation is done, not done, or done later.
#[test]
fn a_connection_drops_before_or_after_the_operation_or_long_before_it() {
    let scene = Scene::new();
    for (when, is_done) in [("before", false), ("after", true)] {
        scene.cluster.fault(&json!({"verb": "create", "resource": "pods", "count": 1, "action": {"drop": when}}));
        assert!(scene.create(when).is_err(), "no answer");
        assert_eq!(scene.is_there(when), is_done, "{when}");
    }
    let begun = Instant::now();
    scene.cluster.fault(&json!({"verb": "create", "resource": "pods", "count": 1, "action": {"late": 700}}));
    assert!(scene.create("late").is_err(), "no answer");
    assert!(!scene.is_there("late"));
    eventually("it is done later", SOON, || scene.is_there("late").then_some(()));
    assert!(begun.elapsed() >= Duration::from_millis(700));
}

/// An answer comes late, or never.
#[test]
fn an_answer_is_slow_or_never_comes() {
    let scene = Scene::new();
    let slow = scene.cluster.pod_fault("get", &json!({"delayMs": 300}));
    let begun = Instant::now();
    assert_eq!(scene.through.call("GET", &format!("{PODS}/a"), None).expect("an answer").code, 404);
    assert!(begun.elapsed() >= Duration::from_millis(300));
    scene.cluster.end_fault(slow);
    scene.cluster.pod_fault("get", &json!({"hang": true}));
    let mut raw = TcpStream::connect(scene.through.address()).expect("the gate listens");
    raw.set_read_timeout(Some(Duration::from_millis(500))).expect("a time-out can be set");
    write!(raw, "GET {PODS}/a HTTP/1.1\r\nHost: gate\r\n\r\n").expect("the gate reads");
    let silence = raw.read(&mut [0; 1]).expect_err("there is no answer");
    assert!(matches!(silence.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{silence}");
}

/// A fault strikes only what it names, and counts its hits.
#[test]
fn a_fault_strikes_what_it_names_and_counts_its_hits() {
    let scene = Scene::new();
    let refuse = |code: u16| json!({"status": {"code": code}});
    let create = |more: Value| {
        let mut fault = json!({"verb": "create", "resource": "pods", "action": refuse(500)});
        for (field, value) in more.as_object().into_iter().flatten() {
            fault[field] = value.clone();
        }
        scene.cluster.fault(&fault)
    };
    assert_eq!(scene.create("marked-before").expect("an answer").code, 201);
    let by_name = create(json!({"namePrefix": "bad-"}));
    create(json!({"verb": "*", "labelContains": "app=marked", "action": refuse(502)}));
    assert_eq!(scene.create("good").expect("an answer").code, 201);
    assert_eq!(scene.create("bad-1").expect("an answer").code, 500);
    assert_eq!(scene.create("marked").expect("an answer").code, 502);
    let listed = scene.through.call("GET", &format!("{PODS}?labelSelector=app%3Dmarked"), None);
    assert_eq!(listed.expect("an answer").code, 502, "a list is known by its selector");
    let stored = scene.through.call("DELETE", &format!("{PODS}/marked-before"), None);
    assert_eq!(stored.expect("an answer").code, 502, "a pod that is there by its labels");
    let faults = scene.cluster.faults();
    assert_eq!((&faults[0]["hits"], &faults[1]["hits"]), (&json!(1), &json!(3)));
    scene.cluster.end_fault(by_name);
    assert_eq!(scene.create("bad-1").expect("an answer").code, 201);
    scene.cluster.end_faults();
    assert_eq!(scene.cluster.faults(), json!([]));
}

/// A cut watch breaks off inside a frame.
#[test]
fn a_cut_watch_breaks_in_the_middle_of_an_event() {
    let scene = Scene::new();
    let (mut watch, _) = scene.watch();
    scene.create("a").expect("an answer");
    assert_eq!(next(&mut watch)["type"], "ADDED");
    scene.cluster.watch("cut");
    // What was on its way before the cut still comes.
    assert!(watch.any(|event| event.is_err()), "it ended as if nothing had been");
}

/// In silence a watch stays open and carries nothing; then it carries what it missed, in order.
#[test]
fn a_silent_watch_carries_nothing_and_then_all_that_it_missed() {
    let scene = Scene::new();
    let (mut watch, version) = scene.watch();
    scene.cluster.silence(true);
    scene.create("a").expect("an answer");
    let path = format!("{PODS}?watch=1&resourceVersion={version}");
    let mut raw = TcpStream::connect(scene.through.address()).expect("the gate listens");
    raw.set_read_timeout(Some(SOON)).expect("a time-out can be set");
    let token = scene.through.token().expect("it has a token");
    write!(raw, "GET {path} HTTP/1.1\r\nHost: gate\r\nAuthorization: Bearer {token}\r\n\r\n").expect("the gate reads");
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        raw.read_exact(&mut byte).expect("a head comes");
        head.extend(byte);
    }
    raw.set_read_timeout(Some(Duration::from_millis(500))).expect("a time-out can be set");
    let mut heard = Vec::new();
    let end = raw.read_to_end(&mut heard).expect_err("it stays open");
    assert!(matches!(end.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{end}");
    assert!(heard.is_empty(), "a head and nothing else: {}", String::from_utf8_lossy(&heard));
    scene.cluster.silence(false);
    let event = next(&mut watch);
    assert_eq!((&event["type"], &event["object"]["metadata"]["name"]), (&json!("ADDED"), &json!("a")));
}

/// After a compaction an old version is too old, in the server's words; a new list's version is not.
#[test]
fn after_a_compaction_a_watch_from_before_is_told_so_and_a_new_one_is_not() {
    let scene = Scene::new();
    scene.create("a").expect("an answer");
    let (_, old) = scene.watch();
    scene.cluster.watch("compact");
    let mut expired = scene.watch_from(old);
    let event = next(&mut expired);
    assert_eq!((&event["type"], &event["object"]["code"]), (&json!("ERROR"), &json!(410)));
    let message = event["object"]["message"].as_str().expect("a Status has a message").to_owned();
    assert!(message.starts_with("too old resource version"), "{message}");
    assert!(expired.next().is_none(), "it has ended");
    let (mut fresh, _) = scene.watch();
    scene.create("b").expect("an answer");
    // The first pod may still be starting.
    while next(&mut fresh)["object"]["metadata"]["name"] != "b" {}
}

/// A watch that was silent while the past was forgotten can't go on either.
#[test]
fn a_watch_that_was_silent_during_a_compaction_ends_with_410() {
    let scene = Scene::new();
    let (mut watch, _) = scene.watch();
    scene.cluster.silence(true);
    scene.cluster.watch("compact");
    scene.cluster.silence(false);
    assert_eq!(next(&mut watch)["object"]["code"], 410);
    assert!(watch.next().is_none());
}

/// In an outage every connection is closed, open ones too, but for the controls.
#[test]
fn an_outage_closes_every_connection_but_those_of_the_controls() {
    let scene = Scene::new();
    let (mut watch, _) = scene.watch();
    scene.cluster.outage(true);
    assert!(watch.next().is_none_or(|event| event.is_err()), "open streams break");
    assert!(scene.create("a").is_err());
    assert!(!scene.is_there("a"));
    scene.cluster.outage(false);
    assert_eq!(scene.create("a").expect("an answer").code, 201);
}

/// The server itself refuses credentials that are of no good.
#[test]
fn unauthorized_is_the_servers_own_refusal() {
    let scene = Scene::new();
    scene.cluster.unauthorized(true);
    let answer = scene.create("a").expect("an answer");
    assert_eq!((answer.code, answer.json().expect("a Status")["reason"].clone()), (401, json!("Unauthorized")));
    scene.cluster.unauthorized(false);
    assert_eq!(scene.create("a").expect("an answer").code, 201);
}

/// The controls want the token, and refuse what they don't know.
#[test]
fn the_controls_refuse_strangers_and_nonsense() {
    let scene = Scene::new();
    let code = |endpoint: &Endpoint, path: &str, body: Value| {
        endpoint.call("POST", path, Some(&body)).expect("an answer").code
    };
    let stranger = scene.through.with_token(Some("somebody"));
    assert_eq!(code(&stranger, "/sandbox/outage", json!({"on": true})), 401);
    assert_eq!(code(&scene.through, "/sandbox/outage", json!({"off": true})), 400);
    assert_eq!(code(&scene.through, "/sandbox/faults", json!({"verb": "get", "resource": "pods"})), 400);
    let odd = json!({"verb": "get", "resource": "pods", "action": {"status": {"code": 99}}});
    assert_eq!(code(&scene.through, "/sandbox/faults", odd), 400);
    assert_eq!(code(&scene.through, "/sandbox/nonsense", json!({})), 404);
    assert_eq!(code(&scene.through, "/sandbox/namespaces/other/recreate", json!({})), 404);
}

/// The history counts the pods of each name, however short they lived, whoever made them.
#[test]
fn the_history_counts_the_pods_of_each_name() {
    let scene = Scene::new();
    for _ in 0..3 {
        assert_eq!(scene.create("a").expect("an answer").code, 201);
        scene.cluster.remove_pod("a");
    }
    scene.cluster.create_pod("b", &json!({}), &json!({}));
    let history = scene.cluster.history();
    assert_eq!((history["a"].created, history["a"].exists), (3, false));
    assert_eq!((history["b"].created, history["b"].exists), (1, true));
    eventually("b was ready", SOON, || scene.cluster.history()["b"].ever_ready.then_some(()));
}

/// Nodes, pods, permissions and the namespace are changed by the cluster itself.
#[test]
fn what_changes_the_cluster_reaches_the_cluster() {
    let scene = Scene::new();
    scene.create("a").expect("an answer");
    eventually("it is ready", SOON, || scene.cluster.history()["a"].ever_ready.then_some(()));
    scene.cluster.set_pod("a", &json!({"annotations": {"team.example/mark": "x"}}));
    assert_eq!(scene.cluster.pod("a").expect("it is there")["metadata"]["annotations"]["team.example/mark"], "x");
    scene.cluster.deny("create", "pods");
    assert_eq!(scene.create("b").expect("an answer").code, 403);
    scene.cluster.allow_all();
    assert_eq!(scene.create("b").expect("an answer").code, 201);
    scene.cluster.node(&scene.cluster.node_of("a"), "lose");
    eventually("its pod is collected", SOON, || (!scene.is_there("a")).then_some(()));
    scene.cluster.recreate_namespace();
    assert!(scene.cluster.pods().is_empty());
}
