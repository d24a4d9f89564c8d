//! The bytes of an image archive: OCI image layout 1.0 (image-spec's image-layout.md) and docker's manifest.json in one tar.
//!
//! In: files for one layer. Out: the archive. No clock, no user and no order of a directory goes into it.

use std::io::Write;

use anyhow::Context;
use flate2::{Compression, GzBuilder};
use serde_json::{Map, json};
use sha2::{Digest, Sha256};

/// The media type of an index.
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A file of the image; it belongs to root and is of 1970.
pub struct File<'a> {
    /// Without a slash in front.
    pub path: &'a str,
    pub mode: u32,
    pub content: &'a [u8],
}

/// An image's configuration.
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

/// An image for one machine: what an index lists, and the blobs behind it.
struct Parts {
    config: Blob,
    layer: Blob,
    manifest: Blob,
    /// The manifest's descriptor, with its platform.
    entry: serde_json::Value,
}

impl Parts {
    /// Of one layer with `files`, for linux.
    fn of(image: &Image<'_>, files: &[File]) -> anyhow::Result<Self> {
        let Image { architecture, command: (program, arguments), port, .. } = *image;
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
        Ok(Self { config, layer, manifest, entry })
    }

    fn blobs(&self) -> [&Blob; 3] {
        [&self.config, &self.layer, &self.manifest]
    }
}

/// By what name tools know what an archive's index lists.
fn named(mut entry: serde_json::Value, name: &str) -> serde_json::Value {
    let tag = name.rsplit(':').next().unwrap_or(name);
    entry["annotations"] = json!({"io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag});
    entry
}

fn index_of(entries: &[serde_json::Value]) -> serde_json::Value {
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
}

/// An image for one machine, which docker loads as well.
pub fn archive(image: &Image<'_>, files: &[File]) -> anyhow::Result<Vec<u8>> {
    let parts = Parts::of(image, files)?;
    let index = index_of(&[named(parts.entry.clone(), image.name)]);
    let for_docker = json!([{"Config": parts.config.path(), "RepoTags": [image.name], "Layers": [parts.layer.path()]}]);
    write(&index, Some(&for_docker), &parts.blobs())
}

/// One image for several machines: an index in the archive's index, as registries have it. The first one's name is that of all.
pub fn archive_of_several(images: &[(Image<'_>, Vec<File<'_>>)]) -> anyhow::Result<Vec<u8>> {
    let parts: Vec<Parts> =
        images.iter().map(|(image, files)| Parts::of(image, files)).collect::<anyhow::Result<_>>()?;
    let (first, _) = images.first().context("no image")?;
    let entries: Vec<_> = parts.iter().map(|parts| parts.entry.clone()).collect();
    let inner = Blob::json(&index_of(&entries));
    let index = index_of(&[named(inner.descriptor(INDEX), first.name)]);
    let mut blobs: Vec<&Blob> = vec![&inner];
    for blob in parts.iter().flat_map(Parts::blobs) {
        // Images may share a layer.
        if !blobs.iter().any(|known| known.digest == blob.digest) {
            blobs.push(blob);
        }
    }
    write(&index, None, &blobs)
}

/// The archive.
fn write(
    index: &serde_json::Value,
    for_docker: Option<&serde_json::Value>,
    blobs: &[&Blob],
) -> anyhow::Result<Vec<u8>> {
    let (index, for_docker) = (index.to_string(), for_docker.map(ToString::to_string));
    let paths: Vec<String> = blobs.iter().map(|blob| blob.path()).collect();
    let mut parts = vec![File { path: "oci-layout", mode: 0o644, content: br#"{"imageLayoutVersion":"1.0.0"}"# }];
    parts.push(File { path: "index.json", mode: 0o644, content: index.as_bytes() });
    if let Some(for_docker) = &for_docker {
        parts.push(File { path: "manifest.json", mode: 0o644, content: for_docker.as_bytes() });
    }
    parts.extend(paths.iter().zip(blobs).map(|(path, blob)| File { path, mode: 0o644, content: &blob.bytes }));
    tar_of(&parts)
}

/// A tar with the folders of all files before them.
pub fn tar_of(files: &[File]) -> anyhow::Result<Vec<u8>> {
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

/// gzip without a time.
pub fn gzip(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    gzip.write_all(bytes)?;
    gzip.finish()
}

/// As hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
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
    fn an_image_for_two_machines_is_an_index_whose_blobs_are_all_there() {
        let one = |architecture| {
            let image =
                Image { name: "localhost/pilcrow:1.2.3", architecture, command: ("/pilcrow", &["run"]), port: None };
            (image, vec![File { path: "pilcrow", mode: 0o755, content: b"the same for both" }])
        };
        let files = unpack(&archive_of_several(&[one("arm64"), one("amd64")]).unwrap());
        let outer = &json_in(&files, "index.json")["manifests"][0];
        assert_eq!(outer["annotations"]["io.containerd.image.name"], "localhost/pilcrow:1.2.3");
        let inner = json_in(&files, &blob(&outer["digest"]));
        assert_eq!(inner["mediaType"], INDEX);
        let machines: Vec<_> =
            inner["manifests"].as_array().unwrap().iter().map(|m| &m["platform"]["architecture"]).collect();
        assert_eq!(machines, ["arm64", "amd64"]);
        for entry in inner["manifests"].as_array().unwrap() {
            let manifest = json_in(&files, &blob(&entry["digest"]));
            assert_eq!(
                json_in(&files, &blob(&manifest["config"]["digest"]))["architecture"],
                entry["platform"]["architecture"]
            );
            assert!(files.contains_key(&blob(&manifest["layers"][0]["digest"])));
        }
        assert!(!files.contains_key("manifest.json"), "docker's has no word for several machines");
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
