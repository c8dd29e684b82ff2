//! Churn at speed, with a retention of seconds: memory, file descriptors, threads and the journal stay flat.
//!
//! Flat is judged without a clock: the run has three thirds; the first warms up, and the last is held against the second.
//! What grows with what was done, grows by half in that time. Memory, which goes up and down, is held by its median, so
//! that a stated amount a request would show; sizes by their maximum. What hfd knows is held against what was begun of
//! late, for that goes up and down with the load. Descriptors are counted exactly, by kind, with nobody calling, before
//! the churn and after it.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::{
    call::{Way, call},
    caller::LONG,
    descriptors::Descriptors,
    site::{PLAIN, Site, wait_until},
};
use crate::{Daemon, script::Verb};

/// Retention in the soak.
const KEEP: &str = "20";
/// Pause between two samples.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// Samples, so at least seconds, within which what was begun has ended and is forgotten: its life, the retention, and
/// as much again until it is looked for.
const FORGOTTEN_WITHIN: usize = 60;
/// Requests and returns that all callers together may begin while one sample is taken.
const LATE: u64 = 60;
/// Requests and returns that are begun at least, however long that takes: what each leaves has to add up to more than the
/// slack.
const ENOUGH: u64 = 6_000;
/// A cycle of one caller takes some 100 ms; this is for a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// How long.
    pub duration: Duration,
    /// Callers at once.
    pub callers: usize,
    /// Seed of the cluster.
    pub seed: u64,
    /// Whether what is over is forgotten after some seconds; else it is kept for a week, and nothing is flat.
    pub forgets: bool,
}

/// One look at the daemon.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sample {
    /// Resident memory in KiB that no file stands behind: the heap and the stacks.
    pub heap: u64,
    /// Open file descriptors.
    pub files: u64,
    /// Threads.
    pub threads: u64,
    /// Bytes of the journal's database.
    pub database: u64,
    /// Bytes of its log.
    pub log: u64,
    /// Requests and returns known.
    pub known: u64,
    /// Requests and returns begun until then.
    pub begun: u64,
}

/// What came out.
#[derive(Debug)]
pub struct Report {
    /// All samples.
    pub samples: Vec<Sample>,
    /// Machines that came up and were returned.
    pub cycles: u64,
    /// Descriptors by kind, with nobody calling: before the churn and after it.
    pub quiet: [Descriptors; 2],
    /// Bytes of the journal after the stop, its log emptied.
    pub at_rest: u64,
}

struct Bound {
    name: &'static str,
    read: fn(&Sample) -> u64,
    /// How a third of the samples is put into one number.
    measure: fn(Vec<u64>) -> u64,
    /// What may be added to the second third's.
    slack: u64,
    /// The same for each request or return that is known beyond what ever was before: of a machine that has grown faster.
    a_known: u64,
    /// What no sample may be above.
    most: u64,
}

/// hfd starts the log over at 16 MiB, and a batch later at the latest.
const LOG_MOST: u64 = 17 << 20;

const BOUNDS: [Bound; 5] = [
    // What the allocator keeps of bursts goes up by some 800 KiB within a run of 150 s that leaks nothing.
    Bound { name: "heap KiB", read: |it| it.heap, measure: median, slack: 1536, a_known: 2, most: u64::MAX },
    // Each call under way has a connection.
    Bound { name: "file descriptors", read: |it| it.files, measure: most, slack: 16, a_known: 0, most: u64::MAX },
    Bound { name: "threads", read: |it| it.threads, measure: most, slack: 4, a_known: 0, most: u64::MAX },
    Bound {
        name: "database bytes",
        read: |it| it.database,
        measure: most,
        slack: 256 << 10,
        a_known: 2048,
        most: u64::MAX,
    },
    Bound { name: "log bytes", read: |it| it.log, measure: most, slack: LOG_MOST, a_known: 0, most: LOG_MOST },
];

impl Plan {
    /// The command that repeats it.
    pub fn again(&self) -> String {
        format!("proof soak --duration {}s --callers {} --seed {}", self.duration.as_secs(), self.callers, self.seed)
    }

