//! Lines of logs as programs write them, the same in every run: what compression is measured with.
//!
//! In: a number of bytes. Out: named lists of lines. They are made by rules from small lists of words, but for `recorded`: real logs
//! have more words and fewer rules, so that ratios say how encoders compare and not what a cluster gets.

use std::{fs::File, io::Read, path::Path};

use anyhow::Context;
use flate2::read::GzDecoder;
use rig::random::Random;
use serde::Deserialize;

/// Lines of one kind.
pub struct Corpus {
    /// Says what the lines are.
    pub name: &'static str,
    /// Without newlines. UTF-8 but for `binary`.
    pub lines: Vec<Vec<u8>>,
}

/// Makes the text of one line; gets its number.
type Write = fn(&mut Random, usize) -> String;

const KINDS: [(&str, Write); 10] = [
    ("json", json),
    ("logfmt", logfmt),
    ("access", access),
    ("java", java),
    ("klog", klog),
    ("metrics", metrics),
    ("text", text),
    ("chinese", chinese),
    ("garbage", garbage),
    ("one-byte", one_byte),
];

/// Every generated corpus, each of about `bytes` bytes of text.
pub fn generated(bytes: usize) -> Vec<Corpus> {
    let mut corpora: Vec<_> = KINDS.iter().map(|(name, write)| of(name, *write, bytes)).collect();
    let mut random = Random::new(7);
    let mut filled = 0;
    let mut lines = Vec::new();
    while filled < bytes {
        let line: Vec<u8> = (0..20 + random.below(380)).map(|_| random.bits() as u8).collect();
        filled += line.len();
        lines.push(line);
    }
    corpora.push(Corpus { name: "binary", lines });
    corpora
}

/// The records of the archives in collector/tests/data, which a real containerd and a real dockerd wrote.
///
/// # Errors
/// Those of the archives.
pub fn recorded() -> anyhow::Result<Vec<Corpus>> {
    let archives = [("containerd", "containerd-1.7.24.tar.gz"), ("docker", "docker.tar.gz")];
    archives.into_iter().map(|(name, archive)| Ok(Corpus { name, lines: texts(archive).context(archive)? })).collect()
}

fn texts(archive: &str) -> anyhow::Result<Vec<Vec<u8>>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../collector/tests/data").join(archive);
    let mut lines = Vec::new();
    for entry in tar::Archive::new(GzDecoder::new(File::open(path)?)).entries()? {
        let mut entry = entry?;
        let name = entry.path()?.to_string_lossy().into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        if name.ends_with(".gz") {
            let mut unpacked = Vec::new();
            GzDecoder::new(&*bytes).read_to_end(&mut unpacked)?;
            bytes = unpacked;
        }
        // Other files have no records.
        lines.extend(bytes.split(|byte| *byte == b'\n').filter_map(text_of));
    }
    Ok(lines)
}

/// The text of a record in either format.
fn text_of(record: &[u8]) -> Option<Vec<u8>> {
    #[derive(Deserialize)]
    struct Docker {
        log: String,
    }
    if record.starts_with(b"{\"log\":") {
        return Some(serde_json::from_slice::<Docker>(record).ok()?.log.trim_end().as_bytes().to_vec());
    }
    let mut fields = record.splitn(4, |byte| *byte == b' ');
    let (_, stream, _, text) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    [&b"stdout"[..], b"stderr"].contains(&stream).then(|| String::from_utf8_lossy(text).into_owned().into_bytes())
}

fn of(name: &'static str, write: Write, bytes: usize) -> Corpus {
    let mut random = Random::new(1);
    let (mut lines, mut filled) = (Vec::new(), 0);
    // Lines of one byte are few bytes and many lines.
    while filled < bytes {
        let line = write(&mut random, lines.len()).into_bytes();
        filled += line.len() + 16;
        lines.push(line);
    }
    Corpus { name, lines }
}

fn pick<'a>(random: &mut Random, words: &[&'a str]) -> &'a str {
    words[random.below(words.len())]
}

/// Small numbers are more frequent, as durations and sizes are.
fn skewed(random: &mut Random, digits: usize) -> usize {
    let digits = 1 + random.below(digits);
    random.below(10_usize.pow(digits as u32))
}

fn clock(n: usize, random: &mut Random) -> String {
    let us = n * 7_300 + random.below(7_000);
    format!("2026-11-28T14:{:02}:{:02}.{:06}Z", us / 60_000_000 % 60, us / 1_000_000 % 60, us % 1_000_000)
}

