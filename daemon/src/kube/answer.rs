//! What an answer, or its absence, means: refused, not done, or ambiguous.
//!
//! Judged by the HTTP code; texts only tell apart what one code mixes (403, 409). Two cautions. Absence is a verdict,
//! so a 404 counts only in the API server's own words (a `Status`), never as some proxy's error page. And what may have
//! taken effect is never called not done: a 500 can be a storage time-out after the write, a 502 or 504 a proxy that
//! lost the server's answer, and so can a 503 that is not the API server's own.

use std::time::Duration;

use bytes::Bytes;
use hfd_core::outcome::{CreateOutcome, DeleteOutcome, NotDone, RefusalKind};
use http::{HeaderMap, StatusCode, header::RETRY_AFTER};
use serde::Deserialize;

use super::{
    reason::clipped,
    tolerant::{Int, List, Object, Text},
};

/// How one call ended before anybody judged it.
#[derive(Debug)]
pub(super) enum Answer {
    /// The server answered.
    Http {
        /// The status code; not 401.
        code: StatusCode,
        /// The whole body.
        body: Bytes,
        /// The server's own `Status`, if the body of an error is one.
        status: Option<Status>,
        /// `Retry-After`, from the header or the `Status`.
        retry_after: Option<Duration>,
    },
    /// 401, or our own credentials could not be had.
    Unauthorized,
    /// It never left us.
    NotSent(String),
    /// It left us, and then the connection broke or time ran out.
    Lost(String),
}

/// The API server's error object (`kind: Status`).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    kind: Text,
    reason: Text,
    message: Text,
    details: Object<Details>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Details {
    causes: List<Cause>,
    retry_after_seconds: Int,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Cause {
    reason: Text,
}

impl Answer {
    /// Takes a complete response apart.
    pub(super) fn from_response(code: StatusCode, headers: &HeaderMap, body: Bytes) -> Self {
        if code == StatusCode::UNAUTHORIZED {
            return Self::Unauthorized;
        }
        let status = (!code.is_success())
            .then(|| serde_json::from_slice::<Object<Status>>(&body).ok())
            .flatten()
            .map(|Object(status)| status)
            .filter(|status| status.kind.get() == Some("Status"));
        let in_header = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let in_status = || u64::try_from(status.as_ref()?.details.0.retry_after_seconds.0?).ok().filter(|&s| s > 0);
        let retry_after = in_header.or_else(in_status).map(Duration::from_secs);
        Self::Http { code, body, status, retry_after }
    }

    /// Whether the API server itself said that the object does not exist.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Http { code: StatusCode::NOT_FOUND, status: Some(_), .. })
    }

    /// Whether the API server itself, and no proxy, said that we may not (403).
    pub(super) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Http { code: StatusCode::FORBIDDEN, status: Some(_), .. })
    }

    /// The body of a success; else why a read has no answer, or `Err(None)` for a 401.
    pub(super) fn read(self) -> Result<Bytes, Option<NotDone>> {
        match self {
            Self::Http { code, body, .. } if code.is_success() => Ok(body),
            Self::Http { code, body, status, retry_after } => Err(Some(NotDone {
                why: said(code, status.as_ref(), &body),
                retry_after,
                throttled: is_throttled(code),
            })),
            Self::Unauthorized => Err(None),
            Self::NotSent(why) | Self::Lost(why) => Err(Some(not_done(why))),
        }
    }
}

/// What became of a create. A success without a UID is left to a look.
pub(super) fn create_outcome(answer: Answer) -> CreateOutcome {
    let (code, body, status, retry_after) = match answer {
        Answer::Http { code, body, status, retry_after } => (code, body, status, retry_after),
        Answer::Unauthorized => return CreateOutcome::Unauthorized,
        Answer::NotSent(why) => return CreateOutcome::NotDone(not_done(why)),
        Answer::Lost(why) => return CreateOutcome::Ambiguous(why),
    };
    if code.is_success() {
        let pod = serde_json::from_slice::<Object<super::wire::Wire>>(&body).unwrap_or_default().0;
        let without_uid = || CreateOutcome::Ambiguous(format!("the server answered {code} without a UID"));
        return pod.uid().map_or_else(without_uid, CreateOutcome::Created);
    }
    let message = said(code, status.as_ref(), &body);
    let refused = |kind| CreateOutcome::Refused { kind, message: message.clone() };
    let waits = || NotDone { why: message.clone(), retry_after, throttled: is_throttled(code) };
    match code.as_u16() {
        400 | 405 | 406 | 413 | 415 | 422 => refused(RefusalKind::Invalid),
        403 => refused(forbidden(status.as_ref())),
        404 if status.is_some() => refused(RefusalKind::NamespaceGone),
        // Not the API server's words: a proxy without a route to it.
        404 => CreateOutcome::NotDone(waits()),
        // "the object has been modified", of the quota that admission was about to charge: nothing was created.
        409 if reason(status.as_ref()) == Some("Conflict") => CreateOutcome::NotDone(waits()),
        409 => CreateOutcome::AlreadyExists,
        429 => CreateOutcome::NotDone(waits()),
        503 if status.is_some() => CreateOutcome::NotDone(waits()),
        // A pod beyond etcd's limit of 1.5 MiB: it never gets smaller, and nothing was stored.
        500 if message.contains("etcdserver: request is too large") => refused(RefusalKind::Invalid),
        408 | 500..=599 => CreateOutcome::Ambiguous(message),
        _ => refused(RefusalKind::Other),
    }
}

