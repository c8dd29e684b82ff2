//! `hfd` directly on a real Kubernetes control plane: over TLS, with real tokens and certificates, under the shipped
//! permissions, and with the API server really gone. The behaviour that does not need these is tested in `it/`.
//!
//! It needs a running testbed, and fails loudly without one:
//!
//! ```text
//! cargo run -p tests --bin testbed -- run -- cargo test -p tests --test control_plane -- --test-threads 3
//! ```
//!
//! `Plan` furnishes a namespace on the testbed and says how a daemon is started, `Site` is what runs. Tests that stop or
//! reconfigure the API server start a testbed of their own.

mod audit;
mod births;
mod credentials;
mod hostfactory;
mod installations;
mod namespaces;
mod outages;
mod permissions;
mod rebuild;
mod scale;
mod site;

use tests::testbed::{Facts, facts::VARIABLE};

/// The testbed that the tests share.
///
/// # Panics
/// When there is none.
pub(crate) fn testbed() -> Facts {
    Facts::of_environment().unwrap_or_else(|| {
        panic!(
            "{VARIABLE} names no testbed, and these tests need one:\n\
             cargo run -p tests --bin testbed -- run -- cargo test -p tests --test control_plane -- --test-threads 3"
        )
    })
}