const METHODS: [&str; 6] = ["GET", "GET", "GET", "POST", "PUT", "DELETE"];
const PATHS: [&str; 9] = [
    "/api/v1/orders",
    "/api/v1/orders/items",
    "/api/v2/customers/search",
    "/healthz",
    "/metrics",
    "/login",
    "/static/js/main.8f3a2c.js",
    "/static/css/theme.css",
    "/api/v1/payments/confirm",
];
const STATUS: [&str; 8] = ["200", "200", "200", "201", "204", "304", "404", "500"];
const LEVELS: [&str; 6] = ["info", "info", "info", "debug", "warn", "error"];
const PODS: [&str; 6] = [
    "orders-api-7d9c6b5f4-x2x7q",
    "orders-api-7d9c6b5f4-kk8vz",
    "payments-worker-0",
    "cart-6f7d8c9b5-9qwlp",
    "search-indexer-5c4d3b2a1-zzrt4",
    "web-frontend-85bd6f9c7-h4n2m",
];
const MESSAGES: [&str; 8] = [
    "request handled",
    "cache miss, asking the database",
    "order accepted",
    "payment confirmed by provider",
    "slow query",
    "connection reset by peer",
    "retrying after backoff",
    "session expired",
];

fn json(random: &mut Random, n: usize) -> String {
    let (time, level, message) = (clock(n, random), pick(random, &LEVELS), pick(random, &MESSAGES));
    let id = random.bits();
    match random.below(4) {
        0 | 1 => format!(
            r#"{{"time":"{time}","level":"{level}","logger":"http.server","msg":"{message}","method":"{}","path":"{}/{}","status":{},"duration_ms":{}.{},"bytes":{},"request_id":"{id:016x}"}}"#,
            pick(random, &METHODS),
            pick(random, &PATHS),
            random.below(100_000),
            pick(random, &STATUS),
            skewed(random, 4),
            random.below(1000),
            skewed(random, 6),
        ),
        2 => format!(
            r#"{{"time":"{time}","level":"{level}","logger":"orders.store","msg":"{message}","order":{{"id":{},"customer":"c-{}","total_cents":{},"currency":"EUR","items":{}}},"trace_id":"{id:016x}{:016x}"}}"#,
            800_000 + n,
            random.below(5000),
            skewed(random, 5),
            1 + random.below(9),
            random.bits(),
        ),
        _ => format!(
            r#"{{"time":"{time}","level":"{level}","logger":"db.pool","msg":"{message}","query":"SELECT id, state, total FROM orders WHERE customer_id = $1 AND state <> 'done'","rows":{},"took_us":{},"pool":{{"idle":{},"busy":{},"max":32}}}}"#,
            skewed(random, 3),
            skewed(random, 5),
            random.below(32),
            random.below(32),
        ),
    }
}

fn logfmt(random: &mut Random, n: usize) -> String {
    let (time, level, message) = (clock(n, random), pick(random, &LEVELS), pick(random, &MESSAGES));
    match random.below(3) {
        0 => format!(
            "ts={time} level={level} caller=handler.go:{} msg=\"{message}\" method={} path={} status={} duration={}.{}ms user={}",
            100 + random.below(8) * 37,
            pick(random, &METHODS),
            pick(random, &PATHS),
            pick(random, &STATUS),
            skewed(random, 3),
            random.below(1000),
            random.below(20_000),
        ),
        1 => format!(
            "ts={time} level={level} caller=memcached_client.go:{} component=index-cache msg=\"{message}\" addr=10.42.{}.{}:{} hits={} misses={} err={}",
            100 + random.below(8) * 37,
            random.below(4),
            random.below(256),
            [9090, 11211, 3100][random.below(3)],
            skewed(random, 4),
            skewed(random, 3),
            pick(random, &["null", "null", "\"context deadline exceeded\"", "\"i/o timeout\""]),
        ),
        _ => format!(
            "ts={time} level={level} caller=compact.go:{} org_id=tenant-{} msg=\"{message}\" block={:016X} series={} samples={} elapsed={}.{}s",
            400 + random.below(8) * 11,
            random.below(12),
            random.bits(),
            skewed(random, 6),
            skewed(random, 7),
            skewed(random, 2),
            random.below(1_000_000),
        ),
    }
}

