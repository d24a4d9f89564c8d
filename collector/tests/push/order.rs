//! Order per stream, and as much at once as it allows.

use std::{collections::HashMap, sync::Arc};

use collector::{
    batch::{FromOutput, ToOutput},
    model::ChannelId,
};
use tokio::sync::Semaphore;

use crate::{
    Running, batch, block_on, config, labels,
    receiver::{Receiver, Reply},
};

#[test]
fn batches_of_different_containers_are_in_flight_together() {
    block_on(async {
        let permits = Arc::new(Semaphore::new(0));
        let held = Arc::clone(&permits);
        let loki = Receiver::start(move |_, _| Reply::Held(Arc::clone(&held))).await;
        let running = Running::start(&config(&loki.url()));
        for container in 1..=6 {
            running.send(batch(container.into(), &[(container, "line")]));
        }
        loki.until(|loki| loki.in_flight() == 3).await;
        assert_eq!(running.metrics.queue_batches.get(), 6);
        permits.add_permits(6);
        for _ in 0..6 {
            running.next_done().await;
        }
        assert_eq!(loki.in_flight_max(), 3, "one request is kept for batches of several containers");
        running.finish().await;
    });
}

#[test]
fn batches_with_a_container_in_common_go_one_after_the_other() {
    block_on(async {
        let loki = Receiver::start(|_, _| Reply::ok()).await;
        let running = Running::start(&config(&loki.url()));
        for generation in 1..=20 {
            running.send(batch(generation, &[(1, &format!("line {generation}")), (generation as u32 + 1, "other")]));
        }
        for generation in 1..=20 {
            assert_eq!(running.next_done().await.generation(), generation);
        }
        let of_one = loki.stored_texts().into_iter().filter(|text| text.starts_with("line"));
        assert!(of_one.eq((1..=20).map(|generation| format!("line {generation}"))));
        running.finish().await;
    });
}

#[test]
fn a_container_whose_batch_is_stuck_does_not_hold_up_the_others() {
    block_on(async {
        let permits = Arc::new(Semaphore::new(0));
        let held = Arc::clone(&permits);
        let loki = Receiver::start(move |_, seen| match seen.lines()[0].0 == labels(1) {
            true => Reply::Held(Arc::clone(&held)),
            false => Reply::ok(),
        })
        .await;
        let running = Running::start(&config(&loki.url()));
        running.send(batch(1, &[(1, "stuck")]));
        running.send(batch(2, &[(1, "behind it")]));
        running.send(batch(3, &[(2, "free")]));
        assert_eq!(running.next_done().await.generation(), 3);
        permits.add_permits(2);
        assert_eq!(running.next_done().await.generation(), 1);
        assert_eq!(running.next_done().await.generation(), 2);
        running.finish().await;
    });
}

/// Plays the reader: what is refused is sent again once Loki takes it, in its order.
struct Reader<'e> {
    expected: &'e HashMap<String, Vec<String>>,
    in_flight: usize,
    /// The first generation of each container whose line was refused.
    owed: HashMap<ChannelId, u64>,
    taken: Vec<ChannelId>,
}

impl Reader<'_> {
    fn is_waiting(&self) -> bool {
        self.in_flight > 0 || !self.owed.is_empty()
    }

    fn take(&mut self, message: FromOutput) -> Vec<ToOutput> {
        match message {
            FromOutput::Done { batch, refused } => {
                self.in_flight -= 1;
                for slot in refused {
                    let first = self.owed.entry(batch.streams()[slot.index()].channel).or_insert(u64::MAX);
                    *first = (*first).min(batch.generation());
                }
            }
            FromOutput::Taken(channel) => self.taken.push(channel),
        }
        // As the tailer, once no line of the channel can be in flight.
        let released = if self.in_flight == 0 { std::mem::take(&mut self.taken) } else { Vec::new() };
        released.into_iter().flat_map(|channel| self.send_again(channel)).collect()
    }

    fn send_again(&mut self, channel: ChannelId) -> Vec<ToOutput> {
        let container = channel.unit.0;
        let mut messages = vec![ToOutput::Unparked(channel)];
        if let Some(first) = self.owed.remove(&channel) {
            for text in &self.expected[&labels(container)] {
                let generation: u64 = text[..3].parse().unwrap();
                if generation >= first {
                    self.in_flight += 1;
                    messages.push(ToOutput::Batch(batch(generation, &[(container, text)])));
                }
            }
        }
        messages
    }
}

#[test]
fn every_stream_arrives_whole_and_in_order_whatever_goes_wrong_on_the_way() {
    block_on(async {
        let loki = Receiver::start(|n, seen| match n * 7 % 11 {
            0 => Reply::text(500, ""),
            3 => Reply::Close,
            5 => Reply::text(429, "rate limit"),
            7 if seen.lines().len() > 2 => Reply::text(413, ""),
            _ => Reply::ok(),
        })
        .await;
        let running = Running::start(&config(&loki.url()));
        let mut expected: HashMap<String, Vec<String>> = HashMap::new();
        for generation in 0..100u64 {
            // Sets of containers that overlap in changing ways.
            let containers = (0..2u32).map(|n| (generation as u32 * (3 * n + 1)) % 17);
            let lines: Vec<_> = containers.enumerate().map(|(n, c)| (c, format!("{generation:03} {n}"))).collect();
            for (container, text) in &lines {
                expected.entry(labels(*container)).or_default().push(text.clone());
            }
            running.send(batch(generation, &lines.iter().map(|(c, t)| (*c, t.as_str())).collect::<Vec<_>>()));
        }
        let mut reader = Reader { expected: &expected, in_flight: 100, owed: HashMap::new(), taken: Vec::new() };
        while reader.is_waiting() {
            let message = running.next_message().await;
            for message in reader.take(message) {
                running.tell(message);
            }
        }
        let mut stored: HashMap<String, Vec<String>> = HashMap::new();
        for (labels, text) in loki.stored() {
            // The line that a refused stream is tried with comes again, and Loki stores it once.
            let lines: &mut Vec<String> = stored.entry(labels).or_default();
            if lines.last() != Some(&text) {
                lines.push(text);
            }
        }
        assert_eq!(stored, expected);
        assert!(loki.in_flight_max() > 1);
        running.finish().await;
    });
}

#[test]
fn the_sender_ends_when_the_last_batch_is_done_after_the_queue_was_closed() {
    block_on(async {
        let permits = Arc::new(Semaphore::new(0));
        let held = Arc::clone(&permits);
        let loki = Receiver::start(move |_, _| Reply::Held(Arc::clone(&held))).await;
        let mut running = Running::start(&config(&loki.url()));
        running.send(batch(1, &[(1, "one")]));
        running.send(batch(2, &[(1, "two")]));
        loki.until(|loki| loki.in_flight() == 1).await;
        running.sealed = None;
        running.sealed_notify.notify_one();
        permits.add_permits(2);
        (&mut running.task).await.unwrap();
        assert_eq!(running.done.len(), 2);
        assert_eq!(loki.stored_texts(), ["one", "two"]);
    });
}

#[test]
fn the_sender_can_be_dropped_while_it_waits_for_loki() {
    block_on(async {
        let loki = Receiver::start(|_, _| Reply::Never).await;
        let running = Running::start(&config(&loki.url()));
        running.send(batch(1, &[(1, "one")]));
        loki.until(|loki| loki.in_flight() == 1).await;
        running.task.abort();
        assert!(running.task.await.unwrap_err().is_cancelled());
        assert_eq!(running.done.len(), 0);
    });
}
