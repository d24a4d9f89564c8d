//! `loki`: where the lines go, and how.

use std::{collections::BTreeMap, fmt, ops::Deref, path::PathBuf, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{ByteSize, HumanDuration, Rate, units::serde_as_text};

/// `loki`: where the lines go.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Loki {
    /// Base URL, or the full one of /loki/api/v1/push.
    pub url: String,
    /// X-Scope-OrgID; empty: not sent.
    pub tenant: String,
    /// HTTP basic authentication; an empty user name: none.
    pub basic_auth: BasicAuth,
    /// File with a bearer token, read again when it changes; empty: none.
    pub bearer_token_file: PathBuf,
    /// TLS for an https URL.
    pub tls: Tls,
    /// Further request headers; the values of those that look like secrets are never printed.
    pub headers: Headers,
    /// Limit for one request, answer included.
    pub timeout: HumanDuration,
    /// Waiting between attempts.
    pub backoff: Backoff,
    /// When a batch is sealed.
    pub batch: BatchLimits,
    /// How request bodies are made.
    pub compression: Compression,
    /// Below Loki's default `per_stream_rate_limit` (3 MB/s): past it a Loki that shards streams drops lines and answers 204.
    pub stream_rate: Rate,
    /// What a stream may send at once; below Loki's default `per_stream_rate_limit_burst` (15 MB).
    pub stream_burst: ByteSize,
    pub refused_streams: RefusedStreams,
}

/// `loki.compression`. Either way the body is a Snappy block, which is what Loki takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Repetitions are found and left out.
    #[default]
    Snappy,
    /// Lines are sent as they are: more bytes on the wire, less CPU time.
    None,
}

/// `loki.refused_streams`: what happens to a stream that Loki refuses while it takes others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RefusedStreams {
    /// Its lines wait on the disk until Loki takes them.
    #[default]
    Wait,
    /// Its lines are dropped and counted after it was refused for this long.
    DropAfter(HumanDuration),
}

const DROP_AFTER: &str = "drop after ";

impl FromStr for RefusedStreams {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix(DROP_AFTER) {
            None if text == "wait" => Ok(Self::Wait),
            None => Err(format!("expected wait, or drop after a duration such as {DROP_AFTER}1h, found {text:?}")),
            Some(duration) => duration.trim().parse().map(Self::DropAfter),
        }
    }
}

impl fmt::Display for RefusedStreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wait => f.write_str("wait"),
            Self::DropAfter(duration) => write!(f, "{DROP_AFTER}{duration}"),
        }
    }
}

serde_as_text!(RefusedStreams, "wait or drop after a duration");

/// `loki.basic_auth`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BasicAuth {
    /// Empty: no basic authentication.
    pub username: String,
    /// File with the password, its trailing newline ignored.
    pub password_file: PathBuf,
}

/// `loki.tls`. Empty paths and names: the default.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// PEM file with the certificate authorities; empty: the system's.
    pub ca_file: PathBuf,
    /// PEM file with the client certificate chain.
    pub cert_file: PathBuf,
    /// PEM file with the client key.
    pub key_file: PathBuf,
    /// The name that the server's certificate must have; empty: the URL's host.
    pub server_name: String,
    /// Accept any certificate.
    pub insecure_skip_verify: bool,
}

/// `loki.backoff`: jittered exponential waiting between attempts.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Backoff {
    /// The first wait.
    pub min: HumanDuration,
    /// The longest wait.
    pub max: HumanDuration,
}

/// `loki.batch`: a batch is sealed by size or age, whichever comes first.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BatchLimits {
    /// Encoded size, before compression.
    pub bytes: ByteSize,
    /// Time since its first line.
    pub age: HumanDuration,
}

/// `loki.headers`: names and values. Printing and serialising it shows no value whose name says that it is a secret.
#[derive(Clone, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Headers(pub BTreeMap<String, String>);

/// What stands in the place of a secret.
const MASK: &str = "(hidden)";

impl Headers {
    fn printable(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), if is_secret(name) { MASK } else { value }))
    }
}

fn is_secret(header: &str) -> bool {
    let header = header.to_ascii_lowercase();
    ["auth", "cookie", "key", "password", "secret", "token"].iter().any(|word| header.contains(word))
}

impl Deref for Headers {
    type Target = BTreeMap<String, String>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<'a> IntoIterator for &'a Headers {
    type Item = (&'a String, &'a String);
    type IntoIter = std::collections::btree_map::Iter<'a, String, String>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.printable()).finish()
    }
}

impl Serialize for Headers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.printable())
    }
}

impl Default for Loki {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:3100".into(),
            tenant: String::new(),
            basic_auth: BasicAuth::default(),
            bearer_token_file: PathBuf::new(),
            tls: Tls::default(),
            headers: Headers::default(),
            timeout: HumanDuration::from_secs(10),
            backoff: Backoff::default(),
            batch: BatchLimits::default(),
            compression: Compression::default(),
            stream_rate: Rate::PerSecond(ByteSize::kib(2560)),
            stream_burst: ByteSize::mib(10),
            refused_streams: RefusedStreams::default(),
        }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self { min: HumanDuration::from_millis(500), max: HumanDuration::from_secs(300) }
    }
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { bytes: ByteSize::mib(1), age: HumanDuration::from_secs(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_streams_wait_or_are_dropped_after_a_time() {
        for text in ["wait", "drop after 1h", "drop after 1m30s"] {
            assert_eq!(text.parse::<RefusedStreams>().unwrap().to_string(), text);
        }
        for text in ["", "drop", "drop after", "drop after soon", "drop after 1h later"] {
            assert!(text.parse::<RefusedStreams>().is_err(), "{text}");
        }
    }

    #[test]
    fn neither_debug_nor_serialising_shows_a_secret_header() {
        let headers = [("Authorization", "s3cret"), ("X-Api-Key", "s3cret"), ("X-Cluster", "home")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let loki = Loki { headers: Headers(headers.into()), ..Loki::default() };
        for printed in [format!("{loki:?}"), serde_json::to_string(&loki).unwrap()] {
            assert!(!printed.contains("s3cret"), "{printed}");
            assert!(printed.contains("home"), "{printed}");
        }
    }
}
