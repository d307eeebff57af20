//! An error as the API tells it: a code for machines, a sentence for people, and what else there is.

use axum::response::{IntoResponse, Response};
use hyper::StatusCode;
use serde::{Deserialize, Serialize};

/// An error as the API tells it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// `not-found`, `bad-argument`, `denied`, `refused`, `busy`, `shutting-down`, `internal`.
    pub code: String,
    /// For people.
    pub message: String,
    /// Each thing that was wrong, rendered for a terminal without colours; empty: the message says all.
    #[serde(default)]
    pub details: Vec<String>,
    /// The same for machines.
    #[serde(default)]
    pub diagnostics: serde_json::Value,
}

impl ApiError {
    /// An error with one sentence.
    #[must_use]
    pub fn new(code: &str, message: impl Into<String>) -> ApiError {
        ApiError {
            code: code.to_owned(),
            message: message.into(),
            details: Vec::new(),
            diagnostics: serde_json::Value::Null,
        }
    }

    /// What is not there.
    #[must_use]
    pub fn not_found(what: impl std::fmt::Display) -> ApiError {
        ApiError::new("not-found", format!("there is no {what}"))
    }

    fn status(&self) -> StatusCode {
        match self.code.as_str() {
            "not-found" => StatusCode::NOT_FOUND,
            "bad-argument" => StatusCode::BAD_REQUEST,
            "denied" => StatusCode::FORBIDDEN,
            "refused" | "needs-restart" => StatusCode::UNPROCESSABLE_ENTITY,
            "busy" | "shutting-down" => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status(), axum::Json(self)).into_response()
    }
}
