//! What is measured: this collector with one of its settings, or any other one.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::Context;
use rig::{
    ledger::Ledger,
    program::{Collector, Setup},
};

use super::{
    Place,
    peer::{self, Peer, PeerSink},
    report::Latency,
    sink::Sink,
};

/// The stages of a peer that is to have none but those that read the runtime's format.
const NO_STAGES: &str = "[{cri: {}}]";

/// A collector that can be started.
#[derive(Clone, Debug)]
pub enum Program {
    /// This one.
    Pilcrow {
        /// Its program.
        program: PathBuf,
        /// `signal` of its configuration.
        signal: String,
        /// `reader.backend` of its configuration.
        reader: String,
    },
    /// Another one.
    Peer(Peer),
}

/// A collector that runs, and its sink.
pub enum Running {
    /// This one, whose lines are checked one by one.
    Pilcrow(Collector, Sink),
    /// Another one, whose lines are counted.
    Peer(peer::Process, PeerSink),
}

/// A collector that runs, whose sink another one has.
pub enum Alone {
    Pilcrow(Collector),
    Peer(peer::Process),
}

impl Program {
    /// Starts it with these stages, a list of Promtail's in one line, and this sink. Also says when.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn start_with_stages(
        &self,
        place: &Place,
        pods: &Path,
        stages: &str,
        sink: &Sink,
    ) -> anyhow::Result<(Alone, Instant)> {
        let state = empty_state(place)?;
        let started = Instant::now();
        let running = match self {
            Self::Pilcrow { program, .. } => {
                let configuration =
                    self.configuration(&sink.url(), pods, &state) + &format!("pipeline_stages: {stages}\n");
                let setup = Setup::write(program, place.path(), &configuration)?;
                Alone::Pilcrow(Collector::start(&setup)?)
            }
            Self::Peer(peer) => {
                let address = sink.address().parse().context("the sink has an address")?;
                Alone::Peer(peer.start(place.path(), pods, &state, address, stages)?)
            }
        };
        Ok((running, started))
    }

    /// Of this collector: its configuration but for stages.
    fn configuration(&self, loki: &str, pods: &Path, state: &Path) -> String {
        let (signal, reader) = match self {
            Self::Pilcrow { signal, reader, .. } => (signal.as_str(), reader.as_str()),
            Self::Peer(_) => ("auto", "auto"),
        };
        // Rust's quoting of these strings is YAML's too.
        format!(
            "loki: {{url: {loki:?}, stream_rate: unlimited}}\nlabels: {{cluster: bench}}\npaths: {{pods: {pods:?}, state: {state:?}}}\n\
             kubernetes: {{enabled: false}}\nsignal: {signal}\nreader: {{backend: {reader}}}\n"
        )
    }

    /// Starts it without any positions of an earlier run. Also says when.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn start(&self, place: &Place, pods: &Path) -> anyhow::Result<(Running, Instant)> {
        let state = empty_state(place)?;
        let started = Instant::now();
        let running = match self {
            Self::Pilcrow { program, .. } => {
                let sink = Sink::start()?;
                let configuration = self.configuration(&sink.url(), pods, &state);
                let setup = Setup::write(program, place.path(), &configuration)?;
                Running::Pilcrow(Collector::start(&setup)?, sink)
            }
            Self::Peer(peer) => {
                let sink = PeerSink::start()?;
                Running::Peer(peer.start(place.path(), pods, &state, sink.address(), NO_STAGES)?, sink)
            }
        };
        Ok((running, started))
    }

    /// Whether it starts at all, without logs: fails where a backend that is named is not available here.
    ///
    /// # Errors
    /// Where it does not.
    pub fn try_start(&self, place: &Place) -> anyhow::Result<()> {
        let pods = place.path().join("pods");
        fs::create_dir_all(&pods)?;
        match self.start(place, &pods)?.0 {
            Running::Pilcrow(mut collector, _) => collector.wait_for_start(),
            Running::Peer(mut process, _) => process.check_running(),
        }
    }
}

/// A folder for positions with nothing in it.
fn empty_state(place: &Place) -> anyhow::Result<PathBuf> {
    let state = place.path().join("state");
    if state.exists() {
        fs::remove_dir_all(&state)?;
    }
    fs::create_dir_all(&state)?;
    Ok(state)
}

impl Alone {
    /// Its process, the first one if there are several.
    pub fn pid(&self) -> u32 {
        match self {
            Self::Pilcrow(collector) => collector.pid(),
            Self::Peer(process) => process.pid(),
        }
    }

    /// That it has not ended.
    ///
    /// # Errors
    /// With the end of its log if it has.
    pub fn check_running(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Pilcrow(collector) => collector.check_running(),
            Self::Peer(process) => process.check_running(),
        }
    }

    /// Ends it.
    ///
    /// # Errors
    /// Where this collector ends badly.
    pub fn end(self) -> anyhow::Result<()> {
        match self {
            Self::Pilcrow(mut collector) => collector.terminate(),
            Self::Peer(process) => {
                drop(process);
                Ok(())
            }
        }
    }
}

impl Running {
    /// Its process, the first one if there are several.
    pub fn pid(&self) -> u32 {
        match self {
            Self::Pilcrow(collector, _) => collector.pid(),
            Self::Peer(process, _) => process.pid(),
        }
    }

    /// Where its status server is; `None`: another one has none that we know.
    pub fn status_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Pilcrow(collector, _) => collector.status_address().parse().ok(),
            Self::Peer(..) => None,
        }
    }

    /// Requests that have come so far, where that is counted.
    pub fn requests(&self) -> Option<u64> {
        match self {
            Self::Pilcrow(_, sink) => Some(sink.counts().pushes),
            Self::Peer(..) => None,
        }
    }

    /// Announces new containers to a peer, which would learn of them from Kubernetes.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn announce(&self) -> io::Result<()> {
        match self {
            Self::Pilcrow(..) => Ok(()),
            Self::Peer(process, _) => process.announce(),
        }
    }

    /// Makes latency begin now where it has nothing to do with the first lines: a peer may have learnt late where they are.
    pub fn forget_latency(&self) {
        if let Self::Peer(_, sink) = self {
            sink.forget_latency();
        }
    }

    /// Until as many lines arrived as were written.
    ///
    /// # Errors
    /// Where it ends, or no more lines come.
    pub fn wait_for_all(&mut self, ledger: &Ledger) -> anyhow::Result<()> {
        match self {
            Self::Pilcrow(collector, sink) => sink.wait_for_all(ledger, collector),
            Self::Peer(process, sink) => sink.wait_for_all(ledger, process),
        }
    }

    /// Ends it. The time from each line's timestamp to the sink.
    ///
    /// # Errors
    /// With this collector, a missing, repeated, damaged or disordered line, and every breach of Loki's protocol.
    pub fn finish(self, ledger: &Ledger) -> anyhow::Result<Latency> {
        match self {
            Self::Pilcrow(mut collector, sink) => {
                collector.terminate()?;
                Ok(Latency::of(&sink.verify(ledger)?.latency))
            }
            Self::Peer(process, sink) => {
                println!("{}: {}", process.name(), sink.arrived());
                drop(process);
                Ok(sink.latency())
            }
        }
    }
}
