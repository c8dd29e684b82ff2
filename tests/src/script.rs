//! The five provider scripts, called as HostFactory calls them.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use serde_json::Value;

use crate::{
    bins,
    process::{Finished, run},
};

/// Longest time that one call may take: HostFactory's own limits start at 240 s.
const CALL_LIMIT: Duration = Duration::from_secs(120);

/// HostFactory's verbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// What can be asked for.
    GetAvailableTemplates,
    /// Ask for machines.
    RequestMachines,
    /// How requests and returns stand.
    GetRequestStatus,
    /// Give machines back.
    RequestReturnMachines,
    /// What the provider wants back, or has lost.
    GetReturnRequests,
}

impl Verb {
    /// All five.
    pub const ALL: [Self; 5] = [
        Self::GetAvailableTemplates,
        Self::RequestMachines,
        Self::GetRequestStatus,
        Self::RequestReturnMachines,
        Self::GetReturnRequests,
    ];

    /// HostFactory's name, which is the script's.
    pub fn name(self) -> &'static str {
        match self {
            Self::GetAvailableTemplates => "getAvailableTemplates",
            Self::RequestMachines => "requestMachines",
            Self::GetRequestStatus => "getRequestStatus",
            Self::RequestReturnMachines => "requestReturnMachines",
            Self::GetReturnRequests => "getReturnRequests",
        }
    }

    /// The name on `hfctl`'s command line.
    pub fn command(self) -> &'static str {
        match self {
            Self::GetAvailableTemplates => "get-available-templates",
            Self::RequestMachines => "request-machines",
            Self::GetRequestStatus => "get-request-status",
            Self::RequestReturnMachines => "request-return-machines",
            Self::GetReturnRequests => "get-return-requests",
        }
    }

    /// The installed script.
    pub fn script(self) -> PathBuf {
        bins::provider_dir().join("scripts").join(format!("{}.sh", self.name()))
    }
}

