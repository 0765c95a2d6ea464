//! An image archive: OCI layout, with the index that `docker load` reads beside it.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tar::{EntryType, Header};

use super::layer::Finished;

/// SHA-256 in hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What becomes an archive.
pub(super) struct Image<'a> {
    /// Its name without the tag.
    pub(super) repository: &'a str,
    /// Its tag.
    pub(super) version: &'a str,
    /// Seconds since 1970.
    pub(super) created: u64,
    /// The lowest first.
    pub(super) layers: Vec<&'a Finished>,
}

impl Image<'_> {
    /// Writes the archive.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let mut archive = tar::Builder::new(Vec::new());
        for (name, bytes) in self.files()? {
            let mut header = Header::new_gnu();
            header.set_entry_type(EntryType::Regular);
            header.set_mode(0o644);
            header.set_mtime(self.created);
            header.set_size(bytes.len() as u64);
            archive.append_data(&mut header, &name, bytes.as_slice())?;
        }
        std::fs::write(path, archive.into_inner()?).with_context(|| format!("writing {}", path.display()))
    }

    /// Everything in it, by name.
    fn files(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let config = serde_json::to_vec(&self.config()?)?;
        let manifest = serde_json::to_vec(&self.manifest(&config))?;
        let index = serde_json::to_vec(&self.index(&manifest))?;
        let docker = serde_json::to_vec(&self.docker(&config))?;
        let mut files = vec![
            ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
            ("index.json".to_owned(), index),
            ("manifest.json".to_owned(), docker),
            (blob(&sha256(&config)), config),
            (blob(&sha256(&manifest)), manifest),
        ];
        files.extend(self.layers.iter().map(|layer| (blob(&layer.digest), layer.bytes.clone())));
        Ok(files)
    }

    fn config(&self) -> Result<Value> {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let layers: Vec<String> = self.layers.iter().map(|layer| format!("sha256:{}", layer.diff_id)).collect();
        Ok(json!({
            "architecture": architecture,
            "os": "linux",
            "created": rfc3339(self.created),
            "config": {
                "Entrypoint": ["/baton"],
                "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/"],
                "Labels": {
                    "org.opencontainers.image.title": self.repository,
                    "org.opencontainers.image.version": self.version,
                    "org.opencontainers.image.licenses": "Apache-2.0",
                },
            },
            "rootfs": { "type": "layers", "diff_ids": layers },
        }))
    }

    fn manifest(&self, config: &[u8]) -> Value {
        let layer = |layer: &&Finished| {
            descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &layer.digest, layer.bytes.len())
        };
        json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", &sha256(config), config.len()),
            "layers": self.layers.iter().map(layer).collect::<Vec<_>>(),
        })
    }

    fn index(&self, manifest: &[u8]) -> Value {
        let mut entry = descriptor(MANIFEST, &sha256(manifest), manifest.len());
        entry["annotations"] = json!({
            "org.opencontainers.image.ref.name": self.version,
            "io.containerd.image.name": format!("{}:{}", full_name(self.repository), self.version),
        });
        json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [entry] })
    }

    /// For `docker load` before release 25, which knows no OCI layout.
    fn docker(&self, config: &[u8]) -> Value {
        json!([{
            "Config": blob(&sha256(config)),
            "RepoTags": [format!("{}:{}", self.repository, self.version)],
            "Layers": self.layers.iter().map(|layer| blob(&layer.digest)).collect::<Vec<_>>(),
        }])
    }
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn blob(digest: &str) -> String {
    format!("blobs/sha256/{digest}")
}

fn descriptor(kind: &str, digest: &str, size: usize) -> Value {
    json!({ "mediaType": kind, "digest": format!("sha256:{digest}"), "size": size })
}

/// The name as the kubelet looks it up: with a registry.
fn full_name(repository: &str) -> String {
    match repository.split_once('/') {
        None => format!("docker.io/library/{repository}"),
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => repository.to_owned(),
        Some(_) => format!("docker.io/{repository}"),
    }
}

/// A time as `2026-11-21T12:00:00Z`.
fn rfc3339(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3_600, rest / 60 % 60, rest % 60)
}

/// Year, month and day of a number of days since 1970-01-01.
fn date(days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let (mut year, mut left) = (1970, days);
    while left >= 365 + u64::from(leap(year)) {
        left -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    (year, month, left + 1)
}

#[cfg(test)]
mod tests {
    //! What containerd looks at: every descriptor names a blob that is there, with its size and digest.

    use super::super::layer::Layer;
    use super::*;

    #[test]
    fn every_descriptor_leads_to_its_blob() {
        let mut layer = Layer::new(0);
        layer.file("baton", 0o755, b"program".to_vec());
        let layer = layer.finish().expect("finishes");
        let image = Image { repository: "net/baton", version: "1", created: 0, layers: vec![&layer] };
        let files: std::collections::BTreeMap<_, _> = image.files().expect("files").into_iter().collect();
        let read = |descriptor: &Value| -> &Vec<u8> {
            let digest = descriptor["digest"].as_str().expect("a digest").strip_prefix("sha256:").expect("sha256");
            let bytes = &files[&blob(digest)];
            assert_eq!(descriptor["size"], bytes.len());
            assert_eq!(sha256(bytes), digest);
            bytes
        };
        let index: Value = serde_json::from_slice(&files["index.json"]).expect("JSON");
        assert_eq!(index["manifests"][0]["annotations"]["io.containerd.image.name"], "docker.io/net/baton:1");
        let manifest: Value = serde_json::from_slice(read(&index["manifests"][0])).expect("JSON");
        let config: Value = serde_json::from_slice(read(&manifest["config"])).expect("JSON");
        assert_eq!(read(&manifest["layers"][0]), &layer.bytes);
        assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{}", layer.diff_id));
        assert_eq!(config["config"]["Entrypoint"][0], "/baton");
    }

    #[test]
    fn names_get_the_registry_that_is_meant() {
        assert_eq!(full_name("baton"), "docker.io/library/baton");
        assert_eq!(full_name("localhost/baton"), "localhost/baton");
        assert_eq!(full_name("registry.example:5000/a/b"), "registry.example:5000/a/b");
    }

    #[test]
    fn times_are_calendar_times() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(1_767_225_599), "2025-12-31T23:59:59Z");
    }
}
