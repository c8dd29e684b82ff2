//! A provider as HostFactory sees it: scripts, their environment and, behind them, a namespace for its pods.

use std::{
    cell::Cell,
    collections::BTreeMap,
    ffi::OsString,
    fs,
    io::{BufRead, BufReader, Seek, SeekFrom},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{
    Verb,
    process::Process,
    testbed::{Facts, Ground},
};

/// Longest wait for machines.
const PATIENCE: Duration = Duration::from_secs(900);
/// Shortest pause between two polls.
const PAUSE: Duration = Duration::from_millis(50);

/// A provider that serves.
pub(crate) struct Provider {
    /// Its name, with its version.
    pub(crate) name: &'static str,
    /// Bytes that it takes on the disk.
    pub(crate) installed: u64,
    /// The template's id.
    pub(crate) template: String,
    /// Directory of its scripts.
    pub(crate) scripts: PathBuf,
    /// What its scripts and servers find in their environment.
    pub(crate) env: BTreeMap<&'static str, OsString>,
    /// What runs all the time.
    pub(crate) servers: Vec<Process>,
    /// Where it stands.
    pub(crate) site: Site,
}

/// A namespace on the testbed's nodes, a directory, and a kubeconfig.
pub(crate) struct Site {
    ground: Ground,
    audit_log: PathBuf,
    next_input: Cell<u32>,
    dir: TempDir,
}

/// A machine as the provider told of it.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    name: String,
    id: String,
}

/// A wait for machines.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waited {
    /// From before the script that asks until the answer that says all.
    pub(crate) time: Duration,
    /// The part of it since the last answer that did not say all.
    pub(crate) between_polls: Duration,
    /// Polls.
    pub(crate) polls: u32,
    /// Pods that still were there when the answer came.
    pub(crate) pods_left: u64,
}

impl Site {
    /// A site of this name; all sites share the nodes.
    pub(crate) fn new(facts: &Facts, name: &str) -> Self {
        let ground = Ground::on_the_shared_nodes(facts).expect("the testbed prepares a namespace");
        let dir = tempfile::Builder::new().prefix(&format!("hfd-peers-{name}-")).tempdir();
        let dir = dir.expect("a temporary directory can be made");
        let site = Self { ground, audit_log: facts.audit_log.clone(), next_input: Cell::new(0), dir };
        for part in ["conf", "work", "log"] {
            fs::create_dir(site.path(part)).expect("the directory is ours");
        }
        let kubeconfig = facts.kubeconfig(site.ground.namespace(), site.ground.token());
        fs::write(site.kubeconfig(), kubeconfig).expect("the directory is ours");
        site
    }

    /// A path in its directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Its kubeconfig.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.path("kubeconfig")
    }

    /// Its namespace.
    pub(crate) fn namespace(&self) -> &str {
        self.ground.namespace()
    }

    /// What HostFactory sets for every provider, with a `PATH` that begins with `programs`.
    pub(crate) fn env(&self, programs: &Path) -> BTreeMap<&'static str, OsString> {
        let mut path = programs.as_os_str().to_owned();
        path.push(":/usr/bin:/bin");
        let [conf, work, log] = ["conf", "work", "log"].map(|part| self.path(part).into_os_string());
        BTreeMap::from([
            ("PATH", path),
            ("HOME", self.dir.path().into()),
            ("HF_PROVIDER_NAME", "k8s-hf".into()),
            ("HF_PROVIDER_CONFDIR", conf.clone()),
            ("HF_PROVIDER_WORKDIR", work.clone()),
            ("HF_PROVIDER_LOGDIR", log.clone()),
            ("HF_TOP", self.dir.path().into()),
            ("HF_CONFDIR", conf),
            ("HF_WORKDIR", work),
            ("HF_LOGDIR", log),
        ])
    }

    /// Pods in its namespace.
    fn pods(&self) -> u64 {
        let path = format!("/api/v1/namespaces/{}/pods?limit=1", self.namespace());
        let list = self.ground.admin().json("GET", &path, None).expect("the API server answers");
        let first = list["items"].as_array().map_or(0, Vec::len) as u64;
        first + list["metadata"]["remainingItemCount"].as_u64().unwrap_or_default()
    }

    /// Where the API server's audit log ends now.
    pub(crate) fn audited(&self) -> u64 {
        self.audit_log.metadata().map_or(0, |log| log.len())
    }

    /// Calls of the API server by this provider since then, a watch being one.
    pub(crate) fn api_calls(&self, since: u64) -> usize {
        let user = format!("system:serviceaccount:{}:hfd", self.namespace());
        let mut log = fs::File::open(&self.audit_log).expect("the testbed keeps an audit log");
        log.seek(SeekFrom::Start(since)).expect("the audit log is a file");
        let lines = BufReader::new(log).lines().map_while(Result::ok).filter(|line| line.contains(&user));
        // A watch is told when it begins and when it ends.
        let told_before = |line: &str| line.contains(r#""verb":"watch""#) && line.contains(r#""ResponseComplete""#);
        lines.filter(|line| !told_before(line)).count()
    }
}

