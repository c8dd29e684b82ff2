//! From a pod's turning ready to a status that says so.

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use tests::{
    Template, World,
    figures::{Samples, millis},
};

use crate::{
    Report,
    disk::Appender,
    durable::request,
    scene, timed,
    wire::{Caller, machines_call, status_call},
};

const ROUNDS: usize = 300;
/// Longest wait for one event.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn run(report: &mut Report) {
    let world = scene(4000, &[Template::new("waits").max(-1).fate("never-ready")]);
    let events = ready_events(&world);
    let mut caller = Caller::connect(world.daemon.socket()).expect("hfd serves");
    let ask = machines_call("waits", 1);
    let mut appender = Appender::new(world.dir());
    let (mut floor, mut visible, mut fsync) = (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..ROUNDS {
        let id = request(&mut caller, &ask);
        let status = status_call(&[id]);
        let name = tests::eventually("the pod runs", PATIENCE, || {
            let answer = caller.ask(&status);
            let name = answer["requests"][0]["machines"][0]["name"].as_str()?;
            let pod = world.cluster.pod(name)?;
            (pod["status"]["phase"] == "Running").then(|| name.to_owned())
        });
        // Its own commits are over.
        thread::sleep(Duration::from_millis(30));
        let begun = Instant::now();
        let shown = thread::scope(|scope| {
            scope.spawn(|| world.cluster.set_pod(&name, &json!({"ready": true})));
            while !contains(caller.exchange(&status).expect("hfd answers"), b"\"complete\"") {
                assert!(begun.elapsed() < PATIENCE, "{name} is never told as ready");
            }
            begun.elapsed()
        });
        let heard = loop {
            let (at, ready): (Instant, String) = events.recv_timeout(PATIENCE).expect("the watch shows it");
            if ready == name {
                break at.duration_since(begun);
            }
        };
        let durable = appender.append();
        fsync.push(durable);
        floor.push(heard + durable);
        visible.push(shown);
    }
    let floor_name = "a bare watch gets the event + 4 KiB appended and fsynced";
    report.row("a pod turns ready: until a status says so", "median <= 1.5x", floor_name, &floor, &visible);
    let [of_fsync, of_floor, of_it] = [&fsync, &floor, &visible].map(|samples| millis(samples.quantile(990)));
    let floor_name = format!("the same; the fsync alone {of_fsync:.1} ms");
    report.cells(&[
        "the same: p99",
        "stated",
        &floor_name,
        &format!("{of_floor:.1} ms"),
        &format!("{of_it:.1} ms"),
        &format!("{:.2}x", of_it / of_floor),
    ]);
}

/// Names of pods as a bare client's watch shows them ready, and when it did.
fn ready_events(world: &World) -> mpsc::Receiver<(Instant, String)> {
    let path = format!("/api/v1/namespaces/{}/pods", world.cluster.namespace());
    let endpoint = world.cluster.endpoint().clone();
    let list = endpoint.json("GET", &format!("{path}?limit=1"), None).expect("the cluster lists");
    let version = list["metadata"]["resourceVersion"].as_str().expect("a list has a version").to_owned();
    let (found, events) = mpsc::channel();
    let watch = endpoint.watch(&format!("{path}?watch=true&resourceVersion={version}&timeoutSeconds=3600"));
    let watch = watch.expect("the cluster takes a watch");
    thread::spawn(move || {
        for event in watch {
            let Ok(event) = event else { return };
            let at = Instant::now();
            let pod = &event["object"];
            let conditions = pod["status"]["conditions"].as_array();
            let is_ready = |all: &Vec<serde_json::Value>| {
                all.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
            };
            if conditions.is_some_and(is_ready)
                && let Some(name) = pod["metadata"]["name"].as_str()
                && found.send((at, name.to_owned())).is_err()
            {
                return;
            }
        }
    });
    events
}

fn contains(answer: &[u8], what: &[u8]) -> bool {
    answer.windows(what.len()).any(|bytes| bytes == what)
}

/// The time of a status call of one machine, with the answer compared with nothing.
pub(crate) fn status_time(caller: &mut Caller, status: &[u8]) -> Duration {
    timed(|| assert!(!caller.exchange(status).expect("hfd answers").is_empty()))
}
