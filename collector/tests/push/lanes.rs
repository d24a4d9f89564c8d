//! Several shards' batches at one sender.

use std::sync::Arc;

use collector::{
    output::loki::{Lane, Proxies, Queue, Sender},
    status::Metrics,
};
use tokio::sync::Notify;

use crate::{
    batch, block_on, config,
    receiver::{Receiver, Reply},
};

const BATCHES: u64 = 50;

#[test]
fn each_lanes_batches_arrive_in_order_and_come_back_to_it_and_the_sender_ends_with_the_last_lane() {
    block_on(async {
        let loki = Receiver::start(|seen, _| if seen % 7 == 3 { Reply::text(500, "again") } else { Reply::ok() }).await;
        let proxies = Proxies::builder().build();
        let sender = Sender::with_proxies(&config(&loki.url()), &proxies, Arc::new(Metrics::new()), Arc::default());
        let (sealed_notify, done_notify) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (mut lanes, mut ends) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let (sealed_sender, sealed) = crossbeam_channel::unbounded();
            let (done, done_receiver) = crossbeam_channel::unbounded();
            lanes.push(Lane { sealed, done, done_notify: Arc::clone(&done_notify) });
            ends.push((sealed_sender, done_receiver));
        }
        let queue = Queue { lanes, sealed_notify: Arc::clone(&sealed_notify) };
        let task = tokio::task::spawn_local(sender.unwrap().run(queue));
        for generation in 0..BATCHES {
            for (lane, (sealed, _)) in (0..).zip(&ends) {
                sealed.send(batch(generation, &[(lane, &format!("{lane}: {generation}"))])).unwrap();
            }
            sealed_notify.notify_one();
            tokio::task::yield_now().await;
        }
        let done: Vec<_> = ends.into_iter().map(|(_, done)| done).collect();
        sealed_notify.notify_one();
        task.await.unwrap();
        for (lane, done) in (0..).zip(done) {
            let batches: Vec<_> = done.try_iter().collect();
            assert!(batches.iter().all(|batch| batch.progress()[0].container.0 == lane));
            assert!(batches.iter().map(|batch| batch.generation()).eq(0..BATCHES), "lane {lane}");
            let prefix = format!("{lane}: ");
            let texts = loki.stored_texts().into_iter().filter(|text| text.starts_with(&prefix));
            assert!(texts.eq((0..BATCHES).map(|generation| format!("{lane}: {generation}"))), "lane {lane}");
        }
    });
}
