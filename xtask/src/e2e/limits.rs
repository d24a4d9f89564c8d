//! A Loki with its own default limits: every line that it acknowledged is asked for.
//!
//! In: the collector and a Loki program. Out: an error unless all lines of all runs are in Loki in the end. Loki refuses
//! streams in its answers' text only, and not each of them (docs/reliability.md), so a collector that believes every 204
//! loses lines here silently: the number that it counted as acknowledged is held against what LogQL gives.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use rig::{
    kubelet::{BacklogOptions, Container, ContainerOptions, Node, Stream, generate_backlog},
    mark::Shape,
    metrics::Metrics,
    program::Collector,
};

use super::{
    PAGES, collector,
    compare::{self, Comparison, Source},
    logql::{Client, Range},
    loki::{Limits, Loki},
    now_ns,
};
use crate::figures::thousands;

/// The backlog of the one container that is behind.
const DEFAULT_MIB: u64 = 100;
const RECORD_BYTES: usize = 2000;
const QUIET_CONTAINERS: usize = 8;
/// A quiet container's line, as often as the collector is looked at.
const LINE_BYTES: usize = 150;
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// No further acknowledgement for this long means that no more will come.
const STALL: Duration = Duration::from_secs(60);
/// The same, for streams that Loki refused before: these are tried more seldom the longer it refuses them.
const STALL_AFTER_REFUSAL: Duration = Duration::from_secs(300);

/// Loki's answers are not the same in each: a stream that is split has its shards refused one by one, and a tenant's own rate
/// is judged before anything is stored.
const TENANTS: [(&str, &str); 4] = [
    ("default", ""),
    ("not-sharded", "shard_streams: {enabled: false, desired_rate: 1536KB}"),
    ("fast", "ingestion_rate_mb: 1000, ingestion_burst_size_mb: 1000"),
    (
        "fast-not-sharded",
        "ingestion_rate_mb: 1000, ingestion_burst_size_mb: 1000, shard_streams: {enabled: false, desired_rate: 1536KB}",
    ),
];

const FEW_STREAMS: &str = "few-streams";
const STREAMS_MAX: usize = 5;
const CONTAINERS: usize = 12;
const LINES_OF_EACH: u64 = 1000;

/// All runs; an error says what each of them that failed found.
pub fn run(program: &Path, loki: &Path, mib: Option<u64>) -> anyhow::Result<()> {
    println!("\na Loki with its own default limits");
    let loki = Loki::start(loki, Limits::Default)?;
    loki.set_overrides(&overrides(STREAMS_MAX))?;
    let mut failures = Vec::new();
    for (tenant, limits) in TENANTS {
        let what = if limits.is_empty() { "no other limits" } else { limits };
        println!("\ntenant {tenant} ({what})");
        failures.extend(one_behind_beside_quiet_ones(program, &loki, tenant, mib.unwrap_or(DEFAULT_MIB)).err());
    }
    println!("\ntenant {FEW_STREAMS} ({STREAMS_MAX} streams, {CONTAINERS} containers)");
    failures.extend(more_containers_than_streams(program, &loki).err());
    let failures: Vec<_> = failures.iter().map(|error| format!("{error:#}")).collect();
    ensure!(failures.is_empty(), "with Loki's own limits: {}", failures.join("; "));
    Ok(())
}

fn overrides(streams_max: usize) -> String {
    let given = TENANTS.iter().filter(|(_, limits)| !limits.is_empty());
    let mut text: String = given.map(|(tenant, limits)| format!("{tenant}: {{{limits}}}\n")).collect();
    text.push_str(&format!("{FEW_STREAMS}: {{max_global_streams_per_user: {streams_max}}}\n"));
    text
}

/// One container with a large backlog, eight that log a line now and then.
fn one_behind_beside_quiet_ones(program: &Path, loki: &Loki, tenant: &'static str, mib: u64) -> anyhow::Result<()> {
    let mut tenant = Tenant::new(program, loki, tenant)?;
    // Long lines, so that an unoptimized collector too could send them faster than Loki takes one stream.
    let backlog = BacklogOptions { record_bytes: RECORD_BYTES, ..BacklogOptions::new(mib << 20, 1) };
    generate_backlog(&mut tenant.node, &backlog)?;
    let backlog = tenant.node.ledger().lines();
    let mut quiet = tenant.containers("quiet", QUIET_CONTAINERS)?;
    tenant.start()?;
    tenant.watch(STALL, |tenant, acknowledged| {
        quiet.iter_mut().try_for_each(|container| container.write_line(Stream::Stdout, Shape::Text, LINE_BYTES))?;
        Ok(acknowledged >= backlog.max(tenant.written() / 2))
    })?;
    tenant.watch(STALL, |tenant, acknowledged| Ok(acknowledged >= tenant.written()))?;
    tenant.end_and_judge()
}

