//! A stand-in for the Kubernetes API: lists and watches the metadata of pods, as far as Pilcrow asks for it, and nothing
//! else. `cargo xtask e2e --kube` has the real one.
//!
//! A request that asks for whole pods, or for those of another node, gets 400, so that no test passes with it.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

/// The node that may be asked for.
pub const NODE: &str = "pi-3";

/// The server; its threads end with the test's process.
pub struct PodsApi {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    folder: tempfile::TempDir,
}

#[derive(Default)]
struct State {
    pods: BTreeMap<String, Value>,
    /// The event that made each resource version, beginning with 1.
    events: Vec<Value>,
    is_down: bool,
    /// Every request gets this status.
    refusal: Option<u16>,
    breaks_list: bool,
    /// Watches that began before this many had been broken off end.
    broken_watches: usize,
}

impl PodsApi {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, state) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(State::default())));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || answer(stream.unwrap(), &shared));
            }
        });
        Self { address, state, folder: tempfile::tempdir().unwrap() }
    }

    /// A kubeconfig for it.
    pub fn kubeconfig(&self) -> PathBuf {
        let path = self.folder.path().join("kubeconfig");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{}", self.address)}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        });
        std::fs::write(&path, config.to_string()).unwrap();
        path
    }

    /// While down, connections end without an answer.
    pub fn set_down(&self, is_down: bool) {
        self.state.lock().unwrap().is_down = is_down;
    }

    pub fn refuse(&self, status: u16) {
        self.state.lock().unwrap().refusal = Some(status);
    }

    /// The next list ends in the middle.
    pub fn break_off_next_list(&self) {
        self.state.lock().unwrap().breaks_list = true;
    }

    /// The watches that there are end in the middle of an event.
    pub fn break_off_watches(&self) {
        self.state.lock().unwrap().broken_watches += 1;
    }

    /// Makes a pod, or changes it.
    pub fn put(&self, name: &str, uid: &str, labels: Value, annotations: Value) {
        self.put_metadata(name, json!({"uid": uid, "labels": labels, "annotations": annotations}));
    }

    /// Makes a pod with this metadata, or changes it; its UID is that of `Node::container` unless it is given.
    pub fn put_metadata(&self, name: &str, more: Value) {
        let mut metadata = json!({"name": name, "namespace": "default", "uid": format!("uid-of-{name}")});
        metadata.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.state.lock().unwrap().happen("MODIFIED", metadata);
    }

    /// Makes a pod with the label `app.kubernetes.io/name`; its UID is that of `Node::container`.
    pub fn put_app(&self, name: &str, app: &str) {
        self.put(name, &format!("uid-of-{name}"), json!({"app.kubernetes.io/name": app}), json!({}));
    }

    pub fn delete(&self, name: &str) {
        let mut state = self.state.lock().unwrap();
        let metadata = state.pods[name]["metadata"].clone();
        state.happen("DELETED", metadata);
    }
}

impl State {
    fn happen(&mut self, kind: &str, mut metadata: Value) {
        metadata["resourceVersion"] = json!((self.events.len() + 1).to_string());
        let name = metadata["name"].as_str().unwrap().to_owned();
        let pod = json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata});
        self.events.push(json!({"type": kind, "object": pod}));
        if kind == "DELETED" {
            self.pods.remove(&name)
        } else {
            self.pods.insert(name, pod)
        };
    }

    fn list(&self) -> Value {
        json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList",
            "metadata": {"resourceVersion": self.events.len().to_string()},
            "items": self.pods.values().collect::<Vec<_>>(),
        })
    }
}

/// One request, and the connection ends. Errors are the other end's going away.
fn answer(stream: TcpStream, state: &Mutex<State>) -> io::Result<()> {
    let mut head = String::new();
    let mut reader = BufReader::new(&stream);
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let (is_down, refusal) = {
        let state = state.lock().unwrap();
        (state.is_down, state.refusal)
    };
    let target = head.split(' ').nth(1).unwrap();
    let is_asked_well = target.contains(&format!("fieldSelector=spec.nodeName%3D{NODE}"))
        && head.contains("as=PartialObjectMetadata")
        && target.starts_with("/api/v1/pods?");
    match refusal {
        _ if is_down => Ok(()),
        Some(status) => fail(&stream, status, "pods is forbidden: a stand-in says so"),
        None if !is_asked_well => fail(&stream, 400, target),
        None if target.contains("watch=true") => watch(&stream, target, state),
        None if !target.contains("resourceVersion=0") => fail(&stream, 400, target),
        None => {
            let (list, breaks) = {
                let mut state = state.lock().unwrap();
                (state.list(), std::mem::take(&mut state.breaks_list))
            };
            match breaks {
                true => break_off(&stream, &list),
                false => respond(&stream, 200, &list),
            }
        }
    }
}

fn fail(stream: &TcpStream, status: u16, message: &str) -> io::Result<()> {
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
        "reason": "Forbidden", "code": status});
    respond(stream, status, &body)
}

fn respond(mut stream: &TcpStream, status: u16, body: &Value) -> io::Result<()> {
    let body = body.to_string();
    write!(
        stream,
        "HTTP/1.1 {status} Status\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn break_off(mut stream: &TcpStream, body: &Value) -> io::Result<()> {
    let body = body.to_string();
    let (length, half) = (body.len(), &body[..body.len() / 2]);
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{half}")
}

/// Sends what happened since the version that is asked for, then what happens, until the API is down.
fn watch(mut stream: &TcpStream, target: &str, state: &Mutex<State>) -> io::Result<()> {
    let version = target.split(['?', '&']).find_map(|pair| pair.strip_prefix("resourceVersion=")).unwrap();
    let mut sent: usize = version.parse().unwrap();
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")?;
    let broken_before = state.lock().unwrap().broken_watches;
    loop {
        let events = {
            let state = state.lock().unwrap();
            if state.is_down {
                return Ok(());
            }
            if state.broken_watches > broken_before {
                return write!(stream, "400\r\n{{\"type\":\"MOD");
            }
            state.events[sent..].to_vec()
        };
        for event in events {
            let line = format!("{event}\n");
            write!(stream, "{:x}\r\n{line}\r\n", line.len())?;
            sent += 1;
        }
        thread::sleep(Duration::from_millis(5));
    }
}
