//! Resource quantities (`500m`, `2`, `1Gi`, `1e3`) as thousandths, exact for everything a pod manifest writes.

use serde_json::Value;

/// The pattern Kubernetes names when it cannot read a quantity.
const PATTERN: &str = "^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$";

/// In thousandths: what is too large to be counted counts as this.
const LARGEST: i128 = (i64::MAX as i128) * 1000;

/// The way in which a quantity is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `500m`, `2`, `4k`.
    Decimal,
    /// `1Gi`.
    Binary,
    /// `1e3`.
    Exponent,
}

/// Reads a quantity as thousandths of its unit (millicores, thousandths of a byte), rounded up; `None` if it is none.
pub(crate) fn thousandths(text: &str) -> Option<i128> {
    parse(text).ok().map(|(amount, _)| amount)
}

/// A quantity, written as text or number, as the server writes it: with the largest suffix that leaves an integer.
///
/// # Errors
/// The server's words if it is none.
pub(crate) fn canonical(value: &Value) -> Result<String, String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return Err(wrong_format()),
    };
    parse(&text).map(|(amount, form)| written(amount, form))
}

/// An amount in thousandths, written in the form of another quantity.
pub(crate) fn like(amount: i128, other: &Value) -> String {
    let text = other.as_str().map_or_else(|| other.to_string(), str::to_owned);
    written(amount, parse(&text).map_or(Form::Decimal, |(_, form)| form))
}

fn wrong_format() -> String {
    format!("quantities must match the regular expression '{PATTERN}'")
}

fn written(amount: i128, form: Form) -> String {
    const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    const DECIMAL: [&str; 8] = ["m", "", "k", "M", "G", "T", "P", "E"];
    if amount == 0 {
        return "0".to_owned();
    }
    let steps = |mut number: i128, base: i128, most: usize| {
        let mut steps = 0;
        while number % base == 0 && steps < most {
            (number, steps) = (number / base, steps + 1);
        }
        (number, steps)
    };
    if form == Form::Binary && amount % 1000 == 0 && amount.abs() >= 1024 * 1000 {
        let (number, steps) = steps(amount / 1000, 1024, BINARY.len() - 1);
        return format!("{number}{}", BINARY[steps]);
    }
    let (number, steps) = steps(amount, 1000, DECIMAL.len() - 1);
    match (form, steps) {
        (Form::Exponent, 0) => format!("{number}e-3"),
        (Form::Exponent, 2..) => format!("{number}e{}", (steps - 1) * 3),
        _ => format!("{number}{}", DECIMAL[steps]),
    }
}

fn parse(text: &str) -> Result<(i128, Form), String> {
    let digits_end = text
        .char_indices()
        .find(|(index, char)| !(char.is_ascii_digit() || *char == '.' || (*index == 0 && "+-".contains(*char))))
        .map_or(text.len(), |(index, _)| index);
    let (number, suffix) = text.split_at(digits_end);
    let (negative, number) = match number.as_bytes().first().ok_or_else(wrong_format)? {
        b'-' => (true, &number[1..]),
        b'+' => (false, &number[1..]),
        _ => (false, number),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let after_letters = suffix.trim_start_matches(|char| "eEinumkKMGTP".contains(char));
    let after_sign = after_letters.strip_prefix(['-', '+']).unwrap_or(after_letters);
    let ends_well = after_sign.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') || !ends_well {
        return Err(wrong_format());
    }
    let form = match suffix.as_bytes() {
        [.., b'i'] => Form::Binary,
        [b'e' | b'E', _, ..] => Form::Exponent,
        _ => Form::Decimal,
    };
    let (multiplier, divisor) = scale(suffix).ok_or("unable to parse quantity's suffix")?;
    let exact = || {
        let digits: i128 = format!("0{whole}{fraction}").parse().ok()?;
        let places = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let (scaled, divisor) = (digits.checked_mul(multiplier)?.checked_mul(1000)?, divisor.checked_mul(places)?);
        Some(scaled / divisor + i128::from(scaled % divisor != 0))
    };
    let amount = exact().unwrap_or(LARGEST);
    Ok((if negative { -amount } else { amount }, form))
}

/// A suffix as multiplier and divisor.
fn scale(suffix: &str) -> Option<(i128, i128)> {
    const KI: i128 = 1024;
    Some(match suffix {
        "" => (1, 1),
        "n" => (1, 1_000_000_000),
        "u" => (1, 1_000_000),
        "m" => (1, 1_000),
        "k" => (1_000, 1),
        "M" => (1_000_000, 1),
        "G" => (1_000_000_000, 1),
        "T" => (1_000_000_000_000, 1),
        "P" => (1_000_000_000_000_000, 1),
        "E" => (1_000_000_000_000_000_000, 1),
        "Ki" => (KI, 1),
        "Mi" => (KI.pow(2), 1),
        "Gi" => (KI.pow(3), 1),
        "Ti" => (KI.pow(4), 1),
        "Pi" => (KI.pow(5), 1),
        "Ei" => (KI.pow(6), 1),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            let power = 10_i128.checked_pow(exponent.unsigned_abs().min(18))?;
            if exponent < 0 { (1, power) } else { (power, 1) }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_quantities_are_read_exactly() {
        for (text, expected) in [
            ("2", 2_000),
            ("500m", 500),
            ("0.5", 500),
            (".5", 500),
            ("1e3", 1_000_000),
            ("1Gi", (1 << 30) * 1000),
            ("1.5Gi", (3 << 29) * 1000),
            ("100u", 1),
            ("-1", -1_000),
            ("4k", 4_000_000),
        ] {
            assert_eq!(thousandths(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn quantities_are_written_as_the_server_writes_them() {
        for (text, expected) in [
            ("2000m", "2"),
            ("0.5", "500m"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("1000000", "1M"),
            ("1e9", "1e9"),
            ("+1", "1"),
            ("512", "512"),
            ("0.5Ki", "512"),
            ("1n", "1m"),
            ("0Gi", "0"),
            ("-1500m", "-1500m"),
            ("999999999999999999999999", "999999999999999999999999"),
        ] {
            assert_eq!(canonical(&Value::from(text)).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(canonical(&Value::from(0.5)).as_deref(), Ok("500m"));
        assert_eq!(canonical(&Value::from("1e")), Err("unable to parse quantity's suffix".to_owned()));
    }

    #[test]
    fn anything_else_is_no_quantity() {
        for text in ["", "zzz", "1 Gi", "1.2.3", "-", "1Gib", "1e", "0x10", "."] {
            assert_eq!(thousandths(text), None, "{text}");
        }
    }
}
