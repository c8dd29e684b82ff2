//! Creation of pods, namespaces and quotas.

use hyper::body::Bytes;
use serde_json::{Value, json};

use super::body::{self, Expected, Submitted};
use super::{Answer, Request};
use crate::defaults::{self, Identity};
use crate::object::{Key, Resource, text};
use crate::refusal::{Cause, Refusal};
use crate::validate;
use crate::world::World;

/// The largest object that the storage of a real server takes (etcd's limit for a request).
const LARGEST_STORED: usize = 3 << 19;

/// POST of a new object.
pub(super) fn create(world: &mut World, resource: Resource, request: &Request) -> Result<Answer, Refusal> {
    body::check_options(request, "CreateOptions")?;
    let Submitted { value: submitted, mut warnings } = submitted(resource, request)?;
    let created = match resource {
        Resource::Pods => {
            let created = create_pod(world, &submitted, request)?;
            warnings.extend(validate::pod_warnings(&submitted));
            created
        }
        Resource::Namespaces => create_namespace(world, &submitted, request)?,
        Resource::Quotas => create_quota(world, &submitted, request)?,
        Resource::Nodes | Resource::Events => return Err(Refusal::method_not_allowed()),
    };
    Ok(Answer { warnings, ..Answer::bytes(201, created) })
}

