//! kill -9 at random moments under load, thousands of times, judged from time to time.

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use super::{
    rounds::{Outcome, Rounds, Strikes},
    site::Site,
};
use crate::{
    daemon::{Daemon, DaemonSpec},
    hostfactory::random::Random,
};

/// How long hfd stays down now and then.
const DOWN: Duration = Duration::from_millis(1_500);

/// A life with work to do has committed often within this.
const AT_MOST: Duration = Duration::from_secs(2);

/// A life that is not ended acknowledges something within this, on the busiest machine.
const ACKNOWLEDGES: Duration = Duration::from_secs(60);

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Kills.
    pub kills: usize,
    /// Callers at once.
    pub callers: usize,
    /// Seed.
    pub seed: u64,
}

/// What came out.
#[derive(Debug, Default, Clone)]
pub struct Report {
    /// Of the kills, those while hfd was still starting.
    pub while_starting: usize,
    /// Beside them, deaths inside a commit that took long.
    pub in_slow_commits: usize,
    /// What the rounds came to; its strikes are the kills.
    pub outcome: Outcome,
}

#[derive(Debug, Default)]
struct Kills {
    daemon: Option<Daemon>,
    report: Report,
}

impl Plan {
    /// The command that repeats it.
    pub fn again(&self) -> String {
        format!("proof kill --kills {} --callers {} --seed {}", self.kills, self.callers, self.seed)
    }

    /// Runs it, and says how it goes.
    ///
    /// # Errors
    /// The first violation; what is needed to look into it is kept and named.
    pub fn run(self, say: &dyn Fn(&str)) -> Result<Report> {
        let mut kills = Kills::default();
        let rounds = Rounds { strikes: self.kills, callers: self.callers, seed: self.seed };
        let outcome = rounds.run(&mut kills, say)?;
        Ok(Report { outcome, ..kills.report })
    }
}

impl Kills {
    fn daemon(&mut self) -> Result<&mut Daemon> {
        self.daemon.as_mut().context("hfd was started")
    }
}

impl Strikes for Kills {
    const WHAT: &'static str = "kills";
    const A_ROUND: usize = 100;
    const BETWEEN: usize = 25;

    fn open(&mut self, seed: u64) -> Result<Site> {
        Ok(Site::open(seed))
    }

    fn start(&mut self, site: &Site) -> Result<()> {
        Site::wait_synced(self.daemon.insert(Daemon::start_only(site.spec.clone())))
    }

    fn strike(&mut self, site: &Site, random: &mut Random, so_far: &dyn Fn() -> Vec<String>) -> Result<()> {
        let serving = live_and_die(self.daemon()?, random, so_far)?;
        self.report.while_starting += usize::from(!serving);
        if random.chance(150) {
            let daemon = self.daemon.insert(Daemon::start_only(slow_commit(site, random)));
            self.report.in_slow_commits += usize::from(dies_slowly(daemon)?);
        }
        if random.chance(50) {
            // Longer than the shorter time-outs of callers: some calls must fail, and say so.
            thread::sleep(DOWN);
        }
        self.daemon = Some(Daemon::start_only(site.spec.clone()));
        Ok(())
    }

    fn serve(&mut self) -> Result<()> {
        Site::wait_synced(self.daemon()?)
    }

    fn close(&mut self) -> Result<bool> {
        let mut daemon = self.daemon.take().context("hfd was started")?;
        Ok(daemon.terminate().success())
    }
}

/// Kills hfd at a random moment of its life; whether it was serving by then.
///
/// # Errors
/// When it had ended by itself.
fn live_and_die(daemon: &mut Daemon, random: &mut Random, so_far: &dyn Fn() -> Vec<String>) -> Result<bool> {
    // Lives of 50 µs to 100 ms, as many in each decade, are for the start; longer ones for the work. Where a start takes
    // long, on a busy machine, only those do some that last until something was acknowledged.
    let (micros, works) = match random.within(0..=9) {
        0..=3 => {
            (50 * 10_usize.pow(u32::try_from(random.within(0..=3)).unwrap_or(0)) * random.within(10..=20) / 10, false)
        }
        4..=6 => (random.within(100_000..=450_000), false),
        _ => (random.within(0..=350_000), true),
    };
    let log = daemon.spec().dir.join("hfd.log");
    let before = fs::metadata(&log).map_or(0, |facts| facts.len());
    if works {
        wait_acknowledged(daemon, so_far)?;
    }
    // Not synchronisation: the moment is meant to be any.
    thread::sleep(Duration::from_micros(micros as u64));
    if let Some(ended) = daemon.process().try_ended() {
        bail!("hfd ended by itself with {ended}:\n{}", daemon.log_tail(40));
    }
    daemon.kill9();
    let text = fs::read(&log).unwrap_or_default();
    let own = text.get(usize::try_from(before).unwrap_or(0)..).unwrap_or_default();
    Ok(String::from_utf8_lossy(own).contains("serving"))
}

/// Waits until one more id is acknowledged.
///
/// # Errors
/// When hfd has ended by itself, or nothing is for long.
fn wait_acknowledged(daemon: &mut Daemon, so_far: &dyn Fn() -> Vec<String>) -> Result<()> {
    let (before, begun) = (so_far().len(), Instant::now());
    while so_far().len() == before {
        if let Some(ended) = daemon.process().try_ended() {
            bail!("hfd ended by itself with {ended}:\n{}", daemon.log_tail(40));
        }
        ensure!(
            begun.elapsed() < ACKNOWLEDGES,
            "nothing is acknowledged within {ACKNOWLEDGES:?}:\n{}",
            daemon.log_tail(40)
        );
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// A life in which some commit takes long and then never happens: whatever of it was let out before is unsaid.
fn slow_commit(site: &Site, random: &mut Random) -> DaemonSpec {
    let mut spec = site.spec.clone();
    let point = format!("in-journal:{}+{}", random.within(1..=30), random.within(20..=150));
    spec.env.insert("HFD_CRASH_POINT".to_owned(), point);
    spec
}

/// Waits for that death, and kills a life that has too little to write; whether it came.
fn dies_slowly(daemon: &mut Daemon) -> Result<bool> {
    let begun = Instant::now();
    while begun.elapsed() < AT_MOST {
        match daemon.process().try_ended() {
            Some(ended) if ended.signal() == Some(9) => return Ok(true),
            Some(ended) => bail!("hfd ended by itself with {ended}:\n{}", daemon.log_tail(40)),
            None => thread::sleep(Duration::from_millis(2)),
        }
    }
    daemon.kill9();
    Ok(false)
}

impl Report {
    /// Rows of the summary.
    pub fn rows(&self) -> Vec<(String, u64)> {
        let own = [
            ("kill -9", self.outcome.strikes),
            ("of them before hfd served", self.while_starting),
            ("beside them, deaths in a slow commit", self.in_slow_commits),
        ];
        let own = own.map(|(what, count)| (what.to_owned(), count as u64));
        own.into_iter().chain(self.outcome.rows()).collect()
    }
}
