//! Channels whose lines went back to the disk, because Loki does not take one of their streams now.
//!
//! In: a refused stream with a copy of one of its entries. Out: that entry, tried alone from time to time, one stream at a time,
//! and a message to the reader when it was accepted. From then on the reader starts again at the channel's first refused line;
//! until it has, all lines of the channel are refused without being sent, so that they stay in order. No other channel waits.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::{info, warn};

use super::{
    answer::{Obstacle, Place, StreamLimit, Verdict, first_line},
    backoff::Backoff,
    outcome::LARGE_LINE_BYTES,
    parking_log::ParkingLog,
    pieces::Piece,
    schedule::{Schedule, note},
    streams::{Key, StreamId},
};
use crate::{
    batch::{FromOutput, StreamSlot},
    config::{self, HumanDuration},
    model::ChannelId,
    status::Reason,
};

/// The longest wait between two trials.
const TRIAL_EVERY_MAX: Duration = Duration::from_secs(60);

/// Why lines of a stream wait that Loki would take.
const RATE: &str = "its stream is sent no faster than loki.stream_rate";

/// Which channels are parked, and what is tried for them.
#[derive(Debug, Default)]
pub(super) struct Parking {
    /// Also those whose stream was accepted, until the reader has started again at their first refused line.
    channels: HashSet<ChannelId>,
    streams: HashMap<StreamId, Parked>,
    trial_in_flight: bool,
    log: ParkingLog,
}

#[derive(Debug)]
struct Parked {
    channels: Vec<ChannelId>,
    since: Instant,
    /// When the next trial is due, or when the rate allows its lines.
    due: Instant,
    backoff: Backoff,
    cause: Cause,
    /// The log tells of it.
    told: bool,
}

#[derive(Debug)]
enum Cause {
    /// Loki refused it.
    Refused {
        /// One of its entries, encoded.
        entry: Vec<u8>,
        /// What Loki said.
        text: Box<str>,
    },
    /// It waits for its rate.
    Rate,
}

/// Why streams are parked.
#[derive(Clone, Copy)]
struct Why<'a> {
    /// Ahead of the stream's name in the log.
    told: &'static str,
    reason: &'static str,
    text: &'a str,
}

/// One entry to be sent alone.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) stream: StreamId,
    pub(super) key: Key,
    pub(super) entry: Vec<u8>,
}

impl Parking {
    pub(super) fn unparked(&mut self, channel: ChannelId) {
        self.channels.remove(&channel);
    }

    /// Since when lines wait that Loki refused.
    pub(super) fn refused_since(&self) -> Option<Instant> {
        let refused = self.streams.values().filter(|parked| matches!(parked.cause, Cause::Refused { .. }));
        refused.map(|parked| parked.since).min()
    }

    fn parked_channels(&self) -> usize {
        self.channels.len()
    }

    /// Whether no server can find the entry too large that is tried of a stream.
    fn is_small(&self, stream: StreamId) -> bool {
        let cause = self.streams.get(&stream).map(|parked| &parked.cause);
        matches!(cause, Some(Cause::Refused { entry, .. }) if entry.len() < LARGE_LINE_BYTES)
    }

    fn is_parked(&self, channel: ChannelId) -> bool {
        self.channels.contains(&channel)
    }

    /// When [`Schedule::next_trial`] has something to do.
    pub(super) fn wake_at(&self, drop_after: Option<Duration>) -> Option<Instant> {
        let mut wake_at = None;
        for parked in self.streams.values() {
            if let (Cause::Refused { .. }, Some(after)) = (&parked.cause, drop_after) {
                note(&mut wake_at, parked.since + after)
            }
            if !self.trial_in_flight || matches!(parked.cause, Cause::Rate) {
                note(&mut wake_at, parked.due);
            }
        }
        wake_at
    }
}

impl Schedule {
    /// Loki refuses the streams of a piece, again and again. Their channels are parked.
    pub(super) fn park(&mut self, index: usize, piece: &Piece, reason: &'static str, text: &str, now: Instant) {
        self.park_streams(index, piece, &Why { told: "Loki refuses the stream", reason, text }, now);
    }

