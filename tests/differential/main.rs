//! The differential test: the same API traffic goes to the sandbox (`hfd sandbox cluster`) and to a real API server, and
//! what comes back must be the same wherever hfd, or a person who reads hfd's answers, relies on it. Where the sandbox
//! answers otherwise than the real one, the sandbox is wrong.
//!
//! ```text
//!   case ──> Pair ──┬── sandbox: a process of the test's own         ──┐
//!                   └── real: a namespace (Ground) on the testbed    ──┴──> normal ──> compare ──> allowed ──> verdict
//! ```
//!
//! Both sides have the same namespace and the same names, so most of what they say is equal as it is. `normal` takes out
//! what is chosen by a server (UIDs, versions, times, addresses), by explicit rules; all that differs after that fails
//! the test, unless `allowed` has an entry with the reason why it may. An entry that is no longer needed fails it too.
//!
//! It needs a real API server and is therefore no part of `cargo test --workspace`:
//!
//! ```text
//! cargo run -p tests --bin testbed -- run --nodes 4 -- cargo test -p tests --test differential
//! ```

mod access;
mod allowed;
mod case;
mod compare;
mod creation;
mod deletion;
mod discovery;
mod eviction;
mod lists;
mod lives;
mod malformed;
mod namespaces;
mod normal;
mod pair;
mod past;
mod quotas;
mod reading;
mod scheduling;
mod updates;
mod validation;
mod watches;
