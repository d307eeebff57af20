//! Everything that a plugin should not do, one hook for each, and one that behaves.

mod policies;
mod steps;

windlass_sdk::export!(
    next_slave: policies::First, policies::Spin, policies::Trap, policies::Hog, policies::Deep,
        policies::Refuse, policies::Clock, policies::Step, policies::Flood, policies::Property,
        policies::Remember;
    build_step: steps::Script, steps::Bounds, steps::Spin, steps::Later, steps::Watch, steps::Chatter,
        steps::CallsHome, steps::ReadsPatch
);
