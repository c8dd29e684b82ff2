//! What HostFactory knows of its provider, and how much of that outlives it.
//!
//! HostFactory keeps a database: the requests and returns whose end it was not told, and the machines that were told to
//! have succeeded. It writes a reply there as it reads it; a reply that it did not read never comes in. All else is
//! memory: templates, demand, plans, machines that are not up yet. A failover drops the memory, kills the scripts of the
//! host that died, and goes on from the database.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use serde_json::{Value, json};

use super::clock::Moment;

/// Ended requests that are asked about once more now and then.
const CLOSED_KEPT: usize = 200;
/// Returned machines that are returned once more now and then.
const RETURNED_KEPT: usize = 500;

/// What it knows.
#[derive(Debug, Default)]
pub struct Book {
    /// What a failover leaves.
    pub database: Database,
    /// What it takes.
    pub memory: Memory,
    /// When the reply that it reads came.
    pub now: Moment,
}

/// HostFactory's database.
#[derive(Debug, Default)]
pub struct Database {
    /// Machines that it was told of.
    pub machines: BTreeMap<String, Held>,
    /// Machine requests whose end it was not told.
    pub requests: BTreeMap<String, Open>,
    /// Returns whose end it was not told, with their machines.
    pub returns: BTreeMap<String, Vec<String>>,
    /// Machines that it has given back.
    pub given_back: BTreeSet<String>,
}

/// A machine that HostFactory has.
#[derive(Debug, Clone)]
pub struct Held {
    /// Its machineId.
    pub id: String,
    /// Its template.
    pub template: String,
    /// Whether its return was accepted.
    pub returning: bool,
    /// Since when it has it.
    pub since: Moment,
}

/// A machine request.
#[derive(Debug, Clone)]
pub struct Open {
    /// Its template.
    pub template: String,
    /// Machines that may still come.
    pub pending: usize,
}

/// What a failover forgets.
#[derive(Debug, Default)]
pub struct Memory {
    /// What can be asked for, in the provider's order.
    pub templates: Vec<Offer>,
    /// Machines that are wanted now.
    pub target: usize,
    /// What is to be asked for and given back next.
    pub jobs: VecDeque<Job>,
    /// Machines in a job, waiting or under way.
    pub busy: BTreeSet<String>,
    /// Machines of open requests that are not up.
    pub unready: BTreeMap<String, Vec<Named>>,
    /// Machines given back lately.
    pub returned: VecDeque<Named>,
    /// Requests and returns ended lately.
    pub closed: VecDeque<String>,
}

/// A template, as far as demand needs it.
#[derive(Debug, Clone)]
pub struct Offer {
    /// Its id.
    pub id: String,
    /// Its maxNumber; none = no limit.
    pub max: Option<usize>,
}

/// A machine by name and machineId.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// Its machineId; may be empty.
    pub id: String,
}

impl Named {
    /// As an entry of an input.
    pub fn entry(&self) -> Value {
        if self.id.is_empty() {
            return json!({ "name": self.name });
        }
        json!({"name": self.name, "machineId": self.id})
    }
}

/// What a worker does next.
#[derive(Debug, Clone)]
pub enum Job {
    /// Asks for machines.
    Request {
        /// Of this template.
        template: String,
        /// So many.
        count: usize,
    },
    /// Gives machines back.
    Return(Vec<Named>),
}

impl Book {
    /// The host that HostFactory ran on has died: another one goes on.
    pub fn fail_over(&mut self) {
        self.memory = Memory::default();
    }

    /// Reads what can be asked for.
    pub fn templates(&mut self, reply: &Value) {
        let offers = reply["templates"].as_array().into_iter().flatten().filter_map(|template| {
            let max = usize::try_from(template["maxNumber"].as_i64()?).ok();
            Some(Offer { id: template["templateId"].as_str()?.to_owned(), max }).filter(|_| max != Some(0))
        });
        self.memory.templates = offers.collect();
    }

    /// Notes an accepted request.
    pub fn accepted(&mut self, reply: &Value, template: &str, count: usize) {
        let Some(id) = reply["requestId"].as_str() else { return };
        self.database.requests.insert(id.to_owned(), Open { template: template.to_owned(), pending: count });
    }

    /// Notes an accepted return.
    pub fn returned(&mut self, reply: &Value, machines: &[Named]) {
        let Some(id) = reply["requestId"].as_str() else { return };
        for machine in machines {
            self.database.given_back.insert(machine.name.clone());
            if let Some(held) = self.database.machines.get_mut(&machine.name) {
                held.returning = true;
            }
            self.memory.returned.push_back(machine.clone());
        }
        let names = machines.iter().map(|machine| machine.name.clone()).collect();
        self.database.returns.insert(id.to_owned(), names);
        let surplus = self.memory.returned.len().saturating_sub(RETURNED_KEPT);
        self.memory.returned.drain(..surplus);
    }

    /// Reads how requests and returns stand.
    pub fn status(&mut self, reply: &Value) {
        for entry in reply["requests"].as_array().into_iter().flatten() {
            let id = entry["requestId"].as_str().unwrap_or_default();
            if self.database.requests.contains_key(id) {
                self.request_status(id, entry);
            } else if self.database.returns.contains_key(id) && entry["status"] != "running" {
                for name in self.database.returns.remove(id).unwrap_or_default() {
                    self.database.machines.remove(&name);
                }
                self.close(id);
            }
        }
    }

