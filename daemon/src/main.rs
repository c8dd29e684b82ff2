//! `hfd`: serves one HostFactory provider instance; `hfd sandbox` tries it out without a cluster.
//!
//! Exit status, by sysexits(3): 0 stopped as told, 64 usage, 70 internal fault, 73 the state directory cannot be made,
//! 74 journal failed, 75 state directory or socket in use, 77 not permitted, 78 configuration. `hfd rebuild` and
//! `hfd accept-namespace` are calls to a running daemon and use hfctl's exit codes.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
