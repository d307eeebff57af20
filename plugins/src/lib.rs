//! The bytes of the first-party components
