//! `hfd sandbox`: the ordinary daemon on a simulated cluster, in one process, without anything installed.
//!
//! ```text
//!   COMMAND, or another terminal              this process
//!   scripts/*.sh ──> hfctl ──(hfd.sock)──> daemon ──(HTTP, loopback)──> simulated cluster (crate hfd-sandbox)
//!                    kubectl ──────────────────────────(kubeconfig)──────────^
//! ```
//!
//! Owns the command line of `hfd sandbox`, the directory in which a sandbox lives (`places`), the provider tree that
//! the binary carries (`tree`) and the tour. It must never give the daemon what a real surrounding could not: the
//! daemon does not know that it is in a sandbox.
//!
//! Exit codes: those of `hfd` (sysexits), 69 when `hfctl` is missing, 1 when the tour saw something that must not be;
//! with COMMAND, the command's own, 128+n when a signal ended it, 126 and 127 when it could not be started.

mod alone;
mod args;
mod error;
mod guest;
mod places;
mod signals;
mod stage;
mod tour;
mod tree;

use std::{error::Error, process::ExitCode, time::Duration};

pub use args::SandboxArgs;

use self::{
    args::What,
    error::SandboxError,
    places::Home,
    signals::Signals,
    stage::{Setup, Stage},
};

/// Longest wait for threads that a stopped daemon left behind.
const LINGER: Duration = Duration::from_secs(2);

/// Does what the command line asks for, until it is done or a signal ends it.
#[must_use]
pub fn main(args: SandboxArgs) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(source) => return report(&SandboxError::System { action: "start threads", source }),
    };
    let outcome = runtime.block_on(Box::pin(perform(args)));
    runtime.shutdown_timeout(LINGER);
    outcome.unwrap_or_else(|error| report(&error))
}

async fn perform(args: SandboxArgs) -> Result<ExitCode, SandboxError> {
    let signals = Signals::listen()?;
    match args.what {
        Some(What::Cluster(args)) => alone::serve(&args, signals).await,
        Some(What::Tour) => tour::give(signals).await,
        None => {
            let home = match &args.state_dir {
                Some(dir) => Home::kept(dir)?,
                None => Home::temporary()?,
            };
            let setup = Setup { cluster: args.cluster.options(), home, template_file: args.template_file };
            guest::host(setup, &args.command, signals).await
        }
    }
}

/// Starts a stage unless a signal comes first.
async fn start(setup: Setup, signals: &mut Signals) -> Result<Result<Stage, ExitCode>, SandboxError> {
    tokio::select! {
        stage = Stage::start(setup) => stage.map(Ok),
        signal = signals.any() => Ok(Err(signal.exit_code())),
    }
}

fn report(error: &SandboxError) -> ExitCode {
    eprintln!("hfd sandbox: {}", with_causes(error));
    error.exit_code()
}

/// An error with all its causes, in one line.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        // many errors repeat their source's text in their own
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