    /// Runs it.
    ///
    /// # Errors
    /// A violation of a caller's; what is needed to look into it is kept and named.
    pub fn run(self, say: &dyn Fn(&str)) -> Result<Report> {
        let mut site = Site::open(self.seed);
        self.churn(&mut site, say).map_err(|error| error.context(format!("kept in {}", site.keep().display())))
    }

    fn churn(self, site: &mut Site, say: &dyn Fn(&str)) -> Result<Report> {
        if self.forgets {
            site.spec.env.insert("HFD_TEST_KEEP".to_owned(), KEEP.to_owned());
        }
        let mut daemon = Daemon::start_only(site.spec.clone());
        Site::wait_synced(&mut daemon)?;
        let (stop, cycles, asked) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
        // What is opened with the first call and kept is there afterwards.
        cycle(&site.spec.socket, 1)?;
        let before = Descriptors::at_rest(daemon.id())?;
        let begun = Instant::now();
        let (place, socket, pid) = (&*site, site.spec.socket.as_path(), daemon.id());
        let samples = thread::scope(|scope| -> Result<Vec<Sample>> {
            let (stop, cycles, asked) = (&stop, &cycles, &asked);
            let callers: Vec<_> = (0..self.callers)
                .map(|number| {
                    scope.spawn(move || -> Result<()> {
                        while !stop.load(Ordering::Relaxed) {
                            asked.fetch_add(1, Ordering::Relaxed);
                            let machines = cycle(socket, number as u64 % 5 + 1)
                                .inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
                            cycles.fetch_add(machines, Ordering::Relaxed);
                        }
                        Ok(())
                    })
                })
                .collect();
            let mut samples = Vec::new();
            let enough = |samples: &[Sample]| samples.last().is_some_and(|last| last.begun >= ENOUGH);
            while (begun.elapsed() < self.duration || !enough(&samples)) && !stop.load(Ordering::Relaxed) {
                if begun.elapsed() > self.duration + PATIENCE * 10 {
                    stop.store(true, Ordering::Relaxed);
                    bail!("too slow to see what a request leaves: {:?}", samples.last());
                }
                thread::sleep(SAMPLE_EVERY);
                let begun_by_now = 2 * asked.load(Ordering::Relaxed);
                let sample =
                    Sample::take(place, pid, begun_by_now).inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
                samples.push(sample);
                if samples.len() % 30 == 0 {
                    say(&format!("{:.0?}: {} machines, {sample:?}", begun.elapsed(), cycles.load(Ordering::Relaxed)));
                }
            }
            stop.store(true, Ordering::Relaxed);
            callers.into_iter().try_for_each(|caller| caller.join().expect("a caller does not panic"))?;
            Ok(samples)
        })?;
        let after = Descriptors::at_rest(daemon.id())?;
        ensure!(daemon.terminate().success(), "hfd did not stop cleanly");
        let at_rest = bytes(site, DATABASE) + bytes(site, LOG);
        Ok(Report { samples, cycles: cycles.into_inner(), quiet: [before, after], at_rest })
    }
}

impl Sample {
    fn take(site: &Site, pid: u32, begun: u64) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).context("hfd ended by itself")?;
        let number = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).with_context(|| format!("no {key}"))
        };
        let known = site.ask(&["get", "requests", "--limit", "1"])?;
        Ok(Self {
            heap: number("RssAnon:")?,
            files: fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64,
            threads: number("Threads:")?,
            database: bytes(site, DATABASE),
            log: bytes(site, LOG),
            known: known["total"].as_u64().context("a total")?,
            begun,
        })
    }
}

