//! HostFactory's five verbs: understand, hand over, answer from committed state. No call to the API server, ever.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hfd_core::{
    answer::{self, Committed, Ignorance},
    id::RequestId,
    ledger::{NewRequest, NewReturn, ReturnedMachine, TemplateTerms},
    policy::wall_seconds,
    request::{Caller, Key},
};
use jsonrpsee::Extensions;
use proto_schema::{
    Call as _, admin,
    error::{ErrorCode, RpcError},
    hostfactory::{
        Accepted, AvailableTemplates, GetAvailableTemplates, GetRequestStatus, GetReturnRequests, IdempotencyKey,
        RequestMachines, RequestReturnMachines, RequestState, RequestStatus, RequestStatuses, ReturnRequests, Verb,
    },
    input::{clip, parse_input},
};
use sha2::{Digest, Sha256};

use super::{
    Peer, Service,
    apart::{Apart, Payload},
    refused,
};
use crate::{
    clock,
    templates::{Template, TemplateSet},
};

/// About what a machine takes in the answer of getRequestStatus.
const MACHINE_BYTES: usize = 232;

/// getAvailableTemplates.
pub(super) async fn get_available_templates(
    call: GetAvailableTemplates,
    service: Arc<Service>,
    _: Extensions,
) -> Result<AvailableTemplates, RpcError> {
    parse::<GetAvailableTemplates>(&call)?;
    let set = service.templates.borrow().clone();
    let mut templates = set.available().map_err(|why| {
        let action = "mend the template file; `hfctl get templates` shows it";
        RpcError::new(ErrorCode::UnknownTemplate, why).with_action(action)
    })?;
    if service.settings.emit_available_number {
        add_available_numbers(&mut templates, &set, &service).await?;
    }
    service.note_templates_told(&set);
    let message = format!("{} templates", templates.len());
    Ok(AvailableTemplates { templates, message })
}

async fn add_available_numbers(
    templates: &mut [serde_json::Map<String, serde_json::Value>],
    set: &TemplateSet,
    service: &Service,
) -> Result<(), RpcError> {
    let ids: Vec<_> = set.usable.iter().map(|template| template.id.clone()).collect();
    let counted = service.engine.ask(move |ledger, _| ids.iter().map(|id| ledger.in_use(id)).collect::<Vec<_>>());
    let counted = counted.await.map_err(|refusal| refused(&refusal))?;
    for ((wire, template), in_use) in templates.iter_mut().zip(&set.usable).zip(counted) {
        if let Some(limit) = template.max_number.limit() {
            wire.insert("availableNumber".to_owned(), limit.saturating_sub(in_use).into());
        }
    }
    Ok(())
}

/// requestMachines.
pub(super) async fn request_machines(
    call: RequestMachines,
    service: Arc<Service>,
    extensions: Extensions,
) -> Result<Accepted, RpcError> {
    let demand = parse::<RequestMachines>(&call)?.template;
    let limit = service.settings.max_machine_count;
    let count = u32::try_from(demand.machine_count).ok().filter(|count| *count <= limit).ok_or_else(|| {
        let message = format!("machineCount {} is above the limit of {limit}", demand.machine_count);
        RpcError::new(ErrorCode::LimitExceeded, message).with_action("ask for fewer, or raise limits.max_machine_count")
    })?;
    let set = service.templates.borrow().clone();
    let template = set.find(&demand.template_id).map_err(|why| {
        RpcError::new(ErrorCode::UnknownTemplate, why).with_action("`hfctl get templates` lists the templates")
    })?;
    let template_id = template.id.clone();
    let body = body_hash(RequestMachines::METHOD, [template_id.as_str(), &count.to_string()].into_iter());
    let new = NewRequest {
        id: fresh_id()?,
        template: terms(template, service.settings.ready_deadline),
        count,
        key: call.key.as_ref().map(|key| Key { text: key.as_str().into(), body }),
        caller: caller(&extensions),
    };
    let id =
        service.engine.request_machines(new, deadline(call.deadline)).await.map_err(|refusal| refused(&refusal))?;
    Ok(Accepted { message: format!("{count} machines of {template_id} requested"), request_id: id.to_string() })
}

