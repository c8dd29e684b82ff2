//! Pods as fast as the API server takes them: hfd beside a bare watching client on a real control plane.
//!
//! ```text
//! target/debug/testbed run --nodes 100 --node-grace 3600 -- cargo bench -p tests --bench cluster [-- --write --pairs=N --large=N --in-flight=N]
//! ```
//!
//! | subject | floor |
//! |---|---|
//! | 1,000 machines asked for, until hfd reports all ready | a bare client: the same bytes of the same creates, until its own watch has shown all ready with an address |
//! | 1,000 returned, until hfd reports all gone | the same client: deletes with the UID as precondition, until its watch has shown all gone |
//! | both with 10,000 in one request | the same |
//!
//! The floor's concurrency is the best of some that are tried first, for creates and deletes apart. Subject and floor
//! alternate in pairs, the first of a pair alternates too; what is stated is the median of the pairs' ratios, with the
//! 95 % interval of the sign test. It asserts the number of API calls and nothing about time; `--write` puts the tables
//! into `tests/BENCH.md`.

mod body;
mod floor;
mod hfd;
mod wire;

use std::{fmt::Write as _, time::Duration};

use body::Body;
use floor::{Client, Round};
use hfd::Waited;
use serde_json::json;
use tempfile::TempDir;
use tests::{
    Daemon, DaemonSpec, Template,
    figures::{Samples, Table, machine, median_interval, millis, write_section},
    template,
    testbed::{Facts, Ground},
};
use wire::Server;

/// Machines of a request.
const MACHINES: usize = 1_000;
/// Machines of the large request.
const MANY: usize = 10_000;
/// Alternated pairs of them, where nobody says otherwise.
const PAIRS: usize = 12;
/// Alternated pairs of the large one.
const LARGE_PAIRS: usize = 1;
/// Calls in flight that the floor tries.
const CONCURRENCIES: [usize; 5] = [8, 16, 32, 64, 128];
/// Rounds of each.
const TRIES: usize = 2;
/// Time between the polls of hfd.
const POLL_EVERY: Duration = Duration::from_millis(50);
/// The same while 10,000 machines are waited for.
const POLL_MANY_EVERY: Duration = Duration::from_millis(500);

fn main() {
    let argument = |name: &str| std::env::args().find_map(|arg| arg.strip_prefix(name)?.parse::<usize>().ok());
    let write = std::env::args().any(|arg| arg == "--write");
    let (pairs, large_pairs) = (argument("--pairs=").unwrap_or(PAIRS), argument("--large=").unwrap_or(LARGE_PAIRS));
    let Some(facts) = Facts::of_environment() else {
        // As part of all benches it has nothing to say without a testbed.
        println!("cluster: no testbed (HFD_TESTBED); see tests/README.md");
        return;
    };
    let machine = machine();
    println!("{machine}");
    let mut bench = Bench::start(&facts);
    let best = match argument("--in-flight=") {
        Some(given) => bench.given(given),
        None => bench.best(),
    };
    let mut table =
        Table::new(&["what", "target", "floor takes", "hfd takes", "median ratio", "95 % interval", "polls"]);
    let small = bench.pairs(MACHINES, pairs, POLL_EVERY, best);
    small.rows(MACHINES, &mut table);
    let large = bench.pairs(MANY, large_pairs, POLL_MANY_EVERY, best);
    large.rows(MANY, &mut table);
    let mut notes = bench.notes;
    let more = [
        format!(
            "* API calls, by hfd's own counts: exactly 2 a machine (a create and a delete, no other call) and 0 a poll: {} \
             machines, {} polls",
            MACHINES * pairs + MANY * large_pairs,
            small.polls() + large.polls()
        ),
        format!("* most resident memory (VmHWM): {}", high_waters(&small, &large)),
    ];
    if !small.floor.is_empty() {
        let cpu = small.cpu.summary();
        writeln!(notes, "* hfd's processor time in a round of {MACHINES} (up and down, polls included): {cpu}")
            .expect("a string takes everything");
    }
    more.iter().for_each(|line| writeln!(notes, "{line}").expect("a string takes everything"));
    println!("\n{}\n{notes}", table.text());
    if write {
        let intro = format!(
            "## The cluster\n\n`target/debug/testbed run --nodes 100 --node-grace 3600 -- cargo bench -p tests --bench cluster -- --write` \
             on {machine}. API server, etcd, scheduler, controllers and nodes have the same cores, and most of the time \
             is theirs.\n\nThe floor is a bare client with a watch and the same create bodies. {pairs} alternated pairs of \
             {MACHINES}, {large_pairs} of {MANY}; medians with the middle half, the median of the pairs' ratios and its \
             interval by the sign test. hfd is asked every {} ms ({} ms for {MANY}), and its time has the wait for the \
             next poll in it; how old its news may have been is stated apart.",
            POLL_EVERY.as_millis(),
            POLL_MANY_EVERY.as_millis()
        );
        write_section("cluster", &format!("{intro}\n\n{}\n{notes}", table.text()));
    }
}

