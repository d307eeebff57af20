//! Sends a request without a grant.

use hostile::{step, told};

step!("step-calls-home", {
    let request = windlass_sdk::fetch::Request {
        method: "GET".to_owned(),
        url: "http://127.0.0.1:1/".to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
        timeout_ms: None,
        max_response: u32::MAX,
    };
    told(windlass_sdk::fetch::send(&request))
});
