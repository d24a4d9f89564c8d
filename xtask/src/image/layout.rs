//! The bytes of an image archive: OCI image layout 1.0 (image-spec's image-layout.md) and docker's manifest.json in one tar.
//!
//! In: files for one layer. Out: the archive. No clock, no user and no order of a directory goes into it.

use std::io::Write;

use flate2::{Compression, GzBuilder};
use serde_json::{Map, json};
use sha2::{Digest, Sha256};

/// A file of the image; it belongs to root and is of 1970.
pub struct File<'a> {
    /// Without a slash in front.
    pub path: &'a str,
    /// Permissions.
    pub mode: u32,
    /// What is in it.
    pub content: &'a [u8],
}

/// What an image says of itself.
pub struct Image<'a> {
    /// With a tag.
    pub name: &'a str,
    /// Go's name of it.
    pub architecture: &'a str,
    /// The program, absolute, and the arguments that it has unless others are given.
    pub command: (&'a str, &'a [&'a str]),
    /// Where the program listens.
    pub port: Option<u16>,
}

/// Bytes that are known by their digest.
struct Blob {
    digest: String,
    bytes: Vec<u8>,
}

impl Blob {
    fn new(bytes: Vec<u8>) -> Self {
        Self { digest: sha256(&bytes), bytes }
    }

    fn json(value: &serde_json::Value) -> Self {
        Self::new(value.to_string().into_bytes())
    }

    fn path(&self) -> String {
        format!("blobs/sha256/{}", self.digest)
    }

    /// How another blob refers to this one.
    fn descriptor(&self, media_type: &str) -> serde_json::Value {
        json!({"mediaType": media_type, "digest": format!("sha256:{}", self.digest), "size": self.bytes.len()})
    }
}

/// An image for linux, of one layer with `files`.
pub fn archive(image: &Image<'_>, files: &[File]) -> anyhow::Result<Vec<u8>> {
    let Image { name, architecture, command: (program, arguments), port } = *image;
    let layer = tar_of(files)?;
    let layer_digest = sha256(&layer);
    let layer = Blob::new(gzip(&layer)?);
    let config = Blob::json(&json!({
        "architecture": architecture,
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "Entrypoint": [program],
            "Cmd": arguments,
            "ExposedPorts": port.map(|port| (format!("{port}/tcp"), json!({}))).into_iter().collect::<Map<_, _>>(),
            "Labels": {
                "org.opencontainers.image.title": program.trim_start_matches('/'),
                "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
                "org.opencontainers.image.licenses": "Apache-2.0",
            },
        },
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer_digest}")]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "cargo xtask image"}],
    }));
    let manifest = Blob::json(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config.descriptor("application/vnd.oci.image.config.v1+json"),
        "layers": [layer.descriptor("application/vnd.oci.image.layer.v1.tar+gzip")],
    }));
    let mut entry = manifest.descriptor("application/vnd.oci.image.manifest.v1+json");
    entry["platform"] = json!({"architecture": architecture, "os": "linux"});
    let tag = name.rsplit(':').next().unwrap_or(name);
    entry["annotations"] = json!({"io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag});
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [entry],
    });
    let for_docker = json!([{"Config": config.path(), "RepoTags": [name], "Layers": [layer.path()]}]);

    let blobs = [&config, &layer, &manifest].map(|blob| (blob.path(), blob.bytes.as_slice()));
    let mut parts = vec![File { path: "oci-layout", mode: 0o644, content: br#"{"imageLayoutVersion":"1.0.0"}"# }];
    let (index, for_docker) = (index.to_string(), for_docker.to_string());
    parts.push(File { path: "index.json", mode: 0o644, content: index.as_bytes() });
    parts.push(File { path: "manifest.json", mode: 0o644, content: for_docker.as_bytes() });
    parts.extend(blobs.iter().map(|(path, content)| File { path, mode: 0o644, content }));
    tar_of(&parts)
}

/// A tar with the folders of all files before them.
fn tar_of(files: &[File]) -> anyhow::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut folders = Vec::new();
    for file in files {
        for (end, _) in file.path.match_indices('/') {
            let folder = &file.path[..=end];
            if !folders.contains(&folder) {
                folders.push(folder);
                append(&mut tar, folder, tar::EntryType::Directory, 0o755, &[])?;
            }
        }
        append(&mut tar, file.path, tar::EntryType::Regular, file.mode, file.content)?;
    }
    Ok(tar.into_inner()?)
}

