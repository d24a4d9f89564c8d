//! Taking the address of the status server.
//!
//! In: `http.listen`. Out: a listener, or an error that names the fix. `[::]` stands for all addresses of both families, on
//! machines without IPv6 for those of IPv4.

use std::{
    fmt, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
};

use rustix::net::{self, AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

/// Connections that may wait to be accepted; the kernel has a limit of its own (net.core.somaxconn). Where more come at once,
/// a probe's has to be made again after a second, its whole timeout in Kubernetes.
pub(super) const BACKLOG: i32 = 1024;

/// The address of the status server is not available.
#[derive(Debug)]
pub struct BindError {
    listen: SocketAddr,
    error: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fix = match self.error.kind() {
            io::ErrorKind::AddrInUse => "another process listens there; set http.listen to a free port",
            io::ErrorKind::AddrNotAvailable => "this machine has no such address; set http.listen to one that it has",
            io::ErrorKind::PermissionDenied => "set http.listen to a port from 1024 on",
            _ => "see http.listen",
        };
        write!(f, "cannot serve metrics and health on {}: {}: {fix}", self.listen, self.error)
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// Takes the address, so that a start with a wrong one fails at once. Needs no runtime.
///
/// # Errors
/// The address is in use, or not this machine's, or may not be used; the text names `http.listen`.
pub fn bind(listen: SocketAddr) -> Result<TcpListener, BindError> {
    let bound = match listen {
        SocketAddr::V6(address) if *address.ip() == Ipv6Addr::UNSPECIFIED => bind_both(listen),
        _ => TcpListener::bind(listen),
    };
    let ready = bound.and_then(|listener| {
        // Listens already: only the number is new.
        net::listen(&listener, BACKLOG)?;
        listener.set_nonblocking(true).map(|()| listener)
    });
    ready.map_err(|error| BindError { listen, error })
}

/// All addresses of both families; only IPv4's where the kernel has no IPv6, or none that is switched on.
fn bind_both(listen: SocketAddr) -> io::Result<TcpListener> {
    match bind_dual(listen) {
        Err(error) if has_no_ipv6(&error) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, listen.port())),
        bound => bound,
    }
}

fn has_no_ipv6(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(rustix::io::Errno::from_raw_os_error);
    matches!(code, Some(rustix::io::Errno::AFNOSUPPORT | rustix::io::Errno::ADDRNOTAVAIL))
}

/// std leaves it to the sysctl net.ipv6.bindv6only whether a socket of IPv6 takes IPv4, too.
fn bind_dual(listen: SocketAddr) -> io::Result<TcpListener> {
    let socket = net::socket_with(AddressFamily::INET6, SocketType::STREAM, SocketFlags::CLOEXEC, Some(ipproto::TCP))?;
    sockopt::set_ipv6_v6only(&socket, false)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    net::bind(&socket, &listen)?;
    net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn the_unspecified_address_of_ipv6_takes_connections_of_both_families() {
        let listener = bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
        if let Err(error) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) {
            return println!("SKIPPED: this machine has no IPv6: {error}");
        }
        assert!(TcpStream::connect((Ipv6Addr::LOCALHOST, port)).is_ok());
    }

    #[test]
    fn a_machine_without_ipv6_is_told_from_one_whose_port_is_taken() {
        let error = |errno: rustix::io::Errno| io::Error::from(errno);
        assert!(has_no_ipv6(&error(rustix::io::Errno::AFNOSUPPORT)));
        assert!(!has_no_ipv6(&error(rustix::io::Errno::ADDRINUSE)));
    }

    #[test]
    fn an_address_in_use_names_the_key() {
        let first = bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = first.local_addr().unwrap();
        assert_eq!(
            bind(address).unwrap_err().to_string(),
            format!(
                "cannot serve metrics and health on {address}: Address already in use (os error 98): another process \
                 listens there; set http.listen to a free port"
            )
        );
    }
}
