//! What whoever listens on the socket may send to `hfctl`. libFuzzer calls it (`tests/fuzz`), and so does the test
//! here, with every committed input.

use std::path::PathBuf;

use proto_schema::{Call, CallVisitor, visit_calls};

use super::{CallError, Client, Reply, http};

/// Reads the bytes as the answer to each call. Says whether they are a reply; panics where a promise is broken.
#[must_use]
pub fn client_http(data: &[u8]) -> bool {
    let whole = read(data, data.len().max(1));
    for size in [13, 700] {
        let pieces = read(data, size);
        assert_eq!(pieces.is_ok(), whole.is_ok(), "by {size}: {pieces:?}, whole: {whole:?}");
        if whole.is_ok() {
            assert_eq!(pieces, whole, "by {size}");
        }
    }
    let response = match whole {
        Ok(response) => response,
        Err(error) => {
            assert_tells(&error.to_string());
            return false;
        }
    };
    assert!(response.body().len() <= data.len(), "a body of {} bytes from {}", response.body().len(), data.len());
    let client = Client::new(PathBuf::from("/run/hfd/k8s-hf.sock"));
    match client.read_reply(response) {
        Ok(mut reply) => {
            serde_json::from_slice::<serde::de::IgnoredAny>(reply.json()).expect("a reply is JSON");
            visit_calls(&mut Decode { client: &client, reply: &reply });
            let json = reply.json().to_owned();
            reply.end_line();
            assert_eq!(reply.json(), [&*json, b"\n"].concat());
            true
        }
        // In the daemon's own words.
        Err(CallError::Rpc(_)) => true,
        Err(error) => {
            assert_tells(&error.to_string());
            false
        }
    }
}

/// Feeds `data` in pieces of `size`, then the end.
fn read(data: &[u8], size: usize) -> Result<http::Response, http::ReadError> {
    let mut reader = http::Reader::default();
    for piece in data.chunks(size) {
        let space = reader.space();
        assert!(space.capacity() > space.len(), "a read of nothing would look like the end");
        space.extend_from_slice(piece);
        if let Some(response) = reader.advance(false)? {
            return Ok(response);
        }
    }
    Ok(reader.advance(true)?.expect("an ended connection gives a response or an error"))
}

/// A refusal is for a person: something, and not everything.
fn assert_tells(message: &str) {
    assert!(!message.trim().is_empty() && message.len() <= 2000, "{} bytes: {message:.200}", message.len());
}

/// Takes one reply for that of every method.
struct Decode<'a> {
    client: &'a Client,
    reply: &'a Reply,
}

impl CallVisitor for Decode<'_> {
    fn visit<C: Call>(&mut self) {
        match self.client.decode::<C>(self.reply) {
            Ok(reply) => drop(serde_json::to_string(&reply).expect("what was read can be written")),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    /// As the tests of hfd's targets: `ok-...` must be accepted and `no-...` refused.
    #[test]
    fn every_committed_answer_is_read_the_same_in_whatever_pieces_or_is_refused() {
        let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus/client_http");
        let mut counts = [0, 0];
        for file in fs::read_dir(place).expect("the corpus is there") {
            let path = file.expect("a readable directory").path();
            let accepted = super::client_http(&fs::read(&path).expect("a readable file"));
            let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
            assert_eq!((accepted, !accepted), (name.starts_with("ok-"), name.starts_with("no-")), "{name}");
            counts[usize::from(accepted)] += 1;
        }
        assert!(counts.iter().all(|count| *count > 0), "{counts:?} of inputs refused and accepted");
    }
}