/// What became of a delete with a UID precondition.
pub(super) fn delete_outcome(answer: Answer) -> DeleteOutcome {
    if answer.is_not_found() {
        return DeleteOutcome::Gone;
    }
    let (code, body, status, retry_after) = match answer {
        Answer::Http { code, body, status, retry_after } => (code, body, status, retry_after),
        Answer::Unauthorized => return DeleteOutcome::Unauthorized,
        Answer::NotSent(why) => return DeleteOutcome::NotDone(not_done(why)),
        Answer::Lost(why) => return DeleteOutcome::Ambiguous(why),
    };
    let message = said(code, status.as_ref(), &body);
    match code.as_u16() {
        200..=299 => DeleteOutcome::Accepted,
        409 if is_uid_conflict(&message) => DeleteOutcome::Gone,
        404 | 409 | 429 => DeleteOutcome::NotDone(NotDone { why: message, retry_after, throttled: is_throttled(code) }),
        408 | 500..=599 => DeleteOutcome::Ambiguous(message),
        _ => DeleteOutcome::Refused(message),
    }
}

/// What a 403 is about: the quota, the end of the namespace, or a permission.
fn forbidden(status: Option<&Status>) -> RefusalKind {
    let Some(status) = status else { return RefusalKind::Forbidden };
    let terminating = |cause: &Cause| cause.reason.get() == Some("NamespaceTerminating");
    let message = status.message.get().unwrap_or_default();
    if message.contains("exceeded quota") {
        RefusalKind::Quota
    } else if status.details.0.causes.0.iter().any(terminating) || message.contains("because it is being terminated") {
        RefusalKind::NamespaceGone
    } else {
        RefusalKind::Forbidden
    }
}

/// The API server's words for a UID precondition that does not hold: as checked before the delete, and as checked again
/// by the storage.
fn is_uid_conflict(message: &str) -> bool {
    ["UID in the precondition", "UID in precondition"].iter().any(|words| message.contains(words))
}

fn is_throttled(code: StatusCode) -> bool {
    code == StatusCode::TOO_MANY_REQUESTS
}

fn reason(status: Option<&Status>) -> Option<&str> {
    status.and_then(|status| status.reason.get())
}

fn not_done(why: String) -> NotDone {
    NotDone { why, retry_after: None, throttled: false }
}

