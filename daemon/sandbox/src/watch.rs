//! Watch streams. A stream is a cursor into the store's past: writing costs nothing per watcher, and a watcher that
//! falls behind what the store remembers is told 410, as a slow watcher of a real server is.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::api::{Request, read};
use crate::clock::Clock;
use crate::faults::Switches;
use crate::object::{AnswerBody, Object, Resource};
use crate::refusal::{Cause, Refusal};
use crate::render::{self, Representation};
use crate::selector::Filter;
use crate::server::Dropped;
use crate::store::{Change, Event};
use crate::world::{Shared, World};

/// Between bookmarks, as the real server's watch cache sends them.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);
/// A last bookmark comes this long before the end of the stream.
const BEFORE_THE_END: Duration = Duration::from_secs(2);
/// Without `timeoutSeconds` a stream ends after one to two times this.
const SHORTEST_TIMEOUT: Duration = Duration::from_secs(1800);
/// Events put into one chunk.
const EVENTS_AT_ONCE: usize = 128;
/// Lets the first half of a cut frame reach the client.
const CUT_PAUSE: Duration = Duration::from_millis(5);

struct Stream {
    shared: Arc<Shared>,
    resource: Resource,
    filter: Filter,
    representation: Representation,
    /// Everything up to this version has been seen.
    cursor: u64,
    /// Frames that are due now.
    pending: VecDeque<Bytes>,
    bookmarks: bool,
    next_bookmark: Instant,
    deadline: Instant,
    changed: watch::Receiver<u64>,
    switches: watch::Receiver<Switches>,
    cuts_seen: u64,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Ends when nothing is pending.
    Ending,
    /// Half a frame has gone out.
    Cut,
    Broken,
}

/// What woke a stream that had nothing to send.
enum Wake {
    Change,
    Bookmark,
    Deadline,
}

/// Opens a watch and returns its endless body.
pub(crate) fn open(shared: &Arc<Shared>, resource: Resource, request: &Request) -> Result<AnswerBody, Refusal> {
    let stream = shared.with(|world| prepare(shared, world, resource, request))?;
    let frames = stream::unfold(stream, |mut stream| async move {
        let frame = stream.next().await?;
        Some((frame.map(Frame::data), stream))
    });
    Ok(StreamBody::new(frames).boxed_unsync())
}

fn prepare(shared: &Arc<Shared>, world: &World, resource: Resource, request: &Request) -> Result<Stream, Refusal> {
    let representation = request.representation.clone()?;
    let filter = read::filter(resource, request)?;
    let asked = read::version(request.query("resourceVersion")).map_err(Refusal::internal)?;
    let wants_initial_events = initial_events(request)?;
    let timeout = match request.number("timeoutSeconds")?.and_then(|seconds| u64::try_from(seconds).ok()) {
        None | Some(0) => {
            let spread = Duration::from_millis(world.random.below("watch", 1_800_000));
            SHORTEST_TIMEOUT + spread
        }
        Some(seconds) => Duration::from_secs(seconds),
    };
    let deadline = Instant::now() + timeout;
    let switches = shared.switches.subscribe();
    let cuts_seen = switches.borrow().cuts;
    let mut stream = Stream {
        shared: Arc::clone(shared),
        resource,
        filter,
        representation,
        cursor: world.store.version(),
        pending: VecDeque::new(),
        bookmarks: request.flag("allowWatchBookmarks"),
        next_bookmark: bookmark_after(Instant::now(), deadline),
        deadline,
        changed: world.store.subscribe(resource),
        switches,
        cuts_seen,
        state: State::Open,
    };
    match asked.filter(|version| *version > 0) {
        Some(version) if wants_initial_events == Some(true) && version > stream.cursor => {
            stream.end_with(&Refusal::version_too_large(version, stream.cursor));
        }
        _ if wants_initial_events == Some(true) => {
            stream.send_present(world);
            if stream.bookmarks {
                stream.pending.push_back(bookmark_frame(resource, stream.cursor, true));
            }
        }
        None => {}
        Some(version) if version < world.store.oldest_version(resource) => stream.give_up(version, world),
        Some(version) => stream.cursor = version,
    }
    Ok(stream)
}

