//! Small pieces of text: nothing unsafe for a terminal, times and durations as people write them.

use std::{borrow::Cow, fmt::Write};

/// `text` without anything that could steer a terminal or hide what is written: control characters and the invisible
/// direction marks are shown as escapes.
pub(super) fn safe(text: &str) -> Cow<'_, str> {
    if !text.contains(unsafe_for_terminals) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if unsafe_for_terminals(c) {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

/// At most `limit` characters, with an ellipsis in place of the rest.
pub(super) fn shortened(text: &str, limit: usize) -> Cow<'_, str> {
    match text.char_indices().nth(limit) {
        None => Cow::Borrowed(text),
        Some(_) => {
            let end = text.char_indices().nth(limit.saturating_sub(1)).map_or(0, |(offset, _)| offset);
            Cow::Owned(format!("{}…", &text[..end]))
        }
    }
}

/// A duration in its two largest units: `42s`, `5m03s`, `2h10m`, `3d04h`.
pub(super) fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m{:02}s", seconds % 60),
        3600..86_400 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

/// A size in the largest unit that leaves a whole number before the point.
pub(super) fn size(bytes: u64) -> String {
    let mut unit = ["KiB", "MiB", "GiB", "TiB"].into_iter();
    let mut tenths = bytes.saturating_mul(10);
    let mut name = "B";
    while tenths >= 10_240
        && let Some(larger) = unit.next()
    {
        tenths /= 1024;
        name = larger;
    }
    if name == "B" { format!("{bytes} B") } else { format!("{}.{} {name}", tenths / 10, tenths % 10) }
}

/// A time in UTC as RFC 3339 writes it, from epoch seconds.
pub(super) fn utc(epoch_seconds: i64) -> String {
    let (days, second) = (epoch_seconds.div_euclid(86_400), epoch_seconds.rem_euclid(86_400));
    // Howard Hinnant's civil_from_days: years that begin in March make leap days the last of a year.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

/// Adds a line `label: value` with the values under one another. The value is made safe.
pub(super) fn field(page: &mut String, label: &str, value: &str) {
    // Writing to a String can't fail.
    let _ = writeln!(page, "{:<13}{}", format!("{label}:"), safe(value));
}

fn unsafe_for_terminals(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_and_direction_marks_become_visible() {
        assert_eq!(safe("plain ü"), "plain ü");
        assert_eq!(safe("a\u{1b}[2Jb\n\u{202e}c"), "a\\u{1b}[2Jb\\n\\u{202e}c");
    }

    #[test]
    fn long_text_is_shortened_by_characters() {
        assert_eq!(shortened("übung", 5), "übung");
        assert_eq!(shortened("übungen", 5), "übun…");
    }

    #[test]
    fn durations_show_their_two_largest_units() {
        assert_eq!([0, 59, 303, 7800, 273_600].map(duration), ["0s", "59s", "5m03s", "2h10m", "3d04h"]);
    }

    #[test]
    fn sizes_show_their_largest_unit() {
        assert_eq!([0, 1023, 1536, 1 << 20, 5 << 40].map(size), ["0 B", "1023 B", "1.5 KiB", "1.0 MiB", "5.0 TiB"]);
    }

    #[test]
    fn times_are_written_in_utc() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(utc(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(utc(1_734_619_942), "2024-12-19T14:52:22Z");
        assert_eq!(utc(-1), "1969-12-31T23:59:59Z");
    }
}
