//! HostFactory's documents.

use std::fmt::Debug;

use proto_schema::{
    hostfactory::{RequestMachinesInput, ReturnInput, ReturnRequestsInput, StatusInput, TemplatesInput},
    input::{InputDocument, parse_input},
};
use serde::Serialize;

use super::{Taken, assert_tells};

/// Reads the bytes as the input of each of the five verbs.
#[must_use]
pub fn hostfactory_json(data: &[u8]) -> Taken {
    let Ok(text) = std::str::from_utf8(data) else { return Taken::Refused };
    let read = [
        reads_back::<TemplatesInput>(text),
        reads_back::<RequestMachinesInput>(text),
        reads_back::<StatusInput>(text),
        reads_back::<ReturnInput>(text),
        reads_back::<ReturnRequestsInput>(text),
    ];
    // Any object is an input of getAvailableTemplates: it says nothing of the others.
    Taken::accepted_if(read[1..].contains(&true))
}

fn reads_back<T: InputDocument + Serialize + PartialEq + Debug>(text: &str) -> bool {
    match parse_input::<T>(text) {
        Ok(document) => {
            let written = serde_json::to_string(&document).expect("what was read can be written");
            assert_eq!(parse_input::<T>(&written).as_ref(), Ok(&document), "as {written}");
            true
        }
        Err(error) => {
            let message = error.to_string();
            // The place, the problem and the example are bounded one by one.
            assert_tells(&message, 2000);
            assert!(!message.contains(char::is_control), "more than one line: {message:?}");
            assert!(error.line >= 1, "{message}");
            false
        }
    }
}
