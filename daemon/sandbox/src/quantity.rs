//! Resource quantities (`500m`, `2`, `1Gi`, `1e3`) as thousandths, exact for everything a pod manifest writes.

/// The pattern Kubernetes names when it cannot read a quantity.
pub(crate) const PATTERN: &str = "^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$";

/// Reads a quantity as thousandths of its unit (millicores, thousandths of a byte), rounded up; `None` if it is none.
pub(crate) fn thousandths(text: &str) -> Option<i128> {
    let digits_end = text
        .char_indices()
        .find(|(index, char)| !(char.is_ascii_digit() || *char == '.' || (*index == 0 && "+-".contains(*char))))
        .map_or(text.len(), |(index, _)| index);
    let (number, suffix) = text.split_at(digits_end);
    let (negative, number) = match number.as_bytes().first()? {
        b'-' => (true, &number[1..]),
        b'+' => (false, &number[1..]),
        _ => (false, number),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || whole.len() + fraction.len() > 18 || fraction.contains('.') {
        return None;
    }
    let digits: i128 = format!("0{whole}{fraction}").parse().ok()?;
    let (multiplier, divisor) = scale(suffix)?;
    let places = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let scaled = digits.checked_mul(multiplier)?.checked_mul(1000)?;
    let divisor = divisor.checked_mul(places)?;
    let rounded_up = scaled / divisor + i128::from(scaled % divisor != 0);
    Some(if negative { -rounded_up } else { rounded_up })
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
    fn anything_else_is_no_quantity() {
        for text in ["", "zzz", "1 Gi", "1.2.3", "-", "1Gib", "1e", "0x10", "."] {
            assert_eq!(thousandths(text), None, "{text}");
        }
    }
}
