//! `SelfSubjectAccessReview`: everything is allowed but what a denial covers.

use serde_json::{Value, json};

use super::body::{self, Expected};
use super::{Answer, Request};
use crate::object::text;
use crate::refusal::Refusal;
use crate::world::World;

/// Answers whether the caller may do something.
pub(super) fn review(world: &World, request: &Request) -> Result<Answer, Refusal> {
    let kind = "SelfSubjectAccessReview";
    let expected = Expected {
        version: "authorization.k8s.io/v1",
        kind,
        inner: "authorization.SelfSubjectAccessReview",
        schema: "v1.SelfSubjectAccessReview",
    };
    let review = body::decode(request, expected)?.value;
    let spec = &review["spec"];
    let pages = &spec["nonResourceAttributes"];
    match (spec["resourceAttributes"].is_null(), pages.is_null()) {
        (true, true) => {
            let rule = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            return Err(Refusal::invalid_review("spec.resourceAttributes", "null", rule));
        }
        (false, false) => {
            let shown = json!({"Path": text(pages, "/path"), "Verb": text(pages, "/verb")}).to_string();
            let rule = "cannot be specified in combination with resourceAttributes";
            return Err(Refusal::invalid_review("spec.nonResourceAttributes", &shown, rule));
        }
        _ => {}
    }
    let attributes = &spec["resourceAttributes"];
    let field = |name: &str| attributes[name].as_str().unwrap_or_default();
    let resource = match field("subresource") {
        "" => field("resource").to_owned(),
        subresource => format!("{}/{subresource}", field("resource")),
    };
    let allowed = !world.is_denied(field("verb"), &resource);
    let answer: Value = json!({
        "kind": kind, "apiVersion": "authorization.k8s.io/v1", "metadata": {}, "spec": spec,
        "status": {"allowed": allowed}
    });
    Ok(Answer::json(201, &answer))
}

impl World {
    /// Whether a denial covers this verb on this resource.
    pub(crate) fn is_denied(&self, verb: &str, resource: &str) -> bool {
        self.denials.iter().any(|denial| denial.covers(verb, resource))
    }
}