/// `sendInitialEvents`, with the rules about its companions. A watch from no version in particular has initial events.
fn initial_events(request: &Request) -> Result<Option<bool>, Refusal> {
    let matching = request.query("resourceVersionMatch");
    let given = (!request.queries("sendInitialEvents").is_empty()).then(|| request.flag("sendInitialEvents"));
    let legacy = given.is_none() && matching.is_empty() && ["", "0"].contains(&request.query("resourceVersion"));
    let (wanted, matching) = if legacy { (Some(true), "NotOlderThan") } else { (given, matching) };
    let field = "resourceVersionMatch";
    let mut causes = Vec::new();
    if wanted.is_some() && matching != "NotOlderThan" {
        causes.push(Cause::forbidden(field, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"));
    }
    if !matching.is_empty() {
        if wanted.is_none() {
            let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            causes.push(Cause::forbidden(field, why));
        }
        if matching != "NotOlderThan" {
            causes.push(Cause::unsupported(field, &format!("{matching:?}"), &["NotOlderThan"]));
        }
        if !request.query("continue").is_empty() {
            causes.push(Cause::forbidden(field, "resourceVersionMatch is forbidden when continue is provided"));
        }
    }
    if causes.is_empty() { Ok(wanted) } else { Err(Refusal::invalid_options("ListOptions", &causes)) }
}

fn bookmark_after(now: Instant, deadline: Instant) -> Instant {
    let last = deadline.checked_sub(BEFORE_THE_END).unwrap_or(deadline);
    let next = now + BOOKMARK_INTERVAL;
    // after the last one there is no further bookmark before the end
    if now < last { next.min(last) } else { next }
}

impl Stream {
    /// The next chunk, or the end.
    async fn next(&mut self) -> Option<Result<Bytes, Dropped>> {
        loop {
            match self.state {
                State::Broken => return None,
                State::Cut => {
                    sleep(CUT_PAUSE).await;
                    self.state = State::Broken;
                    return Some(Err(Dropped));
                }
                State::Open | State::Ending => {}
            }
            let switches = *self.switches.borrow_and_update();
            if switches.cuts != self.cuts_seen {
                self.state = State::Cut;
                return Some(Ok(Bytes::from_static(br#"{"type":"MODIFIED","object":{"kind":"#)));
            }
            if switches.silence {
                // the sender lives as long as the stream: `shared` owns it
                let _ = self.switches.changed().await;
                continue;
            }
            if let Some(frame) = self.pending.pop_front() {
                return Some(Ok(frame));
            }
            if self.state == State::Ending {
                return None;
            }
            self.collect();
            if self.pending.is_empty() && self.state == State::Open {
                self.wait().await;
            }
        }
    }

    async fn wait(&mut self) {
        let wake = tokio::select! {
            _ = self.changed.changed() => Wake::Change,
            _ = self.switches.changed() => Wake::Change,
            () = sleep_until(self.next_bookmark), if self.bookmarks => Wake::Bookmark,
            () = sleep_until(self.deadline) => Wake::Deadline,
        };
        match wake {
            Wake::Change => {}
            Wake::Bookmark => {
                self.next_bookmark = bookmark_after(Instant::now(), self.deadline);
                // a stream that waits for a version to come has seen nothing yet
                if self.cursor <= self.shared.with(|world| world.store.version()) {
                    self.pending.push_back(bookmark_frame(self.resource, self.cursor, false));
                }
            }
            Wake::Deadline => self.state = State::Ending,
        }
    }

    /// Takes what has happened since the cursor, in one chunk.
    fn collect(&mut self) {
        self.changed.mark_unchanged();
        let shared = Arc::clone(&self.shared);
        shared.with(|world| {
            let Ok(events) = world.store.since(self.resource, self.cursor) else {
                self.give_up(self.cursor, world);
                return;
            };
            let mut chunk = Vec::new();
            let mut seen = None;
            for event in events.take(EVENTS_AT_ONCE) {
                seen = Some(event.object.version);
                self.write_event(&mut chunk, event, &world.clock);
            }
            self.cursor = seen.unwrap_or_else(|| world.store.version().max(self.cursor));
            if !chunk.is_empty() {
                self.pending.push_back(Bytes::from(chunk));
            } else if seen.is_some() {
                // nothing of this chunk was for us, but there may be more
                self.changed.mark_changed();
            }
        });
    }

    fn write_event(&self, chunk: &mut Vec<u8>, event: &Event, clock: &Clock) {
        let is_shown = self.filter.matches(&event.object);
        let was_shown = event.previous.as_ref().is_some_and(|previous| self.filter.matches(previous));
        match (event.change, was_shown, is_shown) {
            (Change::Deleted, true, _) => self.write(chunk, "DELETED", &event.object, clock),
            (Change::Added | Change::Modified, false, true) => self.write(chunk, "ADDED", &event.object, clock),
            (Change::Modified, true, true) => self.write(chunk, "MODIFIED", &event.object, clock),
            (Change::Modified, true, false) => {
                // it has left the selection: its last selected state, under the version of the change
                if let Some(previous) = &event.previous {
                    let mut value = previous.value();
                    value["metadata"]["resourceVersion"] = event.object.version.to_string().into();
                    let last = Object::new(self.resource, event.object.version, &value);
                    self.write(chunk, "DELETED", &last, clock);
                }
            }
            _ => {}
        }
    }

    fn write(&self, chunk: &mut Vec<u8>, kind: &str, object: &Object, clock: &Clock) {
        let rendered = render::object(self.representation, self.resource, object, clock);
        chunk.reserve(rendered.len() + 40);
        chunk.extend_from_slice(br#"{"type":""#);
        chunk.extend_from_slice(kind.as_bytes());
        chunk.extend_from_slice(br#"","object":"#);
        chunk.extend_from_slice(&rendered);
        chunk.extend_from_slice(b"}\n");
    }

    fn send_present(&mut self, world: &World) {
        for object in read::present(world, self.resource, &self.filter) {
            let mut frame = Vec::new();
            self.write(&mut frame, "ADDED", &object, &world.clock);
            self.pending.push_back(Bytes::from(frame));
        }
    }

    fn give_up(&mut self, version: u64, world: &World) {
        let message = format!("too old resource version: {version} ({})", world.store.oldest_version(self.resource));
        self.end_with(&Refusal::expired(message));
    }

    fn end_with(&mut self, refusal: &Refusal) {
        self.pending.push_back(frame("ERROR", &refusal.status()));
        self.state = State::Ending;
    }
}

fn bookmark_frame(resource: Resource, version: u64, ends_initial_events: bool) -> Bytes {
    frame("BOOKMARK", &read::bookmark(resource, version, ends_initial_events))
}

fn frame(kind: &str, object: &Value) -> Bytes {
    Bytes::from(format!("{}\n", json!({"type": kind, "object": object})))
}
