//! Searches the model of `lifecycle.md`: see `src/ledger/tests/model/mod.rs`.

use std::process::ExitCode;

#[path = "../src/ledger/tests/model/mod.rs"]
mod model;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match model::run::run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("lifecycle_model: {why}");
            ExitCode::from(64)
        }
    }
}
