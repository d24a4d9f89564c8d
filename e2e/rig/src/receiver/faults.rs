//! What the receiver does wrong on purpose.

use std::{fmt, time::Duration};

/// A push request as the script sees it: before its body is read.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Number of the request, from 0.
    pub index: u64,
    /// Content-Length, if it was sent.
    pub content_length: Option<u64>,
    /// X-Scope-OrgID; empty where there is none.
    pub tenant: String,
}

/// What happens to one push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Stored, 204.
    Accept,
    /// Stored at once, 204 after a while.
    AcceptAfter(Duration),
    /// Stored, and the connection is closed without an answer.
    AcceptWithoutAnswer,
    /// Not stored; the answer has this status and body.
    Refuse {
        /// HTTP status.
        status: u16,
        /// Body, plain text.
        body: String,
        /// Retry-After in seconds.
        retry_after_s: Option<u64>,
    },
    /// The first entries are refused and the others stored; 400 with the text that Loki's ingester gives for entries that are too
    /// far behind (pkg/ingester/stream.go).
    RefuseSome {
        /// Entries that are refused for good.
        entries: usize,
    },
    /// The connection is closed when a part of the body has been read.
    CloseMidBody,
    /// The body is read and then nothing happens: not stored, no answer, the connection stays open.
    NoAnswer,
    /// 200 with an HTML page, as a proxy, a login page or another service gives it. Not stored.
    HtmlPage,
    /// Stored and answered after the time that the body takes at this rate; not stored where the client gives up before. A body of the
    /// same size always takes the same time.
    Slow {
        /// Of the body as it is sent.
        bytes_per_s: u64,
    },
}

impl Verdict {
    /// A refusal with the text that Loki gives with this status; a plain one for others.
    pub fn status(status: u16) -> Self {
        let body = match status {
            401 => "no org id",
            413 => "request body too large",
            429 => "ingestion rate limit exceeded for user fake (limit: 4194304 bytes/sec) while attempting to ingest",
            500 => "rpc error: code = DeadlineExceeded desc = context deadline exceeded",
            503 => "at least 1 live replicas required, could only find 0",
            _ => "refused by the fault script",
        };
        Self::text(status, body)
    }

    /// A refusal with a text of its own.
    pub fn text(status: u16, body: impl Into<String>) -> Self {
        Self::Refuse { status, body: body.into(), retry_after_s: None }
    }
}

type Decide = Box<dyn FnMut(&Arrival) -> Verdict + Send>;

/// A verdict for each push; [`Verdict::Accept`] for all by default.
#[derive(Default)]
pub struct FaultScript(Option<Decide>);

impl FaultScript {
    /// Asks `decide` about each push.
    pub fn each(decide: impl FnMut(&Arrival) -> Verdict + Send + 'static) -> Self {
        Self(Some(Box::new(decide)))
    }

    /// One verdict after the other, then accepts.
    pub fn list(verdicts: impl IntoIterator<Item = Verdict>) -> Self {
        let verdicts: Vec<_> = verdicts.into_iter().collect();
        let mut verdicts = verdicts.into_iter();
        Self::each(move |_| verdicts.next().unwrap_or(Verdict::Accept))
    }

    /// The verdict on one push.
    pub fn decide(&mut self, arrival: &Arrival) -> Verdict {
        self.0.as_mut().map_or(Verdict::Accept, |decide| decide(arrival))
    }
}

impl fmt::Debug for FaultScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FaultScript").field(&self.0.as_ref().map(|_| "..")).finish()
    }
}
