//! The one-screen status: is it well, what is wrong, what to do.

use std::{collections::BTreeMap, sync::Arc, sync::PoisonError};

use hfd_core::{
    id::RequestId,
    ledger::{Binding, Counts, Mode},
};
use proto_schema::{
    ApiVersion,
    error::RpcError,
    query::{
        GetStatus, JournalStatus, KubeStatus, MachineCounts, PodCounts, QueueCounts, RequestCounts, ReturnCounts,
        ServingState, Severity, Status, TemplateCounts, Warning,
    },
};

use super::{Service, refused};
use crate::published::Health;

/// What the ledger says for the status.
struct Ledgered {
    counts: Counts,
    never_polled: Vec<(RequestId, std::time::Duration)>,
    rebuilding: bool,
    namespace_hidden: bool,
    /// Machines whose loss waits for an answer about the namespace, and why there is none.
    unanswered_losses: Option<(usize, String)>,
}

/// `query.status`.
pub(super) async fn status(_: GetStatus, service: Arc<Service>) -> Result<Status, RpcError> {
    let ledgered = service.engine.ask(|ledger, _| Ledgered {
        counts: ledger.counts(),
        never_polled: ledger.never_polled(),
        rebuilding: ledger.is_rebuilding(),
        namespace_hidden: ledger.is_namespace_hidden(),
        unanswered_losses: ledger.unanswered_losses().map(|(count, why)| (count, why.to_owned())),
    });
    let ledgered = ledgered.await.map_err(|refusal| refused(&refusal))?;
    let health = service.published.health();
    let templates = service.templates.borrow().clone();
    let journal = service.journal.status();
    let counts = ledgered.counts;
    let warnings = warnings(&service, &health, &ledgered);
    let state = serving_state(&health);
    Ok(Status {
        api_version: ApiVersion::V1,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        instance: service.settings.instance.clone(),
        pid: std::process::id(),
        uptime_seconds: service.started.elapsed().as_secs(),
        ready: state == ServingState::Serving,
        state,
        kube: kube_status(&service, &health),
        journal: JournalStatus {
            path: journal.path.display().to_string(),
            bytes: journal.database_bytes + journal.log_bytes,
            id: service.journal_id.clone(),
            writable: journal.writable,
            error: journal.last_error.filter(|_| !journal.writable),
        },
        templates: TemplateCounts { usable: templates.usable.len() as u64, broken: templates.broken.len() as u64 },
        requests: RequestCounts { open: counts.open_requests as u64, terminal: counts.terminal_requests as u64 },
        returns: ReturnCounts { open: counts.open_returns as u64, ended: counts.ended_returns as u64 },
        machines: MachineCounts {
            wanted: counts.wanted as u64,
            creating: counts.creating as u64,
            pending: counts.pending as u64,
            ready: counts.ready as u64,
            failed: counts.failed as u64,
            lost: counts.lost as u64,
            returning: counts.returning as u64,
        },
        pods: PodCounts { cached: service.cache.len() as u64, orphans: counts.orphans as u64 },
        queues: QueueCounts {
            create: counts.create_queue as u64,
            delete: counts.return_queue as u64,
            in_flight: counts.in_flight as u64,
            limit: counts.limit as u64,
            most: counts.most as u64,
        },
        api_calls: api_calls(&service),
        warnings,
    })
}

fn serving_state(health: &Health) -> ServingState {
    match (health.mode, health.binding) {
        _ if health.disk_full => ServingState::Blocked,
        (Mode::RebuildPending, _) | (_, Binding::Foreign(_)) => ServingState::Blocked,
        (Mode::FirstStart, _) | (_, Binding::Unknown) => ServingState::Starting,
        _ if health.sighted => ServingState::Serving,
        _ => ServingState::Degraded,
    }
}

fn kube_status(service: &Service, health: &Health) -> KubeStatus {
    let cluster = service.link.current();
    let beat = cluster.as_ref().and_then(|cluster| cluster.heartbeat.last_beat());
    KubeStatus {
        namespace: cluster.as_ref().map(|cluster| cluster.namespace.clone()).unwrap_or_default(),
        context: cluster.as_ref().and_then(|cluster| cluster.context.clone()),
        server: cluster.as_ref().map(|cluster| cluster.server.clone()),
        // Where the journal is not empty, hfd has a mode and the namespace's answer before it has a list.
        synced: service.cache.was_listed() && health.mode != Mode::FirstStart && health.binding != Binding::Unknown,
        fresh: health.sighted,
        last_heard_seconds: beat.map(|beat| beat.elapsed().as_secs()),
        error: service.trouble(),
    }
}

