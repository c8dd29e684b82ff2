//! How stored objects go out: as they are, as metadata only, or as the rows kubectl prints.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use serde_json::{Value, json};

use crate::clock::{self, Clock};
use crate::object::{Object, Resource, condition, text};
use crate::refusal::Refusal;
use crate::validate::items;

/// What the client accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Representation {
    /// The object itself.
    Whole,
    /// `PartialObjectMetadata`.
    MetadataOnly,
    /// A `Table`, one row an object.
    Table,
}

impl Representation {
    /// The first representation of an `Accept` header that the server has. JSON only.
    pub(crate) fn negotiate(accept: &str) -> Result<Self, Refusal> {
        if accept.trim().is_empty() {
            return Ok(Self::Whole);
        }
        let ranges = accept.split(',').map(|range| range.split(';').map(str::trim).collect::<Vec<_>>());
        for range in ranges {
            // the real server does not take `application/*` for its JSON
            if !["application/json", "*/*"].contains(&range[0]) {
                continue;
            }
            let parameter = |name: &str| range.iter().find_map(|parameter| parameter.strip_prefix(name));
            let known = matches!(parameter("v="), None | Some("v1" | "v1beta1"));
            match parameter("as=") {
                None => return Ok(Self::Whole),
                Some("Table") if known => return Ok(Self::Table),
                Some("PartialObjectMetadata" | "PartialObjectMetadataList") if known => return Ok(Self::MetadataOnly),
                Some(_) => {}
            }
        }
        Err(Refusal::not_acceptable())
    }
}

/// One object.
pub(crate) fn object(representation: Representation, resource: Resource, object: &Object, clock: &Clock) -> Bytes {
    match representation {
        Representation::Whole => object.json.clone(),
        Representation::MetadataOnly => Bytes::from(metadata_only(&object.value()).to_string()),
        Representation::Table => {
            let metadata = json!({"resourceVersion": object.version.to_string()});
            Bytes::from(table(resource, std::iter::once(object), &metadata, clock).to_string())
        }
    }
}

/// A list with this metadata.
pub(crate) fn list(
    representation: Representation,
    resource: Resource,
    objects: &[Arc<Object>],
    metadata: &Value,
    clock: &Clock,
) -> Bytes {
    let head = |kind: &str, version: &str| {
        format!(r#"{{"kind":"{kind}","apiVersion":"{version}","metadata":{metadata},"items":["#)
    };
    match representation {
        Representation::Table => {
            let rows = objects.iter().map(AsRef::as_ref);
            Bytes::from(table(resource, rows, metadata, clock).to_string())
        }
        Representation::MetadataOnly => {
            let items: Vec<_> = objects.iter().map(|object| metadata_only(&object.value()).to_string()).collect();
            let head = head("PartialObjectMetadataList", "meta.k8s.io/v1");
            Bytes::from(format!("{head}{}]}}", items.join(",")))
        }
        Representation::Whole => {
            // the items of a typed list carry no type of their own
            let typed = format!(r#"{{"kind":"{}","apiVersion":"v1","#, resource.kind());
            let size: usize = objects.iter().map(|object| object.json.len() + 1).sum();
            let mut body = head(&format!("{}List", resource.kind()), "v1").into_bytes();
            body.reserve(size + 2);
            for (index, object) in objects.iter().enumerate() {
                if index > 0 {
                    body.push(b',');
                }
                match object.json.strip_prefix(typed.as_bytes()) {
                    Some(rest) => {
                        body.push(b'{');
                        body.extend_from_slice(rest);
                    }
                    None => body.extend_from_slice(&object.json),
                }
            }
            body.extend_from_slice(b"]}");
            Bytes::from(body)
        }
    }
}

fn metadata_only(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

fn table<'a>(resource: Resource, objects: impl Iterator<Item = &'a Object>, metadata: &Value, clock: &Clock) -> Value {
    let columns: Vec<_> = columns(resource)
        .iter()
        .enumerate()
        .map(|(index, (name, priority))| {
            let format = if index == 0 && resource != Resource::Events { "name" } else { "" };
            json!({"name": name, "type": "string", "format": format, "description": "", "priority": priority})
        })
        .collect();
    let now = clock.now();
    let rows: Vec<_> = objects
        .map(|object| {
            let value = object.value();
            json!({"cells": cells(resource, &value, now), "object": metadata_only(&value)})
        })
        .collect();
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "columnDefinitions": columns,
        "rows": rows
    })
}

/// Column names with their priority: 1 is shown by `-o wide` only.
fn columns(resource: Resource) -> &'static [(&'static str, u8)] {
    match resource {
        Resource::Pods => {
            &[("Name", 0), ("Ready", 0), ("Status", 0), ("Restarts", 0), ("Age", 0), ("IP", 1), ("Node", 1)]
        }
        Resource::Nodes => &[("Name", 0), ("Status", 0), ("Roles", 0), ("Age", 0), ("Version", 0), ("Internal-IP", 1)],
        Resource::Namespaces => &[("Name", 0), ("Status", 0), ("Age", 0)],
        Resource::Quotas => &[("Name", 0), ("Age", 0), ("Request", 0)],
        Resource::Events => &[("Last Seen", 0), ("Type", 0), ("Reason", 0), ("Object", 0), ("Message", 0)],
    }
}

