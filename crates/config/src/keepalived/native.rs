//! Checks that people write as scripts, recognised: what they find out can be answered in this process.

use std::net::IpAddr;
use std::time::Duration;

/// What a script finds out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Native {
    /// A process of that name runs: `killall -0 haproxy`, `pidof haproxy`, `pgrep -x haproxy`, `ps -C haproxy`.
    Process(String),
    /// A unit is active: `systemctl is-active haproxy`. Without the suffix `.service`.
    Unit(String),
    /// A connection is accepted: `</dev/tcp/127.0.0.1/6443`, `nc -z localhost 6443`.
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
        /// Of the program itself, beside the script's; `None`: none.
        timeout: Option<Duration>,
    },
    /// `curl`, `wget`. Certificates are not verified, or the script did and this is what is left of it.
    Http(Get),
    /// All of them, in this order.
    All(Vec<Native>),
    /// Only while this host has the address: `if ip addr | grep -q 192.0.2.1; then …; fi`.
    WhileHere {
        /// The address.
        address: IpAddr,
        /// What is asked then.
        then: Box<Native>,
    },
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Get {
    /// Over TLS.
    pub tls: bool,
    /// Certificates are verified (no `--insecure`).
    pub verify: bool,
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path and query.
    pub path: String,
    /// `--max-time`, `--timeout`.
    pub timeout: Option<Duration>,
    /// `--connect-timeout`.
    pub connect_timeout: Option<Duration>,
    /// `--fail`: statuses from 400 on are failures. Otherwise any answer is good.
    pub fail: bool,
}
