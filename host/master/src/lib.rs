//! The master: dispatcher, build drivers, worker links, change intake, schedulers, reconfig
