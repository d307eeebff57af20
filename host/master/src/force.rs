//! A person's order to build.

/// Why an order to build was refused.
#[derive(Debug, thiserror::Error)]
pub enum ForceError {
    /// There is no such builder.
    #[error("there is no builder `{name}`{hint}")]
    NoSuchBuilder {
        /// What was asked for.
        name: String,
        /// `; did you mean ...`, or the list of all, or nothing.
        hint: String,
    },
    /// The builder's source is not known.
    #[error("which repository? builder `{builder}` names none of its own, and {known}")]
    WhichRepository {
        /// The builder.
        builder: String,
        /// `several are polled: a, b` or `none is polled`.
        known: String,
    },
    /// A property cannot be set so.
    #[error("property `{name}` cannot be set: {why}")]
    BadProperty {
        /// Its name.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// The master is going down.
    #[error("the master is shutting down")]
    ShuttingDown,
    /// The store did not take it.
    #[error("the order could not be stored")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
}
