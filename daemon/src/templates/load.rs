//! One reading of the template file and of every manifest that it names.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc};

use hfd_core::id::TemplateId;
use serde_json::Value;

use super::{
    Broken, Source, Template, TemplateSet,
    attributes::shorten,
    entry,
    files::{Files, Stamp},
    manifest,
};

/// Reads the templates.
///
/// Never fails as a whole: what is wrong is told in the set. Where an earlier reading is given, templates that are
/// still listed and are broken now keep their last good version; if the file itself can't be read, all do. Entries no
/// longer listed are gone. Blocks on file access.
#[must_use]
pub fn load(source: &Source, previous: Option<&TemplateSet>, now: i64) -> TemplateSet {
    let mut files = Files::default();
    let chosen = source.candidates.iter().find(|candidate| {
        // Watched even while missing: a file of IBM's name that appears later takes precedence.
        files.stamps.insert((*candidate).clone(), Stamp::of(candidate));
        fs::symlink_metadata(candidate).is_ok()
    });
    let mut set = TemplateSet { file: chosen.cloned(), read_at: now, ..TemplateSet::default() };
    match chosen.map(|path| (path, entries(path, &mut files))) {
        Some((path, Ok(entries))) => {
            let directory = path.parent().unwrap_or(Path::new("/"));
            Reading { source, previous, directory, files: &mut files, set: &mut set, seen: BTreeSet::new() }
                .all(&entries);
        }
        Some((_, Err(error))) => keep_all(&mut set, previous, error, &mut files),
        None => {
            let places: Vec<_> = source.candidates.iter().map(|path| path.display().to_string()).collect();
            let error = format!("there is no template file; looked for {}", places.join(", "));
            keep_all(&mut set, previous, error, &mut files);
        }
    }
    set.stamps = files.stamps;
    set.retry = files.unreadable;
    set
}

/// The file says nothing usable: everything stays as it was, and stays watched.
fn keep_all(set: &mut TemplateSet, previous: Option<&TemplateSet>, error: String, files: &mut Files) {
    set.error = Some(error);
    if let Some(previous) = previous {
        set.usable.clone_from(&previous.usable);
        set.broken.clone_from(&previous.broken);
        for path in previous.stamps.keys() {
            files.stamps.entry(path.clone()).or_insert_with(|| Stamp::of(path));
        }
    }
}

fn entries(path: &Path, files: &mut Files) -> Result<Vec<Value>, String> {
    let text = files.read(path)?;
    let wrong = |error: String| format!("{}: {error}", path.display());
    let file: Value = serde_json::from_str(&text).map_err(|error| wrong(format!("not JSON: {error}")))?;
    match file.get("templates") {
        Some(Value::Array(entries)) => Ok(entries.clone()),
        // IBM's documents write several of their arrays as single objects.
        Some(entry @ Value::Object(_)) => Ok(vec![entry.clone()]),
        Some(other) => Err(wrong(format!("\"templates\" must be an array, not {}", shorten(other)))),
        None => Err(wrong("there is no \"templates\" in it".to_owned())),
    }
}

struct Reading<'a> {
    source: &'a Source,
    previous: Option<&'a TemplateSet>,
    directory: &'a Path,
    files: &'a mut Files,
    set: &'a mut TemplateSet,
    seen: BTreeSet<TemplateId>,
}

impl Reading<'_> {
    fn all(&mut self, entries: &[Value]) {
        for (place, value) in entries.iter().enumerate() {
            match entry::id(value) {
                Err(error) => self.broken(format!("entry {}", place + 1), error, false),
                Ok(id) if !self.seen.insert(id.clone()) => {
                    let error = format!("entry {} has the templateId of an earlier one and is not used", place + 1);
                    self.broken(id.to_string(), error, false);
                }
                Ok(id) => match self.template(&id, value) {
                    Ok(template) => self.set.usable.push(Arc::new(template)),
                    Err(error) => self.fall_back(&id, error),
                },
            }
        }
    }

    fn template(&mut self, id: &TemplateId, value: &Value) -> Result<Template, String> {
        let entry = entry::read(value, self.directory)?;
        let text = self.files.read(&entry.manifest)?;
        let manifest = manifest::read(&text, entry.shape, self.source.allow_host_network)
            .map_err(|error| format!("{}: {error}", entry.manifest.display()))?;
        Ok(Template {
            id: id.clone(),
            max_number: entry.max_number,
            ready_deadline: entry.ready_deadline,
            manifest: Arc::new(manifest.value),
            wire: entry.wire,
            warnings: manifest.warnings,
            source: entry.manifest,
        })
    }

    fn fall_back(&mut self, id: &TemplateId, error: String) {
        let last_good = self.previous.and_then(|set| set.usable.iter().find(|template| template.id == *id));
        self.set.usable.extend(last_good.cloned());
        self.broken(id.to_string(), error, last_good.is_some());
    }

    fn broken(&mut self, name: String, error: String, last_good_in_force: bool) {
        self.set.broken.push(Broken { name, error, last_good_in_force });
    }
}
