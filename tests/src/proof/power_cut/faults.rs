//! A disk that fails while the power is on (`lifecycle.md` 11): EIO, no room; and a power cut at every step of the first
//! start.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::{Ground, Host, unknown};
use crate::{
    daemon::Daemon,
    hostfactory::random::Random,
    proof::{
        call::Way,
        caller::LONG,
        judge::{give_all_back, judge},
        load::{Load, Mix},
        lossy::{Fault, LossyDisk, Survival},
        site::{Site, wait_until},
    },
};

/// Exit status for a failed journal.
const JOURNAL_FAILED: i32 = 74;
/// Longest wait for something that comes soon under load.
const SOON: Duration = Duration::from_secs(60);
/// Requests that a caller makes at most until a full disk is noticed.
const UNTIL_FULL: usize = 400;

/// What comes after a failed write or fsync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The machine stays on: what was written and not synced still reads, although the disk does not have it.
    Restart,
    /// The power fails as well: only what was synced is left.
    PowerCut,
}

/// EIO under load: hfd ends with 74, and all that was acknowledged is known afterwards. After a mere restart a power cut
/// follows later: what the second life has answered from must be on the disk by then.
///
/// # Errors
/// The first thing that is not so.
pub fn io_error(fault: fn(u64) -> Fault, then: Then, seed: u64) -> Result<()> {
    let mut ground = Ground::open(seed)?;
    let mut random = Random::of(seed, "io error");
    let Ground { host, site } = &mut ground;
    host.start()?;
    let mut load = Load::new(seed, 6);
    load.during(site, Mix::All, |so_far| {
        let before = so_far().len();
        wait_until(SOON, "some ids are acknowledged", || Ok(so_far().len() >= before + 4))?;
        host.disk.fault(fault(random.within(1..=30) as u64));
        let daemon = host.daemon.as_mut().context("it was started")?;
        wait_until(SOON, "the fault has ended hfd", || Ok(daemon.process().try_ended().is_some()))?;
        let status = daemon.process().try_ended().context("it has ended")?;
        ensure!(status.code() == Some(JOURNAL_FAILED), "hfd ended with {status}:\n{}", daemon.log_tail(40));
        ensure!(host.disk.counts().faults == 1, "hfd ended without the fault");
        match then {
            Then::PowerCut => host.cut_and_come_back(Survival::Nothing, &mut random)?,
            Then::Restart => {
                host.start()?;
                all_known(site, so_far)?;
                host.cut_and_come_back(Survival::Nothing, &mut random)?;
            }
        }
        all_known(site, so_far)
    })?;
    judge(&mut load, site)?;
    give_all_back(&mut load, site)
}

fn all_known(site: &Site, so_far: &dyn Fn() -> Vec<String>) -> Result<()> {
    let acknowledged = so_far();
    let lost = unknown(site, &acknowledged)?;
    ensure!(lost.is_empty(), "of {} acknowledged ids are lost: {lost:?}", acknowledged.len());
    Ok(())
}

/// The disk fills up under load: requests are refused, nothing acknowledged is lost, also not by a power cut then;
/// returns still work; with room everything goes on.
///
/// # Errors
/// The first thing that is not so.
pub fn no_room(seed: u64) -> Result<()> {
    let mut ground = Ground::open(seed)?;
    let mut random = Random::of(seed, "no room");
    let Ground { host, site } = &mut ground;
    host.spec.set("journal.reserve", "1MiB");
    host.start()?;
    let mut load = Load::new(seed, 6);
    load.during(site, Mix::All, |so_far| wait_until(SOON, "a load", || Ok(so_far().len() >= 30)))?;
    let whole = host.disk.free_bytes();
    let used = host.disk.capacity() - whole;
    host.disk.set_capacity(used);
    load.each(site, |caller, ground| {
        let failed = |caller: &crate::proof::caller::Caller| caller.tally.failed.get("request").copied().unwrap_or(0);
        let before = failed(caller);
        for _ in 0..UNTIL_FULL {
            caller.request(ground)?;
            if failed(caller) > before {
                return Ok(());
            }
        }
        bail!("a full disk refused none of {UNTIL_FULL} requests")
    })?;
    let said = site.ask(&["status"])?.to_string();
    ensure!(said.contains("space"), "the status does not say that the disk is full: {said}");

    host.cut_and_come_back(Survival::Random, &mut random).context("started again on the full disk")?;
    all_known(site, &|| load.acknowledged())?;
    load.each(site, |caller, ground| {
        let names: Vec<String> = caller.requests.iter().flat_map(|own| own.left(false)).collect();
        let way = Way::Hfctl { socket: ground.socket, seconds: LONG, key: None };
        ensure!(names.is_empty() || caller.give_back(ground, way, &names)?, "a return was refused on the full disk");
        Ok(())
    })?;
    ensure!(host.disk.free_bytes() < 2 << 20, "the disk was not full");

    host.disk.set_capacity(used + whole);
    wait_until(SOON, "requests are accepted again", || {
        let accepted = |load: &Load| load.tally().answered.get("request").copied().unwrap_or(0);
        let before = accepted(&load);
        load.each(site, |caller, ground| caller.request(ground))?;
        Ok(accepted(&load) == before + load.callers.len() as u64)
    })?;
    judge(&mut load, site)?;
    give_all_back(&mut load, site)
}

/// The power fails at every change that the very first start makes on the disk, each time on an empty one. Whatever is
/// left, the next start makes a journal or finds one. Gives the number of cuts.
///
/// # Errors
/// When a start refuses what a cut has left.
pub fn first_start(seed: u64) -> Result<u64> {
    let site = Site::open(seed);
    let mut random = Random::of(seed, "first start");
    let mut cuts = 0;
    for changes in 0.. {
        let mut served = false;
        for survival in [Survival::Nothing, Survival::Random] {
            let mut spec = site.spec.clone();
            let place = site.dir().join("disk");
            spec.state_dir = place.join("state");
            spec.set("journal.reserve", "64KiB");
            let mut host = Host { daemon: None, disk: LossyDisk::mount(&place, 64 << 20)?, spec };
            host.disk.cut_after(changes);
            served |= serves_before_the_cut(&mut host)?;
            host.kill();
            host.disk.cut();
            host.come_back(survival, &mut random)
                .with_context(|| format!("the first start, cut after {changes} changes, {survival:?}"))?;
            cuts += 1;
        }
        if served {
            break;
        }
    }
    Ok(cuts)
}

fn serves_before_the_cut(host: &mut Host) -> Result<bool> {
    let begun = Instant::now();
    // The socket is there from the first moment on, so the log has to tell. It goes on through all lives.
    let log = host.spec.dir.join("hfd.log");
    let served = || std::fs::read_to_string(&log).unwrap_or_default().matches("serving").count();
    let before = served();
    host.daemon = Some(Daemon::start_only(host.spec.clone()));
    while begun.elapsed() < SOON {
        if host.disk.wait_for_cut(Duration::from_millis(5)) {
            return Ok(false);
        }
        if served() > before {
            return Ok(true);
        }
    }
    bail!("the first start came neither to its cut nor to its end")
}
