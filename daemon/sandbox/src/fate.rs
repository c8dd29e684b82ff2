//! What annotations on a pod make of its life.
//!
//! | annotation | value |
//! |---|---|
//! | `sandbox.hfd/fate` | one of [`NAMES`]; without it the pod starts, stays and stops normally |
//! | `sandbox.hfd/start-delay` | from the binding to Running, e.g. `3s`, instead of the cluster's seeded delay |
//! | `sandbox.hfd/stop-delay` | from the deletion to its end, at most the grace period |
//! | `sandbox.hfd/fate-after` | the pod becomes Ready first, and its fate strikes this long after |

use std::time::Duration;

use serde_json::Value;

use crate::object::text;
use crate::random::Random;
use crate::refusal::Cause;

/// The annotation that chooses a fate.
pub(crate) const FATE: &str = "sandbox.hfd/fate";
const START_DELAY: &str = "sandbox.hfd/start-delay";
const STOP_DELAY: &str = "sandbox.hfd/stop-delay";
const FATE_AFTER: &str = "sandbox.hfd/fate-after";

/// The start delay of `slow-start` where no annotation gives another.
const SLOW_START: Duration = Duration::from_secs(30);

/// The fates by name; `exit-N` stands for every exit code.
pub(crate) const NAMES: &str = "never-scheduled, image-pull-failure, crash-loop, exit-0, exit-N, oom, slow-start, \
                                slow-stop, never-ready, stuck-terminating";

/// A fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Healthy,
    /// No node is ever good enough.
    NeverScheduled,
    /// ErrImagePull, then ImagePullBackOff.
    ImagePullFailure,
    /// Exits with 1 again and again, with growing pauses.
    CrashLoop,
    /// All containers exit with this code and the pod is over, whatever its restart policy says.
    Exit(u8),
    /// Killed for its memory, and over.
    OutOfMemory,
    SlowStart,
    /// Uses up its whole grace period when deleted.
    SlowStop,
    /// Running, but never (or no longer) Ready.
    NeverReady,
    /// Does not go away when deleted, until it is deleted with grace period 0.
    StuckTerminating,
}

impl Fate {
    /// The fate of this name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "never-scheduled" => Self::NeverScheduled,
            "image-pull-failure" => Self::ImagePullFailure,
            "crash-loop" => Self::CrashLoop,
            "oom" => Self::OutOfMemory,
            "slow-start" => Self::SlowStart,
            "slow-stop" => Self::SlowStop,
            "never-ready" => Self::NeverReady,
            "stuck-terminating" => Self::StuckTerminating,
            other => Self::Exit(other.strip_prefix("exit-")?.parse().ok()?),
        })
    }

    /// Whether it ends or spoils a pod that already runs.
    pub(crate) fn strikes(self) -> bool {
        matches!(self, Self::CrashLoop | Self::Exit(_) | Self::OutOfMemory | Self::NeverReady)
    }
}

/// The delays of a cluster, from its options.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delays {
    /// Mean time from binding to Ready.
    pub(crate) start: Duration,
    /// Mean time from deletion to gone.
    pub(crate) stop: Duration,
}

/// The life of one pod as planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) fate: Fate,
    pub(crate) start_delay: Duration,
    pub(crate) stop_delay: Duration,
    /// How long the pod is Ready before its fate strikes; `None` if the fate rules from the beginning.
    pub(crate) fate_after: Option<Duration>,
}

impl Plan {
    /// Reads the annotations of a pod; what cannot be read counts as absent.
    pub(crate) fn of(pod: &Value, delays: Delays, random: Random) -> Self {
        let annotation = |name: &str| pod["metadata"]["annotations"][name].as_str();
        let delay = |name| annotation(name).and_then(parse_duration);
        // by name: the delays of a pod do not depend on what else happens in the cluster
        let name = format!("{}/{}", text(pod, "/metadata/namespace"), text(pod, "/metadata/name"));
        let fate = annotation(FATE).and_then(Fate::parse).unwrap_or(Fate::Healthy);
        let usual_start = match fate {
            Fate::SlowStart => SLOW_START,
            _ => random.around(&format!("start {name}"), delays.start),
        };
        Self {
            fate,
            start_delay: delay(START_DELAY).unwrap_or(usual_start),
            stop_delay: delay(STOP_DELAY).unwrap_or_else(|| random.around(&format!("stop {name}"), delays.stop)),
            fate_after: delay(FATE_AFTER),
        }
    }

    /// Whether the pod is ever Ready.
    pub(crate) fn becomes_ready(&self) -> bool {
        !self.fate.strikes() || self.fate_after.is_some()
    }
}

/// Findings about the annotations of a new pod: a misspelt fate is better refused than ignored.
pub(crate) fn check_annotations(pod: &Value, causes: &mut Vec<Cause>) {
    let annotations = &pod["metadata"]["annotations"];
    if let Some(name) = annotations[FATE].as_str()
        && Fate::parse(name).is_none()
    {
        let rule = format!("the sandbox knows {NAMES}");
        causes.push(Cause::invalid(format!("metadata.annotations[{FATE}]"), name, &rule));
    }
    for key in [START_DELAY, STOP_DELAY, FATE_AFTER] {
        if let Some(text) = annotations[key].as_str()
            && parse_duration(text).is_none()
        {
            let rule = "must be a duration such as 500ms, 3s or 2m";
            causes.push(Cause::invalid(format!("metadata.annotations[{key}]"), text, rule));
        }
    }
}

/// Reads `500ms`, `3s`, `1.5s`, `2m` or `1h`.
fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|char: char| !char.is_ascii_digit() && char != '.')?;
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DELAYS: Delays = Delays { start: Duration::from_secs(1), stop: Duration::from_secs(1) };

    fn plan(annotations: &Value) -> Plan {
        Plan::of(&json!({"metadata": {"uid": "u", "annotations": annotations}}), DELAYS, Random::new(1))
    }

    #[test]
    fn annotations_choose_fate_and_delays() {
        let plan = plan(&json!({
            FATE: "exit-3", START_DELAY: "1.5s", STOP_DELAY: "200ms", FATE_AFTER: "2m"
        }));
        assert_eq!(plan.fate, Fate::Exit(3));
        assert_eq!(plan.start_delay, Duration::from_millis(1500));
        assert_eq!(plan.stop_delay, Duration::from_millis(200));
        assert_eq!(plan.fate_after, Some(Duration::from_secs(120)));
        assert!(plan.becomes_ready());
    }

    #[test]
    fn a_pod_without_annotations_is_healthy_within_the_clusters_delays() {
        let plan = plan(&json!({}));
        assert_eq!((plan.fate, plan.fate_after), (Fate::Healthy, None));
        assert!((Duration::from_millis(500)..=Duration::from_millis(1500)).contains(&plan.start_delay));
    }

    #[test]
    fn slow_start_takes_half_a_minute_unless_a_delay_is_given() {
        assert_eq!(plan(&json!({FATE: "slow-start"})).start_delay, SLOW_START);
        assert_eq!(plan(&json!({FATE: "slow-start", START_DELAY: "3s"})).start_delay, Duration::from_secs(3));
    }

    #[test]
    fn misspelt_annotations_are_found() {
        let mut causes = Vec::new();
        let pod = json!({"metadata": {"annotations": {FATE: "exit-zero", STOP_DELAY: "soon"}}});
        check_annotations(&pod, &mut causes);
        assert_eq!(causes.len(), 2, "{causes:?}");
    }
}
