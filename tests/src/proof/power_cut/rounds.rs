//! Load, cut, restore, start, ask; from time to time the judge.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, ensure};

use super::{
    Ground, Host, Weakness,
    moment::{Moment, choose_survival},
    unknown,
};
use crate::{
    hostfactory::random::Random,
    proof::{
        load::{Load, Mix},
        lossy::Survival,
        rounds::{Outcome, Rounds, Strikes},
        site::{Site, wait_until},
    },
};

/// Ids that are acknowledged before a control cuts.
const SOME: usize = 8;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Power cuts.
    pub cuts: usize,
    /// Callers at once.
    pub callers: usize,
    /// Seed.
    pub seed: u64,
}

/// What came out.
#[derive(Debug, Default, Clone)]
pub struct Report {
    /// Of the cuts, those while hfd was starting.
    pub while_starting: usize,
    /// Of them, with unsynced pages on the disk.
    pub with_unsynced: usize,
    /// After so many hfd had ended by itself before it was killed.
    pub ended_by_itself: usize,
    /// Unsynced writes of pages and changes of names, of all cuts.
    pub unsynced: (usize, usize),
    /// Writes and fsyncs of the disk.
    pub disk: (u64, u64),
    /// What the rounds came to; its strikes are the cuts.
    pub outcome: Outcome,
}

#[derive(Debug, Default)]
struct Cuts {
    host: Option<Host>,
    report: Report,
}

impl Plan {
    /// The command that repeats it.
    pub fn again(&self) -> String {
        format!("proof power-cut --cuts {} --callers {} --seed {}", self.cuts, self.callers, self.seed)
    }

    /// Runs it, and says how it goes.
    ///
    /// # Errors
    /// The first violation; what is needed to look into it is kept and named.
    pub fn run(self, say: &dyn Fn(&str)) -> Result<Report> {
        let mut cuts = Cuts::default();
        let rounds = Rounds { strikes: self.cuts, callers: self.callers, seed: self.seed };
        let outcome = rounds.run(&mut cuts, say)?;
        Ok(Report { outcome, ..cuts.report })
    }
}

impl Cuts {
    fn host(&mut self) -> Result<&mut Host> {
        self.host.as_mut().context("the disk was mounted")
    }
}

impl Strikes for Cuts {
    const WHAT: &'static str = "power cuts";
    const A_ROUND: usize = 50;
    const BETWEEN: usize = 10;

    fn open(&mut self, seed: u64) -> Result<Site> {
        let Ground { host, site } = Ground::open(seed)?;
        self.host = Some(host);
        Ok(site)
    }

    fn start(&mut self, _: &Site) -> Result<()> {
        self.host()?.start()
    }

    fn strike(&mut self, site: &Site, random: &mut Random, so_far: &dyn Fn() -> Vec<String>) -> Result<()> {
        let (moment, survival) = (Moment::choose(random), choose_survival(random));
        let host = self.host()?;
        let met = host.cut_at(moment)?;
        let what = || format!("{moment:?}, {survival:?}, {met:?}");
        host.come_back(survival, random).with_context(what)?;
        let acknowledged = so_far();
        let lost = unknown(site, &acknowledged).with_context(what)?;
        ensure!(lost.is_empty(), "{}: of {} acknowledged ids are lost: {lost:?}", what(), acknowledged.len());
        let report = &mut self.report;
        report.while_starting += usize::from(met.while_starting);
        report.ended_by_itself += usize::from(met.ended_by_itself);
        report.with_unsynced += usize::from(met.unsynced.pages > 0);
        report.unsynced.0 += met.unsynced.pages;
        report.unsynced.1 += met.unsynced.names;
        Ok(())
    }

    /// A cut comes back to an hfd that serves.
    fn serve(&mut self) -> Result<()> {
        Ok(())
    }

