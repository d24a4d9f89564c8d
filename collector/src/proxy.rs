//! Which proxy leads to an address: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY.
//!
//! In: the environment. Out: for a URL, the proxy with its credentials, or none. NO_PROXY is read as Go reads it
//! (golang.org/x/net/http/httpproxy), since that is what it was written for on a node: container runtimes, kubelet, Promtail.
//! Does no network I/O; knows neither Loki nor Kubernetes.

mod bypass;

use hyper::{Uri, header::HeaderValue};
use hyper_util::client::proxy::matcher::Matcher;

use self::bypass::Bypass;

/// The proxies of one environment.
#[derive(Debug)]
pub struct Proxies {
    matcher: Matcher,
    bypass: Bypass,
}

#[derive(Clone, Debug)]
pub struct Proxy {
    /// Scheme, host and port.
    pub uri: Uri,
    /// The value of `Proxy-Authorization`, where the URL has a user; marked as sensitive.
    pub auth: Option<HeaderValue>,
}

/// Values of the variables, for [`Proxies`].
#[derive(Clone, Debug, Default)]
pub struct Builder {
    all: String,
    http: String,
    https: String,
    no: String,
    loopback_is_direct: bool,
}

impl Proxies {
    /// Those of the process's environment. As with Go, localhost and loopback addresses need no proxy.
    #[must_use]
    pub fn from_env() -> Self {
        let builder = Builder::from_variables(|name| std::env::var(name).ok());
        for name in builder.invalid() {
            // Not with its value: there may be a password in it.
            tracing::warn!("{name} is ignored: it is no address of a proxy such as http://proxy:3128");
        }
        builder.build()
    }

    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The proxy for a URL; `None`: none is set, or NO_PROXY excludes the host.
    #[must_use]
    pub fn to(&self, url: &Uri) -> Option<Proxy> {
        let intercept = self.matcher.intercept(url)?;
        let default_port = if url.scheme_str() == Some("https") { 443 } else { 80 };
        if self.bypass.contains(url.host()?, url.port_u16().unwrap_or(default_port)) {
            return None;
        }
        let mut auth = intercept.basic_auth().cloned();
        if let Some(auth) = &mut auth {
            auth.set_sensitive(true);
        }
        Some(Proxy { uri: intercept.uri().clone(), auth })
    }
}

/// Whether some URL would go through this proxy.
fn is_proxy(url: &str) -> bool {
    let some = Uri::from_static("http://loki");
    Matcher::builder().all(url.to_owned()).build().intercept(&some).is_some()
}

impl Builder {
    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        // A value from a file often ends in a newline.
        let value = |name: &str| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let either = |name: &str| value(name).or_else(|| value(&name.to_ascii_lowercase())).unwrap_or_default();
        // Where this is set, the program answers a web request, and HTTP_PROXY may be a header of it (CVE-2016-5385).
        let http = if variable("REQUEST_METHOD").is_some() { String::new() } else { either("HTTP_PROXY") };
        Self {
            all: either("ALL_PROXY"),
            http,
            https: either("HTTPS_PROXY"),
            no: either("NO_PROXY"),
            loopback_is_direct: true,
        }
    }

    /// The variables that should hold the address of a proxy and hold something else.
    fn invalid(&self) -> impl Iterator<Item = &'static str> {
        let proxies = [("ALL_PROXY", &self.all), ("HTTP_PROXY", &self.http), ("HTTPS_PROXY", &self.https)];
        proxies.into_iter().filter(|(_, url)| !url.is_empty() && !is_proxy(url)).map(|(name, _)| name)
    }

    /// `ALL_PROXY`.
    #[must_use]
    pub fn all(self, url: impl Into<String>) -> Self {
        Self { all: url.into(), ..self }
    }

    /// `HTTP_PROXY`, for http:// URLs.
    #[must_use]
    pub fn http(self, url: impl Into<String>) -> Self {
        Self { http: url.into(), ..self }
    }

    /// `HTTPS_PROXY`, for https:// URLs.
    #[must_use]
    pub fn https(self, url: impl Into<String>) -> Self {
        Self { https: url.into(), ..self }
    }

    /// `NO_PROXY`.
    #[must_use]
    pub fn no(self, list: impl Into<String>) -> Self {
        Self { no: list.into(), ..self }
    }

    #[must_use]
    pub fn build(self) -> Proxies {
        let matcher = Matcher::builder().all(self.all).http(self.http).https(self.https).build();
        Proxies { matcher, bypass: Bypass::parse(&self.no, self.loopback_is_direct) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder(variables: &[(&str, &str)]) -> Builder {
        Builder::from_variables(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        builder(variables).build()
    }

    fn to(proxies: &Proxies, url: &str) -> Option<String> {
        proxies.to(&url.parse().unwrap()).map(|proxy| proxy.uri.to_string())
    }

    #[test]
    fn the_scheme_selects_the_variable_and_upper_case_goes_first() {
        let some =
            proxies(&[("HTTPS_PROXY", "http://s:1\n"), ("https_proxy", "http://lower:1"), ("http_proxy", "p:2")]);
        assert_eq!(to(&some, "https://loki").as_deref(), Some("http://s:1/"));
        assert_eq!(to(&some, "http://loki").as_deref(), Some("http://p:2/"));
        let all = proxies(&[("ALL_PROXY", "http://a:3"), ("NO_PROXY", "loki:3100")]);
        assert_eq!(to(&all, "http://loki").as_deref(), Some("http://a:3/"));
        assert_eq!(to(&all, "http://loki:3100"), None);
        assert_eq!(to(&proxies(&[]), "http://loki"), None);
    }

    #[test]
    fn only_what_should_be_a_proxy_is_reported_as_none() {
        for no_proxy in ["10.0.0.0/8,.svc", "*", "localhost, .cluster.local"] {
            assert_eq!(builder(&[("NO_PROXY", no_proxy)]).invalid().count(), 0, "{no_proxy}");
        }
        let wrong = builder(&[("HTTPS_PROXY", "10.0.0.0/8,.svc"), ("http_proxy", "http://p:1"), ("NO_PROXY", "*")]);
        assert_eq!(wrong.invalid().collect::<Vec<_>>(), ["HTTPS_PROXY"]);
    }

    #[test]
    fn this_machine_is_asked_without_a_proxy() {
        let proxies = proxies(&[("ALL_PROXY", "http://a:3")]);
        for url in ["http://localhost:3100", "http://127.0.0.1", "https://[::1]:3100"] {
            assert_eq!(to(&proxies, url), None, "{url}");
        }
        assert!(to(&proxies, "http://10.0.0.1").is_some());
    }
}
