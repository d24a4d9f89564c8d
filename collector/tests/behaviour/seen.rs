//! What the running program shows of itself: its JSON, lines as they pass, and the commands that ask for them.

use std::{
    io::{BufRead, BufReader},
    net::{IpAddr, UdpSocket},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::program::{Node, Program, append, record, settles, wait_for};

fn json(program: &Program, path: &str) -> Value {
    let (status, body) = wait_for(path, || program.get(path));
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
}

/// The unit with this container's name.
fn unit(program: &Program, container: &str) -> Option<Value> {
    let units = json(program, "/api/v1/units");
    units["units"].as_array().unwrap().iter().find(|unit| unit["container"] == container).cloned()
}

/// Runs a command that asks the program.
fn pilcrow(program: &Program, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pilcrow"));
    command.args(arguments).args(["--url", program.url()]);
    command
}

fn output(program: &Program, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = pilcrow(program, arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A command that goes on, and its lines of standard output; killed when it is dropped.
struct Going {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Going {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines }
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_program_tells_its_units_its_loki_and_its_totals() {
    let mut node = Node::new();
    node.extra_config = "relabel_configs: [{source_labels: [container], regex: hidden, action: drop}]".into();
    append(&node.container("web", "shown").join("0.log"), (0..50).map(|n| record(n, "x")).collect::<String>());
    append(&node.container("web", "hidden").join("0.log"), record(0, "x"));
    let program = node.start();
    node.wait_until(&program, "all lines", |counts| counts.entries == 50);
    let shown = wait_for("the lag to end", || unit(&program, "shown").filter(|unit| unit["lag_bytes"] == 0));
    assert_eq!(
        (&shown["state"], &shown["lines"], &shown["namespace"]),
        (&"collecting".into(), &50.into(), &"default".into())
    );
    let hidden = unit(&program, "hidden").unwrap();
    assert_eq!(
        (&hidden["state"], &hidden["reason"]),
        (&"excluded".into(), &"dropped by relabel_configs[0]: drop container matching hidden".into())
    );
    let page = json(&program, &format!("/api/v1/units/{}", shown["id"].as_str().unwrap()));
    assert_eq!(page["streams"][0]["labels"]["cluster"], "test");
    assert_eq!((&page["files"][0]["name"], &page["files"][0]["position"]), (&"0.log".into(), &shown["bytes"]));
    let status = json(&program, "/api/v1/status");
    assert_eq!(
        (&status["loki"]["last_answer"], &status["ready"], &status["tail"]),
        (&"204".into(), &true.into(), &true.into())
    );
    assert_eq!((&status["totals"]["lines_read"], &status["totals"]["lines_acknowledged"]), (&50.into(), &50.into()));
    assert_eq!((&status["units"]["collecting"], &status["units"]["excluded"]), (&1.into(), &1.into()));
    assert!(status["notifier"]["backend"].is_string() && status["reader"]["backend"] != "");
    assert_eq!(program.get("/").unwrap().0, 200);
    let log = program.log();
    assert!(
        log.contains("found 2 containers (1 excluded) in ") && log.contains("acknowledged the first push: "),
        "{log}"
    );
}

#[test]
fn the_commands_show_status_table_and_lines_as_they_pass() {
    let node = Node::new();
    let live = node.container("web", "shown").join("0.log");
    append(&live, record(0, "before"));
    let program = node.start();
    node.wait_until(&program, "the first line", |counts| counts.entries == 1);
    wait_for("readiness", || program.get("/ready").filter(|(status, _)| *status == 200));
    let (code, out, err) = output(&program, &["status"]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains(": ready, up ") && out.contains("1 collecting") && out.contains("last answer 204"), "{out}");
    let (code, out, _) = output(&program, &["status", "--json"]);
    assert_eq!((code, &serde_json::from_str::<Value>(&out).unwrap()["ready"]), (Some(0), &true.into()));
    let (code, out, err) = output(&program, &["top"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("\ndefault/web/shown ") && out.contains(" collecting "), "{out}");
    let (code, _, err) = output(&program, &["tail", "nothing"]);
    assert!(code == Some(1) && err.contains("no container of this node is nothing"), "{err}");

    let sent = Going::start(pilcrow(&program, &["tail", "default/web", "--grep", "^wanted", "--json"]));
    let raw = Going::start(pilcrow(&program, &["tail", "web/shown", "--raw"]));
    let mut written = 1;
    let mut first = |going: &Going, begin: &str| {
        wait_for("a line that is shown", || {
            append(&live, record(written, &format!("unwanted {written}\u{1b}[2J")));
            append(&live, record(written, &format!("wanted {written}")).replace("stdout", "stderr"));
            written += 1;
            let mut line = going.lines.recv_timeout(Duration::from_millis(200)).ok();
            while line.as_ref().is_some_and(|line| !line.contains(begin)) {
                line = going.lines.try_recv().ok();
            }
            line
        })
    };
    let row: Value = serde_json::from_str(&first(&sent, "wanted")).unwrap();
    assert_eq!((&row["stream"], &row["container"]), (&"stderr".into(), &"shown".into()));
    assert!(
        row["text"].as_str().unwrap().starts_with("wanted ")
            && row["labels"].as_str().unwrap().contains("cluster=\"test\"")
    );
    let line = first(&raw, "unwanted");
    assert!(line.contains("stdout unwanted ") && line.ends_with("\\u{1b}[2J"), "{line}");
    drop((sent, raw));
    let url = program.url().to_owned();
    assert!(program.terminate().success());
    let gone = Command::new(env!("CARGO_BIN_EXE_pilcrow")).args(["status", "--url", &url]).output().unwrap();
    assert_eq!(gone.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&gone.stderr).contains("no Pilcrow answers at "));
}

/// An address of this machine that is not its loopback. Connecting a datagram socket sends nothing.
fn other_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_loopback())
}

#[test]
fn lines_are_shown_to_no_other_machine_unless_that_is_configured() {
    let Some(address) = other_address() else {
        return println!("SKIPPED: this machine has no address but its loopback");
    };
    for (allowed, status) in [(false, 403), (true, 400)] {
        let mut node = Node::new();
        node.listen = "0.0.0.0";
        if allowed {
            node.extra_http = ", tail: true";
        }
        let program = node.start();
        wait_for("readiness", || program.get("/ready").filter(|(status, _)| *status == 200));
        let away = program.url().replace("127.0.0.1", &address.to_string());
        let get = |path: &str| {
            let (status, body) = rig::http::get(&format!("{away}{path}"), Duration::from_secs(5)).unwrap();
            (status, String::from_utf8(body).unwrap())
        };
        // A mode that there is not: a good request would be answered for ever.
        let (told, body) = get("/api/v1/tail?mode=none");
        assert_eq!(told, status, "{body}");
        assert_eq!(body.contains("http.tail: true"), !allowed, "{body}");
        let seen: Value = serde_json::from_str(&get("/api/v1/status").1).unwrap();
        assert_eq!(seen["tail"], allowed);
    }
}

#[test]
fn slow_connections_and_viewers_who_read_nothing_keep_no_line_from_loki() {
    let node = Node::new();
    let live = node.container("web", "busy").join("0.log");
    append(&live, record(0, "first"));
    let program = node.start();
    node.wait_until(&program, "the first line", |counts| counts.entries == 1);
    let address = program.url().trim_start_matches("http://").to_owned();
    let connect = |request: &str| {
        use std::io::Write;
        let mut stream = std::net::TcpStream::connect(&address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream
    };
    let tail = "GET /api/v1/tail HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let viewers: Vec<_> = (0..20).map(|_| connect(tail)).collect();
    let slow: Vec<_> = (0..200).map(|_| connect("GET /api/v1/units HT")).collect();
    for round in 0..20u64 {
        append(&live, (0..1000).map(|n| record(round, &format!("line {round}-{n}"))).collect::<String>());
    }
    node.wait_until(&program, "all lines", |counts| counts.entries == 20_001);
    assert_eq!(program.get("/healthz").unwrap().0, 200);
    assert!(program.anonymous_mib() < 64.0, "{}", program.anonymous_mib());
    drop((viewers, slow));
    assert!(settles(Duration::from_secs(30), || unit(&program, "busy").is_some_and(|unit| unit["lag_bytes"] == 0)));
    node.assert_no_violations();
}
