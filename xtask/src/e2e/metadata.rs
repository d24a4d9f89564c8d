//! Structured metadata and tenants, asked of a real Loki.
//!
//! Two tenants get the lines of the same pods, each from a collector of its own. Each must find its lines by what rules made
//! structured metadata of, that must not be a label, and neither may see the other's.

use std::{fs, io::Write, path::Path};

use anyhow::ensure;
use rig::{
    kubelet::clock::write_rfc3339_nano,
    program::{Collector, Setup},
};

use super::{
    collector,
    logql::{Client, Labels, Range},
    wait_for,
};

const LINES: u64 = 100;
const UIDS: [&str; 2] = ["0a1b2c3d-0000-4000-8000-000000000001", "0a1b2c3d-0000-4000-8000-000000000002"];

const RULES: &str = "\
kubernetes: {enabled: false, node_name: pi-3}
relabel_configs:
  - {source_labels: [__meta_kubernetes_pod_uid], target_label: __structured_metadata_pod_uid}
  - {source_labels: [__meta_kubernetes_pod_node_name], target_label: __structured_metadata_node}
";

/// `now_ns` is the time of the first line and makes the tenants' names, so that runs against one Loki do not meet.
pub fn is_asked_for(program: &Path, url: &str, now_ns: i64) -> anyhow::Result<()> {
    println!("\nstructured metadata, for two tenants");
    let folder = tempfile::Builder::new().prefix("pilcrow-e2e-metadata-").tempdir()?;
    let pods = folder.path().join("pods");
    for (number, uid) in UIDS.iter().enumerate() {
        write_pod(&pods.join(format!("default_web-{number}_{uid}/web")), now_ns)?;
    }
    let range = Range { start_ns: now_ns - 3_600_000_000_000, end_ns: now_ns + 3_600_000_000_000 };
    let tenants = ["a", "b"].map(|name| format!("e2e-metadata-{name}-{now_ns}"));
    for tenant in &tenants {
        let (pods, state) = (pods.display(), folder.path().join(tenant));
        let configuration = format!(
            "loki: {{url: {url:?}, tenant: {tenant}}}\nlabels: {{cluster: {tenant}}}\n\
             paths: {{pods: {pods}, state: {}}}\n{RULES}",
            state.display()
        );
        let mut collector = Collector::start(&Setup::write(program, &collector::folder(), &configuration)?)?;
        let client = Client::new(url, tenant, 5000)?;
        let all = format!("{{cluster={tenant:?}}}");
        let expected = LINES * UIDS.len() as u64;
        wait_for(&client, &all, range, "the lines are in Loki", |count| count >= expected)?;
        collector.terminate()?;
        for (number, uid) in UIDS.iter().enumerate() {
            let found = client.count(&format!("{all} | pod_uid={uid:?} | node=\"pi-3\""), range)?;
            ensure!(found == LINES, "{found} lines have pod_uid {uid} instead of {LINES}");
            let expected: Labels = [("pod_uid", *uid), ("node", "pi-3")].map(|(k, v)| (k.into(), v.into())).into();
            let mut others = Vec::new();
            client.each_entry(&format!("{{cluster={tenant:?}, pod=\"web-{number}\"}}"), range, |entry| {
                others.extend((*entry.metadata != expected).then(|| entry.metadata.clone()));
            })?;
            ensure!(others.is_empty(), "lines of web-{number} have other structured metadata: {others:?}");
        }
        for labels in client.series(&all, range)? {
            ensure!(
                !labels.contains_key("pod_uid") && !labels.contains_key("node"),
                "a stream has the labels {labels:?}"
            );
        }
    }
    for (tenant, other) in [(&tenants[0], &tenants[1]), (&tenants[1], &tenants[0])] {
        let seen = Client::new(url, tenant, 5000)?.series(&format!("{{cluster={other:?}}}"), range)?.len();
        ensure!(seen == 0, "the tenant {tenant} sees {seen} streams of {other}");
    }
    println!("each tenant finds its lines by structured metadata, and no others");
    Ok(())
}

/// Lines of one container, a millisecond apart.
fn write_pod(folder: &Path, start_ns: i64) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    let mut log = Vec::new();
    for n in 0..LINES {
        write_rfc3339_nano(&mut log, start_ns + i64::try_from(n)? * 1_000_000, 0);
        writeln!(log, " stdout F line {n}")?;
    }
    Ok(fs::write(folder.join("0.log"), log)?)
}
