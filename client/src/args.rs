//! The command line.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{World, transport::CallError};

/// Instance that is asked when nobody names one: the provider name of the shipped HostFactory samples.
pub const DEFAULT_INSTANCE: &str = "k8s-hf";

/// Names the socket when the command line doesn't.
pub(crate) const SOCKET_VARIABLE: &str = "HFD_SOCKET";

/// Names the instance when the command line doesn't; HostFactory sets it.
pub(crate) const INSTANCE_VARIABLE: &str = "HF_PROVIDER_NAME";

/// Where the sockets of system daemons are.
const SYSTEM_SOCKET_DIR: &str = "/run/hfd";

/// How long HostFactory's verbs try, well under the 240 s that HostFactory waits.
const VERB_TIMEOUT: Duration = Duration::from_secs(120);

/// How long a person's question is tried.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);

/// The five verbs under both of their names.
pub(crate) const VERBS: [[&str; 2]; 5] = [
    ["get-available-templates", "getAvailableTemplates"],
    ["request-machines", "requestMachines"],
    ["get-request-status", "getRequestStatus"],
    ["request-return-machines", "requestReturnMachines"],
    ["get-return-requests", "getReturnRequests"],
];

/// Options that take their value as the next argument and may stand before the subcommand.
const OPTIONS_WITH_VALUE: [&str; 3] = ["--socket", "--instance", "--timeout"];

/// Asks hfd, the HostFactory provider for Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "hfctl", version, max_term_width = 100)]
pub struct Cli {
    /// How to reach the daemon.
    #[command(flatten)]
    pub connection: Connection,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How to reach the daemon, and how long to try.
#[derive(Debug, Args)]
pub struct Connection {
    /// Socket of the daemon [default: /run/hfd/INSTANCE.sock, or a user's own under $XDG_RUNTIME_DIR]
    #[arg(long, global = true, value_name = "PATH", env = SOCKET_VARIABLE, hide_env_values = true)]
    pub(crate) socket: Option<OsString>,
    /// HostFactory's name of the provider instance
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = INSTANCE_VARIABLE,
        hide_env_values = true,
        default_value = DEFAULT_INSTANCE
    )]
    pub(crate) instance: String,
    /// How long to try [default: 120 for HostFactory's verbs, 10 for questions]
    #[arg(long, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(crate) timeout: Option<u32>,
}

impl Connection {
    /// The daemon's socket: as given, else the instance's own place.
    ///
    /// # Errors
    /// When the instance's name can't be part of a path.
    pub fn socket(&self, world: &World) -> Result<PathBuf, CallError> {
        if let Some(path) = self.socket.as_ref().filter(|path| !path.is_empty()) {
            return Ok(PathBuf::from(path));
        }
        let instance = if self.instance.is_empty() { DEFAULT_INSTANCE } else { &self.instance };
        if instance.contains('/') || instance.contains("..") || instance.chars().any(char::is_control) {
            return Err(CallError::BadSocketPath { instance: instance.to_owned() });
        }
        let file = format!("{instance}.sock");
        if world.uid != 0
            && let Some(dir) = &world.runtime_dir
        {
            let own = dir.join("hfd").join(&file);
            if own.exists() {
                return Ok(own);
            }
        }
        Ok(Path::new(SYSTEM_SOCKET_DIR).join(file))
    }

    /// How long a HostFactory verb tries.
    #[must_use]
    pub fn verb_timeout(&self) -> Duration {
        self.timeout_or(VERB_TIMEOUT)
    }

    /// How long a question is tried.
    #[must_use]
    pub fn query_timeout(&self) -> Duration {
        self.timeout_or(QUERY_TIMEOUT)
    }

    fn timeout_or(&self, default: Duration) -> Duration {
        self.timeout.map_or(default, |seconds| Duration::from_secs(seconds.into()))
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// HostFactory: which machines can be asked for
    #[command(alias = VERBS[0][1])]
    GetAvailableTemplates(Input),
    /// HostFactory: ask for machines
    #[command(alias = VERBS[1][1])]
    RequestMachines(KeyedInput),
    /// HostFactory: how requests and returns stand
    #[command(alias = VERBS[2][1])]
    GetRequestStatus(Input),
    /// HostFactory: give machines back
    #[command(alias = VERBS[3][1])]
    RequestReturnMachines(KeyedInput),
    /// HostFactory: which machines should be given back
    #[command(alias = VERBS[4][1])]
    GetReturnRequests(Input),
    /// What people ask.
    #[command(flatten)]
    Query(Query),
}

/// Where a verb's document comes from.
#[derive(Debug, Args)]
pub struct Input {
    /// The input document; `-` is standard input
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// The same, as older wrappers pass it
    #[arg(value_name = "FILE", conflicts_with = "file")]
    pub(crate) path: Option<PathBuf>,
}

impl Input {
    /// The file named either way.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.file.as_deref().or(self.path.as_deref())
    }
}

/// The input of a verb that changes something.
#[derive(Debug, Args)]
pub struct KeyedInput {
    /// Where the document comes from.
    #[command(flatten)]
    pub input: Input,
    /// Key that makes repeating this very call harmless [default: a fresh random one]
    #[arg(long, value_name = "KEY")]
    pub request_id: Option<String>,
}

