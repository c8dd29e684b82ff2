//! Puts the parts together, watches over them, and takes them down in order.
//!
//! Stop, clean: no new calls, calls under way are answered, the engine commits what it decided, the journal is closed.
//! Stop, unclean: the unexpected end of any part ends the process, and the journal decides at the next start.

use std::{
    fmt::Write as _,
    future::Future,
    process::ExitCode,
    sync::{Arc, Mutex},
    time::Instant,
};

use hfd_core::{ledger::Ledger, policy::Policy};
use thiserror::Error;
use tokio::{
    net::UnixListener,
    sync::{Notify, mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    cache::PodCache,
    clock,
    config::{Config, Surroundings},
    crash_point,
    engine::{Engine, EngineError, EngineHandle, Parts},
    journal::{self, CommitError, Journal, JournalStatus, OpenError},
    kube::{Access, Calls, ClientSettings, Link, PodWatch, WatchSettings},
    published::Published,
    rpc::{self, Service, Settings},
    state_dir::{StateDir, StateDirError},
    systemd::Notifier,
    templates::{self, Source, TemplateSet, Told},
    watchdog::watchdog,
};

/// Messages from the watch that may wait for the engine, 256 pods each.
const SEEN_DEPTH: usize = 64;

/// What a start may be told beside its configuration.
#[derive(Debug)]
pub struct RunOptions {
    /// Adopt pods of ours that an empty journal finds, without an operator's command.
    pub rebuild_permitted: bool,
    /// The service manager.
    pub notifier: Notifier,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self { rebuild_permitted: false, notifier: Notifier::new(&Surroundings::default()) }
    }
}

/// Why hfd did not start, or stopped before it was told to.
#[derive(Debug, Error)]
pub enum RunError {
    /// The state directory.
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    /// The journal was not opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The engine ended.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Another part ended.
    #[error("the {0} ended unexpectedly")]
    PartEnded(&'static str),
    /// Two methods of the interface have one name.
    #[error("the interface")]
    Interface(#[from] jsonrpsee::core::RegisterMethodError),
}

impl RunError {
    /// The process's exit status, by sysexits(3).
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::StateDir(StateDirError::InUse { .. }) | Self::Open(OpenError::InUse { .. }) => 75, // EX_TEMPFAIL
            Self::StateDir(StateDirError::NotOurs { .. }) => 77,                                     // EX_NOPERM
            Self::StateDir(_) => 73,                                                                 // EX_CANTCREAT
            Self::Open(OpenError::Io { .. } | OpenError::Sqlite { .. }) => 74,                       // EX_IOERR
            Self::Open(_) => 78, // EX_CONFIG: an operator has to decide
            Self::Engine(EngineError::Journal(_)) => 74,
            Self::Engine(_) | Self::PartEnded(_) | Self::Interface(_) => 70, // EX_SOFTWARE
        })
    }

    /// The error with its causes, on one line.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let _infallible = write!(text, ": {error}");
            cause = error.source();
        }
        text
    }
}

