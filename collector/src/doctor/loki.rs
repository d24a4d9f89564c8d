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
    if let Some(push) = push {
        return vec![match push {
            Ok(answer) => Finding::ok("loki", "push", format!("{}: {answer}", loki.url)),
            Err(why) => {
                Finding::fail("loki", "push", format!("{}: {why}", loki.url), "see loki in docs/configuration.md")
            }
        }];
    }
    let Some((host, port)) = host_and_port(&loki.url) else {
        return vec![Finding::fail("loki", "address", format!("{} is no address", loki.url), "set loki.url")];
    };
    let addresses = match resolve(&host, port) {
        Ok(addresses) => addresses,
        Err(why) => {
            let mend = "set loki.url to a name that this machine's DNS knows, or to an IP address; a pod with hostNetwork \
                        needs dnsPolicy: ClusterFirstWithHostNet for names of the cluster";
            return vec![Finding::fail("loki", "address", format!("{host} can not be looked up: {why}"), mend)];
        }
    };
    vec![connect(&host, port, &addresses)]
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
    let found = format!("{host} port {port} takes no connection: {}", failures.join("; "));
    Finding::fail("loki", "address", found, "is Loki running, and does loki.url name its HTTP port (3100 by default)?")
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::doctor::Status;

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
        assert!(findings[0].found.contains("takes no connection: "), "{findings:?}");
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
    fn what_a_real_push_said_goes_before() {
        let refused = Err("401 Unauthorized".to_owned());
        let findings = examine(&Loki::default(), Some(&refused));
        assert_eq!(findings[0].found, "http://127.0.0.1:3100: 401 Unauthorized");
        assert_eq!(findings[0].status, Status::Fail);
    }
}
