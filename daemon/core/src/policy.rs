//! The configured bounds and times that the rules speak of. Values are validated where configuration is read.

use std::time::Duration;

/// Bounds and times of one provider instance.
#[derive(Debug, Clone)]
pub struct Policy {
    /// API calls in flight at once at most, creates and deletes together; fewer while the API server asks for less.
    pub concurrency: usize,
    /// The API server's own request time-out: a create given up on may still land until it has passed.
    pub server_request_timeout: Duration,
    /// A pod known by 201 or 409 that a sighted view does not show for this long gets one look.
    pub unseen_look_after: Duration,
    /// A machine that crash loops this long after it was ready is lost.
    pub crash_loop_after: Duration,
    /// A lost machine's pod is kept this long for its logs, unless HostFactory returns it before.
    pub keep_lost_for: Duration,
    /// A return whose machines are not gone by then ends with an error; deletion goes on.
    pub return_deadline: Duration,
    /// A gone machine that the caller still names is listed once its return was told, or was not asked about this long.
    pub told_or_unasked: Duration,
    /// A request that nobody polled this long (while others were polled) is warned about.
    pub never_polled_warn: Duration,
    /// ... and cancelled after this long; `None` = never.
    pub never_polled_cancel: Option<Duration>,
    /// Ended requests and returns are kept this long.
    pub keep: Duration,
    /// The largest `machineCount` that is accepted.
    pub max_machine_count: u32,
    /// The loss guard looks at transitions of at least this many machines ...
    pub guard_min: usize,
    /// ... and of more than this part of the known ones.
    pub guard_fraction: f64,
    /// Pods of ours that an empty journal finds at its first sync are adopted without an operator's command.
    pub rebuild_permitted: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            concurrency: 64,
            server_request_timeout: Duration::from_secs(60),
            unseen_look_after: Duration::from_secs(5),
            crash_loop_after: Duration::from_secs(120),
            keep_lost_for: Duration::from_secs(600),
            return_deadline: Duration::from_secs(30 * 60),
            told_or_unasked: Duration::from_secs(5 * 60),
            never_polled_warn: Duration::from_secs(10 * 60),
            never_polled_cancel: Some(Duration::from_secs(60 * 60)),
            keep: Duration::from_secs(7 * 24 * 3600),
            max_machine_count: 10_000,
            guard_min: 5,
            guard_fraction: 0.5,
            rebuild_permitted: false,
        }
    }
}

/// Whole seconds of a duration, as the wall clock counts.
#[must_use]
pub fn wall_seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
