//! Connections: TLS, credentials, proxies, and what can break.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, atomic::Ordering::SeqCst},
};

use collector::{
    config::{BasicAuth, HumanDuration},
    output::loki::{Proxies, Sender},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

use crate::{
    Running, batch, block_on, config,
    log::Log,
    receiver::{Receiver, Reply},
};

/// A certificate authority with a folder for its files.
struct Authority {
    folder: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "the test's authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { folder, issuer }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A server with a certificate for `name`; with client certificates, if so asked.
    fn server(&self, name: &str, asks_for_certificates: bool) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().unwrap();
        let builder = if asks_for_certificates {
            let mut roots = RootCertStore::empty();
            roots.add(self.issuer.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Arc::new(builder.with_single_cert(vec![certificate.der().clone()], key).unwrap())
    }

    /// Writes client.pem and client.key.
    fn write_client_certificate(&self) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(Vec::new()).unwrap().signed_by(&key, &self.issuer).unwrap();
        fs::write(self.path("client.pem"), certificate.pem()).unwrap();
        fs::write(self.path("client.key"), key.serialize_pem()).unwrap();
    }

    /// Settings that trust this authority alone.
    fn config(&self, url: &str) -> config::Loki {
        let mut config = config(url);
        config.tls.ca_file = self.path("ca.pem");
        config
    }
}

/// What the probe says is wrong.
async fn complaint(config: &config::Loki) -> String {
    match collector::output::loki::probe_through(config, &Proxies::builder().build()).await {
        Ok(reached) => panic!("{reached:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn https_works_with_an_authority_of_ones_own() {
    block_on(async {
        let authority = Authority::new();
        let loki = Receiver::start_tls(authority.server("127.0.0.1", false), |_, _| Reply::ok()).await;
        let running = Running::start(&authority.config(&loki.url()));
        running.deliver(batch(1, &[(1, "secret as can be")])).await;
        assert_eq!(loki.stored_texts(), ["secret as can be"]);
        running.finish().await;
    });
}

#[test]
fn a_certificate_of_an_unknown_authority_is_refused_with_the_fix() {
    block_on(async {
        let (authority, other) = (Authority::new(), Authority::new());
        let loki = Receiver::start_tls(authority.server("127.0.0.1", false), |_, _| Reply::ok()).await;
        let complaint = complaint(&other.config(&loki.url())).await;
        assert!(complaint.contains("loki.tls.ca_file"), "{complaint}");
    });
}

#[test]
fn a_certificate_for_another_name_is_refused_unless_that_name_is_set() {
    block_on(async {
        let authority = Authority::new();
        let loki = Receiver::start_tls(authority.server("loki.example", false), |_, _| Reply::ok()).await;
        let mut config = authority.config(&loki.url());
        let complaint = complaint(&config).await;
        assert!(complaint.contains("loki.tls.server_name") && complaint.contains("loki.example"), "{complaint}");
        config.tls.server_name = "loki.example".into();
        let running = Running::start(&config);
        running.deliver(batch(1, &[(1, "line")])).await;
        running.finish().await;
    });
}

#[test]
fn insecure_skip_verify_takes_any_certificate_and_says_so() {
    block_on(async {
        let log = Log::collect();
        let authority = Authority::new();
        let loki = Receiver::start_tls(authority.server("loki.example", false), |_, _| Reply::ok()).await;
        let mut config = config(&loki.url());
        config.tls.insecure_skip_verify = true;
        let running = Running::start(&config);
        running.deliver(batch(1, &[(1, "line")])).await;
        running.finish().await;
        assert_eq!(log.count("WARN"), 1, "{}", log.text());
        assert_eq!(log.count("insecure_skip_verify"), 1);
    });
}

#[test]
fn a_client_certificate_is_shown_and_its_lack_is_explained() {
    block_on(async {
        let authority = Authority::new();
        authority.write_client_certificate();
        let loki = Receiver::start_tls(authority.server("127.0.0.1", true), |_, _| Reply::ok()).await;
        let mut config = authority.config(&loki.url());
        let complaint = complaint(&config).await;
        assert!(complaint.contains("loki.tls.cert_file"), "{complaint}");
        config.tls.cert_file = authority.path("client.pem");
        config.tls.key_file = authority.path("client.key");
        let running = Running::start(&config);
        running.deliver(batch(1, &[(1, "line")])).await;
        assert_eq!(loki.stored_texts(), ["line"]);
        running.finish().await;
    });
}

#[test]
fn https_to_a_port_without_tls_is_explained() {
    block_on(async {
        let authority = Authority::new();
        let loki = Receiver::start(|_, _| Reply::ok()).await;
        let url = loki.url().replace("http:", "https:");
        let complaint = complaint(&authority.config(&url)).await;
        assert!(complaint.contains("write http://"), "{complaint}");
    });
}

#[test]
fn what_answers_with_something_else_than_an_answer_in_http_is_explained() {
    let huge = format!("HTTP/1.1 204 No Content\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    let ssh = "SSH-2.0-OpenSSH_9.2p1\r\n".to_owned();
    for (answer, cause) in [(ssh, "does not speak HTTP"), (huge, "more headers than Pilcrow takes")] {
        block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            tokio::spawn(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    if answer.starts_with("HTTP") {
                        let _ = stream.read(&mut [0; 1024]).await;
                    }
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            });
            let complaint = complaint(&config(&url)).await;
            assert!(complaint.contains(cause) && complaint.contains("loki.url"), "{complaint}");
        });
    }
}

#[test]
fn a_host_name_that_does_not_exist_is_explained() {
    block_on(async {
        let complaint = complaint(&config("http://no-such-host.invalid:3100")).await;
        assert!(complaint.contains("check the host in loki.url"), "{complaint}");
    });
}

#[test]
fn settings_that_cannot_work_are_refused_at_start_by_their_key() {
    let authority = Authority::new();
    fs::write(authority.path("garbage"), "no PEM").unwrap();
    let missing = PathBuf::from("/does/not/exist");
    type Change = Box<dyn Fn(&mut config::Loki)>;
    let cases: Vec<(&str, Change)> = vec![
        ("loki.url", Box::new(|c| c.url = "loki:3100".into())),
        ("loki.tenant", Box::new(|c| c.tenant = "a\nb".into())),
        (
            "loki.tls.ca_file",
            Box::new({
                let p = missing.clone();
                move |c| c.tls.ca_file = p.clone()
            }),
        ),
        (
            "loki.tls.ca_file",
            Box::new({
                let p = authority.path("garbage");
                move |c| c.tls.ca_file = p.clone()
            }),
        ),
        (
            "loki.tls.cert_file",
            Box::new({
                let p = authority.path("ca.pem");
                move |c| c.tls.cert_file = p.clone()
            }),
        ),
        (
            "loki.bearer_token_file",
            Box::new({
                let p = missing.clone();
                move |c| c.bearer_token_file = p.clone()
            }),
        ),
        (
            "loki.headers",
            Box::new(|c| {
                c.headers.0.insert("a b".into(), "c".into());
            }),
        ),
        (
            "loki.headers",
            Box::new(|c| {
                c.headers.0.insert("Content-Type".into(), "text/plain".into());
            }),
        ),
        (
            "choose one",
            Box::new(|c| {
                c.basic_auth.username = "u".into();
                c.bearer_token_file = "/x".into();
            }),
        ),
        ("loki.basic_auth.username", Box::new(|c| c.basic_auth.password_file = "/x".into())),
    ];
    for (key, change) in cases {
        let mut config = authority.config("https://loki.example");
        change(&mut config);
        let error = match Sender::new(&config, Arc::default(), Arc::default()) {
            Ok(_) => panic!("{key} was taken"),
            Err(error) => format!("{error:#}"),
        };
        assert!(error.contains(key), "{key}: {error}");
    }
}

#[test]
fn tenant_headers_and_basic_auth_are_sent_and_never_logged() {
    block_on(async {
        let log = Log::collect();
        let folder = tempfile::tempdir().unwrap();
        let password_file = folder.path().join("password");
        fs::write(&password_file, "pa:ss\n").unwrap();
        let loki = Receiver::start(|n, _| if n == 0 { Reply::text(401, "Unauthorized") } else { Reply::ok() }).await;
        let mut config = config(&loki.url());
        config.tenant = "team-a".into();
        config.headers.0.insert("X-Api-Key".into(), "key-secret".into());
        config.basic_auth = BasicAuth { username: "user".into(), password_file };
        let running = Running::start(&config);
        running.deliver(batch(1, &[(1, "line")])).await;
        running.finish().await;
        let seen = &loki.seen()[0];
        assert_eq!(seen.header("x-scope-orgid"), "team-a");
        assert_eq!(seen.header("x-api-key"), "key-secret");
        assert_eq!(seen.header("authorization"), "Basic dXNlcjpwYTpzcw==");
        for secret in ["pa:ss", "key-secret", "dXNlcjpwYTpzcw"] {
            assert!(!log.mentions(secret), "{}", log.text());
        }
    });
}

#[test]
fn a_bearer_token_is_read_again_when_its_file_changes() {
    block_on(async {
        let log = Log::collect();
        let folder = tempfile::tempdir().unwrap();
        let token = folder.path().join("token");
        fs::write(&token, "number one\n").unwrap();
        let loki = Receiver::start(|_, _| Reply::ok()).await;
        let mut config = config(&loki.url());
        config.bearer_token_file = token.clone();
        let running = Running::start(&config);
        let mut sent = Vec::new();
        running.deliver(batch(1, &[(1, "line")])).await;
        sent.push("Bearer number one");
        fs::write(&token, "second one\n").unwrap();
        running.deliver(batch(2, &[(1, "line")])).await;
        sent.push("Bearer second one");
        // A file that is away for a moment does not take the token away.
        fs::remove_file(&token).unwrap();
        running.deliver(batch(3, &[(1, "line")])).await;
        sent.push("Bearer second one");
        // Nor does one that nobody writes to, which is not waited for.
        rustix::fs::mknodat(rustix::fs::CWD, &token, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        running.deliver(batch(3, &[(1, "line")])).await;
        sent.push("Bearer second one");
        assert_eq!(log.count("it is a FIFO: name a regular file"), 1, "{}", log.text());
        fs::remove_file(&token).unwrap();
        fs::write(&token, "the third").unwrap();
        running.deliver(batch(4, &[(1, "line")])).await;
        sent.push("Bearer the third");
        let seen = loki.seen();
        assert_eq!(seen.iter().map(|seen| seen.header("authorization")).collect::<Vec<_>>(), sent);
        running.finish().await;
        for secret in ["number one", "second one", "the third"] {
            assert!(!log.mentions(secret), "{}", log.text());
        }
    });
}

#[test]
fn a_token_that_is_corrected_is_used_before_the_wait_is_over() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let token = folder.path().join("token");
        fs::write(&token, "wrong").unwrap();
        let loki = Receiver::start(|_, seen| match seen.header("authorization") {
            "Bearer right" => Reply::ok(),
            // An hour.
            _ => Reply::Header(401, "retry-after", "3600"),
        })
        .await;
        let mut config = config(&loki.url());
        config.bearer_token_file = token.clone();
        let running = Running::start(&config);
        running.send(batch(1, &[(1, "one")]));
        running.send(batch(2, &[(2, "two")]));
        loki.until(|loki| loki.seen().len() == 2).await;
        fs::write(&token, "right").unwrap();
        running.next_done().await;
        running.next_done().await;
        assert_eq!(loki.seen().len(), 4, "both tried once more, and no more");
        running.finish().await;
    });
}