fn api_calls(service: &Service) -> BTreeMap<String, u64> {
    let read = service.calls.read();
    read.iter().filter(|(_, count)| *count > 0).map(|(verb, count)| (verb.as_str().to_owned(), *count)).collect()
}

/// Every warning, the gravest first. Codes are stable words.
fn warnings(service: &Service, health: &Health, ledgered: &Ledgered) -> Vec<Warning> {
    let mut found = Found::default();
    view_warnings(&mut found, service, health, ledgered);
    let journal = service.journal.status();
    if health.disk_full {
        let why = journal.last_error.unwrap_or_default();
        let action = "free space on the disk of the state directory; hfd goes on by itself";
        found.error("disk_full", format!("the journal cannot be written ({why}): new requests are refused"), action);
    } else if journal.reserve_bytes == 0 {
        let action = "free space on the disk of the state directory";
        found.warning("reserve_given_up", "the disk reserve for returns was given up".to_owned(), action);
    }
    for (id, unpolled) in &ledgered.never_polled {
        let minutes = unpolled.as_secs() / 60;
        let message = format!("nobody asked for request {id} for {minutes} min while others were polled");
        found.warning("never_polled", message, "it is cancelled after requests.never_polled_cancel");
    }
    let templates = service.templates.borrow().clone();
    for message in templates.warnings() {
        found.warning("template", message, "`hfctl get templates` shows every template");
    }
    let told = service.told_templates.lock().unwrap_or_else(PoisonError::into_inner).warnings(&templates);
    for message in told {
        let action = "tell HostFactory by its REST interface, or restart it";
        found.warning("templates_changed", message, action);
    }
    for message in &service.settings.config_warnings {
        found.warning("config", message.clone(), "correct the configuration");
    }
    found.0.sort_by_key(|warning| warning.severity);
    found.0
}

fn view_warnings(found: &mut Found, service: &Service, health: &Health, ledgered: &Ledgered) {
    if health.mode == Mode::RebuildPending {
        let (message, action) = if ledgered.rebuilding {
            ("a rebuild from the cluster is under way", "wait; it starts after the API server's request time-out")
        } else {
            ("the journal is empty but pods of this provider run", "run `hfd rebuild --from-cluster`")
        };
        found.error("rebuild_pending", message.to_owned(), action);
    }
    if let Some(why) = health.binding.refusal() {
        found.error("foreign_namespace", why, "nothing is created or judged until then");
    }
    if let Some(why) = service.trouble() {
        let action = "check kubeconfig, network and API server; hfd goes on by itself";
        found.error("cluster_unreachable", why, action);
    } else if !health.sighted && matches!(health.binding, Binding::Ours) && health.mode == Mode::Serving {
        let message = "the view of the cluster is not fresh: no verdicts, no deadlines".to_owned();
        found.warning("view_stale", message, "wait; if it stays, check network and API server");
    }
    if ledgered.namespace_hidden {
        let message = "reading the namespace's own object is not permitted: another cluster behind the same address, or \
                       a namespace that was deleted and made again, is not noticed";
        found.warning("namespace_unseen", message.to_owned(), "apply scripts/rbac/hfd-cluster.yaml");
    }
    if let Some((count, why)) = &ledgered.unanswered_losses {
        let message = format!(
            "{count} machines are gone or going, and whether the namespace is still ours was not answered: {why}"
        );
        found.warning("losses_wait", message, "check the API server; nothing is told of them before");
    }
    if health.guarding {
        let message = "many machines seem lost at once: asking the API server before it is told".to_owned();
        found.warning("mass_loss", message, "check the cluster's nodes");
    }
    let counts = ledgered.counts;
    if counts.foreign_writers > 0 {
        let message = format!(
            "{} pods of this provider carry another journal's id: a second hfd writes, or the journal is an old backup",
            counts.foreign_writers
        );
        found.error("second_writer", message, "stop the other hfd, or run `hfd rebuild --from-cluster`");
    }
    if counts.orphans > 0 {
        let message = format!("{} pods of this provider belong to no known request", counts.orphans);
        found.warning("orphans", message, "`hfd rebuild --from-cluster` adopts them; kubectl delete removes them");
    }
    let strays = service.cache.strays();
    if let Some(first) = strays.first() {
        let message = format!("{} pods bear our labels but not our names, such as {first}", strays.len());
        found.warning("strays", message, "remove the labels or the pods");
    }
}

#[derive(Default)]
struct Found(Vec<Warning>);

impl Found {
    fn error(&mut self, code: &str, message: String, action: &str) {
        self.0.push(Warning { code: code.into(), severity: Severity::Error, message, action: action.into() });
    }

    fn warning(&mut self, code: &str, message: String, action: &str) {
        self.0.push(Warning { code: code.into(), severity: Severity::Warning, message, action: action.into() });
    }
}
