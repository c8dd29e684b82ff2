//! The counts that are held to be right, one file for each architecture, a line `name = count` for each.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

/// How far, in percent, a count may be from the golden one. Two runs of one build differ by up to 2 % (the seeds
/// of hash tables); the rest is for another compiler, and for a processor for which libraries choose other code.
const TOLERANCE_PERCENT: u64 = 10;

/// Set to 1, the file is written anew, and nothing is checked.
const WRITE: &str = "GUARD_WRITE";

/// Instructions by what they are counted for.
pub(crate) type Counts = BTreeMap<String, u64>;

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("guard/instructions").join(env::consts::ARCH)
}

/// Prints the counts, and fails when one is not what it was.
#[track_caller]
pub(crate) fn hold_against(counts: &Counts) {
    let file = file();
    let written: String = counts.iter().map(|(name, count)| format!("{name} = {count}\n")).collect();
    if env::var(WRITE).is_ok_and(|value| value == "1") {
        fs::write(&file, &written).expect("the tree can be written to");
        eprintln!("{written}written to {}", file.display());
        return;
    }
    let Ok(text) = fs::read_to_string(&file) else {
        eprintln!("{written}skipped: there are no golden counts for {} yet; {WRITE}=1 writes them", env::consts::ARCH);
        return;
    };
    let golden = parse(&text);
    let mut wrong = Vec::new();
    for (name, count) in counts {
        match golden.get(name) {
            Some(right) => {
                let change = (count.abs_diff(*right) * 1000 / right.max(&1)) as f64 / 10.0;
                let sign = if count < right { "-" } else { "+" };
                eprintln!("{name}: {count} instructions, golden {right} ({sign}{change} %)");
                if count.abs_diff(*right) * 100 > right * TOLERANCE_PERCENT {
                    let more = if count > right { "more" } else { "fewer" };
                    wrong.push(format!("{more} than it was: {name}, {count} instructions, and not {right}"));
                }
            }
            None => wrong.push(format!("without a golden count: {name}, {count} instructions")),
        }
    }
    let left = golden.keys().filter(|name| !counts.contains_key(*name));
    wrong.extend(left.map(|name| format!("not counted: {name}")));
    assert!(
        wrong.is_empty(),
        "counts differ from the golden ones by more than {TOLERANCE_PERCENT} %:\n{}\nfind out why; if that is meant, \
         write {} anew with {WRITE}=1 cargo test --workspace --test guard, and commit it",
        wrong.join("\n"),
        file.display()
    );
}

fn parse(text: &str) -> Counts {
    let line = |line: &str| {
        let (name, count) = line.split_once(" = ").unwrap_or_else(|| panic!("not `name = count`: {line}"));
        (name.to_owned(), count.parse().unwrap_or_else(|_| panic!("not a count: {line}")))
    };
    text.lines().map(line).collect()
}
