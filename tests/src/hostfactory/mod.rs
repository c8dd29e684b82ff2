//! A stand-in for Symphony's HostFactory: it reads HostFactory's own configuration, runs the five real scripts in
//! HostFactory's loops, watches the cluster with eyes of its own, and stops at the first lie of the provider.
//!
//! ```text
//!   demand ─> jobs ─> workers ──> requestMachines.sh, requestReturnMachines.sh ─┐
//!   pollers ────────────────────> getRequestStatus.sh ──────────────────────────┤ Contract: one document, its schema
//!   housekeeping ───────────────> getReturnRequests.sh ─────────────────────────┤ Judge:    true, and still true
//!      ▲ Book: HostFactory's database and memory <──────────────────────────────┘    ▲ PodBook: what was seen
//!   failovers drop the memory; scripts are killed          disturbances ─> cluster ──┘ observer: list and watch
//! ```
//!
//! It knows the contract from the reference pages alone and shares no code with the provider, nor with the checker of
//! the integration tests: three independent readings of the same rules.
//!
//! All choices derive from one seed. When they fall depends on the provider's and the cluster's pace, so the same seed
//! gives the same kind of run, not the same run.

pub mod book;
pub mod call;
pub mod clock;
pub mod cluster;
pub mod contract;
pub mod disturb;
pub mod factory;
pub mod install;
pub mod judge;
pub mod loops;
pub mod observer;
pub mod options;
pub mod pods;
pub mod random;
pub mod rule;
pub mod runner;
pub mod stats;

use std::{
    collections::BTreeMap,
    fs,
    process::ExitCode,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, bail};

pub use self::options::Options;
use self::{
    clock::Clock,
    factory::{Factory, Stage},
    rule::Lie,
    stats::Summary,
};

/// Exit status when the provider lied.
const LIED: u8 = 6;
/// Exit status when the command line makes no sense.
const USAGE: u8 = 2;
/// Time between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(5);
/// Pause of the loop that settles what the watch brings.
const SETTLE: Duration = Duration::from_millis(50);
/// Workers and pollers: enough for calls to overlap, few enough for two cores.
const WORKERS: [&str; 3] = ["worker 1", "worker 2", "worker 3"];
const POLLERS: [&str; 2] = ["poller 1", "poller 2"];

/// Runs to the end, or to the first lie.
///
/// # Errors
/// When it can't run: a wrong installation, a cluster that can't be read, a script that does not start, or a provider
/// that accepted nothing at all.
pub fn run(options: Options) -> Result<ExitCode> {
    if let Err(error) = options.check() {
        eprintln!("hostfactory: {error:#}");
        return Ok(ExitCode::from(USAGE));
    }
    let temporary = tempfile::tempdir().context("a temporary directory")?;
    let workdir = options.workdir.clone().unwrap_or_else(|| temporary.path().to_owned());
    fs::create_dir_all(&workdir).with_context(|| format!("{}", workdir.display()))?;
    let workdir = fs::canonicalize(&workdir).with_context(|| format!("{}", workdir.display()))?;
    let provider = install::read(&options, &workdir)?;
    let seed = options.seed.unwrap_or_else(|| u64::from(std::process::id()) ^ Clock::wall().unsigned_abs());
    eprintln!("hostfactory: provider {}, seed {seed}", provider.name);
    let factory = Arc::new(Factory::new(options, provider, seed)?);
    observer::start(&factory).context("the first look at the cluster")?;
    let eyes = Arc::clone(&factory);
    thread::spawn(move || observer::observe(&eyes));
    let loops = start(&factory);
    direct(&factory);
    factory.turn(Stage::Stopped);
    let mut panicked = 0;
    for one in loops {
        panicked += usize::from(one.join().is_err());
    }
    if panicked > 0 {
        bail!("{panicked} of the stand-in's own loops panicked");
    }
    conclude(&factory)
}

/// What a loop does until the run is over.
type Work = Box<dyn FnOnce(&Arc<Factory>) + Send>;

