//! Panics in a step.

use hostile::step;

step!("step-panics", panic!("\x1b]0;owned\x07<script>"));
