//! Does a workload of `hfd::workloads`: `workload NAME SIZE TIMES`.

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [name, size, times] = arguments.as_slice()
        && let (Ok(size), Ok(times)) = (size.parse(), times.parse())
        && hfd::workloads::run(name, size, times)
    {
        return ExitCode::SUCCESS;
    }
    eprintln!("usage: workload NAME SIZE TIMES, where NAME is one of {}", hfd::workloads::NAMES.join(", "));
    ExitCode::FAILURE
}
