//! What a new pod must look like, and what it is told if it does not, in the order and words of a real server.
//!
//! Checked is what pod manifests in the field get wrong: names, labels, containers, resources, references. Fields that
//! are not checked are stored as they came.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::fate;
use crate::object::text;
use crate::quantity;
use crate::refusal::Cause;

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
    and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
    start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or \
    '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex \
    used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const NAME_PART: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end \
    with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const ANNOTATIONS_LIMIT: usize = 256 << 10;

/// Why the JSON does not even have the shape of a pod: the message of the 400, without its beginning.
pub(crate) fn misshapen(pod: &Value) -> Option<String> {
    const STRING: &str = "string";
    let shapes: [(&str, &str, &str, &str); 13] = [
        ("metadata", "Pod", "object", "v1.ObjectMeta"),
        ("metadata.name", "ObjectMeta", STRING, STRING),
        ("metadata.generateName", "ObjectMeta", STRING, STRING),
        ("metadata.namespace", "ObjectMeta", STRING, STRING),
        ("metadata.labels", "ObjectMeta", "strings", "map[string]string"),
        ("metadata.annotations", "ObjectMeta", "strings", "map[string]string"),
        ("spec", "Pod", "object", "v1.PodSpec"),
        ("spec.containers", "PodSpec", "array", "[]v1.Container"),
        ("spec.initContainers", "PodSpec", "array", "[]v1.Container"),
        ("spec.restartPolicy", "PodSpec", STRING, "v1.RestartPolicy"),
        ("spec.terminationGracePeriodSeconds", "PodSpec", "number", "int64"),
        ("spec.nodeSelector", "PodSpec", "strings", "map[string]string"),
        ("spec.tolerations", "PodSpec", "array", "[]v1.Toleration"),
    ];
    for (path, owner, shape, go_type) in shapes {
        let value = pod.pointer(&format!("/{}", path.replace('.', "/"))).unwrap_or(&Value::Null);
        if let Some(problem) = unlike(value, shape, &format!("{owner}.{path}"), go_type) {
            return Some(problem);
        }
    }
    for container in items(pod, "/spec/containers").chain(items(pod, "/spec/initContainers")) {
        let field = "Container.spec.containers";
        let problem = unlike(container, "object", field, "v1.Container")
            .or_else(|| unlike(&container["name"], STRING, &format!("{field}.name"), STRING))
            .or_else(|| unlike(&container["image"], STRING, &format!("{field}.image"), STRING));
        if problem.is_some() {
            return problem;
        }
        let quantities = [&container["resources"]["requests"], &container["resources"]["limits"]];
        for quantity in quantities.into_iter().filter_map(Value::as_object).flat_map(Map::values) {
            let readable = match quantity {
                Value::String(text) => quantity::thousandths(text).is_some(),
                Value::Number(_) => true,
                _ => false,
            };
            if !readable {
                return Some(format!("quantities must match the regular expression '{}'", quantity::PATTERN));
            }
        }
    }
    None
}

