//! How one call to the API server ended, as the core needs to know it.
//!
//! The edge classifies; the core decides what follows. Three distinctions carry the promises: *refused* (permanent: the
//! server's words become the machine's failure), *not done* (certainly without effect: repeat it later) and *ambiguous*
//! (it may have taken effect: look before acting again). A 401 is none of the three: it is an outage of our own
//! credentials and gives no verdict about anything (`lifecycle.md` 7).

use std::time::Duration;

use crate::id::{JournalId, MachineName, PodUid, RequestId};

/// A call that certainly had no effect and may be repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotDone {
    /// Why, for people.
    pub why: String,
    /// The server's `Retry-After`: not to be repeated before that.
    pub retry_after: Option<Duration>,
    /// The server asked for less load (429).
    pub throttled: bool,
}

/// Class of a permanent refusal. Bounded, so that it may label a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalKind {
    /// The server does not take this object (400, 405, 413, 415, 422).
    Invalid,
    /// Not permitted: by RBAC or by admission (403).
    Forbidden,
    /// A ResourceQuota of the namespace is used up (403 "exceeded quota").
    Quota,
    /// The namespace does not exist (404) or is being deleted (403, NamespaceTerminating).
    NamespaceGone,
    /// Any other code that repeating does not change.
    Other,
}

impl RefusalKind {
    /// The class as metrics and history spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Forbidden => "forbidden",
            Self::Quota => "quota",
            Self::NamespaceGone => "namespace_gone",
            Self::Other => "other",
        }
    }
}

/// How a create ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CreateOutcome {
    /// 201: the pod exists under this UID.
    Created(PodUid),
    /// 409 AlreadyExists: some pod has the name. It counts as created once a look has found our label on it.
    AlreadyExists,
    /// Permanent: the same create will be refused again.
    Refused {
        /// Its class.
        kind: RefusalKind,
        /// The server's own message.
        message: String,
    },
    /// Certainly not created.
    NotDone(NotDone),
    /// May have been created, or may still be: a time-out, a connection that broke after sending, 500, 502, 504.
    Ambiguous(String),
    /// 401.
    Unauthorized,
}

/// How a delete with a UID precondition ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeleteOutcome {
    /// The server took it: the pod goes at once or after its grace period. The watch tells when.
    Accepted,
    /// No pod of that name and UID exists: 404, or the name belongs to another UID now.
    Gone,
    /// Permanent (403 and the like), with the server's own message.
    Refused(String),
    /// Certainly without effect.
    NotDone(NotDone),
    /// May have taken effect. Repeating it is harmless.
    Ambiguous(String),
    /// 401.
    Unauthorized,
}

/// What one GET of one name showed. A look settles a question; it never feeds the pod cache (`lifecycle.md` 7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LookOutcome {
    /// The API server itself said that no pod has that name.
    Absent,
    /// A pod of this provider instance (managed-by and provider labels).
    Ours {
        /// Its UID.
        uid: PodUid,
        /// Its request label; the caller compares it with the name that it asked for.
        request: RequestId,
        /// The journal in its annotation; `None` when absent or unreadable.
        journal: Option<JournalId>,
        /// Deletion is under way.
        deleting: bool,
    },
    /// Somebody else's pod.
    Foreign {
        /// It carries `symphony/hostfactory-reqid` without our managed-by label: another HostFactory provider's.
        hostfactory: bool,
        /// Its UID.
        uid: PodUid,
        /// Deletion is under way.
        deleting: bool,
    },
    /// We may not look (403), with the server's own message: it settles nothing.
    Refused(String),
    /// No answer that settles anything (an outage, a time-out).
    NotDone(NotDone),
    /// 401.
    Unauthorized,
}

/// One pod of ours in a LIST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedPod {
    /// Its name.
    pub name: MachineName,
    /// Its UID.
    pub uid: PodUid,
    /// Deletion is under way.
    pub deleting: bool,
    /// Its phase is Succeeded or Failed.
    pub ended: bool,
}

/// What one quorum LIST of our selector showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListOutcome {
    /// Every pod of ours, complete.
    Pods(Vec<ListedPod>),
    /// No complete answer.
    NotDone(NotDone),
    /// 401.
    Unauthorized,
}

/// What the GET of our namespace showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamespaceOutcome {
    /// Its UID, to which the journal is bound (`lifecycle.md` 8).
    Known(PodUid),
    /// Its UID, and that it is being deleted: it will be gone, and may be made again.
    Terminating(PodUid),
    /// The permission (optional) is missing: the binding cannot be checked.
    NotAllowed,
    /// The API server itself said that the namespace does not exist.
    NotFound,
    /// No answer.
    NotDone(NotDone),
    /// 401.
    Unauthorized,
}

impl NamespaceOutcome {
    /// The namespace's UID, if it was shown.
    #[must_use]
    pub const fn uid(&self) -> Option<PodUid> {
        match self {
            Self::Known(uid) | Self::Terminating(uid) => Some(*uid),
            Self::NotAllowed | Self::NotFound | Self::NotDone(_) | Self::Unauthorized => None,
        }
    }
}
