//! `pilcrow run`: both sides started, joined and stopped.

use std::{io, sync::Arc, thread};

use anyhow::Context;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{Notify, oneshot},
};

use crate::{
    checkpoint::{Lock, Store, Unclaimed},
    config::{Config, ReaderChoice},
    discover::kubernetes::{self, Selector},
    process::{Relabel, RuleError},
    push,
    read::{PreadReader, UringReader, uring_refusal},
    reader_side::{self, ReaderSide, Stop},
    sender_side,
    signal::{self, AnySignal},
    status::{Backend, Health, Metrics, server},
};

/// Collects until SIGTERM or SIGINT, then drains.
///
/// # Errors
/// Where a side cannot be started, or ends of itself.
pub fn run(config: Config) -> anyhow::Result<()> {
    let config = Arc::new(config);
    let (metrics, health) = (Arc::new(Metrics::new()), Arc::new(Health::new()));
    tracing::info!(version = env!("CARGO_PKG_VERSION"), loki = config.loki.url, pods = %config.paths.pods.display(),
        "pilcrow starts");
    raise_open_files_limit();
    let status = server::bind(config.http.listen)?;
    let (store, saved, _lock) = open_store(&config)?;
    // Before the reader's io_uring exists: loading a probe fails while io_uring work is pending on the thread.
    let opened = signal::open(config.signal, &config.paths.pods, &config.paths.state)?;
    metrics.signal_backend.get_or_create(&backend(opened.backend, opened.fallback_reason)).set(1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let access = open_kubernetes(&runtime, &config, &metrics)?;
    let interest = interest(&config)?;
    if access.is_none() {
        warn_of_unmet(&interest, &config);
    }

    let (sealed_tx, sealed_rx) = crossbeam_channel::bounded(reader_side::batch_count(&config));
    let (done_tx, done_rx) = crossbeam_channel::bounded(reader_side::batch_count(&config));
    let (snapshots_tx, snapshots_rx) = crossbeam_channel::unbounded();
    let (pods_tx, pods_rx) = crossbeam_channel::unbounded();
    let [sealed_notify, done_notify, snapshots_notify, pods_notify] = std::array::from_fn(|_| Arc::new(Notify::new()));
    let stop = Arc::new(Stop::default());
    let (ended_tx, reader_ended) = oneshot::channel();
    let reader_links = reader_side::Links {
        sealed: sealed_tx,
        sealed_notify: Arc::clone(&sealed_notify),
        done: done_rx,
        done_notify: Arc::clone(&done_notify),
        snapshots: snapshots_tx,
        snapshots_notify: Arc::clone(&snapshots_notify),
        pods: access.is_some().then_some(pods_rx),
        pods_notify: Arc::clone(&pods_notify),
        stop: Arc::clone(&stop),
    };
    let sender_links = sender_side::Links {
        queue: push::Queue { sealed: sealed_rx, sealed_notify, done: done_tx, done_notify },
        snapshots: snapshots_rx,
        snapshots_notify,
        pods: access.map(|access| (access, interest, kubernetes::Updates { updates: pods_tx, notify: pods_notify })),
        reader_ended,
    };

    let reader = {
        let (config, metrics, health) = (Arc::clone(&config), Arc::clone(&metrics), Arc::clone(&health));
        thread::Builder::new().name("reader".into()).spawn(move || {
            let result = run_reader_side(opened.signal, config, reader_links, saved, metrics, health);
            // The receiver is gone when the sender side failed first.
            let _ = ended_tx.send(());
            result
        })?
    };
    let result = runtime.block_on(async {
        let _stopping = tokio::spawn(stop_at_signal(stop));
        sender_side::run(config, sender_links, store, status, metrics, health).await
    });
    runtime.shutdown_background();
    result?;
    reader.join().map_err(|_| anyhow::anyhow!("the reader side panicked"))?.context("the reader side failed")?;
    tracing::info!("pilcrow ends");
    Ok(())
}

/// The way to the Kubernetes API where it is wanted and possible.
fn open_kubernetes(
    runtime: &tokio::runtime::Runtime,
    config: &Config,
    metrics: &Metrics,
) -> anyhow::Result<Option<kubernetes::Access>> {
    let (access, backend) = match runtime.block_on(kubernetes::open(&config.kubernetes))? {
        kubernetes::Origin::Api(access) => (Some(access), backend("kubernetes".into(), None)),
        kubernetes::Origin::Path(why) => (None, backend("path".into(), why.map(|why| why.reason))),
    };
    metrics.metadata_backend.get_or_create(&backend).set(1);
    Ok(access)
}

/// Says what the configuration wants of the Kubernetes API, which is not asked.
fn warn_of_unmet(interest: &kubernetes::Interest, config: &Config) {
    if !interest.selector.is_empty() {
        tracing::warn!(
            "kubernetes.pod_selector has no effect, as the Kubernetes API is not asked: logs of all pods are collected"
        );
    }
    let built_in = interest.rules.rules().len() - config.relabel_configs.len();
    let unmet = interest.rules.rules()[built_in..].iter().filter_map(|rule| rule.sources_from_api().next());
    let unmet: Vec<&str> = unmet.collect();
    if !unmet.is_empty() {
        tracing::warn!(
            labels = unmet.join(", "),
            "relabel_configs reads labels that are always empty, as the Kubernetes API is not asked"
        );
    }
}

/// What is wanted of the pods' metadata. A configuration that was validated has both.
fn interest(config: &Config) -> anyhow::Result<kubernetes::Interest> {
    let wrong = |error: RuleError| anyhow::anyhow!("relabel_configs: {}: {}", error.field, error.message);
    let rules = Relabel::new(config).map_err(wrong)?;
    let selector = Selector::parse(&config.kubernetes.pod_selector).map_err(anyhow::Error::msg)?;
    Ok(kubernetes::Interest { rules, selector })
}

async fn stop_at_signal(stop: Arc<Stop>) -> io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let name = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    tracing::info!("{name}: sending what is read, then ending");
    stop.ask();
    Ok(())
}

