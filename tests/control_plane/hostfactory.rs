//! HostFactory's side of a test: the five scripts, their strict reader, and `hfctl` for people.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tests::{
    Checker, Input, Reply, RequestStatus, Scripts, Verb, answer::epoch_seconds, daemon::hfctl_on, process::Finished,
};

/// Longest wait for a request to end, or for the status to say something.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// Least pause between two polls: HostFactory's own is 30 s. It is longer where a poll takes longer, so that reading a
/// thousand machines strictly does not slow down what is waited for.
const POLL_EVERY: Duration = Duration::from_millis(50);

/// A HostFactory that speaks to one daemon.
#[derive(Debug)]
pub(crate) struct HostFactory {
    scripts: Scripts,
    checker: Mutex<Checker>,
    socket: PathBuf,
}

impl HostFactory {
    /// One with its files in `dir`, for the daemon on `socket`.
    pub(crate) fn new(dir: &Path, socket: &Path) -> Self {
        Self { scripts: Scripts::new(dir, socket), checker: Mutex::default(), socket: socket.to_owned() }
    }

    /// Calls a verb by its script and reads the reply strictly.
    #[track_caller]
    pub(crate) fn call(&self, verb: Verb, input: &Value) -> Reply {
        let begun = epoch_seconds();
        let reply = self.scripts.call(verb, Input::File(input.to_string().as_bytes()));
        if let Err(error) = self.checker().read(input, begun, &reply) {
            panic!("a reply breaks the interface: {error:?}");
        }
        reply
    }

    /// The strict reader's memory.
    pub(crate) fn checker(&self) -> MutexGuard<'_, Checker> {
        self.checker.lock().expect("no test goes on after a panic in the reader")
    }

    /// The templates told.
    #[track_caller]
    pub(crate) fn templates(&self) -> Vec<Value> {
        let reply = self.call(Verb::GetAvailableTemplates, &json!({}));
        reply.ok()["templates"].as_array().cloned().unwrap_or_default()
    }

    /// Asks for machines, and gives the reply, which may be a refusal.
    #[track_caller]
    pub(crate) fn ask(&self, template: &str, count: u64) -> Reply {
        self.call(Verb::RequestMachines, &json!({"template": {"templateId": template, "machineCount": count}}))
    }

    /// Asks for machines and gives the request's id.
    #[track_caller]
    pub(crate) fn request(&self, template: &str, count: u64) -> String {
        id_of(&self.ask(template, count))
    }

    /// Returns machines by name and gives the return's id.
    #[track_caller]
    pub(crate) fn give_back(&self, names: &[&str]) -> String {
        id_of(&self.call(Verb::RequestReturnMachines, &machines(names)))
    }

    /// How one request or return stands.
    #[track_caller]
    pub(crate) fn status(&self, id: &str) -> RequestStatus {
        let reply = self.call(Verb::GetRequestStatus, &json!({"requests": [{"requestId": id}]}));
        RequestStatus::read(&reply.ok()["requests"][0])
    }

    /// Polls until the request is as wanted.
    #[track_caller]
    pub(crate) fn wait(&self, id: &str, what: &str, mut wanted: impl FnMut(&RequestStatus) -> bool) -> RequestStatus {
        let begun = Instant::now();
        loop {
            let asked = Instant::now();
            let status = self.status(id);
            if wanted(&status) {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "{id} not within {PATIENCE:?} {what}: {}", shown(&status));
            thread::sleep(POLL_EVERY.max(4 * asked.elapsed()));
        }
    }

    /// Polls until the request has ended.
    #[track_caller]
    pub(crate) fn wait_end(&self, id: &str) -> RequestStatus {
        self.wait(id, "ended", |status| status.status != "running")
    }

    /// Polls until the request has ended, and well.
    #[track_caller]
    pub(crate) fn wait_complete(&self, id: &str) -> RequestStatus {
        let end = self.wait_end(id);
        assert!(end.status == "complete", "{id}: {}", shown(&end));
        end
    }

    /// Asks for machines, waits until all are ready, and gives their names.
    #[track_caller]
    pub(crate) fn bring_up(&self, template: &str, count: u64) -> Vec<String> {
        let end = self.wait_complete(&self.request(template, count));
        end.machines.into_iter().map(|machine| machine.name).collect()
    }

    /// Returns machines and waits until they are gone.
    #[track_caller]
    pub(crate) fn take_down(&self, names: &[&str]) {
        self.wait_complete(&self.give_back(names));
    }

    /// Names that the provider wants back when asked about `names`.
    #[track_caller]
    pub(crate) fn reclaims(&self, names: &[&str]) -> Vec<String> {
        let reply = self.call(Verb::GetReturnRequests, &machines(names));
        let entries = reply.ok()["requests"].as_array().expect("read strictly before");
        entries.iter().map(|entry| entry["machine"].as_str().expect("read strictly before").to_owned()).collect()
    }

    /// Runs `hfctl`.
    #[track_caller]
    pub(crate) fn hfctl(&self, arguments: &[&str]) -> Finished {
        hfctl_on(&self.socket, arguments, b"")
    }

    /// `hfctl status -o json`, if the daemon answers.
    pub(crate) fn daemon_status(&self) -> Option<Value> {
        let finished = self.hfctl(&["status", "-o", "json"]);
        serde_json::from_slice(&finished.stdout).ok().filter(|_| finished.code != 3)
    }

    /// Waits until the daemon's status is as wanted.
    #[track_caller]
    pub(crate) fn wait_daemon(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let status = self.daemon_status().unwrap_or_default();
            if wanted(&status) {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}; hfctl status says {status:#}");
            thread::sleep(POLL_EVERY);
        }
    }

    /// Waits until the daemon has seen the cluster and trusts what it sees.
    #[track_caller]
    pub(crate) fn wait_serving(&self) -> Value {
        self.wait_daemon("the daemon serves", |status| status["ready"] == json!(true))
    }

    /// Waits until `hfctl status` says something that contains each of `words`, letter case aside.
    #[track_caller]
    pub(crate) fn wait_says(&self, words: &[&str]) -> Value {
        self.wait_daemon(&format!("the status says {words:?}"), |status| {
            let lower = status.to_string().to_lowercase();
            words.iter().all(|word| lower.contains(&word.to_lowercase()))
        })
    }
}

/// The codes of a status's warnings.
pub(crate) fn warnings(status: &Value) -> Vec<&str> {
    status["warnings"].as_array().into_iter().flatten().filter_map(|warning| warning["code"].as_str()).collect()
}

/// Texts as the slices that the verbs take.
pub(crate) fn slices(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

/// A status in a few lines: a thousand machines are no message.
pub(crate) fn shown(status: &RequestStatus) -> String {
    let count = |result: &str| status.with(result).len();
    let failed: Vec<_> = status.with("fail").into_iter().take(3).collect();
    format!(
        "{} ({}), {} executing, {} succeeded, {} failed, such as {failed:#?}",
        status.status,
        status.message,
        count("executing"),
        count("succeed"),
        count("fail")
    )
}

fn machines(names: &[&str]) -> Value {
    let machines: Vec<Value> = names.iter().map(|name| json!({ "name": name })).collect();
    json!({ "machines": machines })
}

#[track_caller]
fn id_of(reply: &Reply) -> String {
    reply.ok()["requestId"].as_str().expect("read strictly before").to_owned()
}