    /// Requests with the streams of a piece fail, again and again, while others pass. Their channels are parked.
    pub(super) fn park_failing(&mut self, index: usize, piece: &Piece, obstacle: &Obstacle, now: Instant) {
        let what = match obstacle.place {
            Place::Answer => "Loki refuses the stream",
            // Nobody refused anything.
            Place::Connection | Place::Timeout { .. } => "other requests get through, but not those with the stream",
        };
        let why = Why { told: what, reason: reason_of(obstacle), text: &told(obstacle) };
        self.park_streams(index, piece, &why, now);
    }

    fn park_streams(&mut self, index: usize, piece: &Piece, why: &Why<'_>, now: Instant) {
        let Why { reason, text, .. } = *why;
        let live = &mut self.batches[index];
        let batch = Arc::clone(&live.batch);
        let slots = batch.slots_of(&piece.part);
        slots.iter().for_each(|slot| live.refused[slot.index()] = true);
        live.refused_entries += piece.part.entries();
        let ids = live.ids.clone();
        // Those of one request are refused for one reason.
        let told = match &piece.shares[..] {
            [] => false,
            [first, others @ ..] => self.tell_parked(first.stream, others.len(), why, now),
        };
        for share in &piece.shares {
            let of_stream = |slot: &StreamSlot| ids[slot.index()] == Some(share.stream);
            let Some(part) = batch.without(&piece.part, |slot| !of_stream(&slot)) else { continue };
            let Some(entry) = batch.first_entry(&part) else { continue };
            let slots = slots.iter().copied().filter(of_stream);
            let channels: Vec<_> = slots.map(|slot| batch.streams()[slot.index()].channel).collect();
            self.metrics.refused_streams.get_or_create(&Reason { reason }).inc();
            let (mut backoff, cause) = (self.trial_backoff(), Cause::Refused { entry, text: text.into() });
            let due = now + backoff.next(None);
            let parked = Parked { channels: Vec::new(), since: now, due, backoff, cause, told };
            self.park_stream(share.stream, channels, parked, now);
        }
    }

    /// Tells of a stream that is parked, and `others` of its request, where that is worth a line. Returns whether it was.
    fn tell_parked(&mut self, stream: StreamId, others: usize, why: &Why<'_>, now: Instant) -> bool {
        let Why { told, reason, text } = *why;
        let key = &self.streams[stream].key;
        let Some(not_told) = self.parking.log.permit(key, now) else { return false };
        let others = if others == 0 { String::new() } else { format!(" and {others} others of its request") };
        let not_told = match not_told {
            0 => String::new(),
            more => format!("; {more} more refusals of streams were not logged (`pilcrow top` shows what is parked)"),
        };
        warn!(
            "{told} {key}{others} ({reason}): {text}. The lines stay on the disk, and one is retried from time to time; other \
             streams go on{not_told}"
        );
        true
    }

    /// Tells that a stream is accepted again, where it was told of.
    fn tell_released(&mut self, stream: StreamId, now: Instant) {
        if self.parking.streams.get(&stream).is_some_and(|parked| parked.told) && self.parking.log.permit_release(now) {
            info!("Loki accepts the stream {} again", self.streams[stream].key);
        }
        let is_refused =
            |(id, parked): (&StreamId, &Parked)| *id != stream && matches!(parked.cause, Cause::Refused { .. });
        if !self.parking.streams.iter().any(is_refused) {
            let more = self.parking.log.take_releases_not_told();
            if more > 0 {
                info!("Loki accepts all streams again, among them {more} that were not named");
            }
        }
    }

    /// A stream has to wait so long for its rate that other units' lines would wait with it.
    pub(super) fn park_for_rate(&mut self, stream: StreamId, due: Instant, now: Instant) {
        let backoff = self.trial_backoff();
        let parked = Parked { channels: Vec::new(), since: now, due, backoff, cause: Cause::Rate, told: false };
        self.park_stream(stream, Vec::new(), parked, now);
    }

