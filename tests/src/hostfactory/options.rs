//! The command line.

use std::{path::PathBuf, str::FromStr, time::Duration};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

/// Behaves as Symphony's HostFactory does, through the five real scripts, and stops at the provider's first lie.
///
/// Exit status: 0 no lie, 1 could not run, 2 wrong command line, 6 a lie.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// HostFactory's configuration directory, as installed.
    #[arg(long, env = "HF_CONFDIR", value_name = "DIR")]
    pub confdir: PathBuf,
    /// $HF_WORKDIR; a temporary directory by default.
    #[arg(long, value_name = "DIR")]
    pub workdir: Option<PathBuf>,
    /// $HF_LOGDIR; `log` below the work directory by default.
    #[arg(long, value_name = "DIR")]
    pub logdir: Option<PathBuf>,
    /// Provider instance; without it the only enabled one that an enabled requestor names.
    #[arg(long, value_name = "NAME")]
    pub provider: Option<String>,
    /// Adds to the scripts' environment, which otherwise has HostFactory's variables and a minimal PATH; without a
    /// value, the stand-in's own.
    #[arg(long = "env", value_name = "KEY[=VALUE]", value_parser = key_value)]
    pub environment: Vec<(String, String)>,
    /// Kubeconfig of the own eyes (and of the disturbances): pods get, list, watch; more for each disturbance.
    #[arg(long, env = "KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: PathBuf,
    /// Namespace of the pods.
    #[arg(long, env = crate::testbed::provider::NAMESPACE_VARIABLE, default_value = "default")]
    pub namespace: String,
    /// Seed of all choices.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Time until the drain begins, e.g. 90s, 10m, 12h.
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub duration: Duration,
    /// Longest time of the drain.
    #[arg(long, default_value = "120s", value_parser = duration)]
    pub drain: Duration,
    /// Speed of HostFactory's loops: 1.0 is the real 30 s.
    #[arg(long, default_value_t = 0.01)]
    pub pace: f64,
    /// Highest demand.
    #[arg(long, default_value_t = 200)]
    pub max_machines: usize,
    /// Machines in one request or return.
    #[arg(long, default_value = "20-100", value_name = "LOW-HIGH")]
    pub batch: Batch,
    /// Time limit of one script.
    #[arg(long, default_value = "240s", value_parser = duration)]
    pub time_limit: Duration,
    /// Time between two failovers of HostFactory; 0s = none.
    #[arg(long, default_value = "0s", value_parser = duration)]
    pub failover_every: Duration,
    /// Scripts killed at a random moment, of each thousand.
    #[arg(long, default_value_t = 0, value_name = "PER_MILLE")]
    pub kill_scripts: usize,
    /// What befalls pods and nodes meanwhile.
    #[arg(long, value_delimiter = ',', value_name = "KIND")]
    pub disturb: Vec<Disturbance>,
    /// Time between two disturbances.
    #[arg(long, default_value = "2s", value_parser = duration)]
    pub disturb_every: Duration,
    /// Time until a deleted node is made again; 0s = never, the cluster then shrinks.
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub node_back: Duration,
    /// Somebody else deletes pods too: then an unexplained deletion is not held against the provider.
    #[arg(long)]
    pub others_disturb: bool,
    /// How long the own watch may lag behind a reply before the reply counts as a lie.
    #[arg(long, default_value = "5s", value_parser = duration)]
    pub catch_up: Duration,
    /// How long the provider's view may be old and still count as fresh (lifecycle.md 7).
    #[arg(long, default_value = "100s", value_parser = duration)]
    pub view_lag: Duration,
    /// Time after which a lost machine must be reported, counted while calls succeed and the watch stands.
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub reclaim_within: Duration,
    /// Writes the summary as JSON.
    #[arg(long, value_name = "FILE")]
    pub summary: Option<PathBuf>,
}

impl Options {
    /// One turn of HostFactory's loops, whose real length is 30 s.
    pub fn turn(&self) -> Duration {
        Duration::from_secs_f64(30.0 * self.pace)
    }

    /// What clap can't check by itself.
    ///
    /// # Errors
    /// When a value makes no sense.
    pub fn check(&self) -> Result<()> {
        if !(self.pace > 0.0 && self.pace <= 10.0) {
            bail!("--pace {}: more than 0, at most 10", self.pace);
        }
        if self.max_machines == 0 {
            bail!("--max-machines 0: nothing would be asked for");
        }
        if self.kill_scripts > 1000 {
            bail!("--kill-scripts {}: of a thousand", self.kill_scripts);
        }
        Ok(())
    }
}

/// What is done to the cluster behind the provider's back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum)]
pub enum Disturbance {
    /// A pod is deleted with its grace.
    PodDelete,
    /// A pod is deleted at once.
    PodForceDelete,
    /// A pod is evicted (policy/v1).
    Evict,
    /// A node is deleted, and comes back later.
    NodeLoss,
}

impl Disturbance {
    /// As the command line and the summary call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::PodDelete => "pod-delete",
            Self::PodForceDelete => "pod-force-delete",
            Self::Evict => "evict",
            Self::NodeLoss => "node-loss",
        }
    }
}

/// Smallest and largest batch.
#[derive(Debug, Clone, Copy)]
pub struct Batch {
    /// Smallest, at least 1.
    pub low: usize,
    /// Largest.
    pub high: usize,
}

impl FromStr for Batch {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (low, high) = text.split_once('-').unwrap_or((text, text));
        let low = low.trim().parse().with_context(|| format!("{text:?} is not LOW-HIGH"))?;
        let high = high.trim().parse().with_context(|| format!("{text:?} is not LOW-HIGH"))?;
        if low == 0 || low > high {
            bail!("{text:?}: 1 or more, and the lower first");
        }
        Ok(Self { low, high })
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    if let Some((key, value)) = text.split_once('=') {
        return Ok((key.to_owned(), value.to_owned()));
    }
    let value = std::env::var(text).map_err(|_| format!("{text:?} is neither KEY=VALUE nor a variable that is set"))?;
    Ok((text.to_owned(), value))
}

/// A number with `ms`, `s`, `m` or `h`.
fn duration(text: &str) -> Result<Duration, String> {
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let found = units.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?.parse::<f64>().ok()?, seconds)));
    let (number, seconds) = found.ok_or_else(|| format!("{text:?} is no time such as 500ms, 90s, 10m or 12h"))?;
    Duration::try_from_secs_f64(number * seconds).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_unit_and_refused_without() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1.5m"), Ok(Duration::from_secs(90)));
        assert!(duration("90").is_err());
        assert!(duration("-1s").is_err());
    }

    #[test]
    fn a_batch_is_a_range_or_one_number() {
        let batch: Batch = "20-100".parse().expect("a range is a batch");
        assert_eq!((batch.low, batch.high), (20, 100));
        assert!("0-3".parse::<Batch>().is_err());
        assert!("9-3".parse::<Batch>().is_err());
    }
}