fn access(random: &mut Random, n: usize) -> String {
    const AGENTS: [&str; 5] = [
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:133.0) Gecko/20100101 Firefox/133.0",
        "kube-probe/1.31",
        "Prometheus/3.1.0",
    ];
    let second = n / 40;
    format!(
        "{}.{}.{}.{} - - [28/Nov/2026:14:{:02}:{:02} +0000] \"{} {}/{} HTTP/1.1\" {} {} \"{}\" \"{}\"",
        [10, 84, 192, 203][random.below(4)],
        random.below(8) * 31,
        random.below(256),
        random.below(256),
        second / 60 % 60,
        second % 60,
        pick(random, &METHODS),
        pick(random, &PATHS),
        random.below(100_000),
        pick(random, &STATUS),
        skewed(random, 6),
        pick(random, &["-", "https://shop.example/", "https://shop.example/cart"]),
        pick(random, &AGENTS),
    )
}

fn java(random: &mut Random, n: usize) -> String {
    const FRAMES: [&str; 14] = [
        "org.springframework.web.servlet.FrameworkServlet.service(FrameworkServlet.java:885)",
        "org.springframework.web.servlet.FrameworkServlet.doGet(FrameworkServlet.java:898)",
        "org.springframework.web.servlet.DispatcherServlet.doDispatch(DispatcherServlet.java:1089)",
        "org.springframework.web.servlet.DispatcherServlet.doService(DispatcherServlet.java:979)",
        "org.springframework.web.filter.OncePerRequestFilter.doFilter(OncePerRequestFilter.java:116)",
        "org.apache.catalina.core.ApplicationFilterChain.internalDoFilter(ApplicationFilterChain.java:164)",
        "org.apache.catalina.core.ApplicationFilterChain.doFilter(ApplicationFilterChain.java:140)",
        "org.apache.catalina.core.StandardWrapperValve.invoke(StandardWrapperValve.java:167)",
        "org.apache.tomcat.util.net.NioEndpoint$SocketProcessor.doRun(NioEndpoint.java:1741)",
        "com.zaxxer.hikari.pool.HikariPool.getConnection(HikariPool.java:181)",
        "org.hibernate.engine.jdbc.connections.internal.DatasourceConnectionProviderImpl.getConnection(DatasourceConnectionProviderImpl.java:126)",
        "java.base/java.util.concurrent.ThreadPoolExecutor.runWorker(ThreadPoolExecutor.java:1144)",
        "java.base/jdk.internal.reflect.DirectMethodHandleAccessor.invoke(DirectMethodHandleAccessor.java:103)",
        "java.base/java.lang.Thread.run(Thread.java:1583)",
    ];
    match n % 24 {
        0 => format!(
            "{} ERROR [orders,{:016x},{:016x}] 1 --- [nio-8080-exec-{}] o.a.c.c.C.[.[.[/].[dispatcherServlet] : Servlet.service() threw exception",
            clock(n, random),
            random.bits(),
            random.bits(),
            1 + random.below(10),
        ),
        1 => format!(
            "java.sql.SQLTransientConnectionException: HikariPool-1 - Connection is not available, request timed out after {}ms.",
            30_000 + random.below(30)
        ),
        23 => format!("\t... {} common frames omitted", 20 + random.below(80)),
        // A trace is mostly the one before, with some other frames.
        line if random.below(4) > 0 => format!("\tat {}", FRAMES[line % FRAMES.len()]),
        _ => format!(
            "\tat com.example.shop.orders.service.{}.lambda$handle${}({}.java:{})",
            "OrderService",
            random.below(9),
            "OrderService",
            random.below(400)
        ),
    }
}

