//! `loki`: address, tenant, authentication, TLS, headers. Repeats no value that may be a secret.

use hyper::{
    Uri,
    header::{HeaderName, HeaderValue},
    http::uri::Scheme,
};
use rustls::pki_types::ServerName;

use super::Problems;
use crate::{
    config::{Loki, Tls},
    model::{TENANT_NAME_RULE, is_tenant_name},
};

/// Headers that Pilcrow itself sets, with the key that does it.
const OWN_HEADERS: [(&str, &str); 8] = [
    ("x-scope-orgid", "set loki.tenant instead"),
    ("host", "it comes from loki.url"),
    ("user-agent", "Pilcrow says its own name and version"),
    ("content-type", "Pilcrow sets it"),
    ("content-encoding", "Pilcrow sets it"),
    ("content-length", "Pilcrow sets it"),
    ("transfer-encoding", "Pilcrow sets it"),
    ("connection", "Pilcrow sets it"),
];

pub(super) fn check(loki: &Loki, problems: &mut Problems) {
    url(&loki.url, problems);
    tenant(&loki.tenant, problems);
    authentication(loki, problems);
    tls(&loki.tls, problems);
    headers(loki, problems);
}

fn url(url: &str, problems: &mut Problems) {
    let example = "expected an address such as http://loki:3100 or https://loki.example.com/loki/api/v1/push";
    let mut wrong = |message: String| problems.add("loki.url", message);
    if url.contains('@') {
        // Not repeated: there is a password in it.
        return wrong("must not hold a user name or password; use loki.basic_auth".into());
    }
    let Ok(uri) = url.parse::<Uri>() else { return wrong(format!("{example}, found {url:?}")) };
    match uri.scheme() {
        _ if uri.host().is_none_or(str::is_empty) => wrong(format!("{example}, found {url:?}")),
        None => wrong(format!("lacks http:// or https:// in front of {url:?}")),
        Some(scheme) if *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS => {
            wrong(format!("must begin with http:// or https://, not {scheme}://"));
        }
        _ if uri.port().is_none() && uri.authority().is_some_and(|authority| has_port(authority.as_str())) => {
            wrong(format!("has a port that is no number from 1 to 65535: {url:?}"));
        }
        _ if uri.query().is_some() || url.contains('#') => wrong("must end with its path, without ? or #".into()),
        _ => {}
    }
}

fn has_port(authority: &str) -> bool {
    // Behind the brackets of an IPv6 address.
    authority.rsplit(']').next().is_some_and(|end| end.contains(':'))
}

fn tenant(tenant: &str, problems: &mut Problems) {
    if !tenant.is_empty() && !is_tenant_name(tenant) {
        problems.add("loki.tenant", format!("a tenant's name is {TENANT_NAME_RULE}, found {tenant:?}"));
    }
}

fn authentication(loki: &Loki, problems: &mut Problems) {
    let (user, password) = (&loki.basic_auth.username, &loki.basic_auth.password_file);
    let bearer = !loki.bearer_token_file.as_os_str().is_empty();
    match (user.is_empty(), password.as_os_str().is_empty()) {
        (false, true) => {
            problems.add("loki.basic_auth.password_file", "must be set where loki.basic_auth.username is");
        }
        (true, false) => {
            problems.add("loki.basic_auth.username", "must be set where loki.basic_auth.password_file is");
        }
        _ => {}
    }
    if user.contains(|c: char| c == ':' || c.is_control()) {
        problems.add("loki.basic_auth.username", "must not hold a colon or a control character (RFC 7617)");
    }
    if bearer && !user.is_empty() {
        problems.add("loki.bearer_token_file", "cannot be used together with loki.basic_auth; keep one of them");
    }
    let header = loki.headers.keys().find(|name| name.eq_ignore_ascii_case("authorization"));
    if let Some(name) = header.filter(|_| bearer || !user.is_empty()) {
        let key = format!("loki.headers.{name}");
        problems.add(&key, "cannot be used together with loki.basic_auth or loki.bearer_token_file");
    }
}

fn tls(tls: &Tls, problems: &mut Problems) {
    match (tls.cert_file.as_os_str().is_empty(), tls.key_file.as_os_str().is_empty()) {
        (false, true) => problems.add("loki.tls.key_file", "must be set where loki.tls.cert_file is"),
        (true, false) => problems.add("loki.tls.cert_file", "must be set where loki.tls.key_file is"),
        _ => {}
    }
    let name = tls.server_name.as_str();
    if !name.is_empty() && ServerName::try_from(name).is_err() {
        problems.add("loki.tls.server_name", format!("expected a host name or an IP address, found {name:?}"));
    }
}

fn headers(loki: &Loki, problems: &mut Problems) {
    for (name, value) in &loki.headers {
        let key = format!("loki.headers.{name}");
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            problems.add(&key, "is not a header's name (RFC 9110)");
        } else if HeaderValue::from_str(value).is_err() {
            problems.add(&key, "its value must be one line of visible ASCII characters");
        } else if let Some((_, why)) = OWN_HEADERS.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)) {
            problems.add(&key, format!("cannot be set here: {why}"));
        }
    }
}
