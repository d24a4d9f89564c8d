//! A tailer without the program around it, for tests.

use super::*;
use crate::{
    compiled::Compiled,
    status::view::{self, QuerySender},
    tail::notify::PollSignal,
};

/// The other ends of a tailer's channels.
pub struct Ends {
    pub sealed: crossbeam_channel::Receiver<ToOutput>,
    pub done: crossbeam_channel::Sender<FromOutput>,
    pub snapshots: crossbeam_channel::Receiver<Snapshot>,
    pub queries: QuerySender,
}

/// A tailer that nothing wakes: tests take its turns.
pub fn tailer<R: RangeReader>(compiled: Compiled, saved: Unclaimed, reader: R) -> (Tailer<R>, Ends) {
    let (sealed_tx, sealed) = crossbeam_channel::unbounded();
    let (done, done_rx) = crossbeam_channel::unbounded();
    let (snapshots_tx, snapshots) = crossbeam_channel::unbounded();
    let (queries, receiver) = view::channel();
    let links = Links {
        sealed: sealed_tx,
        sealed_notify: Arc::default(),
        done: done_rx,
        done_notify: Arc::default(),
        snapshots: snapshots_tx,
        snapshots_notify: Arc::default(),
        pods: None,
        pods_notify: Arc::default(),
        queries: receiver,
        stop: Arc::default(),
    };
    let Compiled { config, relabel, pod_selector, pipeline, .. } = compiled;
    let setup = Setup {
        config: Arc::new(config),
        relabel,
        pod_selector,
        pipeline,
        annotated: None,
        links,
        saved,
        metrics: Arc::default(),
        health: Arc::default(),
    };
    let signal = AnySignal::Poll(PollSignal::new(Duration::from_secs(60)));
    (Tailer::new(reader, signal, setup).unwrap(), Ends { sealed, done, snapshots, queries })
}
