//! Has a hook whose name is a terminal escape and HTML.

use hostile::{described, describes};

describes!(described("\x1b]0;owned\x07<script>alert(1)</script>"));
