//! One HTTP exchange with Loki.

use std::{path::Path, sync::atomic::Ordering, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use http_body_util::{BodyExt, Either, Empty};
use hyper::{
    Method, Request, Response, Uri,
    body::{Bytes, Incoming},
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use hyper_rustls::{DefaultServerNameResolver, FixedServerNameResolver, HttpsConnector};
use hyper_util::{
    client::legacy,
    rt::{TokioExecutor, TokioTimer},
};
use tracing::{info, warn};

use super::{
    Proxies,
    answer::{Answer, Obstacle},
    connector::{Route, RouteConnector},
    endpoint::Endpoint,
    failure,
    files::{WatchedFiles, read_secret},
    sent_body::SentBody,
    tls,
};
use crate::{config, model::TenantName};

const USER_AGENT: &str = concat!("pilcrow/", env!("CARGO_PKG_VERSION"));
const TENANT_HEADER: HeaderName = HeaderName::from_static("x-scope-orgid");
/// Of the body of an answer to a push; Loki writes a few sentences at most.
const ANSWER_MAX_BYTES: usize = 16 << 10;
/// Of its configuration, which has some 80 KiB.
const CONFIG_MAX_BYTES: usize = 1 << 20;
/// Loki closes idle connections after 120 s.
const IDLE_CONNECTION_MAX: Duration = Duration::from_secs(90);
/// They describe the body, so the configuration cannot set them.
const RESERVED: [HeaderName; 5] = [
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
];

/// Talks to one Loki and reuses connections. Not `Debug`, as it holds secrets.
pub(super) struct Client {
    config: config::Loki,
    endpoint: Endpoint,
    route: Route,
    files: WatchedFiles,
    exchange: Exchange,
}

/// What is made from the files, and made again when one changes.
struct Exchange {
    http: legacy::Client<HttpsConnector<RouteConnector>, Either<SentBody, Empty<Bytes>>>,
    headers: HeaderMap,
}

impl Client {
    /// Reads the files that `config` names. Connects only when something is sent.
    ///
    /// # Errors
    /// Names the key of the configuration that cannot be used.
    pub(super) fn new(config: &config::Loki, proxies: &Proxies) -> Result<Self> {
        let endpoint = Endpoint::parse(&config.url)?;
        let route = Route::to(&endpoint.uri, proxies)?;
        // Before they are read: a change in between is then detected.
        let files = WatchedFiles::new(file_paths(config));
        let exchange = Exchange::new(config, &endpoint, &route)?;
        Ok(Self { config: config.clone(), endpoint, route, files, exchange })
    }

    /// Logs where lines are sent, and whether certificates are verified.
    pub(super) fn announce(&self) {
        let url = self.url();
        match self.route.proxy() {
            Some(proxy) => info!(%url, %proxy, "sending to Loki through a proxy"),
            None => info!(%url, "sending to Loki"),
        }
        if self.config.tls.insecure_skip_verify {
            warn!("loki.tls.insecure_skip_verify is on: whoever answers at Loki's address gets the logs");
        }
    }

    /// Where the lines go, without credentials.
    pub(super) fn url(&self) -> &Uri {
        &self.endpoint.uri
    }

    /// Reads secrets and certificates again if one of their files changed. True if it did.
    pub(super) fn refresh(&mut self) -> bool {
        if !self.files.changed() {
            return false;
        }
        match Exchange::new(&self.config, &self.endpoint, &self.route) {
            Ok(exchange) => {
                info!("reloaded the credentials and certificates for Loki, as a file changed");
                self.exchange = exchange;
            }
            Err(error) => warn!("the credentials and certificates for Loki were not reloaded: {error:#}"),
        }
        true
    }

    /// Starts to send `body`, a snappy block of a push request, for a tenant. The future borrows nothing.
    pub(super) fn push(
        &self,
        tenant: &TenantName,
        body: Bytes,
    ) -> impl Future<Output = Result<Answer, Obstacle>> + use<> {
        let body = SentBody::new(body);
        let all_sent = body.all_sent();
        let uri = self.endpoint.uri.clone();
        let exchange = self.exchange(Method::POST, uri, tenant, Either::Left(body), ANSWER_MAX_BYTES);
        let timeout = self.config.timeout.0;
        async move {
            let late = |_| Err(failure::timed_out(timeout, all_sent.load(Ordering::Relaxed)));
            tokio::time::timeout(timeout, exchange).await.unwrap_or_else(late)
        }
    }

    /// Asks for the limits that Loki publishes. The future borrows nothing.
    pub(super) fn published_limits(&self) -> impl Future<Output = Option<Answer>> + use<> {
        let exchange = self.beside_push("drilldown-limits").map(|uri| self.ask(uri, &None, ANSWER_MAX_BYTES));
        async move { exchange?.await.ok() }
    }

    /// Asks for Loki's configuration. The future borrows nothing.
    pub(super) fn loki_config(&self) -> impl Future<Output = Option<Answer>> + use<> {
        let exchange = self.endpoint.beside_api("config").map(|uri| self.ask(uri, &None, CONFIG_MAX_BYTES));
        async move { exchange?.await.ok() }
    }

    /// The address of another part of the API, as [`Endpoint::beside_push`].
    pub(super) fn beside_push(&self, name: &str) -> Option<Uri> {
        self.endpoint.beside_push(name)
    }

    /// Asks for what is at an address; of the answer at most `max_bytes` are read. The future borrows nothing.
    pub(super) fn ask(
        &self,
        uri: Uri,
        tenant: &TenantName,
        max_bytes: usize,
    ) -> impl Future<Output = Result<Answer, Obstacle>> + use<> {
        let exchange = self.exchange(Method::GET, uri, tenant, Either::Right(Empty::new()), max_bytes);
        let timeout = self.config.timeout.0;
        async move {
            let late = |_| Err(failure::timed_out(timeout, true));
            tokio::time::timeout(timeout, exchange).await.unwrap_or_else(late)
        }
    }

    fn exchange(
        &self,
        method: Method,
        uri: Uri,
        tenant: &TenantName,
        body: Either<SentBody, Empty<Bytes>>,
        max_bytes: usize,
    ) -> impl Future<Output = Result<Answer, Obstacle>> + use<> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = self.exchange.headers.clone();
        // Every name that is valid for Loki is valid in a header.
        if let Some(tenant) = tenant.as_deref().and_then(|tenant| HeaderValue::from_str(tenant).ok()) {
            request.headers_mut().insert(TENANT_HEADER, tenant);
        }
        let answer = self.exchange.http.request(request);
        async move { read_answer(answer.await.map_err(|error| failure::explain(&error))?, max_bytes).await }
    }
}

impl Exchange {
    fn new(config: &config::Loki, endpoint: &Endpoint, route: &Route) -> Result<Self> {
        let tls = match endpoint.uri.scheme_str() {
            Some("https") => tls::client_config(&config.tls)?,
            // Plain http never looks at it, and the machine may have no certificate authorities.
            _ => tls::client_config(&config::Tls { insecure_skip_verify: true, ..config::Tls::default() })?,
        };
        let connector = RouteConnector::new(route.clone());
        let connector = match tls::server_name(&config.tls)? {
            Some(name) => {
                HttpsConnector::new(connector, tls, false, std::sync::Arc::new(FixedServerNameResolver::new(name)))
            }
            None => {
                HttpsConnector::new(connector, tls, false, std::sync::Arc::new(DefaultServerNameResolver::default()))
            }
        };
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_CONNECTION_MAX)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Ok(Self { http, headers: headers(config, route)? })
    }
}

