//! Large replies on their way around jsonrpsee.
//!
//! jsonrpsee writes a reply, parses what it wrote to be sure that it is JSON, and moves it: for the status of 10,000
//! machines that takes longer than everything else. So the handler of a large reply writes it here, once, and gives
//! jsonrpsee a `null` to put into its envelope; [`Apart::join`] sends the envelope with the reply in the place of that
//! `null`. What goes over the wire is the same.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Collected};
use jsonrpsee::Extensions;
use serde::{Serialize, Serializer};
use tracing::error;

/// Smaller replies go through jsonrpsee: there is nothing to gain.
const LARGE_BYTES: usize = 64 * 1024;

/// How jsonrpsee's envelope of a `null` ends.
const END_OF_NULL: &[u8] = br#""result":null}"#;

/// A call's place for a reply that is already written. It travels in the call's extensions.
#[derive(Debug, Clone)]
pub(super) struct Apart {
    /// Held for a move of three words.
    written: Arc<Mutex<Option<Vec<u8>>>>,
    /// Larger replies are left to jsonrpsee, which refuses them in its own words.
    limit: usize,
}

/// What jsonrpsee is given.
#[derive(Debug, Clone)]
pub(crate) enum Payload<R> {
    /// The reply.
    Whole(R),
    /// Nothing: the reply is written already.
    Apart,
}

impl<R: Serialize> Serialize for Payload<R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Whole(reply) => reply.serialize(serializer),
            Self::Apart => serializer.serialize_unit(),
        }
    }
}

impl Apart {
    /// For one call, whose reply may have `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { written: Arc::default(), limit }
    }

    /// Writes a reply of about `expected` bytes, when that is much and the call has a place for it.
    pub(super) fn put<R: Serialize>(extensions: &Extensions, reply: R, expected: usize) -> Payload<R> {
        let Some(apart) = extensions.get::<Self>().filter(|_| expected >= LARGE_BYTES) else {
            return Payload::Whole(reply);
        };
        let mut written = Vec::with_capacity(expected);
        match serde_json::to_writer(&mut written, &reply) {
            Ok(()) if written.len() <= apart.limit => {
                *apart.slot() = Some(written);
                Payload::Apart
            }
            _ => Payload::Whole(reply),
        }
    }

    /// jsonrpsee's response, with the written reply in its place when there is one. A response without that place is
    /// answered with 500: better no answer than a wrong one.
    pub(super) async fn join<B: Body<Data = Bytes> + Unpin>(&self, response: Response<B>) -> Response<Joined<B>> {
        let written = self.slot().take();
        let Some(written) = written else { return response.map(Joined::Whole) };
        let (mut head, body) = response.into_parts();
        let envelope = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
        if !envelope.ends_with(END_OF_NULL) {
            error!("a reply was written apart, and the response has no place for it");
            head.status = StatusCode::INTERNAL_SERVER_ERROR;
            return Response::from_parts(head, Joined::Pieces(VecDeque::new()));
        }
        let begin = envelope.slice(..envelope.len() - b"null}".len());
        Response::from_parts(head, Joined::Pieces([begin, written.into(), Bytes::from_static(b"}")].into()))
    }

    fn slot(&self) -> MutexGuard<'_, Option<Vec<u8>>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of a response.
#[derive(Debug)]
pub(super) enum Joined<B> {
    /// jsonrpsee's own.
    Whole(B),
    /// Pieces that are all there.
    Pieces(VecDeque<Bytes>),
}

impl<B: Body<Data = Bytes> + Unpin> Body for Joined<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(cx),
            Self::Pieces(pieces) => Poll::Ready(pieces.pop_front().map(|piece| Ok(Frame::data(piece)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Pieces(pieces) => pieces.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Pieces(pieces) => SizeHint::with_exact(pieces.iter().map(|piece| piece.len() as u64).sum()),
        }
    }
}

#[cfg(test)]
mod tests {
    use jsonrpsee::{RpcModule, server::Server, types::ErrorObjectOwned};
    use tower::Service;

    use super::*;

    /// A call of `large` over jsonrpsee itself, with an id that looks like the end of an envelope.
    async fn call(limit: usize, expected: usize) -> (Option<u64>, String) {
        let mut module = RpcModule::new(());
        module
            .register_method("large", move |_, (), extensions| {
                Ok::<_, ErrorObjectOwned>(Apart::put(extensions, vec!["\"result\":null}"; 3], expected))
            })
            .expect("a new method");
        let (stop, _handle) = jsonrpsee::server::stop_channel();
        let mut service = Server::builder().to_service_builder().build(module, stop);
        let body = r#"{"jsonrpc":"2.0","id":"\"result\":null}","method":"large"}"#;
        let request = http::Request::post("/").header("content-type", "application/json");
        let mut request = request.body(jsonrpsee::server::HttpBody::from(body)).expect("a request");
        let apart = Apart::new(limit);
        request.extensions_mut().insert(apart.clone());
        let response = service.call(request).await.expect("jsonrpsee answers");
        let response = apart.join(response).await;
        let length = response.body().size_hint().exact();
        let body = response.into_body().collect().await.map_err(|error| error.to_string()).expect("it is all there");
        (length, String::from_utf8(body.to_bytes().to_vec()).expect("text"))
    }

    #[tokio::test]
    async fn what_goes_over_the_wire_is_the_same_whichever_way_a_reply_takes() {
        let (length, ordinary) = call(usize::MAX, 0).await;
        assert_eq!(length, Some(ordinary.len() as u64));
        assert!(
            ordinary.ends_with(r#","result":["\"result\":null}","\"result\":null}","\"result\":null}"]}"#),
            "{ordinary}"
        );
        assert_eq!(call(usize::MAX, LARGE_BYTES).await, (length, ordinary.clone()));
        // Too large for us: jsonrpsee's own judgement.
        assert_eq!(call(10, LARGE_BYTES).await, (length, ordinary));
    }
}