/// Both sides, on the same nodes.
struct Bench {
    daemon: Daemon,
    floor: Client,
    notes: String,
    // They end in this order.
    _grounds: [Ground; 2],
    _dir: TempDir,
}

/// Calls in flight.
#[derive(Clone, Copy)]
struct Best {
    creates: usize,
    deletes: usize,
}

/// Times of alternated pairs.
#[derive(Default)]
struct Pairs {
    floor: Vec<Round>,
    ready: Vec<Waited>,
    gone: Vec<Waited>,
    cpu: Samples,
    high_water: u64,
}

impl Bench {
    fn start(facts: &Facts) -> Self {
        let ours = Ground::on_the_shared_nodes(facts).expect("the testbed prepares a namespace");
        let theirs = Ground::on_the_shared_nodes(facts).expect("the testbed prepares a namespace");
        let dir = tempfile::Builder::new().prefix("hfd-cluster-").tempdir().expect("a temporary directory can be made");
        let (kubeconfig, templates) = (dir.path().join("kubeconfig"), dir.path().join("templates.json"));
        template::replace(&kubeconfig, facts.kubeconfig(ours.namespace(), ours.token()).as_bytes());
        // On a busy machine the nodes are late to say that they are well, and the cluster would take the pods from them.
        let endured = |key: &str| json!({"key": format!("node.kubernetes.io/{key}"), "operator": "Exists"});
        let template =
            Template::new("small").pod("/spec/tolerations", json!([endured("unreachable"), endured("not-ready")]));
        template::write_file(&templates, std::slice::from_ref(&template));
        let mut spec = DaemonSpec::new(dir.path(), &kubeconfig, &templates);
        spec.namespace = ours.namespace().to_owned();
        spec.set("machines.ready_deadline", "1h");
        // On a busy machine the watch is seconds late; the looks that would follow are no part of what is measured.
        spec.set("machines.unseen_look_after", "5m");
        let body = Body::of_hfd(theirs.namespace(), &template);
        println!("a create has {} bytes", body.size());
        let floor = Client::new(Server::new(facts, &theirs), body);
        let daemon = Daemon::start(spec);
        hfd::wait_serving(&daemon);
        Self { daemon, floor, notes: String::new(), _grounds: [ours, theirs], _dir: dir }
    }

    /// Takes a concurrency that was found before.
    fn given(&mut self, concurrency: usize) -> Best {
        writeln!(self.notes, "* the floor's calls in flight: {concurrency}, given").expect("a string takes everything");
        Best { creates: concurrency, deletes: concurrency }
    }

    /// Finds the floor's best concurrency.
    fn best(&mut self) -> Best {
        // The first round warms everything up.
        self.floor.round(MACHINES, 32, 32);
        let mut tried = CONCURRENCIES.map(|concurrency| (concurrency, Duration::MAX, Duration::MAX));
        for _ in 0..TRIES {
            for (concurrency, ready, gone) in &mut tried {
                let round = self.floor.round(MACHINES, *concurrency, *concurrency);
                println!("floor, {concurrency} in flight: {}", shown(&round));
                (*ready, *gone) = ((*ready).min(round.ready), (*gone).min(round.gone));
            }
        }
        let fastest = |time: fn(&(usize, Duration, Duration)) -> Duration| {
            tried.iter().min_by_key(|tried| time(tried)).expect("some were tried").0
        };
        let best = Best { creates: fastest(|tried| tried.1), deletes: fastest(|tried| tried.2) };
        let each = tried.map(|(concurrency, ready, gone)| {
            format!("{concurrency}: {:.2} s and {:.2} s", ready.as_secs_f64(), gone.as_secs_f64())
        });
        let note = format!(
            "* the floor's calls in flight, {MACHINES} ready and gone, the better of {TRIES}: {}; used: {} for creates, \
             {} for deletes",
            each.join(", "),
            best.creates,
            best.deletes
        );
        println!("{note}");
        writeln!(self.notes, "{note}").expect("a string takes everything");
        best
    }

