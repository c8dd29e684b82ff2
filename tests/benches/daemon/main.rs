//! What the daemon costs, each figure beside its floor in the same run:
//! `cargo bench -p tests --bench daemon [-- --write] [PART...]`.
//!
//! | part | what | floor |
//! |---|---|---|
//! | `durable` | requestMachines, accepted and durable; 1,000 callers at once | a status call + an fsynced append; a bare store under as many writers |
//! | `event` | from a pod's turning ready to a status that says so | a bare watch + an fsynced append |
//! | `cycle` | bytes and fsyncs of 1,000 machines | the values written; the batches |
//! | `large` | growth of a status with the cluster; an idle daemon; a start with 10,000 machines | nothing; reading the file |
//! | `memory` | resident memory of 10,000, 50,000 and 150,000 pods (or of the rising numbers given as arguments) | the slim record |
//! | `size` | the binaries, and how long they take to build | |
//!
//! Calls go over an open connection, so that no start of a process is in them (that is the `client` bench). Everything
//! runs on one machine: the simulated cluster, the daemon and this program share its cores. It asserts nothing about
//! time; `--write` puts the tables into `tests/BENCH.md` and the plot into `tests/bench-growth.svg`.

mod cycle;
mod disk;
mod durable;
mod event;
mod large;
mod memory;
mod plot;
mod proc;
mod wire;

use std::{
    fs,
    time::{Duration, Instant},
};

use tests::{
    Template, World, bins,
    figures::{Samples, Table, machine, write_section},
};

/// Pods of the memory figures, unless they are told.
const PODS: [u64; 3] = [10_000, 50_000, 150_000];
/// Pods on a node.
const PODS_PER_NODE: u32 = 200;

/// One part of the bench.
type Part<'a> = &'a dyn Fn(&mut Report);

fn main() {
    // `cargo bench` passes flags of the standard harness; this bench knows one of its own.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let write = arguments.iter().any(|argument| argument == "--write");
    let parts: Vec<&str> = arguments.iter().map(String::as_str).filter(|argument| !argument.starts_with('-')).collect();
    let (levels, parts): (Vec<&str>, Vec<&str>) = parts.into_iter().partition(|part| part.parse::<u64>().is_ok());
    let levels: Vec<u64> = levels.into_iter().filter_map(|pods| pods.parse().ok()).collect();
    let wanted = |part: &str| parts.is_empty() || parts.contains(&part);
    let mut report = Report::new();
    println!("{}", report.machine);
    let memory = |report: &mut Report| memory::run(report, if levels.is_empty() { &PODS } else { &levels });
    let all: [(&str, Part<'_>); 6] = [
        ("durable", &durable::run),
        ("event", &event::run),
        ("cycle", &cycle::run),
        ("large", &large::run),
        ("memory", &memory),
        ("size", &sizes),
    ];
    for (name, part) in all {
        if wanted(name) {
            println!("{name} ...");
            part(&mut report);
        }
    }
    println!("\n{}", report.text());
    if write {
        report.write();
    }
}

fn sizes(report: &mut Report) {
    for (name, path) in [("hfctl", bins::hfctl()), ("hfd", bins::hfd())] {
        let bytes = fs::metadata(path).expect("it was built").len();
        let what = format!("size of `{name}`, release, stripped");
        report.cells(&[&what, "stated", "", "", &format!("{:.2} MB", bytes as f64 / 1e6), ""]);
    }
    let target = tempfile::Builder::new().prefix("hfd-build-").tempdir().expect("a temporary directory can be made");
    let mut build = bins::cargo();
    // As the README says.
    build.args(["build", "--release", "--quiet", "-p", "hfd", "-p", "hfctl", "--target-dir"]).arg(target.path());
    let took = timed(|| assert!(build.status().expect("cargo can be started").success(), "the build failed"));
    let took = format!("{:.0} s", took.as_secs_f64());
    report.cells(&["both built from nothing, release, crates at hand", "stated", "", "", &took, ""]);
}

/// A cluster with room for so many pods, and its daemon.
fn scene(pods: u32, templates: &[Template]) -> World {
    let build = World::build().template(Template::new("small").max(-1)).cluster(|cluster| {
        cluster.nodes = pods.div_ceil(PODS_PER_NODE);
        cluster.pods_per_node = PODS_PER_NODE;
        cluster.start_delay = "10ms".to_owned();
        cluster.stop_delay = "10ms".to_owned();
    });
    let build = templates.iter().cloned().fold(build, tests::WorldBuilder::template);
    build.set("machines.ready_deadline", "3600s").start()
}

/// The time that something takes.
fn timed(what: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    what();
    begun.elapsed()
}

/// What was measured.
struct Report {
    machine: String,
    table: Table,
    notes: Vec<String>,
    growth: Option<(Table, String)>,
}

impl Report {
    fn new() -> Self {
        let table = Table::new(&["what", "target", "floor", "floor takes", "it takes", "ratio"]);
        Self { machine: machine(), table, notes: Vec::new(), growth: None }
    }

    /// A figure of times.
    fn row(&mut self, what: &str, target: &str, floor_name: &str, floor: &Samples, subject: &Samples) {
        let ratio = format!("{:.2}x", subject.ratio_to(floor));
        self.cells(&[what, target, floor_name, &floor.summary(), &subject.summary(), &ratio]);
    }

    /// A figure in words.
    fn cells(&mut self, cells: &[&str; 6]) {
        println!("{}", cells.join(" | "));
        self.table.row(&cells.map(str::to_owned));
    }

    fn note(&mut self, note: &str) {
        self.notes.push(note.to_owned());
    }

    fn growth(&mut self, table: Table, plot: String) {
        println!("{}", table.text());
        self.growth = Some((table, plot));
    }

    fn text(&self) -> String {
        let mut text = self.table.text().to_owned();
        for note in &self.notes {
            text = format!("{text}\n{note}\n");
        }
        if let Some((table, _)) = &self.growth {
            text = format!("{text}\nGrowth with the cluster, without the start of a process:\n\n{}", table.text());
        }
        text
    }

    fn write(&self) {
        let mut plot_line = "";
        if let Some((_, plot)) = &self.growth {
            let path = bins::source_root().join("tests/bench-growth.svg");
            fs::write(&path, plot).expect("the source tree can be written");
            plot_line = "\n![Time of a status call by machines in the cluster](bench-growth.svg)\n";
        }
        let command = "`cargo bench -p tests --bench daemon -- --write`";
        let times = "Median and middle half of the times. A ratio is that of the medians.";
        let body = format!("## The daemon\n\n{command} on {}.\n\n{times}\n\n{}{plot_line}", self.machine, self.text());
        write_section("daemon", &body);
    }
}