    fn park_stream(&mut self, stream: StreamId, channels: Vec<ChannelId>, parked: Parked, now: Instant) {
        let key = self.streams[stream].key.clone();
        // It must not be forgotten meanwhile.
        self.streams.acquire(key, now);
        self.streams[stream].parked = true;
        self.parking.streams.insert(stream, parked);
        channels.into_iter().for_each(|channel| self.park_channel(channel, stream));
        self.leave_out_parked();
    }

    fn park_channel(&mut self, channel: ChannelId, stream: StreamId) {
        if self.parking.is_parked(channel) {
            return;
        }
        if let Some(parked) = self.parking.streams.get_mut(&stream) {
            parked.channels.push(channel);
            self.parking.channels.insert(channel);
            match &parked.cause {
                Cause::Refused { text, .. } => self.pushes.refused(channel.unit, text, false),
                Cause::Rate => self.pushes.refused(channel.unit, RATE, true),
            }
        }
    }

    /// Takes the lines of parked channels, and those of parked streams with their channels, out of what waits.
    pub(super) fn leave_out_parked(&mut self) {
        let mut of_parked_streams = Vec::new();
        for live in &self.batches {
            let waiting = live.fresh.iter().flat_map(|group| group.slots.iter().copied());
            let again = live.pieces.iter().flat_map(|piece| live.batch.slots_of(&piece.part));
            for slot in waiting.chain(again) {
                if let Some(stream) = live.ids[slot.index()].filter(|stream| self.streams[*stream].parked) {
                    of_parked_streams.push((live.batch.streams()[slot.index()].channel, stream));
                }
            }
        }
        of_parked_streams.into_iter().for_each(|(channel, stream)| self.park_channel(channel, stream));
        if self.parking.channels.is_empty() {
            return;
        }
        for live in &mut self.batches {
            let batch = Arc::clone(&live.batch);
            let is_parked = |slot: &StreamSlot| self.parking.is_parked(batch.streams()[slot.index()].channel);
            for group in &mut live.fresh {
                for slot in group.slots.extract_if(.., |slot| is_parked(slot)) {
                    live.refused[slot.index()] = true;
                    live.refused_entries += batch.streams()[slot.index()].entries;
                }
            }
            live.fresh.retain(|group| !group.slots.is_empty());
            let pieces = std::mem::take(&mut live.pieces);
            for mut piece in pieces {
                let parked: Vec<_> = batch.slots_of(&piece.part).into_iter().filter(is_parked).collect();
                if !parked.is_empty() {
                    parked.iter().for_each(|slot| live.refused[slot.index()] = true);
                    let before = piece.part.entries();
                    let rest = batch.without(&piece.part, |slot| parked.contains(&slot));
                    live.refused_entries += before - rest.as_ref().map_or(0, crate::batch::Part::entries);
                    let Some(rest) = rest else { continue };
                    piece.shares = live.shares(&rest);
                    piece.part = rest;
                }
                live.pieces.push_back(piece);
            }
        }
        self.count_parked();
    }

    /// The entry to be tried now, if any. Also releases streams as their rate or `loki.refused_streams` allows.
    pub(super) fn next_trial(&mut self, now: Instant) -> Option<Trial> {
        let drop_after = self.settings.drop_refused_after;
        let (mut released, mut dropping) = (Vec::new(), Vec::new());
        for (stream, parked) in &self.parking.streams {
            match (&parked.cause, drop_after) {
                (Cause::Rate, _) if parked.due <= now => released.push(*stream),
                (Cause::Refused { .. }, Some(after)) if parked.since + after <= now => dropping.push(*stream),
                _ => {}
            }
        }
        released.into_iter().for_each(|stream| self.release_stream(stream, now));
        for stream in dropping {
            let (key, after) = (&self.streams[stream].key, HumanDuration(drop_after.unwrap_or_default()));
            warn!(
                "the stream {key} has not got through to Loki for {after} (loki.refused_streams): what fails of it from now on is \
                 dropped and counted in pilcrow_dropped_lines_total"
            );
            self.streams[stream].dropping = true;
            self.release_stream(stream, now);
        }
        if self.parking.trial_in_flight {
            return None;
        }
        let is_due =
            |(_, parked): &(&StreamId, &Parked)| parked.due <= now && matches!(parked.cause, Cause::Refused { .. });
        let (stream, parked) = self.parking.streams.iter().filter(is_due).min_by_key(|(_, parked)| parked.due)?;
        let Cause::Refused { entry, .. } = &parked.cause else { return None };
        let trial = Trial { stream: *stream, key: self.streams[*stream].key.clone(), entry: entry.clone() };
        self.parking.trial_in_flight = true;
        Some(trial)
    }

