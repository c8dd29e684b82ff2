//! One entry of the template file.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use hfd_core::id::TemplateId;
use serde_json::{Map, Value};

use super::{
    MaxNumber,
    attributes::{self, shorten},
    manifest::Shape,
};
use crate::config::MIN_READY_DEADLINE;

/// An entry whose own keys are right; its manifest is not read yet.
pub(super) struct Entry {
    pub(super) max_number: MaxNumber,
    pub(super) ready_deadline: Option<Duration>,
    pub(super) manifest: PathBuf,
    pub(super) shape: Shape,
    pub(super) wire: Map<String, Value>,
}

/// Longest deadline of a template, as in the configuration.
const MAX_READY_DEADLINE: Duration = Duration::from_secs(24 * 60 * 60);

/// Keys that are not passed on: ours, and those that HostFactory keeps a stale copy of (`interface.md`).
const NOT_EMITTED: [&str; 5] =
    ["podSpec", "podSpecYaml", "readyDeadlineSeconds", "availableNumber", "requestedMachines"];

/// The id of an entry.
pub(super) fn id(entry: &Value) -> Result<TemplateId, String> {
    let Some(object) = entry.as_object() else { return Err(format!("not an object: {}", shorten(entry))) };
    match object.get("templateId") {
        Some(Value::String(id)) => id.parse().map_err(|error| format!("templateId: {error}")),
        Some(other) => Err(format!("templateId must be a string, not {}", shorten(other))),
        None => Err("templateId is missing".to_owned()),
    }
}

/// Reads the rest of an entry; paths in it are relative to `directory`, the template file's.
pub(super) fn read(entry: &Value, directory: &Path) -> Result<Entry, String> {
    let key = |name: &str| entry.get(name).filter(|value| !value.is_null());
    let max_number = max_number(key("maxNumber"))?;
    let attributes = attributes::normalise(key("attributes").ok_or("attributes is missing")?)?;
    let ready_deadline = key("readyDeadlineSeconds").map(ready_deadline).transpose()?;
    let (name, path, shape) = match (key("podSpec"), key("podSpecYaml")) {
        (Some(path), None) => ("podSpec", path, Shape::Pod),
        (None, Some(path)) => ("podSpecYaml", path, Shape::Spec),
        (Some(_), Some(_)) => return Err("podSpec and podSpecYaml are both there: keep one".to_owned()),
        (None, None) => return Err("podSpec, the path of a Pod manifest, is missing".to_owned()),
    };
    let path = path.as_str().filter(|path| !path.is_empty());
    let path = path.ok_or_else(|| format!("{name} must be the path of a Pod manifest"))?;

    let mut wire = entry.as_object().cloned().unwrap_or_default();
    wire.retain(|name, _| !NOT_EMITTED.contains(&name.as_str()));
    wire.insert("attributes".to_owned(), Value::Object(attributes));
    Ok(Entry { max_number, ready_deadline, manifest: directory.join(path), shape, wire })
}

fn max_number(value: Option<&Value>) -> Result<MaxNumber, String> {
    let Some(value) = value else { return Err("maxNumber is missing".to_owned()) };
    match value.as_i64() {
        Some(-1) => Some(MaxNumber::Unlimited),
        Some(number) => u32::try_from(number).ok().map(MaxNumber::AtMost),
        None => None,
    }
    .ok_or_else(|| format!("maxNumber must be a whole number, or -1 for no limit, not {}", shorten(value)))
}

fn ready_deadline(value: &Value) -> Result<Duration, String> {
    let deadline = value.as_u64().map(Duration::from_secs);
    deadline.filter(|deadline| (MIN_READY_DEADLINE..=MAX_READY_DEADLINE).contains(deadline)).ok_or_else(|| {
        let (low, high) = (MIN_READY_DEADLINE.as_secs(), MAX_READY_DEADLINE.as_secs());
        format!("readyDeadlineSeconds must be a whole number from {low} to {high}, not {}", shorten(value))
    })
}