fn klog(random: &mut Random, n: usize) -> String {
    let us = n * 7_300 + random.below(7_000);
    let head = format!(
        "{}1128 14:{:02}:{:02}.{:06}       1 ",
        pick(random, &["I", "I", "I", "W", "E"]),
        us / 60_000_000 % 60,
        us / 1_000_000 % 60,
        us % 1_000_000
    );
    let pod = pick(random, &PODS);
    let rest = match random.below(4) {
        0 => format!(
            "reconciler_common.go:{}] \"operationExecutor.VerifyControllerAttachedVolume started for volume\" volume=\"kube-api-access-{:05x}\" pod=\"shop/{pod}\"",
            200 + random.below(40),
            random.below(1 << 20)
        ),
        1 => format!(
            "kubelet.go:2470] \"SyncLoop (PLEG): event for pod\" pod=\"shop/{pod}\" event={{\"ID\":\"{:08x}-7d2e-4f0a-9b1c-{:012x}\",\"Type\":\"ContainerStarted\"}}",
            random.bits() as u32,
            random.bits() >> 16
        ),
        2 => format!(
            "trace.go:236] Trace[{}]: \"Get\" accept:application/json,audit-id:{:016x},client:10.0.0.{},resource:pods (total time: {}ms)",
            random.below(2_000_000_000),
            random.bits(),
            random.below(256),
            500 + skewed(random, 4)
        ),
        _ => format!(
            "prober.go:107] \"Probe failed\" probeType=\"Readiness\" pod=\"shop/{pod}\" containerName=\"api\" probeResult=\"failure\" output=\"HTTP probe failed with statuscode: {}\"",
            pick(random, &STATUS)
        ),
    };
    head + &rest
}

/// Short keys and short numbers: little to find for who looks for long repetitions.
fn metrics(random: &mut Random, n: usize) -> String {
    format!(
        r#"{{"t":{},"cpu":{},"mem":{},"rx":{},"tx":{},"q":[{},{},{}],"ok":{},"id":{}}}"#,
        1_795_345_754_000_usize + n * 100,
        random.below(100),
        skewed(random, 5),
        skewed(random, 6),
        skewed(random, 6),
        random.below(10),
        random.below(100),
        random.below(1000),
        pick(random, &["true", "false"]),
        n
    )
}

/// Words without a form.
fn text(random: &mut Random, _: usize) -> String {
    const WORDS: [&str; 40] = [
        "the",
        "of",
        "connection",
        "to",
        "request",
        "was",
        "refused",
        "because",
        "server",
        "and",
        "a",
        "timeout",
        "while",
        "reading",
        "from",
        "socket",
        "queue",
        "worker",
        "is",
        "not",
        "ready",
        "yet",
        "retry",
        "in",
        "seconds",
        "cannot",
        "open",
        "file",
        "permission",
        "denied",
        "for",
        "user",
        "started",
        "finished",
        "job",
        "with",
        "result",
        "state",
        "changed",
        "replica",
    ];
    let words = 6 + random.below(20);
    let line: Vec<String> = (0..words)
        .map(|_| if random.one_in(8) { skewed(random, 5).to_string() } else { pick(random, &WORDS).to_owned() })
        .collect();
    line.join(" ")
}

fn chinese(random: &mut Random, n: usize) -> String {
    const PHRASES: [&str; 10] = [
        "用户登录成功",
        "订单已创建",
        "支付超时,正在重试",
        "连接数据库失败",
        "缓存未命中",
        "请求处理完成",
        "库存不足",
        "服务启动",
        "配置已重新加载",
        "会话已过期",
    ];
    let phrases: Vec<&str> = (0..1 + random.below(4)).map(|_| pick(random, &PHRASES)).collect();
    format!(
        "{} [信息] 订单服务:{},用户编号={},耗时{}毫秒",
        clock(n, random),
        phrases.join(","),
        random.below(100_000),
        skewed(random, 4)
    )
}

/// Random bytes as the collector sends them: what is not UTF-8 is replaced.
fn garbage(random: &mut Random, _: usize) -> String {
    let bytes: Vec<u8> = (0..20 + random.below(200)).map(|_| random.bits() as u8).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn one_byte(random: &mut Random, _: usize) -> String {
    pick(random, &["a", "b", ".", "x"]).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corpora_are_the_same_every_time_and_as_large_as_asked_for() {
        let (one, other) = (generated(64 << 10), generated(64 << 10));
        for (one, other) in one.iter().zip(&other) {
            assert_eq!(one.lines, other.lines, "{}", one.name);
            let bytes: usize = one.lines.iter().map(|line| line.len() + 16).sum();
            assert!(bytes >= 64 << 10, "{}: {bytes}", one.name);
        }
        assert!(one.iter().zip(&other).all(|(one, other)| one.name == other.name));
    }

    #[test]
    fn recorded_logs_have_lines_of_both_runtimes() {
        for corpus in recorded().unwrap() {
            assert!(corpus.lines.len() > 1000, "{}: {}", corpus.name, corpus.lines.len());
        }
    }
}
