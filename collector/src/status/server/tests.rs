//! The status server over real connections.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;
use crate::status::Side;

/// Runs `client` against a server on a free port, as the sender side does: on a current-thread runtime.
fn with_server<F: Future<Output = ()>>(client: impl FnOnce(SocketAddr, Arc<Metrics>, Arc<Health>) -> F) {
    let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = listener.local_addr().unwrap();
    let (metrics, health) = (Arc::new(Metrics::new()), Arc::new(Health::default()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::select! {
            Err(error) = serve(listener, Served { metrics: Arc::clone(&metrics), health: Arc::clone(&health), view: None }) => {
                panic!("{error}")
            }
            () = client(address, metrics, health) => {}
        }
    });
}

/// Status line and headers, and body.
async fn request(address: SocketAddr, head: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{head}\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[test]
fn metrics_come_in_the_format_that_is_asked_for() {
    with_server(|address, metrics, _| async move {
        metrics.dropped_lines.add("rule", 5);
        let (head, body) = request(address, "GET /metrics HTTP/1.1").await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
        assert!(body.contains("\npilcrow_dropped_lines_total{reason=\"rule\"} 5\n"), "{body}");
        assert!(
            body.contains(concat!("\npilcrow_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1\n")),
            "{body}"
        );
        let (head, body) =
            request(address, "GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text;version=1.0.0").await;
        assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"), "{head}");
        assert!(body.ends_with("# EOF\n"), "{body}");
    });
}

#[test]
fn ready_says_why_it_is_not_and_then_is() {
    with_server(|address, _, health| async move {
        let (head, body) = request(address, "GET /ready HTTP/1.1").await;
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        assert_eq!(body, "not ready\nthe first scan of paths.pods is not done\n");
        health.first_scan_done();
        let (head, body) = request(address, "GET /ready HTTP/1.1").await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert_eq!(body, "ready\n");
    });
}

#[test]
fn healthz_is_good_from_the_start_and_after_a_beat() {
    with_server(|address, _, health| async move {
        assert_eq!(request(address, "GET /healthz HTTP/1.1").await.1, "healthy\n");
        health.beat(Side::Reader);
        assert_eq!(request(address, "GET /healthz?x=1 HTTP/1.1").await.1, "healthy\n");
    });
}

#[test]
fn other_paths_and_methods_are_refused_with_what_there_is() {
    with_server(|address, _, _| async move {
        let (head, body) = request(address, "GET /none HTTP/1.1").await;
        assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
        for path in ["/metrics", "/ready", "/healthz", "/api/v1/units"] {
            assert!(body.contains(path), "{body}");
        }
        let (head, _) = request(address, "POST /metrics HTTP/1.1").await;
        assert!(head.starts_with("HTTP/1.1 405 ") && head.contains("allow: GET, HEAD"), "{head}");
        let (head, body) = request(address, "HEAD /metrics HTTP/1.1").await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert_eq!(body, "");
    });
}

#[test]
fn a_request_that_is_too_long_or_no_http_ends_its_connection_only() {
    with_server(|address, _, _| async move {
        for head in [format!("GET /{} HTTP/1.1", "x".repeat(100_000)), "\x16\x03\x01".into()] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            // The server may end the connection before it took all.
            let _ = stream.write_all(format!("{head}\r\n\r\n").as_bytes()).await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
        assert_eq!(request(address, "GET /healthz HTTP/1.1").await.1, "healthy\n");
    });
}

/// The kubelet's probes timed out behind 64 of them, and it restarted the pod.
#[test]
fn silent_connections_do_not_keep_a_probe_from_its_answer() {
    with_server(|address, _, _| async move {
        let mut silent = Vec::new();
        for _ in 0..3 * CONNECTIONS_MAX {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        assert_eq!(request(address, "GET /healthz HTTP/1.1").await.1, "healthy\n");
        // Not because all of them were ended: the youngest is still open.
        let youngest = silent.last().unwrap().try_read(&mut [0]);
        assert_eq!(youngest.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    });
}

/// Connections that wait to be accepted are accepted in one go: those that came later ended the probe's before it was read.
#[test]
fn a_probe_among_hundreds_of_connections_that_came_at_once_is_answered() {
    let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    if most.trim().parse::<i32>().unwrap() < bind::BACKLOG {
        return println!("SKIPPED: net.core.somaxconn lets only {} connections wait", most.trim());
    }
    with_server(|address, _, _| async move {
        // The server gets no turn in between.
        let connect = |_| std::net::TcpStream::connect(address).unwrap();
        let _before: Vec<_> = (0..150).map(connect).collect();
        let mut probe = connect(0);
        std::io::Write::write_all(&mut probe, b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let _after: Vec<_> = (0..150).map(connect).collect();
        probe.set_nonblocking(true).unwrap();
        let mut answer = String::new();
        TcpStream::from_std(probe).unwrap().read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("\r\n\r\nhealthy\n"), "{answer}");
    });
}

#[test]
fn the_page_loads_nothing_from_elsewhere_and_runs_no_script_but_its_own() {
    with_server(|address, _, _| async move {
        for (path, content_type) in [("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/javascript")] {
            let (head, body) = request(address, &format!("GET {path} HTTP/1.1")).await;
            assert!(
                head.starts_with("HTTP/1.1 200 ") && head.contains(&format!("content-type: {content_type}")),
                "{head}"
            );
            assert!(head.contains("content-security-policy: default-src 'none'; script-src 'self'; "), "{head}");
            assert!(!head.contains("unsafe") && head.contains("x-content-type-options: nosniff"), "{head}");
            assert!(!body.is_empty() && !head.contains("set-cookie"));
        }
    });
}

#[test]
fn the_parts_of_the_script_are_joined_in_the_order_that_is_written_beside_them() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/status/page");
    let order = std::fs::read_to_string(folder.join("ORDER")).unwrap();
    let parts = order.split_whitespace().map(|name| std::fs::read_to_string(folder.join(name)).unwrap());
    let joined = parts.fold("'use strict';\n".to_owned(), |joined, part| joined + &part);
    assert!(page::SCRIPT == joined);
}

#[test]
fn nothing_is_told_of_units_before_collecting_begins() {
    with_server(|address, _, _| async move {
        let (head, body) = request(address, "GET /api/v1/units HTTP/1.1").await;
        assert!(head.starts_with("HTTP/1.1 503 ") && body.starts_with("standing by"), "{head}{body}");
    });
}