/// requestReturnMachines.
pub(super) async fn request_return_machines(
    call: RequestReturnMachines,
    service: Arc<Service>,
    extensions: Extensions,
) -> Result<Accepted, RpcError> {
    let machines = parse::<RequestReturnMachines>(&call)?.machines;
    if machines.is_empty() {
        let message = "machines is empty: nothing to return";
        return Err(RpcError::new(ErrorCode::InvalidInput, message).with_action("name at least one machine"));
    }
    check_ids(machines.len(), "machines", &service)?;
    let parts =
        machines.iter().flat_map(|machine| [machine.name.as_str(), machine.machine_id.as_deref().unwrap_or("")]);
    let body = body_hash(RequestReturnMachines::METHOD, parts);
    // A machine that is named twice is returned once.
    let mut named = HashSet::new();
    let machines: Vec<_> = machines
        .into_iter()
        .filter(|machine| named.insert(machine.name.clone()))
        .map(|machine| {
            let given = machine.machine_id.filter(|id| !id.is_empty() && *id != machine.name);
            ReturnedMachine { machine_id: given.map(Into::into), name: machine.name.into() }
        })
        .collect();
    let count = machines.len();
    let key = call.key.as_ref().map(|key: &IdempotencyKey| Key { text: key.as_str().into(), body });
    let new = NewReturn { id: fresh_id()?, machines, key, caller: caller(&extensions) };
    let id = service.engine.return_machines(new, deadline(call.deadline)).await.map_err(|refusal| refused(&refusal))?;
    Ok(Accepted { message: format!("{count} machines returned"), request_id: id.to_string() })
}

/// `admin.returnMachines`: the same by an operator, with force where a node is dead.
pub(super) async fn return_by_hand(
    call: admin::ReturnMachines,
    service: Arc<Service>,
    extensions: Extensions,
) -> Result<admin::MachinesReturned, RpcError> {
    if call.machines.is_empty() {
        return Err(RpcError::new(ErrorCode::InvalidInput, "no machine is named"));
    }
    check_ids(call.machines.len(), "machines", &service)?;
    let count = call.machines.len();
    let returned = |name: String| ReturnedMachine { machine_id: None, name: name.into() };
    let machines = call.machines.into_iter().map(returned).collect();
    let new = NewReturn { id: fresh_id()?, machines, key: None, caller: caller(&extensions) };
    let id = match call.force {
        true => service.engine.force_return(new).await,
        false => service.engine.return_machines(new, None).await,
    };
    let id = id.map_err(|refusal| refused(&refusal))?;
    Ok(admin::MachinesReturned {
        request_id: id.to_string(),
        message: format!("{count} machines are being returned; follow it with `hfctl describe request {id}`"),
        ..admin::MachinesReturned::default()
    })
}

/// getRequestStatus.
pub(super) async fn get_request_status(
    call: GetRequestStatus,
    service: Arc<Service>,
    extensions: Extensions,
) -> Result<Payload<RequestStatuses>, RpcError> {
    let asked = parse::<GetRequestStatus>(&call)?.requests;
    check_ids(asked.len(), "requests", &service)?;
    service.published.note_poll();
    mark_polled(&asked.iter().filter_map(|asked| asked.request_id.parse().ok()).collect::<Vec<_>>(), &service).await?;
    let mut told = Vec::new();
    let requests: Vec<_> = asked.iter().map(|asked| status_of(&asked.request_id, &service, &mut told)).collect();
    if !told.is_empty() {
        service.engine.told(told);
    }
    let machines: usize = requests.iter().map(|request| request.machines.len()).sum();
    Ok(Apart::put(&extensions, RequestStatuses { requests }, machines * MACHINE_BYTES))
}

