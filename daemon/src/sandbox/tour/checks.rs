//! What the tour holds against what it sees.

/// The outcome of all checks so far.
#[derive(Debug, Default)]
pub(super) struct Checks {
    passed: u32,
    wrong: Vec<String>,
}

impl Checks {
    /// Notes whether something is as it must be, and gives the line to print.
    pub(super) fn note(&mut self, what: &str, holds: bool) -> String {
        if holds {
            self.passed += 1;
            format!("  [ok] {what}")
        } else {
            self.wrong.push(what.to_owned());
            format!("  [WRONG] not so: {what}")
        }
    }

    /// How many were right.
    pub(super) fn passed(&self) -> u32 {
        self.passed
    }

    /// What was not as it must be.
    pub(super) fn wrong(&self) -> &[String] {
        &self.wrong
    }
}
