//! The judge: all that the provider ever said, what the cluster showed, and whether the two agree.
//!
//! ```text
//!   begin(verb, input) ── what may happen from now on (a return, a request)
//!   end(call, answer)  ── the reply alone and against all earlier ones ──> claims about the cluster
//!   settle(claim, ..)  ── a claim against the record of the pods, or against a look of our own
//!   audit()            ── the record of the pods against what was told
//! ```
//!
//! Replies and the watch race, so the judge never compares two clocks. What a reply says about *now* (gone, lost) is
//! settled by a look that is taken after the reply: gone pods do not come back and marks do not go away, so a look that
//! contradicts is proof. What it says about *once* (was Ready) is settled by the record, after the watch had time to
//! catch up. What happened while the watch was blind is undecided, never a lie. Calls overlap: two answers contradict
//! each other only if neither order of the two is possible.
//!
//! It remembers across HostFactory's failovers: the provider's promises do too. It knows no lock, client or clock.

mod audit;
mod claim;
mod claims;
mod drain;
mod machines;
mod reclaims;
mod status;
#[cfg(test)]
pub(crate) mod testing;
mod verbs;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use serde_json::Value;

pub use self::{
    claim::{Claim, Kind, Look, Settled},
    drain::{Leftovers, Tally},
};
use super::{
    call::{Call, Verb},
    clock::{Moment, Span},
    contract::Answer,
    pods::PodBook,
    rule::{Checks, Lie},
};

/// The bounds that the judge is given.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Age of the provider's view that still counts as fresh.
    pub view_lag: Duration,
    /// Time after which a lost machine must be reported.
    pub reclaim_within: Duration,
    /// Whether somebody else deletes pods.
    pub others_disturb: bool,
}

/// All that was told, and all that was seen.
#[derive(Debug)]
pub struct Judge {
    /// The own record of the pods.
    pub pods: PodBook,
    /// How often each rule was held against something.
    pub checks: Checks,
    /// Claims that can't be decided, for the watch was blind.
    pub undecided: u64,
    bounds: Bounds,
    known: HashMap<String, Known>,
    machines: HashMap<String, Machine>,
    /// Machines that succeeded, of ended requests too, and that nobody began to return.
    held: BTreeSet<String>,
    /// Highest maxNumber that each template was offered with; -1 = no limit.
    limits: BTreeMap<String, i64>,
    /// Counts of requests whose reply nobody read: each may have left a request.
    unheard: Vec<usize>,
    /// Last call that failed: from then on the provider gets its time anew.
    last_failure: Moment,
    /// Length of all names.
    name_length: Option<usize>,
    /// Pods whose request or first answer is still to come.
    unmatched: Vec<String>,
    /// Removed pods of machines whose request is not ended.
    unexplained: Vec<String>,
    /// Lost machines of an earlier HostFactory, as the first answer about everything listed them; none before it.
    inherited: Option<BTreeSet<String>>,
    /// Order of the template file, where it is known.
    file_order: Vec<String>,
}

/// An id that was given.
#[derive(Debug)]
enum Known {
    Machines(Request),
    Return(Return),
}

/// A machine request.
#[derive(Debug)]
struct Request {
    template: String,
    count: usize,
    /// The call that it came from.
    accepted: Span,
    accepted_wall: i64,
    /// Its machines' names, sorted, since the first answer.
    names: Option<Vec<String>>,
    terminal: Option<Terminal>,
}

/// A return.
#[derive(Debug)]
struct Return {
    /// Sorted, each once.
    names: Vec<String>,
    /// The call that it came from.
    accepted: Span,
    results: HashMap<String, (Outcome, Span)>,
    /// When each was reclaimed although, as far as we know, this return was open.
    reclaimed: HashMap<String, Arc<Call>>,
    terminal: Option<Terminal>,
}

/// The end of a request or return, as it was first told.
#[derive(Debug, Clone)]
struct Terminal {
    status: String,
    results: Vec<(String, Outcome)>,
    told: Span,
}

/// A machine's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Executing,
    Succeed,
    Fail,
}

impl Outcome {
    fn read(machine: &Value) -> Self {
        match machine["result"].as_str() {
            Some("succeed") => Self::Succeed,
            Some("fail") => Self::Fail,
            _ => Self::Executing,
        }
    }
}

/// A machine, as its machine request tells of it.
#[derive(Debug)]
struct Machine {
    request: String,
    template: String,
    /// The furthest state that was told.
    told: Told,
    /// The call that first told that it succeeded.
    succeeded: Option<Span>,
    /// The latest question that was answered with executing.
    executing: Option<Moment>,
    /// When the first return of it was begun, killed ones too.
    return_begun: Option<Moment>,
    /// The call that first told a return of it done.
    gone_told: Option<Arc<Call>>,
}

/// What one answer tells of a machine.
#[derive(Debug, Clone)]
struct Told {
    result: Outcome,
    machine_id: String,
    address: String,
    launch_time: i64,
    span: Span,
}

impl Judge {
    /// A judge who has heard nothing; `file_order` are the ids of the template file, as far as it is known.
    pub fn new(bounds: Bounds, file_order: Vec<String>) -> Self {
        Self {
            pods: PodBook::default(),
            checks: Checks::default(),
            undecided: 0,
            bounds,
            known: HashMap::new(),
            machines: HashMap::new(),
            held: BTreeSet::new(),
            limits: BTreeMap::new(),
            unheard: Vec::new(),
            last_failure: Moment::ZERO,
            name_length: None,
            unmatched: Vec::new(),
            unexplained: Vec::new(),
            inherited: None,
            file_order,
        }
    }

    /// A call is about to be made: what it asks for may happen from now on, whatever becomes of its reply.
    pub fn begin(&mut self, verb: Verb, input: &Value, at: Moment) {
        if verb != Verb::RequestReturnMachines {
            return;
        }
        for machine in input["machines"].as_array().into_iter().flatten() {
            let name = machine["name"].as_str().unwrap_or_default();
            self.held.remove(name);
            if let Some(machine) = self.machines.get_mut(name) {
                machine.return_begun.get_or_insert(at);
            }
        }
    }

    /// A call has ended: judges its reply, and gives what it claims about the cluster.
    ///
    /// # Errors
    /// The lie.
    pub fn end(&mut self, call: &Arc<Call>, answer: &Answer) -> Result<Vec<Claim>, Lie> {
        let claims = match answer {
            Answer::Reply(reply) => self.reply(call, reply).map_err(|lie| lie.by(call))?,
            Answer::Refused(_) | Answer::Lost => {
                self.unheard(call, answer);
                Vec::new()
            }
        };
        Ok(claims.into_iter().map(|kind| Claim { kind, call: Arc::clone(call) }).collect())
    }

    /// Names of the machines that HostFactory was told of and did not begin to return.
    pub fn held(&self) -> impl Iterator<Item = &String> {
        self.held.iter()
    }

    fn reply(&mut self, call: &Arc<Call>, reply: &Value) -> Result<Vec<Kind>, Lie> {
        match call.verb {
            Verb::GetAvailableTemplates => self.templates(reply).map(|()| Vec::new()),
            Verb::GetRequestStatus => self.status(call, reply),
            Verb::GetReturnRequests => self.reclaims(call, reply),
            Verb::RequestMachines => self.accepted(call, reply).map(|()| Vec::new()),
            Verb::RequestReturnMachines => self.returned(call, reply).map(|()| Vec::new()),
        }
    }
}
