//! What each answer does to the lines.

use std::time::Duration;

use crate::{
    Running, batch, block_on, config,
    log::Log,
    receiver::{Receiver, Reply, Seen},
};
use collector::{
    config::{self as settings, Compression},
    output::loki::Proxies,
};

#[test]
fn an_acknowledged_batch_comes_back_with_its_progress_and_is_counted() {
    block_on(async {
        let loki = Receiver::start(|_, _| Reply::ok()).await;
        let running = Running::start(&config(&loki.url()));
        let done = running.deliver(batch(1, &[(1, "one"), (2, "two"), (1, "three")])).await;
        assert_eq!(done.streams().len(), 2);
        let mut stored = loki.stored_texts();
        stored.sort();
        assert_eq!(stored, ["one", "three", "two"]);
        let seen = &loki.seen()[0];
        assert_eq!(seen.target, "/loki/api/v1/push");
        assert_eq!(seen.header("content-type"), "application/x-protobuf");
        assert_eq!(seen.header("user-agent"), concat!("pilcrow/", env!("CARGO_PKG_VERSION")));
        assert_eq!(seen.header("authorization"), "");
        let metrics = &running.metrics;
        assert_eq!((metrics.sent_lines.get(), metrics.acknowledged_lines.get()), (3, 3));
        assert_eq!(metrics.acknowledged_bytes.get(), 11);
        assert_eq!(metrics.sent_bytes.get(), loki.seen().iter().map(|seen| seen.body.len() as u64).sum::<u64>());
        assert_eq!(running.requests("204"), 2, "new streams go alone");
        assert_eq!((metrics.queue_batches.get(), metrics.queue_bytes.get()), (0, 0));
        running.finish().await;
    });
}

#[test]
fn without_compression_loki_gets_the_same_requests_as_literals() {
    block_on(async {
        let line = "the same again and again, ".repeat(1000);
        let bodies = async |compression| {
            let loki = Receiver::start(|_, _| Reply::ok()).await;
            let running = Running::start(&settings::Loki { compression, ..config(&loki.url()) });
            running.deliver(batch(1, &[(1, line.as_str()), (1, "short")])).await;
            running.finish().await;
            loki.seen().iter().map(|seen| (seen.request(), seen.body.clone())).collect::<Vec<_>>()
        };
        let (small, large) = (bodies(Compression::Snappy).await, bodies(Compression::None).await);
        assert_eq!(small[0].0, large[0].0);
        assert!(small[0].1.len() * 10 < line.len());
        assert!(large[0].1.windows(line.len()).any(|bytes| bytes == line.as_bytes()));
    });
}

#[test]
fn a_batch_without_lines_comes_back_without_a_request() {
    block_on(async {
        let loki = Receiver::start(|_, _| Reply::ok()).await;
        let running = Running::start(&config(&loki.url()));
        running.deliver(batch(1, &[])).await;
        running.finish().await;
        assert_eq!(loki.seen().len(), 0);
    });
}

#[test]
fn whatever_may_pass_is_retried_with_the_same_bytes_until_loki_takes_it() {
    block_on(async {
        let log = Log::collect();
        let replies = [
            Reply::text(500, "ingester is away"),
            Reply::text(429, "Ingestion rate limit exceeded"),
            Reply::Close,
            Reply::Header(503, "retry-after", "0"),
            Reply::text(502, "<html>Bad Gateway"),
            Reply::text(429, "Ingestion rate limit exceeded"),
        ];
        let count = replies.len();
        let loki = Receiver::start(move |n, _| replies.get(n).cloned().unwrap_or_else(Reply::ok)).await;
        let running = Running::start(&config(&loki.url()));
        running.deliver(batch(1, &[(1, "one"), (1, "two")])).await;
        let seen = loki.seen();
        assert_eq!(seen.len(), count + 1);
        assert!(seen.iter().all(|request| request.body == seen[0].body));
        assert_eq!(loki.stored_texts(), ["one", "two"]);
        assert_eq!((running.metrics.sent_lines.get(), running.metrics.acknowledged_lines.get()), (2, 2));
        assert_eq!((running.requests("429"), running.requests("error")), (2, 1));
        running.finish().await;
        let text = log.text();
        assert_eq!(log.count("answers 429"), 1, "each reason once: {text}");
        assert_eq!(log.count("ingester is away"), 1);
        assert_eq!(log.count("Loki accepts lines again"), 1, "{text}");
    });
}

