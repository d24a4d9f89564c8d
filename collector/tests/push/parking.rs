//! Streams that Loki refuses while it takes others.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use collector::{
    batch::{FromOutput, ToOutput},
    config::{HumanDuration, RefusedStreams},
};

use crate::{
    Running, batch, block_on, channel, config, labels,
    log::Log,
    receiver::{Receiver, Reply, Seen},
};

const LIMIT: &str = "Maximum active stream limit exceeded when trying to create stream {container=\"1\"}, reduce the number of \
                     active streams, user: 'fake'";

/// Refuses requests with a line of the first container until `open` is set.
async fn refusing(status: u16, text: &'static str) -> (Receiver, Arc<AtomicBool>) {
    let open = Arc::new(AtomicBool::new(false));
    let is_open = Arc::clone(&open);
    let has_first = |seen: &Seen| seen.lines().iter().any(|line| line.0 == labels(1));
    let loki = Receiver::start(move |_, seen| match has_first(seen) && !is_open.load(SeqCst) {
        true => Reply::text(status, text),
        false => Reply::ok(),
    });
    (loki.await, open)
}

#[test]
fn a_refused_stream_is_parked_tried_alone_and_sent_again_in_order_while_others_go_on() {
    let gateways = [(403, "a firewall dislikes it"), (413, "a line of some bytes is too large, it says")];
    for (status, text) in [(429, LIMIT), (503, "the stream's ingester is away")].into_iter().chain(gateways) {
        block_on(async {
            let log = Log::collect();
            let (loki, open) = refusing(status, text).await;
            let running = Running::start(&config(&loki.url()));
            let mut refused_first = Vec::new();
            for generation in 1..=20 {
                running.send(batch(
                    generation,
                    &[(1, &format!("refused {generation}")), (2, &format!("taken {generation}"))],
                ));
                let (batch, refused) = running.next_end().await;
                assert_eq!(batch.generation(), generation);
                refused_first = refused.iter().map(|slot| batch.streams()[slot.index()].channel).collect();
            }
            assert_eq!(refused_first, [channel(1)]);
            let taken: Vec<_> = (1..=20).map(|generation| format!("taken {generation}")).collect();
            assert_eq!(loki.stored_texts(), taken, "no refusal delays another stream");
            assert_eq!(running.metrics.parked_channels.get(), 1);
            assert_eq!(running.metrics.acknowledged_lines.get(), 20);
            open.store(true, SeqCst);
            let FromOutput::Taken(channel_taken) = running.next_message().await else { panic!() };
            assert_eq!(channel_taken, channel(1));
            // Until the reader has begun anew nothing of the channel goes.
            running.send(batch(21, &[(1, "too early")]));
            let (_, refused) = running.next_end().await;
            assert_eq!(refused.len(), 1);
            running.tell(ToOutput::Unparked(channel(1)));
            running.deliver(batch(22, &[(1, "refused 1"), (1, "refused 2")])).await;
            let stored = loki.stored_texts();
            assert_eq!(stored[stored.len() - 2..], ["refused 1", "refused 2"]);
            assert_eq!(running.metrics.parked_channels.get(), 0);
            running.finish().await;
            assert_eq!(log.count("Loki refuses the stream {container=\"1\"}"), 1, "{}", log.text());
            assert_eq!(log.count("Loki accepts the stream {container=\"1\"} again"), 1, "{}", log.text());
        });
    }
}

#[test]
fn refused_lines_are_dropped_and_counted_after_the_time_that_was_set() {
    block_on(async {
        let (loki, open) = refusing(429, LIMIT).await;
        let mut config = config(&loki.url());
        config.refused_streams = RefusedStreams::DropAfter(HumanDuration::from_millis(50));
        let running = Running::start(&config);
        running.send(batch(1, &[(1, "a"), (1, "b")]));
        assert_eq!(running.next_end().await.1.len(), 1);
        assert!(matches!(running.next_message().await, FromOutput::Taken(_)));
        running.tell(ToOutput::Unparked(channel(1)));
        running.deliver(batch(2, &[(1, "a"), (1, "b"), (2, "c")])).await;
        assert_eq!(running.dropped("stream_limit"), 2);
        open.store(true, SeqCst);
        running.deliver(batch(3, &[(1, "d")])).await;
        assert_eq!(loki.stored_texts(), ["c", "d"]);
        running.finish().await;
    });
}

#[test]
fn an_outage_of_everything_parks_nothing() {
    block_on(async {
        let loki = Receiver::start(|n, _| if n < 60 { Reply::text(503, "not ready") } else { Reply::ok() }).await;
        let running = Running::start(&config(&loki.url()));
        running.send(batch(1, &[(1, "a"), (2, "b")]));
        running.send(batch(2, &[(1, "c"), (3, "d")]));
        running.next_done().await;
        running.next_done().await;
        assert_eq!(loki.stored_texts().len(), 4);
        running.finish().await;
    });
}

#[test]
fn streams_that_loki_took_share_a_request_and_new_ones_go_alone() {
    block_on(async {
        let loki = Receiver::start(|_, _| Reply::ok()).await;
        let running = Running::start(&config(&loki.url()));
        running.deliver(batch(1, &[(1, "a"), (2, "b"), (3, "c")])).await;
        assert_eq!(loki.seen().len(), 3);
        running.deliver(batch(2, &[(1, "a"), (2, "b"), (3, "c"), (4, "new")])).await;
        let requests: Vec<_> = loki.seen().iter().skip(3).map(|seen| seen.request().streams.len()).collect();
        assert_eq!(requests.iter().sum::<usize>(), 4);
        assert!(requests.contains(&3) && requests.contains(&1), "{requests:?}");
        running.finish().await;
    });
}

#[test]
fn a_line_that_breaks_each_connection_is_parked_alone_where_a_probe_gets_through() {
    block_on(async {
        let loki = Receiver::start(|_, seen: &Seen| match seen.texts().iter().any(|text| text == "poison") {
            true => Reply::Close,
            false => Reply::ok(),
        });
        let loki = loki.await;
        let running = Running::start(&config(&loki.url()));
        running.send(batch(1, &[(1, "poison"), (2, "taken 1"), (3, "taken 2")]));
        let (batch_1, refused) = running.next_end().await;
        let refused: Vec<_> = refused.iter().map(|slot| batch_1.streams()[slot.index()].channel).collect();
        assert_eq!(refused, [channel(1)]);
        let mut stored = loki.stored_texts();
        stored.sort();
        stored.dedup();
        assert_eq!(stored, ["taken 1", "taken 2"]);
        running.deliver(batch(2, &[(2, "taken 3")])).await;
        running.finish().await;
    });
}

#[test]
fn a_connection_that_breaks_with_each_request_of_a_stream_is_not_called_a_refusal() {
    block_on(async {
        let log = Log::collect();
        let has_first = |seen: &Seen| seen.lines().iter().any(|line| line.0 == labels(1));
        let loki = Receiver::start(move |_, seen| if has_first(seen) { Reply::Close } else { Reply::ok() }).await;
        let running = Running::start(&config(&loki.url()));
        for generation in 1..=20 {
            running.send(batch(generation, &[(1, "breaks"), (2, "passes")]));
            let _ended = running.next_end().await;
        }
        assert_eq!(running.metrics.parked_channels.get(), 1);
        let told = "other requests get through, but not those with the stream {container=\"1\"} (connection): the connection to \
                    Loki broke";
        assert_eq!(log.count(told), 1, "{}", log.text());
        assert_eq!(log.count("Loki refuses"), 0, "{}", log.text());
        running.finish().await;
    });
}
