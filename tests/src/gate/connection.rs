//! One connection: its requests one after another, with the faults that strike them.

use std::{net::TcpStream, sync::Arc, thread, time::Duration};

use ureq::http::{HeaderMap, HeaderValue, header};

use super::{
    Shared, control,
    faults::{Action, When},
    relay::{self, Answer},
    request::Request,
    wire::{Client, Incoming},
};

/// Credentials that no server knows.
const NOBODY: &str = "Bearer of-no-good";

/// What becomes of a connection after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// The next request.
    Request,
    /// Nothing: it is closed.
    Close,
}

/// Serves a connection to its end.
pub(super) fn serve(shared: &Arc<Shared>, stream: TcpStream) {
    // An answer should not wait for the acknowledgement of the one before.
    drop(stream.set_nodelay(true));
    let Ok(id) = shared.switches.enter(&stream) else { return };
    let mut client = Client::new(stream);
    loop {
        let incoming = match client.next() {
            Ok(Some(incoming)) => incoming,
            Ok(None) => break,
            Err(error) => {
                shared.note(&format!("a connection ends: {error:#}"));
                break;
            }
        };
        let is_control = incoming.target == "/sandbox" || incoming.target.starts_with("/sandbox/");
        if !shared.switches.used_for(id, !is_control) {
            break;
        }
        let next = if is_control {
            answer_control(shared, &mut client, &incoming)
        } else {
            answer(shared, &mut client, incoming)
        };
        if next == Next::Close {
            break;
        }
    }
    client.close();
    shared.switches.leave(id);
}

fn answer_control(shared: &Shared, client: &mut Client, incoming: &Incoming) -> Next {
    let credentials = incoming.fields.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let (code, body) = if credentials == Some(&format!("Bearer {}", shared.control_token)) {
        control::answer(shared, incoming)
    } else {
        (401, r#"{"error": "the control endpoints want the gate's token"}"#.to_owned())
    };
    shared.note(&format!("{} {} {code}", incoming.method, incoming.target));
    let mut fields = HeaderMap::new();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    sent(&client.answer(code, &fields, body.as_bytes()))
}

/// Counts a request, lets a fault strike, and else hands it on.
fn answer(shared: &Arc<Shared>, client: &mut Client, mut incoming: Incoming) -> Next {
    let request = Request::read(&incoming);
    let mut counters = shared.counters.lock().expect("nothing panics while it holds the counters");
    *counters.entry(request.counter()).or_default() += 1;
    drop(counters);
    if shared.switches.is_unauthorized() {
        incoming.fields.insert(header::AUTHORIZATION, HeaderValue::from_static(NOBODY));
    }
    let mut faults = shared.faults.lock().expect("nothing panics while it holds the faults");
    let struck = faults.strike(&request, || shared.history.labels(&request.name));
    drop(faults);
    if let Some((fault, action)) = &struck {
        shared.note(&format!("{} {} meets fault {fault}: {action:?}", request.counter(), request.name));
    }
    match struck.map(|(_, action)| action) {
        None | Some(Action::Hang(false)) => hand_on(shared, client, &incoming, &request),
        Some(Action::Status(status)) => {
            let (fields, body) = status.answer();
            sent(&client.answer(status.code, &fields, &body))
        }
        Some(Action::StatusAfter(status)) => {
            relay::perform(shared, &incoming, &request);
            let (fields, body) = status.answer();
            sent(&client.answer(status.code, &fields, &body))
        }
        Some(Action::Drop(when)) => {
            if when == When::After {
                relay::perform(shared, &incoming, &request);
            }
            Next::Close
        }
        Some(Action::DelayMs(milliseconds)) => {
            // Not synchronisation: the delay is the fault.
            thread::sleep(Duration::from_millis(milliseconds));
            if shared.switches.is_outage() {
                return Next::Close;
            }
            hand_on(shared, client, &incoming, &request)
        }
        Some(Action::Hang(true)) => {
            client.wait_closed();
            Next::Close
        }
        Some(Action::Late(milliseconds)) => {
            let shared = Arc::clone(shared);
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(milliseconds));
                if !shared.switches.is_stopped() {
                    relay::perform(&shared, &incoming, &request);
                }
            });
            Next::Close
        }
    }
}

fn hand_on(shared: &Arc<Shared>, client: &mut Client, incoming: &Incoming, request: &Request) -> Next {
    if request.verb == "watch"
        && let Some(line) = shared.switches.too_old(request.version)
    {
        shared.note(&format!("{} from {:?}: too old", request.counter(), request.version));
        return relay::expire(client, &line);
    }
    match relay::ask(shared, incoming, request) {
        Some(Answer::Whole(code, fields, body)) => sent(&client.answer(code, &fields, &body)),
        Some(Answer::Stream(fields, body)) => relay::stream(shared, client, &fields, body),
        None => Next::Close,
    }
}

/// After an answer was written, or could not be.
pub(super) fn sent(written: &std::io::Result<()>) -> Next {
    if written.is_ok() { Next::Request } else { Next::Close }
}