    fn close(&mut self) -> Result<bool> {
        // It ends here, before its directory does.
        let mut host = self.host.take().context("the disk was mounted")?;
        let counts = host.disk.counts();
        self.report.disk = (self.report.disk.0 + counts.writes, self.report.disk.1 + counts.syncs);
        Ok(host.daemon.as_mut().context("hfd was started")?.terminate().success())
    }

    fn keep(&mut self, place: &Path) {
        if let Some(host) = self.host.take() {
            host.keep(place);
        }
    }
}

/// What a control came to.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// Cuts until loss was seen.
    pub cuts: usize,
    /// Ids acknowledged before.
    pub acknowledged: usize,
    /// Of them lost.
    pub lost: usize,
}

/// A control: hfd or its disk is weak. Cuts until an acknowledged id is lost, at most `cuts` times.
///
/// # Errors
/// When nothing is lost in so many cuts, or hfd does not come back.
pub fn control(weakness: Weakness, cuts: usize, seed: u64) -> Result<Seen> {
    let mut random = Random::of(seed, "control");
    for cut in 1..=cuts {
        // A journal of its own for each: with loss behind them the callers' books contradict everything that follows.
        let mut ground = Ground::open(seed.wrapping_add(cut as u64))?;
        if weakness == Weakness::Normal {
            ground.host.spec.env.insert("HFD_TEST_SYNCHRONOUS".to_owned(), "NORMAL".to_owned());
        }
        let Ground { host, site } = &mut ground;
        host.start()?;
        if weakness == Weakness::LyingFsync {
            host.disk.let_fsync_lie();
        }
        let mut seen = None;
        let mut load = Load::new(seed, 4);
        // What callers find wrong afterwards is the loss itself.
        let called = load.during(site, Mix::All, |so_far| {
            wait_until(Duration::from_secs(60), "some ids are acknowledged", || Ok(so_far().len() >= SOME))?;
            host.cut_at(Moment::After(Duration::ZERO))?;
            let acknowledged = so_far();
            host.come_back(Survival::Nothing, &mut random)?;
            let lost = unknown(site, &acknowledged)?.len();
            seen = Some(Seen { cuts: cut, acknowledged: acknowledged.len(), lost });
            Ok(())
        });
        match seen {
            Some(seen) if seen.lost > 0 => return Ok(seen),
            Some(_) => {}
            None => called.context("the control came to no cut")?,
        }
    }
    anyhow::bail!("{cuts} power cuts with {weakness:?} lost nothing that was acknowledged: the proof can't see loss")
}

/// The command that repeats a control.
pub fn again_with(weakness: Weakness, cuts: usize, seed: u64) -> String {
    let name = match weakness {
        Weakness::Normal => "normal",
        Weakness::LyingFsync => "lying-fsync",
    };
    format!("proof power-cut --weakness {name} --cuts {cuts} --seed {seed}")
}

impl Seen {
    /// Rows of the summary.
    pub fn rows(&self) -> Vec<(String, u64)> {
        [
            ("power cuts until loss was seen", self.cuts),
            ("ids acknowledged", self.acknowledged),
            ("of them lost", self.lost),
        ]
        .map(|(what, count)| (what.to_owned(), count as u64))
        .into()
    }
}

impl Report {
    /// Rows of the summary.
    pub fn rows(&self) -> Vec<(String, u64)> {
        let own = [
            ("power cuts", self.outcome.strikes as u64),
            ("of them while hfd was starting", self.while_starting as u64),
            ("of them with unsynced pages", self.with_unsynced as u64),
            ("hfd had ended by itself", self.ended_by_itself as u64),
            ("unsynced writes of pages", self.unsynced.0 as u64),
            ("unsynced changes of names", self.unsynced.1 as u64),
            ("writes of the disk", self.disk.0),
            ("fsyncs of the disk", self.disk.1),
        ];
        own.into_iter().map(|(what, count)| (what.to_owned(), count)).chain(self.outcome.rows()).collect()
    }
}
