//! Turns a plugin project into a component
