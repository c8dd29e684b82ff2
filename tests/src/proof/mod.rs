//! Long proofs on the real binaries: `hfd` is killed at random and at named points, under load from many callers, and
//! afterwards every acknowledgement and the whole cluster are judged.
//!
//! ```text
//!   kill, power_cut (in rounds), points, soak      what happens to hfd, and when it is judged
//!        │
//!   load ── caller × n ──> hfctl, scripts ──> hfd ──> cluster (a process of its own, survives every kill)
//!        │                                               │
//!   judge <── what each caller was told ─────────────────┘ pods, their whole history
//! ```
//!
//! Each caller owns the requests that it made and reads all answers about them with a strict reader of its own, in the
//! order in which it got them. So an answer that a crash unsays is seen without knowing how calls of others overlapped.

pub mod call;
pub mod called;
pub mod caller;
pub mod descriptors;
pub mod judge;
mod keys;
pub mod kill;
pub mod load;
pub mod lossy;
pub mod points;
pub mod power_cut;
pub mod rounds;
pub mod site;
pub mod soak;
