//! Child processes: started with a log file, signalled by their own id, never left behind.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::eventually;

/// A server under test: standard output and error go to a log file; killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; its output is appended to `log`.
    ///
    /// # Panics
    /// When it can't be started.
    #[track_caller]
    pub fn start(name: &str, mut command: Command, log: &Path) -> Self {
        let open = || -> std::io::Result<File> { OpenOptions::new().create(true).append(true).open(log) };
        let out = open().expect("the log file can be created");
        let err = open().expect("the log file can be opened twice");
        let child = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self { name: name.to_owned(), child, log: log.to_owned() }
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When the process has been waited for already.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap_or_else(|error| panic!("signal {signal:?} to {}: {error}", self.name));
    }

    /// SIGKILL, and the end awaited.
    ///
    /// # Panics
    /// When the process can't be waited for.
    pub fn kill9(&mut self) {
        self.child.kill().expect("our own child can be killed");
        self.child.wait().expect("our own child can be waited for");
    }

    /// SIGTERM, and the end awaited.
    ///
    /// # Panics
    /// When it does not end within `within`.
    #[track_caller]
    pub fn terminate(&mut self, within: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended(within)
    }

    /// Awaits the end.
    ///
    /// # Panics
    /// When it does not end within `within`.
    #[track_caller]
    pub fn ended(&mut self, within: Duration) -> ExitStatus {
        let what = format!("{} has ended; its log:\n{}", self.name, self.log());
        eventually(&what, within, || self.try_ended())
    }

    /// The exit status, if it has ended.
    ///
    /// # Panics
    /// When the process can't be waited for.
    pub fn try_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our own child can be waited for")
    }

    /// All that it has written so far.
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The last `lines` lines of the log, for a failure's report.
    pub fn log_tail(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) && self.child.kill().is_ok() {
            drop(self.child.wait());
        }
    }
}

/// What a finished command left.
#[derive(Debug)]
pub struct Finished {
    /// Exit code; -1 when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl Finished {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn error_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

/// Runs a command to its end with `input` on its standard input.
///
/// # Panics
/// When it can't be started or does not end within `within`.
#[track_caller]
pub fn run(mut command: Command, input: &[u8], within: Duration) -> Finished {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let stdin = child.stdin.take().map(|mut pipe| {
        let input = input.to_vec();
        // A command that does not read its input closes the pipe: not a fault.
        thread::spawn(move || drop(pipe.write_all(&input)))
    });
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("our own child can be waited for") {
            break status;
        }
        if begun.elapsed() > within {
            drop(child.kill());
            drop(child.wait());
            panic!("{command:?} has not ended within {within:?}");
        }
        thread::sleep(Duration::from_millis(2));
    };
    if let Some(writer) = stdin {
        writer.join().expect("the writer thread does not panic");
    }
    let read = |reader: thread::JoinHandle<Vec<u8>>| reader.join().expect("the reader threads do not panic");
    Finished { code: status.code().unwrap_or(-1), stdout: read(stdout), stderr: read(stderr) }
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // A broken pipe leaves what was read: the test judges that.
            drop(pipe.read_to_end(&mut bytes));
        }
        bytes
    })
}
