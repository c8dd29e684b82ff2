//! What a caller sends on the socket.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use hfd_core::{change::Restored, clock::Now, ledger::Ledger, policy::Policy, view::Ctx};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime::Runtime,
    sync::{mpsc::Receiver, watch},
};
use tokio_util::sync::CancellationToken;

use super::{Peer, Service, Settings, module, serve::Interface};
use crate::{
    cache::PodCache,
    engine::{Command, EngineHandle},
    fuzzing::{Taken, sample},
    journal::{Journal, Options},
    kube::{Access, Calls, ClientSettings, Link},
    published::Published,
    templates::{Source, TemplateSet, Told, load},
};

/// The first byte of a case whose rest is what is written to the socket, HTTP included; else the case is the body of
/// a correct POST.
const RAW: u8 = b'!';

/// More turns than any call takes here, where nothing waits for a disk or a cluster.
const TURNS: usize = 50;

/// Sends the bytes to every method of the interface, over HTTP in memory.
#[must_use]
pub fn rpc_frame(data: &[u8]) -> Taken {
    thread_local! {
        static DAEMON: Daemon = Daemon::new(sample::restored());
    }
    DAEMON.with(|daemon| match data.split_first() {
        Some((&RAW, sent)) => {
            let answer = daemon.exchange(sent, true);
            let result = (!answer.is_empty()).then(|| result_of(&answer, true));
            Taken::accepted_if(result == Some(true))
        }
        _ => {
            let head = "POST / HTTP/1.1\r\nhost: hfd\r\ncontent-type: application/json\r\nconnection: close\r\n";
            let mut sent = format!("{head}content-length: {}\r\n\r\n", data.len()).into_bytes();
            sent.extend_from_slice(data);
            let answer = daemon.exchange(&sent, false);
            assert!(!answer.is_empty(), "a complete call was not answered");
            Taken::accepted_if(result_of(&answer, false))
        }
    })
}

