//! Operators' questions. None of them changes anything or asks the API server; they read what the daemon knows.
//!
//! Every reply opens with `apiVersion`. Times are epoch seconds UTC, durations seconds. Texts that come from the
//! cluster (reasons, messages) are passed on as they are: whoever prints them to a terminal escapes them.

mod describe;
mod lists;
mod status;

pub use describe::*;
pub use lists::*;
pub use status::*;
