//! Through proxies, and certificates that are their own authority.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use super::*;

/// A proxy for CONNECT; keeps the heads of the requests. Opens a tunnel to `target` whatever it was asked for.
async fn tunnel_proxy(target: u16, answer: &'static str) -> (u16, Arc<std::sync::Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heads = Arc::new(std::sync::Mutex::new(String::new()));
    let kept = Arc::clone(&heads);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = BufReader::new(stream);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                assert!(stream.read_line(&mut head).await.unwrap() > 0);
            }
            kept.lock().unwrap().push_str(&head);
            stream.write_all(answer.as_bytes()).await.unwrap();
            if answer.contains("200") {
                tokio::spawn(async move {
                    let mut upstream = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
                    let _ = copy_bidirectional(&mut stream, &mut upstream).await;
                });
            }
        }
    });
    (port, heads)
}

#[test]
fn https_goes_through_a_tunnel_of_the_proxy_that_the_environment_names() {
    block_on(async {
        let log = Log::collect();
        let authority = Authority::new();
        let loki = Receiver::start_tls(authority.server("loki.example", false), |_, _| Reply::ok()).await;
        let (port, heads) = tunnel_proxy(loki.port, "HTTP/1.1 200 Connection established\r\n\r\n").await;
        let proxies = Proxies::builder().https(format!("http://me:proxy-secret@127.0.0.1:{port}")).build();
        let running = Running::start_through(&authority.config("https://loki.example"), &proxies);
        running.deliver(batch(1, &[(1, "line")])).await;
        assert_eq!(loki.stored_texts(), ["line"]);
        running.finish().await;
        let heads = heads.lock().unwrap().clone();
        assert!(heads.starts_with("CONNECT loki.example:443 HTTP/1.1\r\n"), "{heads}");
        assert!(heads.contains("Proxy-Authorization: Basic bWU6cHJveHktc2VjcmV0\r\n"), "{heads}");
        assert!(!log.mentions("proxy-secret"), "{}", log.text());
        assert_eq!(log.count("through a proxy"), 1);
    });
}

#[test]
fn http_is_passed_on_by_the_proxy_with_the_whole_url() {
    block_on(async {
        let proxy = Receiver::start(|_, _| Reply::ok()).await;
        let proxies = Proxies::builder().http(proxy.url_of("me:secret@127.0.0.1")).build();
        let running = Running::start_through(&config("http://loki.example:3100"), &proxies);
        running.deliver(batch(1, &[(1, "line")])).await;
        running.finish().await;
        let seen = &proxy.seen()[0];
        assert_eq!(seen.target, "http://loki.example:3100/loki/api/v1/push");
        assert_eq!(seen.header("proxy-authorization"), "Basic bWU6c2VjcmV0");
        assert_eq!(seen.header("host"), "loki.example:3100");
    });
}

#[test]
fn no_proxy_leads_past_the_proxy() {
    block_on(async {
        let loki = Receiver::start(|_, _| Reply::ok()).await;
        let proxies = Proxies::builder().all("http://127.0.0.1:1").no("127.0.0.0/8").build();
        let running = Running::start_through(&config(&loki.url()), &proxies);
        running.deliver(batch(1, &[(1, "line")])).await;
        running.finish().await;
    });
}

#[test]
fn a_proxy_that_refuses_is_named_as_what_refuses() {
    block_on(async {
        let authority = Authority::new();
        for (answer, words) in [
            ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "put user and password into HTTPS_PROXY"),
            ("HTTP/1.1 403 Forbidden\r\n\r\n", "the proxy refuses"),
        ] {
            let (port, _) = tunnel_proxy(1, answer).await;
            let proxies = Proxies::builder().https(format!("http://127.0.0.1:{port}")).build();
            let config = authority.config("https://loki.example");
            let error = collector::output::loki::probe_through(&config, &proxies).await.unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    });
}

/// It was called a refused Loki.
#[test]
fn a_proxy_that_takes_no_connection_is_named() {
    block_on(async {
        let authority = Authority::new();
        let proxies = Proxies::builder().all("http://127.0.0.1:1").build();
        for url in ["https://loki.example", "http://loki.example:3100"] {
            let error = collector::output::loki::probe_through(&authority.config(url), &proxies).await.unwrap_err();
            assert!(error.to_string().contains("the proxy http://127.0.0.1:1/ does not accept connections"), "{error}");
        }
    });
}

/// As `openssl req -x509` makes it: CA:TRUE, signed by itself.
fn self_signed(name: &str) -> (rcgen::Certificate, Arc<ServerConfig>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let server = builder.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
    (certificate, Arc::new(server))
}

#[test]
fn a_self_signed_certificate_of_an_authority_is_taken_where_ca_file_is_this_very_one() {
    block_on(async {
        let authority = Authority::new();
        let (certificate, server) = self_signed("127.0.0.1");
        let loki = Receiver::start_tls(server, |_, _| Reply::ok()).await;
        let mut config = authority.config(&loki.url());
        // Another one does not do, nor another name.
        let refused = complaint(&config).await;
        assert!(refused.contains("loki.tls.ca_file"), "{refused}");
        fs::write(authority.path("ca.pem"), certificate.pem()).unwrap();
        config.tls.server_name = "loki.example".into();
        let refused = complaint(&config).await;
        assert!(refused.contains("loki.tls.server_name"), "{refused}");
        config.tls.server_name.clear();
        let running = Running::start(&config);
        running.deliver(batch(1, &[(1, "line")])).await;
        assert_eq!(loki.stored_texts(), ["line"]);
        running.finish().await;
    });
}

#[test]
fn a_client_certificate_that_was_renewed_is_used_without_a_restart() {
    block_on(async {
        let authority = Authority::new();
        authority.write_client_certificate();
        let loki = Receiver::start_tls(authority.server("127.0.0.1", true), |_, _| Reply::ok()).await;
        let mut config = authority.config(&loki.url());
        config.tls.cert_file = authority.path("client.pem");
        config.tls.key_file = authority.path("client.key");
        let running = Running::start(&config);
        running.deliver(batch(1, &[(1, "line")])).await;
        authority.write_client_certificate();
        running.deliver(batch(2, &[(1, "line")])).await;
        assert_eq!(loki.connections(), 2, "the new certificate needs a new connection");
        running.finish().await;
    });
}

/// curl and Go take it; what checks signatures here does not know P-521.
#[test]
fn a_certificate_with_a_p_521_key_is_refused_with_the_cure() {
    let authority = Authority::new();
    let [certificate, key] = ["ca.pem", "server.key"].map(|name| authority.path(name));
    let mut request = Command::new("openssl");
    request.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-521", "-nodes", "-days", "2"]);
    request.args(["-subj", "/CN=loki", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout"]).arg(&key);
    if !request.arg("-out").arg(&certificate).stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        println!("SKIPPED: openssl makes no certificates here");
        return;
    }
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut server = Command::new("openssl");
    server.args(["s_server", "-www", "-quiet", "-accept", &port.to_string(), "-cert"]).arg(certificate);
    let mut server = server.arg("-key").arg(key).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    block_on(async {
        let config = authority.config(&format!("https://127.0.0.1:{port}"));
        let refused = loop {
            let refused = complaint(&config).await;
            if !refused.contains("the connection to Loki is refused") {
                break refused;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        let cure = "P-521 key cannot be used: make it with P-256, P-384, Ed25519 or RSA";
        assert!(refused.contains(cure), "{refused}");
    });
    server.kill().unwrap();
    server.wait().unwrap();
}
