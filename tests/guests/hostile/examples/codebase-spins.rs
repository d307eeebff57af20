//! Computes for ever when it is asked for a codebase.

hostile::codebase!("codebase-spins", |_change| hostile::spin());
