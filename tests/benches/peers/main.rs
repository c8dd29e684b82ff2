//! hfd beside the other providers, each with its own scripts, on the same real control plane in one run.
//!
//! ```text
//! target/debug/testbed run --nodes 100 --node-grace 3600 -- cargo bench -p tests --bench peers \
//!     [-- --write --polls=N --rounds=N --machines=N --fewer=N --orb-rounds=N --many=N]
//! ```
//!
//! | figure | how |
//! |---|---|
//! | getRequestStatus of 1 machine, and of all machines of a large request | the whole script, from before its start to after its end with all output read |
//! | machines asked for until all are reported ready | from before requestMachines until a getRequestStatus says so |
//! | machines returned until all are reported gone | from before requestReturnMachines until a getRequestStatus says so |
//! | installed size, memory, API calls | the files, `ru_maxrss` and `VmHWM`, the API server's audit log |
//!
//! The providers take turns, and who begins changes from round to round. Each has a namespace of its own, and all the
//! same nodes, the same permissions and the same pod. The peers are installed from the package index with pinned
//! versions. It asserts nothing about time; `--write` puts the tables into `tests/BENCH.md`.

mod provider;
mod python;
mod rounds;
mod sides;

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use provider::Provider;
use rounds::{Figures, Plan};
use tests::{
    figures::{Samples, Table, machine, write_section},
    testbed::Facts,
};

/// Rounds of a single status call.
const POLLS: usize = 21;
/// Rounds with many machines.
const ROUNDS: usize = 3;
/// Machines of a request.
const MACHINES: usize = 1_000;
/// Machines that all providers bring up and return in seconds.
const FEWER: usize = 100;
/// Rounds of orb-py with as many as the others: it writes all that it knows for each machine, so a round takes minutes.
const SLOW_ROUNDS: usize = 1;
/// Machines of the large request.
const MANY: usize = 10_000;

fn main() {
    let argument = |name: &str, otherwise: usize| {
        std::env::args().find_map(|arg| arg.strip_prefix(name)?.parse::<usize>().ok()).unwrap_or(otherwise)
    };
    let write = std::env::args().any(|arg| arg == "--write");
    let Some(facts) = Facts::of_environment() else {
        // As part of all benches it has nothing to say without a testbed.
        println!("peers: no testbed (HFD_TESTBED); see tests/README.md");
        return;
    };
    let python = match python::find() {
        Ok(python) => python,
        Err(error) => {
            println!("peers: {error:#}");
            return;
        }
    };
    let machine = machine();
    println!("{machine}");
    let peers = [sides::hostfactory(&facts, &python), sides::orb(&facts, &python)];
    let [hostfactory, orb] = peers.map(|peer| peer.unwrap_or_else(|error| panic!("{error:#}")));
    let providers = [sides::hfd(&facts), hostfactory, orb];

    let polls = argument("--polls=", POLLS).max(1);
    let (rounds, machines) = (argument("--rounds=", ROUNDS), argument("--machines=", MACHINES));
    let slow_rounds = argument("--orb-rounds=", SLOW_ROUNDS);
    let (fewer, many) = (argument("--fewer=", FEWER), argument("--many=", MANY));
    let single = Plan { machines: 1, polls, who: &[(0, 1), (1, 1), (2, 1)], together: true };
    let plans = [
        Plan { machines: fewer, polls, who: &[(0, rounds), (1, rounds), (2, rounds)], together: true },
        Plan { machines, polls, who: &[(0, rounds), (1, rounds), (2, slow_rounds)], together: true },
        // The nodes have no room for two of these at once.
        Plan { machines: many, polls, who: &[(0, 1), (1, 1)], together: false },
    ];
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let measure = build_measure(dir.path());
    let mut table = Table::new(&["what", "hfd", "hostfactory", "orb-py", "hostfactory / hfd", "orb-py / hfd"]);
    let mut notes = String::new();
    let figures = rounds::run(&providers, &single, &measure);
    status_rows(&mut table, 1, &figures);
    for plan in plans.iter().filter(|plan| plan.machines > 0 && plan.rounds() > 0) {
        let figures = rounds::run(&providers, plan, &measure);
        status_rows(&mut table, plan.machines, &figures);
        wait_rows(&mut table, plan.machines, &figures);
        add_notes(&mut notes, plan, &providers, &figures);
    }
    size_rows(&mut table, &providers);
    println!("\n{}\n{notes}", table.text());
    if write {
        let names: Vec<&str> = providers.iter().skip(1).map(|provider| provider.name).collect();
        let intro = format!(
            "## The peers\n\n`target/debug/testbed run --nodes 100 --node-grace 3600 -- cargo bench -p tests --bench peers -- --write` on \
             {machine}. API server, etcd, scheduler, controllers and nodes have the same cores.\n\nhfd beside {}: each with \
             its own scripts and servers, in turns, on the same nodes with the same pod. Medians with the middle half, \
             ratios of the medians; {polls} alternated status calls, {rounds} rounds with machines (the notes say where it is one). A wait \
             is from before the script that asks until a status script says that it is done; after each poll it pauses as \
             long as the poll took, at least 50 ms. hostfactory counts a machine as ready when its pod is Running, hfd when \
             it is Ready; on these nodes both come at once. orb-py has no server: its status script lists the pods and \
             writes what it finds.",
            names.join(" and "),
        );
        write_section("peers", &format!("{intro}\n\n{}\n{notes}", table.text()));
    }
}