fn file_paths(config: &config::Loki) -> [&Path; 5] {
    let config::Loki { tls, basic_auth, bearer_token_file, .. } = config;
    [&basic_auth.password_file, bearer_token_file, &tls.ca_file, &tls.cert_file, &tls.key_file]
}

fn headers(config: &config::Loki, route: &Route) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    if !config.tenant.is_empty() {
        let tenant =
            HeaderValue::from_str(&config.tenant).context("loki.tenant holds a character that HTTP forbids")?;
        headers.insert(TENANT_HEADER, tenant);
    }
    if let Some(authorization) = authorization(config)? {
        headers.insert(header::AUTHORIZATION, authorization);
    }
    if let Route::Forward { auth: Some(auth), .. } = route {
        headers.insert(header::PROXY_AUTHORIZATION, auth.clone());
    }
    for (name, value) in &config.headers {
        let key = HeaderName::from_bytes(name.as_bytes())
            .with_context(|| format!("loki.headers: {name:?} is not the name of an HTTP header"))?;
        ensure!(!RESERVED.contains(&key), "loki.headers: {name} describes the request's body and cannot be set");
        let mut value = HeaderValue::from_str(value)
            .with_context(|| format!("loki.headers: the value of {name} holds a character that HTTP forbids"))?;
        value.set_sensitive(true);
        headers.insert(key, value);
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    Ok(headers)
}

