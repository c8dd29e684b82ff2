//! Searches the model of `lifecycle.md` from the command line: see `src/ledger/tests/model/mod.rs`.

use std::process::ExitCode;

use model::{
    check::{Finding, Outcome, explore},
    rules::{BASE, CONTROLS, Cfg, FIXES, Rule},
};

#[path = "../../src/ledger/tests/model/mod.rs"]
mod model;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(End::Clean) => ExitCode::SUCCESS,
        Ok(End::Found) => ExitCode::FAILURE,
        Ok(End::CutOff) => ExitCode::from(2),
        Err(why) => {
            eprintln!("lifecycle_model: {why}");
            ExitCode::from(64)
        }
    }
}

/// Every scenario.
const SCENARIOS: [&str; 11] = [
    "one",
    "lost-reply",
    "two-crashes",
    "outage",
    "forbid",
    "stranger",
    "wipe",
    "wipe-two",
    "two",
    "two-relist",
    "two-again",
];

const LIMIT: usize = 25_000_000;

/// How a run ended; of several searches the worst counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// Every search saw every state, or was cut off as expected, and found nothing but notes; for `controls`: every
    /// control found something.
    Clean,
    /// A search was cut off at the limit, and nobody said that this is expected: it proves nothing of the rest.
    CutOff,
    /// A promise is broken; for `controls`: a rule's removal breaks none.
    Found,
}

/// Runs what the arguments ask for.
///
/// # Errors
/// Says what is wrong with the arguments.
fn run(args: &[String]) -> Result<End, String> {
    let which = args.first().map_or("all", String::as_str);
    if which == "controls" {
        return Ok(if controls() { End::Clean } else { End::Found });
    }
    let names: Vec<_> = SCENARIOS.iter().filter(|name| which == "all" || **name == which).collect();
    if names.is_empty() {
        return Err(format!("no scenario {which:?}: it is all, controls, {}", SCENARIOS.join(", ")));
    }
    let quiet = args.iter().any(|arg| arg == "quiet");
    let bounded = args.iter().any(|arg| arg == "bounded");
    let mut end = End::Clean;
    for name in names {
        let (cfg, limit) = configure(name, args.get(1..).unwrap_or_default())?;
        let outcome = explore(&cfg, limit, false);
        print(name, &outcome, quiet);
        end = end.max(if !outcome.found.iter().all(Finding::is_note) {
            End::Found
        } else if outcome.complete || bounded {
            End::Clean
        } else {
            eprintln!("lifecycle_model: {name} was cut off at {limit} states (`bounded` if that is expected)");
            End::CutOff
        });
    }
    Ok(end)
}

/// Removes each rule in turn.
fn controls() -> bool {
    let mut all_found = true;
    for (name, rules) in CONTROLS {
        for rule in rules {
            let cfg = Cfg::with_all_rules(name).expect("the table names scenarios").without(*rule);
            let outcome = explore(&cfg, LIMIT, true);
            let found = outcome.found.iter().find(|finding| !finding.is_note());
            let what = found.map_or("NOTHING FOUND".to_owned(), |f| format!("{} ({} steps)", f.what, f.trace.len()));
            println!("{name} +all -{rule}: {what}, {} states", outcome.states);
            all_found &= found.is_some();
        }
    }
    all_found
}

fn configure(name: &str, args: &[String]) -> Result<(Cfg, usize), String> {
    let mut cfg = Cfg::scenario(name).ok_or("no such scenario")?;
    let mut limit = LIMIT;
    let known = |name: &str| rule_of(name).ok_or(format!("no rule {name:?}"));
    for arg in args {
        match arg.as_str() {
            "+all" => cfg.rules.extend(FIXES),
            "as-hfd" => cfg.as_hfd = true,
            "quiet" | "bounded" => {}
            arg => match (arg.strip_prefix('+'), arg.strip_prefix('-'), arg.strip_prefix("limit=")) {
                (Some(name), _, _) => cfg.rules.push(known(name)?),
                (_, Some(name), _) => cfg = cfg.without(known(name)?),
                (_, _, Some(number)) => limit = number.parse().map_err(|error| format!("{arg}: {error}"))?,
                _ => return Err(format!("what is {arg:?}?")),
            },
        }
    }
    Ok((cfg, limit))
}

fn print(name: &str, outcome: &Outcome, quiet: bool) {
    let short = if outcome.complete { "" } else { " (LIMIT REACHED, not exhaustive)" };
    println!("== {name}: {} states{short}, {} findings", outcome.states, outcome.found.len());
    for finding in &outcome.found {
        println!("  ! {}  ({} steps)", finding.what, finding.trace.len());
        for (at, step) in (1..).zip(finding.trace.iter().filter(|_| !quiet)) {
            println!("      {at}. {step}");
        }
    }
}

/// The rule of that name.
fn rule_of(name: &str) -> Option<Rule> {
    BASE.iter().chain(&FIXES).copied().find(|rule| rule.to_string() == name)
}
