//! Whether Loki can be reached.

use std::{
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    sync::mpsc,
    thread,
    time::Duration,
};

use hyper::Uri;

use super::Finding;
use crate::config::Loki;

/// For looking the name up; the system's resolver has no limit of its own that can be set.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// For each address.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

pub(super) fn examine(loki: &Loki, push: Option<&Result<String, String>>) -> Vec<Finding> {
    match push {
        Some(Ok(answer)) => vec![Finding::ok("loki", "push", answer)],
        // Whether the address alone is to blame; with a proxy in between it need not be reachable from here.
        Some(Err(why)) => {
            let fix = "until then the lines wait on the disk; docs/configuration.md, loki, has the settings";
            vec![address(&loki.url), Finding::fail("loki", "push", why, fix)]
        }
        None => vec![address(&loki.url)],
    }
}

fn address(url: &str) -> Finding {
    let Some((host, port)) = host_and_port(url) else {
        return Finding::fail("loki", "address", format!("{url} is not an address"), "set loki.url");
    };
    match resolve(&host, port) {
        Ok(addresses) => connect(&host, port, &addresses),
        Err(why) => {
            let fix = "set loki.url to a name that this machine's DNS knows, or to an IP address; a pod with hostNetwork \
                        needs dnsPolicy: ClusterFirstWithHostNet for names of the cluster";
            Finding::fail("loki", "address", format!("{host} cannot be looked up: {why}"), fix)
        }
    }
}

fn host_and_port(url: &str) -> Option<(String, u16)> {
    let uri: Uri = url.parse().ok()?;
    let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']');
    Some((host.to_owned(), uri.port_u16().unwrap_or(default)))
}

/// On a thread of its own, which is left behind where the resolver hangs.
fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let (sender, receiver) = mpsc::channel();
    let name = host.to_owned();
    let lookup = move || {
        // Nobody listens any more after the timeout.
        let _ = sender.send((name.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>));
    };
    thread::Builder::new().name("lookup".into()).spawn(lookup).map_err(|error| error.to_string())?;
    match receiver.recv_timeout(RESOLVE_TIMEOUT) {
        Ok(Ok(addresses)) if addresses.is_empty() => Err("the name has no address".into()),
        Ok(Ok(addresses)) => Ok(addresses),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", RESOLVE_TIMEOUT.as_secs())),
    }
}

fn connect(host: &str, port: u16, addresses: &[SocketAddr]) -> Finding {
    let mut failures = Vec::new();
    for address in addresses {
        match TcpStream::connect_timeout(address, CONNECT_TIMEOUT) {
            Ok(_) => {
                return Finding::ok("loki", "address", format!("{host} port {port} takes connections ({address})"));
            }
            Err(error) => failures.push(format!("{address}: {error}")),
        }
    }
    let found = format!("{host} port {port} does not accept connections: {}", failures.join("; "));
    Finding::fail("loki", "address", found, "is Loki running, and does loki.url name its HTTP port (3100 by default)?")
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::admin::doctor::Status;

    fn loki(url: String) -> Loki {
        Loki { url, ..Loki::default() }
    }

    #[test]
    fn a_listening_port_is_reached_and_a_closed_one_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let findings = examine(&loki(format!("http://{address}/loki/api/v1/push")), None);
        assert_eq!(findings[0].status, Status::Ok, "{findings:?}");
        drop(listener);
        let findings = examine(&loki(format!("http://{address}")), None);
        assert_eq!(findings[0].status, Status::Fail);
        assert!(findings[0].found.contains("does not accept connections: "), "{findings:?}");
    }

    #[test]
    fn ports_are_those_of_the_scheme_where_the_url_has_none() {
        for (url, host, port) in [
            ("http://loki", "loki", 80),
            ("https://loki/x", "loki", 443),
            ("http://loki:3100", "loki", 3100),
            ("http://[::1]:3100", "::1", 3100),
        ] {
            assert_eq!(host_and_port(url), Some((host.to_owned(), port)), "{url}");
        }
    }

    #[test]
    fn a_push_that_worked_is_enough_and_one_that_failed_is_told_beside_the_address() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let loki = loki(format!("http://{}", listener.local_addr().unwrap()));
        let statuses = |push| examine(&loki, Some(&push)).into_iter().map(|f| (f.check, f.status)).collect::<Vec<_>>();
        assert_eq!(statuses(Ok("204".into())), [("push", Status::Ok)]);
        assert_eq!(statuses(Err("401 Unauthorized".into())), [("address", Status::Ok), ("push", Status::Fail)]);
    }
}
