//! Hooks for the proofs in `tests/`: places where the process kills itself, a journal that syncs less, a retention of
//! seconds.
//!
//! They exist in **debug builds only**. A release build has neither the code nor the names: there every function here
//! is empty or a constant, so that no environment variable can weaken what is installed.
//!
//! | variable | meaning |
//! |---|---|
//! | `HFD_CRASH_POINT=NAME[:NTH][+MS]` | SIGKILL to ourselves when the named point is passed for the nth time, MS later |
//! | `HFD_TEST_SYNCHRONOUS=NORMAL` | `PRAGMA synchronous` of the journal, so that a power cut must lose data |
//! | `HFD_TEST_KEEP=SECONDS` | `retention.keep` below its bound, so that a short soak sees retention at work |
//!
//! The pause holds the thread that passes the point, as a slow disk would; what other threads let out meanwhile may only
//! be what was durable before.
//!
//! A kill from outside hits a point by luck; a named point is hit by every run, also when code moves. SIGKILL and not a
//! panic or an exit: nothing may unwind, flush or close.

/// A place between two steps that a crash must not tear apart.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Point {
    /// A command is decided; its batch is not yet handed to the journal.
    AfterDecide,
    /// Everything of a batch is written inside its transaction; COMMIT is not yet sent.
    InJournal,
    /// A batch is durable; it is neither published nor answered.
    AfterJournal,
    /// A batch is durable and published; no caller that waits for it is told.
    BeforeReply,
    /// The callers' channels have their replies; nothing else followed yet.
    AfterReply,
    /// A call's answer is made; nothing of it is sent.
    BeforeAnswer,
    /// A caller has its answer and closed the connection.
    AfterAnswer,
    /// A create is answered; what it brought is not yet taken in, others of the request may not be sent.
    BetweenCreates,
    /// The same for deletes.
    BetweenDeletes,
    /// At start, with the requests read and the returns not yet.
    DuringReplay,
    /// A checkpoint is about to begin.
    BeforeCheckpoint,
    /// A checkpoint has just ended.
    AfterCheckpoint,
    /// A relist is complete; nothing that follows from it is decided.
    AfterSync,
    /// A rebuild has adopted what runs; nothing of it is durable.
    DuringRebuild,
}

#[cfg(not(debug_assertions))]
mod hooks {
    pub(super) const fn pass(_: super::Point) {}

    pub(super) const fn synchronous() -> &'static str {
        "FULL"
    }

    pub(super) const fn keep(configured: std::time::Duration) -> std::time::Duration {
        configured
    }
}

#[cfg(debug_assertions)]
mod hooks {
    use std::{
        ffi::OsString,
        sync::{
            OnceLock,
            atomic::{AtomicU64, Ordering},
        },
        thread,
        time::Duration,
    };

    use rustix::process::{Signal, getpid, kill_process};

    use super::Point;

    const CRASH_POINT: &str = "HFD_CRASH_POINT";
    const SYNCHRONOUS: &str = "HFD_TEST_SYNCHRONOUS";
    const KEEP: &str = "HFD_TEST_KEEP";

    const NAMES: [(&str, Point); 14] = [
        ("after-decide", Point::AfterDecide),
        ("in-journal", Point::InJournal),
        ("after-journal", Point::AfterJournal),
        ("before-reply", Point::BeforeReply),
        ("after-reply", Point::AfterReply),
        ("before-answer", Point::BeforeAnswer),
        ("after-answer", Point::AfterAnswer),
        ("between-creates", Point::BetweenCreates),
        ("between-deletes", Point::BetweenDeletes),
        ("during-replay", Point::DuringReplay),
        ("before-checkpoint", Point::BeforeCheckpoint),
        ("after-checkpoint", Point::AfterCheckpoint),
        ("after-sync", Point::AfterSync),
        ("during-rebuild", Point::DuringRebuild),
    ];

    struct Armed {
        point: Point,
        /// Times that it is still to be passed.
        left: AtomicU64,
        /// Between the point and the death.
        pause: Duration,
    }

    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
    static WEAKER: OnceLock<bool> = OnceLock::new();
    static SHORTER: OnceLock<Option<Duration>> = OnceLock::new();

