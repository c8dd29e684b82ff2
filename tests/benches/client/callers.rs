//! Callers that start together.

use std::{
    process::{Command, Stdio},
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use tests::figures::Samples;

/// Small stacks: five hundred callers only start a process and read its output.
const STACK_BYTES: usize = 128 * 1024;

/// Times of bursts of callers.
#[derive(Default)]
pub(crate) struct Burst {
    /// Each caller's own time.
    pub(crate) each: Samples,
    /// The time of each burst, from the first start to the last end.
    pub(crate) all: Samples,
    /// Callers that did not get the expected answer.
    pub(crate) failed: usize,
}

impl Burst {
    /// Lets `callers` call at the same moment and reads what each gets.
    pub(crate) fn run(&mut self, callers: usize, command: &(dyn Fn() -> Command + Sync), expected: &[u8]) {
        let start = Barrier::new(callers + 1);
        let call = || {
            let mut command = command();
            command.stdin(Stdio::null()).stderr(Stdio::null());
            start.wait();
            let mut output = None;
            let time = timed(|| output = command.output().ok());
            (time, output.is_some_and(|output| output.status.success() && output.stdout == expected))
        };
        thread::scope(|scope| {
            let spawn = |_| thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, call);
            let running: Vec<_> = (0..callers).map(spawn).collect();
            start.wait();
            let begun = Instant::now();
            for caller in running {
                let (time, served) = caller.expect("a thread can be started").join().expect("a caller does not panic");
                self.each.push(time);
                self.failed += usize::from(!served);
            }
            self.all.push(begun.elapsed());
        });
    }
}

/// The time that something takes.
pub(crate) fn timed(what: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    what();
    begun.elapsed()
}
