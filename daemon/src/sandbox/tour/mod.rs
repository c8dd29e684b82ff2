//! `hfd sandbox tour`: what HostFactory and this provider say to each other, from the first question to the last return.
//!
//! Nothing is staged but the cluster: every script is executed through its file, every reply is printed as it came
//! (long lists shortened, and it says so), every number of API calls is the simulated server's own. Each step is
//! checked; one thing that is not as it must be, and the tour ends with 1.

mod checks;
mod scripts;
mod show;
mod story;
mod telling;

use std::{
    io,
    process::ExitCode,
    time::{Duration, Instant},
};

use thiserror::Error;

use self::{checks::Checks, scripts::Scripts, show::Narrator};
use super::{
    error::SandboxError,
    places::Home,
    signals::Signals,
    stage::{Setup, Stage},
};

/// Few enough that a lost node takes some of the machines with it.
const NODES: u32 = 4;
/// Mean time to start a pod: long enough to be seen executing.
const START_DELAY: Duration = Duration::from_secs(1);
/// Mean time to stop a pod.
const STOP_DELAY: Duration = Duration::from_millis(700);

/// Why the tour can't go on.
#[derive(Debug, Error)]
enum TourError {
    /// Nobody reads it.
    #[error("cannot print")]
    Output(#[from] io::Error),
    /// The sandbox itself has a problem.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// A program does not run or does not end.
    #[error("cannot run {program}")]
    Run {
        /// The script or hfctl.
        program: String,
        /// Why not.
        source: io::Error,
    },
    /// The contract of every script is broken.
    #[error("{script} printed no single JSON document: {stdout:?}, and on stderr {stderr:?}")]
    NotOneDocument {
        /// The script.
        script: &'static str,
        /// What it printed.
        stdout: String,
        /// What it said besides.
        stderr: String,
    },
    /// Something that must come does not come.
    #[error("not within {within:?}: {what}")]
    TimedOut {
        /// What was awaited.
        what: String,
        /// For how long.
        within: Duration,
    },
    /// A reply lacks what the next step needs.
    #[error("no {what} in {reply}")]
    Missing {
        /// What.
        what: &'static str,
        /// Where.
        reply: String,
    },
    /// The simulated cluster lacks it.
    #[error(transparent)]
    NotFound(#[from] hfd_sandbox::NotFound),
}

/// A tour under way.
#[derive(Debug)]
struct Tour<'a> {
    stage: &'a Stage,
    out: Narrator<io::Stdout>,
    scripts: Scripts,
    checks: Checks,
    begun: Instant,
}

/// Gives the tour; 0 when everything was as it must be.
pub(super) async fn give(mut signals: Signals) -> Result<ExitCode, SandboxError> {
    let cluster = hfd_sandbox::Options {
        nodes: NODES,
        start_delay: START_DELAY,
        stop_delay: STOP_DELAY,
        ..hfd_sandbox::Options::default()
    };
    let setup = Setup { cluster, home: Home::temporary()?, template_file: None };
    let begun = Instant::now();
    let stage = match super::start(setup, &mut signals).await? {
        Ok(stage) => stage,
        Err(code) => return Ok(code),
    };
    let tour =
        Tour { stage: &stage, out: Narrator::new(), scripts: Scripts::default(), checks: Checks::default(), begun };
    let outcome = tokio::select! {
        outcome = Box::pin(tour.tell()) => Ok(outcome),
        signal = signals.any() => Err(signal),
    };
    let log = std::fs::read_to_string(stage.places.log()).unwrap_or_default();
    let stopped = stage.stop().await;
    let code = match outcome {
        Err(signal) => return Ok(signal.exit_code()),
        Ok(Ok(wrong)) if wrong.is_empty() => ExitCode::SUCCESS,
        Ok(Ok(_)) => ExitCode::FAILURE,
        // `hfd sandbox tour | head` is legal
        Ok(Err(TourError::Output(error))) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            eprintln!("hfd sandbox tour: cannot go on: {}", super::with_causes(&error));
            ExitCode::FAILURE
        }
    };
    if code != ExitCode::SUCCESS {
        eprintln!("the end of hfd's log:\n{}", tail(&log));
    }
    stopped.map(|()| code)
}

/// The last lines of a text.
fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
