//! `hostfactory`: the stand-in for Symphony's HostFactory (`tests::hostfactory`).
//!
//! Exit status: 0 no lie, 1 could not run, 2 wrong command line, 6 a lie.

use std::process::ExitCode;

use clap::Parser;
use tests::hostfactory::{Options, run};

#[derive(Debug, Parser)]
#[command(name = "hostfactory", version)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    match run(Cli::parse().options) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("hostfactory: {error:#}");
            ExitCode::FAILURE
        }
    }
}
