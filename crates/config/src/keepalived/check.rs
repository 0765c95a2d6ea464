//! Checks of real servers.

use std::net::IpAddr;
use std::time::Duration;

use super::finding::{Findings, Kind};
use super::keywords::Block;
use super::lvs::CHECK_MAX;
use super::model::Weight;
use super::model::lvs::{
    Check, CheckKind, HttpCheck, HttpProtocol, RealServer, Regex, Service, UdpCheck, Url, VirtualServer,
};
use super::read::Reader;
use super::tree::Item;

/// What may be written for a service, a server or a check; the nearer one counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Timers {
    timeout: Option<Duration>,
    retry: Option<u32>,
    delay_before_retry: Option<Duration>,
    warmup: Option<Duration>,
    delay_loop: Option<Duration>,
    pub(super) alpha: Option<bool>,
}

const SECOND: Duration = Duration::from_secs(1);
/// keepalived's defaults.
const TIMEOUT: Duration = Duration::from_secs(5);
const DELAY_LOOP: Duration = Duration::from_secs(60);

impl Timers {
    /// Takes a keyword; whether it is one of these.
    pub(super) fn take(&mut self, findings: &mut Findings, item: &Item) -> bool {
        let some = Duration::from_micros(1)..=CHECK_MAX;
        let any = Duration::ZERO..=CHECK_MAX;
        match item.key() {
            "connect_timeout" => self.timeout = item.seconds(1, some, findings).or(self.timeout),
            "delay_loop" => self.delay_loop = item.seconds(1, some, findings).or(self.delay_loop),
            "delay_before_retry" => {
                self.delay_before_retry = item.seconds(1, any, findings).or(self.delay_before_retry);
            }
            "warmup" => self.warmup = item.seconds(1, any, findings).or(self.warmup),
            "retry" => self.retry = item.whole(1, 1..=u32::MAX, findings).or(self.retry),
            // The old name counts the first try too.
            "nb_get_retry" => {
                item.bad(0, findings, "is an old name", "retry");
                self.retry = item.whole(1, 1..=u32::MAX, findings).or(self.retry);
            }
            "alpha" => self.alpha = item.switch(findings).or(self.alpha),
            _ => return false,
        }
        true
    }
}

/// One check.
pub(super) fn read(
    reader: &mut Reader<'_, '_>,
    item: &Item,
    real: &mut RealServer,
    service: &VirtualServer,
    timers: &Timers,
) {
    let block = match item.key() {
        "TCP_CHECK" | "PING_CHECK" => Block::Connect,
        "HTTP_GET" | "SSL_GET" => Block::Http,
        "MISC_CHECK" => Block::Misc,
        "SMTP_CHECK" => Block::Smtp,
        "DNS_CHECK" => Block::Dns,
        "UDP_CHECK" => Block::Udp,
        "FILE_CHECK" => Block::FileCheck,
        // Said as what it is: without effect.
        _ => return,
    };
    let mut timers = timers.clone();
    let mut to = Target::default();
    let mut kind = begin(item, real);
    reader.each(block, item.inside(), |reader, item| {
        if timers.take(&mut reader.findings, item) || to.take(&mut reader.findings, item) {
            return;
        }
        detail(reader, item, &mut kind, real, &mut to);
    });
    let Some(kind) = finish(reader, item, kind) else { return };
    let port = match service.service {
        Service::Address(_, port) => port,
        _ => 0,
    };
    let (retry, before) = match &kind {
        CheckKind::Misc { .. } => (0, SECOND),
        CheckKind::Dns { .. } => (3, timers.delay_loop.unwrap_or(DELAY_LOOP)),
        CheckKind::Http(_) => (1, 3 * SECOND),
        _ => (1, SECOND),
    };
    let delay_loop = timers.delay_loop.unwrap_or(DELAY_LOOP);
    real.checks.push(Check {
        at: item.at.clone(),
        kind,
        address: to.address.unwrap_or(real.address),
        port: to.port.unwrap_or(if real.port == 0 { port } else { real.port }),
        bind_address: to.bind_address,
        bind_port: to.bind_port,
        bind_interface: to.bind_interface,
        fwmark: to.fwmark,
        timeout: timers.timeout.unwrap_or(TIMEOUT),
        retry: timers.retry.unwrap_or(retry),
        delay_before_retry: timers.delay_before_retry.unwrap_or(before),
        warmup: timers.warmup.unwrap_or(delay_loop),
        delay_loop,
        alpha: timers.alpha.unwrap_or_default(),
        log_all_failures: to.log_all.unwrap_or(reader.config.global.log_all_failures),
    });
}

