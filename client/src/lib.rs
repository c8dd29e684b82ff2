//! The client of `hfd`.
//!
//! ```text
//! quick, args ──> verbs  (HostFactory's five: one JSON document, exit 0 or 1) ──┐
//!             └─> views  (people and their programs: tables or JSON)          ──┴─> transport ──> hfd
//! ```
//!
//! It holds no state and decides nothing: the daemon does. Start-up time is a feature (HostFactory starts it for every
//! poll), so everything is synchronous, one exchange over a Unix socket, and nothing is read that is not needed.

pub mod args;
pub mod exit;
pub mod input;
mod quick;
pub mod transport;
pub mod verbs;
pub mod views;

use std::{
    ffi::OsString,
    io::{self, Write},
    path::PathBuf,
};

use clap::{Parser, error::ErrorKind};
use proto_schema::hostfactory::{GetRequestStatus, GetReturnRequests, RequestMachines, RequestReturnMachines};

use crate::{
    args::{Cli, Command},
    exit::Exit,
};

/// What the command line does not say: the parts of the process's surroundings that count.
#[derive(Debug, Clone, Default)]
pub struct World {
    /// `XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<PathBuf>,
    /// Effective user id.
    pub uid: u32,
}

impl World {
    /// Reads them from this process.
    #[must_use]
    pub fn of_this_process() -> Self {
        Self {
            runtime_dir: std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from),
            uid: rustix::process::geteuid().as_raw(),
        }
    }
}

/// Parses, runs, prints; the whole of `hfctl`.
pub fn run(args: impl IntoIterator<Item = OsString>, world: &World) -> Exit {
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match quick::parse(&args, |variable| std::env::var_os(variable)) {
        Some(cli) => cli,
        None => match Cli::try_parse_from(&args) {
            Ok(cli) => cli,
            Err(error) => return not_parsed(&error, &args),
        },
    };
    let Cli { connection, command } = cli;
    match command {
        Command::GetAvailableTemplates(input) => verbs::get_available_templates(&connection, world, &input),
        Command::RequestMachines(input) => verbs::change::<RequestMachines>(&connection, world, &input),
        Command::GetRequestStatus(input) => verbs::ask::<GetRequestStatus>(&connection, world, &input),
        Command::RequestReturnMachines(input) => verbs::change::<RequestReturnMachines>(&connection, world, &input),
        Command::GetReturnRequests(input) => verbs::ask::<GetReturnRequests>(&connection, world, &input),
        Command::Query(query) => views::run(&connection, world, &query),
    }
}

/// Writes to stdout. A reader that went away has all it wanted.
pub(crate) fn print(text: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Writes to stderr for people; there is nobody left to tell when that fails.
pub(crate) fn complain(text: &str) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// Help and version are answers; for a HostFactory verb every other outcome is a JSON document.
fn not_parsed(error: &clap::Error, args: &[OsString]) -> Exit {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return match print(error.render().to_string().as_bytes()) {
            Ok(()) => Exit::Done,
            Err(_) => Exit::Internal,
        };
    }
    let text = error.render().to_string();
    if args::names_a_verb(args) {
        return verbs::usage_failure(&text);
    }
    complain(text.trim_end());
    Exit::Usage
}
