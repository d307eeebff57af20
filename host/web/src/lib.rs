//! One HTTP and JSON API, served on a unix socket, and its client
