//! Polls of one request.

use hfd_core::{change::Restored, machine::Machine};

use super::fuzzing::Daemon;
use crate::{
    fuzzing::sample,
    workloads::{request, uid},
};

/// Asks `times` times how a request of `machines` stands, each time on a connection of its own, as `hfctl` does.
pub(crate) fn status(machines: u32, times: u32) {
    let mut asked = sample::ended_request();
    asked.id = request();
    asked.granted = machines;
    asked.terminal = None;
    let up = |ordinal: u32| Machine {
        uid: Some(uid(ordinal)),
        uid_recorded_at: sample::NOW - 50,
        ip: Some([10, 0, 0, 1].into()),
        first_ready: Some(sample::NOW - 40),
        ..Machine::default()
    };
    asked.machines = (0..machines).map(up).collect();
    asked.freeze(sample::NOW - 40);
    let id = asked.id;
    let daemon = Daemon::new(Restored { requests: vec![asked], ..sample::nothing() });
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"hf.getRequestStatus","params":{{"input":{{"requests":[{{"requestId":"{id}"}}]}}}}}}"#
    );
    let head = "POST / HTTP/1.1\r\nhost: hfd\r\ncontent-type: application/json\r\nconnection: close\r\n";
    let call = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    let first = String::from_utf8(daemon.exchange(call.as_bytes(), false)).expect("an answer is text");
    assert_eq!(first.matches(r#""result":"succeed""#).count(), machines as usize, "{first}");
    for _ in 0..times {
        let again = daemon.exchange(call.as_bytes(), false);
        assert_eq!(again.len(), first.len());
    }
}
