//! `pilcrow migrate --prove --loki`, asked of a real Loki.
//!
//! Loki gets the streams that Promtail's chart makes, name of the file included, from a collector with that chart's preset. Then the
//! chart's own configuration is proved: its conversion must be told to make the streams that Loki has, and another configuration to make
//! others.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Output},
};

use anyhow::{Context, ensure};
use rig::{
    kubelet::clock::write_rfc3339_nano,
    program::{Collector, Setup},
};

use super::{
    collector,
    logql::{Client, Range},
    wait_for,
};
use crate::process;

const PODS: [&str; 2] =
    ["shop_web-0_0a1b2c3d-0000-4000-8000-000000000001", "db_store-0_0a1b2c3d-0000-4000-8000-000000000002"];
const NODE: &str = "pi-3";
/// Of each stream.
const LINES: u64 = 20;

/// `now_ns` is the time of the last line and makes the tenant's name.
pub fn is_asked_for(program: &Path, url: &str, now_ns: i64) -> anyhow::Result<()> {
    println!("\nwhether a conversion makes the streams that Loki has");
    let folder = tempfile::Builder::new().prefix("pilcrow-e2e-prove-").tempdir()?;
    let pods = folder.path().join("pods");
    for pod in PODS {
        write_pod(&pods.join(pod).join("app"), now_ns)?;
    }
    let tenant = format!("e2e-prove-{now_ns}");
    let configuration = format!(
        "loki: {{url: {url:?}, tenant: {tenant}}}\nlabels: {{cluster: {tenant}}}\npreset: promtail-chart\n\
         relabel_configs: [{{source_labels: [__path__], target_label: filename}}]\n\
         paths: {{pods: {}, state: {}}}\nkubernetes: {{enabled: false, node_name: {NODE}}}\n",
        pods.display(),
        folder.path().join("state").display()
    );
    let mut running = Collector::start(&Setup::write(program, &collector::folder(), &configuration)?)?;
    let range = Range { start_ns: now_ns - 3_600_000_000_000, end_ns: now_ns + 3_600_000_000_000 };
    let all = format!("{{cluster={tenant:?}}}");
    let expected = LINES * 2 * PODS.len() as u64;
    let client = Client::new(url, &tenant, 5000)?;
    wait_for(&client, &all, range, "the lines are in Loki", |count| count >= expected)?;
    running.terminate()?;

    let chart = process::workspace_root().join("collector/tests/prove/promtail-chart.yaml");
    let client = "url: http://loki-gateway/loki/api/v1/push";
    let chart = fs::read_to_string(&chart).with_context(|| chart.display().to_string())?;
    ensure!(chart.contains(client), "promtail-chart.yaml has no {client}");
    let old = folder.path().join("promtail.yaml");
    let with_tenant = format!("{client}\n    tenant_id: {tenant}\n    external_labels: {{cluster: {tenant}}}");
    fs::write(&old, chart.replace(client, &with_tenant))?;
    let prove = |more: &[&str]| -> anyhow::Result<Output> {
        let mut command = Command::new(program);
        command.args(["migrate", "--prove"]).arg(&old).arg("--pods").arg(&pods).args(["--loki", url]).args(more);
        Ok(command.env("NODE_NAME", NODE).output()?)
    };
    let same = prove(&[])?;
    let told = String::from_utf8_lossy(&same.stdout);
    let identical = "streams: 4 in Loki, 4 by the new configuration, 4 identical";
    ensure!(same.status.success() && told.contains(identical), "{told}{}", String::from_utf8_lossy(&same.stderr));

    let other = folder.path().join("other.yaml");
    fs::write(&other, format!("loki: {{url: {url:?}, tenant: {tenant}}}\nlabels: {{cluster: {tenant}}}\n"))?;
    let other = prove(&["--config", other.to_str().context("no UTF-8")?])?;
    let told = String::from_utf8_lossy(&other.stdout);
    ensure!(
        other.status.code() == Some(1) && told.contains("4 streams: other labels: app, job, node_name"),
        "{told}{}",
        String::from_utf8_lossy(&other.stderr)
    );
    println!("Loki has the streams that the conversion makes, and not those of another configuration");
    Ok(())
}

/// Lines of one container in the last seconds, on both streams.
fn write_pod(folder: &Path, now_ns: i64) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    let mut log = Vec::new();
    for n in 0..LINES {
        for stream in ["stdout", "stderr"] {
            write_rfc3339_nano(&mut log, now_ns - i64::try_from(LINES - n)? * 1_000_000, 0);
            writeln!(log, " {stream} F line {n}")?;
        }
    }
    Ok(fs::write(folder.join("0.log"), log)?)
}
