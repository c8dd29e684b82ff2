//! What the containers of a new pod must look like, in the order and words of the real server.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::names;
use crate::object::text;
use crate::quantity;
use crate::refusal::Cause;
use crate::validate::{check_label, items, quantity_text, wrong};

const STANDARD_FOR_CONTAINERS: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
/// Names without a slash that are resources at all; those of containers are some of them.
const STANDARD: [&str; 20] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "storage",
    "requests.storage",
    "services.nodeports",
    "services.loadbalancers",
];

/// All containers of a pod; `volumes` are the names of its volumes.
pub(crate) fn check(pod: &Value, volumes: &BTreeSet<String>, causes: &mut Vec<Cause>) {
    if items(pod, "/spec/containers").next().is_none() {
        causes.push(Cause::required("spec.containers", ""));
    }
    let mut names = BTreeSet::new();
    for list in ["containers", "initContainers"] {
        for (index, container) in items(pod, &format!("/spec/{list}")).enumerate() {
            let path = format!("spec.{list}[{index}]");
            check_container(&path, container, volumes, causes);
            let name = text(container, "/name");
            let is_new = names.insert(name.to_owned());
            let is_nameless = name.is_empty() && list == "initContainers";
            if !is_new && !is_nameless {
                causes.push(Cause::duplicate(format!("{path}.name"), name));
            }
        }
    }
    // What is checked of pods and not of the templates of others comes at the end.
    for list in ["containers", "initContainers"] {
        for (index, container) in items(pod, &format!("/spec/{list}")).enumerate() {
            let image = text(container, "/image");
            if image.trim() != image {
                let rule = "must not have leading or trailing whitespace";
                causes.push(Cause::invalid(format!("spec.{list}[{index}].image"), image, rule));
            }
        }
    }
}

fn check_container(path: &str, container: &Value, volumes: &BTreeSet<String>, causes: &mut Vec<Cause>) {
    check_label(&format!("{path}.name"), text(container, "/name"), causes);
    if text(container, "/image").is_empty() {
        causes.push(Cause::required(format!("{path}.image"), ""));
    }
    for (index, port) in items(container, "/ports").enumerate() {
        check_port(&format!("{path}.ports[{index}]"), port, causes);
    }
    for (index, variable) in items(container, "/env").enumerate() {
        let field = format!("{path}.env[{index}].name");
        match text(variable, "/name") {
            "" => causes.push(Cause::required(field, "")),
            name => wrong(&field, name, names::variable(name), causes),
        }
    }
    for (index, mount) in items(container, "/volumeMounts").enumerate() {
        check_mount(&format!("{path}.volumeMounts[{index}]"), mount, volumes, causes);
    }
    let policy = text(container, "/imagePullPolicy");
    let policies = ["Always", "IfNotPresent", "Never"];
    if !policies.contains(&policy) {
        causes.push(Cause::unsupported(format!("{path}.imagePullPolicy"), &format!("{policy:?}"), &policies));
    }
    check_resources(&format!("{path}.resources"), &container["resources"], causes);
}

fn check_port(path: &str, port: &Value, causes: &mut Vec<Cause>) {
    let fits = |number: i64| (1..=65535).contains(&number);
    let rule = "must be between 1 and 65535, inclusive";
    match port["containerPort"].as_i64().unwrap_or(0) {
        0 => causes.push(Cause::required(format!("{path}.containerPort"), "")),
        number if !fits(number) => causes.push(Cause::invalid_number(format!("{path}.containerPort"), number, rule)),
        _ => {}
    }
    let host = port["hostPort"].as_i64().unwrap_or(0);
    if host != 0 && !fits(host) {
        causes.push(Cause::invalid_number(format!("{path}.hostPort"), host, rule));
    }
}

fn check_mount(path: &str, mount: &Value, volumes: &BTreeSet<String>, causes: &mut Vec<Cause>) {
    let volume = text(mount, "/name");
    if volume.is_empty() {
        causes.push(Cause::required(format!("{path}.name"), ""));
    }
    if !volumes.contains(volume) {
        causes.push(Cause::not_found(format!("{path}.name"), volume));
    }
    if text(mount, "/mountPath").is_empty() {
        causes.push(Cause::required(format!("{path}.mountPath"), ""));
    }
}

fn check_resources(path: &str, resources: &Value, causes: &mut Vec<Cause>) {
    let amount = |value: &Value| quantity::thousandths(&quantity_text(value));
    for list in ["limits", "requests"] {
        for (name, value) in resources[list].as_object().into_iter().flatten() {
            let field = format!("{path}.{list}[{name}]");
            check_resource_name(&field, name, causes);
            if amount(value).is_some_and(|amount| amount < 0) {
                causes.push(Cause::invalid(&field, &quantity_text(value), "must be greater than or equal to 0"));
            }
            if is_extended(name) && amount(value).is_some_and(|amount| amount % 1000 != 0) {
                causes.push(Cause::invalid(&field, &quantity_text(value), "must be an integer"));
            }
            if list == "requests" {
                check_request(path, name, value, &resources["limits"][name], causes);
            }
        }
    }
}

fn check_request(path: &str, name: &str, request: &Value, limit: &Value, causes: &mut Vec<Cause>) {
    let amount = |value: &Value| quantity::thousandths(&quantity_text(value));
    let Some(allowed) = amount(limit).filter(|_| !limit.is_null()) else {
        if is_extended(name) {
            let hint = "Limit must be set for non overcommitable resources";
            causes.push(Cause::required(format!("{path}.limits"), hint));
        }
        return;
    };
    let wanted = amount(request).unwrap_or(0);
    let rule = match wanted.cmp(&allowed) {
        std::cmp::Ordering::Equal => return,
        _ if is_extended(name) => "equal to",
        std::cmp::Ordering::Less => return,
        std::cmp::Ordering::Greater => "less than or equal to",
    };
    let rule = format!("must be {rule} {name} limit of {}", quantity_text(limit));
    causes.push(Cause::invalid(format!("{path}.requests"), &quantity_text(request), &rule));
}

fn check_resource_name(field: &str, name: &str, causes: &mut Vec<Cause>) {
    let form = names::key(name);
    if !form.is_empty() {
        wrong(field, name, form, causes);
    } else if !name.contains('/') && !STANDARD.contains(&name) {
        causes.push(Cause::invalid(field, name, "must be a standard resource type or fully qualified"));
    }
    if !name.contains('/') && !STANDARD_FOR_CONTAINERS.contains(&name) && !name.starts_with("hugepages-") {
        causes.push(Cause::invalid(field, name, "must be a standard resource for containers"));
    }
}

/// Whether it is a resource that a site has added to its nodes, e.g. `nvidia.com/gpu`.
pub(crate) fn is_extended(name: &str) -> bool {
    name.contains('/') && !name.contains("kubernetes.io/")
}
