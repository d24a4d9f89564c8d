//! `http`, `ready` and `log`: what Pilcrow tells of itself, where and to whom.

use std::net::{Ipv6Addr, SocketAddr};

use serde::{Deserialize, Deserializer, Serialize, de};

use super::HumanDuration;

/// `http`: the status server.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Address and port of the status page, /metrics, /ready and /healthz.
    #[serde(deserialize_with = "listen_address")]
    pub listen: SocketAddr,
    /// Whether lines are shown to everyone who can connect, and not only to peers on this machine.
    pub tail: bool,
}

/// `ready`: when /ready answers 503.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ready {
    /// Not ready when Loki has acknowledged nothing for this long though lines wait. 0: no such limit.
    pub after: HumanDuration,
}

/// `log`: Pilcrow's own log, on stderr.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    pub level: LogLevel,
    pub format: LogFormat,
    /// How often one line says what was done since the last one. 0: never.
    pub summary: HumanDuration,
}

/// `log.level`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// `log.format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for Ready {
    fn default() -> Self {
        Self { after: HumanDuration::from_secs(120) }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv6Addr::UNSPECIFIED, 9080)), tail: false }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: LogLevel::default(), format: LogFormat::default(), summary: HumanDuration::from_secs(300) }
    }
}

fn listen_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        de::Error::custom(format_args!(
            "expected an IP address and a port such as 0.0.0.0:9080 or [::]:9080, found {text:?}"
        ))
    })
}
