//! Secrets in requests: a placeholder in a header becomes the value, and what an answer repeats of it is masked. Whoever
//! sends the request never sees it.

use windlass_core::secret::Placeholders;
use windlass_core::value::Failure;
use windlass_protocol::message::Secret;
use windlass_runtime::port::{FetchRequest, FetchResponse};

use crate::step_port::rights::Rights;

/// What stands in an answer where it repeats a secret.
const MASKED: &[u8] = b"<secret>";

/// Whether a text has one of these placeholders in it.
pub(crate) fn names_one(placeholders: &Placeholders, text: &str) -> bool {
    placeholders.iter().any(|(_, placeholder)| text.contains(placeholder))
}

/// Refuses a request with a secret where logs of both ends would keep it. Otherwise whether its headers need values.
pub(crate) fn check(request: &FetchRequest, placeholders: &Placeholders) -> Result<bool, Failure> {
    let names_one = |text: &str| names_one(placeholders, text);
    if names_one(&request.url) || names_one(&String::from_utf8_lossy(&request.body)) {
        let message = "a secret goes into a header of a request, not into its URL or body";
        return Err(Failure::new("denied", message));
    }
    Ok(request.headers.iter().any(|(_, value)| names_one(&String::from_utf8_lossy(value))))
}

/// The values that may have gone out with a request, longest first.
#[derive(Default)]
pub(crate) struct Values(Vec<Vec<u8>>);

impl Values {
    /// Puts values in the place of their placeholders, those that the component may use.
    pub(crate) fn fill_in(
        request: &mut FetchRequest,
        secrets: Vec<Secret>,
        rights: &Rights,
    ) -> Result<Values, Failure> {
        let mut values = Vec::with_capacity(secrets.len());
        for secret in secrets {
            for (_, header) in &mut request.headers {
                if let Some(filled) = replaced(header, secret.placeholder.as_bytes(), &secret.value.0) {
                    rights.check("secret", &secret.name)?;
                    *header = filled;
                }
            }
            values.push(secret.value.0.to_vec());
        }
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        Ok(Values(values))
    }

    /// Takes them out of an answer.
    pub(crate) fn mask(&self, response: &mut FetchResponse) {
        for value in &self.0 {
            mask(&mut response.body, value);
            response.headers.iter_mut().for_each(|(_, header)| mask(header, value));
        }
    }
}

fn mask(text: &mut Vec<u8>, value: &[u8]) {
    if let Some(masked) = replaced(text, value, MASKED) {
        *text = masked;
    }
}

/// `text` with another part in each place of `part`; none: it is nowhere.
fn replaced(text: &[u8], part: &[u8], by: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = text;
    let find = |rest: &[u8]| rest.windows(part.len()).position(|window| window == part);
    while let Some(at) = find(rest) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(by);
        rest = &rest[at + part.len()..];
    }
    if rest.len() == text.len() {
        return None;
    }
    out.extend_from_slice(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_is_replaced() {
        assert_eq!(replaced(b"a-x-b-x", b"-x", b"!").as_deref(), Some(&b"a!-b!"[..]));
        assert_eq!(replaced(b"ab", b"x", b"!"), None);
        assert_eq!(replaced(b"", b"x", b"!"), None);
    }
}