    /// How a trial ended.
    pub(super) fn trial_ended(&mut self, stream: StreamId, verdict: &Verdict, now: Instant) {
        self.parking.trial_in_flight = false;
        let limit = self.limits.in_force();
        match verdict {
            Verdict::StreamRefused(refusal) => {
                if let StreamLimit::Rate(named) = refusal.limit {
                    self.streams[stream].bucket.refused(named, limit, now);
                }
                // One that came and went too fast to be told of each time stays now.
                if self.parking.streams.get(&stream).is_some_and(|parked| !parked.told) {
                    let why =
                        Why { told: "Loki refuses the stream", reason: refusal.limit.reason(), text: &refusal.text };
                    let told = self.tell_parked(stream, 0, &why, now);
                    self.parking.streams.entry(stream).and_modify(|parked| parked.told = told);
                }
            }
            Verdict::Again(_) => {}
            Verdict::TooLarge if self.parking.is_small(stream) => {}
            // Taken, or refused for another reason than the stream: then its lines are treated one by one.
            Verdict::Accepted | Verdict::Refused(_) | Verdict::TooLarge | Verdict::Unknown(_) => {
                self.tell_released(stream, now);
                self.release_stream(stream, now);
                self.streams[stream].begins_small = true;
                // What ended the refusal of this one may have ended that of others.
                let next = self.parking.streams.values_mut().min_by_key(|parked| parked.due);
                if let Some(next) = next.filter(|next| matches!(next.cause, Cause::Refused { .. })) {
                    next.due = now;
                }
                return;
            }
        }
        if let Some(parked) = self.parking.streams.get_mut(&stream) {
            parked.due = now + parked.backoff.next(None);
        }
    }

    /// Trials that wait are due: Loki is back.
    pub(super) fn hasten_trials(&mut self, now: Instant) {
        for parked in self.parking.streams.values_mut() {
            if matches!(parked.cause, Cause::Refused { .. }) {
                parked.due = parked.due.min(now);
            }
        }
    }

    fn release_stream(&mut self, stream: StreamId, now: Instant) {
        let Some(parked) = self.parking.streams.remove(&stream) else { return };
        self.streams[stream].parked = false;
        self.streams.release(stream, now);
        self.messages.extend(parked.channels.into_iter().map(FromOutput::Taken));
    }

    pub(super) fn count_parked(&self) {
        self.metrics.parked_channels.set(self.parking.parked_channels() as i64);
    }

    fn trial_backoff(&self) -> Backoff {
        let config::Backoff { min, max } = &self.settings.backoff;
        Backoff::new(&config::Backoff { min: *min, max: HumanDuration(max.0.min(TRIAL_EVERY_MAX)) })
    }
}

/// Why a request is given up or its streams are parked that failed while others passed, as metrics have it.
pub(super) fn reason_of(obstacle: &Obstacle) -> &'static str {
    match obstacle.place {
        Place::Answer => "unavailable",
        Place::Connection => "connection",
        Place::Timeout { .. } => "timeout",
    }
}

/// The answer of Loki, or of what is in front of it, in one line.
pub(super) fn told(obstacle: &Obstacle) -> String {
    match obstacle.detail.is_empty() {
        true => obstacle.summary.to_string(),
        false => format!("{}: {}", obstacle.summary, first_line(&obstacle.detail)),
    }
}