/// Serves one provider instance until `shutdown`.
///
/// # Errors
/// [`RunError`] when it cannot start, or has to stop by itself.
pub async fn run(
    config: Config,
    listener: UnixListener,
    access: Access,
    options: RunOptions,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    let started = Instant::now();
    let state_dir = StateDir::open(&config.state_dir)?;
    let journal_options = journal::Options {
        reserve_bytes: u64::from(config.journal.reserve.0),
        allow_network_file_system: config.journal.allow_network_fs,
        ..journal::Options::default()
    };
    let (journal, restored, manifests) = Journal::open(&state_dir.journal(), &journal_options)?;
    let journal = Arc::new(journal);
    info!(
        version = env!("CARGO_PKG_VERSION"),
        instance = config.instance,
        journal = %restored.meta.id,
        requests = restored.requests.len(),
        returns = restored.returns.len(),
        took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        "journal read"
    );

    let calls = Arc::new(Calls::default());
    let (link, keeper) = Link::new(client_settings(&config, access, calls.clone()));
    let cache = Arc::new(PodCache::new());
    let published = Arc::new(Published::new(started));
    let relist = Arc::new(Notify::new());
    let (seen_tx, seen) = mpsc::channel(SEEN_DEPTH);
    let (handle, commands) = EngineHandle::new(config.limits.inbox as usize);
    let journal_id = restored.meta.id.to_string();
    let policy = policy(&config, options.rebuild_permitted);
    let watch_settings = WatchSettings {
        page_size: config.kube.page_size,
        watch_timeout: config.kube.watch_timeout,
        fresh_within: config.kube.fresh_within,
    };
    let pod_watch = PodWatch::new(link.clone(), cache.clone(), seen_tx, relist.clone(), watch_settings);
    let engine = Engine::new(Parts {
        ledger: Ledger::new(restored, policy, clock::now(started)),
        manifests,
        journal: journal.clone(),
        cache: cache.clone(),
        published: published.clone(),
        link: link.clone(),
        relist,
        seen,
        commands,
        instance: config.instance.clone(),
        started,
        concurrency: config.kube.concurrency as usize,
    });
    let source =
        Source { candidates: config.template_files(), allow_host_network: config.templates.allow_host_network };
    let (templates_tx, templates) = watch::channel(Arc::new(first_templates(&source)));
    let service = Arc::new(Service {
        engine: handle.clone(),
        published,
        templates,
        cache,
        journal: journal.clone(),
        journal_id,
        link,
        calls,
        settings: settings(&config),
        started,
        told_templates: Mutex::new(Told::default()),
    });
    let module = rpc::module(service.clone())?;

    let mut parts = Supervisor::new();
    let (stop_calls, stop_rest) = (CancellationToken::new(), CancellationToken::new());
    parts.spawn("client keeper", unfailing(keeper.run(stop_rest.clone())));
    parts.spawn("pod watch", unfailing(pod_watch.run(stop_rest.clone())));
    parts.spawn("template watch", unfailing(templates::watch::watch(source, templates_tx, stop_rest.clone())));
    let engine_stop = stop_rest.clone();
    parts.spawn("engine", async move { engine.run(engine_stop).await.map_err(RunError::from) });
    let rpc_stop = stop_calls.clone();
    let rpc_settings = service.settings.clone();
    parts.spawn("RPC server", async move {
        rpc::serve(listener, module, &rpc_settings, rpc_stop).await;
        Ok(())
    });
    options.notifier.ready("serving; the cluster is being listed");
    info!(socket = %config.socket.display(), "serving");

    let ended = tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        ended = parts.next_end() => ended,
        () = journal.stopped() => Err(end_of(&journal.status())),
        () = watchdog(&options.notifier, &handle, &journal) => Err(RunError::PartEnded("watchdog")),
    };
    options.notifier.stopping("stopping");
    if let Err(error) = &ended {
        error!(error = error.chain(), "stopping");
    }
    // First the callers, who need the engine for their answers, then the rest.
    stop_calls.cancel();
    let calls_ended = parts.wait_for("RPC server").await;
    stop_rest.cancel();
    let rest_ended = parts.wait_for_all().await;
    drop(service);
    drop(handle);
    if let Ok(journal) = Arc::try_unwrap(journal).map_err(|_| warn!("the journal is still in use at the stop")) {
        journal.close().await;
    }
    drop(state_dir);
    info!("stopped");
    cause([ended, calls_ended, rest_ended])
}

/// Why the journal's thread ended by itself: it failed while nobody waited for it, or it is a fault of ours.
fn end_of(journal: &JournalStatus) -> RunError {
    match &journal.last_error {
        Some(why) if !journal.writable => EngineError::Journal(CommitError::Fatal(why.clone())).into(),
        _ => RunError::PartEnded("journal"),
    }
}

/// Why the parts ended: the first failure that says more than that a part ended. When the engine fails, the parts that
/// feed it end as well, and may be noticed first.
fn cause(ends: [Result<(), RunError>; 3]) -> Result<(), RunError> {
    let is_bare =
        |error: &RunError| matches!(error, RunError::PartEnded(_) | RunError::Engine(EngineError::PartEnded(_)));
    let mut errors: Vec<_> = ends.into_iter().filter_map(Result::err).collect();
    match errors.iter().position(|error| !is_bare(error)) {
        Some(cause) => Err(errors.swap_remove(cause)),
        None => errors.into_iter().next().map_or(Ok(()), Err),
    }
}

/// Owns every task; the unexpected end of one is an event, not a loss.
struct Supervisor {
    tasks: JoinSet<(&'static str, Result<(), RunError>)>,
    running: Vec<&'static str>,
}

impl Supervisor {
    fn new() -> Self {
        Self { tasks: JoinSet::new(), running: Vec::new() }
    }

    fn spawn(&mut self, name: &'static str, part: impl Future<Output = Result<(), RunError>> + Send + 'static) {
        self.running.push(name);
        self.tasks.spawn(async move { (name, part.await) });
    }

