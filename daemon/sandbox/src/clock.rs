//! The cluster's clock: wall time that moves with tokio's clock, so that a paused runtime moves the whole cluster.
//!
//! Nothing else in the crate reads the system time; what leaves here is RFC 3339 text in UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

const SECONDS_PER_DAY: u64 = 86_400;

/// Wall time, read once at the start and carried on by tokio's monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
    /// Time since the Unix epoch at `origin`.
    wall: Duration,
}

impl Clock {
    /// Starts at the system's time of day.
    pub(crate) fn start() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { origin: Instant::now(), wall }
    }

    /// Time since the Unix epoch.
    pub(crate) fn now(&self) -> Duration {
        self.wall + self.origin.elapsed()
    }

    /// Now as Kubernetes writes most times: whole seconds.
    pub(crate) fn stamp(&self) -> String {
        rfc3339(self.now())
    }

    /// Now plus `ahead`, in whole seconds.
    pub(crate) fn stamp_in(&self, ahead: Duration) -> String {
        rfc3339(self.now() + ahead)
    }

    /// Now with microseconds, as `eventTime` wants it.
    pub(crate) fn stamp_micros(&self) -> String {
        let now = self.now();
        let seconds = rfc3339(now);
        format!("{}.{:06}Z", seconds.trim_end_matches('Z'), now.subsec_micros())
    }
}

/// Time since the epoch as `2026-11-23T03:49:14Z`.
pub(crate) fn rfc3339(since_epoch: Duration) -> String {
    let seconds = since_epoch.as_secs();
    let (year, month, day) = civil_date(seconds / SECONDS_PER_DAY);
    let of_day = seconds % SECONDS_PER_DAY;
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", of_day / 3600, of_day / 60 % 60, of_day % 60)
}

/// Days since 1970-01-01 as year, month and day, counted in 400-year eras that begin on a 1st of March.
fn civil_date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468; // from 0000-03-01 to 1970-01-01
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// Reads a time written by [`Clock`] back as time since the epoch; `None` for anything else.
pub(crate) fn parse(stamp: &str) -> Option<Duration> {
    let (date, time) = stamp.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<u64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut time = time.splitn(3, ':').map(|part| part.split('.').next()?.parse::<u64>().ok());
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    if !(1..=12).contains(&month) || year < 1970 || day == 0 {
        return None;
    }
    let (year, month_from_march) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year_of_era) = (year / 400, year % 400);
    let of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let days = era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year - 719_468;
    Some(Duration::from_secs(days * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates_across_leap_years() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (1_795_405_754, "2026-11-23T03:49:14Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(Duration::from_secs(seconds)), text);
            assert_eq!(parse(text), Some(Duration::from_secs(seconds)));
        }
    }

    #[test]
    fn text_that_is_no_time_is_no_time() {
        for text in ["", "yesterday", "2026-13-01T00:00:00Z", "2026-01-01", "2026-01-01T00:00Z"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