fn unlike(value: &Value, shape: &str, field: &str, go_type: &str) -> Option<String> {
    let found = match value {
        Value::Null => return None,
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if shape == "strings" && found == "object" {
        let mut values = value.as_object().into_iter().flat_map(Map::values);
        return values.find_map(|value| unlike(value, "string", field, "string"));
    }
    (found != shape).then(|| format!("json: cannot unmarshal {found} into Go struct field {field} of type {go_type}"))
}

/// Everything that is wrong with a pod whose defaults are filled in.
pub(crate) fn pod(pod: &Value) -> Vec<Cause> {
    let mut causes = metadata(pod);
    fate::check_annotations(pod, &mut causes);
    let mut volumes = BTreeSet::new();
    for (index, volume) in items(pod, "/spec/volumes").enumerate() {
        check_label(&format!("spec.volumes[{index}].name"), text(volume, "/name"), &mut volumes, &mut causes);
    }
    if items(pod, "/spec/containers").next().is_none() {
        causes.push(Cause::required("spec.containers", ""));
    }
    let mut names = BTreeSet::new();
    for list in ["containers", "initContainers"] {
        for (index, container) in items(pod, &format!("/spec/{list}")).enumerate() {
            check_container(&format!("spec.{list}[{index}]"), container, &volumes, &mut names, &mut causes);
        }
    }
    let policy = text(pod, "/spec/restartPolicy");
    if !["Always", "OnFailure", "Never"].contains(&policy) {
        let supported = ["Always", "OnFailure", "Never"];
        causes.push(Cause::unsupported("spec.restartPolicy", &format!("{policy:?}"), &supported));
    }
    check_labels("spec.nodeSelector", &pod["spec"]["nodeSelector"], &mut causes);
    for field in ["hostname", "subdomain"] {
        if let Some(name) = pod["spec"][field].as_str().filter(|name| !name.is_empty()) {
            check_label(&format!("spec.{field}"), name, &mut BTreeSet::new(), &mut causes);
        }
    }
    for (index, toleration) in items(pod, "/spec/tolerations").enumerate() {
        check_toleration(&format!("spec.tolerations[{index}]"), toleration, &mut causes);
    }
    causes
}

/// What is wrong with the name, labels and annotations of any namespaced object.
pub(crate) fn metadata(object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let name = text(object, "/metadata/name");
    if name.is_empty() {
        causes.push(Cause::required("metadata.name", "name or generateName is required"));
    } else if name.len() > 253 {
        causes.push(Cause::invalid("metadata.name", name, "must be no more than 253 bytes"));
    } else if !name.split('.').all(is_label) {
        causes.push(Cause::invalid("metadata.name", name, SUBDOMAIN));
    }
    check_labels("metadata.labels", &object["metadata"]["labels"], &mut causes);
    let annotations = object["metadata"]["annotations"].as_object();
    let mut size = 0;
    for (key, value) in annotations.into_iter().flatten() {
        check_qualified_name("metadata.annotations", key, &mut causes);
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > ANNOTATIONS_LIMIT {
        let message = format!("Too long: may not be more than {ANNOTATIONS_LIMIT} bytes");
        causes.push(Cause { field: "metadata.annotations".to_owned(), reason: "FieldValueTooLong", message });
    }
    causes
}

/// What is wrong with the name of a namespace.
pub(crate) fn namespace(object: &Value) -> Vec<Cause> {
    let name = text(object, "/metadata/name");
    if name.contains('.') {
        return vec![Cause::invalid("metadata.name", name, "must not contain dots")];
    }
    if name.len() > 63 {
        return vec![Cause::invalid("metadata.name", name, "must be no more than 63 bytes")];
    }
    metadata(object)
}

fn check_container(
    path: &str,
    container: &Value,
    volumes: &BTreeSet<String>,
    names: &mut BTreeSet<String>,
    causes: &mut Vec<Cause>,
) {
    check_label(&format!("{path}.name"), text(container, "/name"), names, causes);
    if text(container, "/image").is_empty() {
        causes.push(Cause::required(format!("{path}.image"), ""));
    }
    let policy = text(container, "/imagePullPolicy");
    let policies = ["Always", "IfNotPresent", "Never"];
    if !policies.contains(&policy) {
        causes.push(Cause::unsupported(format!("{path}.imagePullPolicy"), &format!("{policy:?}"), &policies));
    }
    for (index, variable) in items(container, "/env").enumerate() {
        if text(variable, "/name").is_empty() {
            causes.push(Cause::required(format!("{path}.env[{index}].name"), ""));
        }
    }
    for (index, mount) in items(container, "/volumeMounts").enumerate() {
        let field = format!("{path}.volumeMounts[{index}]");
        let volume = text(mount, "/name");
        if volume.is_empty() {
            causes.push(Cause::required(format!("{field}.name"), ""));
        } else if !volumes.contains(volume) {
            causes.push(Cause::not_found(format!("{field}.name"), volume));
        }
        if text(mount, "/mountPath").is_empty() {
            causes.push(Cause::required(format!("{field}.mountPath"), ""));
        }
    }
    check_resources(&format!("{path}.resources"), &container["resources"], causes);
}

fn check_resources(path: &str, resources: &Value, causes: &mut Vec<Cause>) {
    let amount = |value: &Value| quantity::thousandths(&quantity_text(value));
    for list in ["limits", "requests"] {
        for (name, value) in resources[list].as_object().into_iter().flatten() {
            if amount(value).is_some_and(|amount| amount < 0) {
                let rule = "must be greater than or equal to 0";
                causes.push(Cause::invalid(format!("{path}.{list}[{name}]"), &quantity_text(value), rule));
            }
        }
    }
    for (name, request) in resources["requests"].as_object().into_iter().flatten() {
        let limit = &resources["limits"][name];
        if let (Some(wanted), Some(allowed)) = (amount(request), amount(limit))
            && wanted > allowed
        {
            let rule = format!("must be less than or equal to {name} limit of {}", quantity_text(limit));
            causes.push(Cause::invalid(format!("{path}.requests"), &quantity_text(request), &rule));
        }
    }
}

fn check_toleration(path: &str, toleration: &Value, causes: &mut Vec<Cause>) {
    let operator = text(toleration, "/operator");
    if !["", "Equal", "Exists"].contains(&operator) {
        let supported = ["Equal", "Exists"];
        causes.push(Cause::unsupported(format!("{path}.operator"), &format!("{operator:?}"), &supported));
    }
    let effect = text(toleration, "/effect");
    let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
    if !effect.is_empty() && !effects.contains(&effect) {
        causes.push(Cause::unsupported(format!("{path}.effect"), &format!("{effect:?}"), &effects));
    }
}

/// A name that must be a DNS label and unique among `seen`.
fn check_label(field: &str, name: &str, seen: &mut BTreeSet<String>, causes: &mut Vec<Cause>) {
    if name.is_empty() {
        causes.push(Cause::required(field, ""));
    } else if name.len() > 63 {
        causes.push(Cause::invalid(field, name, "must be no more than 63 bytes"));
    } else if !is_label(name) {
        causes.push(Cause::invalid(field, name, LABEL));
    } else if !seen.insert(name.to_owned()) {
        causes.push(Cause::duplicate(field, name));
    }
}

fn check_labels(field: &str, labels: &Value, causes: &mut Vec<Cause>) {
    for (key, value) in labels.as_object().into_iter().flatten() {
        check_qualified_name(field, key, causes);
        let value = value.as_str().unwrap_or_default();
        if value.len() > 63 {
            causes.push(Cause::invalid(field, value, "must be no more than 63 bytes"));
        } else if !value.is_empty() && !is_name_part(value) {
            causes.push(Cause::invalid(field, value, LABEL_VALUE));
        }
    }
}

/// A label or annotation key: an optional DNS prefix, a slash, and a name of up to 63 characters.
fn check_qualified_name(field: &str, key: &str, causes: &mut Vec<Cause>) {
    let name = match key.split_once('/') {
        None => key,
        Some((prefix, name)) => {
            if prefix.is_empty() || prefix.len() > 253 || !prefix.split('.').all(is_label) {
                causes.push(Cause::invalid(field, key, &format!("prefix part {SUBDOMAIN}")));
            }
            name
        }
    };
    if name.is_empty() {
        causes.push(Cause::invalid(field, key, "name part must be non-empty"));
    } else if name.len() > 63 {
        causes.push(Cause::invalid(field, key, "name part must be no more than 63 bytes"));
    }
    if !is_name_part(name) {
        causes.push(Cause::invalid(field, key, NAME_PART));
    }
}

fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_name_part(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends =
        bytes.first().is_some_and(u8::is_ascii_alphanumeric) && bytes.last().is_some_and(u8::is_ascii_alphanumeric);
    ends && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

/// The elements of the array at a pointer, if there is one.
pub(crate) fn items<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// A quantity as text, whether it was written as a string or as a number.
pub(crate) fn quantity_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
