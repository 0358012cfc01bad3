//! An upstream that accepts everything at once: a local nginx, which also reports how many requests it got.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(10);

/// A running nginx.
pub(crate) struct Nginx {
    child: Child,
    port: u16,
}

impl Nginx {
    pub(crate) fn start(dir: &Path) -> Result<Self, String> {
        let fails = |error: std::io::Error| format!("starting nginx: {error}");
        fs::create_dir_all(dir).map_err(fails)?;
        // A port that was free a moment ago.
        let port = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).map_err(fails)?.port();
        let config = dir.join("nginx.conf");
        fs::write(&config, configuration(dir, port)).map_err(fails)?;
        let mut command = Command::new("nginx");
        command.arg("-c").arg(&config).arg("-p").arg(dir).stdin(Stdio::null()).stderr(Stdio::null());
        let mut nginx = Self { child: command.spawn().map_err(fails)?, port };
        let begun = Instant::now();
        while nginx.requests().is_err() {
            if begun.elapsed() > PATIENCE || !matches!(nginx.child.try_wait(), Ok(None)) {
                let log = fs::read_to_string(dir.join("nginx.log")).unwrap_or_default();
                return Err(format!("nginx does not answer: {log}"));
            }
            sleep(Duration::from_millis(5));
        }
        Ok(nginx)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/sync", self.port)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How many requests per second it serves to clients that do nothing else: one thread and connection per client,
    /// which sends the same bytes again after each response. No client that waits for responses is faster here.
    pub(crate) fn rate_of_bare_clients(&self, clients: usize, requests: u64) -> Result<f64, String> {
        let each = requests / clients as u64;
        let begun = Instant::now();
        let threads: Vec<_> = (0..clients)
            .map(|_| {
                let port = self.port;
                std::thread::spawn(move || bare_client(port, each))
            })
            .collect();
        for thread in threads {
            let ended = thread.join().map_err(|_| "a bare client panicked".to_owned())?;
            ended.map_err(|error| format!("a bare client: {error}"))?;
        }
        Ok((each * clients as u64) as f64 / begun.elapsed().as_secs_f64())
    }

    /// All requests that it has received, including those that read this counter.
    pub(crate) fn requests(&self) -> Result<u64, String> {
        let fails = |error: std::io::Error| format!("asking nginx: {error}");
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).map_err(fails)?;
        stream.write_all(b"GET /requests HTTP/1.0\r\n\r\n").map_err(fails)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(fails)?;
        // Its third line of numbers: accepted connections, handled ones, requests.
        let numbers = answer
            .lines()
            .find(|line| line.starts_with(' ') && line.trim_start().starts_with(|c: char| c.is_ascii_digit()));
        let requests = numbers.and_then(|line| line.split_whitespace().nth(2)?.parse().ok());
        requests.ok_or_else(|| format!("nginx said {answer:?}"))
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It holds no data that a kill could damage.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn bare_client(port: u16, requests: u64) -> std::io::Result<()> {
    /// The size of the agent's request for a record of the benchmark, headers included.
    const BYTES: usize = 1100;
    const END: &[u8] = b"{\"ok\":true}";
    let head = "POST /sync HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: ";
    let body = "x".repeat(BYTES - head.len() - "1000\r\n\r\n".len());
    let request = format!("{head}{}\r\n\r\n{body}", body.len());
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    let mut answer = [0; 4096];
    for _ in 0..requests {
        stream.write_all(request.as_bytes())?;
        let mut filled = 0;
        while !answer[..filled].ends_with(END) {
            match stream.read(&mut answer[filled..])? {
                0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                count => filled += count,
            }
        }
    }
    Ok(())
}

fn configuration(dir: &Path, port: u16) -> String {
    let dir = dir.display();
    format!(
        "daemon off;\nmaster_process off;\npid {dir}/nginx.pid;\nerror_log {dir}/nginx.log;\nevents {{}}\n\
         http {{\n  access_log off;\n  client_body_temp_path {dir}/body;\n  proxy_temp_path {dir}/proxy;\n\
         fastcgi_temp_path {dir}/fastcgi;\n  uwsgi_temp_path {dir}/uwsgi;\n  scgi_temp_path {dir}/scgi;\n\
         server {{\n    listen 127.0.0.1:{port};\n    keepalive_requests 100000000;\n\
         default_type application/json;\n    location / {{ return 200 '{{\"ok\":true}}'; }}\n\
         location /requests {{ stub_status; }}\n  }}\n}}\n"
    )
}
