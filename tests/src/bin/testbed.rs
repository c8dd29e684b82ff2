//! A real Kubernetes on loopback, for a person or for one command.
//!
//! ```text
//! cargo run -p tests --bin testbed -- up --nodes 100         until Ctrl-C; prints the KUBECONFIG line
//! cargo run -p tests --bin testbed -- run -- COMMAND...      for one command; its exit status is ours
//! cargo run -p tests --bin testbed -- run --provider -- COMMAND...   the same with an installed hfd
//! cargo run -p tests --bin testbed -- build                  only builds the programs
//! ```
//!
//! Exit status: that of COMMAND, or 130 when it was interrupted; 0 of `up` after Ctrl-C or SIGTERM; 1 when the testbed does not come up or breaks; 2 for wrong
//! usage.

use std::{
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};
use tests::testbed::{
    Options, Provider, Testbed,
    facts::VARIABLE,
    programs::{self, Module},
};

/// Time between two looks at the testbed's own processes.
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[derive(Debug, Parser)]
#[command(about = "A real Kubernetes on loopback, with nodes played by KWOK", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Starts one and keeps it until Ctrl-C
    Up(Wanted),
    /// Starts one, runs a command on it, and ends both
    Run {
        #[command(flatten)]
        wanted: Wanted,
        /// Keep the logs when the command fails
        #[arg(long)]
        keep_logs: bool,
        /// The command; it finds the testbed by HFD_TESTBED and KUBECONFIG
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Builds the programs that it needs, and starts nothing
    Build {
        /// Also what the real node needs
        #[arg(long)]
        real_node: bool,
    },
}

#[derive(Debug, Args)]
struct Wanted {
    /// Nodes that KWOK plays
    #[arg(long, default_value_t = 4)]
    nodes: u32,
    /// Room for pods on each
    #[arg(long, default_value_t = 110)]
    pods_per_node: u32,
    /// Also a real node with kubelet and containerd (root only)
    #[arg(long)]
    real_node: bool,
    /// Seconds that a node may be silent before it counts as lost with its pods. KWOK is silent for long on a machine
    /// that thousands of pods keep busy, and it says only once that a pod is ready
    #[arg(long)]
    node_grace: Option<u32>,
    /// Also an installed provider: a running hfd with a namespace and the nodes to itself
    #[arg(long)]
    provider: bool,
    /// A further argument of kube-apiserver, e.g. --api-server=--max-requests-inflight=50
    #[arg(long = "api-server", value_name = "ARGUMENT", allow_hyphen_values = true)]
    api_server: Vec<String>,
}

impl Wanted {
    fn options(&self) -> Options {
        Options {
            nodes: if self.provider { 0 } else { self.nodes },
            pods_per_node: self.pods_per_node,
            real_node: self.real_node,
            node_grace: self.node_grace,
            api_server: self.api_server.clone(),
            ..Options::default()
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.action {
        Action::Up(wanted) => up(wanted),
        Action::Run { wanted, keep_logs, command } => run(wanted, *keep_logs, command),
        Action::Build { real_node } => build(*real_node),
    };
    done.unwrap_or_else(|error| {
        eprintln!("testbed: {error:#}");
        ExitCode::FAILURE
    })
}

fn build(real_node: bool) -> Result<ExitCode> {
    for module in [Module::Etcd, Module::ControlPlane, Module::Kwok] {
        programs::directory(module)?;
    }
    if real_node {
        programs::directory(Module::Node)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn up(wanted: &Wanted) -> Result<ExitCode> {
    let ended = signals()?;
    let mut scene = Scene::start(wanted)?;
    for (key, value) in scene.environment() {
        println!("export {key}='{value}'");
    }
    eprintln!("testbed: it runs until Ctrl-C; logs in {}", scene.testbed.facts().logs.display());
    loop {
        match ended.recv_timeout(LOOK_EVERY) {
            Err(RecvTimeoutError::Timeout) => scene.check()?,
            Ok(_) | Err(RecvTimeoutError::Disconnected) => return Ok(ExitCode::SUCCESS),
        }
    }
}

fn run(wanted: &Wanted, keep_logs: bool, command: &[String]) -> Result<ExitCode> {
    let ended = signals()?;
    let mut scene = Scene::start(wanted)?;
    let (program, arguments) = command.split_first().context("no command")?;
    let mut child = Command::new(program)
        .args(arguments)
        .envs(scene.environment())
        // A group of its own, so that all that it starts can be ended with it.
        .process_group(0)
        .spawn()
        .with_context(|| format!("start {program}"))?;
    let code = loop {
        if let Some(status) = child.try_wait()? {
            break status.code().unwrap_or(1);
        }
        let interrupted = !matches!(ended.recv_timeout(LOOK_EVERY), Err(RecvTimeoutError::Timeout));
        let broken = scene.check().err();
        if interrupted || broken.is_some() {
            // The command was interrupted with us, or is about to fail for want of a cluster: no reason to wait.
            if let Err(error) = kill_process_group(Pid::from_child(&child), Signal::KILL) {
                eprintln!("testbed: the command can't be ended: {error}");
            }
            child.wait()?;
            broken.map_or(Ok(()), Err)?;
            break 130;
        }
    };
    if code != 0 {
        if let Some(provider) = &scene.provider {
            eprintln!("--- hfd:\n{}", provider.log_tail(80));
        }
        if keep_logs {
            scene.testbed.keep_logs();
        }
    }
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// A testbed, and the provider on it if one is wanted. The fields end in the order written.
struct Scene {
    provider: Option<Provider>,
    testbed: Testbed,
}

impl Scene {
    fn start(wanted: &Wanted) -> Result<Self> {
        let begun = Instant::now();
        let testbed = Testbed::start(wanted.options())?;
        let start = || Provider::start(testbed.facts(), testbed.directory(), wanted.nodes, wanted.pods_per_node);
        let provider = if wanted.provider { Some(start()?) } else { None };
        eprintln!("testbed: up in {:.1} s on {}", begun.elapsed().as_secs_f32(), testbed.facts().server);
        Ok(Self { provider, testbed })
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let mut all = vec![
            ("KUBECONFIG", self.testbed.facts().admin_kubeconfig.display().to_string()),
            (VARIABLE, self.testbed.directory().display().to_string()),
        ];
        all.extend(self.provider.iter().flat_map(Provider::environment));
        all
    }

    fn check(&mut self) -> Result<()> {
        self.testbed.check().inspect_err(|_| self.testbed.keep_logs())?;
        self.provider.as_mut().map_or(Ok(()), Provider::check)
    }
}

/// A message for the first signal that asks for the end.
fn signals() -> Result<mpsc::Receiver<i32>> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("listen for signals")?;
    let (ended_tx, ended_rx) = mpsc::channel();
    thread::spawn(move || signals.forever().try_for_each(|signal| ended_tx.send(signal)));
    Ok(ended_rx)
}
