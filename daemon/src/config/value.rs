//! Values as they are written (`"5m"`, `"16MiB"`, `64`) and as the program uses them.

use std::{fmt, path::PathBuf, time::Duration};

use super::sections::LogFormat;

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u32);

impl ByteSize {
    /// `count` MiB.
    #[must_use]
    pub const fn mib(count: u32) -> Self {
        Self(count << 20)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes != 0 && bytes.is_multiple_of(1 << 20) => write!(f, "{}MiB", bytes >> 20),
            bytes if bytes != 0 && bytes.is_multiple_of(1 << 10) => write!(f, "{}KiB", bytes >> 10),
            bytes => write!(f, "{bytes}B"),
        }
    }
}

/// Reads a duration such as `"90s"`, `"1h30m"` or `"250ms"`; also the value parser of command-line flags.
///
/// # Errors
/// What is wanted, and what was found.
pub fn duration(text: &str) -> Result<Duration, String> {
    Duration::read(&Raw::Untyped(text))
}

/// A value as a layer holds it, before its key has looked at it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Raw<'a> {
    /// From the environment or a flag, where everything is text.
    Untyped(&'a str),
    Text(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    /// A kind of TOML that no key takes: a date, an array, a table.
    Other(&'static str),
}

impl fmt::Display for Raw<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untyped(text) => write!(f, "{text:?}"),
            Self::Text(text) => write!(f, "the string {text:?}"),
            Self::Integer(number) => write!(f, "the integer {number}"),
            Self::Float(number) => write!(f, "the number {number}"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Other(kind) => f.write_str(kind),
        }
    }
}

/// A type that a key can have.
pub(super) trait Setting: Sized {
    /// Reads a value; the error says what is wanted and what was found.
    fn read(raw: &Raw<'_>) -> Result<Self, String>;

    /// Writes it as the configuration file would; empty when unset.
    fn show(&self) -> String;
}

/// As the file has it: TOML knows other escapes than Rust.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn wanted<T>(what: &str, raw: &Raw<'_>) -> Result<T, String> {
    Err(format!("wants {what}, not {raw}"))
}