    fn pairs(&mut self, count: usize, pairs: usize, every: Duration, best: Best) -> Pairs {
        let mut times = Pairs::default();
        let before = hfd::api_calls(&self.daemon);
        for pair in 0..pairs {
            for floor_first in [pair % 2 == 0, pair % 2 != 0] {
                if floor_first {
                    let round = self.floor.round(count, best.creates, best.deletes);
                    println!("floor, {count}: {}", shown(&round));
                    times.floor.push(round);
                } else {
                    let before = hfd::cpu(&self.daemon);
                    let (ready, names) = hfd::bring_up(&self.daemon, "small", count, every);
                    let gone = hfd::take_down(&self.daemon, &names, every);
                    let cpu = hfd::cpu(&self.daemon) - before;
                    println!(
                        "hfd, {count}: ready in {:.3} s ({} polls, the last wait {:.0} ms), gone in {:.3} s; {:.2} s of processor",
                        ready.time.as_secs_f64(),
                        ready.polls,
                        millis(ready.between_polls),
                        gone.time.as_secs_f64(),
                        cpu.as_secs_f64()
                    );
                    times.ready.push(ready);
                    times.gone.push(gone);
                    times.cpu.push(cpu);
                }
            }
        }
        let after = hfd::api_calls(&self.daemon);
        let many = (count * pairs) as u64;
        let verbs = ["create pods", "delete pods", "get pods", "list pods", "get other"];
        assert_eq!(verbs.map(|verb| after(verb) - before(verb)), [many, many, 0, 0, 0], "calls of {verbs:?}");
        times.high_water = hfd::high_water(&self.daemon);
        times
    }
}

impl Pairs {
    fn polls(&self) -> u32 {
        self.ready.iter().chain(&self.gone).map(|waited| waited.polls).sum()
    }

    fn rows(&self, count: usize, table: &mut Table) {
        if self.floor.is_empty() {
            return;
        }
        let asked = format!("{count} machines asked for, until all are reported ready");
        row(table, &asked, &self.floor.iter().map(|round| round.ready).collect::<Vec<_>>(), &self.ready);
        let returned = format!("{count} returned, until all are reported gone");
        row(table, &returned, &self.floor.iter().map(|round| round.gone).collect::<Vec<_>>(), &self.gone);
    }
}

fn row(table: &mut Table, what: &str, floor: &[Duration], hfd: &[Waited]) {
    let ratios: Vec<f64> =
        hfd.iter().zip(floor).map(|(hfd, floor)| hfd.time.as_secs_f64() / floor.as_secs_f64()).collect();
    let (median, interval) = median_interval(&ratios);
    let samples = |times: &mut dyn Iterator<Item = Duration>| {
        let mut samples = Samples::default();
        times.for_each(|time| samples.push(time));
        samples
    };
    let waits = samples(&mut hfd.iter().map(|waited| waited.between_polls));
    table.row(&[
        what.to_owned(),
        "<= 1.1x".to_owned(),
        samples(&mut floor.iter().copied()).summary(),
        samples(&mut hfd.iter().map(|waited| waited.time)).summary(),
        format!("{median:.3}x"),
        interval.map_or_else(|| "too few pairs".to_owned(), |(low, high)| format!("{low:.3}x-{high:.3}x")),
        format!("the last {:.0} ms", millis(waits.median())),
    ]);
}

fn shown(round: &Round) -> String {
    let Round { ready, gone, created, throttled } = round;
    let [ready, gone, created] = [ready, gone, created].map(Duration::as_secs_f64);
    format!("answered in {created:.3} s, ready in {ready:.3} s, gone in {gone:.3} s, {throttled} times 429")
}

fn high_waters(small: &Pairs, large: &Pairs) -> String {
    let mib = |kib: u64| kib as f64 / 1024.0;
    let mut text = format!("{:.1} MiB after all rounds of {MACHINES}", mib(small.high_water));
    if !large.floor.is_empty() {
        write!(text, ", {:.1} MiB after those of {MANY}", mib(large.high_water)).expect("a string takes everything");
    }
    text
}
