//! `proof`: the long proofs on the real binaries, for as long as one likes.
//!
//! Exit status: 0 nothing was found, 1 something was. Then the seed and the command that repeats it are printed, and the
//! state directory and all logs are kept.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use tests::proof::{kill, points, power_cut, soak};

#[derive(Debug, Parser)]
#[command(name = "proof", about = "Long proofs on the real hfd and hfctl")]
struct Cli {
    #[command(subcommand)]
    proof: Proof,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Proof {
    /// kill -9 at random moments under load
    Kill {
        /// How often
        #[arg(long, default_value_t = 2000)]
        kills: usize,
        /// Callers at once
        #[arg(long, default_value_t = 10)]
        callers: usize,
        /// Seed
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Death at every named point, with each verb that passes it
    Points {
        /// Seed
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Churn with a retention of seconds: memory, descriptors and the journal stay flat
    Soak {
        /// How long: 90s, 10m, 12h
        #[arg(long, default_value = "12h", value_parser = duration)]
        duration: Duration,
        /// Callers at once
        #[arg(long, default_value_t = 6)]
        callers: usize,
        /// Seed
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Power cuts under load, on a disk that loses what was not synced (root and /dev/fuse)
    PowerCut {
        /// How often
        #[arg(long, default_value_t = 200)]
        cuts: usize,
        /// Callers at once
        #[arg(long, default_value_t = 8)]
        callers: usize,
        /// Seed
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// A control instead: cuts until loss is seen, and fails when none is
        #[arg(long)]
        weakness: Option<power_cut::Weakness>,
    },
}

type Rows = Vec<(String, u64)>;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let (again, run) = prepare(cli.proof);
    // The harness panics where a scene can't be set or a process does what it must not; that is a finding as well.
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(rows)) => {
            let width = rows.iter().map(|(what, _)| what.len()).max().unwrap_or(0);
            rows.iter().for_each(|(what, count)| println!("{what:width$}  {count}"));
            ExitCode::SUCCESS
        }
        Ok(Err(error)) => {
            println!("FAILED: {error:?}\nagain: {again}");
            ExitCode::FAILURE
        }
        Err(_) => {
            println!("FAILED: see the panic above\nagain: {again}");
            ExitCode::FAILURE
        }
    }
}

/// The command that repeats it, and what runs it.
fn prepare(proof: Proof) -> (String, Box<dyn FnOnce() -> Result<Rows>>) {
    let say = |line: &str| println!("{line}");
    match proof {
        Proof::Kill { kills, callers, seed } => {
            let plan = kill::Plan { kills, callers, seed };
            (plan.again(), Box::new(move || Ok(plan.run(&say)?.rows())))
        }
        Proof::Points { seed } => (format!("proof points --seed {seed}"), Box::new(move || all_points(seed))),
        Proof::Soak { duration, callers, seed } => {
            let plan = soak::Plan { duration, callers, seed, forgets: true };
            (plan.again(), Box::new(move || flat(&plan.run(&say)?)))
        }
        Proof::PowerCut { cuts, callers, seed, weakness: None } => {
            let plan = power_cut::Plan { cuts, callers, seed };
            (plan.again(), Box::new(move || Ok(plan.run(&say)?.rows())))
        }
        Proof::PowerCut { cuts, seed, weakness: Some(weakness), .. } => {
            let again = power_cut::again_with(weakness, cuts, seed);
            (again, Box::new(move || Ok(power_cut::control(weakness, cuts, seed)?.rows())))
        }
    }
}

fn all_points(seed: u64) -> Result<Rows> {
    let mut rows = Rows::new();
    for point in points::POINTS {
        let deaths = points::die_at(point, seed)?;
        println!("{}: died and came back with {deaths} verbs under way", point.name);
        rows.push((point.name.to_owned(), deaths));
    }
    points::rebuild(seed)?;
    rows.push(("during-rebuild".to_owned(), 1));
    Ok(rows)
}

fn flat(report: &soak::Report) -> Result<Rows> {
    let growing = report.growing();
    ensure!(growing.is_empty(), "{}\n{:#?}", growing.join("\n"), report.rows());
    Ok(report.rows())
}

fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.len().saturating_sub(1));
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err("a number with s, m or h".to_owned()),
    };
    number.parse::<u64>().map(|number| Duration::from_secs(number * seconds)).map_err(|error| error.to_string())
}