/// Holds the first answer against HTTP and JSON-RPC; says whether it is a result. `raw`: the framing is the caller's own,
/// and jsonrpsee answers 500 to a body whose chunks break off.
fn result_of(answer: &[u8], raw: bool) -> bool {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer has a head") + 4;
    let head = String::from_utf8(answer[..end].to_vec()).expect("a head is text").to_lowercase();
    let status = head.strip_prefix("http/1.1 ").or_else(|| head.strip_prefix("http/1.0 ")).expect("HTTP");
    if !status.starts_with("200") {
        let is_the_callers = status.starts_with('4') || (raw && status.starts_with("500"));
        assert!(is_the_callers, "a caller's bytes are no fault of ours: {head}");
        return false;
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length = length.map_or(answer.len() - end, |length| length.parse().expect("a length is a number"));
    let body = answer.get(end..end + length).expect("an answer is whole");
    if body == b"null" {
        // A notification has no answer, and this is how jsonrpsee says nothing.
        return false;
    }
    let body: Value = serde_json::from_slice(body).expect("an answer is JSON");
    assert_eq!(body["jsonrpc"], "2.0", "{body}");
    match (body.get("result"), body.get("error")) {
        (Some(_), None) => true,
        (None, Some(error)) => {
            let message = error["message"].as_str().expect("an error has a message");
            assert!(!message.is_empty() && message.len() <= 4000, "{body}");
            assert_ne!(error["code"], -32603, "an internal error: {body}");
            false
        }
        _ => panic!("neither result nor error: {body}"),
    }
}

/// The daemon above the engine: all handlers, on a state that stays as it is. The engine below answers every question
/// about the one of `sample.rs` and stores nothing.
pub(super) struct Daemon {
    runtime: Runtime,
    interface: Interface,
    _handle: jsonrpsee::server::ServerHandle,
    _templates: watch::Sender<Arc<TemplateSet>>,
    _place: TempDir,
}

impl Daemon {
    pub(super) fn new(state: Restored) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let place = tempfile::tempdir().expect("a temporary directory");
        let (handle, commands) = EngineHandle::new(64);
        runtime.spawn(answer(commands));
        let shipped =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/hostfactory/providers/k8s-hf/conf/k8sprov_templates.json");
        let source = Source { candidates: vec![shipped.into()], allow_host_network: false };
        let (templates_tx, templates) = watch::channel(Arc::new(load(&source, None, 1)));
        let options = Options { reserve_bytes: 0, allow_network_file_system: true, ..Options::default() };
        let (journal, restored, _) = Journal::open(&place.path().join("journal.db"), &options).expect("a journal");
        let published = Published::new(Instant::now());
        let ledger = ledger(state);
        let (requests, returns) = ledger.all_committed();
        published.publish_all(requests, returns);
        let calls = Arc::new(Calls::default());
        // Never connected: its keeper does not run.
        let (link, _) = Link::new(ClientSettings {
            access: Access::Given(Box::new(kube::Config::new(http::Uri::from_static("http://127.0.0.1:1")))),
            namespace: Some("symphony".to_owned()),
            instance: "k8s-hf".to_owned(),
            call_timeout: Duration::from_secs(30),
            fresh_within: Duration::from_secs(90),
            calls: calls.clone(),
        });
        let settings = settings();
        let service = Service {
            engine: handle,
            published: Arc::new(published),
            templates,
            cache: Arc::new(PodCache::new()),
            journal: Arc::new(journal),
            journal_id: restored.meta.id.to_string(),
            link,
            calls,
            settings: settings.clone(),
            started: Instant::now(),
            told_templates: Mutex::new(Told::default()),
        };
        let module = module(Arc::new(service)).expect("no method is there twice");
        let (interface, handle) = Interface::new(module, &settings);
        Self { runtime, interface, _handle: handle, _templates: templates_tx, _place: place }
    }

    /// Everything that comes back for `sent` on a connection of its own.
    pub(super) fn exchange(&self, sent: &[u8], and_end: bool) -> Vec<u8> {
        let (mut caller, socket) = tokio::io::duplex(64 << 10);
        let peer = Peer { uid: 1000, pid: 4711 };
        let call = async move {
            let mut answer = Vec::new();
            // It may close before it has read everything.
            let _refused = caller.write_all(sent).await;
            if and_end {
                // hyper drops what it works on when the caller closes: calls that are complete get their turns first.
                for _ in 0..TURNS {
                    tokio::task::yield_now().await;
                }
                let _gone = caller.shutdown().await;
            }
            let _ended = caller.read_to_end(&mut answer).await;
            answer
        };
        let serve = self.interface.clone().serve_connection(socket, peer, CancellationToken::new());
        self.runtime.block_on(async { tokio::join!(serve, call).1 })
    }
}

fn settings() -> Settings {
    Settings {
        instance: "k8s-hf".to_owned(),
        max_machine_count: 100,
        max_ids_per_call: 10,
        max_connections: 8,
        max_body: 4096,
        max_reply: 1 << 20,
        ready_deadline: Duration::from_secs(300),
        told_or_unasked: Duration::from_secs(300),
        emit_available_number: true,
        config_warnings: Vec::new(),
    }
}

fn ledger(state: Restored) -> Ledger {
    let now = Now { mono: Duration::ZERO, wall: sample::NOW };
    Ledger::new(state, Policy::default(), now)
}

/// The engine's side, without journal and cluster.
async fn answer(mut commands: Receiver<Command>) {
    let (ledger, pods) = (ledger(sample::restored()), PodCache::new());
    let now = Now { mono: Duration::ZERO, wall: sample::NOW };
    while let Some(command) = commands.recv().await {
        match command {
            Command::Ask(question) => question(&ledger, Ctx { now, pods: &pods }),
            Command::RequestMachines { new, reply, .. } => drop(reply.send(Ok(new.id))),
            Command::ReturnMachines { new, reply, .. } => drop(reply.send(Ok(new.id))),
            Command::Polled { reply, .. } => drop(reply.send(())),
            // "hfd is stopping".
            Command::Told { .. } | Command::Rebuild { .. } | Command::AcceptNamespace { .. } => {}
        }
    }
}
