//! The floor: a bare client that keeps nothing durable, decides nothing, and watches. What it takes is what the API
//! server, the scheduler and the nodes take.

use std::{
    collections::HashMap,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde::Deserialize;

use crate::{
    body::Body,
    wire::{Connection, Server},
};

/// Longest wait for the cluster.
const PATIENCE: Duration = Duration::from_secs(900);
/// Pause of a worker that the API server asked for one (429).
const PAUSE: Duration = Duration::from_millis(100);

/// The client.
#[derive(Debug)]
pub(crate) struct Client {
    server: Server,
    body: Body,
    rounds: usize,
}

/// A round: what it took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Round {
    /// From before the first create until all were seen ready, with an address.
    pub(crate) ready: Duration,
    /// From before the first delete until all were seen gone.
    pub(crate) gone: Duration,
    /// From before the first create until the last was answered.
    pub(crate) created: Duration,
    /// Answers 429.
    pub(crate) throttled: usize,
}

#[derive(Debug, Default)]
struct View {
    /// UID by name; whether it is ready.
    pods: HashMap<String, (String, bool)>,
    ready: usize,
    broken: Option<String>,
}

type Shared = Arc<(Mutex<View>, Condvar)>;

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    object: Pod,
}

#[derive(Deserialize)]
struct Pod {
    metadata: Metadata,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    name: String,
    #[serde(default)]
    uid: String,
    #[serde(default, rename = "resourceVersion")]
    version: String,
}

#[derive(Deserialize, Default)]
struct Status {
    #[serde(rename = "podIP")]
    address: Option<String>,
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

impl Client {
    pub(crate) fn new(server: Server, body: Body) -> Self {
        Self { server, body, rounds: 0 }
    }