    /// Waits for any part to end, which none should.
    async fn next_end(&mut self) -> Result<(), RunError> {
        match self.tasks.join_next().await {
            Some(Ok((name, ended))) => {
                self.running.retain(|running| *running != name);
                ended.and(Err(RunError::PartEnded(name)))
            }
            Some(Err(_)) | None => Err(RunError::PartEnded("task")),
        }
    }

    async fn wait_for(&mut self, awaited: &'static str) -> Result<(), RunError> {
        let mut result = Ok(());
        while self.running.contains(&awaited) {
            let Some(ended) = self.tasks.join_next().await else { break };
            result = result.and(self.note(ended));
        }
        result
    }

    async fn wait_for_all(&mut self) -> Result<(), RunError> {
        let mut result = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            result = result.and(self.note(ended));
        }
        result
    }

    fn note(
        &mut self,
        ended: Result<(&'static str, Result<(), RunError>), tokio::task::JoinError>,
    ) -> Result<(), RunError> {
        match ended {
            Ok((name, ended)) => {
                self.running.retain(|running| *running != name);
                ended
            }
            Err(_) => {
                self.running.clear();
                Err(RunError::PartEnded("task"))
            }
        }
    }
}

async fn unfailing(part: impl Future<Output = ()> + Send + 'static) -> Result<(), RunError> {
    part.await;
    Ok(())
}

fn first_templates(source: &Source) -> TemplateSet {
    let set = templates::load(source, None, clock::wall());
    for warning in set.warnings() {
        warn!(warning, "template file");
    }
    info!(usable = set.usable.len(), broken = set.broken.len(), "templates read");
    set
}

fn client_settings(config: &Config, access: Access, calls: Arc<Calls>) -> ClientSettings {
    ClientSettings {
        access,
        namespace: config.kube.namespace.clone(),
        instance: config.instance.clone(),
        call_timeout: config.kube.call_timeout,
        fresh_within: config.kube.fresh_within,
        calls,
    }
}

fn policy(config: &Config, rebuild_permitted: bool) -> Policy {
    Policy {
        concurrency: config.kube.concurrency as usize,
        server_request_timeout: config.kube.server_request_timeout,
        unseen_look_after: config.machines.unseen_look_after,
        crash_loop_after: config.machines.crash_loop_after,
        keep_lost_for: config.machines.keep_lost_for,
        return_deadline: config.returns.deadline,
        told_or_unasked: config.returns.phantom_after,
        never_polled_warn: config.requests.never_polled_warn,
        never_polled_cancel: Some(config.requests.never_polled_cancel).filter(|limit| !limit.is_zero()),
        keep: crash_point::keep(config.retention.keep),
        max_machine_count: config.limits.max_machine_count,
        guard_min: config.reclaim.guard_min as usize,
        guard_fraction: config.reclaim.guard_fraction,
        rebuild_permitted,
    }
}

fn settings(config: &Config) -> Settings {
    Settings {
        instance: config.instance.clone(),
        max_machine_count: config.limits.max_machine_count,
        max_ids_per_call: config.limits.max_ids_per_call as usize,
        max_connections: config.limits.max_connections as usize,
        max_body: config.limits.max_body.0,
        max_reply: config.limits.max_reply.0,
        ready_deadline: config.machines.ready_deadline,
        told_or_unasked: config.returns.phantom_after,
        emit_available_number: config.templates.emit_available_number,
        config_warnings: config.warnings.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_that_ended_by_a_failure_of_its_disk_is_told_as_one() {
        let status = |writable, last_error: Option<&str>| JournalStatus {
            writable,
            last_error: last_error.map(str::to_owned),
            ..JournalStatus::default()
        };
        let fatal = |why| matches!(end_of(&why), RunError::Engine(EngineError::Journal(CommitError::Fatal(_))));
        assert!(fatal(status(false, Some("fsync"))));
        assert!(!fatal(status(true, Some("a full disk, long ago"))));
        assert!(!fatal(status(false, None)));
    }

    #[test]
    fn a_failed_journal_is_the_cause_although_the_end_of_the_pod_watch_was_noticed_first() {
        let journal = || Err(RunError::Engine(EngineError::Journal(CommitError::Fatal("fsync".to_owned()))));
        let watch = || Err(RunError::PartEnded("pod watch"));
        for ends in [[watch(), Ok(()), journal()], [watch(), journal(), Ok(())], [journal(), Ok(()), watch()]] {
            assert!(matches!(cause(ends), Err(RunError::Engine(EngineError::Journal(_)))));
        }
        assert!(matches!(cause([watch(), Ok(()), Ok(())]), Err(RunError::PartEnded("pod watch"))));
        assert!(cause([Ok(()), Ok(()), Ok(())]).is_ok());
    }
}