#[test]
fn a_request_that_is_more_than_loki_takes_at_once_is_sent_in_parts_after_a_while() {
    const BURST: usize = 100_000;
    block_on(async {
        let too_much =
            "ingestion rate limit exceeded for user fake (limit: 4194304 bytes/sec) while attempting to ingest";
        let answer = move |_, request: &Seen| {
            let bytes: usize = request.texts().iter().map(String::len).sum();
            if bytes > BURST { Reply::text(429, too_much) } else { Reply::ok() }
        };
        let loki = Receiver::start(answer).await;
        let running = Running::start(&config(&loki.url()));
        let texts: Vec<String> = (0..300).map(|n| format!("{n:01000}")).collect();
        running.deliver(batch(1, &texts.iter().map(|text| (1, text.as_str())).collect::<Vec<_>>())).await;
        assert_eq!(loki.stored_texts(), texts, "each once and in order");
        assert_eq!(running.metrics.acknowledged_lines.get(), 300);
        running.finish().await;
    });
}

#[test]
fn a_small_request_is_not_split_however_often_loki_says_too_much() {
    block_on(async {
        let loki = Receiver::start(|n, _| if n < 20 { Reply::text(429, "too much") } else { Reply::ok() }).await;
        let running = Running::start(&config(&loki.url()));
        running.deliver(batch(1, &[(1, "one"), (1, "two")])).await;
        assert_eq!(loki.seen().len(), 21);
        assert_eq!(loki.stored_texts(), ["one", "two"]);
        running.finish().await;
    });
}

#[test]
fn a_misconfiguration_keeps_the_lines_and_reports_what_to_fix_once() {
    for (status, text, key) in [
        (401, "no org id", "loki.tenant"),
        (403, "forbidden", "may write"),
        (404, "404 page not found", "loki.url"),
        (405, "", "loki.url"),
        (400, "Client sent an HTTP request to an HTTPS server.\n", "https://"),
        (308, "", "loki.url"),
    ] {
        block_on(async {
            let log = Log::collect();
            let answer = Reply::text(status, text);
            let loki = Receiver::start(move |n, _| if n < 5 { answer.clone() } else { Reply::ok() }).await;
            let running = Running::start(&config(&loki.url()));
            running.deliver(batch(1, &[(1, "kept")])).await;
            assert_eq!(loki.stored_texts(), ["kept"]);
            running.finish().await;
            assert_eq!(log.count("ERROR"), 1, "{}", log.text());
            assert_eq!(log.count(key), 1, "{}", log.text());
        });
    }
}

#[test]
fn whoever_waits_goes_on_at_once_when_another_gets_through() {
    block_on(async {
        // The first answer means a wait of an hour.
        let loki = Receiver::start(|n, _| match n {
            0 => Reply::Header(404, "retry-after", "3600"),
            _ => Reply::ok(),
        })
        .await;
        let running = Running::start(&config(&loki.url()));
        running.send(batch(1, &[(1, "waits")]));
        loki.until(|loki| loki.seen().len() == 1).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        running.send(batch(2, &[(2, "gets through")]));
        assert_eq!(running.next_done().await.generation(), 2);
        assert_eq!(running.next_done().await.generation(), 1);
        running.finish().await;
    });
}

#[test]
fn an_html_400_from_something_before_loki_drops_nothing() {
    block_on(async {
        let loki = Receiver::start(|n, _| match n {
            0 => Reply::Header(400, "content-type", "text/html; charset=utf-8"),
            _ => Reply::ok(),
        })
        .await;
        let running = Running::start(&config(&loki.url()));
        running.deliver(batch(1, &[(1, "kept")])).await;
        assert_eq!(loki.stored_texts(), ["kept"]);
        running.finish().await;
    });
}

