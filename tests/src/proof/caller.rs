//! One caller: what it asks for, what it was told, and what it does not know because a call of its failed.
//!
//! It does one thing at a time, so its strict reader sees the answers about its own requests in their order. What it
//! was told it remembers for ever; nothing that happens to hfd may make a later answer contradict it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{
    call::Way,
    called::Called,
    keys::Keyed,
    load::{Ground, Mix},
    site::{BOUNDED, BROKEN, PLAIN},
};
use crate::{
    answer::{Checker, epoch_seconds},
    hostfactory::random::Random,
    script::{Reply, Verb},
};

/// Machines of one caller beyond which it rather gives some back.
const LIVE: usize = 40;
/// No machine's name.
const NOBODY: &str = "nobody-00000";
/// Time-out of most calls, in seconds: longer than any restart.
pub(super) const LONG: usize = 60;

/// What a caller counted.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    /// Answered calls, by verb or kind.
    pub answered: BTreeMap<&'static str, u64>,
    /// Clean failures, the same.
    pub failed: BTreeMap<&'static str, u64>,
    /// Keyed calls that were repeated and had the same id again.
    pub same_key: u64,
    /// Keyed calls with another body, refused for that.
    pub other_body: u64,
}

/// A machine request that is known to this caller.
#[derive(Debug, Clone)]
pub struct OwnRequest {
    /// Its id.
    pub id: String,
    /// Its template.
    pub template: String,
    /// Machines asked for.
    pub count: u64,
    /// `running` until its end was told.
    pub status: String,
    /// Name, result and message of each machine, as told last.
    pub machines: Vec<(String, String, String)>,
    /// Machines whose return is acknowledged or was tried.
    pub returned: BTreeSet<String>,
    /// A return was tried before the end was told.
    pub returned_early: bool,
}

/// A return that is known to this caller.
#[derive(Debug, Clone)]
pub struct OwnReturn {
    /// Its id.
    pub id: String,
    /// The machines named in it.
    pub names: Vec<String>,
    /// `running` until its end was told.
    pub status: String,
}

/// A caller.
#[derive(Debug)]
pub struct Caller {
    pub(super) number: usize,
    pub(super) random: Random,
    checker: Checker,
    pub(super) keys: Vec<Keyed>,
    /// Its machine requests.
    pub requests: Vec<OwnRequest>,
    /// Its returns.
    pub returns: Vec<OwnReturn>,
    /// Template and count of requests whose call failed: hfd may know them.
    pub doubtful_requests: Vec<(&'static str, u64)>,
    /// The machines named in each of its returns that failed: hfd may know them.
    pub doubtful_returns: Vec<BTreeSet<String>>,
    /// Machines named in them whose return is not acknowledged since.
    pub doubtful: BTreeSet<String>,
    /// What it counted.
    pub tally: Tally,
    /// Its calls, since all callers began to call last.
    pub called: Vec<Called>,
}

impl Caller {
    /// The caller of this number.
    pub fn new(seed: u64, number: usize) -> Self {
        Self {
            number,
            random: Random::of(seed, &format!("caller {number}")),
            checker: Checker::default(),
            keys: Vec::new(),
            requests: Vec::new(),
            returns: Vec::new(),
            doubtful_requests: Vec::new(),
            doubtful_returns: Vec::new(),
            doubtful: BTreeSet::new(),
            tally: Tally::default(),
            called: Vec::new(),
        }
    }

    /// Does one thing of the mix.
    ///
    /// # Errors
    /// A violation.
    pub fn step(&mut self, ground: &Ground<'_>, mix: Mix) -> Result<()> {
        let full = self.live() > LIVE;
        match mix.choose(&mut self.random, full) {
            Some(Verb::RequestMachines) => match self.random.within(0..=9) {
                0..=5 => self.request(ground),
                6 | 7 => self.request_with_key(ground),
                8 => self.repeat_key(ground),
                _ => self.other_body(ground),
            },
            Some(Verb::GetRequestStatus) => self.poll_some(ground),
            Some(Verb::RequestReturnMachines) => self.give_some_back(ground, mix),
            Some(Verb::GetReturnRequests) => self.reclaims(ground),
            Some(Verb::GetAvailableTemplates) | None => self.templates(ground),
        }
        .with_context(|| format!("caller {}", self.number))
    }

    fn live(&self) -> usize {
        let left = |request: &OwnRequest| usize::try_from(request.count).unwrap_or(0) - request.returned.len();
        self.requests.iter().filter(|request| request.template != BROKEN).map(left).sum()
    }