/// How a call gets its input.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// `-f FILE`, as HostFactory does it.
    File(&'a [u8]),
    /// `FILE`, as older wrappers do it.
    BarePath(&'a [u8]),
    /// `-`, with the document on standard input.
    Stdin(&'a [u8]),
    /// `-f PATH` with a path that the test made itself.
    Path(&'a Path),
}

/// A call's outcome: always one JSON document, whatever happened.
#[derive(Debug, Clone)]
pub struct Reply {
    /// What was called.
    pub verb: Verb,
    /// Exit code.
    pub code: i32,
    /// The document.
    pub json: Value,
    /// Standard output as it came.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Reply {
    /// Holds the outcome against the contract of every verb.
    ///
    /// # Panics
    /// When the output is not exactly one JSON object, the exit code is neither 0 nor 1, or a failure has no message.
    #[track_caller]
    pub fn read(verb: Verb, finished: &Finished) -> Self {
        let stdout = String::from_utf8(finished.stdout.clone())
            .unwrap_or_else(|error| panic!("{}: the output is not UTF-8: {error}", verb.name()));
        let stderr = finished.error_text();
        let code = finished.code;
        // `from_str` refuses anything after the first document.
        let json: Value = serde_json::from_str(&stdout).unwrap_or_else(|error| {
            panic!("{} (exit {code}) printed no single JSON document: {error}\n{stdout}\n{stderr}", verb.name())
        });
        assert!(json.is_object(), "{} printed something else than an object: {stdout}", verb.name());
        assert!(code == 0 || code == 1, "{} ended with {code}: {stdout}{stderr}", verb.name());
        if code == 1 {
            let message = json["message"].as_str().unwrap_or_default();
            assert!(!message.trim().is_empty(), "{} failed without a message: {stdout}", verb.name());
        }
        Self { verb, code, json, stdout, stderr }
    }

    /// The reply's message.
    pub fn message(&self) -> &str {
        self.json["message"].as_str().unwrap_or_default()
    }

    /// The document of a call that must have succeeded.
    ///
    /// # Panics
    /// When it failed.
    #[track_caller]
    pub fn ok(&self) -> &Value {
        assert!(self.code == 0, "{} failed: {} {}", self.verb.name(), self.stdout, self.stderr);
        &self.json
    }

    /// The message of a call that must have been refused.
    ///
    /// # Panics
    /// When it was not.
    #[track_caller]
    pub fn refused(&self) -> &str {
        assert!(self.code == 1, "{} was not refused: {}", self.verb.name(), self.stdout);
        self.message()
    }
}

/// HostFactory's side: where its files lie and what environment its scripts get.
#[derive(Debug)]
pub struct Scripts {
    dir: PathBuf,
    env: BTreeMap<OsString, OsString>,
    next: AtomicU64,
}

impl Scripts {
    /// Scripts that reach the daemon on `socket`, with their files in `dir`.
    ///
    /// # Panics
    /// When the directories can't be made.
    pub fn new(dir: &Path, socket: &Path) -> Self {
        let mut env = BTreeMap::new();
        let mut set = |key: &str, value: &Path| {
            env.insert(OsString::from(key), value.as_os_str().to_owned());
        };
        for part in ["conf", "work", "log"] {
            fs::create_dir_all(dir.join(part)).expect("the test's directory can be written");
        }
        set("HF_PROVIDER_NAME", Path::new("k8s-hf"));
        set("HF_PROVIDER_CONFDIR", &dir.join("conf"));
        set("HF_PROVIDER_WORKDIR", &dir.join("work"));
        set("HF_PROVIDER_LOGDIR", &dir.join("log"));
        set("HF_TOP", dir);
        set("HF_CONFDIR", &dir.join("conf"));
        set("HF_WORKDIR", &dir.join("work"));
        set("HF_LOGDIR", &dir.join("log"));
        set("HF_VERSION", Path::new("1.2"));
        set("HFD_SOCKET", socket);
        let mut path = bins::directory().as_os_str().to_owned();
        path.push(":/usr/bin:/bin");
        env.insert("PATH".into(), path);
        Self { dir: dir.to_owned(), env, next: AtomicU64::new(0) }
    }

    /// Adds to the environment of every later call.
    pub fn env(&mut self, key: &str, value: &str) {
        self.env.insert(key.into(), value.into());
    }

    /// Takes a variable out of the environment of every later call.
    pub fn without(&mut self, key: &str) {
        self.env.remove(&OsString::from(key));
    }

    /// The directory that HostFactory's variables point into.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Calls a script and reads its reply.
    #[track_caller]
    pub fn call(&self, verb: Verb, input: Input<'_>) -> Reply {
        Reply::read(verb, &self.call_raw(verb, input))
    }

    /// Calls a script.
    #[track_caller]
    pub fn call_raw(&self, verb: Verb, input: Input<'_>) -> Finished {
        let (command, file, stdin) = self.prepare(verb, input);
        let finished = run(command, stdin, CALL_LIMIT);
        if let Some(file) = file {
            fs::remove_file(file).expect("the input file is ours");
        }
        finished
    }

    /// The command of a call, the input file it made, and what to write to its standard input.
    fn prepare<'a>(&self, verb: Verb, input: Input<'a>) -> (Command, Option<PathBuf>, &'a [u8]) {
        let mut command = Command::new(verb.script());
        command.env_clear().envs(&self.env).current_dir(&self.dir);
        match input {
            Input::File(bytes) => {
                let file = self.input_file(bytes);
                command.arg("-f").arg(&file);
                (command, Some(file), b"")
            }
            Input::BarePath(bytes) => {
                let file = self.input_file(bytes);
                command.arg(&file);
                (command, Some(file), b"")
            }
            Input::Stdin(bytes) => {
                command.arg("-");
                (command, None, bytes)
            }
            Input::Path(path) => {
                command.arg("-f").arg(path);
                (command, None, b"")
            }
        }
    }

    /// A script's command with its input file already written, for callers that kill it half-way.
    pub fn command(&self, verb: Verb, input: &Value) -> Command {
        self.command_with(verb, &self.input_file(input.to_string().as_bytes()))
    }

    /// A script's command with an input file that is there already.
    pub fn command_with(&self, verb: Verb, file: &Path) -> Command {
        let mut command = Command::new(verb.script());
        command.env_clear().envs(&self.env).current_dir(&self.dir).arg("-f").arg(file);
        command
    }

    fn input_file(&self, bytes: &[u8]) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let file = self.dir.join("work").join(format!("hf_in_{number:06}"));
        fs::write(&file, bytes).expect("the test's directory can be written");
        file
    }
}
