//! One call of one script: what went in, what came out, when. This is what a lie is shown by.

use std::fmt;

use serde_json::Value;

use super::clock::{Moment, Span};

/// Longest piece of a document that a report shows.
const SHOWN: usize = 4000;

/// The five verbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// What can be asked for.
    GetAvailableTemplates,
    /// How requests and returns stand.
    GetRequestStatus,
    /// What the provider wants back.
    GetReturnRequests,
    /// New machines.
    RequestMachines,
    /// Machines given back.
    RequestReturnMachines,
}

impl Verb {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::GetAvailableTemplates,
        Self::GetRequestStatus,
        Self::GetReturnRequests,
        Self::RequestMachines,
        Self::RequestReturnMachines,
    ];

    /// Whether it changes anything.
    pub fn acts(self) -> bool {
        matches!(self, Self::RequestMachines | Self::RequestReturnMachines)
    }

    /// HostFactory's name of it, which is its script's.
    pub fn name(self) -> &'static str {
        match self {
            Self::GetAvailableTemplates => "getAvailableTemplates",
            Self::GetRequestStatus => "getRequestStatus",
            Self::GetReturnRequests => "getReturnRequests",
            Self::RequestMachines => "requestMachines",
            Self::RequestReturnMachines => "requestReturnMachines",
        }
    }
}

/// How a script ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// By itself; no code when a signal that was not ours ended it.
    Ended(Option<i32>),
    /// By our SIGKILL, at a random moment or in a failover: nobody read what it said.
    Killed,
    /// By our SIGKILL at its time limit.
    TimedOut,
}

/// One call.
#[derive(Debug, Clone)]
pub struct Call {
    /// Running number.
    pub number: u64,
    /// Which script.
    pub verb: Verb,
    /// Its input file.
    pub input: Value,
    /// From before its start until after its end.
    pub span: Span,
    /// The same by the wall's clock, seconds since 1970.
    pub wall: (i64, i64),
    /// How it ended.
    pub outcome: Outcome,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl Call {
    /// When the question was put.
    pub fn begun(&self) -> Moment {
        self.span.begun
    }

    /// When the answer was there.
    pub fn ended(&self) -> Moment {
        self.span.ended
    }

    /// Names in an input with `machines`.
    pub fn machines(&self) -> Vec<&str> {
        let list = self.input["machines"].as_array().into_iter().flatten();
        list.filter_map(|machine| machine["name"].as_str()).collect()
    }

    /// Ids in an input with `requests`.
    pub fn requests(&self) -> Vec<&str> {
        let list = self.input["requests"].as_array().into_iter().flatten();
        list.filter_map(|request| request["requestId"].as_str()).collect()
    }
}

impl fmt::Display for Call {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Span { begun, ended } = self.span;
        writeln!(formatter, "call {}: {}.sh, {begun:.3?} to {ended:.3?}", self.number, self.verb.name())?;
        writeln!(formatter, "  ended: {:?}", self.outcome)?;
        writeln!(formatter, "  input: {}", shortened(self.input.to_string().as_bytes()))?;
        writeln!(formatter, "  reply: {}", shortened(&self.stdout))?;
        write!(formatter, "  stderr: {}", shortened(&self.stderr))
    }
}

fn shortened(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end();
    match text.char_indices().nth(SHOWN) {
        None => text.to_owned(),
        Some((end, _)) => format!("{} ... ({} bytes in all)", &text[..end], bytes.len()),
    }
}
