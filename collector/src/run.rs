//! `pilcrow run`: starts both sides, connects them and stops them.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use anyhow::Context;

use crate::{
    checkpoint::{Lock, Snapshot, Store},
    compiled::{self, Compiled},
    config::Config,
    metrics::PartMetrics,
    pipeline::{Pipeline, relabel::Relabel},
    reader_side::{Common, Reader},
    sender_side,
    signals::{IgnoredSignals, StopSignals},
    source::{
        docker::DockerLinks,
        kubernetes::{self, WatchMetrics},
    },
    standby::{Standby, Standing},
    status::{
        Backend, Health, Metrics,
        server::{self, Served},
        view::{BackendRow, Facts, QuerySender, View},
    },
    tail::{Stop, notify},
    threads,
};

/// A drain that takes longer than `shutdown.deadline` and this hangs in the file system. With the default deadline that is within
/// the chart's `terminationGracePeriodSeconds`.
const DEADLINE_GRACE: Duration = Duration::from_secs(4);
/// A call that was in progress when the signal came may take 5 s, however short the deadline is.
const DRAIN_MIN: Duration = Duration::from_secs(8);

/// Collects until SIGTERM, SIGINT or SIGQUIT, then drains.
///
/// # Errors
/// Where a side cannot be started, or ends by itself.
pub fn run(compiled: Compiled) -> anyhow::Result<()> {
    let Compiled { config, relabel, pod_selector, pipeline, warnings } = compiled;
    for warning in warnings {
        tracing::warn!("configuration: {warning}");
    }
    let config = Arc::new(config);
    let (all_metrics, metrics) = registered(pipeline.as_ref());
    let health = Arc::new(Health::new().with_ready_after(config.ready.after.0));
    tracing::info!(version = env!("CARGO_PKG_VERSION"), loki = config.loki.url, pods = %config.paths.pods.display(),
        "pilcrow starts");
    raise_open_files_limit();
    let status = server::bind(config.http.listen)?;
    let runtime = threads::runtime()?;
    let ignored = runtime.block_on(async { IgnoredSignals::new() })?;
    let mut served = Served { metrics: Arc::new(all_metrics), health: Arc::clone(&health), view: None };
    let mut signals = None;
    let standby = Standby { status: &status, served: &served, signals: &mut signals };
    let Some((store, saved, _lock)) = open_store(&config, &runtime, standby)? else { return Ok(()) };
    if let Some(docker) = config.paths.docker() {
        DockerLinks::start(docker, &config.paths.pods)?;
    }
    // Before there is an io_uring: loading a probe fails while io_uring work is pending on the thread.
    let (signal, notifier) = open_notifier(&config, &metrics)?;
    let access = open_kubernetes(&runtime, &config, &metrics.watch)?;
    let compiled = (relabel, pod_selector, pipeline);
    let common = common(&config, compiled, &metrics, &health, access.is_some());
    let interest = common.interest.clone();
    let (reader, ends) = Reader::start(common, signal, saved)?;
    let view = Arc::new(view(&config, notifier, &health, &metrics, ends.queries));
    served.view = Some(Arc::clone(&view));
    let links = sender_side::Links {
        queue: ends.queue,
        snapshots: ends.snapshots,
        snapshots_notify: ends.snapshots_notify,
        pods: access.map(|access| (access, interest, ends.pods)),
        tailer_ended: ends.ended,
        view,
    };
    let sending = sender_side::run(&config, links, store, &metrics, health);
    // Not before: until here a signal ends the program at once, even where the start hangs in the file system.
    let signals = match signals {
        Some(signals) => signals,
        None => runtime.block_on(async { StopSignals::new() })?,
    };
    let hangs_after = (config.shutdown.deadline.0 + DEADLINE_GRACE).max(DRAIN_MIN);
    let hanging = hang_after_signal(signals, ignored, ends.stop, hangs_after);
    let result = runtime.block_on(until_the_end(sending, server::serve(status, served), hanging));
    runtime.shutdown_background();
    match result? {
        Ended::Drained => reader.join()?,
        Ended::Hanging => tracing::error!(
            "ending without the last positions, as the file system of paths.pods or paths.state does not answer; lines since \
             the last save will be sent again"
        ),
    }
    tracing::info!("pilcrow ends");
    Ok(())
}

/// How the work ended.
enum Ended {
    Drained,
    /// Something did not end in time after a signal.
    Hanging,
}

/// Runs all that is on this thread.
async fn until_the_end(
    sending: impl Future<Output = anyhow::Result<()>>,
    serving: impl Future<Output = io::Result<Infallible>>,
    hanging: impl Future<Output = ()>,
) -> anyhow::Result<Ended> {
    tokio::select! {
        result = sending => result.map(|()| Ended::Drained),
        result = serving => result.map(|never| match never {}).map_err(Into::into),
        () = hanging => Ok(Ended::Hanging),
    }
}

/// All metrics, and those of the parts.
fn registered(pipeline: Option<&Pipeline>) -> (Metrics, Arc<PartMetrics>) {
    let mut all = Metrics::new();
    let metrics = Arc::new(PartMetrics::new(&mut all));
    if let Some(pipeline) = pipeline {
        all.collect(Box::new(pipeline.metrics().clone()));
        if let Some(counts) = pipeline.line_counts() {
            all.collect(Box::new(counts.clone()));
        }
    }
    (all, metrics)
}