fn start(factory: &Arc<Factory>) -> Vec<JoinHandle<()>> {
    let mut loops = Vec::new();
    let mut begin = |work: Work| {
        let factory = Arc::clone(factory);
        loops.push(thread::spawn(move || {
            // A loop that panics must not leave the others running for ever.
            let guard = StopOnPanic(Arc::clone(&factory));
            work(&factory);
            drop(guard);
        }));
    };
    begin(Box::new(loops::demand));
    for name in WORKERS {
        begin(Box::new(move |factory| loops::work(factory, name)));
    }
    for name in POLLERS {
        begin(Box::new(move |factory| loops::poll(factory, name)));
    }
    begin(Box::new(loops::housekeeping));
    begin(Box::new(loops::failovers));
    begin(Box::new(disturb::disturb));
    begin(Box::new(|factory| {
        while !factory.stopped() {
            factory.settle_pending();
            factory.pause(SETTLE);
        }
    }));
    loops
}

struct StopOnPanic(Arc<Factory>);

impl Drop for StopOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.turn(Stage::Stopped);
        }
    }
}

/// Lets the run take its time, then drains it. Returns at a lie at once.
fn direct(factory: &Arc<Factory>) {
    let until = factory.options.duration;
    while factory.clock.now() < until && !factory.stopped() {
        factory.pause(PROGRESS.min(until.saturating_sub(factory.clock.now())));
        progress(factory);
    }
    factory.turn(Stage::Draining);
    let mut random = factory.random("drain");
    let begun = factory.clock.now();
    let mut told = begun;
    let turn = factory.options.turn().min(Duration::from_secs(1));
    while !factory.stopped() {
        let over = factory.clock.now() > begun + factory.options.drain;
        let done = factory.with(|world| {
            let idle = world.acting == 0 && world.pending.is_empty() && world.book.memory.jobs.is_empty();
            idle && world.judge.leftovers().none()
        });
        if done || over {
            return;
        }
        loops::drain_turn(factory, &mut random);
        if factory.clock.now() > told + PROGRESS {
            told = factory.clock.now();
            progress(factory);
        }
        factory.pause(turn);
    }
}

fn progress(factory: &Factory) {
    let stage = factory.stage();
    let now = factory.clock.now().as_secs();
    let line = factory.with(|world| {
        let (ended, refused, killed) = world.stats.totals();
        let tally = world.judge.tally();
        let left = world.judge.leftovers();
        format!(
            "{now:>5} s {stage:?}: wanted {}, has {}, open {}, pods {}; asked {}, ready {}, failed {}, reclaimed {}, \
             calls {ended}, refused {refused}, killed {killed}, failovers {}, waiting claims {}",
            world.book.memory.target,
            left.held.len(),
            left.open.len(),
            world.judge.pods.living().count(),
            tally.asked,
            tally.ready,
            tally.failed,
            world.stats.reclaimed.len(),
            world.stats.failovers,
            world.pending.len(),
        )
    });
    eprintln!("hostfactory: {line}");
}

fn conclude(factory: &Factory) -> Result<ExitCode> {
    let trouble = factory.with(|world| world.trouble.take());
    if let Some(trouble) = trouble {
        return Err(trouble);
    }
    let (lie, unknown) = factory.with(|world| match world.lie.take() {
        Some(lie) => (Some(lie), BTreeMap::new()),
        None => match world.judge.close() {
            Ok(unknown) => (None, unknown),
            Err(lie) => (Some(lie), BTreeMap::new()),
        },
    });
    let summary = Summary {
        seed: factory.seed,
        lasted: factory.clock.now(),
        unknown,
        violation: lie.as_ref().map(|lie: &Lie| lie.rule),
    };
    let (text, json, accepted) = factory.with(|world| {
        let accepted = world.judge.tally().requests;
        (summary.text(&world.stats, &world.judge), summary.json(&world.stats, &world.judge), accepted)
    });
    print!("{text}");
    if let Some(file) = &factory.options.summary {
        fs::write(file, format!("{json:#}\n")).with_context(|| format!("{}", file.display()))?;
    }
    if let Some(lie) = lie {
        println!("\n{lie}");
        return Ok(ExitCode::from(LIED));
    }
    if accepted == 0 {
        bail!("the provider accepted no request: nothing was shown");
    }
    Ok(ExitCode::SUCCESS)
}
