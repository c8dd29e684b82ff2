//! The strict reader: every reply of every call of a session is held against the interface and against everything that
//! was said before. It remembers what was told, so that an answer that is well-formed but contradicts an earlier one
//! fails just as a malformed one does.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value};

use crate::script::{Reply, Verb};

/// Digits of a machine's ordinal, by the rule on names.
const ORDINAL_DIGITS: usize = 5;
/// Characters of a request id, by the same rule.
const REQUEST_ID_CHARS: usize = 16;

/// What a session has been told so far.
#[derive(Debug, Default)]
pub struct Checker {
    requests: BTreeMap<String, MachineRequest>,
    returns: BTreeMap<String, ReturnRequest>,
    names: BTreeSet<String>,
    /// Reclaim of machines whose return is told is checked only while its waiting time is the default one.
    pub returned_may_be_reclaimed: bool,
    /// After a rebuild requests are known again, but what was told of them before binds no more.
    pub rebuilt: bool,
}

#[derive(Debug, Default)]
struct MachineRequest {
    count: usize,
    accepted_from: u64,
    machines: BTreeMap<String, Told>,
    frozen: Option<Value>,
}

#[derive(Debug, Default)]
struct ReturnRequest {
    names: Vec<String>,
    told: BTreeMap<String, String>,
    frozen: Option<Value>,
}

#[derive(Debug, Clone)]
struct Told {
    id: String,
    result: String,
    launchtime: u64,
}

impl Checker {
    /// Reads the reply of a call made with `input`, begun at `begun` (epoch seconds).
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn read(&mut self, input: &Value, begun: u64, reply: &Reply) -> Result<()> {
        if reply.code != 0 {
            return Ok(());
        }
        let result = match reply.verb {
            Verb::GetAvailableTemplates => templates(&reply.json),
            Verb::RequestMachines => self.accepted(input, begun, &reply.json),
            Verb::GetRequestStatus => self.statuses(input, &reply.json),
            Verb::RequestReturnMachines => self.return_accepted(input, &reply.json),
            Verb::GetReturnRequests => self.reclaims(input, &reply.json),
        };
        result.with_context(|| format!("{} {input} -> {}", reply.verb.name(), reply.stdout))
    }

