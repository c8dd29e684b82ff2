//! Identities: fixed width, unique for ever, and never part of one another (`lifecycle.md` 1).

use std::{fmt, str::FromStr, sync::Arc};

use thiserror::Error;

/// RFC 4648 base32 alphabet, lower case: every character is legal in a DNS label.
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Decimal and hexadecimal digits.
const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Why a text is not one of our identities.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("{text:?} is not a {what}: {rule}")]
pub struct ParseIdError {
    what: &'static str,
    rule: &'static str,
    text: String,
}

impl ParseIdError {
    fn new(what: &'static str, rule: &'static str, text: &str) -> Self {
        Self { what, rule, text: text.chars().take(80).collect() }
    }
}

/// Id of a machine request or a return request: 80 random bits, written as 16 characters of lower-case base32.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId([u8; 10]);

impl RequestId {
    /// Characters of the written form.
    pub const WIDTH: usize = 16;

    /// Makes an id of 80 random bits, which the caller draws.
    #[must_use]
    pub const fn from_random(bits: [u8; 10]) -> Self {
        Self(bits)
    }

    /// The 80 bits, for storage.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 10] {
        self.0
    }

    fn encode(self) -> [u8; Self::WIDTH] {
        let mut bits = [0u8; 16];
        bits[6..].copy_from_slice(&self.0);
        let bits = u128::from_be_bytes(bits);
        std::array::from_fn(|place| {
            let shift = 75 - 5 * place;
            BASE32[((bits >> shift) & 31) as usize]
        })
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.encode();
        f.pad(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RequestId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || ParseIdError::new("request id", "16 characters of a-z and 2-7 are needed", text);
        if text.len() != Self::WIDTH {
            return Err(refuse());
        }
        let mut bits = 0u128;
        for byte in text.bytes() {
            let digit = match byte {
                b'a'..=b'z' => byte - b'a',
                b'2'..=b'7' => byte - b'2' + 26,
                _ => return Err(refuse()),
            };
            bits = bits << 5 | u128::from(digit);
        }
        let mut id = [0u8; 10];
        id.copy_from_slice(&bits.to_be_bytes()[6..]);
        Ok(Self(id))
    }
}

/// A machine: its request and its place in it. Written, it is the pod's name and the pod's host name:
/// `<requestId>-<ordinal>`, the ordinal always 5 digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MachineName {
    /// The machine request that the machine belongs to.
    pub request: RequestId,
    /// Place within the request, from 0.
    pub ordinal: u32,
}

impl MachineName {
    /// Digits of the written ordinal; bounds `machineCount` by format.
    pub const ORDINAL_DIGITS: usize = 5;
    /// The largest `machineCount` that the format can name.
    pub const MAX_COUNT: u32 = 100_000;
    /// Characters of the written form.
    pub const WIDTH: usize = RequestId::WIDTH + 1 + Self::ORDINAL_DIGITS;
}

impl fmt::Display for MachineName {
    /// By hand, for a status of 10,000 machines writes as many.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [b'-'; Self::WIDTH];
        text[..RequestId::WIDTH].copy_from_slice(&self.request.encode());
        let mut left = self.ordinal;
        for place in text[RequestId::WIDTH + 1..].iter_mut().rev() {
            *place = DIGITS[(left % 10) as usize];
            left /= 10;
        }
        if left > 0 {
            return write!(f, "{}-{}", self.request, self.ordinal);
        }
        f.pad(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl FromStr for MachineName {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || ParseIdError::new("machine name", "<16 characters>-<5 digits> is needed", text);
        if text.len() != Self::WIDTH || !text.is_ascii() || text.as_bytes()[RequestId::WIDTH] != b'-' {
            return Err(refuse());
        }
        let request = text[..RequestId::WIDTH].parse().map_err(|_| refuse())?;
        let digits = &text[RequestId::WIDTH + 1..];
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(refuse());
        }
        let ordinal = digits.parse().map_err(|_| refuse())?;
        Ok(Self { request, ordinal })
    }
}

