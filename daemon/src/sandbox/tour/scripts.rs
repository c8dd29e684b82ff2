//! HostFactory's side of the tour: runs the script files as HostFactory does, with an input file of their own.

use std::{
    collections::BTreeMap,
    fs, io,
    process::{Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::time::timeout;

use super::TourError;
use crate::sandbox::{places, stage::Stage};

/// Longest time that one script may take; HostFactory would give it 240 s and more.
const CALL_WITHIN: Duration = Duration::from_secs(30);

/// HostFactory's verbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verb {
    GetAvailableTemplates,
    RequestMachines,
    GetRequestStatus,
    RequestReturnMachines,
    GetReturnRequests,
}

impl Verb {
    /// HostFactory's name for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::GetAvailableTemplates => "getAvailableTemplates",
            Self::RequestMachines => "requestMachines",
            Self::GetRequestStatus => "getRequestStatus",
            Self::RequestReturnMachines => "requestReturnMachines",
            Self::GetReturnRequests => "getReturnRequests",
        }
    }
}

/// A script's answer.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    /// The command line, with the paths cut short.
    pub(super) line: String,
    /// The exit code, -1 after a signal.
    pub(super) code: i32,
    /// The one document on standard output.
    pub(super) json: Value,
    /// From start to end.
    pub(super) took: Duration,
}

/// The scripts of a stage, and how often each was called.
#[derive(Debug, Default)]
pub(super) struct Scripts {
    calls: BTreeMap<Verb, u32>,
}

impl Scripts {
    /// Runs one script and reads its answer.
    pub(super) async fn call(&mut self, stage: &Stage, verb: Verb, input: &[u8]) -> Result<Reply, TourError> {
        *self.calls.entry(verb).or_default() += 1;
        let name = format!("hf_in_{:06}", self.total());
        let file = stage.places.workdir.join(&name);
        places::write(&file, input, 0o600)?;
        let script = stage.places.scripts.join(format!("{}.sh", verb.name()));
        let begun = Instant::now();
        let output = run(stage.command(&script).arg("-f").arg(&file)).await;
        let took = begun.elapsed();
        fs::remove_file(&file).map_err(|source| places::file("remove", &file, source))?;
        let output = output.map_err(|source| TourError::Run { program: script.display().to_string(), source })?;
        let json = serde_json::from_slice(&output.stdout).map_err(|_| TourError::NotOneDocument {
            script: verb.name(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })?;
        let line = format!("scripts/{}.sh -f work/{name}", verb.name());
        Ok(Reply { line, code: output.status.code().unwrap_or(-1), json, took })
    }

    /// Calls of one script.
    pub(super) fn count(&self, verb: Verb) -> u32 {
        self.calls.get(&verb).copied().unwrap_or(0)
    }

    /// Calls of all scripts.
    pub(super) fn total(&self) -> u32 {
        self.calls.values().sum()
    }
}

/// Runs a command to its end, within a bound.
pub(super) async fn run(command: &mut tokio::process::Command) -> io::Result<Output> {
    let ended = command.stdin(Stdio::null()).kill_on_drop(true).output();
    timeout(CALL_WITHIN, ended).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
