//! Panics when it is asked what it is.

use hostile::describes;

describes!(panic!("not telling"));