    pub(super) fn request(&mut self, ground: &Ground<'_>) -> Result<()> {
        let (template, count) = self.demand();
        let begun = epoch_seconds();
        let input = demand(template, count);
        let way = self.way(ground);
        let reply = self.call(way, Verb::RequestMachines, &input)?;
        if !self.count("request", &reply) {
            self.doubtful_requests.push((template, count));
            return Ok(());
        }
        self.accepted(ground, &input, begun, &reply, template, count).map(drop)
    }

    pub(super) fn accepted(
        &mut self,
        ground: &Ground<'_>,
        input: &Value,
        begun: u64,
        reply: &Reply,
        template: &str,
        count: u64,
    ) -> Result<String> {
        self.checker.read(input, begun, reply)?;
        let id = reply.json["requestId"].as_str().unwrap_or_default().to_owned();
        ensure!(self.requests.iter().all(|own| own.id != id), "{id} was given to two requests");
        ground.acknowledge(&id)?;
        self.requests.push(OwnRequest {
            id: id.clone(),
            template: template.to_owned(),
            count,
            status: "running".to_owned(),
            machines: Vec::new(),
            returned: BTreeSet::new(),
            returned_early: false,
        });
        Ok(id)
    }

    fn poll_some(&mut self, ground: &Ground<'_>) -> Result<()> {
        let mut ids: Vec<String> = self.requests.iter().map(|own| own.id.clone()).collect();
        ids.extend(self.returns.iter().map(|own| own.id.clone()));
        if ids.is_empty() {
            return self.templates(ground);
        }
        self.random.shuffle(&mut ids);
        ids.truncate(self.random.within(1..=6));
        let way = self.way(ground);
        self.poll(way, &ids).map(drop)
    }

    /// Asks how `ids` stand; whether there was an answer.
    ///
    /// # Errors
    /// A violation.
    pub fn poll(&mut self, way: Way<'_>, ids: &[String]) -> Result<bool> {
        if ids.is_empty() {
            return Ok(true);
        }
        let asked: Vec<Value> = ids.iter().map(|id| json!({ "requestId": id })).collect();
        let input = json!({ "requests": asked });
        let begun = epoch_seconds();
        let reply = self.call(way, Verb::GetRequestStatus, &input)?;
        if !self.count("status", &reply) {
            return Ok(false);
        }
        self.checker.read(&input, begun, &reply)?;
        for entry in reply.json["requests"].as_array().into_iter().flatten() {
            self.told(entry);
        }
        Ok(true)
    }

    fn told(&mut self, entry: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (id, status) = (text(&entry["requestId"]), text(&entry["status"]));
        if let Some(own) = self.requests.iter_mut().find(|own| own.id == id) {
            own.status = status;
            let machine = |it: &Value| (text(&it["name"]), text(&it["result"]), text(&it["message"]));
            own.machines = entry["machines"].as_array().into_iter().flatten().map(machine).collect();
        } else if let Some(own) = self.returns.iter_mut().find(|own| own.id == id) {
            own.status = status;
        }
    }

    fn give_some_back(&mut self, ground: &Ground<'_>, mix: Mix) -> Result<()> {
        let early = self.random.chance(100);
        let fits = |own: &&OwnRequest| early || own.status != "running";
        let left: Vec<Vec<String>> = self.requests.iter().filter(fits).map(|own| own.left(early)).collect();
        let left: Vec<Vec<String>> = left.into_iter().filter(|names| !names.is_empty()).collect();
        let Some(mut names) = self.random.one_of(&left).cloned() else {
            return if mix == Mix::All { self.poll_some(ground) } else { self.give_back_again(ground) };
        };
        self.random.shuffle(&mut names);
        if self.random.chance(400) {
            names.truncate(self.random.within(1..=names.len()));
        }
        // Partly a second return of what is on its way already.
        if self.random.chance(200)
            && let Some(other) = self.returns.last().and_then(|last| last.names.first())
            && !names.contains(other)
        {
            names.push(other.clone());
        }
        let way = self.way(ground);
        self.give_back(ground, way, &names).map(drop)
    }

    /// What was given back before, or a name that nobody has: a return all the same.
    fn give_back_again(&mut self, ground: &Ground<'_>) -> Result<()> {
        let before = self.random.one_of(&self.returns).map(|own| own.names.clone());
        let way = self.way(ground);
        self.give_back(ground, way, &before.unwrap_or_else(|| vec![NOBODY.to_owned()])).map(drop)
    }

