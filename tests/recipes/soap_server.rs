//! The SOAP recipe with a real SOAP server, PHP's own, whose envelopes differ: prefixes, `xsi:nil`
//! for missing values, and faults with another prefix.

use crate::adapters::Adapter;
use crate::kitchen::{Recipe, key_of, php, quiet_port, sale, tries};
use crate::support::{Agent, id_of, wait_for, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use tempfile::TempDir;

/// `soap_server.php`, which kills itself when it has booked a sale whose response is to be lost.
struct Server {
    child: Child,
    port: u16,
    dir: TempDir,
}

impl Server {
    fn start() -> Option<Self> {
        let (dir, port) = (tempfile::tempdir().expect("a temporary directory"), quiet_port());
        let child = Self::spawn(&dir, port)?;
        Some(Self { child, port, dir })
    }

    fn spawn(dir: &TempDir, port: u16) -> Option<Child> {
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recipes/soap_server.php");
        let mut php = php("soap")?;
        php.args(["-S", &format!("127.0.0.1:{port}"), program]).env("BOOKS", dir.path().join("books"));
        let child = php.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("php starts");
        wait_until("php listening", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Some(child)
    }

    /// Waits until it has died, and starts it again.
    fn revive(&mut self) {
        wait_for("the server's death", || self.child.try_wait().expect("a child can be asked"));
        self.child = Self::spawn(&self.dir, self.port).expect("php was there before");
    }

    fn books(&self) -> Vec<String> {
        let books: PathBuf = self.dir.path().join("books");
        fs::read_to_string(books).unwrap_or_default().lines().map(str::to_owned).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have exited already; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn agent(server: &Server) -> Option<(Adapter, Agent)> {
    let url = format!("http://127.0.0.1:{}/", server.port);
    let adapter = Adapter::start("soap", &[("SOAP_URL", &url), ("SOAP_NS", "urn:chain:sales")])?;
    let agent = Recipe::read("soap/resyncd.toml").host("http://127.0.0.1:9001", adapter.port).serve();
    Some((adapter, agent))
}

fn total(total: &str) -> Value {
    json!({"Total": total})
}

#[test]
fn a_real_soap_server_takes_a_sale_and_refuses_another() {
    let Some(server) = Server::start() else { return };
    let Some((_adapter, agent)) = agent(&server) else { return };
    agent.wait_gone(&id_of(&agent.call(&sale("s-1", &total("12.5")))));
    let shown = agent.wait_critical(&id_of(&agent.call(&sale("bad", &total("<&>")))));
    assert_eq!((&shown["error_class"], &shown["error"]), (&json!("refused"), &json!("Total is no number: <&>")));
    // The application does not know whether its own attempt arrived: it did not, and PHP says so with a nil, or with
    // `false`.
    for entity in ["own", "own-false"] {
        let mut own = sale(entity, &total("1"));
        own["error"] = json!("read ECONNRESET");
        agent.wait_gone(&id_of(&agent.call(&own)));
    }
    assert_eq!(server.books(), ["s-1", "own", "own-false"].map(key_of));
}

/// The server dies between its booking and its response.
#[test]
fn a_real_soap_server_that_dies_has_a_sale_once() {
    let Some(mut server) = Server::start() else { return };
    let Some((_adapter, agent)) = agent(&server) else { return };
    let id = id_of(&agent.call(&sale("lost", &total("12.5"))));
    server.revive();
    agent.wait_gone(&id);
    assert_eq!(server.books(), [key_of("lost")]);
    let tries = tries(&agent);
    let tries = tries.as_array().expect("a list");
    assert_eq!((&tries[0], tries.last()), (&json!(["unsure", 0]), Some(&json!(["delivered", 0]))), "{tries:?}");
}
