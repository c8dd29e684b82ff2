//! The simulated cluster with the ordinary daemon on it: started together, ended together.
//!
//! The daemon is the one that `hfd` runs without a subcommand. It gets a configuration made from nothing but these
//! flags, and reaches the cluster over HTTP like any other. It must never be handed anything that a real cluster or a
//! real caller could not give it.

use std::{
    ffi::OsStr,
    future::Future,
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use proto_schema::query::Status;
use tokio::{process::Command, task::JoinSet, time};
use tokio_util::sync::CancellationToken;

use super::{
    error::SandboxError,
    places::{self, Home, INSTANCE, Places},
    tree,
};
use crate::{
    RunError, RunOptions,
    config::{Config, ConfigFlags, Surroundings},
    kube::Access,
    logging, rpc,
};

/// Longest wait for the daemon's first look at the cluster; it takes some 100 ms.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// Pause between two questions whether it is ready.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// Longest wait for one answer of hfctl.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// What to start.
#[derive(Debug)]
pub(super) struct Setup {
    /// The simulated cluster; where it is kept follows from the home.
    pub(super) cluster: hfd_sandbox::Options,
    /// The directory.
    pub(super) home: Home,
    /// Template file instead of the sample.
    pub(super) template_file: Option<PathBuf>,
}

/// Cluster and daemon at work.
#[derive(Debug)]
pub(super) struct Stage {
    /// Where everything is.
    pub(super) places: Places,
    /// The simulated cluster.
    pub(super) cluster: hfd_sandbox::Cluster,
    /// The template file in force.
    pub(super) template_file: PathBuf,
    daemon: JoinSet<Result<(), RunError>>,
    shutdown: CancellationToken,
    // removes a temporary directory, so it goes last
    home: Home,
}

impl Stage {
    /// Starts both, and returns when the daemon accepts requests and trusts what it sees; or after 20 s, for then
    /// `hfctl status` can say more than we.
    pub(super) async fn start(setup: Setup) -> Result<Self, SandboxError> {
        let Setup { cluster, home, template_file } = setup;
        let places = Places::of(home.dir())?;
        let state_file = home.cluster_file();
        if state_file.is_some() {
            home.check_whole()?;
        }
        // First the cluster: its lock tells whether another sandbox uses this directory.
        let cluster = hfd_sandbox::Cluster::start(hfd_sandbox::Options { state_file, ..cluster }).await?;
        for dir in [&places.workdir, &places.logdir] {
            places::make_dir(dir)?;
        }
        tree::write(&places.hostfactory)?;
        places::write(&places.kubeconfig, cluster.kubeconfig().as_bytes(), 0o600)?;
        let template_file = template_file.unwrap_or_else(|| places.confdir.join(tree::TEMPLATES));
        let config = configuration(&places, cluster.namespace(), &template_file)?;
        logging::start(&config.log, &Surroundings::default())
            .map_err(|error| SandboxError::System { action: "log", source: io::Error::other(error) })?;
        let bind = |source| SandboxError::Bind { path: places.socket.clone(), source };
        let listener = rpc::bind(&places.socket).map_err(bind)?;
        let shutdown = CancellationToken::new();
        let mut daemon = JoinSet::new();
        let run = crate::run(config, listener, access(&cluster)?, RunOptions::default(), shutdown.clone());
        daemon.spawn(run);
        let mut stage = Self { places, cluster, template_file, daemon, shutdown, home };
        stage.wait_until_ready().await?;
        stage.home.is_whole()?;
        Ok(stage)
    }

    /// Waits for an end of the daemon that nobody asked for. Its log is kept.
    pub(super) async fn daemon_ended(&mut self) -> SandboxError {
        let log = self.places.log();
        let ended = self.daemon.join_next().await;
        self.home.keep();
        match ended {
            Some(Ok(Err(source))) => SandboxError::Daemon { log, source: Box::new(source) },
            _ => SandboxError::DaemonEnded { log },
        }
    }

    /// Stops the daemon as SIGTERM would, then the cluster.
    pub(super) async fn stop(mut self) -> Result<(), SandboxError> {
        self.shutdown.cancel();
        let log = self.places.log();
        let ended = match self.daemon.join_next().await {
            Some(Ok(Err(source))) => Err(SandboxError::Daemon { log, source: Box::new(source) }),
            Some(Err(_)) => Err(SandboxError::DaemonEnded { log }),
            _ => Ok(()),
        };
        if ended.is_err() {
            self.home.keep();
        }
        self.cluster.stop().await;
        // Neither leads anywhere any more.
        for path in [&self.places.socket, &self.places.kubeconfig] {
            if let Err(error) = std::fs::remove_file(path) {
                tracing::warn!(path = %path.display(), %error, "cannot remove");
            }
        }
        ended
    }

    /// A command with the environment of HostFactory's scripts.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.envs(self.places.environment());
        command
    }

    async fn wait_until_ready(&mut self) -> Result<(), SandboxError> {
        let until = time::Instant::now() + READY_WITHIN;
        while time::Instant::now() < until {
            let answer = self.ask();
            let is_ready = tokio::select! {
                is_ready = answer => is_ready?,
                error = self.daemon_ended() => return Err(error),
            };
            if is_ready {
                return Ok(());
            }
            time::sleep(ASK_EVERY).await;
        }
        Ok(())
    }

    /// Asks the daemon whether it is ready, as an operator would.
    fn ask(&self) -> impl Future<Output = Result<bool, SandboxError>> + use<> {
        let mut command = self.command(&self.places.hfctl);
        command.args(["status", "-o", "json"]).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let program = self.places.hfctl.clone();
        async move {
            match time::timeout(ANSWER_WITHIN, command.output()).await {
                Ok(Ok(output)) => Ok(serde_json::from_slice::<Status>(&output.stdout).is_ok_and(|status| status.ready)),
                Ok(Err(source)) => Err(SandboxError::Command { program: program.into(), source }),
                Err(_) => Ok(false),
            }
        }
    }
}

fn configuration(places: &Places, namespace: &str, template_file: &Path) -> Result<Config, SandboxError> {
    let flags = ConfigFlags {
        instance: Some(INSTANCE.to_owned()),
        socket: Some(places.socket.clone()),
        state_dir: Some(places.dir.clone()),
        namespace: Some(namespace.to_owned()),
        template_file: Some(template_file.to_owned()),
        set: vec![
            format!("confdir={}", places.confdir.display()),
            format!("log.file={}", places.log().display()),
            "log.format=text".to_owned(),
        ],
        ..ConfigFlags::default()
    };
    Ok(Config::load(&flags, &Surroundings::default())?)
}

/// The cluster as a kubeconfig would describe it, without the proxies that the environment may name.
fn access(cluster: &hfd_sandbox::Cluster) -> Result<Access, SandboxError> {
    let url = cluster.url().parse().map_err(|error| SandboxError::System {
        action: "use the simulated cluster's address",
        source: io::Error::other(error),
    })?;
    let mut config = ::kube::Config::new(url);
    config.default_namespace = cluster.namespace().to_owned();
    config.auth_info.token = Some(cluster.token().to_owned().into());
    Ok(Access::Given(Box::new(config)))
}
