//! Loki is away, or something else answers in its place.

use rig::receiver::{FaultScript, Verdict};

use crate::program::{Node, Program, append, record, wait_for};

fn waiting(ready_after: &str) -> Node {
    let mut node = Node::new();
    node.extra_config = format!("ready: {{after: {ready_after}}}\nshutdown: {{deadline: 100ms}}");
    node.extra_loki = "  timeout: 300ms\n".into();
    append(&node.container("web", "waits").join("0.log"), record(0, "first"));
    node
}

fn becomes(program: &Program, status: u16, words: &str, what: &str) {
    wait_for(what, || program.get("/ready").filter(|(is, body)| *is == status && body.contains(words)));
}

/// It was 200 in each of these cases.
#[test]
fn whatever_keeps_loki_from_getting_the_lines_ends_readiness_until_it_is_fixed() {
    type Fault = fn() -> Verdict;
    let faults: [(&str, Fault); 7] = [
        ("a redirect", || Verdict::status(302)),
        ("429 without end", || Verdict::status(429)),
        ("503 without end", || Verdict::status(503)),
        ("an unknown 400 without end", || Verdict::text(400, "unexpected EOF")),
        ("timeouts without end", || Verdict::NoAnswer),
        ("broken connections without end", || Verdict::CloseMidBody),
        ("another service's page", || Verdict::HtmlPage),
    ];
    for (what, verdict) in faults {
        let node = waiting("500ms");
        node.receiver.set_faults(FaultScript::each(move |_| verdict()));
        let program = node.start();
        becomes(&program, 503, "ready.after", what);
        node.receiver.set_faults(FaultScript::default());
        node.wait_until(&program, what, |counts| counts.entries >= 1);
        becomes(&program, 200, "ready", what);
    }
}

#[test]
fn an_address_at_which_there_is_no_loki_ends_readiness() {
    type Address = fn(u16) -> String;
    let port = |node: &Node| node.receiver.address().port();
    let addresses: [(&str, Address); 3] = [
        ("a port at which nobody listens", |_| "http://127.0.0.1:1".into()),
        ("a name that nobody has", |port| format!("http://loki.invalid:{port}")),
        ("TLS where there is none", |port| format!("https://127.0.0.1:{port}")),
    ];
    for (what, address) in addresses {
        let mut node = waiting("500ms");
        node.url = Some(address(port(&node)));
        // There may be no certificate authorities on this machine.
        node.extra_loki += "  tls: {insecure_skip_verify: true}\n";
        let program = node.start();
        becomes(&program, 503, "ready.after", what);
    }
}
