//! What is measured: this collector with one of its settings, or any other one.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Instant,
};

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

impl Program {
    /// Starts it without any positions of an earlier run. Also says when.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn start(&self, place: &Place, pods: &Path) -> anyhow::Result<(Running, Instant)> {
        let state = place.path().join("state");
        if state.exists() {
            fs::remove_dir_all(&state)?;
        }
        fs::create_dir_all(&state)?;
        let started = Instant::now();
        let running = match self {
            Self::Pilcrow { program, signal, reader } => {
                let sink = Sink::start()?;
                let loki = sink.url();
                // Rust's quoting of these strings is YAML's too.
                let configuration = format!(
                    "loki: {{url: {loki:?}, stream_rate: unlimited}}\nlabels: {{cluster: bench}}\npaths: {{pods: {pods:?}, state: {state:?}}}\n\
                     kubernetes: {{enabled: false}}\nsignal: {signal}\nreader: {{backend: {reader}}}\n"
                );
                let setup = Setup::write(program, place.path(), &configuration)?;
                Running::Pilcrow(Collector::start(&setup)?, sink)
            }
            Self::Peer(peer) => {
                let sink = PeerSink::start()?;
                Running::Peer(peer.start(place.path(), pods, &state, sink.address())?, sink)
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

impl Running {
    /// Its process, the first one if there are several.
    pub fn pid(&self) -> u32 {
        match self {
            Self::Pilcrow(collector, _) => collector.pid(),
            Self::Peer(process, _) => process.pid(),
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
