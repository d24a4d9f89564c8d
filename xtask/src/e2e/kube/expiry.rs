//! A watch whose place in history the API server has forgotten.
//!
//! The API server keeps no memory of its own here, and etcd is made to forget: when the watch, which lasts 290 s by its own
//! wish, is taken up again, the answer is 410 Gone. What happened in between must be known all the same, each pod once.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::ensure;

use super::{Logs, NODE, cluster::Cluster, make_pod, uid, wait_until};

/// Its own memory would answer where etcd cannot, and tell the watch how far it has come.
const WITHOUT_MEMORY: [&str; 1] = ["--watch-cache=false"];

/// Longer than a watch lasts.
const WATCH_PATIENCE: Duration = Duration::from_secs(360);
/// How often history moves on.
const ROUND: Duration = Duration::from_secs(5);

/// How many pods come and go while the watch is forgotten.
const PODS: u32 = 20;

/// Runs it; the API server is as it was afterwards.
pub fn a_forgotten_watch_leaves_no_gap(cluster: &mut Cluster, program: &Path) -> anyhow::Result<()> {
    println!("etcd forgets where the watch was");
    cluster.kill_api();
    cluster.start_api_with(&WITHOUT_MEMORY)?;
    let logs = Logs::new()?;
    make_pod(cluster, "before", Some("before"), None)?;
    logs.write("before", &uid(cluster, "before")?, "before", 0)?;
    let kubeconfig = cluster.kubeconfig_of(super::chart::NAMESPACE, "pilcrow")?;
    let mut collector = logs.collect(program, &kubeconfig, "10m")?;
    logs.wait_for(1)?;
    let known = metric(&collector, "pilcrow_kubernetes_pods")?;

    // Events that are no pod's move history on without the watch seeing it.
    println!("waiting for the end of the watch, about five minutes");
    let start = Instant::now();
    for round in 0.. {
        cluster.apply(&format!(
            "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: round}}, data: {{n: '{round}'}}}}"
        ))?;
        cluster.forget_history()?;
        if metric(&collector, "pilcrow_kubernetes_errors_total{reason=\"expired\"}")? >= 1.0 {
            break;
        }
        ensure!(start.elapsed() < WATCH_PATIENCE, "no watch has expired; see {}", collector.log().display());
        thread::sleep(ROUND);
    }
    println!("the API server answered 410 Gone after {} s", start.elapsed().as_secs());
    for n in 0..PODS {
        make_pod(cluster, &format!("passing-{n}"), Some("passing"), None)?;
    }
    cluster.forget_history()?;
    cluster.kubectl(&["delete", "pods", "--selector=app.kubernetes.io/name=passing", "--force", "--grace-period=0"])?;
    make_pod(cluster, "meanwhile", Some("meanwhile"), None)?;
    cluster.forget_history()?;
    logs.write("meanwhile", &uid(cluster, "meanwhile")?, "meanwhile", 0)?;
    logs.wait_for(2)?;
    logs.expect("before", &[Some("before")])?;
    logs.expect("meanwhile", &[Some("meanwhile")])?;
    // One more than before, whatever was listed how often.
    wait_until("the pods are known once each", || Ok(metric(&collector, "pilcrow_kubernetes_pods")? == known + 1.0))?;
    collector.terminate()?;
    cluster.kill_api();
    cluster.start_api()?;
    ensure!(cluster.kubectl(&["get", "node", NODE]).is_ok(), "the node is gone");
    Ok(())
}

/// A sample of the collector's /metrics; 0 where it is not there yet.
fn metric(collector: &rig::program::Collector, sample: &str) -> anyhow::Result<f64> {
    let url = format!("http://{}/metrics", collector.status_address());
    let (_, body) = rig::http::get(&url, std::time::Duration::from_secs(5))?;
    let text = String::from_utf8_lossy(&body);
    let value = text.lines().find_map(|line| line.strip_prefix(sample)?.trim().parse().ok());
    Ok(value.unwrap_or(0.0))
}
