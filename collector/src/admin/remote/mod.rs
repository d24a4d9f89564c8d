//! `pilcrow status`, `top` and `tail`: what the running program says of itself over its own HTTP port.
//!
//! In: the address, from `--url` or from the configuration of the program that runs. Out: answers, as they are or decoded. A plain
//! HTTP/1.0 client over TCP: the program speaks nothing else there, and it works in an image that holds nothing but itself.

pub mod screen;
pub mod status;
pub mod tail;
pub mod top;

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs},
    time::Duration,
};

use anyhow::{Context, bail};
use serde::de::DeserializeOwned;

use crate::config::Config;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The program gives its reader 2 s to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// A silent tail has a comment every 15 s.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Of an answer: 10,000 units are some 4 MB.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// A running Pilcrow.
#[derive(Clone, Debug)]
pub struct Remote {
    addresses: Vec<SocketAddr>,
    /// Of the Host header.
    host: String,
    /// What stands before `/api`.
    prefix: String,
}

impl Remote {
    /// The program that runs with this configuration on this machine.
    #[must_use]
    pub fn of_config(config: &Config) -> Self {
        let listen = config.http.listen;
        let near = |ip: IpAddr| SocketAddr::new(ip, listen.port());
        let addresses = match listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => vec![near(Ipv4Addr::LOCALHOST.into())],
            IpAddr::V6(ip) if ip.is_unspecified() => {
                vec![near(Ipv4Addr::LOCALHOST.into()), near(Ipv6Addr::LOCALHOST.into())]
            }
            ip => vec![near(ip)],
        };
        Self { host: addresses[0].to_string(), addresses, prefix: String::new() }
    }

    /// The program at `http://HOST[:PORT][/PREFIX]`.
    ///
    /// # Errors
    /// It is no such address, or the name has none.
    pub fn at(url: &str) -> anyhow::Result<Self> {
        let Some(rest) = url.strip_prefix("http://") else {
            bail!("--url: expected http://HOST[:PORT], found {url:?}");
        };
        let (host, prefix) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.is_empty() && !port.contains(']'));
        let target = if has_port { host.to_owned() } else { format!("{host}:80") };
        let addresses = target.to_socket_addrs().with_context(|| format!("--url: {host}"))?.collect();
        let is_plain = |c: char| c.is_ascii_graphic();
        if !rest.chars().all(is_plain) {
            bail!("--url: {url:?} has characters that no address has");
        }
        Ok(Self { addresses, host: host.to_owned(), prefix: prefix.trim_end_matches('/').to_owned() })
    }

    /// An answer decoded from JSON.
    ///
    /// # Errors
    /// There is none, or it is another one.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let body = self.text(path)?;
        serde_json::from_str(&body)
            .with_context(|| format!("{} answers {path} otherwise than this version does", self.host))
    }

    /// An answer's text.
    ///
    /// # Errors
    /// There is none, or not 200.
    pub fn text(&self, path: &str) -> anyhow::Result<String> {
        let mut body = String::new();
        self.open(path, ANSWER_TIMEOUT)?
            .take(ANSWER_BYTES_MAX)
            .read_to_string(&mut body)
            .context("the answer breaks off")?;
        Ok(body)
    }

    /// An answer that goes on, line by line.
    ///
    /// # Errors
    /// There is none, or not 200.
    pub fn lines(&self, path: &str) -> anyhow::Result<impl Iterator<Item = io::Result<String>>> {
        Ok(self.open(path, SILENCE_MAX)?.lines())
    }

    /// Sends a request and reads the head of a good answer.
    fn open(&self, path: &str, timeout: Duration) -> anyhow::Result<BufReader<TcpStream>> {
        let mut stream = self.connect()?;
        stream.set_read_timeout(Some(timeout))?;
        let Self { host, prefix, .. } = self;
        // HTTP/1.0: the answer ends with the connection, and is not chunked.
        stream.write_all(format!("GET {prefix}{path} HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes())?;
        let mut answer = BufReader::new(stream);
        let mut line = String::new();
        answer.read_line(&mut line).with_context(|| format!("{host} does not answer"))?;
        let status = line.trim_end().split_once(' ').map_or("nothing", |(_, status)| status).to_owned();
        while !matches!(line.as_str(), "\r\n" | "\n" | "") {
            line.clear();
            answer.read_line(&mut line)?;
        }
        if !status.starts_with("200") {
            let mut text = String::new();
            answer.take(4096).read_to_string(&mut text)?;
            bail!("{host} answers {status}: {}", text.trim());
        }
        Ok(answer)
    }

    fn connect(&self) -> anyhow::Result<TcpStream> {
        let mut last = None;
        for address in &self.addresses {
            match TcpStream::connect_timeout(address, CONNECT_TIMEOUT) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Some(error),
            }
        }
        let error = last.unwrap_or_else(|| io::ErrorKind::NotFound.into());
        let host = &self.host;
        bail!(
            "no Pilcrow answers at {host}: {error}. Does it run here? Its address is http.listen (--config), or --url"
        )
    }
}

