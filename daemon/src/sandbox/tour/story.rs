//! The chapters of the tour, in the order in which they are told.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    Tour, TourError,
    scripts::{self, Verb},
    show,
};
use crate::sandbox::places;

/// Machines of the first request.
const MACHINES: usize = 5;
/// Polls of which the API server must not notice anything.
const QUIET_POLLS: u32 = 20;
/// The template that no node can take, and how many machines of it.
const TOO_LARGE: &str = "tour-too-large";
const TOO_LARGE_MACHINES: usize = 2;
/// The shortest deadline that hfd accepts in a template.
const TOO_LARGE_DEADLINE_SECONDS: u32 = 10;
/// What the scheduler says of it.
const SCHEDULERS_WORDS: &str = "Insufficient cpu";
/// Lines shown of a table or page for people.
const PAGE_LINES: usize = 16;
/// Lines that say how a request stands and why.
const WHY_LINES: usize = 13;

impl Tour<'_> {
    /// Tells everything; what was not as it must be comes back.
    pub(super) async fn tell(mut self) -> Result<Vec<String>, TourError> {
        self.out.say(
            "HostFactory asks a provider for machines through five scripts, each called as SCRIPT -f FILE. Here they \
             are executed for real: each is one call of hfctl to the daemon hfd, which makes a pod of every machine. \
             Only the cluster is simulated: 4 nodes, in this process, behind the HTTP API of Kubernetes.",
        )?;
        let calls_before = self.stage.cluster.counters();
        let template = self.templates().await?;
        let machines = self.five_machines(&template).await?;
        self.quiet_polls(&machines).await?;
        self.operators_view(&machines).await?;
        let lost = self.a_node_is_lost(&machines).await?;
        self.all_returned(&machines, &lost).await?;
        self.no_node_is_large_enough().await?;
        self.bad_input(&template).await?;
        let deletes = MACHINES - lost.len() + TOO_LARGE_MACHINES;
        self.summary(&calls_before, deletes).await?;
        Ok(self.checks.wrong().to_vec())
    }

    async fn templates(&mut self) -> Result<String, TourError> {
        self.out.heading("1. What can be asked for?")?;
        let reply = self.exchange(Verb::GetAvailableTemplates, &json!({})).await?;
        self.check("the answer has a template, and exit code 0", reply["templates"][0].is_object())?;
        let template = text(&reply, "/templates/0/templateId", "template id")?;
        self.add_template()?;
        self.out.say(&format!(
            "An operator now adds a template to the file: {TOO_LARGE}. hfd will notice by itself; see chapter 7."
        ))?;
        Ok(template)
    }

    /// As a careful operator: first the manifest, then the template file, each in one step.
    fn add_template(&self) -> Result<(), TourError> {
        let manifest = json!({
            "apiVersion": "v1", "kind": "Pod",
            "spec": {"containers": [{
                "name": "compute", "image": "compute", "resources": {"requests": {"cpu": "512"}}
            }]}
        });
        let entry = json!({
            "templateId": TOO_LARGE, "maxNumber": 10, "readyDeadlineSeconds": TOO_LARGE_DEADLINE_SECONDS,
            "attributes": {
                "type": ["String", "X86_64"], "ncores": ["Numeric", "1"], "ncpus": ["Numeric", "512"],
                "nram": ["Numeric", "1024"]
            },
            "podSpec": format!("{TOO_LARGE}.json")
        });
        let path = &self.stage.template_file;
        let read = std::fs::read(path).map_err(|source| places::file("read", path, source))?;
        let mut file: Value = serde_json::from_slice(&read).unwrap_or_default();
        match file["templates"].as_array_mut() {
            Some(templates) => templates.push(entry),
            None => return Err(TourError::Missing { what: "templates", reply: path.display().to_string() }),
        }
        let dir = &self.stage.places.confdir;
        places::write(&dir.join(format!("{TOO_LARGE}.json")), manifest.to_string().as_bytes(), 0o644)?;
        places::write(path, format!("{file:#}\n").as_bytes(), 0o644)?;
        Ok(())
    }

    async fn five_machines(&mut self, template: &str) -> Result<Vec<Machine>, TourError> {
        self.out.heading(&format!("2. {MACHINES} machines, please"))?;
        let input = json!({"template": {"templateId": template, "machineCount": MACHINES}});
        let reply = self.exchange(Verb::RequestMachines, &input).await?;
        let id = text(&reply, "/requestId", "request id")?;
        self.out.say("When a request is answered it is on the disk: a crash of hfd from here on loses nothing.")?;

        self.out.heading("3. Are they up?")?;
        let requests = self.follow(&[id], MACHINES).await?;
        let machines: Vec<_> = requests[0]["machines"].as_array().into_iter().flatten().map(Machine::of).collect();
        let names: BTreeSet<_> = machines.iter().map(|machine| &machine.name).collect();
        self.check("the request is complete", requests[0]["status"] == "complete")?;
        self.check(
            &format!("{MACHINES} machines with {MACHINES} names, each succeeded, with its address and its pod's UID"),
            machines.len() == MACHINES && names.len() == MACHINES && machines.iter().all(Machine::is_up),
        )?;
        Ok(machines)
    }

    async fn quiet_polls(&mut self, machines: &[Machine]) -> Result<(), TourError> {
        let before = self.stage.cluster.counters();
        let id = machines.first().map_or("", Machine::request);
        for _ in 0..QUIET_POLLS / 2 {
            self.silent(Verb::GetRequestStatus, &json!({"requests": [{"requestId": id}]})).await?;
            self.silent(Verb::GetReturnRequests, &references(machines)).await?;
        }
        let unchanged = self.stage.cluster.counters() == before;
        self.check(&format!("{QUIET_POLLS} more polls, and the API server has not heard of one of them"), unchanged)
    }

    async fn operators_view(&mut self, machines: &[Machine]) -> Result<(), TourError> {
        self.out.heading("4. What an operator sees")?;
        self.hfctl(&["status"], PAGE_LINES, show::cut).await?;
        let table = self.hfctl(&["get", "machines"], PAGE_LINES, show::cut).await?;
        self.check("every machine is in the table", machines.iter().all(|machine| table.contains(&machine.name)))
    }

    async fn a_node_is_lost(&mut self, machines: &[Machine]) -> Result<Vec<Machine>, TourError> {
        self.out.heading("5. A node is lost")?;
        let input = references(machines);
        let quiet = self.exchange(Verb::GetReturnRequests, &input).await?;
        self.check("before: nothing is to be returned", quiet["requests"] == json!([]))?;
        let cluster = &self.stage.cluster;
        let mut by_node: BTreeMap<String, Vec<Machine>> = BTreeMap::new();
        for machine in machines {
            let node = cluster.node_of(cluster.namespace(), &machine.name).unwrap_or_default();
            by_node.entry(node).or_default().push(machine.clone());
        }
        let (node, lost) = by_node.into_iter().max_by_key(|(_, machines)| machines.len()).unwrap_or_default();
        cluster.lose_node(&node)?;
        self.out.say(&format!("Node {node} has just been removed, and {} of our machines with it.", lost.len()))?;

        let names: BTreeSet<_> = lost.iter().map(|machine| machine.name.clone()).collect();
        let mut seen = BTreeSet::new();
        let mut patience = Self::patience("getReturnRequests names what is lost");
        while seen != names {
            patience.wait().await?;
            let reply = self.silent(Verb::GetReturnRequests, &input).await?;
            seen = returns(&reply.json);
            if !seen.iter().all(|name| names.contains(name)) {
                break;
            }
        }
        let reply = self.exchange(Verb::GetReturnRequests, &input).await?;
        self.check("exactly the lost machines are to be returned", returns(&reply) == names && !names.is_empty())?;
        Ok(lost)
    }

    async fn all_returned(&mut self, machines: &[Machine], lost: &[Machine]) -> Result<(), TourError> {
        self.out.heading("6. HostFactory returns the lost ones, and then the rest")?;
        let rest: Vec<_> = machines.iter().filter(|machine| !lost.contains(machine)).cloned().collect();
        let mut ids = Vec::new();
        for part in [lost, &rest] {
            let reply = self.exchange(Verb::RequestReturnMachines, &references(part)).await?;
            ids.push(text(&reply, "/requestId", "request id")?);
        }
        self.out.say("A return is followed like a request, and here both at once:")?;
        let requests = self.follow(&ids, MACHINES).await?;
        self.check("both returns are complete", requests.iter().all(|request| request["status"] == "complete"))?;
        let exists = self.stage.cluster.pod_names().iter().any(|pod| pod.exists);
        self.check("and not one pod is left in the cluster", !exists)?;
        let reply = self.exchange(Verb::GetReturnRequests, &json!({})).await?;
        self.check("nothing more is to be returned", reply["requests"] == json!([]))
    }

    async fn no_node_is_large_enough(&mut self) -> Result<(), TourError> {
        self.out.heading("7. A machine that no node is large enough for")?;
        let mut patience = Self::patience("hfd reads the changed template file");
        loop {
            let reply = self.silent(Verb::GetAvailableTemplates, &json!({})).await?;
            let mut templates = reply.json["templates"].as_array().into_iter().flatten();
            if templates.any(|template| template["templateId"] == TOO_LARGE) {
                break;
            }
            patience.wait().await?;
        }
        self.out.say(&format!(
            "The added template is there. Its pods want 512 cores, and it gives them {TOO_LARGE_DEADLINE_SECONDS} s \
             to become ready."
        ))?;
        let input = json!({"template": {"templateId": TOO_LARGE, "machineCount": TOO_LARGE_MACHINES}});
        let reply = self.exchange(Verb::RequestMachines, &input).await?;
        let id = text(&reply, "/requestId", "request id")?;
        let why = ["describe", "request", id.as_str()];
        let mut patience = Self::patience("hfctl tells the scheduler's words");
        while !self.hfctl_silently(&why).await?.0.contains(SCHEDULERS_WORDS) {
            patience.wait().await?;
        }
        self.out.say("An operator need not wait for the deadline to learn why:")?;
        self.hfctl(&why, WHY_LINES, show::broken).await?;
        let requests = self.follow(&[id], TOO_LARGE_MACHINES).await?;
        self.check("the request ended with an error", requests[0]["status"] == "complete_with_error")?;
        let mut machines = requests[0]["machines"].as_array().into_iter().flatten();
        let told = |machine: &Value| {
            let message = machine["message"].as_str().unwrap_or_default();
            machine["result"] == "fail" && message.contains(SCHEDULERS_WORDS)
        };
        self.check("each machine failed in the scheduler's own words", machines.all(told))?;
        let mut patience = Self::patience("hfd deletes the pods of failed machines");
        while self.stage.cluster.pod_names().iter().any(|pod| pod.exists) {
            patience.wait().await?;
        }
        self.check("hfd has removed their pods", true)
    }

    async fn bad_input(&mut self, template: &str) -> Result<(), TourError> {
        self.out.heading("8. Input that makes no sense")?;
        let before = self.stage.cluster.counters();
        let inputs = [
            (Verb::RequestMachines, json!({"template": {"templateId": "no-such", "machineCount": 1}}), "no-such"),
            (Verb::RequestMachines, json!({"template": {"templateId": template, "machineCount": "5"}}), "\"5\""),
            (Verb::RequestReturnMachines, json!({"machines": []}), "machines"),
        ];
        for (verb, input, named) in inputs {
            let reply = self.scripts.call(self.stage, verb, input.to_string().as_bytes()).await?;
            self.show(&reply, &input)?;
            let message = reply.json["message"].as_str().unwrap_or_default();
            self.check("refused: exit code 1, and one message that names the matter", {
                reply.code == 1 && message.contains(named)
            })?;
        }
        self.check("the API server has not been bothered", self.stage.cluster.counters() == before)
    }

    async fn summary(&mut self, before: &BTreeMap<String, u64>, deletes: usize) -> Result<(), TourError> {
        self.out.heading("9. What the simulated API server has counted")?;
        let creates = MACHINES + TOO_LARGE_MACHINES;
        let calls = self.stage.cluster.counters();
        let count = |key: &str| calls.get(key).copied().unwrap_or(0);
        for (key, count) in &calls {
            self.out.line(&format!("  {count:>4}  {key}"))?;
        }
        let polls = self.scripts.count(Verb::GetRequestStatus) + self.scripts.count(Verb::GetReturnRequests);
        self.out.line(&format!("     0  for {polls} polls of getRequestStatus and getReturnRequests"))?;
        self.out.gap()?;
        self.check(
            &format!("{creates} machines asked for, {creates} creates"),
            count("create pods") == creates as u64,
        )?;
        self.check(
            &format!("{deletes} pods to be removed (the lost ones were gone), {deletes} deletes"),
            count("delete pods") == deletes as u64,
        )?;
        self.check("one watch", count("watch pods") == 1)?;
        let others = |calls: &BTreeMap<String, u64>| -> BTreeMap<String, u64> {
            let is_other = |key: &str| key.ends_with(" pods") && key != "create pods" && key != "delete pods";
            calls.iter().filter(|(key, _)| is_other(key)).map(|(key, count)| (key.clone(), *count)).collect()
        };
        self.check("and no other call about pods since before the first script", others(&calls) == others(before))?;
        let (total, seconds) = (self.scripts.total(), self.begun.elapsed().as_secs_f64());
        self.out.gap()?;
        if self.checks.wrong().is_empty() {
            let checks = self.checks.passed();
            self.out.line(&format!(
                "{total} calls of the provider scripts, {checks} checks, all as they must be, in {seconds:.1} s."
            ))?;
        } else {
            self.out.line(&format!("{total} calls of the provider scripts in {seconds:.1} s. What was wrong:"))?;
            for what in self.checks.wrong() {
                self.out.line(&format!("  not so: {what}"))?;
            }
        }
        Ok(())
    }

    /// Runs hfctl and shows the first lines of what it prints, made to fit.
    async fn hfctl(
        &mut self,
        arguments: &[&str],
        shown: usize,
        fit: fn(&str) -> Vec<String>,
    ) -> Result<String, TourError> {
        let (text, succeeded) = self.hfctl_silently(arguments).await?;
        let line = format!("hfctl {}", arguments.join(" "));
        self.out.gap()?;
        self.out.line(&format!("  $ {line}"))?;
        for line in text.lines().take(shown).flat_map(fit) {
            self.out.line(format!("  {line}").trim_end())?;
        }
        let more = text.lines().count().saturating_sub(shown);
        if more > 0 {
            self.out.line(&format!("  ... {more} more lines"))?;
        }
        self.check(&format!("{line} succeeded"), succeeded)?;
        Ok(text)
    }

    async fn hfctl_silently(&self, arguments: &[&str]) -> Result<(String, bool), TourError> {
        let mut command = self.stage.command(&self.stage.places.hfctl);
        let output = scripts::run(command.args(arguments))
            .await
            .map_err(|source| TourError::Run { program: format!("hfctl {}", arguments.join(" ")), source })?;
        Ok((String::from_utf8_lossy(&output.stdout).into_owned(), output.status.success()))
    }
}