    /// Reads only the form of a reply: for calls that overlap, whose order nobody knows.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn read_form(reply: &Reply) -> Result<()> {
        let mut fresh = Self { rebuilt: true, returned_may_be_reclaimed: true, ..Self::default() };
        if reply.verb == Verb::GetReturnRequests || reply.code != 0 {
            return Ok(());
        }
        fresh.read(&Value::Null, 1, reply)
    }

    /// Whether a name belongs to a request of this session.
    pub fn issued(&self, name: &str) -> bool {
        name.rsplit_once('-').is_some_and(|(request, _)| self.requests.contains_key(request))
    }

    /// Forgets a request whose retention has passed.
    pub fn forget(&mut self, id: &str) {
        self.requests.remove(id);
        self.returns.remove(id);
    }

    fn accepted(&mut self, input: &Value, begun: u64, json: &Value) -> Result<()> {
        let id = request_id(json)?;
        let count = input["template"]["machineCount"].as_u64().and_then(|count| usize::try_from(count).ok());
        let request = self.requests.entry(id).or_default();
        request.count = count.unwrap_or(request.count);
        if request.accepted_from == 0 {
            request.accepted_from = begun;
        }
        Ok(())
    }

    fn return_accepted(&mut self, input: &Value, json: &Value) -> Result<()> {
        let id = request_id(json)?;
        self.returns.entry(id).or_default().names =
            each(&input["machines"]).iter().filter_map(|machine| machine["name"].as_str().map(str::to_owned)).collect();
        Ok(())
    }

    fn statuses(&mut self, input: &Value, json: &Value) -> Result<()> {
        let entries = json["requests"].as_array().context("requests is no array")?;
        let asked: Vec<&str> =
            each(&input["requests"]).into_iter().filter_map(|request| request["requestId"].as_str()).collect();
        if !input.is_null() {
            let told: Vec<&str> = entries.iter().filter_map(|entry| entry["requestId"].as_str()).collect();
            ensure!(asked == told, "asked for {asked:?}, told of {told:?}");
        }
        entries.iter().try_for_each(|entry| self.status(entry))
    }

    fn status(&mut self, entry: &Value) -> Result<()> {
        let id = text(entry, "requestId")?;
        let message = text(entry, "message")?;
        let status = one_of(entry, "status", &["running", "complete", "complete_with_error"])?;
        let machines = entry["machines"].as_array().with_context(|| format!("{id}: machines is no array"))?;
        machines.iter().try_for_each(machine_form).with_context(|| format!("request {id}"))?;
        if self.rebuilt {
            return Ok(());
        }
        if let Some(request) = self.requests.get_mut(id) {
            request.follow(id, status, machines)?;
            freeze(&mut request.frozen, entry, status)?;
            machines.iter().try_for_each(|machine| self.name(text(machine, "name")?))?;
        } else if let Some(ret) = self.returns.get_mut(id) {
            ret.follow(status, machines)?;
            freeze(&mut ret.frozen, entry, status)?;
        } else if status != "running" {
            ensure!(status == "complete_with_error", "unknown request {id} is {status}");
            ensure!(machines.is_empty(), "unknown request {id} has machines");
            ensure!(!message.is_empty(), "unknown request {id} without a message");
        }
        Ok(())
    }

    /// All names have one length, which (as they differ) also keeps each from being part of another.
    fn name(&mut self, name: &str) -> Result<()> {
        if let Some(other) = self.names.first() {
            ensure!(other.len() == name.len(), "names of different length: {other} and {name}");
        }
        self.names.insert(name.to_owned());
        Ok(())
    }

    fn reclaims(&self, input: &Value, json: &Value) -> Result<()> {
        ensure!(json["status"] == "complete", "status is {}", json["status"]);
        text(json, "message")?;
        let asked: Option<BTreeSet<&str>> = input
            .get("machines")
            .map(|machines| each(machines).into_iter().filter_map(|machine| machine["name"].as_str()).collect());
        let mut told = BTreeSet::new();
        for entry in json["requests"].as_array().context("requests is no array")? {
            let name = text(entry, "machine")?;
            ensure!(entry["gracePeriod"].is_u64(), "gracePeriod is {}", entry["gracePeriod"]);
            ensure!(told.insert(name), "{name} is listed twice");
            ensure!(asked.as_ref().is_none_or(|asked| asked.contains(name)), "{name} was not asked about");
            ensure!(self.rebuilt || self.issued(name), "{name} was never issued by this provider");
            let open = self.returns.values().find(|ret| ret.frozen.is_none() && ret.names.iter().any(|n| n == name));
            ensure!(open.is_none() || self.returned_may_be_reclaimed, "{name} is being returned by HostFactory itself");
        }
        Ok(())
    }
}

impl MachineRequest {
    /// Judged against the count asked for, each machine against what was told of it before.
    fn follow(&mut self, id: &str, status: &str, machines: &[Value]) -> Result<()> {
        if machines.is_empty() && status == "running" && self.machines.is_empty() {
            // Undecided, before the first sync: nothing is known yet and nothing was listed before.
            return Ok(());
        }
        ensure!(machines.len() == self.count, "{} machines of {} are listed", machines.len(), self.count);
        let mut listed = BTreeSet::new();
        for machine in machines {
            let name = text(machine, "name")?;
            ensure!(listed.insert(name), "{name} is listed twice");
            let ordinal = name.strip_prefix(id).and_then(|rest| rest.strip_prefix('-')).unwrap_or_default();
            let digits = ordinal.len() == ORDINAL_DIGITS && ordinal.bytes().all(|byte| byte.is_ascii_digit());
            ensure!(digits, "{name} is not {id} with an ordinal of five digits");
            self.machine(name, machine)?;
        }
        if let Some(gone) = self.machines.keys().find(|name| !listed.contains(name.as_str())) {
            bail!("{gone} was listed before and no longer is");
        }
        let results = |result: &str| machines.iter().filter(|machine| machine["result"] == result).count();
        let expected = match (results("executing"), results("fail")) {
            (0, 0) => "complete",
            (0, _) => "complete_with_error",
            _ => "running",
        };
        ensure!(status == expected, "status {status} where the machines say {expected}");
        Ok(())
    }

