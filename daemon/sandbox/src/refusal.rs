//! Refusals: every way the API server says no, as the `metav1.Status` a real server of version 1.36 answers with.
//!
//! The wording matters: operators read it in HostFactory's logs, and clients are tested against it here.

use std::borrow::Cow;

use hyper::body::Bytes;
use serde_json::{Map, Value, json};

use crate::object::Resource;

/// One finding about one field of a submitted object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    pub(crate) field: String,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Cause {
    /// A field that has to be there.
    pub(crate) fn required(field: impl Into<String>, hint: &str) -> Self {
        let message = if hint.is_empty() { "Required value".to_owned() } else { format!("Required value: {hint}") };
        Self { field: field.into(), reason: "FieldValueRequired", message }
    }

    /// A value that breaks a rule.
    pub(crate) fn invalid(field: impl Into<String>, value: &str, rule: &str) -> Self {
        Self { field: field.into(), reason: "FieldValueInvalid", message: format!("Invalid value: {value:?}: {rule}") }
    }

    /// A number that breaks a rule.
    pub(crate) fn invalid_number(field: impl Into<String>, value: i64, rule: &str) -> Self {
        Self { field: field.into(), reason: "FieldValueInvalid", message: format!("Invalid value: {value}: {rule}") }
    }

    /// A value outside a fixed set.
    pub(crate) fn unsupported(field: impl Into<String>, value: &str, supported: &[&str]) -> Self {
        let supported: Vec<_> = supported.iter().map(|value| format!("{value:?}")).collect();
        let message = format!("Unsupported value: {value}: supported values: {}", supported.join(", "));
        Self { field: field.into(), reason: "FieldValueNotSupported", message }
    }

    /// A name that is used twice.
    pub(crate) fn duplicate(field: impl Into<String>, value: &str) -> Self {
        Self { field: field.into(), reason: "FieldValueDuplicate", message: format!("Duplicate value: {value:?}") }
    }

    /// A reference to something that is not there.
    pub(crate) fn not_found(field: impl Into<String>, value: &str) -> Self {
        Self { field: field.into(), reason: "FieldValueNotFound", message: format!("Not found: {value:?}") }
    }

    /// Something that must not be set.
    pub(crate) fn forbidden(field: impl Into<String>, why: &str) -> Self {
        Self { field: field.into(), reason: "FieldValueForbidden", message: format!("Forbidden: {why}") }
    }
}

/// A negative answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: u16,
    pub(crate) reason: Cow<'static, str>,
    pub(crate) message: String,
    /// `details` of the Status; absent where the real server leaves it out.
    pub(crate) details: Option<Box<Value>>,
    /// Seconds for the `Retry-After` header.
    pub(crate) retry_after: Option<u64>,
    /// `metadata.continue` of the Status: where a list that expired may go on.
    pub(crate) continue_with: Option<Box<str>>,
    /// Whether the body is the bare message, as the real server's overload filters send it.
    pub(crate) plain_text: bool,
}