#[test]
fn one_connection_serves_all_requests_that_follow_each_other() {
    block_on(async {
        let loki = Receiver::start(|n, _| if n == 3 { Reply::text(500, "hm") } else { Reply::ok() }).await;
        let running = Running::start(&config(&loki.url()));
        for generation in 1..=10 {
            running.deliver(batch(generation, &[(1, "line")])).await;
        }
        assert_eq!(loki.seen().len(), 11);
        assert_eq!(loki.connections(), 1);
        running.finish().await;
    });
}

#[test]
fn a_request_without_an_answer_is_given_up_and_sent_again() {
    block_on(async {
        let log = Log::collect();
        let loki = Receiver::start(|n, _| if n < 2 { Reply::Never } else { Reply::ok() }).await;
        let mut config = config(&loki.url());
        config.timeout = HumanDuration::from_millis(100);
        let running = Running::start(&config);
        running.deliver(batch(1, &[(1, "line")])).await;
        assert!(running.requests("error") >= 2);
        running.finish().await;
        assert_eq!(loki.stored_texts()[0], "line");
        assert_eq!(log.count("loki.timeout"), 1, "{}", log.text());
    });
}

/// Answers the connections with these bytes, one after the other and cut off there; then with 204.
async fn raw_server(answers: &'static [&'static str]) -> (SocketAddr, Arc<std::sync::atomic::AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = BufReader::new(stream);
            let mut length = 0;
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).await.unwrap();
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
                    length = value.trim().parse().unwrap();
                }
                if line == "\r\n" {
                    break;
                }
            }
            stream.read_exact(&mut vec![0; length]).await.unwrap();
            let number = counter.fetch_add(1, SeqCst);
            let answer = answers.get(number).unwrap_or(&"HTTP/1.1 204 No Content\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (address, requests)
}

#[test]
fn a_connection_that_closes_in_the_middle_of_the_answer_means_again() {
    block_on(async {
        let (address, requests) = raw_server(&["", "HTTP/1.1 2", "HTTP/1.1 204 No Content\r\nX-A"]).await;
        let running = Running::start(&config(&format!("http://{address}")));
        running.deliver(batch(1, &[(1, "line")])).await;
        assert_eq!(requests.load(SeqCst), 4);
        assert_eq!(running.requests("error"), 3);
        running.finish().await;
    });
}

#[test]
fn a_success_whose_text_breaks_off_may_have_been_anything_and_means_again() {
    block_on(async {
        let (address, requests) = raw_server(&["HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"half"]).await;
        let running = Running::start(&config(&format!("http://{address}")));
        running.deliver(batch(1, &[(1, "line")])).await;
        assert_eq!(requests.load(SeqCst), 2);
        running.finish().await;
    });
}

mod proxies;