    fn machine(&mut self, name: &str, machine: &Value) -> Result<()> {
        let (result, status) = (text(machine, "result")?, text(machine, "status")?);
        let wanted = match result {
            "fail" => "terminated",
            _ => "running",
        };
        ensure!(status == wanted, "{name}: result {result} with status {status}");
        let told = Told {
            id: text(machine, "machineId")?.to_owned(),
            result: result.to_owned(),
            launchtime: machine["launchtime"].as_u64().unwrap_or_default(),
        };
        let earliest = self.accepted_from;
        ensure!(told.launchtime >= earliest, "{name}: launched before it was asked for ({earliest})");
        if result == "succeed" {
            ensure!(!told.id.is_empty(), "{name}: succeed without machineId");
            let ip = text(machine, "privateIpAddress")?;
            ensure!(ip.parse::<IpAddr>().is_ok(), "{name}: succeed with address {ip:?}");
        }
        if let Some(before) = self.machines.insert(name.to_owned(), told.clone()) {
            ensure!(before.id.is_empty() || before.id == told.id, "{name}: machineId changed from {}", before.id);
            let legal = match before.result.as_str() {
                "executing" => true,
                "succeed" => result != "executing",
                _ => result == "fail",
            };
            ensure!(legal, "{name}: {result} after {}", before.result);
            let settled = before.result != "executing" || result == "executing";
            ensure!(
                if settled { told.launchtime == before.launchtime } else { told.launchtime >= before.launchtime },
                "{name}: launchtime {} after {} ({} -> {result})",
                told.launchtime,
                before.launchtime,
                before.result,
            );
        }
        Ok(())
    }
}

impl ReturnRequest {
    fn follow(&mut self, status: &str, machines: &[Value]) -> Result<()> {
        for machine in machines {
            let (name, result) = (text(machine, "name")?, text(machine, "result")?);
            ensure!(self.names.iter().any(|own| own == name), "{name:?} is not part of this return");
            match result {
                "executing" => ensure!(machine["status"] == "shutting-down", "{name}: executing/{}", machine["status"]),
                "succeed" => ensure!(machine["status"] == "terminated", "{name}: succeed/{}", machine["status"]),
                _ => {}
            }
            if let Some(before) = self.told.insert(name.to_owned(), result.to_owned()) {
                ensure!(before == "executing" || before == result, "{name}: {result} after {before}");
            }
        }
        let listed: BTreeSet<&str> = machines.iter().filter_map(|machine| machine["name"].as_str()).collect();
        if let Some(missing) = self.names.iter().find(|name| !listed.contains(name.as_str())) {
            bail!("{missing:?} is part of this return and not listed");
        }
        ensure!(listed.len() == machines.len(), "a machine is listed twice");
        let results = |result: &str| machines.iter().filter(|machine| machine["result"] == result).count();
        let expected = match (results("executing"), results("fail")) {
            (0, 0) => "complete",
            (0, _) => "complete_with_error",
            _ => "running",
        };
        // Past its deadline a return ends with error although a machine may still be on its way.
        let ended = status == "complete_with_error" && results("fail") > 0;
        ensure!(status == expected || ended, "status {status} where the machines say {expected}");
        Ok(())
    }
}

/// Now, in epoch seconds.
pub fn epoch_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// An array's elements, or the single object that stands for one.
pub fn each(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(_) => vec![value],
        _ => Vec::new(),
    }
}

