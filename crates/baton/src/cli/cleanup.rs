//! `baton cleanup`: removes whatever a dead instance left in this network namespace.

use std::process::ExitCode;

use baton_net::rtnl::Rtnl;
use baton_net::{process, table};

use super::args::Cleanup;
use super::output::{FAILED, REFUSED, complain, fail, print};
use crate::admin::socket;
use crate::markers::Store;

pub(super) fn run(options: &Cleanup) -> ExitCode {
    let path = socket::path(&options.run_dir, process::netns_inode());
    let mut paths = super::status::managers(&options.run_dir, process::netns_inode());
    paths.push(path);
    if let Some(path) = paths.iter().find(|path| std::os::unix::net::UnixStream::connect(path).is_ok()) {
        let why = format!("an instance runs in this network namespace ({}): stop it first", path.display());
        return fail(REFUSED, &why);
    }
    // Its socket may be in another file system.
    if let Ok(owned) = table::owned_by_others()
        && let Some(name) = owned.first()
    {
        let why = format!("an instance runs in this network namespace (it owns the table {name}): stop it first");
        return fail(REFUSED, &why);
    }
    let mut did = Removed::default();
    // Addresses first: one without its gates would answer.
    addresses(&mut did);
    if !did.failed.is_empty() {
        did.failed.push("nftables tables: as long as an address is left".to_owned());
        return did.tell();
    }
    match table::cleanup() {
        Ok(names) => did.removed.extend(names.into_iter().map(|name| format!("nftables table {name}"))),
        Err(e) => did.failed.push(format!("nftables tables: {e}")),
    }
    match baton_net::ports::remove() {
        Ok(names) => did.removed.extend(names.into_iter().map(|name| format!("nftables table {name}"))),
        Err(e) => did.failed.push(format!("nftables tables of ports: {e}")),
    }
    for path in paths {
        match std::fs::remove_file(&path) {
            Ok(()) => did.removed.push(format!("socket {}", path.display())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => did.failed.push(format!("socket {}: {e}", path.display())),
        }
    }
    if options.markers {
        markers(options, &mut did);
    }
    did.tell()
}

#[derive(Default)]
struct Removed {
    removed: Vec<String>,
    failed: Vec<String>,
}

impl Removed {
    fn tell(self) -> ExitCode {
        for failure in &self.failed {
            complain(&format!("baton: not removed: {failure}"));
        }
        let text = match (self.removed.is_empty(), self.failed.is_empty()) {
            (true, true) => "nothing was left to remove\n".to_owned(),
            _ => self.removed.iter().map(|what| format!("removed {what}\n")).collect(),
        };
        let printed = print(&text);
        if self.failed.is_empty() { printed } else { ExitCode::from(FAILED) }
    }
}

/// Every address that carries our mark.
fn addresses(did: &mut Removed) {
    let found = Rtnl::open().and_then(|mut rtnl| rtnl.addresses().map(|all| (rtnl, all)));
    let (mut rtnl, all) = match found {
        Ok(found) => found,
        Err(e) => return did.failed.push(format!("addresses: {e}")),
    };
    for a in all.into_iter().filter(|a| a.mine) {
        let what = format!("address {}/{} on {}", a.address, a.prefix, a.interface);
        match rtnl.remove_address(&a.interface, a.address, a.prefix) {
            Ok(()) => did.removed.push(what),
            Err(e) => did.failed.push(format!("{what}: {e}")),
        }
    }
}

fn markers(options: &Cleanup, did: &mut Removed) {
    let store = Store::new(&options.state_dir, true);
    let file = format!("markers in {}", store.file().display());
    match store.forget_file() {
        Ok(true) => did.removed.push(file),
        Ok(false) => {}
        Err(e) => did.failed.push(format!("{file}: {e}")),
    }
    match table::forget() {
        Ok(true) => did.removed.push("markers in nftables".to_owned()),
        Ok(false) => {}
        Err(e) => did.failed.push(format!("markers in nftables: {e}")),
    }
}