/// UID of a Kubernetes object, a UUID (Kubernetes documentation, "Object Names and IDs"); kept as its 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodUid([u8; 16]);

impl PodUid {
    /// Characters of the written form.
    const WIDTH: usize = 36;

    /// Takes the stored form.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The stored form.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Display for PodUid {
    /// By hand, for a status of 10,000 machines writes as many.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [b'-'; Self::WIDTH];
        let mut place = 0;
        for (index, byte) in self.0.iter().enumerate() {
            place += usize::from(matches!(index, 4 | 6 | 8 | 10));
            text[place] = DIGITS[usize::from(byte >> 4)];
            text[place + 1] = DIGITS[usize::from(byte & 15)];
            place += 2;
        }
        f.pad(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PodUid {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || ParseIdError::new("pod UID", "a UUID of 32 hex digits in 8-4-4-4-12 groups is needed", text);
        if text.len() != Self::WIDTH || [8, 13, 18, 23].iter().any(|&place| text.as_bytes()[place] != b'-') {
            return Err(refuse());
        }
        let mut digits = text.bytes().filter(|&byte| byte != b'-').map(|byte| char::from(byte).to_digit(16));
        let mut uid = [0u8; 16];
        for byte in &mut uid {
            let (Some(Some(high)), Some(Some(low))) = (digits.next(), digits.next()) else { return Err(refuse()) };
            *byte = u8::try_from(high << 4 | low).map_err(|_| refuse())?;
        }
        if digits.next().is_some() {
            return Err(refuse());
        }
        Ok(Self(uid))
    }
}

/// Random id of one journal. Pods carry it in an annotation, so that a second writer is noticed (`lifecycle.md` 8).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct JournalId(pub [u8; 8]);

impl fmt::Display for JournalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for JournalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for JournalId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || ParseIdError::new("journal id", "16 hex digits are needed", text);
        if text.len() != 16 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(refuse());
        }
        u64::from_str_radix(text, 16).map(|bits| Self(bits.to_be_bytes())).map_err(|_| refuse())
    }
}

/// Id of a template: 1..64 characters of `[0-9A-Za-z_-]` (IBM's interface).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TemplateId(Arc<str>);

impl TemplateId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TemplateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for TemplateId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if !(1..=64).contains(&text.len()) || !text.bytes().all(legal) {
            return Err(ParseIdError::new("template id", "1 to 64 characters of 0-9 A-Z a-z _ - are needed", text));
        }
        Ok(Self(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_sixteen_characters_and_reads_back() {
        for bits in [[0; 10], [255; 10], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]] {
            let id = RequestId::from_random(bits);
            assert_eq!(id.to_string().len(), 16);
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        assert_eq!(RequestId::from_random([255; 10]).to_string(), "7777777777777777");
    }

    #[test]
    fn a_machine_name_has_one_width_whatever_the_ordinal() {
        let request = RequestId::from_random([7; 10]);
        for ordinal in [0, 9, 10, 99_999] {
            let name = MachineName { request, ordinal };
            assert_eq!(name.to_string().len(), MachineName::WIDTH);
            assert_eq!(name.to_string(), format!("{request}-{ordinal:05}"));
            assert_eq!(name.to_string().parse(), Ok(name));
        }
    }

    #[test]
    fn what_is_not_a_machine_name_is_refused() {
        for text in [
            "",
            "../x",
            "a/b",
            "aaaaaaaaaaaaaaaa-0000x",
            "aaaaaaaaaaaaaaaa-+0001",
            "aaaaaaaaaaaaaaaa00001x",
            "AAAAAAAAAAAAAAAA-00001",
        ] {
            assert!(text.parse::<MachineName>().is_err(), "{text}");
        }
        assert!("é".repeat(11).parse::<MachineName>().is_err());
    }

    #[test]
    fn a_pod_uid_reads_back_as_written() {
        let text = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";
        assert_eq!(text.parse::<PodUid>().map(|uid| uid.to_string()).as_deref(), Ok(text));
        assert!("0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f".parse::<PodUid>().is_err());
    }
}
