//! JSON-RPC over the Unix socket: who may speak, and what each method means.
//!
//! | file | what it does |
//! |---|---|
//! | `serve.rs` | the socket, the accept loop, time-outs, a clean stop |
//! | `hostfactory.rs` | HostFactory's five verbs |
//! | `apart.rs` | large replies, on their way around jsonrpsee |
//! | `queries.rs` | questions of operators: lists and descriptions |
//! | `status.rs` | the one-screen status with its warnings |
//!
//! A handler understands, hands over, and answers from committed state. It must never touch kube or the journal.

mod apart;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod hostfactory;
mod queries;
mod serve;
mod status;
#[cfg(any(test, feature = "workloads"))]
pub(crate) mod workloads;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use jsonrpsee::{Extensions, RpcModule, core::RegisterMethodError};
use proto_schema::{
    Discover, admin,
    error::{ErrorCode, RpcError},
    hostfactory::GetRequestStatus,
    server::{register, register_as},
};
use tokio::{net::UnixStream, sync::watch};

pub use self::serve::bind;
pub(crate) use self::serve::serve;
use crate::{
    cache::PodCache,
    engine::{EngineHandle, Refusal},
    journal::Journal,
    kube::{Calls, Link},
    published::Published,
    templates::{TemplateSet, Told},
};

/// What the handlers work with.
pub(crate) struct Service {
    pub(crate) engine: EngineHandle,
    pub(crate) published: Arc<Published>,
    pub(crate) templates: watch::Receiver<Arc<TemplateSet>>,
    pub(crate) cache: Arc<PodCache>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) journal_id: String,
    pub(crate) link: Link,
    pub(crate) calls: Arc<Calls>,
    pub(crate) settings: Settings,
    pub(crate) started: Instant,
    /// What HostFactory was told of the templates last. Held for a comparison of a few template ids.
    pub(crate) told_templates: Mutex<Told>,
}

/// What handlers need of the configuration.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) instance: String,
    pub(crate) max_machine_count: u32,
    pub(crate) max_ids_per_call: usize,
    pub(crate) max_connections: usize,
    pub(crate) max_body: u32,
    pub(crate) max_reply: u32,
    pub(crate) ready_deadline: Duration,
    pub(crate) told_or_unasked: Duration,
    pub(crate) emit_available_number: bool,
    pub(crate) config_warnings: Vec<String>,
}

/// Who is at the other end of a connection, by SO_PEERCRED.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) uid: u32,
    pub(crate) pid: i32,
}

impl Peer {
    fn of(stream: &UnixStream) -> Self {
        let credentials = stream.peer_cred().ok();
        Self {
            uid: credentials.as_ref().map_or(u32::MAX, tokio::net::unix::UCred::uid),
            pid: credentials.as_ref().and_then(tokio::net::unix::UCred::pid).unwrap_or(0),
        }
    }
}

impl Service {
    /// Why the cluster cannot be reached.
    fn trouble(&self) -> Option<String> {
        let trouble = self.link.trouble().or_else(|| self.published.watch_trouble());
        trouble.map(|why| why.to_string())
    }

    fn note_templates_told(&self, set: &TemplateSet) {
        self.told_templates.lock().unwrap_or_else(PoisonError::into_inner).tell(set);
    }
}

/// Every method of the interface.
///
/// # Errors
/// When two methods have one name: a fault of the program.
pub(crate) fn module(service: Arc<Service>) -> Result<RpcModule<Service>, RegisterMethodError> {
    let mut module = RpcModule::from_arc(service);
    register(&mut module, hostfactory::get_available_templates)?;
    register(&mut module, hostfactory::request_machines)?;
    register_as::<GetRequestStatus, _, _, _, _>(&mut module, hostfactory::get_request_status)?;
    register(&mut module, hostfactory::request_return_machines)?;
    register(&mut module, hostfactory::get_return_requests)?;
    register(&mut module, |call, service, _| status::status(call, service))?;
    register(&mut module, |call, service, _| queries::list_requests(call, service))?;
    register(&mut module, |call, service, _| queries::list_machines(call, service))?;
    register(&mut module, |call, service, _| queries::list_templates(call, service))?;
    register(&mut module, |call, service, _| queries::describe_request(call, service))?;
    register(&mut module, |call, service, _| queries::describe_machine(call, service))?;
    register(&mut module, |call, service, _| rebuild(call, service))?;
    register(&mut module, |call, service, _| accept_namespace(call, service))?;
    register(&mut module, hostfactory::return_by_hand)?;
    register(&mut module, |_: Discover, _: Arc<Service>, _: Extensions| async { Ok(proto_schema::schema::openrpc()) })?;
    Ok(module)
}

async fn rebuild(_: admin::Rebuild, service: Arc<Service>) -> Result<admin::Rebuilt, RpcError> {
    let rebuilt = service.engine.rebuild().await.map_err(|refusal| refused(&refusal))?;
    Ok(admin::Rebuilt {
        adopted_requests: u64::from(rebuilt.requests),
        adopted_machines: u64::from(rebuilt.machines),
        message: format!("{} requests with {} machines adopted", rebuilt.requests, rebuilt.machines),
        ..admin::Rebuilt::default()
    })
}

async fn accept_namespace(
    call: admin::AcceptNamespace,
    service: Arc<Service>,
) -> Result<admin::NamespaceAccepted, RpcError> {
    use hfd_core::ledger::Binding;

    let seen = match service.published.health().binding {
        Binding::Foreign(uid) => uid.map(|uid| uid.to_string()),
        _ => None,
    };
    if let (Some(wanted), Some(seen)) = (&call.uid, &seen)
        && wanted != seen
    {
        let message = format!("the namespace has UID {seen}, not {wanted}");
        return Err(RpcError::new(ErrorCode::Refused, message));
    }
    let uid = service.engine.accept_namespace().await.map_err(|refusal| refused(&refusal))?;
    Ok(admin::NamespaceAccepted {
        message: format!("the journal belongs to namespace UID {uid} from now on"),
        ..admin::NamespaceAccepted::default()
    })
}

/// The engine's refusals on the wire.
fn refused(refusal: &Refusal) -> RpcError {
    use hfd_core::ledger::Denied;

    let code = match refusal {
        Refusal::Denied(Denied::KeyReused { .. }) => ErrorCode::KeyReused,
        Refusal::Denied(Denied::TooMany { .. }) => ErrorCode::LimitExceeded,
        Refusal::Denied(Denied::NotServing(_)) => ErrorCode::NotReady,
        Refusal::Denied(Denied::DiskFull) => ErrorCode::DiskFull,
        Refusal::Refused(_) => ErrorCode::Refused,
        Refusal::TooLate => ErrorCode::TimedOut,
        Refusal::Busy | Refusal::Stopping => ErrorCode::Busy,
    };
    RpcError::new(code, refusal.to_string())
}