#[test]
fn refused_lines_are_counted_by_reason_one_is_said_and_the_rest_goes_on() {
    block_on(async {
        let log = Log::collect();
        let text = "2 errors like: entry for stream '{container=\"1\"}' has timestamp too old: 2020-01-01T00:00:00Z, \
                    oldest acceptable timestamp is: 2026-01-01T00:00:00Z; Max entry size '9' bytes exceeded for stream \
                    '{container=\"1\"}' while adding an entry with length '10' bytes";
        let loki = Receiver::start(move |n, _| if n < 2 { Reply::text(400, text) } else { Reply::ok() }).await;
        let running = Running::start(&config(&loki.url()));
        for generation in 1..=3 {
            running.deliver(batch(generation, &[(1, "aaaa"), (1, "bbbb"), (1, "cccc"), (1, "dddd")])).await;
        }
        assert_eq!(loki.seen().len(), 3, "refused lines are not sent again");
        assert_eq!(running.dropped("greater_than_max_sample_age"), 4);
        assert_eq!(running.dropped("line_too_long"), 2);
        assert_eq!(running.metrics.acknowledged_lines.get(), 1 + 1 + 4);
        assert_eq!(running.metrics.acknowledged_bytes.get(), (1 + 1 + 4) * 4);
        running.finish().await;
        assert_eq!(log.count("timestamp too old"), 1, "said at most once in a while: {}", log.text());
    });
}

#[test]
fn blocked_ingestion_is_not_taken_for_success() {
    block_on(async {
        let text = "ingestion blocked for user fake until '2026-12-31' with status code '260'";
        let loki = Receiver::start(move |_, _| Reply::text(260, text)).await;
        let running = Running::start(&config(&loki.url()));
        running.deliver(batch(1, &[(1, "a"), (1, "b")])).await;
        assert_eq!(running.dropped("blocked_ingestion"), 2);
        assert_eq!(running.metrics.acknowledged_lines.get(), 0);
        running.finish().await;
    });
}

#[test]
fn a_400_that_explains_nothing_drops_the_one_line_that_stays_refused_and_only_when_loki_takes_others() {
    for (text, reason) in [("snappy: corrupt input", "undecodable"), ("the moon is full", "refused")] {
        block_on(async {
            let log = Log::collect();
            let bad = |seen: &Seen| seen.texts().iter().any(|line| line == "bad");
            let answer = move |_, seen: &Seen| if bad(seen) { Reply::text(400, text) } else { Reply::ok() };
            let loki = Receiver::start(answer).await;
            let running = Running::start(&config(&loki.url()));
            running.deliver(batch(1, &[(1, "a"), (1, "b"), (1, "bad"), (1, "c"), (1, "d")])).await;
            assert_eq!(loki.stored_texts(), ["a", "b", "c", "d"]);
            assert_eq!(running.dropped(reason), 1);
            assert_eq!(running.metrics.acknowledged_lines.get(), 4);
            running.finish().await;
            assert_eq!(log.count("ERROR"), 1, "{}", log.text());
        });
    }
}

#[test]
fn a_gateways_passing_400_drops_nothing() {
    block_on(async {
        let loki = Receiver::start(|n, seen| match n < 20 || seen.texts().is_empty() && n < 40 {
            true => Reply::text(400, "unexpected EOF"),
            false => Reply::ok(),
        })
        .await;
        let running = Running::start(&config(&loki.url()));
        running.deliver(batch(1, &[(1, "a"), (1, "b"), (1, "c")])).await;
        assert_eq!(loki.stored_texts(), ["a", "b", "c"]);
        assert_eq!((running.dropped("undecodable"), running.metrics.acknowledged_lines.get()), (0, 3));
        running.finish().await;
    });
}

#[test]
fn a_page_with_status_200_is_no_acknowledgement() {
    block_on(async {
        let log = Log::collect();
        let loki = Receiver::start(|n, _| match n < 2 {
            true => Reply::text(200, "<!doctype html><title>Log in</title>"),
            false => Reply::text(200, "{}"),
        })
        .await;
        let running = Running::start(&config(&loki.url()));
        running.deliver(batch(1, &[(1, "kept")])).await;
        assert_eq!(loki.seen().len(), 3);
        assert_eq!(running.metrics.acknowledged_lines.get(), 1);
        running.finish().await;
        assert_eq!(log.count("this is not Loki"), 1, "{}", log.text());
    });
}

#[test]
fn a_request_that_takes_too_long_for_its_size_goes_in_parts() {
    block_on(async {
        // As over a slow uplink: no more than 100 kB get through in time.
        let loki = Receiver::start(|_, seen| match seen.texts().iter().map(String::len).sum::<usize>() > 100_000 {
            true => Reply::Never,
            false => Reply::ok(),
        })
        .await;
        let mut config = config(&loki.url());
        config.timeout = collector::config::HumanDuration::from_millis(300);
        let running = Running::start(&config);
        let texts: Vec<String> = (0..300).map(|n| format!("{n:01000}")).collect();
        running.deliver(batch(1, &texts.iter().map(|text| (1, text.as_str())).collect::<Vec<_>>())).await;
        assert_eq!(loki.stored_texts(), texts, "each once and in order");
        running.finish().await;
    });
}

