//! What hfd does again and again, to be counted: `tests/guard` runs each of these under callgrind.
//!
//! A workload sets its stage and then does the same work some number of times. What the work costs is the difference
//! between doing it more often and less often, so stage and start do not count. All ids, pods and times are the same in
//! every run; only the hash tables of the pod cache and of what is published are seeded at random.
//!
//! | workload | its size | one time |
//! |---|---|---|
//! | `status` | machines of a request | getRequestStatus, from the bytes of the call to the bytes of the answer |
//! | `event` | pods in the cache | one pod's MODIFIED, from the watch's bytes to the cache and the engine's channel |
//! | `list` | pods, 500 a page | a fresh list of all, each of them changed, from the pages' bytes on |
//! | `lifecycle` | machines | asked for, created, seen ready, returned, gone, forgotten: the ledger and what is published |
//! | `commit` | machines | a batch with a row of each, from the change to the fsync |

mod lifecycle;
#[cfg(test)]
mod tests;

use hfd_core::id::{MachineName, PodUid, RequestId};

use crate::{journal, kube, rpc};

/// All of them.
pub const NAMES: [&str; 5] = ["status", "event", "list", "lifecycle", "commit"];

/// Does the work of that size `times` times; `false` where there is none of that name.
///
/// # Panics
/// When the work did not do what it should have: its cost would say nothing.
pub fn run(name: &str, size: u32, times: u32) -> bool {
    match name {
        "status" => rpc::workloads::status(size, times),
        "event" => kube::workloads::events(size, times),
        "list" => kube::workloads::lists(size, times),
        "lifecycle" => (0..times).for_each(|_| lifecycle::lifecycle(size)),
        "commit" => journal::workloads::commits(size, times),
        _ => return false,
    }
    true
}

/// The request that the machines of a workload belong to.
pub(crate) fn request() -> RequestId {
    RequestId::from_random([1; 10])
}

/// One of its machines.
pub(crate) fn machine(ordinal: u32) -> MachineName {
    MachineName { request: request(), ordinal }
}

/// The UID of that machine's pod.
pub(crate) fn uid(ordinal: u32) -> PodUid {
    let mut bytes = [0x5a; 16];
    bytes[..4].copy_from_slice(&ordinal.to_be_bytes());
    PodUid::from_bytes(bytes)
}
