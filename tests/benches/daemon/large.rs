//! On one cluster that grows to 10,000 machines: what a status costs at each size, what the daemon does while nothing
//! happens, and how long it takes to serve again after an end.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use tests::figures::{Samples, Table, millis};

use crate::{
    Report,
    durable::{request, wait_complete},
    event::status_time,
    plot, proc, scene, timed,
    wire::{Caller, machines_call, status_call},
};

/// Machines in the cluster, one size after the other.
const SIZES: [u64; 5] = [1, 10, 100, 1000, 10_000];
/// Status calls of one machine at each size.
const SMALL_ROUNDS: usize = 1000;
/// Status calls of all machines at each size.
const ALL_ROUNDS: usize = 100;
/// How long the idle daemon is looked at.
const IDLE: Duration = Duration::from_secs(60);
/// Starts after an end by SIGKILL, and after a clean one.
const STARTS: usize = 10;

pub(crate) fn run(report: &mut Report) {
    let mut world = scene(12_000, &[]);
    let mut caller = Caller::connect(world.daemon.socket()).expect("hfd serves");
    let mut ids: Vec<String> = Vec::new();
    let (mut of_one, mut of_all) = (Vec::new(), Vec::new());
    let mut machines = 0;
    for size in SIZES {
        ids.push(request(&mut caller, &machines_call("small", size - machines)));
        machines = size;
        wait_complete(&mut caller, &ids);
        thread::sleep(Duration::from_millis(500));
        let (one, all) = (status_call(&ids[..1]), status_call(&ids));
        let (mut small, mut large) = (Samples::default(), Samples::default());
        for round in 0..SMALL_ROUNDS {
            small.push(status_time(&mut caller, &one));
            if round % (SMALL_ROUNDS / ALL_ROUNDS) == 0 {
                large.push(status_time(&mut caller, &all));
            }
        }
        of_one.push((size, small));
        of_all.push((size, large));
    }
    let mut table = Table::new(&["machines in the cluster", "status of 1 machine", "status of all", "a machine"]);
    for ((size, small), (_, large)) in of_one.iter().zip(&of_all) {
        let each = large.median().as_secs_f64() * 1e6 / *size as f64;
        table.row(&[size.to_string(), small.summary(), large.summary(), format!("{each:.2} µs")]);
    }
    report.growth(table, plot::of(&medians(&of_one), &medians(&of_all)));

    thread::sleep(Duration::from_secs(5));
    let before = proc::processor_time(world.daemon.id());
    let begun = Instant::now();
    thread::sleep(IDLE);
    let used = proc::processor_time(world.daemon.id()).checked_sub(before).unwrap_or_default();
    let share = used.as_secs_f64() / begun.elapsed().as_secs_f64() * 100.0;
    let what = format!("processor time of an idle daemon with {machines} live pods, over {} s", IDLE.as_secs());
    let used = format!("{share:.3} % ({:.1} ms)", millis(used));
    report.cells(&[&what, "<= 0.1 % of a core", "nothing", "0", &used, ""]);

    for (end, clean) in [("SIGKILL", false), ("a clean end", true)] {
        let (mut floor, mut start) = (Samples::default(), Samples::default());
        let mut bytes = 0;
        for _ in 0..STARTS {
            if clean {
                world.daemon.terminate();
            } else {
                world.daemon.kill9();
            }
            floor.push(timed(|| bytes = read_all(&world.dir().join("state"))));
            let spec = world.daemon.spec().clone();
            start.push(timed(|| {
                world.daemon = tests::Daemon::start_only(spec);
                serve(world.daemon.socket(), &status_call(&ids[..1]));
            }));
            world.wait_synced();
        }
        let what = format!("start to the first answer with {machines} open machines, after {end}");
        let floor_name = format!("reading the {:.1} MB of the journal", bytes as f64 / 1e6);
        report.row(&what, "<= 300 ms", &floor_name, &floor, &start);
    }
}

fn medians(sizes: &[(u64, Samples)]) -> Vec<(f64, f64)> {
    sizes.iter().map(|(size, samples)| (*size as f64, millis(samples.median()))).collect()
}

/// Until the daemon on this socket has answered.
fn serve(socket: &std::path::Path, call: &[u8]) {
    let begun = Instant::now();
    loop {
        if Caller::connect(socket).and_then(|mut caller| caller.exchange(call).map(|_| ())).is_ok() {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "hfd does not serve");
        thread::sleep(Duration::from_micros(500));
    }
}

/// Reads the journal's files and tells their bytes; the reserve is no part of it.
fn read_all(dir: &std::path::Path) -> usize {
    let files = fs::read_dir(dir).expect("the state directory").flatten();
    let journal = files.filter(|file| file.file_name().to_string_lossy().starts_with("journal.db"));
    journal.map(|file| fs::read(file.path()).map_or(0, |bytes| bytes.len())).sum()
}