/// getReturnRequests.
pub(super) async fn get_return_requests(
    call: GetReturnRequests,
    service: Arc<Service>,
    _: Extensions,
) -> Result<ReturnRequests, RpcError> {
    let asked = parse::<GetReturnRequests>(&call)?.machines;
    check_ids(asked.as_ref().map_or(0, Vec::len), "machines", &service)?;
    let health = service.published.health();
    let nothing = |message: &str| ReturnRequests {
        status: RequestState::Complete,
        message: message.to_owned(),
        requests: Vec::new(),
    };
    if health.guarding {
        return Ok(nothing("many machines seem lost at once: nothing is reported until that is confirmed"));
    }
    if !health.sighted {
        return Ok(nothing("the cluster cannot be seen now: nothing is reported (hfctl status)"));
    }
    let names = asked.as_ref().map(|machines| machines.iter().map(|machine| machine.name.as_str()).collect::<Vec<_>>());
    let unasked = wall_seconds(service.settings.told_or_unasked);
    let (requests, unknown) = answer::return_requests(names.as_deref(), &*service.published, unasked, clock::wall());
    let message = match (requests.len(), unknown) {
        (0, 0) => "no machine has to be returned".to_owned(),
        (listed, 0) => format!("{listed} machines have to be returned"),
        (listed, unknown) => format!("{listed} machines have to be returned; {unknown} names were not issued here"),
    };
    Ok(ReturnRequests { status: RequestState::Complete, message, requests })
}

fn status_of(id: &str, service: &Service, told: &mut Vec<RequestId>) -> RequestStatus {
    let published = &*service.published;
    let parsed = id.parse::<RequestId>().ok();
    if let Some(request) = parsed.and_then(|id| published.request(id)) {
        return answer::machine_request(&request, clock::wall());
    }
    if let Some(request) = parsed.and_then(|id| published.return_request(id)) {
        if request.ended_at.is_some() && request.told_at.is_none() {
            told.push(request.id);
        }
        return answer::return_request(&request, published, clock::wall());
    }
    let cache = &service.cache;
    let has_pods = |id| cache.has_pod_of(&id);
    let ignorance = Ignorance::about(parsed, published.health().mode, cache.was_listed(), has_pods);
    answer::unknown_request(id, ignorance)
}

/// Makes durable that HostFactory knows these requests, before the first answer about them (`lifecycle.md` 9).
async fn mark_polled(ids: &[RequestId], service: &Service) -> Result<(), RpcError> {
    let unpolled = |id: &&RequestId| service.published.request(**id).is_some_and(|request| !request.polled);
    let first: Vec<_> = ids.iter().filter(unpolled).copied().collect::<HashSet<_>>().into_iter().collect();
    if first.is_empty() {
        return Ok(());
    }
    service.engine.polled(first).await.map_err(|refusal| refused(&refusal))
}

fn terms(template: &Template, default_deadline: Duration) -> TemplateTerms {
    let body = template.manifest.to_string();
    TemplateTerms {
        id: template.id.clone(),
        max: template.max_number.limit(),
        ready_deadline: template.ready_deadline.unwrap_or(default_deadline),
        manifest: Sha256::digest(body.as_bytes()).into(),
        body: body.into(),
    }
}

fn parse<V: Verb>(call: &V) -> Result<V::Input, RpcError> {
    parse_input(call.input().get()).map_err(|error| RpcError::new(ErrorCode::InvalidInput, error.to_string()))
}

fn check_ids(count: usize, what: &str, service: &Service) -> Result<(), RpcError> {
    let limit = service.settings.max_ids_per_call;
    if count <= limit {
        return Ok(());
    }
    let message = format!("{count} entries in {what} are above the limit of {limit}");
    Err(RpcError::new(ErrorCode::LimitExceeded, message).with_action("send fewer, or raise limits.max_ids_per_call"))
}

/// Hash of verb and body, so that a key used for another body is noticed. Parts are length-prefixed: no two bodies
/// run together to the same text.
fn body_hash<'a>(method: &'a str, parts: impl Iterator<Item = &'a str>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in std::iter::once(method).chain(parts) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

fn fresh_id() -> Result<RequestId, RpcError> {
    let mut bits = [0; 10];
    getrandom::fill(&mut bits).map_err(|error| {
        RpcError::new(ErrorCode::Internal, clip(&format!("the system gives no random numbers: {error}")))
    })?;
    Ok(RequestId::from_random(bits))
}

fn caller(extensions: &Extensions) -> Caller {
    extensions.get::<Peer>().map_or_else(Caller::default, |peer| Caller { uid: peer.uid, pid: peer.pid })
}

fn deadline(epoch_ms: Option<u64>) -> Option<SystemTime> {
    epoch_ms.and_then(|ms| UNIX_EPOCH.checked_add(Duration::from_millis(ms)))
}
