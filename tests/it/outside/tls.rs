//! Requests over TLS: to a server whose certificate was issued by an authority of our own.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use super::*;

/// Issues certificates, as openssl does.
struct Authority(tempfile::TempDir);

impl Authority {
    fn new(name: &str) -> Authority {
        let authority = Authority(tempfile::tempdir().unwrap());
        let about = format!(
            "[req]\nprompt = no\ndistinguished_name = name\nx509_extensions = extensions\n[name]\nCN = {name}\n\
             [extensions]\nbasicConstraints = critical, CA:TRUE\nkeyUsage = critical, keyCertSign\n"
        );
        std::fs::write(authority.path("ca.cnf"), about).unwrap();
        std::fs::write(authority.path("server.cnf"), "subjectAltName = DNS:localhost\n").unwrap();
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        authority.openssl(&format!("req -x509 {key} -config ca.cnf -days 2 -keyout ca.key -out ca.pem"));
        authority.openssl(&format!("req {key} -subj /CN=a-server -keyout server.key -out server.csr"));
        authority.openssl(
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -set_serial 1 -days 2 -extfile server.cnf \
             -out server.pem",
        );
        authority
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn openssl(&self, words: &str) {
        let output = Command::new("openssl")
            .args(words.split_whitespace())
            .current_dir(self.0.path())
            .output()
            .expect("openssl is needed for this test");
        assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Starts a server that is called `localhost`, and tells on its output what it was asked.
    fn serve(&self) -> Server {
        let mut child = Command::new("python3")
            .args(["-c", SERVER])
            .current_dir(self.0.path())
            .stdout(Stdio::piped())
            // Of those who do not believe it, it has much to say.
            .stderr(Stdio::null())
            .spawn()
            .expect("python3 runs");
        let mut told = BufReader::new(child.stdout.take().unwrap());
        let mut port = String::new();
        told.read_line(&mut port).unwrap();
        Server { child, told, port: port.trim().parse().unwrap() }
    }
}

const SERVER: &str = r#"
import http.server, ssl
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        print(self.path, self.headers["authorization"], flush=True)
        body = b"hello over TLS\n"
        self.send_response(200)
        # Without it the answer ends with the connection, and nobody knows whether that was cut.
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("server.pem", "server.key")
# Shaken hands are the business of each connection's own thread.
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print(server.server_port, flush=True)
server.serve_forever()
"#;

struct Server {
    child: Child,
    told: BufReader<ChildStdout>,
    port: u16,
}

impl Server {
    /// Ends it: what it was asked.
    fn asked(mut self) -> String {
        self.child.kill().unwrap();
        let mut asked = String::new();
        self.told.read_to_string(&mut asked).unwrap();
        asked
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn a_server_is_believed_by_an_authority_that_the_master_trusts_and_by_the_name_it_was_asked_by() {
    let (ours, other) = (Authority::new("ours"), Authority::new("others"));
    let (server, stranger) = (ours.serve(), other.serve());
    let ask = |name: &str, host: &str, port: u16| {
        let authorized = "headers = { authorization = \"Bearer %(secret:token)s\" }";
        step(name, "http-request", &format!("url = \"https://{host}:{port}/{name}?key=1\", {authorized}"))
    };
    let builders = [
        ask("trusted", "localhost", server.port),
        ask("misnamed", "127.0.0.1", server.port),
        ask("unknown", "localhost", stranger.port),
    ];
    let mut site = site_of(
        &builders.concat(),
        "[grants.\"windlass:http-request\"]\nfetch = [\"localhost\", \"127.0.0.1\"]\nsecret = [\"token\"]\n",
    );
    site.env("SSL_CERT_FILE", &ours.path("ca.pem"));
    let site = site.start();

    let build = site.build("trusted");
    assert_eq!(build["outcome"], "success", "{build}");
    let said = log(&site, &build);
    assert!(said.contains("status 200") && said.contains("hello over TLS"), "{said}");

    let refused = |name: &str, why: &[&str]| {
        let build = site.build(name);
        assert_eq!(build["outcome"], "failure", "{build}");
        let summary = build["steps"][0]["summary"].as_str().unwrap();
        for part in why {
            assert!(summary.contains(part), "{name}: {summary}");
        }
        assert!(!summary.contains("key=1"), "{summary}");
        assert!(log(&site, &build).contains(summary), "the log says the same");
    };
    refused("misnamed", &["GET https://127.0.0.1:", "/misnamed: its certificate", "localhost"]);
    refused(
        "unknown",
        &["GET https://localhost:", "/unknown: its certificate", "nobody whom", "SSL_CERT_FILE"],
    );

    // Whoever is not believed hears nothing of the request, its secret least of all.
    assert_eq!(server.asked(), "/trusted?key=1 Bearer hunter2-and-more\n");
    assert_eq!(stranger.asked(), "");
}
