//! The rules that the provider is held to, each with the section it comes from, and the accusation when one is broken.

use std::{fmt, sync::Arc};

use super::call::Call;

macro_rules! rules {
    ($($rule:ident $id:literal $section:literal $promise:literal;)+) => {
        /// What the provider must keep to.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule {
            $(#[doc = $promise] $rule,)+
        }

        impl Rule {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$rule,)+];

            /// Its name in reports.
            pub fn id(self) -> &'static str {
                match self { $(Self::$rule => $id,)+ }
            }

            /// The page and section that it comes from.
            pub fn section(self) -> &'static str {
                match self { $(Self::$rule => $section,)+ }
            }

            /// What it promises.
            pub fn promise(self) -> &'static str {
                match self { $(Self::$rule => $promise,)+ }
            }
        }
    };
}

rules! {
    OneDocument "one-document" "interface.md, Invocation"
        "A script prints exactly one JSON document.";
    ExitCode "exit-code" "interface.md, Invocation"
        "A script ends with 0 or 1.";
    TimeLimit "time-limit" "interface.md, Invocation"
        "A script ends within HostFactory's time limit.";
    Schema "schema" "interface.md, the verb's table"
        "A reply has the fields and types of its table, a failure a message.";
    TemplatesOnce "templates-once" "interface.md, getAvailableTemplates"
        "Each template is offered once.";
    TemplatesOrder "templates-order" "interface.md, getAvailableTemplates"
        "Templates keep the order of the file.";
    IdForm "id-form" "lifecycle.md 1"
        "A request id has 16 characters of lower-case base32.";
    IdNew "id-new" "lifecycle.md 1"
        "A new request or return gets an id that was never given before.";
    AnswerOrder "answer-order" "interface.md, getRequestStatus"
        "Requests are answered in input order, each once.";
    UnknownId "unknown-id" "interface.md, getRequestStatus"
        "An unknown id is complete_with_error (or running, while undecided) without machines.";
    MachineCount "machine-count" "interface.md, getRequestStatus"
        "As many machines are listed as were asked for.";
    MachinesStay "machines-stay" "lifecycle.md 3"
        "A machine once listed in an answer is listed in every later one.";
    NamesUnique "names-unique" "lifecycle.md 1"
        "A name belongs to one machine for ever.";
    NameForm "name-form" "lifecycle.md 1"
        "A machine's name is its request's id, a hyphen and five digits.";
    NamesOneLength "names-one-length" "lifecycle.md 1"
        "All names have one length, so that none is part of another.";
    ResultPair "result-pair" "interface.md, getRequestStatus"
        "Result and status of a machine are a pair of the table.";
    ResultOrder "result-order" "lifecycle.md 3"
        "A result only goes forward.";
    MachineIdConstant "machine-id-constant" "lifecycle.md 3"
        "A machineId is empty, then constant.";
    AddressConstant "address-constant" "interface.md, getRequestStatus"
        "A machine that succeeded has an id and an address that stay.";
    LaunchTime "launch-time" "lifecycle.md 3"
        "A launchtime is never 0, before acceptance or in the future, never goes back, and is constant once ready.";
    RequestStatus "request-status" "interface.md, getRequestStatus"
        "A status is what the results make it: judged against the count asked for.";
    TerminalFrozen "terminal-frozen" "lifecycle.md 2"
        "A terminal answer never changes.";
    SucceedWasReady "succeed-was-ready" "reliability.md, promise 4"
        "A machine that succeeded was Ready with that address and UID in the cluster.";
    MachineIdExisted "machine-id-existed" "interface.md, getRequestStatus"
        "A machineId is the UID of a pod of that name.";
    FailHasCause "fail-has-cause" "lifecycle.md 3"
        "A machine that was ready and lives unharmed does not fail.";
    MaxNumber "max-number" "lifecycle.md 4"
        "No more machines of a template are in use than its maxNumber.";
    ReturnMachines "return-machines" "interface.md, getRequestStatus"
        "A return lists the machines that were returned by it.";
    ReturnedIsGone "returned-is-gone" "lifecycle.md 5"
        "A machine whose return is told done has no pod.";
    GoneStaysGone "gone-stays-gone" "lifecycle.md 5"
        "No pod appears under the name of a machine whose return is done.";
    ReturnsComplete "returns-complete" "interface.md, getRequestStatus"
        "All returns end complete.";
    ReclaimKnown "reclaim-known" "lifecycle.md 6"
        "Only names that were issued, and were asked about, are reclaimed.";
    ReclaimOnce "reclaim-once" "lifecycle.md 6"
        "A machine stands once in a list of reclaims.";
    ReclaimLostOnly "reclaim-lost-only" "lifecycle.md 6"
        "A machine that lives and is not marked for loss is never reclaimed.";
    ReclaimNotReturning "reclaim-not-returning" "lifecycle.md 6"
        "A machine is never reclaimed while an open return covers it.";
    LostIsReclaimed "lost-is-reclaimed" "lifecycle.md 6"
        "A lost machine that was not returned is reclaimed.";
    OnePodPerName "one-pod-per-name" "reliability.md, promise 2"
        "No machine has two pods, not even one after the other.";
    PodsMatchMachines "pods-match-machines" "lifecycle.md 1"
        "Every pod of a request is one of its machines.";
    NotRemovedUnasked "not-removed-unasked" "reliability.md, promise 4"
        "A machine that HostFactory has and did not return is not removed.";
    Drained "drained" "reliability.md, promise 3"
        "When everything is returned, everything ends and no pod is left.";
    UnknownAccounted "unknown-accounted" "lifecycle.md 9"
        "Requests that HostFactory never learned of come from calls whose reply was lost.";
}

