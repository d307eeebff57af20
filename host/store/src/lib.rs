//! The claim store and history: redb, log segments, and the bytes of components
