//! What can go wrong with a call, as both sides say it: a stable number, a stable name, a message for people.
//!
//! The numbers are part of the contract: one is never reused or given another meaning. They lie outside JSON-RPC's
//! reserved range except for the standard ones, which keep their values.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The document or a parameter is wrong; the message names the value.
    InvalidInput,
    /// No such template, or one that can't be used.
    UnknownTemplate,
    /// A number or a size beyond a configured limit.
    LimitExceeded,
    /// This idempotency key was used before with another body.
    KeyReused,
    /// A queue is full; the same call with the same key may be sent again at once.
    Busy,
    /// Up, but not able to decide yet: cluster not seen, or a rebuild is awaited.
    NotReady,
    /// The journal can't be written for lack of space.
    DiskFull,
    /// The caller's own deadline passed before the call was decided; nothing was done.
    TimedOut,
    /// No such request, machine or template.
    NotFound,
    /// Understood, and not allowed.
    Refused,
    /// A fault of the daemon; its log says more.
    Internal,
    /// JSON-RPC: the body is not JSON.
    ParseError,
    /// JSON-RPC: the body is not a request.
    InvalidRequest,
    /// JSON-RPC: this daemon has no such method.
    MethodNotFound,
    /// JSON-RPC: the parameters don't fit the method.
    InvalidParams,
}

/// Whether repeating a failed call makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The same call may succeed within moments.
    Now,
    /// The same call may succeed once something outside the call has changed.
    Later,
    /// The same call will fail again.
    Never,
}

impl ErrorCode {
    /// Every code, in the order of the documentation.
    pub const ALL: [Self; 15] = [
        Self::InvalidInput,
        Self::UnknownTemplate,
        Self::LimitExceeded,
        Self::KeyReused,
        Self::Busy,
        Self::NotReady,
        Self::DiskFull,
        Self::TimedOut,
        Self::NotFound,
        Self::Refused,
        Self::Internal,
        Self::ParseError,
        Self::InvalidRequest,
        Self::MethodNotFound,
        Self::InvalidParams,
    ];

    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> i32 {
        match self {
            Self::InvalidInput => 100,
            Self::UnknownTemplate => 101,
            Self::LimitExceeded => 102,
            Self::KeyReused => 103,
            Self::Busy => 200,
            Self::NotReady => 201,
            Self::DiskFull => 202,
            Self::TimedOut => 203,
            Self::NotFound => 300,
            Self::Refused => 301,
            Self::ParseError => -32700,
            Self::InvalidRequest => -32600,
            Self::MethodNotFound => -32601,
            Self::InvalidParams => -32602,
            Self::Internal => -32603,
        }
    }

    /// The name that goes with the number, for logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InvalidInput => "invalidInput",
            Self::UnknownTemplate => "unknownTemplate",
            Self::LimitExceeded => "limitExceeded",
            Self::KeyReused => "keyReused",
            Self::Busy => "busy",
            Self::NotReady => "notReady",
            Self::DiskFull => "diskFull",
            Self::TimedOut => "timedOut",
            Self::NotFound => "notFound",
            Self::Refused => "refused",
            Self::Internal => "internal",
            Self::ParseError => "parseError",
            Self::InvalidRequest => "invalidRequest",
            Self::MethodNotFound => "methodNotFound",
            Self::InvalidParams => "invalidParams",
        }
    }

    /// The code of a number read from the wire. The transport's own numbers (JSON-RPC libraries use the reserved
    /// range for sizes and overload) map to what they mean here; a number nobody knows is an internal error.
    #[must_use]
    pub fn from_number(number: i32) -> Self {
        match number {
            // jsonrpsee: request or response too large, server at its connection limit.
            -32008 | -32007 => Self::LimitExceeded,
            -32009 => Self::Busy,
            _ => Self::ALL.into_iter().find(|code| code.number() == number).unwrap_or(Self::Internal),
        }
    }

    /// Whether the same call is worth repeating.
    #[must_use]
    pub const fn retry(self) -> Retry {
        match self {
            Self::Busy => Retry::Now,
            Self::NotReady | Self::DiskFull | Self::TimedOut => Retry::Later,
            _ => Retry::Never,
        }
    }
}

/// The optional `data` of an error object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorData {
    /// [`ErrorCode::name`], so that a person reading the wire needs no table.
    pub name: String,
    /// What the caller can do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
}

/// A failed call: the error object of JSON-RPC.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
#[error("{message}")]
#[serde(from = "WireError", into = "WireError")]
pub struct RpcError {
    /// What kind of failure.
    pub code: ErrorCode,
    /// Short, with the offending value.
    pub message: String,
    /// What to do, when it is known.
    pub action: Option<String>,
}

impl RpcError {
    /// An error without advice.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), action: None }
    }

    /// Adds what the caller can do.
    #[must_use]
    pub fn with_action(mut self, action: impl Into<String>) -> Self {
        self.action = Some(action.into());
        self
    }

    /// The `data` member of the error object.
    #[must_use]
    pub fn data(&self) -> ErrorData {
        ErrorData { name: self.code.name().to_owned(), action: self.action.clone() }
    }
}

/// The error object exactly as JSON-RPC writes it.
#[derive(Serialize, Deserialize)]
struct WireError {
    code: i32,
    message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<serde_json::Value>,
}

impl From<WireError> for RpcError {
    fn from(wire: WireError) -> Self {
        // Other JSON-RPC servers and middle layers put anything into `data`: what isn't ours is no advice.
        let data: ErrorData = wire.data.and_then(|data| serde_json::from_value(data).ok()).unwrap_or_default();
        Self { code: ErrorCode::from_number(wire.code), message: wire.message, action: data.action }
    }
}

impl From<RpcError> for WireError {
    fn from(error: RpcError) -> Self {
        let data = serde_json::json!(error.data());
        Self { code: error.code.number(), message: error.message, data: Some(data) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_own_number_and_name_and_survives_the_wire() {
        for (place, code) in ErrorCode::ALL.into_iter().enumerate() {
            assert_eq!(ErrorCode::from_number(code.number()), code);
            for other in &ErrorCode::ALL[place + 1..] {
                assert_ne!(code.number(), other.number());
                assert_ne!(code.name(), other.name());
            }
        }
    }

    #[test]
    fn an_error_is_written_as_a_json_rpc_error_object_and_read_back() {
        let error = RpcError::new(ErrorCode::UnknownTemplate, "no template `x`").with_action("see hfctl get templates");
        let text = serde_json::to_string(&error).expect("an error object is plain data");
        assert_eq!(
            text,
            r#"{"code":101,"message":"no template `x`","data":{"name":"unknownTemplate","action":"see hfctl get templates"}}"#
        );
        assert_eq!(serde_json::from_str::<RpcError>(&text).expect("its own text"), error);
    }

    #[test]
    fn an_unknown_number_or_foreign_data_is_still_an_error() {
        let error: RpcError = serde_json::from_str(r#"{"code":-32050,"message":"m","data":[1]}"#).expect("valid");
        assert_eq!(error, RpcError::new(ErrorCode::Internal, "m"));
    }

    #[test]
    fn only_a_full_queue_is_worth_an_immediate_retry() {
        let now: Vec<_> = ErrorCode::ALL.into_iter().filter(|code| code.retry() == Retry::Now).collect();
        assert_eq!(now, [ErrorCode::Busy]);
    }
}
