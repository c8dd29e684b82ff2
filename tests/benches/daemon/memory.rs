//! What a pod costs in resident memory, and what a status costs beside many.
//!
//! Two daemons look at the same cluster, one after the other, each freshly started: one whose journal has the machines,
//! and one with an empty journal, to which the pods are strangers of its own provider. So the second shows what the
//! pod cache costs, and the first what a machine costs with its pod.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tests::{Cluster, Daemon, DaemonSpec, Template, bins, figures::Samples};

use crate::{
    Report,
    durable::{request, wait_complete},
    event::status_time,
    proc::{forget_peak, resident},
    scene,
    wire::{Caller, machines_call, status_call},
};

/// Machines of one request.
const REQUEST: u64 = 10_000;
/// Status calls of one machine at each size.
const STATUS_ROUNDS: usize = 1000;
/// Pods in one page of a list, as configured by default.
const PAGE: u64 = 500;
/// Longest wait for a list.
const PATIENCE: Duration = Duration::from_secs(1800);
/// Bytes of the slim record in the cache with its key (a test of `daemon/src/cache.rs` holds it below that).
const RECORD: u64 = 136;

/// Resident memory at one size.
struct Level {
    pods: u64,
    /// The daemon whose journal has the machines: after start and list, and its peak in a later relist.
    machines: (u64, u64),
    /// The same of the daemon with an empty journal.
    cached: (u64, u64),
    /// Times of a status call of one machine.
    of_one: Samples,
}

pub(crate) fn run(report: &mut Report, levels: &[u64]) {
    let most = levels.iter().copied().max().unwrap_or(0);
    let filler = "x".repeat(1800);
    let template = Template::new("large").max(-1).annotate("example.com/filler", &filler);
    let mut world = scene(u32::try_from(most + most / 10 + 1000).expect("a number of pods"), &[template]);
    let mut spec = world.daemon.spec().clone();
    spec.env.extend(allocator_settings());
    world.daemon.terminate();
    world.daemon = Daemon::start(spec.clone());
    wait_pods(&world.daemon, 0);
    let mut rows = Vec::new();
    let mut caller = Caller::connect(world.daemon.socket()).expect("hfd serves");
    let first = request(&mut caller, &machines_call("large", 1));
    wait_complete(&mut caller, std::slice::from_ref(&first));
    drop(caller);
    let status = status_call(&[first]);
    let mut pods = 1;
    for &level in std::iter::once(&1).chain(levels) {
        let begun = Instant::now();
        let mut caller = Caller::connect(world.daemon.socket()).expect("hfd serves");
        while pods < level {
            let count = (level - pods).min(REQUEST);
            let id = request(&mut caller, &machines_call("large", count));
            wait_complete(&mut caller, &[id]);
            pods += count;
        }
        drop(caller);
        let grown = resident(world.daemon.id()).0;
        let took = begun.elapsed().as_secs_f64();
        world.daemon.terminate();
        world.daemon = Daemon::start(spec.clone());
        let machines = measure(&world.daemon, &world.cluster, pods);
        world.daemon.terminate();
        let empty = DaemonSpec { state_dir: world.dir().join(format!("empty-{pods}")), ..spec.clone() };
        let mut stranger = Daemon::start(empty);
        let cached = measure(&stranger, &world.cluster, pods);
        stranger.terminate();
        println!("{pods} pods after {took:.0} s: {grown} B as grown; machines {machines:?}, cached {cached:?}");
        world.daemon = Daemon::start(spec.clone());
        wait_pods(&world.daemon, pods);
        let mut caller = Caller::connect(world.daemon.socket()).expect("hfd serves");
        let mut of_one = Samples::default();
        (0..STATUS_ROUNDS).for_each(|_| of_one.push(status_time(&mut caller, &status)));
        rows.push(Level { pods, machines, cached, of_one });
    }
    let path = format!("/api/v1/namespaces/{}/pods?limit=1", world.cluster.namespace());
    let list = world.cluster.endpoint().json("GET", &path, None).expect("the cluster lists");
    report.note(&format!("A pod of the memory figures is {} bytes of JSON.", list["items"][0].to_string().len()));
    for pair in rows.windows(2) {
        let [less, more] = pair else { unreachable!() };
        let marginal = |of: fn(&Level) -> u64| of(more).saturating_sub(of(less)) / (more.pods - less.pods);
        let what = |kind: &str| format!("resident memory, {kind}, between {} and {} pods", less.pods, more.pods);
        let cached = marginal(|level| level.cached.0);
        let floor = format!("{RECORD} B");
        let ratio = format!("{:.2}x", cached as f64 / RECORD as f64);
        let cells = [&*what("a cached pod"), "<= 512 B", "the slim record", &floor, &format!("{cached} B"), &ratio];
        report.cells(&cells);
        let both = marginal(|level| level.machines.0);
        report.cells(&[&what("a machine and its pod"), "stated", "", "", &format!("{both} B"), ""]);
    }
    for level in &rows[1..] {
        let what = format!("status of 1 machine, {} pods cached", level.pods);
        report.row(&what, "no growth", "the same with 1 pod", &rows[0].of_one, &level.of_one);
        for (kind, (before, peak)) in [("empty journal", level.cached), ("with its machines", level.machines)] {
            report.cells(&[
                &format!("peak of a relist of {} pods, {kind}", level.pods),
                "<= 1.3x",
                "resident before it",
                &mib(before),
                &mib(peak),
                &format!("{:.2}x", peak as f64 / before as f64),
            ]);
        }
    }
}

