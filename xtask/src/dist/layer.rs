//! A layer of an image: a tar archive whose bytes depend on its content alone.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::Result;
use flate2::{Compression, GzBuilder};
use tar::{EntryType, Header};

use super::image::sha256;

/// Files by path, without a leading slash. Everything belongs to root.
pub(super) struct Layer {
    time: u64,
    nodes: BTreeMap<String, Node>,
}

enum Node {
    Directory { mode: u32 },
    File { mode: u32, bytes: Vec<u8> },
    Link { target: String },
}

/// A layer that changes no more.
pub(super) struct Finished {
    /// Compressed.
    pub(super) bytes: Vec<u8>,
    /// Of the compressed bytes: its name among the blobs.
    pub(super) digest: String,
    /// Of the archive within: its name in the image's configuration.
    pub(super) diff_id: String,
}

impl Layer {
    /// An empty layer whose files are all of one time (seconds since 1970).
    pub(super) fn new(time: u64) -> Self {
        Layer { time, nodes: BTreeMap::new() }
    }

    pub(super) fn directory(&mut self, path: &str, mode: u32) {
        self.put(path, Node::Directory { mode });
    }

    pub(super) fn file(&mut self, path: &str, mode: u32, bytes: Vec<u8>) {
        self.put(path, Node::File { mode, bytes });
    }

    pub(super) fn link(&mut self, path: &str, target: &str) {
        self.put(path, Node::Link { target: target.to_owned() });
    }

    pub(super) fn contains(&self, path: &str) -> bool {
        self.nodes.contains_key(path)
    }

    /// With the directories that lead to it.
    fn put(&mut self, path: &str, node: Node) {
        for (slash, _) in path.match_indices('/') {
            self.nodes.entry(path[..slash].to_owned()).or_insert(Node::Directory { mode: 0o755 });
        }
        self.nodes.insert(path.to_owned(), node);
    }

    pub(super) fn finish(self) -> Result<Finished> {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, node) in &self.nodes {
            let mut header = Header::new_gnu();
            header.set_mtime(self.time);
            header.set_uid(0);
            header.set_gid(0);
            match node {
                Node::Directory { mode } => {
                    header.set_entry_type(EntryType::Directory);
                    header.set_mode(*mode);
                    header.set_size(0);
                    archive.append_data(&mut header, format!("{path}/"), std::io::empty())?;
                }
                Node::File { mode, bytes } => {
                    header.set_entry_type(EntryType::Regular);
                    header.set_mode(*mode);
                    header.set_size(bytes.len() as u64);
                    archive.append_data(&mut header, path, bytes.as_slice())?;
                }
                Node::Link { target } => {
                    header.set_entry_type(EntryType::Symlink);
                    header.set_mode(0o777);
                    header.set_size(0);
                    archive.append_link(&mut header, path, target)?;
                }
            }
        }
        let archive = archive.into_inner()?;
        let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::default());
        gzip.write_all(&archive)?;
        let bytes = gzip.finish()?;
        Ok(Finished { digest: sha256(&bytes), diff_id: sha256(&archive), bytes })
    }
}

#[cfg(test)]
mod tests {
    //! The archive is read back with the same crate, and its bytes are compared between two makings.

    use std::io::Read;

    use super::Layer;

    fn layer(names: &[&str]) -> Layer {
        let mut layer = Layer::new(1_000);
        names.iter().for_each(|name| layer.file(name, 0o755, name.as_bytes().to_vec()));
        layer.link("usr/bin/link", "a");
        layer
    }

    #[test]
    fn the_same_files_make_the_same_bytes_in_any_order() {
        let one = layer(&["usr/bin/a", "b"]).finish().expect("finishes");
        let two = layer(&["b", "usr/bin/a"]).finish().expect("finishes");
        assert_eq!(one.digest, two.digest);
        assert_ne!(one.digest, layer(&["b"]).finish().expect("finishes").digest);
        assert_ne!(one.digest, one.diff_id);
    }

    #[test]
    fn directories_come_before_what_is_in_them() {
        let finished = layer(&["usr/bin/a"]).finish().expect("finishes");
        let mut text = Vec::new();
        flate2::read::GzDecoder::new(finished.bytes.as_slice()).read_to_end(&mut text).expect("gzip");
        assert_eq!(super::sha256(&text), finished.diff_id);
        let mut archive = tar::Archive::new(text.as_slice());
        let mut names = Vec::new();
        for entry in archive.entries().expect("entries") {
            let entry = entry.expect("an entry");
            assert_eq!(entry.header().mtime().expect("a time"), 1_000);
            names.push(entry.path().expect("a path").display().to_string());
        }
        assert_eq!(names, ["usr/", "usr/bin/", "usr/bin/a", "usr/bin/link"]);
    }
}
