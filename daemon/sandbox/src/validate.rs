//! What a new pod must look like, and what it is told if it does not, in the order and words of a real server.
//!
//! Checked is what pod manifests in the field get wrong: names, labels, containers, resources, references. Values that
//! are not checked are stored as they came; types and names of fields are `schema`'s business.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::containers;
use crate::fate;
use crate::names;
use crate::object::text;
use crate::quantity;
use crate::refusal::Cause;

const ANNOTATIONS_LIMIT: usize = 256 << 10;

/// Everything that is wrong with a pod whose defaults are filled in.
pub(crate) fn pod(pod: &Value) -> Vec<Cause> {
    let mut causes = metadata(pod);
    fate::check_annotations(pod, &mut causes);
    let mut volumes = BTreeSet::new();
    for (index, volume) in items(pod, "/spec/volumes").enumerate() {
        let (field, name) = (format!("spec.volumes[{index}].name"), text(volume, "/name"));
        let before = causes.len();
        check_label(&field, name, &mut causes);
        if causes.len() == before && !volumes.insert(name.to_owned()) {
            causes.push(Cause::duplicate(field, name));
        }
    }
    containers::check(pod, &volumes, &mut causes);
    let spec = |field: &str| pod["spec"][field].as_str().unwrap_or_default();
    for (field, supported) in [
        ("restartPolicy", ["Always", "OnFailure", "Never"].as_slice()),
        ("dnsPolicy", &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"]),
    ] {
        if !supported.contains(&spec(field)) {
            causes.push(Cause::unsupported(format!("spec.{field}"), &format!("{:?}", spec(field)), supported));
        }
    }
    check_labels("spec.nodeSelector", &pod["spec"]["nodeSelector"], &mut causes);
    for field in ["serviceAccountName", "nodeName"] {
        if !spec(field).is_empty() {
            wrong(&format!("spec.{field}"), spec(field), names::subdomain(spec(field), "bytes"), &mut causes);
        }
    }
    if let Some(seconds) = pod["spec"]["activeDeadlineSeconds"].as_i64()
        && !(1..=i64::from(i32::MAX)).contains(&seconds)
    {
        let rule = "must be between 1 and 2147483647, inclusive";
        causes.push(Cause::invalid_number("spec.activeDeadlineSeconds", seconds, rule));
    }
    for field in ["hostname", "subdomain"] {
        if !spec(field).is_empty() {
            check_label(&format!("spec.{field}"), spec(field), &mut causes);
        }
    }
    for (index, toleration) in items(pod, "/spec/tolerations").enumerate() {
        check_toleration(&format!("spec.tolerations[{index}]"), toleration, &mut causes);
    }
    causes
}

/// What is wrong with the base of a generated name.
pub(crate) fn generated_name(object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let base = text(object, "/metadata/generateName");
    if !base.is_empty() {
        // the suffix makes an end of it, so that a dash or dot at the end does no harm
        let shortened = base.strip_suffix(['-', '.']).map(|base| format!("{base}a"));
        let rules = names::subdomain(shortened.as_deref().unwrap_or(base), "characters");
        wrong("metadata.generateName", base, rules, &mut causes);
    }
    causes
}

/// What the server thinks of a pod that it takes all the same.
pub(crate) fn pod_warnings(pod: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    let name = text(pod, "/metadata/name");
    let unlike_a_host = names::label(name);
    if !name.is_empty() && !unlike_a_host.is_empty() {
        warnings.push(format!(
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is \
             recommended: [{}]",
            unlike_a_host.join(" ")
        ));
    }
    for list in ["initContainers", "containers"] {
        for (index, container) in items(pod, &format!("/spec/{list}")).enumerate() {
            for kind in ["limits", "requests"] {
                for (name, amount) in container["resources"][kind].as_object().into_iter().flatten() {
                    let amount = quantity_text(amount);
                    let whole = quantity::thousandths(&amount).is_none_or(|amount| amount % 1000 == 0);
                    if ["memory", "ephemeral-storage"].contains(&name.as_str()) && !whole {
                        warnings.push(format!(
                            "spec.{list}[{index}].resources.{kind}[{name}]: fractional byte value {amount:?} is \
                             invalid, must be an integer"
                        ));
                    }
                }
            }
        }
    }
    warnings
}

/// What is wrong with the name, labels and annotations of any namespaced object.
pub(crate) fn metadata(object: &Value) -> Vec<Cause> {
    let name = text(object, "/metadata/name");
    metadata_named(object, names::subdomain(name, "characters"))
}

/// What is wrong with the name, labels and annotations of a namespace.
pub(crate) fn namespace(object: &Value) -> Vec<Cause> {
    metadata_named(object, names::label(text(object, "/metadata/name")))
}

fn metadata_named(object: &Value, rule: Vec<String>) -> Vec<Cause> {
    let mut causes = Vec::new();
    match text(object, "/metadata/name") {
        "" => causes.push(Cause::required("metadata.name", "name or generateName is required")),
        name => wrong("metadata.name", name, rule, &mut causes),
    }
    check_labels("metadata.labels", &object["metadata"]["labels"], &mut causes);
    let annotations = object["metadata"]["annotations"].as_object();
    let mut size = 0;
    for (key, value) in annotations.into_iter().flatten() {
        // The server overlooks capital letters in the keys of annotations.
        wrong("metadata.annotations", key, names::key(&key.to_lowercase()), &mut causes);
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > ANNOTATIONS_LIMIT {
        let message = format!("Too long: may not be more than {ANNOTATIONS_LIMIT} bytes");
        causes.push(Cause { field: "metadata.annotations".to_owned(), reason: "FieldValueTooLong", message });
    }
    causes
}

fn check_toleration(path: &str, toleration: &Value, causes: &mut Vec<Cause>) {
    let field = |name: &str| toleration[name].as_str().unwrap_or_default();
    let (key, operator, value, effect) = (field("key"), field("operator"), field("value"), field("effect"));
    if !key.is_empty() {
        wrong(&format!("{path}.key"), key, names::key(key), causes);
    } else if operator != "Exists" {
        let rule = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
        causes.push(Cause::invalid(format!("{path}.operator"), operator, rule));
    }
    if !toleration["tolerationSeconds"].is_null() && effect != "NoExecute" {
        let rule = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        causes.push(Cause::invalid(format!("{path}.effect"), effect, rule));
    }
    match operator {
        "" | "Equal" => wrong(&format!("{path}.operator"), value, names::label_value(value), causes),
        "Exists" if value.is_empty() => {}
        "Exists" => {
            let rule = "value must be empty when `operator` is 'Exists'";
            causes.push(Cause::invalid(format!("{path}.operator"), value, rule));
        }
        _ => {
            let supported = ["Equal", "Exists"];
            causes.push(Cause::unsupported(format!("{path}.operator"), &format!("{operator:?}"), &supported));
        }
    }
    let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
    if !effect.is_empty() && !effects.contains(&effect) {
        causes.push(Cause::unsupported(format!("{path}.effect"), &format!("{effect:?}"), &effects));
    }
}

/// Adds a cause for each thing that is wrong with a value.
pub(crate) fn wrong(field: &str, value: &str, rules: Vec<String>, causes: &mut Vec<Cause>) {
    causes.extend(rules.into_iter().map(|rule| Cause::invalid(field, value, &rule)));
}

/// A name that must be there and be a DNS label.
pub(crate) fn check_label(field: &str, name: &str, causes: &mut Vec<Cause>) {
    if name.is_empty() {
        causes.push(Cause::required(field, ""));
    } else {
        wrong(field, name, names::label(name), causes);
    }
}

fn check_labels(field: &str, labels: &Value, causes: &mut Vec<Cause>) {
    for (key, value) in labels.as_object().into_iter().flatten() {
        wrong(field, key, names::key(key), causes);
        let value = value.as_str().unwrap_or_default();
        wrong(field, value, names::label_value(value), causes);
    }
}

/// The elements of the array at a pointer, if there is one.
pub(crate) fn items<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// A quantity as text, whether it was written as a string or as a number.
pub(crate) fn quantity_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
