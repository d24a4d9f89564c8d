//! `loki`: where the lines go, and how.

use std::{collections::BTreeMap, fmt, ops::Deref, path::PathBuf};

use serde::{Deserialize, Serialize, Serializer};

use super::{ByteSize, HumanDuration};

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
}

/// `loki.basic_auth`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BasicAuth {
    /// User name; empty: no basic authentication.
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
