//! GET and LIST, with pages that show one consistent state.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Answer, Request};
use crate::object::{Key, Object, Resource};
use crate::refusal::{Cause, Refusal};
use crate::render;
use crate::selector::Filter;
use crate::world::World;

const CONTINUE_EXPIRED: &str = "The provided continue parameter is too old to display a consistent list result. You \
    can start a new list without the continue parameter, or use the continue token in this response to retrieve the \
    remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were \
    created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";

/// GET of one object.
pub(super) fn get(world: &World, resource: Resource, request: &Request) -> Result<Answer, Refusal> {
    let representation = request.representation.clone()?;
    version(request.query("resourceVersion")).map_err(Refusal::internal)?;
    let key = Key::new(request.namespace.as_str(), request.name.as_str());
    let found = world.store.get(resource, &key).ok_or_else(|| Refusal::not_found(resource, &key.name))?;
    Ok(Answer::bytes(200, render::object(representation, resource, found, &world.clock)))
}

/// Where a page begins, and which state it shows.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    /// `None`: the state of now.
    version: Option<u64>,
    start: Option<Key>,
}

/// LIST of a collection.
pub(super) fn list(world: &World, resource: Resource, request: &Request) -> Result<Answer, Refusal> {
    let representation = request.representation.clone()?;
    let filter = filter(resource, request)?;
    let limit = request.number("limit")?.filter(|limit| *limit > 0);
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    let place = place(world, request, limit)?;
    // a list of any version comes out of the real server's cache, whole
    let from_cache = request.query("resourceVersion") == "0" && place.start.is_none();
    let limit = if from_cache { usize::MAX } else { limit };
    let shown = place.version.unwrap_or_else(|| world.store.version());
    let (items, remaining) =
        world.store.page(resource, &filter, place.version, place.start.as_ref(), limit).map_err(|_| expired(&place))?;
    let mut metadata = json!({"resourceVersion": shown.to_string()});
    if remaining > 0
        && let Some(last) = items.last()
    {
        metadata["continue"] = token(shown, &last.key).into();
        if !filter.is_selective() {
            metadata["remainingItemCount"] = remaining.into();
        }
    }
    Ok(Answer::bytes(200, render::list(representation, resource, &items, &metadata, &world.clock)))
}

/// The selectors of a list or a watch.
pub(crate) fn filter(resource: Resource, request: &Request) -> Result<Filter, Refusal> {
    let (labels, fields) = (request.query("labelSelector"), request.query("fieldSelector"));
    Filter::parse(resource, &request.namespace, labels, fields)
}

/// A resourceVersion in a query; `None` if it is not given.
pub(crate) fn version(text: &str) -> Result<Option<u64>, String> {
    match text {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| {
            format!("resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax")
        }),
    }
}

fn place(world: &World, request: &Request, limit: usize) -> Result<Place, Refusal> {
    let matching = request.query("resourceVersionMatch");
    let causes = wrong_options(request);
    if !causes.is_empty() {
        return Err(Refusal::invalid_options("ListOptions", &causes));
    }
    let asked = version(request.query("resourceVersion"))
        .map_err(|why| Refusal::bad_request(format!("invalid resource version: {why}")))?;
    let continued = request.query("continue");
    if !continued.is_empty() {
        if asked.is_some_and(|version| version > 0) {
            return Err(Refusal::bad_request("specifying resource version is not allowed when using continue"));
        }
        return read_token(continued).ok_or_else(|| {
            Refusal::bad_request("invalid continue token: continue key is not valid: encoded start key is not valid")
        });
    }
    let current = world.store.version();
    if let Some(asked) = asked.filter(|version| *version > current) {
        return Err(Refusal::version_too_large(asked, current));
    }
    let exact = matching == "Exact" || (matching.is_empty() && limit != usize::MAX);
    Ok(Place { version: asked.filter(|version| exact && *version > 0), start: None })
}

/// What is wrong with the options of a list.
fn wrong_options(request: &Request) -> Vec<Cause> {
    let (matching, version) = (request.query("resourceVersionMatch"), request.query("resourceVersion"));
    let field = "resourceVersionMatch";
    let mut causes = Vec::new();
    if !matching.is_empty() {
        if version.is_empty() {
            causes
                .push(Cause::forbidden(field, "resourceVersionMatch is forbidden unless resourceVersion is provided"));
        }
        if !request.query("continue").is_empty() {
            causes.push(Cause::forbidden(field, "resourceVersionMatch is forbidden when continue is provided"));
        }
        if !["Exact", "NotOlderThan"].contains(&matching) {
            causes.push(Cause::unsupported(field, &format!("{matching:?}"), &["Exact", "NotOlderThan", ""]));
        }
        if (matching, version) == ("Exact", "0") {
            let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            causes.push(Cause::forbidden(field, why));
        }
    }
    if !request.query("sendInitialEvents").is_empty() {
        causes.push(Cause::forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
    }
    causes
}

fn expired(place: &Place) -> Refusal {
    match &place.start {
        Some(start) => {
            // the way on without consistency: the same place in the state of now
            let mut refusal = Refusal::expired(CONTINUE_EXPIRED);
            refusal.continue_with = Some(token(0, start).into());
            refusal
        }
        None => Refusal::expired("The resourceVersion for the provided list is too old."),
    }
}

/// A continue token: the version (0: whatever is there) and the last key shown. Opaque to clients.
fn token(version: u64, last: &Key) -> String {
    let plain = format!("{version}/{}/{}", last.namespace, last.name);
    plain.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn read_token(token: &str) -> Option<Place> {
    let bytes: Option<Vec<u8>> =
        (0..token.len()).step_by(2).map(|at| u8::from_str_radix(token.get(at..at + 2)?, 16).ok()).collect();
    let plain = String::from_utf8(bytes?).ok()?;
    let mut parts = plain.splitn(3, '/');
    let version: u64 = parts.next()?.parse().ok()?;
    let start = Key::new(parts.next()?, parts.next()?);
    Some(Place { version: (version > 0).then_some(version), start: Some(start) })
}

/// The objects a list would show now, for the initial events of a watch.
pub(crate) fn present(world: &World, resource: Resource, filter: &Filter) -> Vec<Arc<Object>> {
    let shown = world.store.all(resource, &filter.namespace).filter(|object| filter.matches(object));
    shown.cloned().collect()
}

/// The last version of an object as a bookmark shows it.
pub(crate) fn bookmark(resource: Resource, version: u64, ends_initial_events: bool) -> Value {
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if ends_initial_events {
        metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
    }
    let mut object = json!({"kind": resource.kind(), "apiVersion": "v1", "metadata": metadata});
    if resource == Resource::Pods {
        object["spec"] = json!({"containers": null});
        object["status"] = json!({});
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_continue_token_leads_back_to_its_place() {
        let key = Key::new("ns", "pod-1");
        let place = read_token(&token(42, &key)).expect("a token");
        assert_eq!(place, Place { version: Some(42), start: Some(key) });
    }

    #[test]
    fn anything_else_is_no_token() {
        for text in ["zzz", "abc", "é", "00", "31"] {
            assert_eq!(read_token(text), None, "{text}");
        }
    }
}