    pub(super) fn arm(variable: impl Fn(&str) -> Option<OsString>) -> Result<(), String> {
        let armed = variable(CRASH_POINT).map(|value| read_point(&value.to_string_lossy())).transpose()?;
        let weaker = match variable(SYNCHRONOUS) {
            None => false,
            Some(value) if value == "NORMAL" => true,
            Some(value) => return Err(format!("{SYNCHRONOUS} is {}, not NORMAL", value.to_string_lossy())),
        };
        let shorter = match variable(KEEP).map(|value| value.to_string_lossy().parse()) {
            None => None,
            Some(Ok(seconds)) => Some(Duration::from_secs(seconds)),
            Some(Err(_)) => return Err(format!("{KEEP} counts seconds")),
        };
        // A second call would be a second start in one process, which does not happen; the first one stands.
        let _first = (ARMED.set(armed), WEAKER.set(weaker), SHORTER.set(shorter));
        Ok(())
    }

    fn read_point(value: &str) -> Result<Armed, String> {
        let (passed, pause) = value.split_once('+').unwrap_or((value, "0"));
        let Ok(pause) = pause.parse().map(Duration::from_millis) else {
            return Err(format!("{CRASH_POINT} is {value}: what follows the plus counts milliseconds"));
        };
        let (name, nth) = passed.split_once(':').unwrap_or((passed, "1"));
        let nth = nth.parse().ok().filter(|nth| *nth > 0);
        let Some(nth) = nth else {
            return Err(format!("{CRASH_POINT} is {value}: what follows the colon counts from 1"));
        };
        let point = NAMES.iter().find(|(known, _)| *known == name).map(|(_, point)| *point);
        let Some(point) = point else {
            let names: Vec<_> = NAMES.iter().map(|(name, _)| *name).collect();
            return Err(format!("{CRASH_POINT} is {value}; there are {}", names.join(", ")));
        };
        Ok(Armed { point, left: AtomicU64::new(nth), pause })
    }

    pub(super) fn pass(point: Point) {
        let Some(Some(armed)) = ARMED.get() else { return };
        if armed.point == point && armed.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            thread::sleep(armed.pause);
            // Cannot fail for our own process; and nothing after this point may run either way.
            let _killed = kill_process(getpid(), Signal::KILL);
            loop {
                thread::park();
            }
        }
    }

    pub(super) fn synchronous() -> &'static str {
        if WEAKER.get() == Some(&true) { "NORMAL" } else { "FULL" }
    }

    pub(super) fn keep(configured: Duration) -> Duration {
        SHORTER.get().copied().flatten().unwrap_or(configured)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn an_unknown_point_is_refused_with_the_names_there_are() {
            let Err(refused) = read_point("after-lunch") else { panic!("there is no such point") };
            assert!(NAMES.iter().all(|(name, _)| refused.contains(name)), "{refused}");
        }

        #[test]
        fn a_point_is_meant_the_first_time_unless_a_number_says_otherwise() {
            let left = |value: &str| read_point(value).map(|armed| armed.left.into_inner());
            assert_eq!(left("in-journal"), Ok(1));
            assert_eq!(left("in-journal:7"), Ok(7));
            assert_eq!(left("in-journal:7+20"), Ok(7));
            assert!(left("in-journal+x").is_err());
            assert!(left("in-journal:0").is_err());
            assert!(left("in-journal:x").is_err());
        }
    }
}

/// Takes the variables over, once, from `variable`; see the table above. In a release build it looks at nothing.
///
/// # Errors
/// When a variable names what does not exist.
#[cfg(debug_assertions)]
pub fn arm(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Result<(), String> {
    hooks::arm(variable)
}

/// The process is at `point`: it goes on, unless a debug build was told to die here.
pub(crate) fn pass(point: Point) {
    hooks::pass(point);
}

/// `PRAGMA synchronous` of the journal.
pub(crate) fn synchronous() -> &'static str {
    hooks::synchronous()
}

/// How long what is over stays known.
pub(crate) fn keep(configured: std::time::Duration) -> std::time::Duration {
    hooks::keep(configured)
}
