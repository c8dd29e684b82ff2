//! The exit codes, which are a contract with scripts.

use std::process::ExitCode;

use proto_schema::error::ErrorCode;

use crate::transport::CallError;

/// How `hfctl` ends. HostFactory's verbs use [`Exit::Done`] and [`Exit::Internal`] only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed, or a fault of `hfd` or `hfctl`.
    Internal = 1,
    /// Wrong command line or wrong input.
    Usage = 2,
    /// The daemon is not running.
    NoDaemon = 3,
    /// No such request, machine or template.
    NotFound = 4,
    /// Understood, and not allowed.
    Refused = 5,
    /// The daemon is up, but not serving.
    NotServing = 7,
    /// Not permitted to talk to the daemon.
    Permission = 8,
    /// What answered does not speak our protocol.
    Protocol = 9,
    /// No answer in time.
    TimedOut = 124,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<&CallError> for Exit {
    fn from(error: &CallError) -> Self {
        match error {
            CallError::NoSocket { .. } | CallError::Refused { .. } | CallError::Broken { .. } => Self::NoDaemon,
            CallError::Permission { .. } => Self::Permission,
            CallError::Unusable { .. } | CallError::BadSocketPath { .. } => Self::Usage,
            CallError::TimedOut { .. } => Self::TimedOut,
            CallError::Protocol { .. } => Self::Protocol,
            CallError::Rpc(error) => Self::from(error.code),
        }
    }
}

impl From<ErrorCode> for Exit {
    fn from(code: ErrorCode) -> Self {
        match code {
            ErrorCode::InvalidInput
            | ErrorCode::UnknownTemplate
            | ErrorCode::LimitExceeded
            | ErrorCode::KeyReused
            | ErrorCode::InvalidParams => Self::Usage,
            ErrorCode::Busy | ErrorCode::NotReady | ErrorCode::DiskFull => Self::NotServing,
            ErrorCode::TimedOut => Self::TimedOut,
            ErrorCode::NotFound => Self::NotFound,
            ErrorCode::Refused => Self::Refused,
            ErrorCode::ParseError | ErrorCode::InvalidRequest | ErrorCode::MethodNotFound => Self::Protocol,
            ErrorCode::Internal => Self::Internal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_documentation() {
        let numbers = [
            Exit::Done,
            Exit::Internal,
            Exit::Usage,
            Exit::NoDaemon,
            Exit::NotFound,
            Exit::Refused,
            Exit::NotServing,
            Exit::Permission,
            Exit::Protocol,
            Exit::TimedOut,
        ]
        .map(|exit| exit as u8);
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 7, 8, 9, 124]);
    }
}