/// The server's own message; of a body that is no `Status`, its beginning.
fn said(code: StatusCode, status: Option<&Status>, body: &[u8]) -> String {
    if let Some(message) = status.and_then(|status| status.message.get()) {
        return clipped(message).to_owned();
    }
    let text = String::from_utf8_lossy(&body[..body.len().min(500)]);
    match text.trim() {
        "" => format!("the server answered {code}"),
        text => clipped(&format!("the server answered {code}: {text}")).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use serde_json::json;

    use super::*;

    fn answer(code: u16, body: impl Into<String>) -> Answer {
        let code = StatusCode::from_u16(code).expect("a status code");
        Answer::from_response(code, &HeaderMap::new(), body.into().into())
    }

    fn status(code: u16, reason: &str, message: &str) -> Answer {
        answer(code, json!({"kind": "Status", "code": code, "reason": reason, "message": message}).to_string())
    }

    fn kind(outcome: &CreateOutcome) -> &'static str {
        match outcome {
            CreateOutcome::Created(_) => "created",
            CreateOutcome::AlreadyExists => "exists",
            CreateOutcome::Refused { kind, .. } => kind.as_str(),
            CreateOutcome::NotDone(_) => "not done",
            CreateOutcome::Ambiguous(_) => "ambiguous",
            CreateOutcome::Unauthorized => "unauthorized",
        }
    }

    #[test]
    fn each_answer_to_a_create_has_one_meaning() {
        let uid = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";
        let cases = [
            (answer(201, json!({"metadata": {"uid": uid}}).to_string()), "created"),
            (answer(201, "{}"), "ambiguous"),
            (answer(200, "not json"), "ambiguous"),
            (status(400, "BadRequest", "x"), "invalid"),
            (answer(401, "Unauthorized"), "unauthorized"),
            (status(403, "Forbidden", "pods \"p\" is forbidden: User cannot create"), "forbidden"),
            (status(403, "Forbidden", "pods \"p\" is forbidden: exceeded quota: q, requested: pods=1"), "quota"),
            (
                status(403, "Forbidden", "unable to create new content in namespace n because it is being terminated"),
                "namespace_gone",
            ),
            (
                answer(403, r#"{"kind": "Status", "details": {"causes": [{"reason": "NamespaceTerminating"}]}}"#),
                "namespace_gone",
            ),
            (answer(403, "<html>blocked</html>"), "forbidden"),
            (status(404, "NotFound", "namespaces \"n\" not found"), "namespace_gone"),
            (answer(404, "404 page not found"), "not done"),
            (status(405, "MethodNotAllowed", "x"), "invalid"),
            (status(409, "AlreadyExists", "pods \"p\" already exists"), "exists"),
            (status(409, "Conflict", "Operation cannot be fulfilled on resourcequotas \"q\""), "not done"),
            (answer(409, ""), "exists"),
            (status(413, "RequestEntityTooLarge", "x"), "invalid"),
            (status(422, "Invalid", "spec.containers: Required value"), "invalid"),
            (answer(429, "Too many requests, please try again later."), "not done"),
            (status(429, "TooManyRequests", "x"), "not done"),
            (status(500, "InternalError", "etcdserver: request timed out"), "ambiguous"),
            (status(500, "", "etcdserver: request is too large"), "invalid"),
            (answer(502, "bad gateway"), "ambiguous"),
            (status(503, "ServiceUnavailable", "apiserver not ready"), "not done"),
            (answer(503, "upstream connect error or disconnect/reset before headers"), "ambiguous"),
            (status(504, "Timeout", "request did not complete within requested timeout"), "ambiguous"),
            (answer(418, "teapot"), "other"),
            (Answer::NotSent("connection refused".to_owned()), "not done"),
            (Answer::Lost("connection closed".to_owned()), "ambiguous"),
        ];
        for (answer, expected) in cases {
            let shown = format!("{answer:?}");
            assert_eq!(kind(&create_outcome(answer)), expected, "{shown}");
        }
    }

    #[test]
    fn a_refusal_carries_the_servers_own_message() {
        let CreateOutcome::Refused { message, .. } = create_outcome(status(422, "Invalid", "spec.x: Required value"))
        else {
            panic!("422 is permanent")
        };
        assert_eq!(message, "spec.x: Required value");
    }

    #[test]
    fn a_plain_text_429_is_throttling_with_its_retry_after() {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_static("7"));
        let answer = Answer::from_response(StatusCode::TOO_MANY_REQUESTS, &headers, "slow down".into());
        let CreateOutcome::NotDone(not_done) = create_outcome(answer) else { panic!("429 is transient") };
        assert_eq!(not_done.retry_after, Some(Duration::from_secs(7)));
        assert!(not_done.throttled);
    }

    #[test]
    fn a_status_may_name_the_time_to_wait() {
        let body = r#"{"kind": "Status", "details": {"retryAfterSeconds": 3}}"#;
        let CreateOutcome::NotDone(not_done) = create_outcome(answer(503, body)) else { panic!("transient") };
        assert_eq!((not_done.retry_after, not_done.throttled), (Some(Duration::from_secs(3)), false));
    }

    #[test]
    fn only_the_api_servers_own_404_or_uid_conflict_says_that_a_pod_is_gone() {
        assert_eq!(delete_outcome(status(404, "NotFound", "pods \"p\" not found")), DeleteOutcome::Gone);
        for conflict in [
            "the UID in the precondition (a) does not match the UID in record (b). The object might have been deleted \
             and then recreated",
            "Precondition failed: UID in precondition: a, UID in object meta: b",
        ] {
            let message = format!("Operation cannot be fulfilled on pods \"p\": {conflict}");
            assert_eq!(delete_outcome(status(409, "Conflict", &message)), DeleteOutcome::Gone);
        }
        assert!(matches!(delete_outcome(answer(404, "page not found")), DeleteOutcome::NotDone(_)));
        assert!(matches!(delete_outcome(status(409, "Conflict", "modified")), DeleteOutcome::NotDone(_)));
        assert!(matches!(delete_outcome(status(403, "Forbidden", "no")), DeleteOutcome::Refused(_)));
        assert!(matches!(delete_outcome(answer(200, "{}")), DeleteOutcome::Accepted));
        assert!(matches!(delete_outcome(answer(202, "{}")), DeleteOutcome::Accepted));
        assert!(matches!(delete_outcome(answer(500, "")), DeleteOutcome::Ambiguous(_)));
        assert!(matches!(delete_outcome(answer(401, "")), DeleteOutcome::Unauthorized));
    }
}
