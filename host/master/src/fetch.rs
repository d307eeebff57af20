//! Requests to other machines over HTTP, for plugins that were granted it: one exchange, no redirect is followed.
//!
//! Certificates are checked against those that the machine trusts; `SSL_CERT_FILE` and `SSL_CERT_DIR` name others. They
//! are read once.

pub(crate) mod filling;

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, Request, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, ResponseFuture};
use hyper_util::rt::TokioExecutor;
use tokio::sync::OnceCell;
use windlass_core::value::Failure;
use windlass_runtime::port::{FetchRequest, FetchResponse};

use crate::start::blocking;

/// How long an exchange may take unless the request says so, and at most.
const USUAL: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(3_600);

/// The largest body of an answer that anybody may ask for.
const MAX_RESPONSE: u32 = 16 * 1024 * 1024;

/// Headers that decide where a request goes or how it travels, which the grant and HTTP itself decide already.
const OURS: [&str; 8] =
    ["connection", "content-length", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"];

// One of each for all, so that connections are used again.
static PLAIN: LazyLock<Client<HttpConnector, Full<Bytes>>> =
    LazyLock::new(|| Client::builder(TokioExecutor::new()).build(HttpConnector::new()));
static SECURE: OnceCell<Client<HttpsConnector<HttpConnector>, Full<Bytes>>> = OnceCell::const_new();

/// Puts it on its way. A machine without certificates can still be told where there are some, or do without them.
async fn request(message: Request<Full<Bytes>>) -> Result<ResponseFuture, Failure> {
    if message.uri().scheme_str() == Some("http") {
        return Ok(PLAIN.request(message));
    }
    let read = || {
        blocking(|| {
            let https = HttpsConnectorBuilder::new().with_native_roots()?.https_only().enable_http1().build();
            Ok(Client::builder(TokioExecutor::new()).build(https))
        })
    };
    let secure = SECURE.get_or_try_init(read).await.map_err(|error: std::io::Error| {
        Failure::new("io", format!("the machine's certificates cannot be read: {error}"))
    })?;
    Ok(secure.request(message))
}

/// Where a request goes: the host's name in lower case, without its port.
pub(crate) fn host(request: &FetchRequest) -> Result<String, Failure> {
    let uri = uri(request)?;
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    Ok(host.to_ascii_lowercase())
}

/// Sends it and waits for the answer, whatever its status.
pub(crate) async fn send(request: FetchRequest) -> Result<FetchResponse, Failure> {
    let uri = uri(&request)?;
    let shown = format!("{} {}", request.method, shown(&uri));
    let method = Method::from_bytes(request.method.as_bytes())
        .map_err(|_| bad(format!("`{}` is no method of HTTP", request.method)))?;
    let mut message = Request::builder().method(method).uri(uri);
    for (name, value) in &request.headers {
        let name = HeaderName::try_from(name.as_str())
            .map_err(|_| bad(format!("`{name}` is no name of a header")))?;
        if OURS.contains(&name.as_str()) || name.as_str().starts_with("proxy-") {
            return Err(bad(format!("the header `{name}` is the master's to set")));
        }
        let value = HeaderValue::from_bytes(value).map_err(|_| {
            bad(format!("the value of the header `{name}` has characters that it may not have"))
        })?;
        message = message.header(name, value);
    }
    let message = message
        .body(Full::new(Bytes::from(request.body)))
        .map_err(|error| bad(format!("{shown}: {error}")))?;
    let timeout = request.timeout_ms.map_or(USUAL, |ms| Duration::from_millis(ms.into())).min(LONGEST);
    let exchange = exchange(self::request(message).await?, request.max_response.min(MAX_RESPONSE));
    match tokio::time::timeout(timeout, exchange).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(Wrong::TooLarge)) => {
            let most = request.max_response.min(MAX_RESPONSE);
            Err(Failure::new("too-large", format!("{shown}: the answer has more than {most} bytes")))
        }
        Ok(Err(Wrong::Broken(why))) => {
            let why = refused_certificate(&why).unwrap_or(why);
            Err(Failure::retryable("io", format!("{shown}: {why}")))
        }
        Err(_) => {
            let message = format!("{shown}: no answer within {} s", timeout.as_secs_f64());
            Err(Failure::retryable("io", message))
        }
    }
}

enum Wrong {
    TooLarge,
    Broken(String),
}

