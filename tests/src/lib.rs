//! Harness, fixtures and the whole-system tests
