//! Death at a named point, once for each verb that can be under way there. A point that is not reached is a failure: a
//! proof of a place that nobody passes proves nothing. So is a death that struck no call of the verb, or a life that was
//! called otherwise.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::process::ExitStatusExt,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{
    call::{Way, call},
    caller::LONG,
    judge::{give_all_back, judge},
    load::{Load, Mix},
    site::{Site, wait_until},
};
use crate::{daemon::Daemon, script::Verb};

/// Within this a point is reached under load, or never.
const REACHED: Duration = Duration::from_secs(90);
/// Callers at once.
const CALLERS: usize = 4;
/// `hfd`'s variable.
const VARIABLE: &str = "HFD_CRASH_POINT";

/// A point, with the verbs that pass it.
#[derive(Debug, Clone, Copy)]
pub struct Point {
    /// Its name, with `:nth` where the first time would be too early.
    pub name: &'static str,
    /// Verbs under way when hfd dies there.
    pub verbs: &'static [Verb],
}

/// Verbs that decide something and wait for its journal; a status does when its requests are polled for the first time.
const DECIDING: &[Verb] = &[Verb::RequestMachines, Verb::RequestReturnMachines, Verb::GetRequestStatus];

/// All points but that of a rebuild, see [`rebuild`]. Those of a start are passed whatever the callers do: their calls
/// wait in the socket meanwhile.
pub const POINTS: [Point; 13] = [
    Point { name: "after-decide", verbs: DECIDING },
    Point { name: "in-journal", verbs: DECIDING },
    Point { name: "after-journal", verbs: DECIDING },
    Point { name: "before-reply", verbs: DECIDING },
    Point { name: "after-reply", verbs: DECIDING },
    Point { name: "before-answer:3", verbs: &Verb::ALL },
    Point { name: "after-answer:3", verbs: &Verb::ALL },
    Point { name: "between-creates:3", verbs: &[Verb::RequestMachines] },
    Point { name: "between-deletes:2", verbs: &[Verb::RequestReturnMachines] },
    Point { name: "during-replay", verbs: &Verb::ALL },
    Point { name: "before-checkpoint", verbs: &Verb::ALL },
    Point { name: "after-checkpoint", verbs: &Verb::ALL },
    Point { name: "after-sync", verbs: &Verb::ALL },
];

/// Dies at one point with each of its verbs, and is judged after each; how often that was.
///
/// # Errors
/// The first violation, or a point that was not reached.
pub fn die_at(point: Point, seed: u64) -> Result<u64> {
    let mut site = Site::open(seed);
    let outcome = die_with_each_verb(&site, point, seed);
    outcome.map_err(|error| error.context(format!("at {}, kept in {}", point.name, site.keep().display())))
}

fn die_with_each_verb(site: &Site, point: Point, seed: u64) -> Result<u64> {
    let mut load = Load::new(seed, CALLERS);
    let mut daemon = Daemon::start_only(site.spec.clone());
    Site::wait_synced(&mut daemon)?;
    let mut deaths = 0;
    for verb in point.verbs {
        prepare(&mut load, site).context("before")?;
        daemon.kill9();
        let start = Instant::now();
        daemon = Daemon::start_only(armed(site, point.name));
        load.during(site, Mix::Only(*verb), |_| {
            let death = dies(&mut daemon)?;
            daemon = Daemon::start_only(site.spec.clone());
            Site::wait_synced(&mut daemon)?;
            Ok(death)
        })
        .and_then(|death| load.struck(*verb, start, death))
        .and_then(|_| judge(&mut load, site))
        .with_context(|| format!("with {} under way", verb.name()))?;
        deaths += 1;
    }
    give_all_back(&mut load, site)?;
    Ok(deaths)
}

