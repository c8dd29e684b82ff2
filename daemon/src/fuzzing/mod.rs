//! What hostile bytes may do to hfd: one function for each place where bytes of others come in.
//!
//! libFuzzer calls them (`tests/fuzz`), and so do the tests here, with every committed input. A function says whether
//! it accepted the bytes, and panics where a promise about them is broken. It keeps nothing between two calls that
//! could change what the next one does.
//!
//! | function | whose bytes | what must hold |
//! |---|---|---|
//! | [`rpc_frame`] | a caller's, on the socket | every complete call is answered, in JSON-RPC |
//! | [`hostfactory_json`] | HostFactory's | what is accepted reads back the same; a refusal says why in one line |
//! | [`template_file`] | an administrator's | no accepted manifest takes from hfd what is hfd's to set |
//! | [`config_file`] | an administrator's | what is shown of a configuration reads back the same |
//! | [`journal_rows`] | a damaged disk's | refused unchanged, or hfd lives on it; no third |
//! | [`watch_event`] | the API server's | every JSON object is a pod, and no pod upsets the rules |

mod config_file;
mod hostfactory_json;
pub(crate) mod sample;
mod template_file;
#[cfg(test)]
mod tests;

// Those that need what is private to a module stand in it.
pub use self::{config_file::config_file, hostfactory_json::hostfactory_json, template_file::template_file};
pub use crate::{journal::fuzzing::journal_rows, kube::fuzzing::watch_event, rpc::fuzzing::rpc_frame};

/// What became of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// They mean something.
    Accepted,
    /// They were refused with a reason.
    Refused,
}

impl Taken {
    pub(crate) fn accepted_if(accepted: bool) -> Self {
        if accepted { Self::Accepted } else { Self::Refused }
    }
}

/// A refusal is for a person: something, and not everything.
pub(crate) fn assert_tells(message: &str, longest: usize) {
    assert!(!message.trim().is_empty(), "a refusal without a word");
    assert!(message.len() <= longest, "a refusal of {} bytes: {message:.200}...", message.len());
}
