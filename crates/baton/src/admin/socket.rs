//! The control socket: a Unix socket with mode 0600, named after the network namespace, that answers every connection
//! with one JSON document.
//!
//! A stale socket (nobody listens) is replaced; a live one is left alone and the daemon goes on without. A socket is
//! made under a temporary name and renamed, so nobody ever meets one with the wrong mode.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A reader waits this long for an answer. The daemon gives its keeper one second.
const ANSWER: Duration = Duration::from_secs(3);
/// The longest document a reader takes.
const DOCUMENT_MAX: u64 = 64 << 20;

/// Path of the socket of the daemon in this network namespace.
#[must_use]
pub fn path(run_dir: &Path, netns: u64) -> PathBuf {
    run_dir.join(format!("start-{netns}.sock"))
}

/// Path of the socket of the manager in this network namespace; several tell themselves apart by an instance name.
#[must_use]
pub fn manager_path(run_dir: &Path, netns: u64, instance: &str) -> PathBuf {
    let dash = if instance.is_empty() { "" } else { "-" };
    run_dir.join(format!("manager-{netns}{dash}{}.sock", instance.replace('/', "_")))
}

/// A listening control socket; removed when dropped, unless somebody else has replaced it.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    inode: u64,
}

impl Socket {
    /// Listens at `path`, in a directory that is made when it is missing.
    ///
    /// # Errors
    /// `AddrInUse` when a daemon answers there, and whatever the file system refuses.
    pub fn listen(path: &Path) -> io::Result<Socket> {
        let dir = path.parent().unwrap_or(Path::new("/"));
        DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
        if UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(ErrorKind::AddrInUse, "another instance answers there"));
        }
        let fresh = dir.join(format!(".{}.{}", std::process::id(), path.file_name().unwrap_or_default().display()));
        let _ = fs::remove_file(&fresh);
        let listener = UnixListener::bind(&fresh)?;
        let placed = fs::set_permissions(&fresh, Permissions::from_mode(0o600))
            .and_then(|()| fs::metadata(&fresh))
            .and_then(|meta| fs::rename(&fresh, path).map(|()| meta.ino()));
        match placed {
            Ok(inode) => Ok(Socket { listener, path: path.to_owned(), inode }),
            Err(e) => {
                let _ = fs::remove_file(&fresh);
                Err(e)
            }
        }
    }

    /// The listener, for an event loop of the caller's.
    ///
    /// # Errors
    /// What duplicating a descriptor may fail with.
    pub fn listener(&self) -> io::Result<UnixListener> {
        let listener = self.listener.try_clone()?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if fs::metadata(&self.path).is_ok_and(|meta| meta.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Asks the manager at `path` a question of one line.
///
/// # Errors
/// What connecting, writing and reading may fail with.
pub fn question(path: &Path, line: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_write_timeout(Some(ANSWER))?;
    stream.write_all(format!("{line}\n").as_bytes())?;
    read(stream)
}

/// Asks the daemon at `path` for its document.
///
/// # Errors
/// What connecting and reading may fail with.
pub fn ask(path: &Path) -> io::Result<String> {
    read(UnixStream::connect(path)?)
}

fn read(stream: UnixStream) -> io::Result<String> {
    stream.set_read_timeout(Some(ANSWER))?;
    let mut text = String::new();
    stream.take(DOCUMENT_MAX).read_to_string(&mut text)?;
    if text.is_empty() {
        return Err(io::Error::new(ErrorKind::UnexpectedEof, "it closed the connection without an answer"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_left_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = path(&dir.path().join("run"), 7);
        fs::create_dir(dir.path().join("run")).expect("a directory");
        drop(UnixListener::bind(&path).expect("a socket that goes stale"));
        assert!(path.exists());

        let live = Socket::listen(&path).expect("stale: replaced");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        let second = Socket::listen(&path).expect_err("live: left alone");
        assert_eq!(second.kind(), ErrorKind::AddrInUse);

        let answering = live.listener.try_clone().expect("a descriptor");
        let server = std::thread::spawn(move || {
            // The first connection was the second instance's question whether anybody lives here.
            for _ in 0..2 {
                let _ = answering.accept().expect("a connection").0.write_all(b"{}");
            }
        });
        assert_eq!(ask(&path).expect("an answer"), "{}");
        server.join().expect("no panic");
        drop(live);
        assert!(!path.exists(), "removed by its owner");
        assert_eq!(fs::read_dir(dir.path().join("run")).expect("a directory").count(), 0, "nothing left beside it");
    }

    #[test]
    fn the_directory_is_made() {
        let dir = tempfile::tempdir().expect("a directory");
        let run = dir.path().join("a/b");
        let _socket = Socket::listen(&path(&run, 1)).expect("made");
        assert_eq!(fs::metadata(&run).expect("there").permissions().mode() & 0o777, 0o755);
    }
}
