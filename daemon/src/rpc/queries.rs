//! Questions of operators: lists and descriptions. They show what hfd knows, cause no call and change nothing.

use std::{collections::HashMap, sync::Arc};

use hfd_core::{
    answer,
    id::{MachineName, RequestId},
    ledger::{Ledger, MachineReport},
    machine::{Machine, MachineOutcome, VerdictKind},
    pod::PodRecord,
    request::MachineRequest,
    returns::{ReturnEnd, ReturnRequest},
    view::Ctx,
};
use proto_schema::{
    ApiVersion,
    error::{ErrorCode, RpcError},
    hostfactory::{MachineResult, RequestState},
    query::{
        Caller, DETAIL_MACHINES, DescribeMachine, DescribeRequest, DurableFacts, ListMachines, ListRequests,
        ListTemplates, MachineDetail, MachineList, MachinePhase, MachineSummary, PodFacts, ReasonCount, RequestDetail,
        RequestKind, RequestList, RequestSummary, TemplateList, TemplateSummary,
    },
};

use super::{Service, refused};
use crate::clock;

/// Items in a list when the caller sets no limit.
const DEFAULT_LIMIT: usize = 1000;

/// `query.listRequests`.
pub(super) async fn list_requests(call: ListRequests, service: Arc<Service>) -> Result<RequestList, RpcError> {
    let now = clock::wall();
    let mut items = Vec::new();
    if call.kind != Some(RequestKind::Return) {
        let requests = service.published.all_requests();
        items.extend(requests.iter().map(|request| machine_request_summary(request, now)));
    }
    if call.kind != Some(RequestKind::Machine) && call.template.is_none() {
        let returns = service.published.all_returns();
        items.extend(returns.iter().map(|request| return_summary(request, now)));
    }
    items.retain(|item| {
        let template = call.template.as_deref().is_none_or(|template| item.template.as_deref() == Some(template));
        template && (!call.open_only || item.status == RequestState::Running)
    });
    items.sort_by(|a, b| b.accepted_at.cmp(&a.accepted_at).then_with(|| a.request_id.cmp(&b.request_id)));
    let total = items.len() as u64;
    items.truncate(limit(call.limit));
    Ok(RequestList { api_version: ApiVersion::V1, items, total })
}

/// `query.listMachines`.
pub(super) async fn list_machines(call: ListMachines, service: Arc<Service>) -> Result<MachineList, RpcError> {
    let names = match &call.request {
        Some(id) => machines_of(id, &service)?,
        None => {
            let mut requests = service.published.all_requests();
            requests.sort_by(|a, b| b.accepted_at.cmp(&a.accepted_at).then_with(|| a.id.cmp(&b.id)));
            requests.iter().flat_map(|request| names_of(request)).collect()
        }
    };
    let template = call.template;
    let limit = limit(call.limit);
    let (items, total) = service
        .engine
        .ask(move |ledger, ctx| {
            let fits = |name: &MachineName| {
                let request = ledger.committed_request(name.request);
                request.is_some_and(|request| {
                    template.as_deref().is_none_or(|template| request.template.as_str() == template)
                })
            };
            let fitting: Vec<_> = names.into_iter().filter(fits).collect();
            let total = fitting.len() as u64;
            let items = fitting.into_iter().take(limit).filter_map(|name| machine_summary(ledger, ctx, name)).collect();
            (items, total)
        })
        .await
        .map_err(|refusal| refused(&refusal))?;
    Ok(MachineList { api_version: ApiVersion::V1, items, total })
}