/// A machine as HostFactory knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Machine {
    name: String,
    id: String,
    address: String,
    result: String,
}

impl Machine {
    fn of(machine: &Value) -> Self {
        let text = |key: &str| machine[key].as_str().unwrap_or_default().to_owned();
        Self { name: text("name"), id: text("machineId"), address: text("privateIpAddress"), result: text("result") }
    }

    fn is_up(&self) -> bool {
        self.result == "succeed" && !self.address.is_empty() && !self.id.is_empty()
    }

    /// The request that it belongs to: its name begins with it.
    fn request(&self) -> &str {
        self.name.rsplit_once('-').map_or("", |(request, _)| request)
    }
}

/// The machines as HostFactory names them.
fn references(machines: &[Machine]) -> Value {
    let machines: Vec<_> =
        machines.iter().map(|machine| json!({"name": machine.name, "machineId": machine.id})).collect();
    json!({ "machines": machines })
}

/// The machines that getReturnRequests names.
fn returns(reply: &Value) -> BTreeSet<String> {
    let requests = reply["requests"].as_array().into_iter().flatten();
    requests.filter_map(|request| request["machine"].as_str()).map(str::to_owned).collect()
}

fn text(reply: &Value, pointer: &str, what: &'static str) -> Result<String, TourError> {
    let found = reply.pointer(pointer).and_then(Value::as_str);
    found.map(str::to_owned).ok_or_else(|| TourError::Missing { what, reply: reply.to_string() })
}