/// The object in the body of a create or an update.
pub(super) fn submitted(resource: Resource, request: &Request) -> Result<Submitted, Refusal> {
    let kind = resource.kind();
    let (inner, schema) = match resource {
        Resource::Pods => ("core.Pod", "v1.Pod"),
        Resource::Nodes => ("core.Node", "v1.Node"),
        Resource::Namespaces => ("core.Namespace", "v1.Namespace"),
        Resource::Quotas => ("core.ResourceQuota", "v1.ResourceQuota"),
        Resource::Events => return Err(Refusal::method_not_allowed()),
    };
    let submitted = body::decode(request, Expected { version: "v1", kind, inner, schema })?;
    let namespace = text(&submitted.value, "/metadata/namespace");
    if resource.is_namespaced() && !namespace.is_empty() && namespace != request.namespace {
        return Err(Refusal::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(submitted)
}

fn create_pod(world: &mut World, submitted: &Value, request: &Request) -> Result<Bytes, Refusal> {
    let namespace = &request.namespace;
    let identity = pod_identity(world, submitted, namespace);
    let mut pod = defaults::pod(submitted, namespace, &identity);
    let name = text(&pod, "/metadata/name");
    check_namespace(world, Resource::Pods, namespace, name)?;
    if let Some(why) = not_admitted(submitted) {
        return Err(Refusal::forbidden(Resource::Pods, name, &why));
    }
    // the real server's order: admission, then validation, then quota, then the name
    let mut causes = validate::generated_name(&pod);
    causes.extend(validate::pod(&pod));
    if !causes.is_empty() {
        return Err(Refusal::invalid("Pod", name, &causes));
    }
    if let Some(why) = world.refused_by_quota(namespace, &pod) {
        return Err(Refusal::forbidden(Resource::Pods, name, &why));
    }
    check_new(world, Resource::Pods, submitted, &Key::new(namespace, name))?;
    if request.is_dry_run() {
        return Ok(without_version(pod));
    }
    if pod.to_string().len() > LARGEST_STORED {
        return Err(Refusal::too_large_to_store());
    }
    Ok(world.add_pod(&mut pod).json.clone())
}

/// What admission has against a pod: classes that do not exist, and a priority that no class gives.
fn not_admitted(pod: &Value) -> Option<String> {
    let class = text(pod, "/spec/priorityClassName");
    let Some(priority) = defaults::priority(class) else {
        return Some(format!("no PriorityClass with name {class} was found"));
    };
    let wanted = pod["spec"]["priority"].as_i64();
    if let Some(wanted) = wanted.filter(|wanted| *wanted != priority) {
        return Some(format!(
            "the integer value of priority ({wanted}) must not be provided in pod spec; priority admission controller \
             computed {priority} from the given PriorityClass name"
        ));
    }
    let runtime = text(pod, "/spec/runtimeClassName");
    (!runtime.is_empty()).then(|| format!("pod rejected: RuntimeClass {runtime:?} not found"))
}

fn create_namespace(world: &mut World, submitted: &Value, request: &Request) -> Result<Bytes, Refusal> {
    let identity = identity(world, "namespace");
    let mut metadata = defaults::metadata(&submitted["metadata"], "", &identity);
    metadata["labels"]["kubernetes.io/metadata.name"] = metadata["name"].clone();
    let object = json!({"metadata": metadata});
    let name = text(&object, "/metadata/name").to_owned();
    let causes = validate::namespace(&object);
    if !causes.is_empty() {
        return Err(Refusal::invalid("Namespace", &name, &causes));
    }
    check_new(world, Resource::Namespaces, submitted, &Key::new("", &name))?;
    if request.is_dry_run() {
        return Ok(without_version(json!({
            "kind": "Namespace", "apiVersion": "v1", "metadata": metadata,
            "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}
        })));
    }
    Ok(world.add_namespace(&name, metadata.get("labels")).json.clone())
}

fn create_quota(world: &mut World, submitted: &Value, request: &Request) -> Result<Bytes, Refusal> {
    let namespace = &request.namespace;
    let identity = identity(world, "quota");
    let mut quota = json!({
        "kind": "ResourceQuota", "apiVersion": "v1",
        "metadata": defaults::metadata(&submitted["metadata"], namespace, &identity),
        "spec": submitted.get("spec").cloned().unwrap_or_else(|| json!({})), "status": {}
    });
    let name = text(&quota, "/metadata/name").to_owned();
    check_namespace(world, Resource::Quotas, namespace, &name)?;
    let mut causes = validate::metadata(&quota);
    for (field, value) in quota["spec"]["hard"].as_object().into_iter().flatten() {
        let amount = validate::quantity_text(value);
        if crate::quantity::thousandths(&amount).is_none_or(|amount| amount < 0) {
            let rule = "must be greater than or equal to 0";
            causes.push(Cause::invalid(format!("spec.hard[{field}]"), &amount, rule));
        }
    }
    if !causes.is_empty() {
        return Err(Refusal::invalid("ResourceQuota", &name, &causes));
    }
    let key = Key::new(namespace, &name);
    check_new(world, Resource::Quotas, submitted, &key)?;
    if request.is_dry_run() {
        return Ok(without_version(quota));
    }
    let stored = world.store.put(Resource::Quotas, &mut quota).json.clone();
    world.count_quotas(namespace);
    Ok(stored)
}

/// The n-th pod of a name always has the same UID, in whatever order requests come.
fn pod_identity(world: &World, submitted: &Value, namespace: &str) -> Identity {
    let suffix = world.random.name_suffix(&format!("suffix {}", world.store.version()));
    let name = match text(submitted, "/metadata/name") {
        "" => format!("{}{suffix}", text(submitted, "/metadata/generateName")),
        name => name.to_owned(),
    };
    let key = Key::new(namespace, name);
    let uid = world.random.uuid(&format!("pod {namespace}/{} {}", key.name, world.store.times_created(&key)));
    Identity { uid, created: world.clock.stamp(), suffix }
}

fn identity(world: &World, kind: &str) -> Identity {
    let suffix = world.random.name_suffix(&format!("suffix {}", world.store.version()));
    Identity { uid: world.new_uid(kind), created: world.clock.stamp(), suffix }
}

fn check_namespace(world: &World, resource: Resource, namespace: &str, name: &str) -> Result<(), Refusal> {
    match world.store.get(Resource::Namespaces, &Key::new("", namespace)) {
        None => Err(Refusal::not_found(Resource::Namespaces, namespace)),
        Some(found) if found.terminating => Err(Refusal::namespace_terminating(resource, name, namespace)),
        Some(_) => Ok(()),
    }
}

fn check_new(world: &World, resource: Resource, submitted: &Value, key: &Key) -> Result<(), Refusal> {
    if !text(submitted, "/metadata/resourceVersion").is_empty() {
        return Err(Refusal::internal("resourceVersion should not be set on objects to be created"));
    }
    match world.store.get(resource, key) {
        None => Ok(()),
        Some(found) if found.terminating => Err(Refusal::being_deleted(resource, &key.name)),
        Some(_) => Err(Refusal::already_exists(resource, &key.name)),
    }
}

/// The answer to a dry run.
fn without_version(mut object: Value) -> Bytes {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("resourceVersion");
    }
    Bytes::from(object.to_string())
}