fn authorization(config: &config::Loki) -> Result<Option<HeaderValue>> {
    let config::BasicAuth { username, password_file } = &config.basic_auth;
    let has_token = !config.bearer_token_file.as_os_str().is_empty();
    let has_password = !password_file.as_os_str().is_empty();
    let text = match (username.is_empty(), has_token) {
        (false, true) => bail!("loki.basic_auth and loki.bearer_token_file are both set: choose one"),
        (true, _) if has_password => bail!("loki.basic_auth.password_file is set without loki.basic_auth.username"),
        (false, false) => {
            let password = match has_password {
                true => read_secret("loki.basic_auth.password_file", password_file)?,
                false => String::new(),
            };
            basic(username, &password)
        }
        (true, true) => format!("Bearer {}", read_secret("loki.bearer_token_file", &config.bearer_token_file)?),
        (true, false) => return Ok(None),
    };
    let mut value = HeaderValue::from_str(&text).map_err(|_| {
        anyhow::anyhow!("the bearer token of loki.bearer_token_file holds a character that HTTP forbids")
    })?;
    value.set_sensitive(true);
    Ok(Some(value))
}

fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}")))
}

async fn read_answer(response: Response<Incoming>, max_bytes: usize) -> Result<Answer, Obstacle> {
    let (head, mut body) = response.into_parts();
    let mut text = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => text.extend_from_slice(frame.data_ref().map_or(&[], |data| &data[..])),
            // What was to come may have been anything: a login page, an error behind a 200.
            Err(error) if head.status.is_success() => return Err(failure::broken_off(head.status, &error)),
            Err(_) => break,
        }
        if text.len() >= max_bytes {
            text.truncate(max_bytes);
            break;
        }
    }
    let field = |name| head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    Ok(Answer {
        status: head.status,
        retry_after: field(header::RETRY_AFTER).and_then(retry_after),
        location: field(header::LOCATION).map(str::to_owned),
        content_type: field(header::CONTENT_TYPE).map(str::to_ascii_lowercase).unwrap_or_default(),
        date: field(header::DATE).and_then(|date| httpdate::parse_http_date(date).ok()),
        text: String::from_utf8_lossy(&text).into_owned(),
    })
}

/// Seconds or an HTTP date (RFC 9110, 10.2.3).
fn retry_after(text: &str) -> Option<Duration> {
    match text.trim().parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(std::time::SystemTime::now()).ok(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(retry_after(" 120 "), Some(Duration::from_secs(120)));
        let in_an_hour = SystemTime::now() + Duration::from_secs(3600);
        let wait = retry_after(&httpdate::fmt_http_date(in_an_hour)).unwrap();
        assert!(wait <= Duration::from_secs(3600) && wait > Duration::from_secs(3000), "{wait:?}");
        assert_eq!(retry_after("Fri, 31 Dec 1999 23:59:59 GMT"), None, "a date in the past asks for nothing");
        assert_eq!(retry_after("soon"), None);
        assert_eq!(retry_after("-1"), None);
    }
}
