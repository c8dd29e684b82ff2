//! What Linux tells about the daemon's process.

use std::{fs, time::Duration};

/// Resident memory now, and its highest since the start or the last [`forget_peak`], bytes.
pub(crate) fn resident(pid: u32) -> (u64, u64) {
    (field(pid, "status", "VmRSS:"), field(pid, "status", "VmHWM:"))
}

/// The highest resident memory counts from now on (proc(5), `clear_refs`).
pub(crate) fn forget_peak(pid: u32) {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("our own child");
}

/// Bytes it caused to be written to disks so far.
pub(crate) fn written(pid: u32) -> u64 {
    field(pid, "io", "write_bytes:")
}

/// Time its threads spent on a processor.
pub(crate) fn processor_time(pid: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("the daemon runs");
    let nanos = threads.flatten().map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0)
    });
    Duration::from_nanos(nanos.sum())
}

/// A number of a file of the process; those in kB as bytes.
fn field(pid: u32, file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).expect("the daemon runs");
    let value = text.lines().find_map(|line| line.strip_prefix(name)).expect("Linux tells it").trim();
    match value.strip_suffix(" kB") {
        Some(kib) => kib.parse::<u64>().expect("a number") * 1024,
        None => value.parse().expect("a number"),
    }
}