/// Runs the reader side by `io_uring`, else by pread, as the configuration allows.
fn run_reader_side(
    signal: AnySignal,
    config: Arc<Config>,
    links: reader_side::Links,
    saved: Unclaimed,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
) -> anyhow::Result<()> {
    let fallback_reason = match config.reader {
        ReaderChoice::Pread => None,
        ReaderChoice::Auto | ReaderChoice::IoUring => match UringReader::open() {
            Ok((runtime, reader)) => {
                metrics.reader_backend.get_or_create(&backend("io_uring".into(), None)).set(1);
                tracing::info!("reading by io_uring");
                let side = runtime
                    .block_on(async { ReaderSide::new(reader, signal, config, links, saved, metrics, health) })?;
                return Ok(runtime.block_on(side.run())?);
            }
            Err(error) if config.reader == ReaderChoice::IoUring => {
                return Err(error)
                    .context("reader: io_uring was asked for and is not to be had; auto would take pread");
            }
            Err(error) => {
                let reason = uring_refusal(&error);
                tracing::warn!("io_uring is not to be had ({reason}); reading by pread, which costs a little more");
                Some(reason)
            }
        },
    };
    metrics.reader_backend.get_or_create(&backend("pread".into(), fallback_reason)).set(1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        ReaderSide::new(PreadReader::new(), signal, config, links, saved, metrics, health)?.run().await
    })?;
    Ok(())
}

fn backend(backend: String, fallback_reason: Option<String>) -> Backend {
    Backend { backend, fallback_reason: fallback_reason.unwrap_or_default() }
}

/// The positions of an earlier run, and where to save them. Without a folder to save them in Pilcrow goes on: losing
/// nothing now matters more than repeating lines after a restart.
///
/// # Errors
/// Where another Pilcrow has the folder: each would overwrite the other's positions.
fn open_store(config: &Config) -> anyhow::Result<(Option<Store>, Unclaimed, Option<Lock>)> {
    let folder = config.paths.state.display();
    let store = match Store::open(&config.paths.state) {
        Ok(store) => store,
        Err(error) => {
            tracing::error!(%folder, %error,
                "cannot use the state folder (paths.state): positions are kept in memory only, and a restart sends \
                 what is on the disk again");
            return Ok((None, Unclaimed::default(), None));
        }
    };
    let lock = match store.lock() {
        Ok(None) => anyhow::bail!("another Pilcrow runs with the state folder {folder} (paths.state)"),
        Ok(lock) => lock,
        Err(error) => {
            tracing::warn!(%folder, %error, "cannot lock the state folder (paths.state); no other Pilcrow may use it");
            None
        }
    };
    let (snapshot, errors) = store.load();
    for error in errors {
        tracing::error!("{error}");
        match store.set_aside_newer(&error) {
            Ok(None) => {}
            Ok(Some(kept)) => tracing::error!(kept = %kept.display(),
                "the positions of the newer Pilcrow are kept; this one goes on from those that were saved before, else from the \
                 beginning of what is on the disk"),
            Err(error) => return Err(error).context("the positions of a newer Pilcrow would be overwritten"),
        }
    }
    Ok((Some(store), snapshot.into(), lock))
}

/// Every followed file is held open, so that deleting it loses nothing.
fn raise_open_files_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}
