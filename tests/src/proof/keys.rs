//! Keys: the same key with the same body is one request, one after the other, at once, and across crashes; with another
//! body it is refused. Also what a caller does about its doubts once hfd serves again.

use std::{thread, time::Instant};

use anyhow::{Result, bail, ensure};
use serde_json::json;

use super::{
    call::{Way, call},
    called::Called,
    caller::{Caller, LONG, demand, returned},
    load::Ground,
};
use crate::{
    answer::epoch_seconds,
    script::{Reply, Verb},
};

/// A key and what it was used for.
#[derive(Debug, Clone)]
pub(super) struct Keyed {
    pub(super) key: String,
    template: &'static str,
    count: u64,
    first_sent: u64,
    pub(super) id: Option<String>,
}

impl Caller {
    /// A new key, by one call or by three at once: they must all be one request.
    pub(super) fn request_with_key(&mut self, ground: &Ground<'_>) -> Result<()> {
        let (template, count) = self.demand();
        let key = format!("proof-{}-{}", self.number, self.random.word(10));
        self.keys.push(Keyed { key, template, count, first_sent: epoch_seconds(), id: None });
        let together = if self.random.chance(300) { 3 } else { 1 };
        self.send_key(ground, self.keys.len() - 1, together)
    }

    /// A key used before, with its own body.
    pub(super) fn repeat_key(&mut self, ground: &Ground<'_>) -> Result<()> {
        if self.keys.is_empty() {
            return self.request(ground);
        }
        let which = self.random.within(0..=self.keys.len() - 1);
        let together = self.random.within(1..=2);
        self.send_key(ground, which, together)
    }

    fn send_key(&mut self, ground: &Ground<'_>, which: usize, together: usize) -> Result<()> {
        let keyed = self.keys[which].clone();
        let input = demand(keyed.template, keyed.count);
        let seconds = self.seconds();
        let way = Way::Hfctl { socket: ground.socket, seconds, key: Some(&keyed.key) };
        let begun = Instant::now();
        let replies: Vec<Result<Reply>> = thread::scope(|scope| {
            let calls: Vec<_> =
                (0..together).map(|_| scope.spawn(|| call(way, Verb::RequestMachines, &input))).collect();
            calls.into_iter().map(|call| call.join().expect("a call does not panic")).collect()
        });
        // One stands for them all.
        self.called.push(Called { verb: Verb::RequestMachines, begun, ended: Instant::now() });
        for reply in replies {
            let reply = reply?;
            if !self.count("request with key", &reply) {
                continue;
            }
            let known = self.keys[which].id.clone();
            if let Some(known) = known {
                let again = reply.json["requestId"].as_str();
                ensure!(again == Some(&known), "key {} was {known} and is now {again:?}", keyed.key);
                self.tally.same_key += 1;
            } else {
                let (template, count) = (keyed.template, keyed.count);
                let id = self.accepted(ground, &input, keyed.first_sent, &reply, template, count)?;
                self.keys[which].id = Some(id);
            }
        }
        Ok(())
    }

    /// A key that is known to be taken, with another body: refused.
    pub(super) fn other_body(&mut self, ground: &Ground<'_>) -> Result<()> {
        let taken: Vec<&Keyed> = self.keys.iter().filter(|keyed| keyed.id.is_some()).collect();
        let Some(keyed) = self.random.one_of(&taken).map(|keyed| (*keyed).clone()) else {
            return self.request_with_key(ground);
        };
        let way = Way::Hfctl { socket: ground.socket, seconds: LONG, key: Some(&keyed.key) };
        let reply = self.call(way, Verb::RequestMachines, &demand(keyed.template, keyed.count + 1))?;
        ensure!(reply.code != 0, "key {} of {:?} was taken for another body", keyed.key, keyed.id);
        // Another failure, of a call whose hfd was killed, tells of the key as well.
        self.tally.other_body += u64::from(reply.message().contains("with another body"));
        Ok(())
    }

    /// Sends again what it is in doubt about: keys without an id, returns without an answer.
    ///
    /// # Errors
    /// A violation, or that there is still no answer.
    pub fn resolve(&mut self, ground: &Ground<'_>) -> Result<()> {
        for which in 0..self.keys.len() {
            if self.keys[which].id.is_none() {
                self.send_key(ground, which, 1)?;
            }
        }
        if let Some(open) = self.keys.iter().find(|keyed| keyed.id.is_none()) {
            bail!("key {} has no answer although hfd serves", open.key);
        }
        let doubtful: Vec<String> = self.doubtful.iter().cloned().collect();
        let way = Way::Hfctl { socket: ground.socket, seconds: LONG, key: None };
        ensure!(
            doubtful.is_empty() || self.give_back(ground, way, &doubtful)?,
            "a return has no answer although hfd serves"
        );
        Ok(())
    }

    /// A request that hfd knows and nobody was told of; a call of this caller that failed was for one like it.
    pub fn adopt(&mut self, ground: &Ground<'_>, id: &str, template: &str, count: u64) -> Result<bool> {
        let same = |doubt: &(&str, u64)| doubt.0 == template && doubt.1 == count;
        let Some(place) = self.doubtful_requests.iter().position(same) else { return Ok(false) };
        self.doubtful_requests.swap_remove(place);
        let json = json!({"requestId": id, "message": "found"});
        let reply = Reply { verb: Verb::RequestMachines, code: 0, json, stdout: String::new(), stderr: String::new() };
        self.accepted(ground, &demand(template, count), 1, &reply, template, count)?;
        Ok(true)
    }

    /// A return that hfd knows and nobody was told of; a call of this caller that failed named exactly its machines.
    pub fn adopt_return(&mut self, ground: &Ground<'_>, id: &str, names: &[String]) -> Result<bool> {
        let place = self.doubtful_returns.iter().position(|doubt| {
            // Each of them once.
            doubt.len() == names.len() && names.iter().all(|name| doubt.contains(name))
        });
        let Some(place) = place else { return Ok(false) };
        self.doubtful_returns.swap_remove(place);
        let json = json!({"requestId": id, "message": "found"});
        let verb = Verb::RequestReturnMachines;
        let reply = Reply { verb, code: 0, json, stdout: String::new(), stderr: String::new() };
        self.return_accepted(ground, &returned(names), 1, &reply, names)?;
        Ok(true)
    }

    /// What failed until now, and hfd does not know, it never will.
    pub fn forget_doubts(&mut self) {
        self.doubtful_requests.clear();
        self.doubtful_returns.clear();
    }
}
