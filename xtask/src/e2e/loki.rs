//! A real Loki: built from the Go module in e2e/loki, started on free ports with all it stores in a temporary folder.
//!
//! In: nothing, or the path of a Loki program. Out: the base URL of one that is ready; dropping it stops it.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use super::logql;
use crate::process;

const MODULE: &str = "github.com/grafana/loki/v3";
const READY_WITHIN: Duration = Duration::from_secs(90);

/// Whether this machine can build Loki.
pub fn can_build() -> Result<(), String> {
    if process::find("go").is_some() {
        return Ok(());
    }
    Err("no Go to build Loki with: install Go 1.21 or newer (it gets the version that e2e/loki/go.mod names), \
         or give --loki-bin or --loki"
        .to_owned())
}

/// Loki's program, built now if it was not before.
pub fn build() -> anyhow::Result<PathBuf> {
    can_build().map_err(anyhow::Error::msg)?;
    let module = process::workspace_root().join("e2e/loki");
    let go_mod = fs::read_to_string(module.join("go.mod"))?;
    let version = version_in(&go_mod)?;
    let program = process::target_dir().join("loki").join(format!("loki-{version}"));
    if program.exists() {
        return Ok(program);
    }
    println!("building Loki {version}; this takes about five minutes on two cores, once");
    let start = Instant::now();
    let bare = version.trim_start_matches('v');
    process::run(
        Command::new("go")
            .args(["build", "-trimpath", "-ldflags"])
            .arg(format!("-s -w -X {MODULE}/pkg/util/build.Version={bare}"))
            .arg("-o")
            .arg(&program)
            .arg(format!("{MODULE}/cmd/loki"))
            .env("CGO_ENABLED", "0")
            .current_dir(&module),
    )?;
    println!("Loki {version} built in {} s", start.elapsed().as_secs());
    Ok(program)
}

/// The version that go.mod requires.
fn version_in(go_mod: &str) -> anyhow::Result<&str> {
    let mut words = go_mod.split_whitespace();
    words.find(|word| *word == MODULE).and_then(|_| words.next()).context("e2e/loki/go.mod names no Loki version")
}

/// A running Loki.
pub struct Loki {
    /// Base URL.
    pub url: String,
    process: Child,
    // Last, so that the folder is removed after the process that writes to it has ended.
    _folder: tempfile::TempDir,
}

impl Loki {
    /// Starts `program` and waits until it is ready.
    pub fn start(program: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("pilcrow-loki-").tempdir()?;
        let log = process::target_dir().join("loki/loki.log");
        fs::create_dir_all(process::target_dir().join("loki"))?;
        let log_file = File::create(&log)?;
        let [http, grpc] = free_ports()?;
        let process = Command::new(program)
            .arg(format!("-config.file={}", process::workspace_root().join("e2e/loki/loki.yaml").display()))
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
        let mut loki = Self { url: format!("http://127.0.0.1:{http}"), process, _folder: folder };
        loki.wait_until_ready(&log)?;
        Ok(loki)
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

/// Two ports that were free a moment ago.
fn free_ports() -> anyhow::Result<[u16; 2]> {
    let listeners = [TcpListener::bind(("127.0.0.1", 0))?, TcpListener::bind(("127.0.0.1", 0))?];
    Ok([listeners[0].local_addr()?.port(), listeners[1].local_addr()?.port()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_one_that_go_mod_requires() {
        let go_mod = "module x\n\ntool github.com/grafana/loki/v3/cmd/loki\n\nrequire (\n\ta.b/c v1.0.0\n\tgithub.com/grafana/loki/v3 v3.7.8 // indirect\n)\n";
        assert_eq!(version_in(go_mod).unwrap(), "v3.7.8");
        assert!(version_in("module x\n").is_err());
    }
}
