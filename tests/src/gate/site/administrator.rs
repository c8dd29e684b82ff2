//! An administrator's hands in one namespace: statuses written against others who write them too, and waiting for what
//! takes its time.

use std::{
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::http::Endpoint;

/// Attempts to write a status that somebody else changes at the same time.
const ATTEMPTS: usize = 20;
/// Longest wait for a change to take effect.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const STEP: Duration = Duration::from_millis(20);

/// An administrator of one namespace.
#[derive(Debug, Clone)]
pub(super) struct Administrator {
    api: Endpoint,
    namespace: String,
}

impl Administrator {
    pub(super) fn new(api: Endpoint, namespace: &str) -> Self {
        Self { api, namespace: namespace.to_owned() }
    }

    /// The way to the API server.
    pub(super) fn api(&self) -> &Endpoint {
        &self.api
    }

    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Pods of the namespace that are bound to a node.
    pub(super) fn pods_on(&self, node: &str) -> Result<Vec<Value>> {
        let pods = format!("/api/v1/namespaces/{}/pods?fieldSelector=spec.nodeName%3D{node}", self.namespace);
        let list = self.api.json("GET", &pods, None)?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// Path of a pod.
    pub(super) fn pod_path(&self, name: &str) -> String {
        format!("/api/v1/namespaces/{}/pods/{name}", self.namespace)
    }

    /// Writes the status of an object, again when somebody else was faster; `None` when there is no such object.
    pub(super) fn update_status(&self, path: &str, change: impl Fn(&mut Value)) -> Result<Option<Value>> {
        for _ in 0..ATTEMPTS {
            let there = self.api.call("GET", path, None)?;
            if there.code == 404 {
                return Ok(None);
            }
            let mut object = there.json()?;
            change(&mut object);
            let answer = self.api.call("PUT", &format!("{path}/status"), Some(&object))?;
            match answer.code {
                200 => return answer.json().map(Some),
                404 => return Ok(None),
                409 => {}
                code => bail!("PUT {path}/status: {code} {}", String::from_utf8_lossy(&answer.body)),
            }
        }
        bail!("the status of {path} changes too fast to be written")
    }
}

/// Looks until it is so.
///
/// # Errors
/// When a look fails, or it is not so within a minute.
pub(super) fn until(what: &str, mut look: impl FnMut() -> Result<bool>) -> Result<()> {
    let begun = Instant::now();
    while !look()? {
        if begun.elapsed() > PATIENCE {
            bail!("not within {PATIENCE:?}: {what}");
        }
        thread::sleep(STEP);
    }
    Ok(())
}

/// Sets a condition; its transition time changes only with its status.
pub(super) fn set_condition(object: &mut Value, kind: &str, status: &str, reason: &str, message: &str) {
    let mut written = json!({"type": kind, "status": status, "lastTransitionTime": now()});
    for (field, value) in [("reason", reason), ("message", message)] {
        if !value.is_empty() {
            written[field] = json!(value);
        }
    }
    if !object["status"]["conditions"].is_array() {
        object["status"]["conditions"] = json!([]);
    }
    let Some(conditions) = object["status"]["conditions"].as_array_mut() else { return };
    match conditions.iter_mut().find(|existing| existing["type"] == kind) {
        Some(existing) => {
            if existing["status"] == status {
                written["lastTransitionTime"] = existing["lastTransitionTime"].take();
            }
            *existing = written;
        }
        None => conditions.push(written),
    }
}

/// The time as Kubernetes writes it: RFC 3339, UTC, whole seconds.
fn now() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs());
    stamp(seconds)
}

fn stamp(seconds: u64) -> String {
    let (mut day, second) = (seconds / 86_400, seconds % 86_400);
    let mut year = 1970;
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let length = |year| if leap(year) { 366 } else { 365 };
    while day >= length(year) {
        day -= length(year);
        year += 1;
    }
    let february = if leap(year) { 29 } else { 28 };
    let mut month = 1;
    for days in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if day < days {
            break;
        }
        day -= days;
        month += 1;
    }
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year}-{month:02}-{:02}T{hour:02}:{minute:02}:{:02}Z", day + 1, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_kubernetes_writes_them() {
        assert_eq!(stamp(0), "1970-01-01T00:00:00Z");
        assert_eq!(stamp(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(stamp(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(stamp(1_767_225_599), "2025-12-31T23:59:59Z");
    }

    #[test]
    fn a_condition_keeps_its_time_while_its_status_stays() {
        let mut pod =
            json!({"status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "x"}]}});
        set_condition(&mut pod, "Ready", "True", "Because", "");
        assert_eq!(pod["status"]["conditions"][0]["lastTransitionTime"], "x");
        set_condition(&mut pod, "Ready", "False", "", "");
        assert_ne!(pod["status"]["conditions"][0]["lastTransitionTime"], "x");
        assert!(pod["status"]["conditions"][0].get("reason").is_none());
    }
}