impl Setting for u32 {
    fn read(raw: &Raw<'_>) -> Result<Self, String> {
        let number = match raw {
            Raw::Untyped(text) => text.parse().ok(),
            Raw::Integer(number) => Some(*number),
            _ => None,
        };
        match number {
            Some(number) => Self::try_from(number).map_err(|_| format!("{number} is out of range")),
            None => wanted("a whole number", raw),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Setting for f64 {
    fn read(raw: &Raw<'_>) -> Result<Self, String> {
        let number = match raw {
            Raw::Untyped(text) => text.parse().ok(),
            Raw::Float(number) => Some(*number),
            Raw::Integer(number) => i32::try_from(*number).ok().map(Self::from),
            _ => None,
        };
        number.filter(|number: &Self| number.is_finite()).map_or_else(|| wanted("a number", raw), Ok)
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Setting for bool {
    fn read(raw: &Raw<'_>) -> Result<Self, String> {
        match raw {
            Raw::Bool(value) => Ok(*value),
            Raw::Untyped("true" | "1") => Ok(true),
            Raw::Untyped("false" | "0") => Ok(false),
            _ => wanted("true or false", raw),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Setting for String {
    fn read(raw: &Raw<'_>) -> Result<Self, String> {
        match raw {
            Raw::Untyped("") => wanted("a text", raw),
            Raw::Text(text) if text.is_empty() => wanted("a text", raw),
            Raw::Untyped(text) => Ok((*text).to_owned()),
            Raw::Text(text) => Ok(text.clone()),
            _ => wanted("a string", raw),
        }
    }

    fn show(&self) -> String {
        quoted(self)
    }
}

impl Setting for PathBuf {
    fn read(raw: &Raw<'_>) -> Result<Self, String> {
        let path = String::read(raw).map(Self::from)?;
        if path.to_string_lossy().contains('\0') {
            return wanted("a path", raw);
        }
        // Made absolute here: later code must not depend on the directory that hfd was started in.
        std::path::absolute(&path).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn show(&self) -> String {
        quoted(&self.to_string_lossy())
    }
}

impl<T: Setting> Setting for Option<T> {
    fn read(raw: &Raw<'_>) -> Result<Self, String> {
        T::read(raw).map(Some)
    }

    fn show(&self) -> String {
        self.as_ref().map(T::show).unwrap_or_default()
    }
}

impl Setting for LogFormat {
    fn read(raw: &Raw<'_>) -> Result<Self, String> {
        match raw {
            Raw::Untyped(text) => Self::named(text),
            Raw::Text(text) => Self::named(text),
            _ => None,
        }
        .map_or_else(|| wanted(r#""auto", "text" or "json""#, raw), Ok)
    }

    fn show(&self) -> String {
        let name = match self {
            Self::Auto => "auto",
            Self::Text => "text",
            Self::Json => "json",
        };
        format!("{name:?}")
    }
}

impl LogFormat {
    fn named(name: &str) -> Option<Self> {
        match name {
            "auto" => Some(Self::Auto),
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// Units of a duration, largest first, in milliseconds.
const DURATION_UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Setting for Duration {
    fn read(raw: &Raw<'_>) -> Result<Self, String> {
        let text = match raw {
            Raw::Untyped(text) => *text,
            Raw::Text(text) => text,
            Raw::Integer(number) => {
                return Err(format!(r#"wants a duration with its unit, such as "{number}s", not {raw}"#));
            }
            _ => return wanted(r#"a duration such as "90s", "5m" or "1h30m""#, raw),
        };
        if let Ok(bare) = text.parse::<u64>() {
            return if bare == 0 { Ok(Self::ZERO) } else { wanted(&format!(r#"a unit, such as "{bare}s""#), raw) };
        }
        match parts(text, &DURATION_UNITS) {
            Some(millis) => Ok(Self::from_millis(millis)),
            None => wanted(r#"a duration such as "90s", "5m" or "1h30m""#, raw),
        }
    }

    fn show(&self) -> String {
        let Ok(mut rest) = u64::try_from(self.as_millis()) else { return format!("{self:?}") };
        let mut text = String::new();
        for (unit, millis) in DURATION_UNITS {
            if rest >= millis {
                text += &format!("{}{unit}", rest / millis);
                rest %= millis;
            }
        }
        if text.is_empty() { r#""0s""#.to_owned() } else { format!("{text:?}") }
    }
}

/// Units of a size.
const SIZE_UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl Setting for ByteSize {
    fn read(raw: &Raw<'_>) -> Result<Self, String> {
        let bytes = match raw {
            Raw::Integer(number) => u64::try_from(*number).ok(),
            Raw::Untyped(text) => text.parse().ok().or_else(|| parts(text, &SIZE_UNITS)),
            Raw::Text(text) => parts(text, &SIZE_UNITS),
            _ => None,
        };
        match bytes {
            Some(bytes) => u32::try_from(bytes).map(Self).map_err(|_| format!("{raw} is out of range")),
            None => wanted(r#"a size such as "16MiB", or a number of bytes"#, raw),
        }
    }

    fn show(&self) -> String {
        format!("{:?}", self.to_string())
    }
}

/// Adds up `<number><unit>` pieces, each unit at most once and in falling order.
fn parts(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let mut rest = text;
    let mut units = units;
    let mut total = 0u64;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|letter: char| letter.is_ascii_digit()).unwrap_or(rest.len());
        let place = units.iter().position(|(unit, _)| *unit == &rest[..letters])?;
        total = total.checked_add(number.checked_mul(units[place].1)?)?;
        units = &units[place + 1..];
        rest = &rest[letters..];
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_units() {
        assert_eq!(duration("300s"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        for wrong in ["", "s", "5", "5 m", "-5s", "1.5h", "5m1h", "5s5s", "99999999999999999999s", "9999999999999999d"]
        {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_bare_number_in_the_file_is_told_which_unit_to_write() {
        let wrong = Duration::read(&Raw::Integer(300)).expect_err("no unit");
        assert!(wrong.contains(r#""300s""#), "{wrong}");
    }

    #[test]
    fn what_is_shown_reads_back() {
        for text in ["7d", "1h30m", "90s", "1m30s", "250ms", "0s"] {
            let read = duration(text).expect("a duration");
            let shown = read.show();
            assert_eq!(duration(shown.trim_matches('"')), Ok(read), "{text}");
        }
        for size in [ByteSize(0), ByteSize(1), ByteSize(2048), ByteSize::mib(16)] {
            let shown = size.show().trim_matches('"').to_owned();
            assert_eq!(ByteSize::read(&Raw::Untyped(&shown)), Ok(size));
            assert_eq!(ByteSize::read(&Raw::Text(shown)), Ok(size), "in the file");
        }
    }
}