    /// Creates that many pods with `creates` calls in flight until all are ready, and deletes them with `deletes` in
    /// flight until all are gone. Connections and watch are open before the clock runs.
    pub(crate) fn round(&mut self, count: usize, creates: usize, deletes: usize) -> Round {
        self.rounds += 1;
        let round = self.rounds;
        let view = self.watch();
        let throttled = AtomicUsize::new(0);
        let post =
            |ordinal: usize| self.server.request("POST", &self.server.pods(), self.body.pod(round, ordinal).as_bytes());
        let (begun, created) = self.calls(count, creates, &throttled, &post);
        wait(&view, |view| view.ready == count);
        let ready = begun.elapsed();
        let uids: Vec<String> = {
            let view = view.0.lock().expect("nothing panics while it holds the view");
            (0..count).map(|ordinal| view.pods[&self.body.name(round, ordinal)].0.clone()).collect()
        };
        let delete = |ordinal: usize| {
            let uid = &uids[ordinal];
            let options = format!(r#"{{"apiVersion":"v1","kind":"DeleteOptions","preconditions":{{"uid":"{uid}"}}}}"#);
            let path = format!("{}/{}", self.server.pods(), self.body.name(round, ordinal));
            self.server.request("DELETE", &path, options.as_bytes())
        };
        let (begun, _) = self.calls(count, deletes, &throttled, &delete);
        wait(&view, |view| view.pods.is_empty());
        Round { ready, gone: begun.elapsed(), created, throttled: throttled.into_inner() }
    }

    /// Makes `count` calls, `concurrency` at once; when it began, and how long until the last answer.
    fn calls(
        &self,
        count: usize,
        concurrency: usize,
        throttled: &AtomicUsize,
        request: &(dyn Fn(usize) -> Vec<u8> + Sync),
    ) -> (Instant, Duration) {
        let connections: Vec<_> =
            (0..concurrency.min(count)).map(|_| self.server.connect().expect("the server accepts")).collect();
        let next = AtomicUsize::new(0);
        let begun = Instant::now();
        thread::scope(|scope| {
            for mut connection in connections {
                let next = &next;
                scope.spawn(move || {
                    let mut answer = Vec::new();
                    loop {
                        let ordinal = next.fetch_add(1, Ordering::Relaxed);
                        if ordinal >= count {
                            return;
                        }
                        let request = request(ordinal);
                        loop {
                            let code = connection.exchange(&request, &mut answer).expect("the server answers");
                            if code == 429 {
                                throttled.fetch_add(1, Ordering::Relaxed);
                                thread::sleep(PAUSE);
                                continue;
                            }
                            let text = || String::from_utf8_lossy(&answer).into_owned();
                            assert!((200..300).contains(&code), "{code}: {}", text());
                            break;
                        }
                    }
                });
            }
        });
        (begun, begun.elapsed())
    }

    /// Opens the watch; its thread ends with the round.
    fn watch(&self) -> Shared {
        let shared = Shared::default();
        let mut connection = open(&self.server, "").expect("the server accepts a watch");
        let (following, server) = (Arc::clone(&shared), self.server.clone());
        thread::spawn(move || {
            let mut version = String::new();
            // The server ends a watch that does not keep up with its events, which a busy machine brings about; it goes
            // on from where it was.
            let ended = loop {
                if let Err(error) = follow(&mut connection, &following, &mut version) {
                    break error;
                }
                // The other holder is the round.
                if Arc::strong_count(&following) == 1 {
                    break "over".to_owned();
                }
                match open(&server, &version) {
                    Ok(again) => connection = again,
                    Err(error) => break error.to_string(),
                }
            };
            following.0.lock().expect("nothing panics while it holds the view").broken = Some(ended);
            following.1.notify_all();
        });
        shared
    }
}

/// Opens a watch that begins after `version`, or with what there is.
fn open(server: &Server, version: &str) -> std::io::Result<Connection> {
    let mut connection = server.connect()?;
    let selector = "app.kubernetes.io%2Fmanaged-by%3Dhfd";
    let begin = if version.is_empty() { String::new() } else { format!("&resourceVersion={version}") };
    let path = format!("{}?watch=true&timeoutSeconds=1200&labelSelector={selector}{begin}", server.pods());
    let code = connection.open(&server.request("GET", &path, b""))?;
    if code == 200 { Ok(connection) } else { Err(std::io::Error::other(format!("a watch is answered {code}"))) }
}

/// Follows a watch to its end. The watch of a round that is over ends with the next event, or with this program.
fn follow(connection: &mut Connection, shared: &Shared, version: &mut String) -> Result<(), String> {
    let mut bytes = Vec::new();
    // A stream that breaks is one that ended.
    while connection.chunk(&mut bytes).unwrap_or(false) && Arc::strong_count(shared) > 1 {
        let Some(end) = bytes.iter().rposition(|&byte| byte == b'\n') else { continue };
        for line in bytes[..end].split(|&byte| byte == b'\n') {
            let event = serde_json::from_slice::<Event>(line);
            let event = event.map_err(|error| format!("{error}: {}", String::from_utf8_lossy(line)))?;
            if event.kind == "ERROR" {
                return Err(String::from_utf8_lossy(line).into_owned());
            }
            version.clone_from(&event.object.metadata.version);
            shared.0.lock().expect("nothing panics while it holds the view").take(event);
        }
        bytes.drain(..=end);
        shared.1.notify_all();
    }
    Ok(())
}

impl View {
    fn take(&mut self, event: Event) {
        let Event { kind, object: Pod { metadata, status } } = event;
        if kind == "DELETED" {
            if let Some((_, true)) = self.pods.remove(&metadata.name) {
                self.ready -= 1;
            }
            return;
        }
        let told = status.conditions.iter().any(|one| one.kind == "Ready" && one.status == "True");
        let now = told && status.address.is_some_and(|address| !address.is_empty());
        let (_, ready) = self.pods.entry(metadata.name).or_insert((metadata.uid, false));
        if *ready != now {
            *ready = now;
            self.ready = if now { self.ready + 1 } else { self.ready - 1 };
        }
    }
}

fn wait(shared: &Shared, done: impl Fn(&View) -> bool) {
    let begun = Instant::now();
    let mut view = shared.0.lock().expect("nothing panics while it holds the view");
    while !done(&view) {
        assert!(view.broken.is_none(), "the floor's watch broke: {:?}", view.broken);
        assert!(begun.elapsed() < PATIENCE, "{} of {} pods are ready", view.ready, view.pods.len());
        view = shared.1.wait_timeout(view, Duration::from_secs(5)).expect("nothing panics while it holds the view").0;
    }
}
