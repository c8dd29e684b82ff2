//! Churn at speed, with a retention of seconds: memory, file descriptors, threads and the journal stay flat.
//!
//! Flat is judged without a clock: the run has three thirds; the first warms up, and the maximum of the last may not be
//! above that of the second by more than a stated part. What grows with what was done, grows by half in that time. What
//! hfd knows is held against what was begun of late, for that goes up and down with the load.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{
    call::{Way, call},
    caller::LONG,
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
    /// Resident memory in KiB.
    pub rss: u64,
    /// Open file descriptors.
    pub files: u64,
    /// Threads.
    pub threads: u64,
    /// Bytes of the journal and its log.
    pub journal: u64,
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
    /// Bytes of the journal after the stop, its log emptied.
    pub at_rest: u64,
}

struct Bound {
    name: &'static str,
    read: fn(&Sample) -> u64,
    /// What may be added to 1.2 times the maximum of the second third.
    slack: u64,
}

/// The log is copied and started over at 16 MiB, the allocator gives memory back in steps, and each call under way has
/// a connection.
const BOUNDS: [Bound; 4] = [
    Bound { name: "resident KiB", read: |sample| sample.rss, slack: 8 << 10 },
    Bound { name: "file descriptors", read: |sample| sample.files, slack: 16 },
    Bound { name: "threads", read: |sample| sample.threads, slack: 4 },
    Bound { name: "journal bytes", read: |sample| sample.journal, slack: 1 << 20 },
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
            while begun.elapsed() < self.duration && !stop.load(Ordering::Relaxed) {
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
        ensure!(daemon.terminate().success(), "hfd did not stop cleanly");
        Ok(Report { samples, cycles: cycles.into_inner(), at_rest: journal_bytes(site) })
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
            rss: number("VmRSS:")?,
            files: fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64,
            threads: number("Threads:")?,
            journal: journal_bytes(site),
            known: known["total"].as_u64().context("a total")?,
            begun,
        })
    }
}

impl Report {
    /// What is not flat, with its figures.
    pub fn growing(&self) -> Vec<String> {
        let third = self.samples.len() / 3;
        let most = |part: &[Sample], read: fn(&Sample) -> u64| part.iter().map(read).max().unwrap_or(0);
        BOUNDS
            .iter()
            .filter_map(|Bound { name, read, slack }| {
                let middle = most(&self.samples[third..2 * third], *read);
                let last = most(&self.samples[2 * third..], *read);
                let bound = middle * 12 / 10 + slack;
                (last > bound).then(|| format!("{name}: {last} after {middle}, above {bound}"))
            })
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
        for Bound { name, read, .. } in BOUNDS {
            let third = self.samples.len() / 3;
            let most = |part: &[Sample]| part.iter().map(read).max().unwrap_or(0);
            rows.push((format!("{name}, most in the second third"), most(&self.samples[third..2 * third])));
            rows.push((format!("{name}, most in the last third"), most(&self.samples[2 * third..])));
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

fn journal_bytes(site: &Site) -> u64 {
    let files = fs::read_dir(&site.spec.state_dir).into_iter().flatten().flatten();
    let of_journal = files.filter(|file| file.file_name().to_string_lossy().starts_with("journal"));
    of_journal.filter_map(|file| file.metadata().ok()).map(|facts| facts.len()).sum()
}
