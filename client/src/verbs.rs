//! HostFactory's five verbs: exactly one JSON document on standard output whatever happens, exit 0 or 1.
//!
//! The daemon's reply is passed on byte for byte. A failure is `{"message": "..."}`, and the same words go to standard
//! error for whoever reads HostFactory's log.

use std::{io, path::Path, time::Instant};

use proto_schema::hostfactory::{GetAvailableTemplates, IdempotencyKey, KeyError, Verb};
use rustix::rand::{GetRandomFlags, getrandom};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::{
    World,
    args::{Connection, Input, KeyedInput},
    complain,
    exit::Exit,
    input::{self, ReadError},
    print,
    transport::{CallError, Client, Reply, epoch_millis_at},
};

/// A verb that changes nothing.
pub fn ask<V: Verb>(connection: &Connection, world: &World, input: &Input) -> Exit {
    finish(read(input.path()).and_then(|document| call::<V>(connection, world, document, None)))
}

/// getAvailableTemplates: the only verb whose document says nothing and may be left out.
pub fn get_available_templates(connection: &Connection, world: &World, input: &Input) -> Exit {
    let document = match input.path() {
        Some(path) => read(Some(path)),
        None => RawValue::from_string("{}".to_owned()).map_err(Failure::Internal),
    };
    finish(document.and_then(|document| call::<GetAvailableTemplates>(connection, world, document, None)))
}

/// A verb that changes something, and therefore carries a key.
pub fn change<V: Verb>(connection: &Connection, world: &World, input: &KeyedInput) -> Exit {
    finish(key(input.request_id.as_deref()).and_then(|key| {
        let document = read(input.input.path())?;
        call::<V>(connection, world, document, Some(key))
    }))
}

/// A verb whose command line is wrong: `text` is clap's whole explanation.
pub(crate) fn usage_failure(text: &str) -> Exit {
    complain(text.trim_end());
    let first = text.split("\n\n").next().unwrap_or(text);
    let words: Vec<&str> = first.split_whitespace().collect();
    let sentence = words.join(" ");
    let sentence = sentence.strip_prefix("error: ").unwrap_or(&sentence);
    report(&format!("{sentence}; see the verb's --help"))
}

/// Why a verb failed.
#[derive(Debug, Error)]
enum Failure {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("--request-id: {0}")]
    Key(#[from] KeyError),
    #[error("no random number for a request key: {0}")]
    Random(#[from] rustix::io::Errno),
    #[error(transparent)]
    Call(#[from] CallError),
    /// The outcome is unknown, and the key makes asking again harmless.
    #[error(
        "{error}; it may have been accepted all the same: repeat the same input with --request-id {key} to learn it"
    )]
    Unknown { error: CallError, key: String },
    #[error("{0}")]
    Internal(#[from] serde_json::Error),
}

fn read(path: Option<&Path>) -> Result<Box<RawValue>, Failure> {
    Ok(input::read(path.ok_or(ReadError::NotNamed)?)?)
}

/// The key given by hand, else a fresh one of 128 random bits. Never from the environment: one left set there would
/// turn every request into the same one.
fn key(by_hand: Option<&str>) -> Result<IdempotencyKey, Failure> {
    let text = match by_hand {
        Some(text) => text.to_owned(),
        None => {
            let mut bits = [0_u8; 16];
            // At most 256 bytes are never cut short, and waiting happens only right after boot.
            getrandom(&mut bits, GetRandomFlags::empty())?;
            format!("{:032x}", u128::from_ne_bytes(bits))
        }
    };
    Ok(IdempotencyKey::try_from(text)?)
}

fn call<V: Verb>(
    connection: &Connection,
    world: &World,
    document: Box<RawValue>,
    key: Option<IdempotencyKey>,
) -> Result<Reply, Failure> {
    let client = Client::new(connection.socket(world)?);
    let deadline = Instant::now() + connection.verb_timeout();
    let repeat_with = key.as_ref().map(|key| key.as_str().to_owned());
    client.call_until(&V::new(document, key, Some(epoch_millis_at(deadline))), deadline).map_err(|error| {
        match repeat_with {
            Some(key) if error.outcome_unknown() => Failure::Unknown { error, key },
            _ => Failure::Call(error),
        }
    })
}

fn finish(outcome: Result<Reply, Failure>) -> Exit {
    match outcome {
        Ok(mut reply) => {
            reply.end_line();
            printed(print(reply.json()), Exit::Done)
        }
        Err(failure) => {
            let message = failure.to_string();
            complain(&format!("hfctl: {message}"));
            report(&message)
        }
    }
}

fn report(message: &str) -> Exit {
    let document = serde_json::json!({ "message": message });
    printed(print(format!("{document}\n").as_bytes()), Exit::Internal)
}

fn printed(outcome: io::Result<()>, exit: Exit) -> Exit {
    match outcome {
        Ok(()) => exit,
        Err(error) => {
            complain(&format!("hfctl: can't write the answer: {error}"));
            Exit::Internal
        }
    }
}
