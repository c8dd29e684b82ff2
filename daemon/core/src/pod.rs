//! What the core keeps of a pod: the few facts that matter, made at the edge from the watch's objects.
//!
//! A [`PodRecord`] is kept for every pod of ours in the cluster, so its size is a promise (a few hundred bytes a pod).

use std::{net::IpAddr, sync::Arc};

use crate::id::{JournalId, PodUid};

/// `status.phase` of a pod (Kubernetes documentation, "Pod Lifecycle").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// Accepted, not all containers have started; also what an absent or unreadable phase counts as.
    #[default]
    Pending,
    /// Bound to a node, at least one container runs or restarts.
    Running,
    /// All containers ended with exit status 0.
    Succeeded,
    /// All containers ended, at least one in failure.
    Failed,
    /// The node cannot be asked.
    Unknown,
}

/// The class of a reason why a pod is not (or no longer) ready. Bounded, so that it may label a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReasonCode {
    /// The scheduler found no node; the message is the scheduler's.
    Unschedulable,
    /// The image cannot be pulled (ErrImagePull, ImagePullBackOff, InvalidImageName ...).
    ImagePull,
    /// The container cannot be configured or created (CreateContainerConfigError, CreateContainerError ...).
    ContainerConfig,
    /// A container ends again and again.
    CrashLoop,
    /// A container was killed for memory.
    OomKilled,
    /// A container or the pod ended; the message has the exit status.
    Exited,
    /// The kubelet or the API evicted it.
    Evicted,
    /// The scheduler preempted it.
    Preempted,
    /// Its node is gone or not ready.
    NodeLost,
    /// `activeDeadlineSeconds` passed.
    DeadlineExceeded,
    /// Bound to a node, containers being created, or running but not passing the readiness probe.
    NotReady,
    /// It is being deleted.
    Terminating,
    /// Any other reason, in the cluster's own words.
    Other,
}

impl ReasonCode {
    /// The code as people and metrics see it: Kubernetes' own spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unschedulable => "Unschedulable",
            Self::ImagePull => "ImagePullBackOff",
            Self::ContainerConfig => "CreateContainerConfigError",
            Self::CrashLoop => "CrashLoopBackOff",
            Self::OomKilled => "OOMKilled",
            Self::Exited => "Exited",
            Self::Evicted => "Evicted",
            Self::Preempted => "Preempted",
            Self::NodeLost => "NodeLost",
            Self::DeadlineExceeded => "DeadlineExceeded",
            Self::NotReady => "NotReady",
            Self::Terminating => "Terminating",
            Self::Other => "Other",
        }
    }
}

/// Why a pod is not ready, ended, or is about to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Its class.
    pub code: ReasonCode,
    /// The scheduler's, the kubelet's or the API server's own words, complete enough to act on; at most 500 bytes.
    pub message: Arc<str>,
}

impl Reason {
    /// The message, or the class when the cluster gave no words.
    #[must_use]
    pub fn text(&self) -> &str {
        if self.message.is_empty() { self.code.as_str() } else { &self.message }
    }
}

/// A deletion under way (`metadata.deletionTimestamp` is set). The core knows whether we asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deletion {
    /// `metadata.deletionTimestamp`: when the grace ends, epoch seconds.
    pub ends_at: i64,
}

/// The facts of one pod that matter to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodRecord {
    /// `metadata.uid`.
    pub uid: PodUid,
    /// The journal that created it, from its annotation; `None` when absent or unreadable.
    pub journal: Option<JournalId>,
    /// `metadata.creationTimestamp`, epoch seconds; 0 when absent.
    pub created: i64,
    /// `status.phase`.
    pub phase: Phase,
    /// Condition Ready is True.
    pub ready: bool,
    /// `status.podIP`.
    pub ip: Option<IpAddr>,
    /// `spec.terminationGracePeriodSeconds`, seconds.
    pub grace: u32,
    /// Set when deletion is under way.
    pub deletion: Option<Deletion>,
    /// Condition DisruptionTarget is True: the pod will be removed soon.
    pub disruption: Option<Arc<Reason>>,
    /// Why it is not ready, or how it ended; `None` for a healthy ready pod, so that the few that have one pay for it.
    pub reason: Option<Arc<Reason>>,
    /// `spec.nodeName`.
    pub node: Option<Arc<str>>,
}

impl PodRecord {
    /// It ended: no container of it will run again.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }

    /// Ready as HostFactory may be told: condition True, address known, not being deleted, not ended.
    #[must_use]
    pub const fn is_usable(&self) -> bool {
        self.ready && self.ip.is_some() && self.deletion.is_none() && !self.has_ended()
    }

    /// A container of it keeps crashing.
    #[must_use]
    pub fn is_crash_looping(&self) -> bool {
        self.reason.as_ref().is_some_and(|reason| reason.code == ReasonCode::CrashLoop)
    }
}