/// A rule broken, with all that shows it.
#[derive(Debug, Clone)]
pub struct Lie {
    /// The rule.
    pub rule: Rule,
    /// What is wrong.
    pub what: String,
    /// The call whose reply says it.
    pub call: Option<Arc<Call>>,
    /// What was seen in the cluster, and earlier.
    pub seen: Vec<String>,
}

impl Lie {
    /// An accusation without evidence yet.
    pub fn new(rule: Rule, what: impl Into<String>) -> Self {
        Self { rule, what: what.into(), call: None, seen: Vec::new() }
    }

    /// With the call that told it; the first one named stays.
    #[must_use]
    pub fn by(mut self, call: &Arc<Call>) -> Self {
        self.call.get_or_insert_with(|| Arc::clone(call));
        self
    }

    /// With one more thing that was seen.
    #[must_use]
    pub fn seen(mut self, what: impl Into<String>) -> Self {
        self.seen.push(what.into());
        self
    }
}

impl fmt::Display for Lie {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "LIE {} ({}): {}", self.rule.id(), self.rule.section(), self.rule.promise())?;
        writeln!(formatter, "  {}", self.what)?;
        if let Some(call) = &self.call {
            writeln!(formatter, "{call}")?;
        }
        for seen in &self.seen {
            writeln!(formatter, "seen: {seen}")?;
        }
        Ok(())
    }
}

/// How often each rule was held against something.
#[derive(Debug, Clone)]
pub struct Checks {
    counts: Vec<u64>,
}

impl Default for Checks {
    fn default() -> Self {
        Self { counts: vec![0; Rule::ALL.len()] }
    }
}

impl Checks {
    /// Counts a check that was made elsewhere.
    pub fn count(&mut self, rule: Rule) {
        self.counts[rule as usize] += 1;
    }

    /// Counts a check and accuses when it does not hold.
    ///
    /// # Errors
    /// The lie.
    pub fn hold(&mut self, rule: Rule, holds: bool, what: impl FnOnce() -> String) -> Result<(), Lie> {
        self.count(rule);
        if holds { Ok(()) } else { Err(Lie::new(rule, what())) }
    }

    /// Checks of one rule so far.
    pub fn of(&self, rule: Rule) -> u64 {
        self.counts[rule as usize]
    }
}