    /// Returns machines; whether that was acknowledged.
    ///
    /// # Errors
    /// A violation.
    pub fn give_back(&mut self, ground: &Ground<'_>, way: Way<'_>, names: &[String]) -> Result<bool> {
        let input = returned(names);
        for own in &mut self.requests {
            let before = own.returned.len();
            own.returned.extend(names.iter().filter(|name| name.starts_with(&own.id)).cloned());
            own.returned_early |= own.status == "running" && own.returned.len() > before;
        }
        let begun = epoch_seconds();
        let reply = self.call(way, Verb::RequestReturnMachines, &input)?;
        if !self.count("return", &reply) {
            self.doubtful.extend(names.iter().cloned());
            self.doubtful_returns.push(names.iter().cloned().collect());
            return Ok(false);
        }
        self.return_accepted(ground, &input, begun, &reply, names)?;
        Ok(true)
    }

    pub(super) fn return_accepted(
        &mut self,
        ground: &Ground<'_>,
        input: &Value,
        begun: u64,
        reply: &Reply,
        names: &[String],
    ) -> Result<()> {
        self.checker.read(input, begun, reply)?;
        let id = reply.json["requestId"].as_str().unwrap_or_default().to_owned();
        ground.acknowledge(&id)?;
        self.doubtful.retain(|name| !names.contains(name));
        self.returns.push(OwnReturn { id, names: names.to_vec(), status: "running".to_owned() });
        Ok(())
    }

    fn reclaims(&mut self, ground: &Ground<'_>) -> Result<()> {
        let names = self.requests.iter().flat_map(OwnRequest::hosts);
        let machines: Vec<Value> = names.take(200).map(|name| json!({ "name": name })).collect();
        let input = json!({ "machines": machines });
        let way = self.way(ground);
        let reply = self.call(way, Verb::GetReturnRequests, &input)?;
        if !self.count("return requests", &reply) {
            return Ok(());
        }
        self.checker.read(&input, epoch_seconds(), &reply)?;
        ensure!(reply.json["requests"] == json!([]), "reclaimed although nothing was lost: {}", reply.stdout);
        Ok(())
    }

    fn templates(&mut self, ground: &Ground<'_>) -> Result<()> {
        let way = self.way(ground);
        let reply = self.call(way, Verb::GetAvailableTemplates, &json!({}))?;
        if self.count("templates", &reply) {
            self.checker.read(&json!({}), epoch_seconds(), &reply)?;
        }
        Ok(())
    }

    pub(super) fn demand(&mut self) -> (&'static str, u64) {
        let template = match self.random.within(0..=9) {
            0 => BROKEN,
            1 => BOUNDED,
            _ => PLAIN,
        };
        let most = if self.random.chance(150) { 20 } else { 5 };
        (template, self.random.within(1..=most) as u64)
    }

    /// A short time-out now and then: the call then fails while hfd is down.
    pub(super) fn seconds(&mut self) -> usize {
        if self.random.chance(200) { 1 } else { LONG }
    }

    fn way<'a>(&mut self, ground: &Ground<'a>) -> Way<'a> {
        if self.random.chance(120) {
            return Way::Script(ground.scripts);
        }
        Way::Hfctl { socket: ground.socket, seconds: self.seconds(), key: None }
    }

    pub(super) fn count(&mut self, what: &'static str, reply: &Reply) -> bool {
        let answered = reply.code == 0;
        let counts = if answered { &mut self.tally.answered } else { &mut self.tally.failed };
        *counts.entry(what).or_default() += 1;
        answered
    }
}

impl OwnRequest {
    /// Its machines that became hosts, returned or not. A failed one never did: named all the same, it would rightly be
    /// listed as gone.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.machines.iter().filter(|machine| machine.1 == "succeed").map(|machine| machine.0.as_str())
    }

    /// Its machines that were told to run, or (`early`) may come to, and are not returned.
    pub fn left(&self, early: bool) -> Vec<String> {
        let left = |machine: &&(String, String, String)| {
            (machine.1 == "succeed" || early && machine.1 == "executing") && !self.returned.contains(&machine.0)
        };
        self.machines.iter().filter(left).map(|machine| machine.0.clone()).collect()
    }
}

/// The input of requestMachines.
pub(super) fn demand(template: &str, count: u64) -> Value {
    json!({"template": {"templateId": template, "machineCount": count}})
}

/// The input of requestReturnMachines.
pub(super) fn returned(names: &[String]) -> Value {
    let machines: Vec<Value> = names.iter().map(|name| json!({ "name": name })).collect();
    json!({ "machines": machines })
}
