//! kill -9 at random moments under load, thousands of times, judged from time to time.

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{
    judge::{Judged, give_all_back, judge},
    load::{Load, Mix},
    site::Site,
};
use crate::{
    daemon::{Daemon, DaemonSpec},
    hostfactory::random::Random,
    proof::caller::Tally,
};

/// Kills on one journal; then a new one, so that a start stays short.
const A_ROUND: usize = 100;
/// Kills between two judgements.
const BETWEEN: usize = 25;

/// How long hfd stays down now and then.
const DOWN: Duration = Duration::from_millis(1_500);

/// A life with work to do has committed often within this.
const AT_MOST: Duration = Duration::from_secs(2);

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
    /// Kills.
    pub kills: usize,
    /// Of them, while hfd was still starting.
    pub while_starting: usize,
    /// Beside them, deaths inside a commit that took long.
    pub in_slow_commits: usize,
    /// Judgements.
    pub judgements: usize,
    /// Sums of all rounds.
    pub judged: Judged,
    /// Calls.
    pub tally: Tally,
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
        let mut report = Report::default();
        let begun = Instant::now();
        for round in 0.. {
            let kills = A_ROUND.min(self.kills - report.kills);
            if kills == 0 {
                break;
            }
            let mut site = Site::open(self.seed.wrapping_add(round));
            let outcome = self.round(&site, round, kills, &mut report);
            if let Err(error) = outcome {
                let kept = site.keep();
                return Err(error.context(format!("round {round}, kept in {}", kept.display())));
            }
            say(&format!("{} kills, {:.0?}", report.kills, begun.elapsed()));
        }
        Ok(report)
    }

    fn round(self, site: &Site, round: u64, kills: usize, report: &mut Report) -> Result<()> {
        let seed = self.seed.wrapping_add(round);
        let mut random = Random::of(seed, "kills");
        let mut load = Load::new(seed, self.callers);
        let mut daemon = Daemon::start_only(site.spec.clone());
        Site::wait_synced(&mut daemon)?;
        let (mut left, mut judged) = (kills, Judged::default());
        while left > 0 {
            let now = BETWEEN.min(left);
            left -= now;
            load.during(site, Mix::All, |_| {
                for _ in 0..now {
                    let serving = live_and_die(&mut daemon, &mut random)?;
                    report.while_starting += usize::from(!serving);
                    if random.chance(150) {
                        daemon = Daemon::start_only(slow_commit(site, &mut random));
                        report.in_slow_commits += usize::from(dies_slowly(&mut daemon)?);
                    }
                    if random.chance(50) {
                        // Longer than the shorter time-outs of callers: some calls must fail, and say so.
                        thread::sleep(DOWN);
                    }
                    daemon = Daemon::start_only(site.spec.clone());
                }
                report.kills += now;
                Site::wait_synced(&mut daemon)
            })?;
            judged = judge(&mut load, site).with_context(|| format!("after {} kills", report.kills))?;
            report.judgements += 1;
        }
        give_all_back(&mut load, site).context("at the end of the round")?;
        report.judgements += 1;
        report.judged.add(&judged);
        report.tally.add(&load.tally());
        if !daemon.terminate().success() {
            bail!("hfd did not stop cleanly at the end of the round");
        }
        Ok(())
    }
}

/// Kills hfd at a random moment of its life; whether it was serving by then.
///
/// # Errors
/// When it had ended by itself.
fn live_and_die(daemon: &mut Daemon, random: &mut Random) -> Result<bool> {
    // Lives of 50 µs to 100 ms, as many in each decade, are for the start; longer ones for the work.
    let micros = match random.within(0..=9) {
        0..=3 => 50 * 10_usize.pow(u32::try_from(random.within(0..=3)).unwrap_or(0)) * random.within(10..=20) / 10,
        _ => random.within(100_000..=450_000),
    };
    let log = daemon.spec().dir.join("hfd.log");
    let before = fs::metadata(&log).map_or(0, |facts| facts.len());
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

impl Judged {
    /// Adds another round's.
    pub fn add(&mut self, other: &Self) {
        self.acknowledged += other.acknowledged;
        self.unacknowledged += other.unacknowledged;
        self.machines += other.machines;
        self.pods += other.pods;
        self.names += other.names;
    }
}

impl Report {
    /// Rows of the summary.
    pub fn rows(&self) -> Vec<(String, u64)> {
        let mut rows: Vec<(String, u64)> = [
            ("kill -9", self.kills as u64),
            ("of them before hfd served", self.while_starting as u64),
            ("beside them, deaths in a slow commit", self.in_slow_commits as u64),
            ("judgements", self.judgements as u64),
            ("ids acknowledged", self.judged.acknowledged),
            ("known without acknowledgement", self.judged.unacknowledged),
            ("machines asked for", self.judged.machines),
            ("names with exactly one pod ever", self.judged.names),
        ]
        .map(|(what, count)| (what.to_owned(), count))
        .into();
        rows.extend(self.tally.rows());
        rows
    }
}