/// What the systemd unit sets for glibc's allocator.
fn allocator_settings() -> Vec<(String, String)> {
    let unit = fs::read_to_string(bins::source_root().join("systemd/hfd@.service")).expect("the unit is in the tree");
    let set = unit.lines().filter_map(|line| line.strip_prefix("Environment=")).flat_map(str::split_whitespace);
    let settings: Vec<_> = set
        .filter_map(|setting| setting.split_once('='))
        .filter(|(name, _)| name.starts_with("MALLOC_"))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    assert!(!settings.is_empty(), "the unit sets nothing for the allocator");
    settings
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1_048_576.0)
}

/// Resident memory after the start, and the peak of a relist.
fn measure(daemon: &Daemon, cluster: &Cluster, pods: u64) -> (u64, u64) {
    wait_pods(daemon, pods);
    // What the start left to be given back is given back; the level is what stays.
    thread::sleep(Duration::from_secs(3));
    let before = resident(daemon.id()).0;
    forget_peak(daemon.id());
    let enough = lists(daemon) + pods.div_ceil(PAGE).max(1);
    // The watch has not seen this one, which is not ours: so where it wants to go on is forgotten.
    let passer_by = format!("passer-by-{}", daemon.id());
    cluster.create_pod(&passer_by, &serde_json::json!({}), &serde_json::json!({}));
    cluster.watch("compact");
    cluster.watch("cut");
    tests::eventually("the pods are listed anew", PATIENCE, || {
        let status = daemon.status()?;
        // A daemon that waits for an operator, as the one with the empty journal does, does not call itself fresh.
        (count_of_lists(&status) >= enough && status["kube"]["synced"] == true).then_some(())
    });
    thread::sleep(Duration::from_secs(2));
    cluster.remove_pod(&passer_by);
    (before, resident(daemon.id()).1)
}

fn wait_pods(daemon: &Daemon, pods: u64) {
    tests::eventually("the daemon has seen the pods", PATIENCE, || {
        let status = daemon.status()?;
        let seen: u64 = status["pods"]["cached"].as_u64()?;
        (status["kube"]["synced"] == true && seen >= pods).then_some(())
    });
}

fn lists(daemon: &Daemon) -> u64 {
    daemon.status().as_ref().map_or(0, count_of_lists)
}

fn count_of_lists(status: &Value) -> u64 {
    status["apiCalls"]["list pods"].as_u64().unwrap_or(0)
}
