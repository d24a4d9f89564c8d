//! What a peer would learn from Kubernetes: which containers there are, and their labels. As Prometheus' file_sd has it, a file
//! of JSON that is written anew when containers come; collectors watch it as they watch the API server.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

/// The containers below a pods folder, as a file.
#[derive(Debug)]
pub struct Targets {
    pods: PathBuf,
    file: PathBuf,
}

impl Targets {
    /// Those below `pods`, in a file in `folder`; not written yet.
    pub fn new(pods: &Path, folder: &Path) -> Self {
        Self { pods: pods.to_owned(), file: folder.join("targets.json") }
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Writes those that there are now.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(&self) -> io::Result<()> {
        let mut targets = Vec::new();
        for pod in fs::read_dir(&self.pods)? {
            for container in fs::read_dir(pod?.path())? {
                targets.extend(target(&container?.path()));
            }
        }
        let new = self.file.with_extension("new");
        fs::write(&new, Value::from(targets).to_string())?;
        fs::rename(new, &self.file)
    }
}

/// A container by its folder, `NAMESPACE_POD_UID/CONTAINER`.
fn target(folder: &Path) -> Option<Value> {
    let container = folder.file_name()?.to_str()?;
    let mut pod = folder.parent()?.file_name()?.to_str()?.split('_');
    let (namespace, pod) = (pod.next()?, pod.next()?);
    let labels = json!({
        "namespace": namespace, "pod": pod, "container": container, "job": format!("{namespace}/{container}"),
        "__path__": folder.join("*.log"),
    });
    Some(json!({"targets": ["localhost"], "labels": labels}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_that_come_are_in_the_next_file() {
        let folder = tempfile::tempdir().unwrap();
        let pods = folder.path().join("pods");
        fs::create_dir(&pods).unwrap();
        let targets = Targets::new(&pods, folder.path());
        let read = || serde_json::from_slice::<Value>(&fs::read(targets.file()).unwrap()).unwrap();
        targets.write().unwrap();
        assert_eq!(read(), json!([]));
        let log = pods.join("default_web-0_11111111-2222/nginx");
        fs::create_dir_all(&log).unwrap();
        targets.write().unwrap();
        let labels = &read()[0]["labels"];
        assert_eq!((&labels["job"], &labels["pod"]), (&json!("default/nginx"), &json!("web-0")));
        assert_eq!(labels["__path__"], json!(log.join("*.log")));
    }
}