impl Provider {
    /// A script's command, with its input already written.
    fn command(&self, verb: Verb, input: &Value) -> Command {
        let number = self.site.next_input.replace(self.site.next_input.get() + 1);
        let file = self.site.path(&format!("work/hf_in_{number:06}"));
        fs::write(&file, input.to_string()).expect("the directory is ours");
        let mut command = Command::new(self.scripts.join(format!("{}.sh", verb.name())));
        command.env_clear().envs(&self.env).current_dir(self.site.dir.path()).arg("-f").arg(file);
        command.stdin(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Calls a script: the time from before its start to after its end with all output read, and the answer, if it is
    /// one.
    fn call(&self, verb: Verb, input: &Value) -> (Duration, Option<Value>) {
        let mut command = self.command(verb, input);
        let begun = Instant::now();
        let output = command.output().expect("a script can be started");
        let time = begun.elapsed();
        (time, if output.status.success() { document(&output.stdout) } else { None })
    }

    /// A call that must be answered with a request's id.
    fn ask(&self, verb: Verb, input: &Value) -> Result<String, String> {
        let (_, answer) = self.call(verb, input);
        let id = answer.as_ref().and_then(|answer| answer["requestId"].as_str()).map(str::to_owned);
        id.ok_or_else(|| format!("{} of {} gave no id: {answer:?}", verb.name(), self.name))
    }

    /// One status call of a request that is done.
    ///
    /// # Errors
    /// When it does not list that many machines.
    pub(crate) fn status(&self, id: &str, count: usize) -> Result<Duration, String> {
        let (time, answer) = self.call(Verb::GetRequestStatus, &status_of(id));
        let told = answer.as_ref().map_or(0, |answer| succeeded(answer).len());
        if told == count { Ok(time) } else { Err(format!("{}: {told} of {count} machines told", self.name)) }
    }

    /// The most memory (KiB) that one process of such a call has resident, by the program that measures it.
    pub(crate) fn peak(&self, measure: &Path, id: &str) -> u64 {
        let script = self.command(Verb::GetRequestStatus, &status_of(id));
        let mut command = Command::new(measure);
        command.env_clear().envs(&self.env).current_dir(self.site.dir.path());
        command.arg(script.get_program()).args(script.get_args()).stdin(Stdio::null());
        let output = command.output().expect("it can be started");
        assert!(output.status.success(), "{} fails under {}", self.name, measure.display());
        String::from_utf8_lossy(&output.stdout).trim().parse().expect("it prints a number")
    }

    /// The most memory (KiB) that its servers had resident, all together.
    pub(crate) fn servers_peak(&self) -> u64 {
        let of = |server: &Process| {
            let status = fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
            line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).expect("a server of a provider runs")
        };
        self.servers.iter().map(of).sum()
    }

    /// Asks for machines and waits until all are reported ready; the request's id and the machines.
    ///
    /// # Errors
    /// When that does not happen within a quarter of an hour.
    pub(crate) fn bring_up(&self, count: usize) -> Result<(Waited, String, Vec<Machine>), String> {
        let begun = Instant::now();
        let input = json!({"template": {"templateId": self.template, "machineCount": count}});
        let id = self.ask(Verb::RequestMachines, &input)?;
        let (waited, end) = self.wait(begun, &id, |answer| succeeded(answer).len() == count)?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let machines = succeeded(&end)
            .into_iter()
            .map(|machine| Machine { name: text(&machine["name"]), id: text(&machine["machineId"]) })
            .collect();
        Ok((waited, id, machines))
    }

    /// Returns machines and waits until all are reported gone.
    ///
    /// # Errors
    /// When that does not happen within a quarter of an hour.
    pub(crate) fn take_down(&self, machines: &[Machine]) -> Result<Waited, String> {
        let listed = |machine: &Machine| json!({"name": machine.name, "machineId": machine.id});
        let machines: Vec<Value> = machines.iter().map(listed).collect();
        let before = self.site.pods().saturating_sub(machines.len() as u64);
        let begun = Instant::now();
        let id = self.ask(Verb::RequestReturnMachines, &json!({ "machines": machines }))?;
        let (mut waited, _) = self.wait(begun, &id, |_| true)?;
        // What is said is not always so; what follows is to begin with a clean namespace.
        let left = || self.site.pods().saturating_sub(before);
        waited.pods_left = left();
        while left() > 0 {
            thread::sleep(PAUSE);
            if begun.elapsed() > PATIENCE {
                return Err(format!("{}: {} pods of returned machines stay", self.name, left()));
            }
        }
        Ok(waited)
    }

    fn wait(&self, begun: Instant, id: &str, all: impl Fn(&Value) -> bool) -> Result<(Waited, Value), String> {
        let (mut polls, mut unfinished) = (0, begun);
        loop {
            let (time, answer) = self.call(Verb::GetRequestStatus, &status_of(id));
            let answered = Instant::now();
            polls += 1;
            match answer {
                Some(answer) if answer["requests"][0]["status"] == "complete" && all(&answer) => {
                    let (time, between_polls) = (answered - begun, answered - unfinished);
                    return Ok((Waited { time, between_polls, polls, pods_left: 0 }, answer));
                }
                // Some say `complete_with_error` before they have looked: only time tells.
                answer if begun.elapsed() > PATIENCE => {
                    let told = answer.map_or_else(|| "nothing".to_owned(), |answer| summary(&answer));
                    return Err(format!("{}: not within {} s, last told: {told}", self.name, PATIENCE.as_secs()));
                }
                _ => {}
            }
            unfinished = answered;
            // A poll is paid from the same cores: at most half of one.
            thread::sleep(time.max(PAUSE));
        }
    }
}

fn status_of(id: &str) -> Value {
    json!({"requests": [{"requestId": id}]})
}

/// The one document in an output that may have other lines around it.
fn document(output: &[u8]) -> Option<Value> {
    let from = output.iter().position(|byte| *byte == b'{')?;
    let to = output.iter().rposition(|byte| *byte == b'}')?;
    serde_json::from_slice(&output[from..=to]).ok()
}

/// The machines of the first request that are there.
fn succeeded(answer: &Value) -> Vec<&Value> {
    let machines = answer["requests"][0]["machines"].as_array();
    machines.into_iter().flatten().filter(|machine| machine["result"] == "succeed").collect()
}

fn summary(answer: &Value) -> String {
    let request = &answer["requests"][0];
    let machines = request["machines"].as_array().map_or(0, Vec::len);
    format!(
        "{} {} with {machines} machines, {} succeeded",
        request["status"],
        request["message"],
        succeeded(answer).len()
    )
}