    fn request_status(&mut self, id: &str, entry: &Value) {
        let Self { database, memory, now } = self;
        let Some(open) = database.requests.get_mut(id) else { return };
        let mut unready = Vec::new();
        for machine in entry["machines"].as_array().into_iter().flatten() {
            let text = |key: &str| machine[key].as_str().unwrap_or_default().to_owned();
            let named = Named { name: text("name"), id: text("machineId") };
            if database.given_back.contains(&named.name) {
                continue;
            }
            match machine["result"].as_str() {
                Some("succeed") => {
                    let held = Held { id: named.id, template: open.template.clone(), returning: false, since: *now };
                    database.machines.entry(named.name).or_insert(held);
                }
                Some("executing") => unready.push(named),
                // A machine that was told to have succeeded may be lost before its request ends.
                _ => drop(database.machines.remove(&named.name)),
            }
        }
        open.pending = unready.len();
        if entry["status"] == "running" {
            memory.unready.insert(id.to_owned(), unready);
        } else {
            database.requests.remove(id);
            memory.unready.remove(id);
            self.close(id);
        }
    }

    fn close(&mut self, id: &str) {
        self.memory.closed.push_back(id.to_owned());
        let surplus = self.memory.closed.len().saturating_sub(CLOSED_KEPT);
        self.memory.closed.drain(..surplus);
    }

    /// Machines that it has or will have, of one template or of all.
    pub fn expected(&self, template: Option<&str>) -> usize {
        let of = |one: &str| template.is_none_or(|template| template == one);
        let kept =
            self.database.machines.iter().filter(|(name, held)| {
                of(&held.template) && !held.returning && !self.memory.busy.contains(name.as_str())
            });
        let open = self.database.requests.values().filter(|open| of(&open.template)).map(|open| open.pending);
        let planned = self.memory.jobs.iter().filter_map(|job| match job {
            Job::Request { template, count } if of(template) => Some(*count),
            _ => None,
        });
        kept.count() + open.sum::<usize>() + planned.sum::<usize>()
    }

    /// Machines that it could give back now.
    pub fn returnable(&self) -> Vec<Named> {
        let free = |(name, held): &(&String, &Held)| !held.returning && !self.memory.busy.contains(*name);
        let machines = self.database.machines.iter().filter(free);
        machines.map(|(name, held)| Named { name: name.clone(), id: held.id.clone() }).collect()
    }

    /// Machines that it could do without now. Some are in use for long: each sixth is kept for a time, so that there
    /// are machines whose loss only the provider can tell of.
    pub fn surplus(&self, keep_for: Duration) -> Vec<Named> {
        let kept = |name: &str| {
            let mark = name.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
            let since = self.database.machines.get(name).map_or(Moment::ZERO, |held| held.since);
            mark % 6 == 0 && self.now < since + keep_for
        };
        self.returnable().into_iter().filter(|machine| !kept(&machine.name)).collect()
    }

    /// Plans a return.
    pub fn plan_return(&mut self, machines: Vec<Named>) {
        if machines.is_empty() {
            return;
        }
        self.memory.busy.extend(machines.iter().map(|machine| machine.name.clone()));
        self.memory.jobs.push_back(Job::Return(machines));
    }

    /// A return is over, whatever came of it: what was not accepted can be planned again.
    pub fn done(&mut self, machines: &[Named]) {
        for machine in machines {
            self.memory.busy.remove(&machine.name);
        }
    }

    /// All ids whose end it was not told.
    pub fn open_ids(&self) -> Vec<String> {
        self.database.requests.keys().chain(self.database.returns.keys()).cloned().collect()
    }

    /// A machine of it by name, whether up or not.
    pub fn named(&self, name: &str) -> Named {
        let up = self.database.machines.get(name).map(|held| held.id.clone());
        let unready = || self.memory.unready.values().flatten().find(|one| one.name == name).map(|one| one.id.clone());
        Named { name: name.to_owned(), id: up.or_else(unready).unwrap_or_default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(name: &str, result: &str) -> Value {
        json!({"name": name, "machineId": format!("uid-{name}"), "result": result})
    }

    fn status(id: &str, status: &str, machines: &[Value]) -> Value {
        json!({"requests": [{"requestId": id, "status": status, "machines": machines}]})
    }

    #[test]
    fn a_failover_keeps_the_database_and_forgets_the_rest() {
        let mut book = Book::default();
        book.templates(&json!({"templates": [{"templateId": "small", "maxNumber": -1}]}));
        book.accepted(&json!({"requestId": "r"}), "small", 2);
        book.status(&status("r", "running", &[machine("a", "succeed"), machine("b", "executing")]));
        assert_eq!(book.expected(None), 2);
        book.fail_over();
        assert!(book.memory.templates.is_empty() && book.memory.unready.is_empty());
        assert_eq!(book.open_ids(), ["r"]);
        assert_eq!(book.returnable(), [Named { name: "a".to_owned(), id: "uid-a".to_owned() }]);
        assert_eq!(book.expected(None), 2);
    }

    #[test]
    fn a_machine_given_back_before_it_was_up_does_not_come_back() {
        let mut book = Book::default();
        book.accepted(&json!({"requestId": "r"}), "small", 1);
        let named = Named { name: "a".to_owned(), id: String::new() };
        book.returned(&json!({"requestId": "x"}), &[named]);
        book.status(&status("r", "complete", &[machine("a", "succeed")]));
        assert!(book.database.machines.is_empty());
        book.status(&status("x", "complete", &[]));
        assert!(book.open_ids().is_empty());
    }
}