/// More streams than the tenant may have: those that it has go on, the others wait, and come when they may.
fn more_containers_than_streams(program: &Path, loki: &Loki) -> anyhow::Result<()> {
    let mut tenant = Tenant::new(program, loki, FEW_STREAMS)?;
    let mut containers = tenant.containers("many", CONTAINERS)?;
    for _ in 0..LINES_OF_EACH {
        containers
            .iter_mut()
            .try_for_each(|container| container.write_line(Stream::Stdout, Shape::Text, LINE_BYTES))?;
    }
    tenant.start()?;
    let permitted = STREAMS_MAX as u64 * LINES_OF_EACH;
    tenant.watch(STALL, |_, acknowledged| Ok(acknowledged >= permitted))?;
    let (acknowledged, stored) = (tenant.acknowledged()?, tenant.compare()?.stored());
    println!("{} lines acknowledged, {} in Loki", thousands(acknowledged), thousands(stored));
    let lost = acknowledged.saturating_sub(stored);
    ensure!(lost == 0, "{FEW_STREAMS}: {lost} of {acknowledged} acknowledged lines are not in Loki");
    ensure!(
        acknowledged >= permitted,
        "{FEW_STREAMS}: {acknowledged} lines are acknowledged; {STREAMS_MAX} streams with {permitted} were permitted"
    );
    loki.set_overrides(&overrides(2 * CONTAINERS))?;
    println!("Loki permits {} streams now", 2 * CONTAINERS);
    tenant.watch(STALL_AFTER_REFUSAL, |tenant, acknowledged| Ok(acknowledged >= tenant.written()))?;
    tenant.end_and_judge()
}

/// One tenant with a node of its own, whose collector is configured as little as possible.
struct Tenant {
    name: &'static str,
    node: Node,
    client: Client,
    setup: rig::program::Setup,
    collector: Option<Collector>,
    started: Instant,
    range: Range,
    // Last, so that it is removed after the collector has ended.
    _folder: tempfile::TempDir,
}

impl Tenant {
    fn new(program: &Path, loki: &Loki, name: &'static str) -> anyhow::Result<Self> {
        const HOUR_NS: i64 = 3_600_000_000_000;
        let folder = tempfile::Builder::new().prefix("pilcrow-e2e-limits-").tempdir()?;
        let node = Node::new(folder.path(), 1)?;
        let setup = collector::setup(program, folder.path(), &node.pods(), &loki.url, name, "{enabled: false}")?;
        let now_ns = now_ns()?;
        Ok(Self {
            name,
            node,
            client: Client::new(&loki.url, name, PAGES[1])?,
            setup,
            collector: None,
            started: Instant::now(),
            range: Range { start_ns: now_ns - HOUR_NS, end_ns: now_ns + HOUR_NS },
            _folder: folder,
        })
    }

    fn containers(&mut self, kind: &str, count: usize) -> anyhow::Result<Vec<Container>> {
        let started = (0..count).map(|number| {
            let pod = self.node.pod("limits", &format!("{kind}-{number}"));
            Ok(self.node.start(&pod, "app", ContainerOptions::default())?)
        });
        started.collect()
    }

    fn start(&mut self) -> anyhow::Result<()> {
        let mut collector = Collector::start(&self.setup)?;
        collector.wait_for_start()?;
        self.started = Instant::now();
        self.collector = Some(collector);
        Ok(())
    }

    fn written(&self) -> u64 {
        self.node.ledger().lines()
    }

    fn collector(&mut self) -> anyhow::Result<&mut Collector> {
        self.collector.as_mut().context("no collector runs")
    }

    fn metric(&mut self, name: &str) -> anyhow::Result<u64> {
        Ok(Metrics::fetch(self.collector()?.status_address())?.sum(name))
    }

    /// What the collector calls acknowledged.
    fn acknowledged(&mut self) -> anyhow::Result<u64> {
        self.metric("pilcrow_acknowledged_lines_total")
    }

    /// Until `is_enough` of the acknowledged lines says so, or no more come for `stall`, which is no error here: the comparison
    /// says what is missing.
    fn watch(
        &mut self,
        stall: Duration,
        mut is_enough: impl FnMut(&Self, u64) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let mut last = (0, Instant::now());
        loop {
            self.collector()?.check_running()?;
            let acknowledged = self.acknowledged()?;
            if is_enough(self, acknowledged)? {
                return Ok(());
            }
            if acknowledged != last.0 {
                last = (acknowledged, Instant::now());
            } else if last.1.elapsed() > stall {
                println!("no line more was acknowledged in {} s", stall.as_secs());
                return Ok(());
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    fn compare(&self) -> anyhow::Result<Comparison> {
        let written = self.node.ledger().written();
        let sources = written
            .iter()
            .map(|(name, lines)| Source::from_name(name, *lines).with_context(|| format!("unknown source {name}")))
            .collect::<anyhow::Result<Vec<_>>>()?;
        compare::compare(&self.client, self.name, self.range, &sources, &[], true)
    }

    fn end_and_judge(mut self) -> anyhow::Result<()> {
        let took = self.started.elapsed();
        let (acknowledged, dropped) = (self.acknowledged()?, self.metric("pilcrow_dropped_lines_total")?);
        self.collector()?.terminate()?;
        let comparison = self.compare()?;
        let Comparison { missing, damaged, misplaced, mistimed, .. } = comparison;
        let written = self.written();
        println!(
            "{} lines written, {} acknowledged in {} s, {} dropped with a count, {} in Loki",
            thousands(written),
            thousands(acknowledged),
            took.as_secs(),
            thousands(dropped),
            thousands(comparison.stored()),
        );
        let is_right = missing + damaged + misplaced + mistimed + dropped == 0 && comparison.wrong_streams.is_empty();
        // Repetitions and their order are not judged: a request that was refused in part is sent again.
        ensure!(
            is_right && acknowledged >= written,
            "{}: {written} lines written, {acknowledged} acknowledged, {dropped} dropped, {missing} not in Loki:\n{comparison}",
            self.name
        );
        Ok(())
    }
}
