//! Which calls were under way, and when: what a death at a named point struck.

use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::Value;

use super::{
    call::{Way, call},
    caller::Caller,
    load::Load,
};
use crate::script::{Reply, Verb};

/// One call of a caller.
#[derive(Debug, Clone, Copy)]
pub struct Called {
    /// What was called.
    pub verb: Verb,
    /// When it began.
    pub begun: Instant,
    /// When it had its outcome, which hfctl may have had to try for again and again.
    pub ended: Instant,
}

impl Caller {
    /// Makes a call and remembers when.
    pub(super) fn call(&mut self, way: Way<'_>, verb: Verb, input: &Value) -> Result<Reply> {
        let begun = Instant::now();
        let reply = call(way, verb, input);
        self.called.push(Called { verb, begun, ended: Instant::now() });
        reply
    }
}

impl Load {
    /// How many calls of `verb` were under way when a life that began at `start` was seen to be dead at `death`; of those
    /// that [`Self::during`] made last.
    ///
    /// # Errors
    /// When there was none, or when that life was called otherwise: then it may have died of that.
    pub(super) fn struck(&self, verb: Verb, start: Instant, death: Instant) -> Result<usize> {
        let mut struck = 0;
        for called in self.callers.iter().flat_map(|caller| &caller.called) {
            if called.begun > death || called.ended < start {
                continue;
            }
            ensure!(called.verb == verb, "{} was called beside {}", called.verb.name(), verb.name());
            struck += usize::from(called.ended >= death);
        }
        ensure!(struck > 0, "no {} was under way", verb.name());
        Ok(struck)
    }
}
