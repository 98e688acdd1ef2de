//! A `semrx run --config` under test, with a stand-in for the service manager.

use crate::folder::Folder;
use semrx::link::udp::UdpSink;
use semrx::link::{Packet, Sink};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub const BUNDLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/street");
/// After so long without a word the manager gives the service up.
pub const WATCHDOG: Duration = Duration::from_millis(900);
/// Nothing that is waited for takes so long, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// It ends with the test.
pub struct Running {
    pub folder: Folder,
    pub child: Child,
    /// Lines that the manager was told so far, and when. It listens on a thread of its own: who tells it something waits until it does.
    pub told: Arc<Mutex<Vec<(Instant, String)>>>,
    pub sink: UdpSink,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Running {
    /// Starts it with what `config` says beside schema, bundle, record and the link, in a folder of its own; waits until it is ready.
    pub fn start(folder: Folder, config: Value) -> Self {
        let port = free_port();
        let to = format!("udp://127.0.0.1:{port}");
        let manager = UnixDatagram::bind(folder.0.join("notify")).unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let lines = told.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(len) = manager.recv(&mut buffer) {
                let text = std::str::from_utf8(&buffer[..len]).unwrap();
                lines.lock().unwrap().extend(text.lines().map(|line| (Instant::now(), line.to_owned())));
            }
        });
        write(&folder, &to, config);
        let child = spawn(&folder);
        let sink = UdpSink::open(([127, 0, 0, 1], port).into(), "udp").unwrap();
        let mut running = Running { folder, child, told, sink };
        running.expect("READY=1", 1);
        running
    }

    /// Waits until the manager was told a line so many times.
    pub fn expect(&mut self, line: &str, times: usize) {
        let start = Instant::now();
        while self.count(line) < times {
            assert!(
                start.elapsed() < PATIENCE && self.child.try_wait().unwrap().is_none(),
                "{line}: {}",
                self.stderr()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// How often the manager was told a line.
    pub fn count(&self, line: &str) -> usize {
        self.told.lock().unwrap().iter().filter(|(_, told)| told == line).count()
    }

    pub fn stderr(&self) -> String {
        fs::read_to_string(self.folder.path("stderr")).unwrap()
    }

    pub fn signal(&self, name: &str) {
        let done = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(done.success());
    }

    pub fn send(&mut self, packet: &Packet) {
        self.sink.send(packet).unwrap();
    }

    pub fn records(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.path("out.jsonl")).unwrap_or_default();
        assert!(text.is_empty() || text.ends_with('\n'));
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Sends a packet, and waits for the record of its frame.
    pub fn decided(&mut self, packet: &Packet) {
        let before = self.records().len();
        self.send(packet);
        eventually("a record", || self.records().len() > before);
    }

    pub fn code(&mut self) -> Option<i32> {
        let mut status = None;
        eventually("the end", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code()
    }
}

/// What it says goes behind what it has said before.
pub fn spawn(folder: &Folder) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_semrx"));
    command.args(["run", "--config", &folder.path("semrx.json"), "--threads", "1"]);
    command.env_remove("RUST_LOG").env_remove("WATCHDOG_PID").env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string());
    command.env("NOTIFY_SOCKET", folder.path("notify")).stdin(Stdio::null()).stdout(Stdio::null());
    let stderr = File::options().create(true).append(true).open(folder.path("stderr")).unwrap();
    command.stderr(stderr).spawn().unwrap()
}

pub fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub fn write(folder: &Folder, to: &str, config: Value) {
    let mut whole =
        json!({"schema": 1, "bundle": BUNDLE, "record": folder.path("out.jsonl"), "streams": [{"from": to}]});
    let own = config.as_object().unwrap().clone();
    whole.as_object_mut().unwrap().extend(own);
    fs::write(folder.path("semrx.json"), whole.to_string()).unwrap();
}