fn status_rows(table: &mut Table, machines: usize, figures: &[Figures]) {
    let word = if machines == 1 { "machine" } else { "machines" };
    let what = format!("getRequestStatus of {machines} {word}, whole script");
    time_row(table, &what, &each(figures, |figures| figures.status.clone()));
    let what = format!("most memory of a process of that call ({machines} {word})");
    number_row(table, &what, &each(figures, |figures| figures.peak as f64 / 1024.0), "MiB");
}

fn wait_rows(table: &mut Table, machines: usize, figures: &[Figures]) {
    let what = format!("{machines} machines asked for, until all are reported ready");
    time_row(table, &what, &each(figures, |figures| rounds::times(&figures.ready)));
    let what = format!("{machines} returned, until all are reported gone");
    time_row(table, &what, &each(figures, |figures| rounds::times(&figures.gone)));
    let what = format!("API calls a machine, up and down, polls included ({machines} machines)");
    number_row(table, &what, &each(figures, |figures| figures.api_calls_per_machine(machines)), "");
}

fn size_rows(table: &mut Table, providers: &[Provider; 3]) {
    let mib = |bytes: u64| bytes as f64 / 1024.0 / 1024.0;
    let installed = [0, 1, 2].map(|at| Some(mib(providers[at].installed)));
    number_row(table, "installed, without Python", &installed, "MiB");
    let of = |provider: &Provider| (!provider.servers.is_empty()).then(|| mib(provider.servers_peak() * 1024));
    let servers = [0, 1, 2].map(|at| of(&providers[at]));
    number_row(table, "most memory of its servers, after all that", &servers, "MiB");
}

/// A figure of each provider that took part to the end.
fn each<T>(figures: &[Figures], of: impl Fn(&Figures) -> T) -> [Option<T>; 3] {
    let stated = |figures: &&Figures| figures.failed.is_none() && !figures.gone.is_empty();
    [0, 1, 2].map(|at| figures.iter().filter(stated).find(|figures| figures.who == at).map(&of))
}

fn time_row(table: &mut Table, what: &str, times: &[Option<Samples>; 3]) {
    let cell = |samples: &Option<Samples>| samples.as_ref().map_or_else(|| "-".to_owned(), Samples::summary);
    let ratio = |peer: &Option<Samples>| Some(peer.as_ref()?.ratio_to(times[0].as_ref()?));
    row(table, what, [0, 1, 2].map(|at| cell(&times[at])), [1, 2].map(|at| ratio(&times[at])));
}

fn number_row(table: &mut Table, what: &str, numbers: &[Option<f64>; 3], unit: &str) {
    let cell = |number: &Option<f64>| {
        number.map_or_else(|| "-".to_owned(), |number| format!("{number:.2} {unit}").trim_end().to_owned())
    };
    let ratio = |peer: Option<f64>| Some(peer? / numbers[0]?);
    row(table, what, [0, 1, 2].map(|at| cell(&numbers[at])), [1, 2].map(|at| ratio(numbers[at])));
}

fn row(table: &mut Table, what: &str, cells: [String; 3], ratios: [Option<f64>; 2]) {
    let ratios = ratios.map(|ratio| ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.1}x")));
    table.row(&[vec![what.to_owned()], cells.into(), ratios.into()].concat());
}

fn add_notes(notes: &mut String, plan: &Plan<'_>, providers: &[Provider; 3], figures: &[Figures]) {
    for figures in figures.iter().filter(|figures| figures.failed.is_some() || !figures.gone.is_empty()) {
        let name = providers[figures.who].name;
        let line = figures.failed.as_ref().map_or_else(|| figures.note(), |why| format!("not stated: {why}"));
        writeln!(notes, "* {name}, {} machines: {line}", plan.machines).expect("a string takes everything");
    }
}

/// The program that measures the memory of a call, built here with the C compiler that linked us.
fn build_measure(dir: &Path) -> PathBuf {
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/peers/peak.c");
    let program = dir.join("peak");
    let built = ["-static", ""].into_iter().any(|how| {
        let mut cc = Command::new("cc");
        cc.args(["-O2", how].iter().filter(|arg| !arg.is_empty())).arg("-o").arg(&program).arg(&source);
        cc.output().expect("a C compiler, as Rust needs one to link").status.success()
    });
    assert!(built, "{} cannot be built", source.display());
    program
}