fn append(
    tar: &mut tar::Builder<Vec<u8>>,
    path: &str,
    kind: tar::EntryType,
    mode: u32,
    content: &[u8],
) -> std::io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, path, content)
}

fn gzip(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    gzip.write_all(bytes)?;
    gzip.finish()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, io::Read};

    use super::*;

    fn image() -> Vec<u8> {
        let files = [
            File { path: "etc/ssl/certs/x.crt", mode: 0o644, content: b"authorities" },
            File { path: "pilcrow", mode: 0o755, content: b"program" },
        ];
        let image = Image {
            name: "localhost/pilcrow:1.2.3",
            architecture: "arm64",
            command: ("/pilcrow", &["run"]),
            port: Some(9080),
        };
        archive(&image, &files).unwrap()
    }

    fn unpack(archive: &[u8]) -> BTreeMap<String, (u32, Vec<u8>)> {
        let mut found = BTreeMap::new();
        for entry in tar::Archive::new(archive).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            let path = entry.path().unwrap().to_string_lossy().into_owned();
            found.insert(path, (entry.header().mode().unwrap(), content));
        }
        found
    }

    fn json_in(files: &BTreeMap<String, (u32, Vec<u8>)>, path: &str) -> serde_json::Value {
        serde_json::from_slice(&files[path].1).unwrap()
    }

    fn blob(digest: &serde_json::Value) -> String {
        format!("blobs/sha256/{}", digest.as_str().unwrap().strip_prefix("sha256:").unwrap())
    }

    #[test]
    fn the_same_files_make_the_same_bytes() {
        assert_eq!(image(), image());
    }

    #[test]
    fn every_blob_is_what_its_digest_says_and_has_the_size_that_is_said_of_it() {
        let files = unpack(&image());
        for (path, (_, content)) in &files {
            if let Some(digest) = path.strip_prefix("blobs/sha256/").filter(|digest| !digest.is_empty()) {
                assert_eq!(digest, sha256(content), "{path}");
            }
        }
        let index = json_in(&files, "index.json");
        let manifest = json_in(&files, &blob(&index["manifests"][0]["digest"]));
        for descriptor in [&index["manifests"][0], &manifest["config"], &manifest["layers"][0]] {
            assert_eq!(descriptor["size"], files[&blob(&descriptor["digest"])].1.len());
        }
    }

    #[test]
    fn docker_s_manifest_and_the_oci_one_name_the_same_config_and_layer() {
        let files = unpack(&image());
        let index = json_in(&files, "index.json");
        let manifest = json_in(&files, &blob(&index["manifests"][0]["digest"]));
        let docker = &json_in(&files, "manifest.json")[0];
        assert_eq!(docker["Config"], blob(&manifest["config"]["digest"]));
        assert_eq!(docker["Layers"][0], blob(&manifest["layers"][0]["digest"]));
        assert_eq!(docker["RepoTags"][0], "localhost/pilcrow:1.2.3");
        assert_eq!(index["manifests"][0]["annotations"]["io.containerd.image.name"], "localhost/pilcrow:1.2.3");
    }

    #[test]
    fn the_layer_holds_the_files_and_is_known_by_its_uncompressed_digest() {
        let files = unpack(&image());
        let config_path = json_in(&files, "manifest.json")[0]["Config"].as_str().unwrap().to_owned();
        let layer_path = json_in(&files, "manifest.json")[0]["Layers"][0].as_str().unwrap().to_owned();
        let mut layer = Vec::new();
        flate2::read::GzDecoder::new(files[&layer_path].1.as_slice()).read_to_end(&mut layer).unwrap();
        let config = json_in(&files, &config_path);
        assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{}", sha256(&layer)));
        assert_eq!(config["architecture"], "arm64");
        assert_eq!(config["config"]["Entrypoint"], json!(["/pilcrow"]));
        assert_eq!(config["config"]["ExposedPorts"], json!({"9080/tcp": {}}));
        let layer = unpack(&layer);
        assert_eq!(layer["pilcrow"], (0o755, b"program".to_vec()));
        assert_eq!(layer["etc/ssl/certs/x.crt"], (0o644, b"authorities".to_vec()));
        assert!(layer.contains_key("etc/ssl/"), "{:?}", layer.keys());
    }
}
