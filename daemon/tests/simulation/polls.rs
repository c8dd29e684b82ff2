//! HostFactory's polls: getRequestStatus as the daemon answers it, and what HostFactory learns from it.

use hfd_core::{
    answer::{self, Committed, Ignorance},
    id::RequestId,
};
use proto_schema::hostfactory::{MachineResult, RequestState, RequestStatus};

use crate::{daemon::Waiting, world::World};

impl World {
    /// Polls what has not ended, and some of the rest.
    pub(crate) fn poll_some(&mut self) {
        let mut ids: Vec<String> = Vec::new();
        let healing = self.healing;
        for (id, ended) in self.factory.requests.clone().into_iter().chain(self.factory.returns.clone()) {
            if !ended || self.dice.chance(if healing { 20 } else { 200 }) {
                ids.push(id.to_string());
            }
        }
        if ids.is_empty() || self.dice.chance(50) {
            ids.push("../../etc/passwd".to_owned());
        }
        self.poll(ids);
    }

    pub(crate) fn poll_everything(&mut self) {
        let known = self.factory.requests.keys().chain(self.factory.returns.keys());
        self.poll(known.map(RequestId::to_string).collect());
    }

    /// getRequestStatus: marks what was never polled, then answers from what is published.
    pub(crate) fn poll(&mut self, ids: Vec<String>) {
        if self.daemon.is_none() {
            return;
        }
        self.note_poll();
        let number = self.factory.fresh_number();
        let Some(daemon) = self.daemon.as_mut() else { return };
        let parsed = ids.iter().filter_map(|id| id.parse::<RequestId>().ok());
        let unpolled: Vec<_> =
            parsed.filter(|id| daemon.published.request(*id).is_some_and(|request| !request.polled)).collect();
        daemon.polls.insert(number, ids);
        if unpolled.is_empty() {
            return self.answer_poll(number);
        }
        self.ledger(|ledger, _| ledger.polled(&unpolled));
        self.tell_when_durable(Waiting::Poll { number });
    }

    pub(crate) fn answer_poll(&mut self, number: u64) {
        let Some(ids) = self.daemon.as_mut().and_then(|daemon| daemon.polls.remove(&number)) else { return };
        let mut told = Vec::new();
        for text in ids {
            let Some(id) = text.parse::<RequestId>().ok() else { continue };
            let status = self.status_of(id, &mut told);
            self.note(|| format!("  told {id}: {:?}", status.status));
            self.stats.answers += 1;
            let mut model = std::mem::take(&mut self.model);
            model.tell(id, &status, &self.truth());
            self.model = model;
            self.learn(id, &status);
        }
        if !told.is_empty() {
            self.ledger(|ledger, ctx| ledger.told(ctx, &told));
        }
    }

    fn status_of(&self, id: RequestId, told: &mut Vec<RequestId>) -> RequestStatus {
        let wall = self.wall();
        let daemon = self.daemon.as_ref().expect("the daemon lives");
        let published = &daemon.published;
        if let Some(request) = published.request(id) {
            return answer::machine_request(&request, wall);
        }
        let Some(returned) = published.return_request(id) else {
            let cache = &daemon.cache.0;
            let has_pods = |id| cache.has_pod_of(&id);
            let ignorance = Ignorance::about(Some(id), published.health().mode, cache.was_listed(), has_pods);
            return answer::unknown_request(&id.to_string(), ignorance);
        };
        if returned.ended_at.is_some() && returned.told_at.is_none() {
            told.push(id);
        }
        answer::return_request(&returned, published, wall)
    }

    fn learn(&mut self, id: RequestId, status: &RequestStatus) {
        let ended = status.status != RequestState::Running;
        if let Some(known) = self.factory.returns.get_mut(&id) {
            *known = ended;
            return;
        }
        let newly = self.factory.requests.insert(id, ended) != Some(true) && ended;
        for machine in &status.machines {
            let name = machine.name.to_string();
            if newly && machine.result == MachineResult::Succeed {
                self.stats.succeeded += 1;
                if !self.factory.returned.contains(&name) {
                    self.factory.held.insert(name);
                }
            }
        }
    }
}