/// What the reader side needs besides its links.
fn common(
    config: &Arc<Config>,
    (rules, selector, pipeline): (Relabel, kubernetes::Selector, Option<Pipeline>),
    metrics: &PartMetrics,
    health: &Arc<Health>,
    watches_pods: bool,
) -> Common {
    let annotations = config.kubernetes.annotations.allow.clone();
    let annotated = (!annotations.is_empty()).then(|| compiled::annotated(Arc::clone(config), pipeline.as_ref()));
    let interest = kubernetes::Interest { rules, selector, annotations };
    if !watches_pods {
        warn_of_unmet(&interest, config);
    }
    Common {
        config: Arc::clone(config),
        interest,
        pipeline,
        annotated,
        metrics: Arc::clone(&metrics.tail),
        health: Arc::clone(health),
        watches_pods,
    }
}

/// What the status page shows.
fn view(
    config: &Config,
    notifier: Backend,
    health: &Arc<Health>,
    metrics: &Arc<PartMetrics>,
    queries: QuerySender,
) -> View {
    let Backend { backend, fallback_reason } = notifier;
    let facts = Facts { notifier: BackendRow { backend, fallback_reason }, ..Facts::of(config) };
    let counted = Arc::<PartMetrics>::clone(metrics);
    View::new(facts, Arc::clone(health), counted, queries)
}

/// What tells that files grew, and what it is.
fn open_notifier(config: &Config, metrics: &PartMetrics) -> anyhow::Result<(notify::AnySignal, Backend)> {
    let opened = notify::open(config.signal, &config.paths.pods, &config.paths.state)?;
    let backend = Backend::new(&opened.backend, opened.fallback_reason);
    metrics.tail.signal_backend.get_or_create(&backend).set(1);
    if config.debug.drop_signals > 0.0 {
        tracing::warn!(
            share = config.debug.drop_signals,
            "debug.drop_signals: signals are dropped on purpose; the sweep finds those files later"
        );
    }
    Ok((opened.signal, backend))
}

/// Access to the Kubernetes API, where the configuration wants it and it works.
fn open_kubernetes(
    runtime: &tokio::runtime::Runtime,
    config: &Config,
    metrics: &WatchMetrics,
) -> anyhow::Result<Option<kubernetes::Access>> {
    let (access, backend) = match runtime.block_on(kubernetes::open(&config.kubernetes))? {
        kubernetes::Origin::Api(access) => (Some(access), Backend::new("kubernetes", None)),
        kubernetes::Origin::Path(why) => (None, Backend::new("path", why.map(|why| why.reason))),
    };
    metrics.metadata_backend.get_or_create(&backend).set(1);
    Ok(access)
}

/// Warns of settings that need the Kubernetes API, which is not used.
fn warn_of_unmet(interest: &kubernetes::Interest, config: &Config) {
    if !interest.selector.is_empty() {
        tracing::warn!(
            "kubernetes.pod_selector has no effect, as the Kubernetes API is not used: logs of all pods are collected"
        );
    }
    let built_in = interest.rules.rules().len() - config.relabel_configs.len();
    let unmet = interest.rules.rules()[built_in..].iter().filter_map(|rule| rule.sources_from_api().next());
    let unmet: Vec<&str> = unmet.collect();
    if !unmet.is_empty() {
        tracing::warn!(
            labels = unmet.join(", "),
            "relabel_configs reads labels that are always empty, as the Kubernetes API is not used"
        );
    }
}

/// Asks the reader to end when a signal asks for it; returns if that takes so long that something hangs.
async fn hang_after_signal(
    mut signals: StopSignals,
    mut ignored: IgnoredSignals,
    stop: Arc<Stop>,
    hangs_after: Duration,
) {
    let name = tokio::select! {
        name = signals.next() => name,
        never = ignored.report() => match never {},
    };
    tracing::info!("{name}: sending what was read, then exiting");
    stop.ask();
    tokio::time::sleep(hangs_after).await;
}

/// The positions of an earlier run, and where to save them, once no other Pilcrow has the folder: each would overwrite the
/// other's positions. Without a folder to save them in Pilcrow goes on: losing nothing now matters more than repeating lines
/// after a restart. `None`: asked to end while another one had it.
///
/// # Errors
/// Where the status server or the signals fail, or a newer Pilcrow's positions cannot be kept.
#[allow(clippy::type_complexity, reason = "used once")]
fn open_store(
    config: &Config,
    runtime: &tokio::runtime::Runtime,
    mut standby: Standby<'_>,
) -> anyhow::Result<Option<(Option<Store>, Snapshot, Option<Lock>)>> {
    let folder = config.paths.state.display();
    let store = match Store::open(&config.paths.state) {
        Ok(store) => store,
        Err(error) => {
            tracing::error!(%folder, %error,
                "cannot use the state folder (paths.state): positions are kept in memory only, and a restart sends \
                 what is on the disk again");
            return Ok(Some((None, Snapshot::default(), None)));
        }
    };
    let lock = match runtime.block_on(standby.lock(&store, &config.paths.state))? {
        Standing::Locked(lock) => Some(lock),
        Standing::Unlockable(error) => {
            tracing::warn!(%folder, %error, "cannot lock the state folder (paths.state); no other Pilcrow may use it");
            None
        }
        Standing::Stopped => return Ok(None),
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
    Ok(Some((Some(store), snapshot, lock)))
}

/// Every followed file is held open, so that deleting it loses nothing.
fn raise_open_files_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}