fn cells(resource: Resource, value: &Value, now: Duration) -> Vec<Value> {
    let name = value["metadata"]["name"].clone();
    let since = |pointer: &str| {
        let stamp = clock::parse(text(value, pointer));
        stamp.map_or_else(|| "<unknown>".to_owned(), |stamp| short_age(now.saturating_sub(stamp)))
    };
    let age = Value::from(since("/metadata/creationTimestamp"));
    match resource {
        Resource::Pods => {
            let statuses: Vec<_> = items(value, "/status/containerStatuses").collect();
            let ready = statuses.iter().filter(|status| status["ready"] == true).count();
            let total = items(value, "/spec/containers").count();
            let restarts: u64 = statuses.iter().filter_map(|status| status["restartCount"].as_u64()).sum();
            vec![
                name,
                format!("{ready}/{total}").into(),
                pod_state(value).into(),
                restarts.to_string().into(),
                age,
                or_none(text(value, "/status/podIP")),
                or_none(text(value, "/spec/nodeName")),
            ]
        }
        Resource::Nodes => {
            let mut state = if condition(value, "Ready") == Some("True") { "Ready" } else { "NotReady" }.to_owned();
            if value["spec"]["unschedulable"] == true {
                state.push_str(",SchedulingDisabled");
            }
            let version = &value["status"]["nodeInfo"]["kubeletVersion"];
            let address = text(value, "/status/addresses/0/address");
            vec![name, state.into(), "<none>".into(), age, version.clone(), or_none(address)]
        }
        Resource::Namespaces => vec![name, value["status"]["phase"].clone(), age],
        Resource::Quotas => {
            let hard = value["status"]["hard"].as_object().into_iter().flatten();
            let used = |key: &str| text(&value["status"]["used"], &format!("/{}", key.replace('/', "~1"))).to_owned();
            let request: Vec<_> = hard
                .map(|(key, limit)| format!("{key}: {}/{}", used(key), limit.as_str().unwrap_or_default()))
                .collect();
            vec![name, age, request.join(", ").into()]
        }
        Resource::Events => {
            let kind = text(value, "/involvedObject/kind").to_lowercase();
            let object = format!("{kind}/{}", text(value, "/involvedObject/name"));
            let seen = since("/lastTimestamp");
            vec![seen.into(), value["type"].clone(), value["reason"].clone(), object.into(), value["message"].clone()]
        }
    }
}

/// The STATUS column of a pod: the most telling reason there is.
fn pod_state(pod: &Value) -> String {
    let container = |pointer: &str| text(pod, &format!("/status/containerStatuses/0/state/{pointer}/reason"));
    let reasons =
        [container("waiting"), container("terminated"), text(pod, "/status/reason"), text(pod, "/status/phase")];
    let state = reasons.into_iter().find(|reason| !reason.is_empty()).unwrap_or("Unknown");
    if pod["metadata"]["deletionTimestamp"].is_null() { state.to_owned() } else { "Terminating".to_owned() }
}

fn or_none(text: &str) -> Value {
    if text.is_empty() { "<none>".into() } else { text.into() }
}

/// An age as kubectl shortens it: `45s`, `3m20s`, `12m`, `5h`, `3d`.
fn short_age(age: Duration) -> String {
    let seconds = age.as_secs();
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 if !seconds.is_multiple_of(60) => format!("{minutes}m{}s", seconds % 60),
        120..10_800 => format!("{minutes}m"),
        10_800..28_800 if !minutes.is_multiple_of(60) => format!("{hours}h{}m", minutes % 60),
        10_800..172_800 => format!("{hours}h"),
        _ => format!("{}d", hours / 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_acceptable_representation_is_chosen() {
        for (accept, expected) in [
            ("", Representation::Whole),
            ("*/*", Representation::Whole),
            ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", Representation::Table),
            ("application/vnd.kubernetes.protobuf,application/json", Representation::Whole),
            (
                "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json",
                Representation::Whole,
            ),
            ("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", Representation::MetadataOnly),
        ] {
            assert_eq!(Representation::negotiate(accept), Ok(expected), "{accept}");
        }
        assert_eq!(Representation::negotiate("text/html").expect_err("no HTML").code, 406);
    }

    #[test]
    fn ages_are_shortened_as_kubectl_does() {
        for (seconds, text) in
            [(5, "5s"), (119, "119s"), (200, "3m20s"), (600, "10m"), (11_100, "3h5m"), (30_000, "8h"), (200_000, "2d")]
        {
            assert_eq!(short_age(Duration::from_secs(seconds)), text);
        }
    }
}