impl Refusal {
    fn new(code: u16, reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.into(),
            message: message.into(),
            details: None,
            retry_after: None,
            continue_with: None,
            plain_text: false,
        }
    }

    fn about(mut self, name: &str, kind: &str) -> Self {
        let mut details = Map::new();
        if !name.is_empty() {
            details.insert("name".to_owned(), name.into());
        }
        details.insert("kind".to_owned(), kind.into());
        self.details = Some(Box::new(Value::Object(details)));
        self
    }

    fn with_causes(mut self, causes: &[Cause]) -> Self {
        let causes: Vec<_> = causes
            .iter()
            .map(|cause| json!({"reason": cause.reason, "message": cause.message, "field": cause.field}))
            .collect();
        self.details.get_or_insert_with(|| Box::new(json!({})))["causes"] = causes.into();
        self
    }

    /// An answer chosen by a fault.
    pub(crate) fn made_up(code: u16, reason: &str, message: &str) -> Self {
        Self::new(code, reason.to_owned(), message)
    }

    /// No object of that name.
    pub(crate) fn not_found(resource: Resource, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} {name:?} not found", resource.plural())).about(name, resource.plural())
    }

    /// A path inside an API group that leads nowhere.
    pub(crate) fn no_such_path() -> Self {
        Self::without_details(404, "NotFound", "the server could not find the requested resource")
    }

    /// A path outside all API groups, answered in plain text.
    pub(crate) fn no_such_page() -> Self {
        Self { plain_text: true, ..Self::new(404, "NotFound", "404 page not found") }
    }

    /// A verb the resource does not know.
    pub(crate) fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::without_details(405, "MethodNotAllowed", message)
    }

    /// Wrong or missing bearer token.
    pub(crate) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// The request itself makes no sense.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// A content type the server does not read.
    pub(crate) fn unsupported_media_type() -> Self {
        let message = "the body of the request was in an unknown format - accepted media types include: \
                       application/json, application/yaml, application/vnd.kubernetes.protobuf";
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// A content type that is no patch.
    pub(crate) fn unsupported_patch() -> Self {
        Self::without_details(415, "UnsupportedMediaType", "415: Unsupported Media Type")
    }

    /// The client accepts nothing that the server has.
    pub(crate) fn not_acceptable() -> Self {
        let message = "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, \
                       application/vnd.kubernetes.protobuf";
        Self::without_details(406, "NotAcceptable", message)
    }

    fn without_details(code: u16, reason: &'static str, message: &str) -> Self {
        let mut refusal = Self::new(code, reason, message);
        refusal.details = Some(Box::new(json!({})));
        refusal
    }

    /// A body beyond the server's limit of `limit` bytes.
    pub(crate) fn too_large(limit: usize) -> Self {
        Self::new(413, "RequestEntityTooLarge", format!("Request entity too large: limit is {limit}"))
    }

    /// The name is taken.
    pub(crate) fn already_exists(resource: Resource, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{} {name:?} already exists", resource.plural()))
            .about(name, resource.plural())
    }

    /// The name is taken by an object on its way out.
    pub(crate) fn being_deleted(resource: Resource, name: &str) -> Self {
        let message = format!("object is being deleted: {} {name:?} already exists", resource.plural());
        Self { message, ..Self::already_exists(resource, name) }
    }

    /// The object breaks validation rules.
    pub(crate) fn invalid(kind: &str, name: &str, causes: &[Cause]) -> Self {
        let findings: Vec<_> = causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
        let findings = match findings.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        Self::new(422, "Invalid", format!("{kind} {name:?} is invalid: {findings}"))
            .about(name, kind)
            .with_causes(causes)
    }

    /// The options of a request (`ListOptions`, `DeleteOptions`, ...) break validation rules.
    pub(crate) fn invalid_options(kind: &str, causes: &[Cause]) -> Self {
        let mut refusal = Self::invalid(&format!("{kind}.meta.k8s.io"), "", causes);
        let causes = refusal.details.as_mut().map(|details| details["causes"].take());
        refusal.details = Some(Box::new(json!({"group": "meta.k8s.io", "kind": kind, "causes": causes})));
        refusal
    }

    /// An access review that asks nothing, or too much. The real server knows no kind here.
    pub(crate) fn invalid_review(field: &str, value: &str, rule: &str) -> Self {
        let message = format!("Invalid value: {value}: {rule}");
        let cause = json!({"reason": "FieldValueInvalid", "message": message, "field": field});
        let group = "authorization.k8s.io";
        let mut refusal = Self::new(422, "Invalid", format!(".{group} \"\" is invalid: {field}: {message}"));
        refusal.details = Some(Box::new(json!({"group": group, "causes": [cause]})));
        refusal
    }

    /// The object is larger than what the storage takes.
    pub(crate) fn too_large_to_store() -> Self {
        Self::internal("etcdserver: request is too large")
    }

    /// RBAC says no.
    pub(crate) fn denied(user: &str, verb: &str, resource: &str, namespace: &str, name: &str) -> Self {
        let plural = resource.split('/').next().unwrap_or(resource);
        let object = if name.is_empty() { plural.to_owned() } else { format!("{plural} {name:?}") };
        let group = if resource == "selfsubjectaccessreviews" { "authorization.k8s.io" } else { "" };
        let scope = if namespace.is_empty() {
            "at the cluster scope".to_owned()
        } else {
            format!("in the namespace {namespace:?}")
        };
        let message = format!(
            "{object} is forbidden: User {user:?} cannot {verb} resource {resource:?} in API group {group:?} {scope}"
        );
        Self::new(403, "Forbidden", message).about(name, plural)
    }

    /// Admission says no.
    pub(crate) fn forbidden(resource: Resource, name: &str, why: &str) -> Self {
        Self::new(403, "Forbidden", format!("{} {name:?} is forbidden: {why}", resource.plural()))
            .about(name, resource.plural())
    }

    /// The namespace is on its way out and takes no new objects.
    pub(crate) fn namespace_terminating(resource: Resource, name: &str, namespace: &str) -> Self {
        let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
        Self::forbidden(resource, name, &why).with_causes(&[Cause {
            field: "metadata.namespace".to_owned(),
            reason: "NamespaceTerminating",
            message: format!("namespace {namespace} is being terminated"),
        }])
    }

    /// A precondition of a delete does not hold. `what` is `UID` or `ResourceVersion`.
    pub(crate) fn precondition(resource: Resource, name: &str, what: &str, wanted: &str, found: &str) -> Self {
        let hint = if what == "UID" { "deleted and then recreated" } else { "modified" };
        let message = format!(
            "Operation cannot be fulfilled on {kind} {name:?}: the {what} in the precondition ({wanted}) does not match \
             the {what} in record ({found}). The object might have been {hint}",
            kind = resource.kind(),
        );
        Self::new(409, "Conflict", message).about(name, resource.kind())
    }

    /// An update based on an older version.
    pub(crate) fn stale_update(resource: Resource, name: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} {name:?}: the object has been modified; please apply your changes to \
             the latest version and try again",
            resource.plural()
        );
        Self::new(409, "Conflict", message).about(name, resource.plural())
    }

    /// The wanted version is no longer known. `message` differs between list, continue and watch.
    pub(crate) fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// The wanted version is not known yet.
    pub(crate) fn version_too_large(wanted: u64, current: u64) -> Self {
        let message = format!("Timeout: Too large resource version: {wanted}, current: {current}");
        let mut refusal = Self::new(504, "Timeout", message);
        let cause = json!({"reason": "ResourceVersionTooLarge", "message": "Too large resource version"});
        refusal.details = Some(Box::new(json!({"causes": [cause], "retryAfterSeconds": 1})));
        refusal.retry_after = Some(1);
        refusal
    }

    /// An error without a reason of its own.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(500, "", message)
    }

    /// The Status as a tree, also used inside ERROR events of a watch.
    pub(crate) fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": self.message
        });
        if let Some(token) = &self.continue_with {
            status["metadata"]["continue"] = token.to_string().into();
        }
        if !self.reason.is_empty() {
            status["reason"] = self.reason.as_ref().into();
        }
        if let Some(details) = &self.details {
            status["details"] = Value::clone(details);
        }
        status["code"] = self.code.into();
        status
    }

    /// Body and content type.
    pub(crate) fn body(&self) -> (Bytes, &'static str) {
        if self.plain_text {
            (Bytes::from(format!("{}\n", self.message)), "text/plain; charset=utf-8")
        } else {
            (Bytes::from(self.status().to_string()), "application/json")
        }
    }
}
