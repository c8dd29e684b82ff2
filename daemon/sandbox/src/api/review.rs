//! `SelfSubjectAccessReview`: everything is allowed but what a denial covers.

use serde_json::{Value, json};

use super::{Answer, Body, Request};
use crate::refusal::{Cause, Refusal};
use crate::world::World;

/// Answers whether the caller may do something.
pub(super) fn review(world: &World, request: &Request) -> Result<Answer, Refusal> {
    let kind = "SelfSubjectAccessReview";
    let review = match &request.body {
        Body::Json(value) => value,
        Body::Empty => return Err(Refusal::bad_request(format!("a {kind} is required"))),
        Body::Unreadable(refusal) => return Err(refusal.clone()),
    };
    let spec = &review["spec"];
    if spec["resourceAttributes"].is_null() && spec["nonResourceAttributes"].is_null() {
        let rule = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
        let cause = Cause::invalid("spec.resourceAttributes", "null", rule);
        return Err(Refusal::invalid(kind, "", &[cause]));
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