/// `query.listTemplates`.
pub(super) async fn list_templates(_: ListTemplates, service: Arc<Service>) -> Result<TemplateList, RpcError> {
    let set = service.templates.borrow().clone();
    let ids: Vec<_> = set.usable.iter().map(|template| template.id.clone()).collect();
    let in_use = service.engine.ask(move |ledger, _| ids.iter().map(|id| ledger.in_use(id)).collect::<Vec<_>>());
    let in_use = in_use.await.map_err(|refusal| refused(&refusal))?;
    let mut items: Vec<_> = set
        .usable
        .iter()
        .zip(in_use)
        .map(|(template, in_use)| TemplateSummary {
            template_id: template.id.to_string(),
            usable: true,
            max_number: template.max_number.limit().map_or(-1, i64::from),
            in_use: u64::from(in_use),
            error: set.broken.iter().find(|broken| broken.name == template.id.as_str()).map(|it| it.error.clone()),
            warnings: template.warnings.clone(),
            source: template.source.display().to_string(),
        })
        .collect();
    let usable = |name: &str| set.usable.iter().any(|template| template.id.as_str() == name);
    items.extend(set.broken.iter().filter(|broken| !usable(&broken.name)).map(|broken| TemplateSummary {
        template_id: broken.name.clone(),
        usable: false,
        max_number: 0,
        in_use: 0,
        error: Some(broken.error.clone()),
        warnings: Vec::new(),
        source: set.file.as_ref().map(|file| file.display().to_string()).unwrap_or_default(),
    }));
    Ok(TemplateList { api_version: ApiVersion::V1, items })
}

/// `query.describeRequest`.
pub(super) async fn describe_request(call: DescribeRequest, service: Arc<Service>) -> Result<RequestDetail, RpcError> {
    use hfd_core::answer::Committed as _;

    let now = clock::wall();
    let id = request_id(&call.id)?;
    if let Some(request) = service.published.request(id) {
        let names: Vec<_> = names_of(&request).collect();
        let machines = summaries(&service, names).await?;
        return Ok(RequestDetail {
            api_version: ApiVersion::V1,
            request: machine_request_summary(&request, now),
            granted: u64::from(request.granted),
            deadline_seconds: u64::from(request.ready_deadline),
            caller: Some(Caller { uid: request.caller.uid, pid: request.caller.pid }),
            key: request.key.as_ref().map(|key| key.text.to_string()),
            terminal: request.terminal.is_some(),
            manifest_hash: Some(request.manifest.iter().map(|byte| format!("{byte:02x}")).collect()),
            reasons: reasons(&machines),
            machines_total: machines.len() as u64,
            machines: machines.into_iter().take(DETAIL_MACHINES).collect(),
        });
    }
    let Some(request) = service.published.return_request(id) else { return Err(not_found("request", &call.id)) };
    let mut machines = summaries(&service, request.entries.iter().filter_map(|entry| entry.machine).collect()).await?;
    let followed: Vec<Arc<str>> =
        request.entries.iter().filter(|entry| entry.machine.is_none()).map(|entry| entry.name.clone()).collect();
    let held = service
        .engine
        .ask(move |ledger, ctx| {
            let hold = |name: Arc<str>| {
                let why = ledger.return_holder(ctx, &name);
                (name, why)
            };
            followed.into_iter().map(hold).collect::<HashMap<_, _>>()
        })
        .await
        .map_err(|refusal| refused(&refusal))?;
    machines.extend(request.entries.iter().filter(|entry| entry.machine.is_none()).map(|entry| {
        let (state, result, message) = match &entry.end {
            None => (MachinePhase::Returning, MachineResult::Executing, held.get(&entry.name).cloned()),
            Some(ReturnEnd::Gone) => (MachinePhase::Gone, MachineResult::Succeed, None),
            Some(ReturnEnd::Failed(why)) => (MachinePhase::Failed, MachineResult::Fail, Some(why.to_string())),
        };
        MachineSummary {
            name: entry.name.clone(),
            request_id: "".into(),
            template: "".into(),
            state,
            result,
            node: None,
            ip: None,
            reason: Some("NotIssuedHere".into()),
            message: message.map(Into::into),
            age_seconds: age(request.accepted_at, now),
        }
    }));
    Ok(RequestDetail {
        api_version: ApiVersion::V1,
        request: return_summary(&request, now),
        granted: request.entries.len() as u64,
        deadline_seconds: u64::from(request.deadline),
        caller: Some(Caller { uid: request.caller.uid, pid: request.caller.pid }),
        key: request.key.as_ref().map(|key| key.text.to_string()),
        terminal: request.ended_at.is_some(),
        manifest_hash: None,
        reasons: reasons(&machines),
        machines_total: machines.len() as u64,
        machines: machines.into_iter().take(DETAIL_MACHINES).collect(),
    })
}