async fn exchange(answer: ResponseFuture, most: u32) -> Result<FetchResponse, Wrong> {
    let broken = |error: &dyn std::error::Error| Wrong::Broken(windlass_core::text::chain(error));
    let answer = answer.await.map_err(|error| broken(&error))?;
    let (head, body) = answer.into_parts();
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let body = Limited::new(body, most)
        .collect()
        .await
        .map_err(|error| if error.is::<LengthLimitError>() { Wrong::TooLarge } else { broken(&*error) })?;
    let header =
        |(name, value): (&HeaderName, &HeaderValue)| (name.as_str().to_owned(), value.as_bytes().to_vec());
    Ok(FetchResponse {
        status: head.status.as_u16(),
        headers: head.headers.iter().map(header).collect(),
        body: body.to_bytes().to_vec(),
    })
}

fn uri(request: &FetchRequest) -> Result<Uri, Failure> {
    let uri: Uri = request.url.parse().map_err(|_| bad(format!("`{}` is no URL", request.url)))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
        return Err(bad(format!("`{}` is no absolute URL with http or https", request.url)));
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(bad("a URL may hold no name and password; put them into a header".to_owned()));
    }
    Ok(uri)
}

/// What is wrong with a certificate that was not believed, for people; none: that is not what went wrong.
fn refused_certificate(why: &str) -> Option<String> {
    // The words of rustls, which hyper hands on as an error of no type that we could name.
    let (_, why) = why.split_once("invalid peer certificate: ")?;
    Some(match why {
        "UnknownIssuer" => {
            "its certificate was issued by nobody whom this master's machine trusts; the variable \
                            SSL_CERT_FILE of the master may name a file of others whom it is to trust"
                .to_owned()
        }
        why => format!("its certificate was refused: {why}"),
    })
}

/// Without its query, which may hold what is nobody's to read.
fn shown(uri: &Uri) -> String {
    let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
    format!("{}://{authority}{}", uri.scheme_str().unwrap_or_default(), uri.path())
}

fn bad(message: String) -> Failure {
    Failure::new("bad-argument", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(url: &str) -> FetchRequest {
        FetchRequest {
            method: "GET".to_owned(),
            url: url.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout_ms: None,
            max_response: 100,
        }
    }

    #[test]
    fn a_grant_is_compared_with_the_host_alone() {
        for (url, expected) in [
            ("https://Example.ORG/a?b", "example.org"),
            ("http://127.0.0.1:8010/", "127.0.0.1"),
            ("http://[::1]:80/", "::1"),
        ] {
            assert_eq!(host(&to(url)).unwrap(), expected, "{url}");
        }
        for url in ["", "example.org", "/a", "ftp://example.org/", "http://", "https://a:b@example.org/"] {
            assert_eq!(host(&to(url)).unwrap_err().code, "bad-argument", "{url}");
        }
    }

    /// Symptom: a step that was granted one host of a shared proxy spoke to any. Cause: the grant binds the URL, and the
    /// step's `Host` went along. Cure: it is not the step's to set, nor is what frames a message.
    #[tokio::test]
    async fn what_decides_where_a_request_goes_is_not_the_steps_to_set() {
        for name in ["Host", "connection", "Transfer-Encoding", "proxy-authorization", "content-length"] {
            let headers = vec![(name.to_owned(), b"x".to_vec())];
            let failure = send(FetchRequest { headers, ..to("http://127.0.0.1:1/") }).await.unwrap_err();
            assert_eq!(failure.code, "bad-argument", "{name}: {failure}");
        }
    }

    #[test]
    fn a_certificate_that_is_refused_is_said_for_people() {
        let refused = |why: &str| refused_certificate(&format!("client error (Connect): {why}"));
        let unknown = refused("invalid peer certificate: UnknownIssuer").expect("it is one");
        assert!(unknown.contains("issued by nobody") && unknown.contains("SSL_CERT_FILE"), "{unknown}");
        let expired = refused("invalid peer certificate: certificate expired").expect("it is one");
        assert_eq!(expired, "its certificate was refused: certificate expired");
        assert_eq!(refused("tcp connect error: Connection refused"), None);
    }

    #[test]
    fn messages_leave_the_query_out() {
        let url: Uri = "https://example.org:8443/a/b?token=x".parse().unwrap();
        assert_eq!(shown(&url), "https://example.org:8443/a/b");
    }
}
