//! The template file: read, checked, watched.
//!
//! ```text
//! template file ─┬─ entry ── attributes, maxNumber ──┐
//!                └─ podSpec ── manifest file ────────┴─> Template (or Broken) ──> TemplateSet ──> watch channel
//! ```
//!
//! Owns the rule that what works keeps working: an entry, a manifest or a whole file that an edit broke is reported,
//! and the last good version of each template that is still listed stays in force. It must never decide about
//! requests, and never write to the provider's directories.
//!
//! [`load`] is one reading; [`watch`](watch::watch) repeats it when a file has changed.

mod attributes;
mod entry;
mod files;
mod load;
mod manifest;
mod told;
pub mod watch;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use hfd_core::id::TemplateId;
use serde_json::{Map, Value};

pub use self::{load::load, told::Told};

use self::files::Stamp;

/// Where templates come from, and what they may do.
#[derive(Debug, Clone)]
pub struct Source {
    /// Places of the template file; the first that exists counts.
    pub candidates: Vec<PathBuf>,
    /// Accept manifests with `hostNetwork` or `setHostnameAsFQDN` (`lifecycle.md` 12).
    pub allow_host_network: bool,
}

/// How many machines a template may have at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxNumber {
    /// `-1`: no limit of ours.
    Unlimited,
    /// `0` means that HostFactory must not use the template.
    AtMost(u32),
}

impl MaxNumber {
    /// The limit, if there is one.
    #[must_use]
    pub fn limit(self) -> Option<u32> {
        match self {
            Self::Unlimited => None,
            Self::AtMost(limit) => Some(limit),
        }
    }
}

/// A usable template.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    /// Its id.
    pub id: TemplateId,
    /// `maxNumber`.
    pub max_number: MaxNumber,
    /// `readyDeadlineSeconds` of the entry; `None` means the configured deadline.
    pub ready_deadline: Option<Duration>,
    /// The Pod manifest as it is stored with a request: `apiVersion`, `kind`, labels and annotations, `spec`; cleaned
    /// of all that is ours to set (`lifecycle.md` 12).
    pub manifest: Arc<Value>,
    /// The entry as getAvailableTemplates emits it.
    pub wire: Map<String, Value>,
    /// What was cleaned away or looks wrong, for people.
    pub warnings: Vec<String>,
    /// The manifest's file.
    pub source: PathBuf,
}

/// An entry that can't be used as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Its `templateId`, or `entry 3` (from 1) when even that can't be read.
    pub name: String,
    /// What is wrong.
    pub error: String,
    /// Whether an earlier good version of it is still in force.
    pub last_good_in_force: bool,
}

/// All templates, as of one reading.
#[derive(Debug, Clone, Default)]
pub struct TemplateSet {
    /// Those that can be used, in the file's order: HostFactory chooses hosts in the order listed.
    pub usable: Vec<Arc<Template>>,
    /// Those that can't.
    pub broken: Vec<Broken>,
    /// The template file that was read; `None` when no candidate exists.
    pub file: Option<PathBuf>,
    /// Why the file as a whole could not be read; what was usable before stays.
    pub error: Option<String>,
    /// When the content was read, epoch seconds.
    pub read_at: i64,
    /// Every file that the content depends on, as it was found.
    stamps: BTreeMap<PathBuf, Option<Stamp>>,
    /// A file is there and could not be read: worth another try although it has not changed.
    retry: bool,
}

impl TemplateSet {
    /// The usable template of this id.
    ///
    /// # Errors
    /// Why there is none, for the caller: unknown, broken, or no readable template file.
    pub fn find(&self, id: &str) -> Result<&Arc<Template>, String> {
        if let Some(template) = self.usable.iter().find(|template| template.id.as_str() == id) {
            return Ok(template);
        }
        if let Some(broken) = self.broken.iter().find(|broken| broken.name == id) {
            return Err(format!("template {id:?} is broken: {}", broken.error));
        }
        if let (Some(error), true) = (&self.error, self.usable.is_empty()) {
            return Err(format!("no templates: {error}"));
        }
        let known: Vec<_> = self.usable.iter().map(|template| template.id.as_str()).collect();
        let shown: String = id.chars().take(80).collect();
        Err(format!("there is no template {shown:?}; usable are: {}", known.join(", ")))
    }

    /// What getAvailableTemplates answers: every usable template, those with `maxNumber` 0 included.
    ///
    /// # Errors
    /// When no template is left that HostFactory could use: it drops a provider for good that answers with an empty
    /// list, or with `maxNumber` 0 only.
    pub fn available(&self) -> Result<Vec<Map<String, Value>>, String> {
        if self.usable.iter().any(|template| template.max_number != MaxNumber::AtMost(0)) {
            return Ok(self.usable.iter().map(|template| template.wire.clone()).collect());
        }
        let mut reasons: Vec<_> = self.error.iter().cloned().collect();
        reasons.extend(self.broken.iter().map(|broken| format!("{}: {}", broken.name, broken.error)));
        reasons.extend(self.usable.iter().map(|template| format!("{}: maxNumber is 0", template.id)));
        if reasons.is_empty() {
            reasons.push("the template file lists none".to_owned());
        }
        Err(format!("no usable template: {}", reasons.join("; ")))
    }

    /// All that people should know about this set, one sentence each.
    pub fn warnings(&self) -> impl Iterator<Item = String> + '_ {
        let file = self.error.iter().map(|error| format!("template file: {error}"));
        let broken = self.broken.iter().map(|broken| {
            let rest = if broken.last_good_in_force { "; its last good version stays in force" } else { "" };
            format!("template {}: {}{rest}", broken.name, broken.error)
        });
        let cleaned = self.usable.iter().flat_map(|template| {
            template.warnings.iter().map(move |warning| format!("template {}: {warning}", template.id))
        });
        file.chain(broken).chain(cleaned)
    }

    /// Whether both say the same; when they were read does not matter.
    fn says_the_same(&self, other: &Self) -> bool {
        self.usable == other.usable
            && self.broken == other.broken
            && self.file == other.file
            && self.error == other.error
    }
}

#[cfg(test)]
mod tests;