/// `query.describeMachine`.
pub(super) async fn describe_machine(call: DescribeMachine, service: Arc<Service>) -> Result<MachineDetail, RpcError> {
    let name: MachineName = call.name.parse().map_err(|_| not_found("machine", &call.name))?;
    let detail = service.engine.ask(move |ledger, ctx| machine_detail(ledger, ctx, name)).await;
    detail.map_err(|refusal| refused(&refusal))?.ok_or_else(|| not_found("machine", &call.name))
}

fn machine_detail(ledger: &Ledger, ctx: Ctx<'_>, name: MachineName) -> Option<MachineDetail> {
    let summary = machine_summary(ledger, ctx, name)?;
    let report = ledger.machine_report(ctx, name)?;
    let machine = ledger.committed_request(name.request)?.machine(name)?;
    let pod = ctx.pods.pod(name);
    Some(MachineDetail {
        api_version: ApiVersion::V1,
        machine: summary,
        durable: DurableFacts {
            uid: machine.uid.map(|uid| uid.to_string().into()),
            created_at: pod.as_ref().map(|pod| pod.created).filter(|created| *created > 0),
            ready_at: machine.first_ready,
            verdict: verdict_word(machine).map(str::to_owned),
            verdict_reason: machine.verdict.as_ref().map(|verdict| verdict.message.clone()),
            tombstone: machine.is_returned(),
        },
        pod: pod.as_ref().map(pod_facts),
        queue: None,
        last_error: report.last_error,
        returns: report.open_returns.iter().map(|id| id.to_string().into()).collect(),
        next: report.next,
    })
}

fn pod_facts(pod: &PodRecord) -> PodFacts {
    let reason = pod.disruption.as_ref().or(pod.reason.as_ref());
    PodFacts {
        uid: pod.uid.to_string().into(),
        phase: format!("{:?}", pod.phase),
        ready: pod.ready,
        node: pod.node.clone(),
        ip: pod.ip.map(|ip| ip.to_string().into()),
        reason: reason.map(|reason| reason.code.as_str().into()),
        message: reason.map(|reason| reason.message.clone()),
        deletion_at: pod.deletion.map(|deletion| deletion.ends_at),
    }
}

fn verdict_word(machine: &Machine) -> Option<&'static str> {
    Some(match machine.verdict_kind()? {
        VerdictKind::Failed => "failed",
        VerdictKind::Overdue => "overdue",
        VerdictKind::Lost => "lost",
    })
}

fn machine_summary(ledger: &Ledger, ctx: Ctx<'_>, name: MachineName) -> Option<MachineSummary> {
    let request = ledger.committed_request(name.request)?;
    let machine = request.machine(name)?;
    let report: MachineReport = ledger.machine_report(ctx, name)?;
    let pod = ctx.pods.pod(name);
    let cause = pod.as_ref().and_then(|pod| pod.disruption.as_ref().or(pod.reason.as_ref()));
    let cause = cause.map(|reason| reason.code.as_str()).filter(|_| !report.reason.is_empty());
    Some(MachineSummary {
        name: name.to_string().into(),
        request_id: request.id.to_string().into(),
        template: request.template.as_str().into(),
        state: phase(report.state),
        result: match request.outcome(name.ordinal) {
            MachineOutcome::Executing => MachineResult::Executing,
            MachineOutcome::Succeed => MachineResult::Succeed,
            MachineOutcome::Fail => MachineResult::Fail,
        },
        node: pod.as_ref().and_then(|pod| pod.node.clone()),
        ip: machine.ip.or_else(|| pod.as_ref().and_then(|pod| pod.ip)).map(|ip| ip.to_string().into()),
        reason: cause.map(Into::into),
        message: (!report.reason.is_empty()).then(|| report.reason.into()),
        age_seconds: age(request.accepted_at, ctx.now.wall),
    })
}

fn phase(state: &str) -> MachinePhase {
    match state {
        "wanted" => MachinePhase::Wanted,
        "creating" => MachinePhase::Creating,
        "pending" => MachinePhase::Pending,
        "ready" => MachinePhase::Ready,
        "failed" => MachinePhase::Failed,
        "lost" => MachinePhase::Lost,
        "returning" => MachinePhase::Returning,
        _ => MachinePhase::Gone,
    }
}

