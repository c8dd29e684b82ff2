//! `hfctl`: carries a HostFactory verb or an operator's question to `hfd` and prints the answer.
//!
//! Exit codes: 0 and 1 for HostFactory's five verbs, the table of [`hfctl::exit::Exit`] for everything else.

use std::process::ExitCode;

fn main() -> ExitCode {
    hfctl::run(std::env::args_os(), &hfctl::World::of_this_process()).into()
}