/// Where a check goes and comes from.
#[derive(Default)]
struct Target {
    address: Option<IpAddr>,
    port: Option<u16>,
    bind_address: Option<IpAddr>,
    bind_port: Option<u16>,
    bind_interface: Option<String>,
    fwmark: Option<u32>,
    log_all: Option<bool>,
}

impl Target {
    fn take(&mut self, findings: &mut Findings, item: &Item) -> bool {
        let mut port = || item.whole(1, 1..=65_535, findings).and_then(|port| u16::try_from(port).ok());
        match item.key() {
            "connect_port" => self.port = port().or(self.port),
            "bind_port" => self.bind_port = port().or(self.bind_port),
            "connect_ip" => self.address = item.address(1, findings).or(self.address),
            "bindto" => self.bind_address = item.address(1, findings).or(self.bind_address),
            "bind_if" => self.bind_interface = item.need(1, findings).map(str::to_owned),
            "fwmark" => self.fwmark = item.whole(1, 0..=u32::MAX, findings).or(self.fwmark),
            "log_all_failures" => self.log_all = item.switch(findings).or(self.log_all),
            _ => return false,
        }
        true
    }
}

fn begin(item: &Item, real: &RealServer) -> Option<CheckKind> {
    Some(match item.key() {
        "TCP_CHECK" => CheckKind::Tcp,
        "PING_CHECK" => CheckKind::Ping,
        "HTTP_GET" | "SSL_GET" => CheckKind::Http(HttpCheck {
            tls: item.key() == "SSL_GET",
            sni: None,
            protocol: HttpProtocol::V1_0,
            fast_recovery: false,
            urls: Vec::new(),
        }),
        "SMTP_CHECK" => CheckKind::Smtp(None),
        "DNS_CHECK" => CheckKind::Dns { kind: String::from("SOA"), name: String::from(".") },
        "UDP_CHECK" => CheckKind::Udp(UdpCheck { max_reply: 255, ..UdpCheck::default() }),
        "FILE_CHECK" => {
            CheckKind::File { file: String::new(), weight: Weight { value: 1, reverse: false }, dynamic: false }
        }
        // Made by its `misc_path`.
        _ => {
            let _ = real;
            return None;
        }
    })
}

fn detail(reader: &mut Reader<'_, '_>, item: &Item, kind: &mut Option<CheckKind>, real: &RealServer, to: &mut Target) {
    let findings = &mut reader.findings;
    match (kind, item.key()) {
        (Some(CheckKind::Http(http)), "url") => {
            let url = url(reader, item, real);
            http.urls.extend(url);
        }
        (Some(CheckKind::Http(http)), _) => http_keyword(findings, item, http, real),
        (Some(CheckKind::Smtp(helo)), "helo_name") => *helo = item.need(1, findings).map(str::to_owned),
        (Some(CheckKind::Smtp(_)), _) => reader.each(Block::SmtpHost, item.inside(), |reader, item| {
            to.take(&mut reader.findings, item);
        }),
        (Some(CheckKind::Dns { kind, name }), key) => {
            let Some(word) = item.need(1, findings) else { return };
            if key == "name" {
                word.clone_into(name);
            } else if matches!(word, "A" | "NS" | "CNAME" | "SOA" | "MX" | "TXT" | "AAAA") {
                word.clone_into(kind);
            } else {
                item.bad(1, findings, "is no type of record and is ignored", "A, NS, CNAME, SOA, MX, TXT or AAAA");
            }
        }
        (Some(CheckKind::Udp(udp)), _) => udp_keyword(findings, item, udp),
        (Some(CheckKind::File { file, weight, dynamic }), key) => match key {
            "track_file" => item.need(1, findings).unwrap_or_default().clone_into(file),
            "weight" => *weight = item.weight(1, i32::MAX, findings).unwrap_or(*weight),
            "dynamic" => *dynamic = true,
            _ => {}
        },
        (kind, _) => misc(reader, item, kind),
    }
}

