//! Keywords of balanced services and of their checks.

use super::Tier::{A, B, C};
use super::{Block, Keyword, block, row};

pub(super) const VIRTUAL: &[Keyword] = &[
    row("lvs_sched", A, "how a server is chosen"),
    row("lb_algo", A, "how a server is chosen"),
    row("lvs_method", A, "NAT, DR or TUN"),
    row("lb_kind", A, "NAT, DR or TUN"),
    row("persistence_timeout", A, "seconds that a client stays with a server"),
    row("persistence_granularity", A, "what counts as one client"),
    row("persistence_engine", B, "sip"),
    row("protocol", A, "TCP, UDP or SCTP"),
    row("delay_loop", A, "seconds between checks"),
    row("connect_timeout", A, "seconds a check may take"),
    row("retry", A, "more tries before a failure counts"),
    row("delay_before_retry", A, "seconds between them"),
    row("warmup", A, "the first check comes after a random part of it"),
    row("virtualhost", A, "host of HTTP checks"),
    row("alpha", A, "servers start down"),
    row("omega", A, "scripts for servers run at the end"),
    row("quorum", A, "sum of weights that must be alive"),
    row("hysteresis", A, "how far the sum may leave the quorum"),
    row("quorum_up", A, "runs when the quorum is reached"),
    row("quorum_down", A, "runs when it is lost"),
    row("sorry_server", A, "instead of all servers without quorum"),
    row("sorry_server_inhibit", B, "weight 0 instead of removal"),
    row("sorry_server_lvs_method", B, "NAT, DR or TUN"),
    row("inhibit_on_failure", A, "weight 0 instead of removal"),
    row("weight", B, "of servers without their own"),
    row("ha_suspend", B, "checks rest while the address is elsewhere"),
    row("ip_family", B, "of a mark"),
    row("ops", B, "each packet anew"),
    row("hashed", B, "accepted; keepalived ignores it too"),
    row("flag-1", B, "of the scheduler"),
    row("flag-2", B, "of the scheduler"),
    row("flag-3", B, "of the scheduler"),
    row("sh-port", B, "of the scheduler"),
    row("sh-fallback", B, "of the scheduler"),
    row("mh-port", B, "of the scheduler"),
    row("mh-fallback", B, "of the scheduler"),
    row("smtp_alert", C, "mail"),
    row("snmp_name", C, "SNMP"),
    block("real_server", A, Block::Real, "a server"),
];

pub(super) const REAL: &[Keyword] = &[
    row("weight", A, "share of connections"),
    row("lvs_method", A, "NAT, DR or TUN"),
    row("lb_kind", A, "NAT, DR or TUN"),
    row("uthreshold", B, "most connections"),
    row("lthreshold", B, "new ones again below that"),
    row("inhibit_on_failure", A, "weight 0 instead of removal"),
    row("notify_up", A, "runs when it is up"),
    row("notify_down", A, "runs when it is down"),
    row("alpha", A, "starts down"),
    row("connect_timeout", A, "seconds a check may take"),
    row("retry", A, "more tries before a failure counts"),
    row("delay_before_retry", A, "seconds between them"),
    row("warmup", A, "the first check comes after a random part of it"),
    row("delay_loop", A, "seconds between checks"),
    row("virtualhost", A, "host of HTTP checks"),
    row("smtp_alert", C, "mail"),
    row("snmp_name", C, "SNMP"),
    block("TCP_CHECK", A, Block::Connect, "connects"),
    block("HTTP_GET", A, Block::Http, "requests URLs"),
    block("SSL_GET", A, Block::Http, "requests URLs over TLS"),
    block("MISC_CHECK", A, Block::Misc, "runs a program"),
    block("SMTP_CHECK", B, Block::Smtp, "greets a mail server"),
    block("DNS_CHECK", B, Block::Dns, "asks a name server"),
    block("PING_CHECK", B, Block::Connect, "asks for an echo"),
    block("UDP_CHECK", B, Block::Udp, "sends a datagram"),
    block("FILE_CHECK", B, Block::FileCheck, "reads a number in a file"),
    block("BFD_CHECK", C, Block::BfdCheck, "BFD"),
];