async fn summaries(service: &Service, names: Vec<MachineName>) -> Result<Vec<MachineSummary>, RpcError> {
    let all = service.engine.ask(move |ledger, ctx| {
        names.into_iter().filter_map(|name| machine_summary(ledger, ctx, name)).collect::<Vec<_>>()
    });
    all.await.map_err(|refusal| refused(&refusal))
}

/// Machines with a message, counted by reason and message, the most frequent first.
fn reasons(machines: &[MachineSummary]) -> Vec<ReasonCount> {
    let mut counts: HashMap<(Arc<str>, Arc<str>), ReasonCount> = HashMap::new();
    for machine in machines {
        let Some(message) = &machine.message else { continue };
        let reason = machine.reason.clone().unwrap_or_else(|| format!("{:?}", machine.state).into());
        counts
            .entry((reason.clone(), message.clone()))
            .or_insert_with(|| ReasonCount {
                reason,
                message: message.clone(),
                machines: 0,
                example: machine.name.clone(),
            })
            .machines += 1;
    }
    let mut counts: Vec<_> = counts.into_values().collect();
    counts.sort_by(|a, b| b.machines.cmp(&a.machines).then_with(|| a.example.cmp(&b.example)));
    counts
}

fn machine_request_summary(request: &MachineRequest, now: i64) -> RequestSummary {
    let status = answer::machine_request_state(request);
    let (mut succeeded, mut failed, mut executing) = (0, 0, 0);
    for (name, _) in request.named_machines() {
        match request.outcome(name.ordinal) {
            MachineOutcome::Succeed => succeeded += 1,
            MachineOutcome::Fail => failed += 1,
            MachineOutcome::Executing => executing += 1,
        }
    }
    RequestSummary {
        request_id: request.id.to_string().into(),
        kind: RequestKind::Machine,
        template: Some(request.template.as_str().into()),
        status,
        count: request.machines.len() as u64,
        succeeded,
        failed,
        executing,
        age_seconds: age(request.accepted_at, now),
        accepted_at: request.accepted_at,
        polled: request.polled,
        message: request.cancelled.clone().or_else(|| request.limit.clone()).unwrap_or_else(|| "".into()),
    }
}

fn return_summary(request: &ReturnRequest, now: i64) -> RequestSummary {
    let count = |wanted: fn(&Option<ReturnEnd>) -> bool| {
        request.entries.iter().filter(|entry| wanted(&entry.end)).count() as u64
    };
    let failed = count(|end| matches!(end, Some(ReturnEnd::Failed(_))));
    RequestSummary {
        request_id: request.id.to_string().into(),
        kind: RequestKind::Return,
        template: None,
        status: answer::return_state(request),
        count: request.entries.len() as u64,
        succeeded: count(|end| matches!(end, Some(ReturnEnd::Gone))),
        failed,
        executing: count(Option::is_none),
        age_seconds: age(request.accepted_at, now),
        accepted_at: request.accepted_at,
        polled: request.told_at.is_some(),
        message: "".into(),
    }
}

fn machines_of(id: &str, service: &Service) -> Result<Vec<MachineName>, RpcError> {
    use hfd_core::answer::Committed as _;

    let parsed = request_id(id)?;
    if let Some(request) = service.published.request(parsed) {
        return Ok(names_of(&request).collect());
    }
    let request = service.published.return_request(parsed).ok_or_else(|| not_found("request", id))?;
    Ok(request.entries.iter().filter_map(|entry| entry.machine).collect())
}

fn names_of(request: &MachineRequest) -> impl Iterator<Item = MachineName> + use<> {
    let id = request.id;
    (0..request.count()).map(move |ordinal| MachineName { request: id, ordinal })
}

fn request_id(text: &str) -> Result<RequestId, RpcError> {
    text.parse().map_err(|_| not_found("request", text))
}

fn not_found(what: &str, name: &str) -> RpcError {
    let shown: String = name.chars().take(80).collect();
    RpcError::new(ErrorCode::NotFound, format!("no {what} {shown:?} is known here"))
        .with_action(format!("`hfctl get {what}s` lists them"))
}

fn limit(asked: Option<u32>) -> usize {
    asked.map_or(DEFAULT_LIMIT, |limit| limit as usize)
}

fn age(since: i64, now: i64) -> u64 {
    u64::try_from(now.saturating_sub(since)).unwrap_or(0)
}
