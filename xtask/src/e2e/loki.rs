//! A real Loki: built from the Go module in e2e/loki, started on free ports with all it stores in a temporary folder.
//!
//! In: nothing, or the path of a Loki program; which limits it has. Out: the base URL of one that is ready; dropping it stops it.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use super::logql;
use crate::{go, process};

/// How its program is built.
pub const PROGRAM: go::Program = go::Program {
    name: "loki",
    module: "github.com/grafana/loki/v3",
    package: "cmd/loki",
    version_variable: "github.com/grafana/loki/v3/pkg/util/build.Version",
    version_with_v: false,
    takes: "about five minutes",
    or_give: "--loki-bin or --loki",
};

const READY_WITHIN: Duration = Duration::from_secs(90);

/// Which limits a Loki has for all tenants.
#[derive(Clone, Copy, Debug)]
pub enum Limits {
    /// None.
    Lifted,
    /// Its own.
    Default,
}

impl Limits {
    fn name(self) -> &'static str {
        match self {
            Self::Lifted => "lifted",
            Self::Default => "default",
        }
    }
}

/// A running Loki.
pub struct Loki {
    /// Base URL.
    pub url: String,
    process: Child,
    // Last, so that the folder is removed after the process that writes to it has ended.
    folder: tempfile::TempDir,
}

impl Loki {
    /// Starts `program` and waits until it is ready.
    pub fn start(program: &Path, limits: Limits) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("pilcrow-loki-").tempdir()?;
        let log = PROGRAM.folder()?.join(format!("loki-limits-{}.log", limits.name()));
        let log_file = File::create(&log)?;
        let config = folder.path().join("loki.yaml");
        let module = process::workspace_root().join("e2e/loki");
        let parts = ["loki.yaml".to_owned(), format!("limits-{}.yaml", limits.name())]
            .map(|name| fs::read_to_string(module.join(&name)).with_context(|| format!("e2e/loki/{name}")));
        fs::write(&config, parts.into_iter().collect::<anyhow::Result<Vec<_>>>()?.join("\n"))?;
        write_overrides(folder.path(), "")?;
        let [http, grpc] = free_ports()?;
        let process = Command::new(program)
            .arg(format!("-config.file={}", config.display()))
            .arg("-config.expand-env=true")
            .env("LOKI_DIR", folder.path())
            .env("LOKI_HTTP_PORT", http.to_string())
            .env("LOKI_GRPC_PORT", grpc.to_string())
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log_file.try_clone()?)
            .stderr(log_file)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut loki = Self { url: format!("http://127.0.0.1:{http}"), process, folder };
        loki.wait_until_ready(&log)?;
        Ok(loki)
    }

    /// Limits of single tenants, one `TENANT: {KEY: VALUE}` a line, instead of those before; Loki takes them in about a second.
    pub fn set_overrides(&self, overrides: &str) -> anyhow::Result<()> {
        write_overrides(self.folder.path(), overrides)?;
        // One period of runtime_config, and as much again.
        thread::sleep(Duration::from_secs(2));
        Ok(())
    }

    fn wait_until_ready(&mut self, log: &Path) -> anyhow::Result<()> {
        let client = logql::Client::new(&self.url, "", 1)?;
        let start = Instant::now();
        while client.get("/ready").is_err() {
            if let Some(status) = self.process.try_wait()? {
                bail!("Loki ended with {status}; see {}", log.display());
            }
            if start.elapsed() > READY_WITHIN {
                bail!("Loki is not ready after {} s; see {}", READY_WITHIN.as_secs(), log.display());
            }
            thread::sleep(Duration::from_millis(250));
        }
        println!("Loki is ready after {} s at {}", start.elapsed().as_secs(), self.url);
        Ok(())
    }
}

impl Drop for Loki {
    fn drop(&mut self) {
        // Killed, not asked: what it stored is thrown away anyway. Both calls fail only if it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn write_overrides(folder: &Path, overrides: &str) -> anyhow::Result<()> {
    let lines: String = overrides.lines().map(|line| format!("  {line}\n")).collect();
    // Renamed into its place, so that Loki never reads half of it.
    let (new, path) = (folder.join("overrides.new"), folder.join("overrides.yaml"));
    fs::write(&new, if lines.is_empty() { "overrides: {}\n".to_owned() } else { format!("overrides:\n{lines}") })?;
    Ok(fs::rename(new, path)?)
}

/// Two ports that were free a moment ago.
fn free_ports() -> anyhow::Result<[u16; 2]> {
    let listeners = [TcpListener::bind(("127.0.0.1", 0))?, TcpListener::bind(("127.0.0.1", 0))?];
    Ok([listeners[0].local_addr()?.port(), listeners[1].local_addr()?.port()])
}