/// Machines that run and were told, and requests that nobody asked about; nothing that still has to be written.
fn prepare(load: &mut Load, site: &Site) -> Result<()> {
    let more = |load: &mut Load, mix, count: usize| {
        load.during(site, mix, |so_far| {
            let enough = so_far().len() + count;
            wait_until(REACHED, "callers are answered", || Ok(so_far().len() >= enough))
        })
    };
    more(load, Mix::All, 8)?;
    judge(load, site)?;
    more(load, Mix::Only(Verb::RequestMachines), 8)?;
    wait_until(REACHED, "nothing is under way", || {
        let open = site.ask(&["get", "requests", "--open"])?;
        Ok(open["items"].as_array().is_some_and(Vec::is_empty))
    })
}

fn armed(site: &Site, point: &str) -> crate::DaemonSpec {
    let mut spec = site.spec.clone();
    spec.env.insert(VARIABLE.to_owned(), point.to_owned());
    spec
}

/// Waits for the death by the point, and gives when it was seen.
fn dies(daemon: &mut Daemon) -> Result<Instant> {
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = daemon.process().try_ended() {
            break status;
        }
        ensure!(begun.elapsed() < REACHED, "not within {REACHED:?}: hfd reaches the point");
        // Short, for what begins before the death is seen counts as struck by it.
        thread::sleep(Duration::from_millis(1));
    };
    let death = Instant::now();
    ensure!(status.signal() == Some(9), "hfd ended with {status} instead:\n{}", daemon.log_tail(40));
    Ok(death)
}

/// Death in a rebuild, after it has adopted and before that is durable: the next rebuild finds everything again,
/// nothing is created or deleted by either, and what runs can be returned by name.
///
/// # Errors
/// The first violation.
pub fn rebuild(seed: u64) -> Result<()> {
    let mut site = Site::open(seed);
    rebuild_on(&site, seed).map_err(|error| error.context(format!("kept in {}", site.keep().display())))
}

fn rebuild_on(site: &Site, seed: u64) -> Result<()> {
    let mut load = Load::new(seed, CALLERS);
    let mut daemon = Daemon::start_only(site.spec.clone());
    Site::wait_synced(&mut daemon)?;
    prepare(&mut load, site)?;
    judge(&mut load, site)?;
    let before = pods(site);
    ensure!(!before.is_empty(), "there is nothing to adopt");
    daemon.kill9();
    fs::remove_dir_all(&site.spec.state_dir)?;

    let mut daemon = Daemon::start_only(armed(site, "during-rebuild"));
    Site::wait_synced(&mut daemon)?;
    let asked = daemon.hfctl(&["--timeout", "20", "rebuild", "--from-cluster"], b"");
    ensure!(asked.code != 0, "a rebuild that died was reported as done: {}", asked.text());
    dies(&mut daemon)?;
    let mut daemon = Daemon::start_only(site.spec.clone());
    Site::wait_synced(&mut daemon)?;
    let rebuilt = site.ask(&["rebuild", "--from-cluster"])?;
    ensure!(rebuilt["adoptedMachines"] == before.len(), "{} pods ran, adopted: {rebuilt}", before.len());
    ensure!(pods(site) == before, "a rebuild changed what runs: {before:?}, now {:?}", pods(site));

    let way = Way::Hfctl { socket: &site.spec.socket, seconds: LONG, key: None };
    let machines: Vec<Value> = before.keys().map(|name| json!({ "name": name })).collect();
    let reply = call(way, Verb::RequestReturnMachines, &json!({ "machines": machines }))?;
    let asked = json!({"requests": [{"requestId": reply.json["requestId"]}]});
    wait_until(REACHED, "the return is complete", || {
        let reply = call(way, Verb::GetRequestStatus, &asked)?;
        Ok(reply.json["requests"][0]["status"] == "complete")
    })?;
    ensure!(pods(site).is_empty(), "left after the return: {:?}", pods(site));
    Ok(())
}

/// UIDs of our pods by name.
fn pods(site: &Site) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = site.cluster.pods().into_iter();
    all.map(|pod| (text(&pod["metadata"]["name"]), text(&pod["metadata"]["uid"]))).collect()
}
