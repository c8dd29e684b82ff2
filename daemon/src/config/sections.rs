//! The sections of the configuration and their defaults. Bounds and names are in `keys.rs`.

use std::{path::PathBuf, time::Duration};

use super::value::ByteSize;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// How hfd talks to the API server.
#[derive(Debug, Clone)]
pub struct Kube {
    /// Kubeconfig; `None` leaves the search to kube (`KUBECONFIG`, the home directory, the service account of a pod).
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig; `None` means its current one.
    pub context: Option<String>,
    /// Namespace of the pods; `None` means the context's, else `default`.
    pub namespace: Option<String>,
    /// Creates and deletes in flight at once at most; fewer while the API server asks for less. kube speaks HTTP/1.1, so
    /// this is also the number of connections; beyond some 250 one client only meets 429.
    pub concurrency: u32,
    /// Our own limit on one create, delete or get.
    pub call_timeout: Duration,
    /// After this time the API server itself has given up on a call (its `--request-timeout`), so an unanswered create
    /// can no longer land.
    pub server_request_timeout: Duration,
    /// Pods in one page of a LIST.
    pub page_size: u32,
    /// The server ends a watch after this time; load balancers cut idle connections at about 240 s.
    pub watch_timeout: Duration,
    /// Without a byte on the watch for this long, our view counts as stale.
    pub fresh_within: Duration,
}

impl Default for Kube {
    fn default() -> Self {
        Self {
            kubeconfig: None,
            context: None,
            namespace: None,
            concurrency: 64,
            call_timeout: Duration::from_secs(30),
            server_request_timeout: Duration::from_secs(60),
            page_size: 500,
            watch_timeout: Duration::from_secs(200),
            fresh_within: Duration::from_secs(90),
        }
    }
}

/// Sizes beyond which a call is refused.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Machines in one request; the name's five digits allow 100,000.
    pub max_machine_count: u32,
    /// Request ids or machine names in one call.
    pub max_ids_per_call: u32,
    /// Connections served at once; more wait in the socket's backlog.
    pub max_connections: u32,
    /// Commands waiting for the engine; beyond it a caller is told `busy`.
    pub inbox: u32,
    /// Largest body of a call.
    pub max_body: ByteSize,
    /// Largest reply: 100 requests of 1,000 machines are 30 MB.
    pub max_reply: ByteSize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_machine_count: 10_000,
            max_ids_per_call: 10_000,
            max_connections: 1024,
            inbox: 1024,
            max_body: ByteSize::mib(16),
            max_reply: ByteSize::mib(256),
        }
    }
}

/// When a machine counts as failed or lost.
#[derive(Debug, Clone)]
pub struct Machines {
    /// From acceptance to ready; a template may set its own.
    pub ready_deadline: Duration,
    /// A ready pod whose container crash-loops for this long is lost.
    pub crash_loop_after: Duration,
    /// The pod of a lost machine is kept this long for its logs, unless HostFactory returns it earlier.
    pub keep_lost_for: Duration,
    /// A pod known by its create but not seen by a synced watch is looked for after this time.
    pub unseen_look_after: Duration,
}

impl Default for Machines {
    fn default() -> Self {
        Self {
            ready_deadline: Duration::from_secs(300),
            crash_loop_after: Duration::from_secs(120),
            keep_lost_for: Duration::from_secs(10 * MINUTE),
            unseen_look_after: Duration::from_secs(5),
        }
    }
}

/// How long a return may take.
#[derive(Debug, Clone)]
pub struct Returns {
    /// Past this a machine whose pod is still there fails in the return's answer; its deletion is still pursued.
    pub deadline: Duration,
    /// A machine whose return ended this long ago and that HostFactory still names is listed by getReturnRequests.
    pub phantom_after: Duration,
}

impl Default for Returns {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(30 * MINUTE), phantom_after: Duration::from_secs(5 * MINUTE) }
    }
}

/// The guard of getReturnRequests: losing many machines at once is confirmed by a LIST before it is told.
#[derive(Debug, Clone)]
pub struct Reclaim {
    /// The guard acts when more than this part of the known machines would newly be reported.
    pub guard_fraction: f64,
    /// And at least this many.
    pub guard_min: u32,
}

impl Default for Reclaim {
    fn default() -> Self {
        Self { guard_fraction: 0.5, guard_min: 5 }
    }
}

/// Requests that HostFactory never asks about.
#[derive(Debug, Clone)]
pub struct Requests {
    /// Warned about after this time in which others were polled.
    pub never_polled_warn: Duration,
    /// Cancelled after this time; zero: never.
    pub never_polled_cancel: Duration,
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            never_polled_warn: Duration::from_secs(10 * MINUTE),
            never_polled_cancel: Duration::from_secs(60 * MINUTE),
        }
    }
}

/// How long what is over stays known.
#[derive(Debug, Clone)]
pub struct Retention {
    /// Counted from the moment when nothing of a request can change any more.
    pub keep: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self { keep: Duration::from_secs(7 * DAY) }
    }
}

/// The journal's file.
#[derive(Debug, Clone)]
pub struct Journal {
    /// Accept a state directory on a network file system, where SQLite's locks and shared memory can't be trusted.
    pub allow_network_fs: bool,
    /// Disk space kept free for returns when the disk fills up.
    pub reserve: ByteSize,
}

impl Default for Journal {
    fn default() -> Self {
        Self { allow_network_fs: false, reserve: ByteSize::mib(4) }
    }
}

/// What template files may do.
#[derive(Debug, Clone, Default)]
pub struct Templates {
    /// Accept manifests with `hostNetwork` or `setHostnameAsFQDN`, whose pods do not bear the machine's name as host
    /// name.
    pub allow_host_network: bool,
    /// Emit `availableNumber`. HostFactory keeps the value that it read at its start, so a momentary 0 would stick.
    pub emit_available_number: bool,
}

/// What is logged, and how.
#[derive(Debug, Clone)]
pub struct Log {
    /// Directives of `tracing-subscriber`: `info`, `hfd=debug,warn`.
    pub filter: String,
    /// Shape of a line.
    pub format: LogFormat,
    /// Append to this file instead of the journal or stderr.
    pub file: Option<PathBuf>,
}

impl Default for Log {
    fn default() -> Self {
        // kube logs every failed call at ERROR, and its watcher warns of every attempt that is forbidden: one a second
        // while a permission is missing. What that means is for us to say, once.
        let filter = "info,kube_client::client::builder=off,kube_runtime::watcher=error".to_owned();
        Self { filter, format: LogFormat::Auto, file: None }
    }
}

/// Shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// The system journal when systemd started us, text on a terminal, else JSON.
    #[default]
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
