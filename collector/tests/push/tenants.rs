//! Lines of several tenants in the same batches.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use collector::{
    batch::{Batch, FromOutput, ToOutput},
    config::{Backoff, HumanDuration},
    model::{Position, TenantName},
};

use crate::{
    Running, block_on, channel, config, labels,
    log::Log,
    receiver::{Receiver, Reply, Seen},
};

const TENANTS: [Option<&str>; 3] = [None, Some("team-a"), Some("team-b")];

/// A line of a container of each tenant; all but the first have equal labels.
fn batch(generation: u64) -> Batch {
    let mut batch = Batch::new(generation);
    for (container, tenant) in (0..).zip(TENANTS) {
        let tenant: TenantName = tenant.map(Into::into);
        let slot = batch.open_stream_of(&tenant, &labels(container.min(1)).into(), channel(container));
        let text = format!("{} {generation}", tenant.as_deref().unwrap_or("home"));
        batch.append(
            slot,
            Position { turn: 1, offset: generation },
            generation as i64 * 1_000_000,
            text.as_bytes(),
            &[],
        );
    }
    batch
}

fn tenant(seen: &Seen) -> &str {
    seen.header("x-scope-orgid")
}

/// Refuses all of one tenant until `open` is set.
async fn refusing(status: u16, text: &'static str) -> (Receiver, Arc<AtomicBool>) {
    let open = Arc::new(AtomicBool::new(false));
    let is_open = Arc::clone(&open);
    let loki = Receiver::start(move |_, seen| match tenant(seen) == "team-a" && !is_open.load(SeqCst) {
        true => Reply::text(status, text),
        false => Reply::ok(),
    });
    (loki.await, open)
}

#[test]
fn each_request_has_one_tenant_and_its_lines_only() {
    block_on(async {
        let (loki, open) = refusing(200, "").await;
        open.store(true, SeqCst);
        let mut config = config(&loki.url());
        config.tenant = "home".into();
        let running = Running::start(&config);
        for generation in 1..=5 {
            running.deliver(batch(generation)).await;
        }
        running.finish().await;
        let mut of_tenants = [0; 3];
        for seen in &loki.seen() {
            for (_, line) in seen.lines() {
                assert!(line.starts_with(tenant(seen)), "{line} for {}", tenant(seen));
                of_tenants[["home", "team-a", "team-b"].iter().position(|name| *name == tenant(seen)).unwrap()] += 1;
            }
        }
        assert_eq!(of_tenants, [5, 5, 5]);
    });
}

#[test]
fn a_tenant_that_is_refused_does_not_delay_the_others_and_its_lines_come_later() {
    let rate = "ingestion rate limit exceeded for user team-a (limit: 4194304 bytes/sec) while attempting to ingest";
    for (status, text) in [(429, rate), (401, "this tenant may not push"), (500, "no ingester of this tenant is there")]
    {
        block_on(async {
            let log = Log::collect();
            let (loki, open) = refusing(status, text).await;
            let mut config = config(&loki.url());
            // What needs a fix waits long by default; this must not.
            config.backoff = Backoff { min: HumanDuration::from_millis(20), max: HumanDuration::from_secs(300) };
            let running = Running::start(&config);
            for generation in 1..=20 {
                running.send(batch(generation));
                let (batch, refused) = running.next_end().await;
                assert_eq!(batch.generation(), generation);
                let refused: Vec<_> = refused.iter().map(|slot| batch.streams()[slot.index()].channel).collect();
                assert_eq!(refused, [channel(1)], "{status}");
            }
            let mut stored = loki.stored_texts();
            stored.sort();
            let mut expected: Vec<_> = (1..=20)
                .flat_map(|generation| [format!("home {generation}"), format!("team-b {generation}")])
                .collect();
            expected.sort();
            assert_eq!(stored, expected);
            open.store(true, SeqCst);
            let FromOutput::Taken(taken) = running.next_message().await else { panic!() };
            assert_eq!(taken, channel(1));
            running.tell(ToOutput::Unparked(taken));
            running.deliver(batch(21)).await;
            assert!(loki.stored_texts().contains(&"team-a 21".into()));
            running.finish().await;
            assert_eq!(log.count("of tenant team-a (tenant)"), 1, "{}", log.text());
        });
    }
}
