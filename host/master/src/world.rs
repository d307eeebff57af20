//! What the master goes by: the checked configuration and the plugins it was checked against.

use std::sync::Arc;

use windlass_config::config;
use windlass_runtime::registry::Generation;

/// Configuration and plugins, swapped as one: nobody ever sees a hook's arguments beside a component
/// that they were not checked against.
pub struct World {
    /// The configuration.
    pub config: Arc<config::Master>,
    /// The plugins.
    pub generation: Arc<Generation>,
}