fn freeze(frozen: &mut Option<Value>, entry: &Value, status: &str) -> Result<()> {
    match frozen {
        Some(before) => ensure!(before == entry, "a terminal answer changed; it was {before}"),
        None if status != "running" => *frozen = Some(entry.clone()),
        None => {}
    }
    Ok(())
}

fn machine_form(machine: &Value) -> Result<()> {
    let name = text(machine, "name")?;
    let result = one_of(machine, "result", &["executing", "succeed", "fail"])?;
    one_of(machine, "status", &["running", "stopped", "terminated", "shutting-down", "stopping"])?;
    text(machine, "machineId")?;
    text(machine, "privateIpAddress")?;
    ensure!(machine["publicIpAddress"] == "", "{name}: publicIpAddress is {}", machine["publicIpAddress"]);
    let launched = machine["launchtime"].as_u64().with_context(|| format!("{name}: launchtime is no integer"))?;
    ensure!(launched != 0, "{name}: launchtime is 0");
    ensure!(launched <= epoch_seconds(), "{name}: launchtime {launched} is in the future");
    let message = text(machine, "message")?;
    ensure!(result != "fail" || !message.trim().is_empty(), "{name}: fail without a reason");
    Ok(())
}

fn templates(json: &Value) -> Result<()> {
    let templates = json["templates"].as_array().context("templates is no array")?;
    let mut usable = false;
    for template in templates {
        let id = text(template, "templateId")?;
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        ensure!((1..=64).contains(&id.len()) && id.chars().all(legal), "templateId {id:?}");
        let max = template["maxNumber"].as_i64().with_context(|| format!("{id}: maxNumber is no integer"))?;
        ensure!(max >= -1, "{id}: maxNumber {max}");
        usable |= max != 0;
        for hidden in ["availableNumber", "requestedMachines", "podSpec", "podSpecYaml"] {
            ensure!(template.get(hidden).is_none(), "{id}: {hidden} is emitted");
        }
        attributes(template["attributes"].as_object().with_context(|| format!("{id}: no attributes"))?)
            .with_context(|| format!("template {id}"))?;
    }
    ensure!(usable, "no usable template in a successful answer");
    Ok(())
}

fn attributes(attributes: &Map<String, Value>) -> Result<()> {
    ensure!(attributes.get("type").is_some_and(|kind| *kind == serde_json::json!(["String", "X86_64"])), "type");
    for (key, value) in attributes {
        let pair = value.as_array().with_context(|| format!("{key} is no array"))?;
        let [Value::String(kind), Value::String(value)] = pair.as_slice() else { bail!("{key} is {pair:?}") };
        ensure!(matches!(kind.as_str(), "Numeric" | "String" | "Boolean"), "{key} is a {kind}");
        ensure!(kind != "Numeric" || value.parse::<f64>().is_ok(), "{key} is Numeric {value:?}");
    }
    for key in ["ncpus", "ncores", "nram"] {
        let numeric = attributes.get(key).is_some_and(|value| value[0] == "Numeric");
        // A host lacking ncpus or ncores is not counted at all; nram is what the template says.
        ensure!(numeric || key == "nram", "{key} is missing");
    }
    Ok(())
}

fn request_id(json: &Value) -> Result<String> {
    text(json, "message")?;
    let id = text(json, "requestId")?;
    let legal = id.len() == REQUEST_ID_CHARS && id.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'));
    ensure!(legal, "requestId {id:?} is not 16 characters of lower-case base32");
    Ok(id.to_owned())
}

fn text<'a>(object: &'a Value, key: &str) -> Result<&'a str> {
    object[key].as_str().with_context(|| format!("{key} is {} where text is needed", object[key]))
}

fn one_of<'a>(object: &'a Value, key: &str, allowed: &[&str]) -> Result<&'a str> {
    let value = text(object, key)?;
    ensure!(allowed.contains(&value), "{key} is {value:?}, none of {allowed:?}");
    Ok(value)
}
