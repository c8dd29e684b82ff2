//! Texts that repeat from pod to pod, kept once.
//!
//! Node names and the scheduler's messages are the same for thousands of pods. The watch task owns the one interner;
//! what it hands out are ordinary `Arc<str>`s. It remembers only what some pod still uses, plus a bounded rest.

use std::{collections::HashSet, sync::Arc};

/// Texts remembered before unused ones are looked for. A kubelet's messages name their pod, so most texts of a failing
/// cluster are used once; 4,096 of at most 500 bytes are 2 MB at worst.
const SWEEP_AT_LEAST: usize = 4096;

/// A set of shared texts.
#[derive(Debug)]
pub(super) struct Interner {
    texts: HashSet<Arc<str>>,
    sweep_at: usize,
}

impl Interner {
    pub(super) fn new() -> Self {
        Self { texts: HashSet::new(), sweep_at: SWEEP_AT_LEAST }
    }

    /// The shared copy of `text`.
    pub(super) fn share(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        if self.texts.len() >= self.sweep_at {
            self.texts.retain(|text| Arc::strong_count(text) > 1);
            self.sweep_at = (self.texts.len() * 2).max(SWEEP_AT_LEAST);
        }
        let text: Arc<str> = text.into();
        self.texts.insert(Arc::clone(&text));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one_text() {
        let mut interner = Interner::new();
        let (a, b) = (interner.share("node-1"), interner.share("node-1"));
        assert!(Arc::ptr_eq(&a, &b));
    }

    #[test]
    fn texts_that_nobody_uses_any_more_are_forgotten() {
        let mut interner = Interner::new();
        let kept = interner.share("kept");
        for place in 0..3 * SWEEP_AT_LEAST {
            interner.share(&format!("message {place}"));
        }
        assert!(interner.texts.len() <= SWEEP_AT_LEAST);
        assert!(Arc::ptr_eq(&kept, &interner.share("kept")));
    }
}
