//! Everything that speaks to the Kubernetes API server. `Pod` objects never leave this module: what comes in becomes a
//! `hfd_core::pod::PodRecord` in the function that receives it, what goes out is bytes prepared per request.
//!
//! ```text
//!   Keeper (task) ── builds clients, again after a 401 ──> Link ──┬─> PodWatch (task) ──> PodCache, Seen ──> engine
//!                                                                 └─> Cluster::{create, delete, look, list} <── engine
//! ```
//! * [`Link::new`] gives the link and its [`Keeper`]; run the keeper and one [`PodWatch`] as tasks. Every call takes
//!   [`Link::current`]; an outcome `Unauthorized` is answered by [`Link::rebuild`] with that client's
//!   [`Cluster::build`].
//! * [`Cluster::create`], [`Cluster::delete`], [`Cluster::look`], [`Cluster::list`] and [`Cluster::namespace_uid`] are
//!   single calls with a time-out each and come back as one of `hfd_core::outcome`. They never repeat themselves.
//! * [`PodManifests`] writes the pods of one request.
//! * [`Calls`] counts what was sent.
//!
//! Labels and annotations on our pods: see [`names`].

mod access;
mod actuate;
mod answer;
mod client;
mod counts;
mod freshness;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod health;
mod intern;
mod link;
mod manifest;
pub mod names;
mod proxy;
mod reason;
mod tolerant;
mod watch;
mod wire;
#[cfg(any(test, feature = "workloads"))]
pub(crate) mod workloads;

#[cfg(test)]
mod tests;

pub use client::{Access, ClientSettings, Cluster, ConnectError, connect};
pub use counts::{Calls, Verb};
pub use health::Heartbeat;
pub use link::{Keeper, Link};
pub use manifest::{PodManifests, RequestIdentity};
pub use watch::{PodSeen, PodWatch, Seen, WatchSettings};
