//! Idempotency keys.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::input::clip;

/// Most characters an idempotency key may have.
pub const MAX_KEY_CHARS: usize = 128;

/// Makes repeating a call harmless: the same key with the same body is answered with the first reply, with another
/// body it is refused. 1 to 128 printable characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("minLength" = 1, "maxLength" = MAX_KEY_CHARS))]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// The key's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for IdempotencyKey {
    type Error = KeyError;

    fn try_from(text: String) -> Result<Self, KeyError> {
        let chars = text.chars().count();
        if (1..=MAX_KEY_CHARS).contains(&chars) && !text.chars().any(char::is_control) {
            Ok(Self(text))
        } else {
            Err(KeyError { text: clip(&text), chars })
        }
    }
}

impl From<IdempotencyKey> for String {
    fn from(key: IdempotencyKey) -> Self {
        key.0
    }
}

/// A text that can't be an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} ({chars} characters) is not a request key: use 1 to {MAX_KEY_CHARS} printable characters")]
pub struct KeyError {
    text: String,
    chars: usize,
}
