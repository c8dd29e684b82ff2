//! Requests handed on to the server, and its answers handed back: whole ones whole, watches line by line.

use std::{
    io::{BufRead, BufReader},
    sync::{Arc, mpsc::Sender},
    thread,
    time::Instant,
};

use serde_json::Value;
use ureq::{
    Body,
    http::{HeaderMap, HeaderValue, header},
};

use super::{
    Shared,
    connection::{Next, sent},
    request::Request,
    switches::Said,
    wire::{self, Client, Incoming},
};

/// Largest answer that is handed back whole.
const LARGEST: u64 = 2 << 30;
/// The beginning of an event that a cut stream still sends.
const TORN: &[u8] = br#"{"type":"MODIFIED","object":{"kind":"#;

/// What the server answered.
pub(super) enum Answer {
    /// Code, header fields and body.
    Whole(u16, HeaderMap, Vec<u8>),
    /// A watch: header fields and the endless body.
    Stream(HeaderMap, Body),
}

/// Asks the server; `None` when there is no answer, or only half of one.
pub(super) fn ask(shared: &Shared, incoming: &Incoming, request: &Request) -> Option<Answer> {
    let begun = Instant::now();
    let place = shared.calls.begin(request, shared.begun.elapsed());
    let noted = |what: &str| {
        let (counter, name) = (request.counter(), &request.name);
        shared.note(&format!("{counter} {name} {what} ({} ms)", begun.elapsed().as_millis()));
    };
    let answer = match shared.server.pass(&incoming.method, &incoming.target, &incoming.fields, &incoming.body) {
        Ok(answer) => answer,
        Err(error) => {
            noted(&format!("has no answer: {error:#}"));
            return None;
        }
    };
    let (head, body) = answer.into_parts();
    let (code, fields) = (head.status.as_u16(), wire::end_to_end(&head.headers));
    noted(&code.to_string());
    if request.verb == "watch" && code == 200 {
        shared.calls.answered(place, shared.begun.elapsed(), code);
        return Some(Answer::Stream(fields, body));
    }
    match body.into_with_config().limit(LARGEST).read_to_vec() {
        Ok(body) => {
            shared.calls.answered(place, shared.begun.elapsed(), code);
            remember(shared, request, code, &body);
            Some(Answer::Whole(code, fields, body))
        }
        Err(error) => {
            noted(&format!("has half an answer: {error:#}"));
            None
        }
    }
}

/// Has the server do what is asked; nobody hears the answer.
pub(super) fn perform(shared: &Shared, incoming: &Incoming, request: &Request) {
    drop(ask(shared, incoming, request));
}

/// What a change of a pod leaves in the history.
fn remember(shared: &Shared, request: &Request, code: u16, body: &[u8]) {
    let is_ours = request.resource == "pods" && request.namespace == shared.site.namespace();
    if !is_ours || !(200..300).contains(&code) {
        return;
    }
    let read = || serde_json::from_slice::<Value>(body).unwrap_or_default();
    match request.verb {
        "create" => shared.history.created(&read()),
        "delete" => shared.history.changed(&read()),
        _ => {}
    }
}

/// Answers a watch that begins in a past that is no more: with the server's own line, and the end.
pub(super) fn expire(client: &mut Client, line: &[u8]) -> Next {
    let mut fields = HeaderMap::new();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let written =
        client.begin_chunks(200, &fields).and_then(|()| client.chunk(line)).and_then(|()| client.end_chunks());
    sent(&written)
}

/// Carries a watch to its end.
pub(super) fn stream(shared: &Arc<Shared>, client: &mut Client, fields: &HeaderMap, body: Body) -> Next {
    let (id, said, tell, silent) = shared.switches.enter_stream();
    thread::spawn(move || read_lines(body, &tell));
    let carried = client.begin_chunks(200, fields).map(|()| Carrier { client, silent, held: Vec::new(), over: false });
    let next = match carried {
        Ok(mut carrier) => said.iter().find_map(|said| carrier.take(said)).unwrap_or(Next::Close),
        Err(_) => Next::Close,
    };
    shared.switches.leave_stream(id);
    next
}

/// The reader of the server's side. When nobody listens any more, it ends at the server's next word.
fn read_lines(body: Body, tell: &Sender<Said>) {
    let mut lines = BufReader::new(body.into_with_config().limit(u64::MAX).reader());
    loop {
        let mut line = Vec::new();
        let said = match lines.read_until(b'\n', &mut line) {
            Ok(0) => Said::Ended,
            Ok(_) => Said::Line(line),
            Err(_) => Said::Broke,
        };
        let is_last = !matches!(said, Said::Line(_));
        if tell.send(said).is_err() || is_last {
            return;
        }
    }
}

/// A watch on its way to the client.
struct Carrier<'a> {
    client: &'a mut Client,
    silent: bool,
    /// Held back in silence.
    held: Vec<Vec<u8>>,
    /// The stream ends when nothing is held back any more.
    over: bool,
}

impl Carrier<'_> {
    /// Takes a word; `Some` when the stream has ended.
    fn take(&mut self, said: Said) -> Option<Next> {
        match said {
            Said::Line(line) if !self.over => self.held.push(line),
            Said::Line(_) => {}
            Said::Ended => self.over = true,
            Said::Silence(on) => self.silent = on,
            Said::Expired(line) => {
                self.held = vec![line];
                self.over = true;
            }
            Said::Cut => {
                self.client.tear_chunk(TORN);
                return Some(Next::Close);
            }
            Said::Broke | Said::Stop => return Some(Next::Close),
        }
        if self.silent {
            return None;
        }
        for line in self.held.drain(..) {
            if self.client.chunk(&line).is_err() {
                return Some(Next::Close);
            }
        }
        self.over.then(|| sent(&self.client.end_chunks()))
    }
}