/// What people ask.
#[derive(Debug, Subcommand)]
pub enum Query {
    /// Is it well, what is wrong, what to do
    Status {
        /// Exit with 7 when it is not serving well
        #[arg(long)]
        check: bool,
        /// How to print it.
        #[command(flatten)]
        output: OutputArg,
    },
    /// List what the daemon knows
    #[command(subcommand)]
    Get(Get),
    /// All about one request or machine
    #[command(subcommand)]
    Describe(Describe),
    /// Adopt the pods of this provider that the journal does not know
    Rebuild {
        /// Says where from; nothing else is possible
        #[arg(long, required = true)]
        from_cluster: bool,
        /// How to print it.
        #[command(flatten)]
        output: OutputArg,
    },
    /// Give machines back by hand, as HostFactory would
    Return {
        /// Names of machines
        #[arg(value_name = "MACHINE", required = true)]
        machines: Vec<String>,
        /// Delete their pods without grace, those stuck in Terminating too; only for nodes known dead
        #[arg(long)]
        force: bool,
        /// How to print it.
        #[command(flatten)]
        output: OutputArg,
    },
    /// Bind the journal to the namespace as it is now
    AcceptNamespace {
        /// UID that the namespace must have
        #[arg(long)]
        uid: Option<String>,
        /// How to print it.
        #[command(flatten)]
        output: OutputArg,
    },
}

/// What can be listed.
#[derive(Debug, Subcommand)]
pub enum Get {
    /// Machine requests and returns, the newest first
    #[command(alias = "request")]
    Requests {
        /// Only of this kind
        #[arg(long, value_enum)]
        kind: Option<Kind>,
        /// Only of this template
        #[arg(long, value_name = "ID")]
        template: Option<String>,
        /// Only those without a final answer
        #[arg(long)]
        open: bool,
        /// At most so many
        #[arg(long, value_name = "N")]
        limit: Option<u32>,
        /// How to print it.
        #[command(flatten)]
        output: OutputArg,
    },
    /// Machines, those of the newest request first
    #[command(alias = "machine")]
    Machines {
        /// Only of this request or return
        #[arg(long, value_name = "ID")]
        request: Option<String>,
        /// Only of this template
        #[arg(long, value_name = "ID")]
        template: Option<String>,
        /// At most so many
        #[arg(long, value_name = "N")]
        limit: Option<u32>,
        /// How to print it.
        #[command(flatten)]
        output: OutputArg,
    },
    /// Templates in the file's order
    #[command(alias = "template")]
    Templates {
        /// How to print it.
        #[command(flatten)]
        output: OutputArg,
    },
}

/// What can be described.
#[derive(Debug, Subcommand)]
pub enum Describe {
    /// A machine request or a return
    Request {
        /// Its id
        id: String,
        /// How to print it.
        #[command(flatten)]
        output: OutputArg,
    },
    /// A machine
    Machine {
        /// Its name
        #[arg(value_name = "ID")]
        name: String,
        /// How to print it.
        #[command(flatten)]
        output: OutputArg,
    },
}

/// Kinds of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Asks for machines.
    Machine,
    /// Gives machines back.
    Return,
}

/// How to print it.
#[derive(Debug, Clone, Copy, Args)]
pub struct OutputArg {
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// Forms of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For people with a wide terminal: every column, nothing shortened.
    Wide,
    /// For programs: the daemon's reply as it is.
    Json,
    /// For pipes: names only, one a line.
    Name,
}

/// Whether a command line, right or wrong, is one of HostFactory's verbs.
pub(crate) fn names_a_verb(args: &[OsString]) -> bool {
    let mut rest = args.iter().skip(1).map(|arg| arg.to_string_lossy());
    while let Some(arg) = rest.next() {
        if OPTIONS_WITH_VALUE.contains(&arg.as_ref()) {
            rest.next();
        } else if !arg.starts_with('-') {
            return VERBS.iter().flatten().any(|verb| *verb == arg);
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn connection(args: &[&str]) -> Connection {
        let args = ["hfctl"].iter().chain(args).chain(&["status"]);
        Cli::try_parse_from(args).expect("a legal command line").connection
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_socket_that_is_named_is_used() {
        let world = World { runtime_dir: Some("/somewhere".into()), uid: 1000 };
        let named = connection(&["--socket", "/x/y.sock"]).socket(&world).expect("legal");
        assert_eq!(named, Path::new("/x/y.sock"));
    }

    #[test]
    fn an_ordinary_user_reaches_their_own_daemon_first_and_root_never_does() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        std::fs::create_dir(dir.path().join("hfd")).expect("writable");
        let own = dir.path().join("hfd/prod.sock");
        let args = connection(&["--instance", "prod"]);
        let user = World { runtime_dir: Some(dir.path().into()), uid: 1000 };
        assert_eq!(args.socket(&user).expect("legal"), Path::new("/run/hfd/prod.sock"));
        std::fs::write(&own, "").expect("writable");
        assert_eq!(args.socket(&user).expect("legal"), own);
        assert_eq!(args.socket(&World { uid: 0, ..user }).expect("legal"), Path::new("/run/hfd/prod.sock"));
    }

    #[test]
    fn an_instance_name_never_leaves_the_socket_directory() {
        for name in ["../x", "a/b", "..", "a\nb"] {
            let error = connection(&["--instance", name]).socket(&World::default()).expect_err("refused");
            assert!(matches!(error, CallError::BadSocketPath { .. }), "{name}: {error}");
        }
    }

    #[test]
    fn a_verb_is_recognised_in_a_command_line_that_does_not_parse() {
        let is_verb = |args: &[&str]| names_a_verb(&args.iter().map(OsString::from).collect::<Vec<_>>());
        assert!(is_verb(&["hfctl", "getRequestStatus", "--nonsense"]));
        assert!(is_verb(&["hfctl", "--timeout", "x", "--socket=/s", "request-machines"]));
        assert!(!is_verb(&["hfctl", "--socket", "getRequestStatus", "status", "--nonsense"]));
        assert!(!is_verb(&["hfctl"]));
    }
}
