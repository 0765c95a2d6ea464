//! What became of a request that did not succeed, sorted by what can be done about it.

use std::fmt;
use std::time::Duration;

use hyper::StatusCode;
use serde::Deserialize;

/// Why there is no result. The text is the server's message, or what happened on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// There is no such object (or kind).
    Absent(String),
    /// It was changed since it was read.
    Conflict(String),
    /// It is there already.
    Exists(String),
    /// The history asked for is gone: list again.
    Gone(String),
    /// We may not.
    Forbidden(String),
    /// The server does not know who we are.
    Unauthorized(String),
    /// The server understood and refuses: asking again will not help.
    Invalid(String),
    /// The server asks for patience.
    Busy(String, Option<Duration>),
    /// The server failed; what was asked for may or may not have been done.
    Server(String),
    /// Nobody took the request: it was not done.
    Unreachable(String),
    /// It was sent, and there was no answer: it may or may not have been done.
    Unanswered(String),
}

impl Error {
    /// Whether a write may have been done in spite of this: read before you write again.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self, Error::Server(_) | Error::Unanswered(_))
    }

    /// Whether this is about the way to the server or its health, not about what was asked.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Error::Busy(..) | Error::Server(_) | Error::Unreachable(_) | Error::Unanswered(_))
    }

    /// The server's message, or what happened on the way.
    #[must_use]
    pub fn message(&self) -> &str {
        match self {
            Error::Absent(text)
            | Error::Conflict(text)
            | Error::Exists(text)
            | Error::Gone(text)
            | Error::Forbidden(text)
            | Error::Unauthorized(text)
            | Error::Invalid(text)
            | Error::Busy(text, _)
            | Error::Server(text)
            | Error::Unreachable(text)
            | Error::Unanswered(text) => text,
        }
    }

    /// From an answer that is no success.
    pub(super) fn of_answer(code: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> Error {
        let status: Status = serde_json::from_slice(body).unwrap_or_default();
        let text = match status.message {
            Some(message) if !message.is_empty() => message,
            _ => format!("the API server answered {code}"),
        };
        Error::of_status(code.as_u16(), status.reason.as_deref().unwrap_or(""), retry_after, text)
    }

    /// From the `Status` object in a watch.
    pub(super) fn of_status(code: u16, reason: &str, retry_after: Option<Duration>, text: String) -> Error {
        match (code, reason) {
            (404, _) => Error::Absent(text),
            (409, "AlreadyExists") => Error::Exists(text),
            (409, _) => Error::Conflict(text),
            (410, _) | (_, "Expired" | "Gone") => Error::Gone(text),
            (401, _) => Error::Unauthorized(text),
            (403, _) => Error::Forbidden(text),
            (429, _) => Error::Busy(text, retry_after),
            (500.., _) => Error::Server(text),
            _ => Error::Invalid(text),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for Error {}

/// What is read of `v1` `Status`.
#[derive(Default, Deserialize)]
pub(super) struct Status {
    pub(super) message: Option<String>,
    pub(super) reason: Option<String>,
    #[serde(default)]
    pub(super) code: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_sorted() {
        let body = |reason: &str| format!(r#"{{"kind":"Status","message":"m","reason":"{reason}"}}"#);
        let of = |code: u16, reason: &str| {
            Error::of_answer(StatusCode::from_u16(code).unwrap(), None, body(reason).as_bytes())
        };
        let m = || "m".to_owned();
        assert_eq!(of(404, "NotFound"), Error::Absent(m()));
        assert_eq!(of(409, "Conflict"), Error::Conflict(m()));
        assert_eq!(of(409, "AlreadyExists"), Error::Exists(m()));
        assert_eq!(of(410, "Expired"), Error::Gone(m()));
        assert_eq!(of(422, "Invalid"), Error::Invalid(m()));
        assert_eq!(of(429, ""), Error::Busy(m(), None));
        assert!(of(500, "InternalError").is_unknown() && of(504, "Timeout").is_unknown());
        assert!(!of(409, "Conflict").is_unknown() && !of(409, "Conflict").is_passing());
        let bare = Error::of_answer(StatusCode::SERVICE_UNAVAILABLE, None, b"not json");
        assert_eq!(bare, Error::Server("the API server answered 503 Service Unavailable".into()));
    }
}