/// Common to checks over the network.
pub(super) const NETWORK: &[Keyword] = &[
    row("connect_ip", A, "another address"),
    row("connect_port", A, "another port"),
    row("bindto", A, "source address"),
    row("bind_port", A, "source port"),
    row("bind_if", B, "interface"),
    row("fwmark", B, "mark of packets"),
    row("connect_timeout", A, "seconds it may take"),
    row("retry", A, "more tries before a failure counts"),
    row("delay_before_retry", A, "seconds between them"),
    row("warmup", A, "the first one comes after a random part of it"),
    row("delay_loop", A, "seconds between checks"),
    row("alpha", A, "down until it passed once"),
    row("log_all_failures", B, "each failure is logged"),
];

pub(super) const CONNECT: &[Keyword] = &[];

pub(super) const HTTP: &[Keyword] = &[
    block("url", A, Block::Url, "what is requested"),
    row("http_protocol", B, "1.0, 1.0C or 1.1"),
    row("enable_sni", A, "the handshake names the host"),
    row("sni_name", B, "the name in the handshake"),
    row("fast_recovery", B, "no delay between URLs after a failure"),
    row("virtualhost", A, "host of the requests"),
    row("nb_get_retry", A, "old name of retry"),
];

pub(super) const URL: &[Keyword] = &[
    row("path", A, "path and query"),
    row("digest", A, "MD5 of the body"),
    row("status_code", A, "accepted statuses"),
    row("virtualhost", A, "host of the request"),
    row("regex", B, "the body must match"),
    row("regex_no_match", B, "the body must not match"),
    row("regex_options", B, "how it is matched"),
    row("regex_stack", B, "accepted; the matcher needs none"),
    row("regex_min_offset", B, "where a match may begin"),
    row("regex_max_offset", B, "where a match may begin"),
];

pub(super) const SMTP: &[Keyword] =
    &[row("helo_name", B, "name in HELO"), block("host", B, Block::SmtpHost, "old form: where it connects")];

pub(super) const SMTP_HOST: &[Keyword] = &[
    row("connect_ip", B, "another address"),
    row("connect_port", B, "another port"),
    row("bindto", B, "source address"),
    row("bind_port", B, "source port"),
    row("bind_if", B, "interface"),
    row("connect_timeout", B, "seconds it may take"),
    row("fwmark", B, "mark of packets"),
];

pub(super) const DNS: &[Keyword] = &[row("type", B, "type of the record"), row("name", B, "name that is asked for")];

pub(super) const MISC: &[Keyword] = &[
    row("misc_path", A, "what runs"),
    row("misc_timeout", A, "seconds it may take"),
    row("misc_dynamic", B, "exit status less two is the weight"),
    row("user", B, "whom it runs as"),
    row("retry", A, "more tries before a failure counts"),
    row("delay_before_retry", A, "seconds between them"),
    row("warmup", A, "the first one comes after a random part of it"),
    row("delay_loop", A, "seconds between checks"),
    row("alpha", A, "down until it passed once"),
    row("log_all_failures", B, "each failure is logged"),
];

pub(super) const UDP: &[Keyword] = &[
    row("payload", B, "what is sent"),
    row("require_reply", B, "an answer is needed"),
    row("min_reply_length", B, "shortest answer"),
    row("max_reply_length", B, "longest answer"),
];

pub(super) const FILE_CHECK: &[Keyword] = &[
    row("track_file", B, "name of a track_file"),
    row("weight", B, "factor"),
    row("dynamic", B, "the number changes the weight"),
];

pub(super) const BFD_CHECK: &[Keyword] = &[row("name", C, "BFD")];

pub(super) const SSL: &[Keyword] = &[
    row("password", B, "of the key"),
    row("ca", B, "certificates of authorities"),
    row("certificate", B, "certificate of the client"),
    row("key", B, "its key"),
];