fn misc(reader: &mut Reader<'_, '_>, item: &Item, kind: &mut Option<CheckKind>) {
    let findings = &mut reader.findings;
    match (kind, item.key()) {
        (kind, "misc_path") => {
            if let Some(command) = item.command(findings) {
                *kind = Some(CheckKind::Misc { command, timeout: Duration::ZERO, dynamic: false });
            }
        }
        (Some(CheckKind::Misc { timeout, .. }), "misc_timeout") => {
            *timeout = item.seconds(1, SECOND..=CHECK_MAX, findings).unwrap_or(*timeout);
        }
        (Some(CheckKind::Misc { dynamic, .. }), "misc_dynamic") => *dynamic = true,
        (Some(CheckKind::Misc { command, .. }), "user") => {
            let known = item.need(1, findings).is_some_and(|name| (reader.host.user)(name));
            if known {
                command.user = item.user(1);
            } else {
                item.bad(1, findings, "is no user of this host", "");
            }
        }
        _ => item.bad(0, findings, "comes before misc_path and is ignored", "misc_path first"),
    }
}

fn http_keyword(findings: &mut Findings, item: &Item, http: &mut HttpCheck, real: &RealServer) {
    match item.key() {
        "http_protocol" => match item.need(1, findings) {
            Some("1.0") => http.protocol = HttpProtocol::V1_0,
            Some("1.0C" | "1.0c") => http.protocol = HttpProtocol::V1_0Close,
            Some("1.1") => http.protocol = HttpProtocol::V1_1,
            Some(_) => item.bad(1, findings, "is no version and is ignored", "1.0, 1.0C or 1.1"),
            None => {}
        },
        "enable_sni" => http.sni = http.sni.take().or(real.virtualhost.clone()).or(Some(String::new())),
        "sni_name" => http.sni = item.need(1, findings).map(str::to_owned),
        "fast_recovery" => http.fast_recovery = item.switch(findings).unwrap_or_default(),
        _ => {
            if let Some(host) = item.need(1, findings) {
                for url in http.urls.iter_mut().filter(|url| url.virtualhost == real.virtualhost) {
                    url.virtualhost = Some(host.to_owned());
                }
            }
        }
    }
}

fn url(reader: &mut Reader<'_, '_>, item: &Item, real: &RealServer) -> Option<Url> {
    let mut out = Url { virtualhost: real.virtualhost.clone(), ..Url::default() };
    let mut regex = Regex { pattern: String::new(), no_match: false, options: Vec::new(), offsets: (None, None) };
    reader.each(Block::Url, item.inside(), |reader, item| {
        let findings = &mut reader.findings;
        match item.key() {
            "path" => out.path = item.need(1, findings).unwrap_or_default().to_owned(),
            "virtualhost" => out.virtualhost = item.need(1, findings).map(str::to_owned),
            "digest" => match item.need(1, findings).map(digest) {
                Some(None) => item.bad(1, findings, "is no MD5 digest and is ignored", "32 hexadecimal digits"),
                Some(digest) => out.digest = digest,
                None => {}
            },
            "status_code" => {
                for index in 1..item.words.len().max(2) {
                    let Some(word) = item.need(index, findings) else { continue };
                    match statuses(word) {
                        Some(range) => out.status.push(range),
                        None => item.bad(index, findings, "is no status and is ignored", "200, or 200-299"),
                    }
                }
            }
            "regex" => regex.pattern = item.need(1, findings).unwrap_or_default().to_owned(),
            "regex_no_match" => regex.no_match = true,
            "regex_options" => {
                regex.options.extend(item.words.iter().skip(1).map(|word| word.text.clone()));
            }
            "regex_min_offset" => regex.offsets.0 = item.whole(1, 0..=u32::MAX, findings),
            "regex_max_offset" => regex.offsets.1 = item.whole(1, 0..=u32::MAX, findings),
            _ => {}
        }
    });
    if out.path.is_empty() {
        item.bad(0, &mut reader.findings, "has no path and is passed over", "path /");
        return None;
    }
    out.regex = (!regex.pattern.is_empty()).then_some(regex);
    if out.status.is_empty() && out.digest.is_none() && out.regex.is_none() {
        out.status.push((200, 299));
    }
    Some(out)
}

