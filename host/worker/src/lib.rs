//! The worker: connects to a master, runs commands, streams what they say
