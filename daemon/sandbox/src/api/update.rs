//! PATCH and PUT: what kubectl's label, annotate, cordon and taint need. Labels and annotations of anything may change,
//! and of nodes and quotas the spec; of a pod's spec nothing.

use serde_json::{Map, Value};

use super::create::submitted;
use super::{Answer, Body, Request, Verb};
use crate::object::{Key, Resource, text};
use crate::refusal::{Cause, Refusal};
use crate::validate;
use crate::world::World;

const FIXED_SPEC: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
    `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
    tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// Metadata a client may change.
const FREE_METADATA: [&str; 2] = ["labels", "annotations"];

/// PATCH or PUT of one object.
pub(super) fn update(world: &mut World, resource: Resource, request: &Request) -> Result<Answer, Refusal> {
    let key = Key::new(request.namespace.as_str(), request.name.as_str());
    let before = match world.store.get(resource, &key) {
        Some(object) => object.value(),
        None => return Err(Refusal::not_found(resource, &key.name)),
    };
    let wanted = match request.verb {
        Verb::Patch => patched(&before, request)?,
        _ => submitted(resource, request)?.value,
    };
    check_identity(resource, &before, &wanted)?;
    let mut after = with_changes(resource, &before, &wanted);
    let mut causes = validate::metadata(&after);
    if resource == Resource::Pods && wanted.get("spec").is_some_and(|spec| *spec != before["spec"]) {
        causes.push(Cause::forbidden("spec", FIXED_SPEC));
    }
    if !causes.is_empty() {
        return Err(Refusal::invalid(resource.kind(), &key.name, &causes));
    }
    if after == before || request.is_dry_run() {
        return Ok(Answer::json(200, &after));
    }
    match resource {
        Resource::Nodes => world.put_node(&mut after),
        _ => {
            world.store.put(resource, &mut after);
        }
    }
    if resource == Resource::Quotas {
        world.count_quotas(&key.namespace);
    }
    Ok(Answer::json(200, &after))
}

fn patched(before: &Value, request: &Request) -> Result<Value, Refusal> {
    let accepted = ["application/merge-patch+json", "application/strategic-merge-patch+json"];
    if !accepted.contains(&request.content_type.as_str()) {
        return Err(Refusal::unsupported_patch());
    }
    let patch = match &request.body {
        Body::Json(patch @ Value::Object(_)) => patch,
        Body::Json(other) => {
            let kind = crate::json::type_name(other);
            let why = format!("json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}");
            return Err(Refusal::bad_request(format!("error decoding patch: {why}")));
        }
        Body::Empty => return Err(Refusal::bad_request("error decoding patch: unexpected end of JSON input")),
        Body::Broken { why, .. } => {
            let why = why.rsplit_once("json parse error: ").map_or(why.as_str(), |(_, why)| why);
            return Err(Refusal::bad_request(format!("error decoding patch: {why}")));
        }
        Body::Unreadable(refusal) => return Err(refusal.clone()),
    };
    let mut after = before.clone();
    merge(&mut after, patch);
    Ok(after)
}

/// RFC 7386. The directives of a strategic merge patch are dropped: they order lists, and lists are replaced whole here.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(target) = target.as_object_mut() else { return };
    for (key, value) in patch.iter().filter(|(key, _)| !key.starts_with('$')) {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key).or_insert(Value::Null), value);
        }
    }
}

fn check_identity(resource: Resource, before: &Value, wanted: &Value) -> Result<(), Refusal> {
    let name = text(before, "/metadata/name");
    let differs = |field: &str| !["", text(before, field)].contains(&text(wanted, field));
    if differs("/metadata/resourceVersion") {
        return Err(Refusal::stale_update(resource, name));
    }
    if differs("/metadata/uid") {
        let cause = Cause::invalid("metadata.uid", text(wanted, "/metadata/uid"), "field is immutable");
        return Err(Refusal::invalid(resource.kind(), name, &[cause]));
    }
    if text(wanted, "/metadata/name") != name {
        return Err(Refusal::bad_request(format!(
            "the name of the object ({}) does not match the name on the URL ({name})",
            text(wanted, "/metadata/name")
        )));
    }
    Ok(())
}

/// The stored object with what the client may change taken over.
fn with_changes(resource: Resource, before: &Value, wanted: &Value) -> Value {
    let mut after = before.clone();
    for field in FREE_METADATA {
        let Some(metadata) = after["metadata"].as_object_mut() else { continue };
        match wanted["metadata"].get(field).filter(|value| value.as_object().is_some_and(|map| !map.is_empty())) {
            Some(value) => metadata.insert(field.to_owned(), value.clone()),
            None => metadata.remove(field),
        };
    }
    if matches!(resource, Resource::Nodes | Resource::Quotas)
        && let Some(spec) = wanted.get("spec")
    {
        after["spec"] = spec.clone();
    }
    after
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_merge_adds_replaces_and_removes() {
        let mut object = json!({"a": {"x": 1, "y": 2}, "list": [1, 2]});
        merge(&mut object, &json!({"a": {"x": null, "z": 3}, "list": [4], "$setElementOrder/list": [4]}));
        assert_eq!(object, json!({"a": {"y": 2, "z": 3}, "list": [4]}));
    }
}
