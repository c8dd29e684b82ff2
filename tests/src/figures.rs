//! Figures of benches: samples and their spread, a table, and the section of `tests/BENCH.md` that a bench owns.
//!
//! A figure is worth what its floor is: both come from the same run, alternated, so that a noisy machine is noisy for
//! both, and what is stated is the ratio of their medians.

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::bins;

/// Times of one way to do something.
#[derive(Debug, Clone, Default)]
pub struct Samples(Vec<Duration>);

impl Samples {
    /// One more.
    pub fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// The time that `per_mille` of a thousand samples do not pass.
    ///
    /// # Panics
    /// Without samples.
    pub fn quantile(&self, per_mille: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted[((sorted.len() - 1) * per_mille + 500) / 1000]
    }

    /// The median.
    pub fn median(&self) -> Duration {
        self.quantile(500)
    }

    /// How many times longer than `floor` this takes, by the medians.
    pub fn ratio_to(&self, floor: &Self) -> f64 {
        self.median().as_secs_f64() / floor.median().as_secs_f64()
    }

    /// Median and middle half: `0.93 ms (0.90-0.97)`.
    pub fn summary(&self) -> String {
        let [low, median, high] = [250, 500, 750].map(|at| millis(self.quantile(at)));
        let digits = if median < 10.0 { 3 } else { 1 };
        format!("{median:.digits$} ms ({low:.digits$}-{high:.digits$})")
    }
}

/// The median of `values` with an interval that covers the true median 95 times of 100, whatever the values' distribution
/// (the order statistics of the sign test). Without an interval where there are fewer than six values.
///
/// # Panics
/// Without values.
pub fn median_interval(values: &[f64]) -> (f64, Option<(f64, f64)>) {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let count = sorted.len();
    let median = f64::midpoint(sorted[(count - 1) / 2], sorted[count / 2]);
    // How likely fewer than `cut` + 1 of `count` values fall below the median: at most 2.5 % on either side.
    let (mut cut, mut term, mut below) = (0, 0.5_f64.powi(i32::try_from(count).unwrap_or(i32::MAX)), 0.0);
    while below + term <= 0.025 {
        below += term;
        cut += 1;
        term *= (count + 1 - cut) as f64 / cut as f64;
    }
    (median, (cut > 0).then(|| (sorted[cut - 1], sorted[count - cut])))
}

/// A time in milliseconds.
pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// A Markdown table.
#[derive(Debug)]
pub struct Table(String);

impl Table {
    /// A table with these columns.
    pub fn new(columns: &[&str]) -> Self {
        Self(format!("| {} |\n|{}\n", columns.join(" | "), "---|".repeat(columns.len())))
    }

    /// One more row.
    pub fn row(&mut self, cells: &[String]) {
        writeln!(self.0, "| {} |", cells.join(" | ")).expect("a string takes everything");
    }

    /// As Markdown.
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// What a figure depends on beside the program: processor, cores, kernel, load, commit and day.
pub fn machine() -> String {
    let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = file("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split(':').nth(1)).unwrap_or("?");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = file("/proc/sys/kernel/osrelease");
    let load = file("/proc/loadavg");
    let commit = git(&["rev-parse", "--short", "HEAD"]).unwrap_or_else(|| "?".to_owned());
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|files| !files.is_empty());
    format!(
        "{}, {cores} cores, Linux {}, load {} when begun; commit {commit}{}; {}",
        model.trim(),
        kernel.trim(),
        load.split(' ').next().unwrap_or("?"),
        if changed { " with changes" } else { "" },
        today(),
    )
}

/// Puts `body` in the place of the section `name` of `tests/BENCH.md`, or at its end. Other sections stay as they are.
///
/// # Panics
/// When the file can't be written.
pub fn write_section(name: &str, body: &str) {
    let path = bins::source_root().join("tests/BENCH.md");
    let text = fs::read_to_string(&path).unwrap_or_default();
    fs::write(&path, with_section(&text, name, body)).unwrap_or_else(|error| panic!("{}: {error}", shown(&path)));
}

fn with_section(text: &str, name: &str, body: &str) -> String {
    let (begin, end) = (format!("<!-- begin {name} -->\n"), format!("<!-- end {name} -->\n"));
    let section = format!("{begin}{}\n{end}", body.trim_end());
    let old = text.find(&begin).and_then(|from| Some((from, from + text[from..].find(&end)? + end.len())));
    match old {
        Some((from, to)) => format!("{}{section}{}", &text[..from], &text[to..]),
        None if text.is_empty() => section,
        None => format!("{}\n\n{section}", text.trim_end()),
    }
}

fn shown(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").current_dir(bins::source_root()).args(args).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The day in UTC, as in 2026-11-26 (days to civil date after Howard Hinnant's `civil_from_days`).
fn today() -> String {
    let days = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / 86_400;
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}")
}

fn civil(days_since_epoch: u64) -> (u64, u64, u64) {
    let days = days_since_epoch + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bench_rewrites_its_own_section_and_no_other() {
        let first = with_section("# Figures\n", "client", "one\n");
        let both = with_section(&first, "daemon", "two");
        let again = with_section(&both, "client", "three\n\nand more\n");
        assert_eq!(
            again,
            "# Figures\n\n<!-- begin client -->\nthree\n\nand more\n<!-- end client -->\n\n\
             <!-- begin daemon -->\ntwo\n<!-- end daemon -->\n"
        );
    }

    #[test]
    fn quantiles_are_samples_and_the_median_is_the_middle_one() {
        let mut samples = Samples::default();
        for millis in [5, 1, 4, 2, 3] {
            samples.push(Duration::from_millis(millis));
        }
        assert_eq!([0, 250, 500, 1000].map(|at| samples.quantile(at).as_millis()), [1, 2, 3, 5]);
        assert_eq!(samples.summary(), "3.000 ms (2.000-4.000)");
    }

    #[test]
    fn the_interval_of_a_median_is_that_of_the_sign_test() {
        let ten: Vec<f64> = (1..=10).map(f64::from).collect();
        assert_eq!(median_interval(&ten), (5.5, Some((2.0, 9.0))), "1 and 10 of 10 leave 2 x 1.1 % outside");
        assert_eq!(median_interval(&ten[..6]), (3.5, Some((1.0, 6.0))));
        assert_eq!(median_interval(&ten[..5]), (3.0, None), "five values can all lie on one side: 2 x 3.1 %");
    }

    #[test]
    fn days_become_dates() {
        assert_eq!([0, 59, 11_016, 20_783].map(civil), [(1970, 1, 1), (1970, 3, 1), (2000, 2, 29), (2026, 11, 26)]);
    }
}
