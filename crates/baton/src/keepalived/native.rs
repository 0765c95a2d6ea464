//! Checks that need no script: answered in this process.

use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use baton_config::keepalived::native::{Get, Native};
use baton_core::settings::{Check, CheckKind};
use baton_net::rtnl::Rtnl;
use tokio::net::{TcpStream, lookup_host};

use crate::proxy::check;

/// Where the check names none.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Whether the check passes now; otherwise why not.
///
/// # Errors
/// What was found wrong, for people.
pub(super) async fn ask(native: &Native) -> Result<(), String> {
    match native {
        Native::Always => Ok(()),
        Native::Process(name) => process(name),
        Native::Unit(name) => unit(name),
        Native::Tcp { host, port, timeout } => within(timeout.unwrap_or(TIMEOUT), tcp(host, *port)).await,
        Native::Http(get) => http(get).await,
        Native::All(all) => {
            for native in all {
                Box::pin(ask(native)).await?;
            }
            Ok(())
        }
        Native::WhileHere { address, then } if here(*address)? => Box::pin(ask(then)).await,
        Native::WhileHere { .. } => Ok(()),
    }
}

async fn within(timeout: Duration, asked: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    tokio::time::timeout(timeout, asked).await.unwrap_or_else(|_| Err(format!("no answer within {timeout:?}")))
}

async fn tcp(host: &str, port: u16) -> Result<(), String> {
    TcpStream::connect((host, port)).await.map(drop).map_err(|e| format!("{host} port {port}: {e}"))
}

async fn http(get: &Get) -> Result<(), String> {
    let timeout = get.timeout.or(get.connect_timeout).unwrap_or(TIMEOUT);
    let found = lookup_host((get.host.as_str(), get.port)).await.map_err(|e| format!("{}: {e}", get.host))?;
    // Any answer is one, unless statuses count.
    let expect = if get.fail { vec![(100, 399)] } else { vec![(100, 999)] };
    let kind = CheckKind::Http { tls: get.tls, path: get.path.clone(), expect };
    let check = Check { kind, interval: timeout, timeout, rise: 1, fall: 1 };
    let mut last = Err(format!("{} has no address", get.host));
    for address in found {
        last = check::run(&check, address, &get.host).await.map(|_| ()).map_err(|e| format!("{address}: {e}"));
        if last.is_ok() {
            break;
        }
    }
    last
}

/// A process of that name, as `/proc/PID/comm` cuts it; this one's threads count when they carry it.
fn process(name: &str) -> Result<(), String> {
    let cut: String = name.chars().take(15).collect();
    if names().any(|running| running == cut) { Ok(()) } else { Err(format!("no process {name} runs")) }
}

/// The names of all processes.
pub(super) fn names() -> impl Iterator<Item = String> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbered = processes.filter(|e| e.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit()));
    numbered.filter_map(|e| fs::read_to_string(e.path().join("comm")).ok()).map(|name| name.trim_end().to_owned())
}

/// systemd's own record of a unit's processes: a cgroup that is not empty.
fn unit(name: &str) -> Result<(), String> {
    let places = [format!("/sys/fs/cgroup/system.slice/{name}.service/cgroup.procs")];
    let runs = places.iter().any(|place| fs::read_to_string(place).is_ok_and(|pids| !pids.trim().is_empty()));
    // A unit may be of this process's own doing.
    if runs || process(name).is_ok() { Ok(()) } else { Err(format!("unit {name} is not active")) }
}

fn here(address: IpAddr) -> Result<bool, String> {
    let all = Rtnl::open().and_then(|mut rtnl| rtnl.addresses()).map_err(|e| format!("the addresses: {e}"))?;
    Ok(all.iter().any(|a| a.address == address))
}

/// For people.
pub(super) fn describe(native: &Native) -> String {
    match native {
        Native::Always => "always".to_owned(),
        Native::Process(name) => format!("a process {name} runs"),
        Native::Unit(name) => format!("the unit {name} is active"),
        Native::Tcp { host, port, .. } => format!("{host} port {port} accepts connections"),
        Native::Http(get) => {
            let scheme = if get.tls { "https" } else { "http" };
            let mut text = format!("{scheme}://{}:{}{} answers", get.host, get.port, get.path);
            if get.fail {
                // Writing to a string cannot fail.
                let _ = write!(text, " with a status below 400");
            }
            text
        }
        Native::All(all) => all.iter().map(describe).collect::<Vec<_>>().join(", and "),
        Native::WhileHere { address, then } => format!("while {address} is here, {}", describe(then)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ports_and_processes() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let open = Native::Tcp { host: "127.0.0.1".to_owned(), port, timeout: None };
        assert_eq!(ask(&open).await, Ok(()));
        let elsewhere =
            Native::WhileHere { address: "192.0.2.77".parse().expect("an address"), then: Box::new(open.clone()) };
        drop(listener);
        assert!(ask(&open).await.expect_err("nobody listens").contains("127.0.0.1 port"));
        assert_eq!(ask(&elsewhere).await, Ok(()), "the address is not here");
        assert_eq!(
            ask(&Native::Process("no-such-program".to_owned())).await.expect_err("not there"),
            "no process no-such-program runs"
        );
        let own = fs::read_to_string("/proc/self/comm").expect("a name");
        assert_eq!(ask(&Native::Process(own.trim().to_owned())).await, Ok(()));
        let both = Native::All(vec![Native::Process(own.trim().to_owned()), open]);
        assert!(ask(&both).await.is_err());
    }
}
