//! requestMachines, accepted and durable: one caller, and a thousand at once.

use std::{
    sync::{Barrier, mpsc},
    thread,
    time::{Duration, Instant},
};

use tests::figures::Samples;

use crate::{
    Report,
    disk::{Appender, BareStore, STACK_BYTES},
    proc::processor_time,
    scene, timed,
    wire::{Caller, machines_call, status_call},
};

/// Alternated rounds of one caller.
const ROUNDS: usize = 300;
/// Callers at once.
const CALLERS: usize = 1000;
/// Alternated rounds of them.
const BURSTS: usize = 7;

pub(crate) fn run(report: &mut Report) {
    let world = scene(20_000, &[]);
    let mut caller = Caller::connect(world.daemon.socket()).expect("hfd serves");
    let ask = machines_call("small", 1);
    let mut ids = vec![request(&mut caller, &ask)];
    wait_complete(&mut caller, &ids);
    let status = status_call(&ids);
    let (mut floor, mut accepted) = (Samples::default(), Samples::default());
    let mut appender = Appender::new(world.dir());
    for _ in 0..ROUNDS {
        let call = timed(|| assert!(!caller.exchange(&status).expect("hfd answers").is_empty()));
        floor.push(call + appender.append());
        let mut id = String::new();
        accepted.push(timed(|| id = request(&mut caller, &ask)));
        // What follows (the create, the watch's news, their commits) is over before the next round.
        wait_complete(&mut caller, std::slice::from_ref(&id));
        ids.push(id);
    }
    let what = "`requestMachines`, accepted and durable, on an open connection";
    report.row(what, "<= 1.5x", "a status call + 4 KiB appended and fsynced", &floor, &accepted);

    let store = BareStore::open(world.dir());
    let (mut floor, mut accepted, mut each) = (Samples::default(), Samples::default(), Samples::default());
    let mut processor = Samples::default();
    for _ in 0..BURSTS {
        floor.push(store.burst(CALLERS));
        let before = processor_time(world.daemon.id());
        let (all, singles, ids) = burst(&world, &ask);
        processor.push(processor_time(world.daemon.id()).saturating_sub(before));
        accepted.push(all);
        singles.into_iter().for_each(|time| each.push(time));
        wait_complete(&mut caller, &ids);
    }
    let commits = store.close();
    let what = format!("the same, {CALLERS} callers at once: until all are told");
    let store = format!("the bare store, {CALLERS} writers, {:.1} commits", commits as f64 / BURSTS as f64);
    report.row(&what, "stated", &store, &floor, &accepted);
    let rate = |samples: &Samples| format!("{:.0} acks/s", CALLERS as f64 / samples.median().as_secs_f64());
    report.cells(&["the same as a rate", "stated", "the same", &rate(&floor), &rate(&accepted), ""]);
    let used = processor.summary();
    report.cells(&["the same: processor time of the daemon, with the creates that begin", "stated", "", "", &used, ""]);
    let p99 = format!("{:.1} ms", tests::figures::millis(each.quantile(990)));
    report.cells(&["the same: p99 of the callers", "stated", "", "", &p99, ""]);
}

fn burst(world: &tests::World, ask: &[u8]) -> (Duration, Vec<Duration>, Vec<String>) {
    let start = Barrier::new(CALLERS + 1);
    let (told, tells) = mpsc::channel();
    let all = thread::scope(|scope| {
        let running: Vec<_> = (0..CALLERS)
            .map(|_| {
                let (start, told) = (&start, told.clone());
                let call = move || {
                    let mut caller = Caller::connect(world.daemon.socket()).expect("hfd serves");
                    start.wait();
                    let begun = Instant::now();
                    let id = request(&mut caller, ask);
                    told.send((begun.elapsed(), id)).expect("the bench waits");
                };
                thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, call).expect("a thread")
            })
            .collect();
        start.wait();
        let begun = Instant::now();
        running.into_iter().for_each(|caller| caller.join().expect("a caller does not panic"));
        begun.elapsed()
    });
    drop(told);
    let (times, ids) = tells.into_iter().unzip();
    (all, times, ids)
}

pub(crate) fn request(caller: &mut Caller, ask: &[u8]) -> String {
    caller.ask(ask)["requestId"].as_str().expect("an id").to_owned()
}

/// Until all machines of these requests are ready.
pub(crate) fn wait_complete(caller: &mut Caller, ids: &[String]) {
    let asks: Vec<_> = ids.chunks(100).map(status_call).collect();
    for ask in asks {
        tests::eventually("all machines are ready", Duration::from_secs(900), || {
            let answer = caller.ask(&ask);
            let requests = answer["requests"].as_array().expect("an answer for each");
            let ended = |status: &serde_json::Value| {
                assert!(status != "complete_with_error", "a request failed: {answer}");
                status == "complete"
            };
            requests.iter().all(|request| ended(&request["status"])).then_some(())
        });
    }
}