impl Report {
    /// What is not flat, with its figures.
    pub fn growing(&self) -> Vec<String> {
        let third = self.samples.len() / 3;
        let known = |part: &[Sample]| part.iter().map(|sample| sample.known).max().unwrap_or(0);
        let more_known = known(&self.samples[2 * third..]).saturating_sub(known(&self.samples[..2 * third]));
        BOUNDS
            .iter()
            .filter_map(|bound| {
                let middle = bound.of(&self.samples[third..2 * third]);
                let last = bound.of(&self.samples[2 * third..]);
                let all = self.samples.iter().map(bound.read).max().unwrap_or(0);
                let may = middle + bound.slack + bound.a_known * more_known;
                if last > may {
                    return Some(format!("{}: {last} after {middle}, above {may}", bound.name));
                }
                (all > bound.most).then(|| format!("{}: {all}, above {}", bound.name, bound.most))
            })
            .chain(self.quiet[0].left_by(&self.quiet[1]))
            .chain(self.remembered())
            .collect()
    }

    /// What is known beyond what was begun of late. What is begun while a sample is taken is in none yet.
    fn remembered(&self) -> Option<String> {
        let mut pairs = self.samples.iter().zip(self.samples.iter().skip(FORGOTTEN_WITHIN));
        let (before, now) = pairs.find(|(before, now)| now.known > now.begun - before.begun + LATE)?;
        Some(format!("requests known: {} although only {} were begun of late", now.known, now.begun - before.begun))
    }

    /// Bytes of the journal for each machine that came and went, while it is remembered.
    pub fn bytes_a_cycle(&self) -> u64 {
        self.at_rest / self.cycles.max(1)
    }

    /// Rows of the summary.
    pub fn rows(&self) -> Vec<(String, u64)> {
        let mut rows = vec![("samples".to_owned(), self.samples.len() as u64), ("machines".to_owned(), self.cycles)];
        let third = self.samples.len() / 3;
        for bound in BOUNDS {
            rows.push((format!("{}, second third", bound.name), bound.of(&self.samples[third..2 * third])));
            rows.push((format!("{}, last third", bound.name), bound.of(&self.samples[2 * third..])));
        }
        rows.push((
            "requests known, most".to_owned(),
            self.samples.iter().map(|sample| sample.known).max().unwrap_or(0),
        ));
        rows.push(("requests begun".to_owned(), self.samples.last().map_or(0, |sample| sample.begun)));
        rows.push(("journal bytes after the stop".to_owned(), self.at_rest));
        rows
    }
}

/// Machines asked for, up, told, returned and gone; how many.
fn cycle(socket: &Path, count: u64) -> Result<u64> {
    let way = Way::Hfctl { socket, seconds: LONG, key: None };
    let ask = |verb, input: &Value| {
        let reply = call(way, verb, input)?;
        ensure!(reply.code == 0, "{}", reply.stdout);
        Ok(reply.json)
    };
    let ended = |id: &Value| -> Result<Value> {
        let input = json!({"requests": [{ "requestId": id }]});
        let mut last = Value::Null;
        wait_until(PATIENCE, "a request ends", || {
            last = ask(Verb::GetRequestStatus, &input)?["requests"][0].take();
            Ok(last["status"] != "running")
        })?;
        ensure!(last["status"] == "complete", "ended as {last}");
        Ok(last)
    };
    let input = json!({"template": {"templateId": PLAIN, "machineCount": count}});
    let up = ended(&ask(Verb::RequestMachines, &input)?["requestId"])?;
    let names = up["machines"].as_array().into_iter().flatten().map(|machine| json!({ "name": machine["name"] }));
    let input = json!({ "machines": names.collect::<Vec<_>>() });
    ended(&ask(Verb::RequestReturnMachines, &input)?["requestId"])?;
    Ok(count)
}

const DATABASE: &str = "journal.db";
const LOG: &str = "journal.db-wal";

fn bytes(site: &Site, name: &str) -> u64 {
    fs::metadata(site.spec.state_dir.join(name)).map_or(0, |facts| facts.len())
}

fn most(values: Vec<u64>) -> u64 {
    values.into_iter().max().unwrap_or(0)
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

impl Bound {
    fn of(&self, part: &[Sample]) -> u64 {
        (self.measure)(part.iter().map(self.read).collect())
    }
}