/// A text as a part of a query.
#[must_use]
pub fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => encoded.push(char::from(byte)),
            other => encoded += &format!("%{other:02X}"),
        }
    }
    encoded
}

/// `340`, `12.3k`, `4.5M`: rounded, for a column.
#[must_use]
pub fn short(value: f64) -> String {
    match value {
        value if value < 0.05 => "0".into(),
        value if value < 100.0 => format!("{value:.1}"),
        value if value < 10_000.0 => format!("{value:.0}"),
        value if value < 10_000_000.0 => format!("{:.1}k", value / 1e3),
        value => format!("{:.1}M", value / 1e6),
    }
}

/// `3 s`, `4 min`, `5 h 6 min`, `7 d 8 h`: rounded, for people.
#[must_use]
pub fn ago(millis: i64) -> String {
    match millis.max(0) / 1000 {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        seconds => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    #[test]
    fn the_address_is_that_of_the_configuration_by_which_this_machine_reaches_it() {
        let remote = |listen: &str| {
            let mut config = Config::default();
            config.http.listen = listen.parse().unwrap();
            Remote::of_config(&config).addresses.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(remote("[::]:9080"), ["127.0.0.1:9080", "[::1]:9080"]);
        assert_eq!(remote("0.0.0.0:1234"), ["127.0.0.1:1234"]);
        assert_eq!(remote("10.0.0.7:9080"), ["10.0.0.7:9080"]);
    }

    #[test]
    fn a_url_has_a_host_and_may_have_a_port_and_a_prefix() {
        let at = |url: &str| Remote::at(url).map(|remote| (remote.addresses[0].to_string(), remote.prefix));
        assert_eq!(at("http://127.0.0.1:9080/").unwrap(), ("127.0.0.1:9080".into(), String::new()));
        assert_eq!(at("http://[::1]/proxy/x/").unwrap(), ("[::1]:80".into(), "/proxy/x".into()));
        for wrong in ["https://a", "127.0.0.1:9080", "http://127.0.0.1:9080/a b"] {
            assert!(at(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_not_200_is_an_error_with_its_text() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let remote = Remote::at(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                for answer in
                    ["HTTP/1.0 503 Service Unavailable\r\nA: b\r\n\r\nbusy\n", "HTTP/1.0 200 OK\r\n\r\n{\"a\":1}"]
                {
                    let (mut stream, _) = listener.accept().unwrap();
                    stream.read_exact(&mut [0; 16]).unwrap();
                    stream.write_all(answer.as_bytes()).unwrap();
                    // What was not read would reset the connection.
                    let _ = stream.shutdown(std::net::Shutdown::Write);
                    let _ = stream.read_to_end(&mut Vec::new());
                }
            });
            let error = remote.text("/x").unwrap_err().to_string();
            assert!(error.ends_with("answers 503 Service Unavailable: busy"), "{error}");
            assert_eq!(remote.get::<serde_json::Value>("/x").unwrap()["a"], 1);
        });
    }

    #[test]
    fn numbers_and_times_are_rounded_for_people() {
        assert_eq!([0.0, 3.25, 340.0, 12_345.0, 45e6].map(short), ["0", "3.2", "340", "12.3k", "45.0M"]);
        assert_eq!(
            [900, 119_000, 3_700_000, 7_300_000, 200_000_000].map(ago),
            ["0 s", "119 s", "61 min", "2 h 1 min", "2 d 7 h"]
        );
        assert_eq!(encoded("a-b/c d%"), "a-b%2Fc%20d%25");
    }
}
