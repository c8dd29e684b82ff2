//! What HostFactory was told, and what it therefore does not know.

use std::collections::BTreeMap;

use hfd_core::id::TemplateId;

use super::{MaxNumber, TemplateSet};

/// The templates of the last getAvailableTemplates.
///
/// HostFactory reads templates at its start and when it is told to, not by itself: it goes on asking for a template
/// that was removed, and was seen to hang when `maxNumber` was lowered under it (`interface.md`).
#[derive(Debug, Clone, Default)]
pub struct Told {
    limits: BTreeMap<TemplateId, MaxNumber>,
}

impl Told {
    /// Notes that getAvailableTemplates was answered from this set.
    pub fn tell(&mut self, set: &TemplateSet) {
        self.limits = set.usable.iter().map(|template| (template.id.clone(), template.max_number)).collect();
    }

    /// What HostFactory must be told, by its REST interface or by a restart; one sentence each.
    #[must_use]
    pub fn warnings(&self, set: &TemplateSet) -> Vec<String> {
        let change = |(id, old): (&TemplateId, &MaxNumber)| {
            let new = set.usable.iter().find(|template| template.id == *id).map(|template| template.max_number);
            match (old.limit(), new.map(MaxNumber::limit)) {
                (_, None) => Some(format!("template {id} was removed since HostFactory last read the templates")),
                (old, Some(Some(new))) if old.is_none_or(|old| new < old) => {
                    let old = old.map_or_else(|| "unlimited".to_owned(), |old| old.to_string());
                    Some(format!(
                        "maxNumber of template {id} was lowered from {old} to {new} since HostFactory last read the templates"
                    ))
                }
                _ => None,
            }
        };
        self.limits.iter().filter_map(change).collect()
    }
}