#[test]
fn a_batch_that_is_too_large_goes_in_parts_in_order_and_a_line_too_large_is_dropped() {
    for (status, text) in [
        (413, "request body too large"),
        (500, "rpc error: code = ResourceExhausted desc = grpc: received message larger than max (9 vs. 8)"),
    ] {
        block_on(async {
            let log = Log::collect();
            let limit =
                |request: &crate::receiver::Seen| request.texts().iter().map(String::len).sum::<usize>() > 16_000;
            let loki =
                Receiver::start(move |_, seen| if limit(seen) { Reply::text(status, text) } else { Reply::ok() }).await;
            let running = Running::start(&config(&loki.url()));
            let (huge, rest) = ("x".repeat(24_000), "y".repeat(4000));
            let texts: Vec<_> =
                (0..50).map(|n| if n == 20 { huge.clone() } else { format!("line {n:05} {rest}") }).collect();
            let lines: Vec<_> = texts.iter().map(|text| (1, text.as_str())).collect();
            let done = running.deliver(batch(1, &lines)).await;
            assert_eq!(done.entries(), 50);
            let expected: Vec<_> = texts.iter().filter(|text| **text != huge).cloned().collect();
            assert_eq!(loki.stored_texts(), expected);
            assert_eq!(running.dropped("too_large"), 1);
            assert_eq!(running.metrics.acknowledged_lines.get(), 49);
            // The next one is split before it is refused.
            let before = running.requests(&status.to_string());
            running.deliver(batch(2, &[(1, &texts[0][..]); 12])).await;
            assert_eq!(running.requests(&status.to_string()), before);
            running.finish().await;
            assert_eq!(log.count("sent in parts"), 1, "{}", log.text());
        });
    }
}

#[test]
fn the_probe_tells_a_good_address_from_a_bad_one() {
    block_on(async {
        let good = [
            Reply::ok(),
            Reply::text(422, "error at least one valid stream is required for ingestion\n"),
            Reply::text(400, "error at least one valid stream is required for ingestion\n"),
        ];
        for reply in good {
            let loki = Receiver::start(move |_, _| reply.clone()).await;
            let reached = collector::output::loki::probe_through(&config(&loki.url()), &no_proxies()).await.unwrap();
            assert_eq!(reached.url, format!("{}/loki/api/v1/push", loki.url()));
            assert_eq!(loki.seen()[0].lines(), []);
        }
        for (reply, words) in [
            (Reply::text(401, "no org id"), "loki.tenant"),
            (Reply::text(404, "404 page not found"), "loki.url"),
            (Reply::text(503, "Ingester not ready"), "Ingester not ready"),
            (Reply::text(400, "what?"), "what?"),
            (Reply::Close, "connection to Loki broke"),
        ] {
            let loki = Receiver::start(move |_, _| reply.clone()).await;
            let error = collector::output::loki::probe_through(&config(&loki.url()), &no_proxies())
                .await
                .unwrap_err()
                .to_string();
            assert!(error.contains(words) && error.contains(&loki.url()), "{error}");
        }
        let error = collector::output::loki::probe_through(&config("http://127.0.0.1:1"), &no_proxies())
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("is Loki running"), "{error}");
    });
}

fn no_proxies() -> Proxies {
    Proxies::builder().build()
}

#[test]
fn lines_that_no_server_finds_too_large_wait_where_everything_is_answered_so() {
    block_on(async {
        let answer = |index| if index < 8 { Reply::text(413, "") } else { Reply::ok() };
        let loki = Receiver::start(move |index, _| answer(index)).await;
        let running = Running::start(&config(&loki.url()));
        let texts: Vec<_> = (0..10).map(|n| format!("line {n}")).collect();
        let lines: Vec<_> = texts.iter().map(|text| (1, text.as_str())).collect();
        running.deliver(batch(1, &lines)).await;
        assert_eq!((loki.stored_texts(), running.dropped("too_large")), (texts, 0));
        running.finish().await;
    });
}
