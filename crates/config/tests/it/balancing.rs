//! Every message about load balancers, backends and checks.

use crate::messages::{GOOD, fifth};
use crate::{accepted, refused};

/// One load balancer in the fifth line.
fn balancer(text: &str, expected: &[&str]) {
    let expected: Vec<String> = expected.iter().map(|e| format!("f.yaml:5:{e}")).collect();
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    let text = format!("{GOOD}loadBalancers: [{text}]\n");
    if expected.iter().all(|line| line.contains(": warning: ")) {
        accepted(&text, &expected);
    } else {
        refused(&text, &expected)
    }
}

#[test]
fn load_balancers() {
    let to = "backends: [{address: web, port: 80}]";
    balancer(
        &format!("{{type: udp, port: 53, {to}}}"),
        &[
            "24: loadBalancers[0].type: is a type that is not balanced, and never worked in kube-vip 0.1 either (udp), expected one of tcp, http",
        ],
    );
    balancer(
        &format!("{{type: sctp, port: 53, {to}}}"),
        &["24: loadBalancers[0].type: is not a known type (sctp), expected one of tcp, http"],
    );
    balancer(&format!("{{{to}}}"), &["17: loadBalancers[0].port: is missing, expected where it listens, 1 to 65535"]);
    balancer(
        "{port: 80}",
        &[
            "17: warning: loadBalancers[0].backends: is empty: every connection is refused, expected entries with address and port",
        ],
    );
    balancer(
        "{port: 80, backends: []}",
        &[
            "17: warning: loadBalancers[0].backends: is empty: every connection is refused, expected entries with address and port",
        ],
    );
    balancer(
        &format!("{{port: 80, {to}}}, {{port: 80, bindToVip: true, {to}}}"),
        &[
            "74: loadBalancers[1].port: is loadBalancers[0]'s port too, on the same addresses (80), expected each port once",
        ],
    );
    balancer(
        &format!("{{name: a, port: 80, {to}}}, {{name: a, port: 81, {to}}}"),
        &["83: warning: loadBalancers[1].name: is used twice; this one is called a-2 (a)"],
    );
    balancer(
        &format!("{{port: 80, backendPort: 7, {to}}}"),
        &[
            "41: warning: loadBalancers[0].backendPort: has no effect, as in kube-vip 0.1: each backend has its own port (7)",
        ],
    );
    balancer(
        "{port: 80, bindToVip: true, backends: [{address: 192.0.2.75, port: 80}]}",
        &[
            "17: loadBalancers[0]: has itself as a backend (192.0.2.75:80), expected the addresses of the servers behind it",
        ],
    );
    refused(
        &format!("{GOOD}admin: :80\nloadBalancers: [{{port: 80, {to}}}]\n"),
        &["f.yaml:5:8: admin: is where loadBalancers[0] listens ([::]:80), expected another port"],
    );
    fifth(
        "admin: localhost",
        "8: admin: is not an address to listen on (localhost), expected address:port such as 127.0.0.1:2112, :2112 for all addresses, or off",
    );
}

#[test]
fn backends() {
    let one = |backend: &str, expected: &str| balancer(&format!("{{port: 80, backends: [{backend}]}}"), &[expected]);
    one("{address: web}", "39: loadBalancers[0].backends[0].port: is missing, expected a port from 1 to 65535");
    one("{port: 80}", "39: loadBalancers[0].backends[0].address: is missing, expected an IP address or host name");
    one(
        "{address: 'a b', port: 80}",
        "49: loadBalancers[0].backends[0].address: is neither an IP address nor a host name (a b), expected such as 192.0.2.1, 2001:db8::1 or server1.example",
    );
    one(
        "{address: 192.0.2.256, port: 80}",
        "49: loadBalancers[0].backends[0].address: is neither an IP address nor a host name (192.0.2.256), expected such as 192.0.2.1, 2001:db8::1 or server1.example",
    );
    one(
        "{address: 0.0.0.0, port: 80}",
        "49: loadBalancers[0].backends[0].address: is not the address of a server (0.0.0.0), expected an IP address or host name",
    );
    one(
        "{address: web, port: 80, weight: 257}",
        "72: loadBalancers[0].backends[0].weight: is out of range (257), expected a whole number from 0 to 256",
    );
    one(
        "{address: web, port: 80}, {address: web, port: 80}",
        "65: warning: loadBalancers[0].backends[1]: is listed twice; its weights are added (web:80)",
    );
    one(
        "{address: web, port: 80, url: 'http://web'}",
        "69: warning: loadBalancers[0].backends[0].url: has no effect: it is for load balancers of type http (http://web), expected address and port",
    );
    let http = |backend: &str, expected: &str| {
        balancer(&format!("{{type: http, port: 80, backends: [{backend}]}}"), &[expected])
    };
    http(
        "{address: web}",
        "51: loadBalancers[0].backends[0].port: is missing, expected a port from 1 to 65535, or url",
    );
    http(
        "{url: 'web:80'}",
        "57: loadBalancers[0].backends[0].url: has no scheme http or https (web:80), expected http://host:port/prefix or https://…",
    );
    http(
        "{url: 'http://web:0'}",
        "57: loadBalancers[0].backends[0].url: has a port that is none (http://web:0), expected http://host:port/prefix or https://…",
    );
    http(
        "{url: 'http://u@web'}",
        "57: loadBalancers[0].backends[0].url: has parts that a backend cannot have (query, fragment, user or blanks) (http://u@web), expected http://host:port/prefix or https://…",
    );
    http(
        "{url: 'http://'}",
        "57: loadBalancers[0].backends[0].url: is neither an IP address nor a host name, expected such as 192.0.2.1, 2001:db8::1 or server1.example",
    );
    http("{url: 'http://web', port: 80}", "77: warning: loadBalancers[0].backends[0].port: has no effect: url says it");
}

#[test]
fn checks() {
    let one = |check: &str, expected: &str| {
        balancer(&format!("{{port: 80, check: {check}, backends: [{{address: web, port: 80}}]}}"), &[expected])
    };
    one(
        "ping",
        "35: loadBalancers[0].check: is not a known type (ping), expected one of tcp, tls, http, https, none, or a mapping with keys such as type, path, expect",
    );
    one(
        "{type: ping}",
        "42: loadBalancers[0].check.type: is not a known type (ping), expected one of tcp, tls, http, https, none",
    );
    one(
        "{path: /}",
        "42: loadBalancers[0].check.path: is for checks of type http and https, and this is tcp, expected type: http beside it",
    );
    one(
        "{type: http, path: ready}",
        "54: loadBalancers[0].check.path: is not a path (ready), expected a path that begins with a slash, such as /readyz",
    );
    one(
        "{type: http, expect: 99}",
        "56: loadBalancers[0].check.expect: is not an HTTP status (99), expected a status such as 200, a range such as 200-399, or a list of them",
    );
    one(
        "{type: http, expect: [200, 9-8]}",
        "62: loadBalancers[0].check.expect[1]: is not an HTTP status (9-8), expected a status such as 200 or a range such as 200-399",
    );
    one("{timeout: 2s}", "45: loadBalancers[0].check.timeout: is longer than interval (2s), expected at most 1s");
    one("{rise: 0}", "42: loadBalancers[0].check.rise: is out of range (0), expected a whole number from 1 to 100");
}