fn digest(word: &str) -> Option<[u8; 16]> {
    let mut out = [0; 16];
    if word.len() != 32 || !word.is_ascii() {
        return None;
    }
    for (byte, at) in out.iter_mut().zip((0..32).step_by(2)) {
        *byte = u8::from_str_radix(&word[at..at + 2], 16).ok()?;
    }
    Some(out)
}

fn statuses(word: &str) -> Option<(u16, u16)> {
    let (low, high) = word.split_once('-').unwrap_or((word, word));
    let range: (u16, u16) = (low.parse().ok()?, high.parse().ok()?);
    (range.0 >= 100 && range.1 <= 999 && range.0 <= range.1).then_some(range)
}

fn udp_keyword(findings: &mut Findings, item: &Item, udp: &mut UdpCheck) {
    let words = item.words.iter().skip(1).map(|word| word.text.as_str()).collect::<Vec<_>>();
    let small = |number: Option<u32>| number.and_then(|number| u16::try_from(number).ok());
    match item.key() {
        "payload" => match bytes(&words).filter(|bytes| bytes.iter().all(|(_, mask)| *mask == 0xff)) {
            Some(bytes) => udp.payload = bytes.into_iter().map(|(byte, _)| byte).collect(),
            None => {
                item.bad(1, findings, "is not hexadecimal and is ignored", "digits, spaces between them as you like")
            }
        },
        "require_reply" => {
            udp.require_reply = true;
            match bytes(&words) {
                Some(bytes) => udp.reply = bytes,
                None => item.bad(1, findings, "is not hexadecimal and is ignored", "digits, X for any"),
            }
        }
        "min_reply_length" => udp.min_reply = small(item.whole(1, 0..=65_535, findings)).unwrap_or(udp.min_reply),
        "max_reply_length" => udp.max_reply = small(item.whole(1, 0..=65_535, findings)).unwrap_or(udp.max_reply),
        _ => {}
    }
}

/// Hexadecimal bytes, cut at white space; `X` is any digit. Value and mask of each.
fn bytes(words: &[&str]) -> Option<Vec<(u8, u8)>> {
    let mut out = Vec::new();
    for word in words {
        let digits: Vec<char> = word.chars().collect();
        for pair in digits.chunks(2) {
            let mut byte = (0, if pair.len() == 1 { 0xf0 } else { 0 });
            for digit in pair {
                let (value, mask) = match digit {
                    'x' | 'X' => (0, 0),
                    digit => (u8::try_from(digit.to_digit(16)?).ok()?, 0xf),
                };
                byte = (byte.0 << 4 | value, byte.1 << 4 | mask);
            }
            if pair.len() == 1 {
                byte.1 |= 0xf0;
            }
            out.push(byte);
        }
    }
    Some(out)
}

/// What must be there at the end.
fn finish(reader: &mut Reader<'_, '_>, item: &Item, kind: Option<CheckKind>) -> Option<CheckKind> {
    let findings = &mut reader.findings;
    match kind {
        None => {
            item.bad(0, findings, "has no misc_path and is passed over", "misc_path \"/path\"");
            None
        }
        Some(CheckKind::Http(http)) if http.urls.is_empty() => {
            item.bad(0, findings, "has no url and is passed over", "url { path / }");
            None
        }
        Some(CheckKind::File { file, .. }) if !reader.config.files.iter().any(|known| known.name == file) => {
            findings.warn(&item.at, item.key(), "names no track_file above it and is passed over", &file, "");
            None
        }
        kind => kind,
    }
}

/// `SSL`: a certificate of our own for `SSL_GET`.
pub(super) fn certificate(reader: &mut Reader<'_, '_>, item: &Item) {
    reader.each(Block::Ssl, item.inside(), |_, _| {});
    if !item.inside().is_empty() {
        let what = "gives SSL_GET a certificate of its own, which is not done";
        reader.findings.put(Kind::Refused, &item.at, "SSL", what, "", "servers that ask for none");
    }
}
