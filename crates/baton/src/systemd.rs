//! What a service manager is told (`sd_notify(3)`): units of the programs that are replaced are of type `notify`.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Tells the service manager, if there is one: `READY=1`, `RELOADING=1`, `STOPPING=1`, `STATUS=…`.
///
/// # Errors
/// What a socket may fail with. Nothing depends on it but the manager's patience.
pub fn notify(state: &str) -> io::Result<()> {
    match std::env::var_os("NOTIFY_SOCKET") {
        Some(path) => send(&path, state),
        None => Ok(()),
    }
}

fn send(path: &OsStr, state: &str) -> io::Result<()> {
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(path)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_names() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("notify");
        let listener = UnixDatagram::bind(&path).expect("a socket");
        let mut buffer = [0; 32];
        send(path.as_os_str(), "READY=1").expect("sent");
        assert_eq!(listener.recv(&mut buffer).expect("received"), 7);
        let name = format!("baton-test-{}", std::process::id());
        let listener =
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).expect("a name")).expect("a socket");
        send(OsStr::new(&format!("@{name}")), "STOPPING=1").expect("sent");
        assert_eq!(listener.recv(&mut buffer).expect("received"), 10);
        assert!(send(OsStr::new("/nowhere/notify"), "READY=1").is_err());
    }
}
