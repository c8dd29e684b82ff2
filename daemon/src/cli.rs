//! The command line: parse, configure, run, exit status.

use std::{
    io,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::{Parser, Subcommand};
use hfctl::{exit::Exit, transport::Client};
use hfd::{
    RunOptions,
    config::{Config, ConfigFlags, Surroundings},
    kube::Access,
    logging, rpc,
    sandbox::{self, SandboxArgs},
    systemd::{self, Notifier},
};
use proto_schema::admin::{AcceptNamespace, Rebuild};
use tokio::{
    net::UnixListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Wrong configuration.
const EX_CONFIG: u8 = 78;
/// Wrong usage.
const EX_USAGE: u8 = 64;
/// The operating system refused something basic.
const EX_OSERR: u8 = 71;
/// Somebody else has it; later may do.
const EX_TEMPFAIL: u8 = 75;

/// Longest wait at the end for what blocks a thread.
const LINGER: Duration = Duration::from_secs(2);
/// How long an operator's command waits beyond what the daemon itself has to wait for.
const OPERATOR_WAITS: Duration = Duration::from_secs(120);

#[derive(Parser)]
#[command(name = "hfd", version, about = "IBM Spectrum Symphony HostFactory provider for Kubernetes")]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    flags: ConfigFlags,
    /// Adopt pods of this provider that an empty journal finds, instead of waiting for `hfd rebuild`
    #[arg(long)]
    rebuild_from_cluster: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Check the configuration and say where each value comes from
    CheckConfig(ConfigFlags),
    /// Try hfd out on a simulated cluster; no Kubernetes is needed
    Sandbox(SandboxArgs),
    /// Let the running daemon adopt pods of this provider whose requests it does not know
    Rebuild {
        /// Adopt from what the cluster shows now (the only source there is)
        #[arg(long, required = true)]
        from_cluster: bool,
        #[command(flatten)]
        flags: ConfigFlags,
    },
    /// Let the running daemon accept its namespace after that was deleted and made again
    AcceptNamespace {
        /// Only if the namespace has this UID
        #[arg(long)]
        uid: Option<String>,
        #[command(flatten)]
        flags: ConfigFlags,
    },
}

/// Parses the command line and does what it says.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let asked_for = !error.use_stderr();
            // A closed stdout or stderr leaves nobody to tell.
            let _told = error.print();
            return if asked_for { ExitCode::SUCCESS } else { ExitCode::from(EX_USAGE) };
        }
    };
    let surroundings = Surroundings::of_process();
    #[cfg(debug_assertions)]
    if let Err(problem) = hfd::crash_point::arm(|name| surroundings.variables.get(name).cloned()) {
        eprintln!("hfd: {problem}");
        return ExitCode::from(EX_USAGE);
    }
    match cli.command {
        None => serve(&cli.flags, cli.rebuild_from_cluster, &surroundings),
        Some(Command::CheckConfig(flags)) => check_config(&flags, &surroundings),
        Some(Command::Sandbox(args)) => sandbox::main(args),
        Some(Command::Rebuild { from_cluster: _, flags }) => {
            let said = call(&flags, &surroundings, &Rebuild {}, |rebuilt| rebuilt.message);
            said.unwrap_or_else(|code| code)
        }
        Some(Command::AcceptNamespace { uid, flags }) => {
            let said = call(&flags, &surroundings, &AcceptNamespace { uid }, |accepted| accepted.message);
            said.unwrap_or_else(|code| code)
        }
    }
}

fn serve(flags: &ConfigFlags, rebuild_permitted: bool, surroundings: &Surroundings) -> ExitCode {
    // Before any thread is started: taking the socket over changes the environment.
    let activated = match systemd::activated_listener() {
        Ok(activated) => activated,
        Err(error) => return fail(EX_CONFIG, &error),
    };
    let config = match Config::load(flags, surroundings) {
        Ok(config) => config,
        Err(error) => return fail(EX_CONFIG, &error),
    };
    if let Err(error) = logging::start(&config.log, surroundings) {
        return fail(EX_CONFIG, &error);
    }
    for warning in &config.warnings {
        warn!(warning, "configuration");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(EX_OSERR, &error),
    };
    let code = runtime.block_on(async {
        let own_socket = activated.is_none();
        let listener = match activated {
            Some(listener) => UnixListener::from_std(listener),
            None => rpc::bind(&config.socket),
        };
        let listener = match listener {
            Ok(listener) => listener,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return fail(EX_TEMPFAIL, &error),
            Err(error) => return fail(EX_CONFIG, &error),
        };
        let socket = config.socket.clone();
        let shutdown = CancellationToken::new();
        let signals = match stop_signals() {
            Ok(signals) => signals,
            Err(error) => return fail(EX_OSERR, &error),
        };
        let access = Access::Kubeconfig { path: config.kube.kubeconfig.clone(), context: config.kube.context.clone() };
        let options = RunOptions { rebuild_permitted, notifier: Notifier::new(surroundings) };
        let mut serving = Box::pin(hfd::run(config, listener, access, options, shutdown.clone()));
        let ended = tokio::select! {
            ended = &mut serving => ended,
            signal = signals => {
                info!(signal, "stopping");
                shutdown.cancel();
                serving.await
            }
        };
        if own_socket {
            remove_socket(&socket);
        }
        match ended {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("hfd: {}", error.chain());
                error.exit_code()
            }
        }
    });
    // A credential plug-in that hangs, or a look at a file on a dead file server, is no reason not to end.
    runtime.shutdown_timeout(LINGER);
    code
}

fn check_config(flags: &ConfigFlags, surroundings: &Surroundings) -> ExitCode {
    match Config::load(flags, surroundings) {
        Ok(config) => {
            for entry in config.entries() {
                println!("{} = {}  # {}", entry.key, entry.value, entry.origin);
            }
            config.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
            ExitCode::SUCCESS
        }
        Err(error) => fail(EX_CONFIG, &error),
    }
}

/// Calls the running daemon of the configured instance. A rebuild waits for the API server's request time-out.
fn call<C: proto_schema::Call>(
    flags: &ConfigFlags,
    surroundings: &Surroundings,
    call: &C,
    say: impl FnOnce(C::Reply) -> String,
) -> Result<ExitCode, ExitCode> {
    let config = Config::load(flags, surroundings).map_err(|error| fail(EX_CONFIG, &error))?;
    let deadline = Instant::now() + config.kube.server_request_timeout + OPERATOR_WAITS;
    match Client::new(config.socket).call(call, deadline) {
        Ok(reply) => {
            println!("{}", say(reply));
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            eprintln!("hfd: {error}");
            Err(Exit::from(&error).into())
        }
    }
}

/// Takes the signals over at once; the future waits for the first and names it.
fn stop_signals() -> io::Result<impl Future<Output = &'static str>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    })
}

fn remove_socket(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        warn!(%error, socket = %path.display(), "the socket could not be removed");
    }
}

fn fail(code: u8, error: &dyn std::error::Error) -> ExitCode {
    let mut text = format!("hfd: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    eprintln!("{text}");
    ExitCode::from(code)
}
