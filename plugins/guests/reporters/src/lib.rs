//! Reporters. Each is a file of its own, with its schema.

mod http_status_push;

windlass_sdk::export!(reporter: http_status_push::HttpStatusPush);
