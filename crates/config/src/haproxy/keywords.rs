//! The table of directives of proxy sections: where each may stand, and who reads it.

use super::context::{Context, Line, Prefix};
use super::proxy::{HttpOnly, Kind, Proxy};
use super::{acl, basics, bind, checks, log, options, rules, server, stats, stick, timeouts};

/// What a directive comes to.
pub(super) enum What {
    /// It is read into the model.
    Read(fn(&mut Context<'_>, &mut Proxy, &Line)),
    /// It changes nothing with Baton, for this reason.
    Moot(&'static str),
    /// Baton does not do it, for this reason.
    Refused(&'static str),
    /// haproxy 2.6 does not know it any more; this is what took its place.
    Gone(&'static str),
}

/// A directive.
pub(super) struct Entry {
    pub(super) name: &'static str,
    /// For `defaults`, `frontend`, `listen`, `backend`: `o` allowed, `w` ignored with a warning, `A` an error,
    /// `n` in a named `defaults` only.
    pub(super) place: &'static str,
    /// Works in mode http alone.
    pub(super) http: bool,
    pub(super) what: What,
}

const fn read(name: &'static str, place: &'static str, how: fn(&mut Context<'_>, &mut Proxy, &Line)) -> Entry {
    Entry { name, place, http: false, what: What::Read(how) }
}

const fn http(name: &'static str, place: &'static str, how: fn(&mut Context<'_>, &mut Proxy, &Line)) -> Entry {
    Entry { name, place, http: true, what: What::Read(how) }
}

const fn refused(name: &'static str, place: &'static str, why: &'static str) -> Entry {
    Entry { name, place, http: false, what: What::Refused(why) }
}

const fn http_refused(name: &'static str, place: &'static str, why: &'static str) -> Entry {
    Entry { name, place, http: true, what: What::Refused(why) }
}

const fn moot(name: &'static str, place: &'static str, why: &'static str) -> Entry {
    Entry { name, place, http: false, what: What::Moot(why) }
}

const fn gone(name: &'static str, instead: &'static str) -> Entry {
    Entry { name, place: "oooo", http: false, what: What::Gone(instead) }
}

const COOKIES: &str = "servers are not chosen by cookies; `balance source` or `stick on src` keep clients at a server";

/// Every directive of proxy sections.
pub(super) const ENTRIES: &[Entry] = &[
    read("acl", "nooo", acl::directive),
    read("backlog", "ooow", basics::backlog),
    read("balance", "owoo", basics::balance),
    read("bind", "Aoow", bind::directive),
    Entry { name: "bind-process", place: "oooo", http: false, what: What::Read(basics::bind_process) },
    http_refused("capture", "Aoow", "requests are not captured"),
    read("clitcpka-cnt", "ooow", basics::keepalive),
    read("clitcpka-idle", "ooow", basics::keepalive),
    read("clitcpka-intvl", "ooow", basics::keepalive),
    http_refused("compression", "oooo", "answers are not compressed"),
    http_refused("cookie", "owoo", COOKIES),
    http_refused("declare", "AooA", "requests are not captured"),
    read("default-server", "oAoo", server::default_server),
    read("default_backend", "oooA", basics::default_backend),
    read("description", "Aooo", basics::description),
    read("disabled", "oooo", basics::disabled),
    refused("dispatch", "Awoo", "a single address without checks; a `server` line says the same"),
    refused("email-alert", "oooo", "no mails are sent; the log says what happens"),
    read("enabled", "oooo", basics::disabled),
    http("errorfile", "oooo", basics::errorfile),
    http_refused("errorfiles", "oooo", "`errorfile` names one file for each status"),
    http_refused("errorloc", "oooo", "errors are answered by this process itself"),
    http_refused("errorloc302", "oooo", "errors are answered by this process itself"),
    http_refused("errorloc303", "oooo", "errors are answered by this process itself"),
    refused("error-log-format", "ooow", "there is one format for all lines"),
    read("external-check", "owoo", checks::external),
    http_refused("force-persist", "Awoo", COOKIES),
    refused("filter", "Aooo", "there are no filters"),
    read("fullconn", "owoo", basics::fullconn),
    gone("grace", "`grace` of `global`"),
    read("hash-balance-factor", "owoo", basics::hash_balance_factor),
    read("hash-type", "owoo", basics::hash_type),
    http_refused("http-after-response", "nooo", "rules about answers are `http-response`"),
    read("http-check", "owoo", checks::http_check),
    http_refused("http-error", "oooo", "`errorfile` names one file for each status"),
    http("http-request", "nooo", rules::http_request),
    http("http-response", "nooo", rules::http_response),
    http("http-reuse", "owoo", basics::http_reuse),
    http_refused("http-send-name-header", "owoo", "servers are not told their names"),
    read("id", "Aooo", basics::id),
    http_refused("ignore-persist", "Awoo", COOKIES),
    refused("load-server-state-from-file", "owoo", "states stay in this process over a reload"),
    read("log", "oooo", log::directive),
    read("log-format", "oooo", log::format),
    refused("log-format-sd", "oooo", "structured data of RFC 5424 is not written"),
    read("log-tag", "oooo", log::tag),
    http("max-keep-alive-queue", "owoo", basics::http_reuse),
    http("max-session-srv-conns", "ooow", basics::http_reuse),
    read("maxconn", "ooow", basics::maxconn),
    read("mode", "oooo", basics::mode),
    http("monitor", "Aoow", stats::monitor_fail),
    gone("monitor-net", "`http-request return status 200 if { src … }`"),
    http("monitor-uri", "ooow", stats::monitor_uri),
    read("option", "oooo", options::directive),
    refused("persist", "oooo", "there is no persistence by RDP cookies"),
    read("rate-limit", "ooow", basics::rate_limit),
    http("redirect", "Aooo", rules::redirect),
    gone("redisp", "`option redispatch`"),
    gone("redispatch", "`option redispatch`"),
    read("retries", "owoo", basics::retries),
    http_refused("retry-on", "oAoo", "only connections that could not be made are tried again"),
    read("server", "AAoo", server::directive),
    refused("server-state-file-name", "owoo", "states stay in this process over a reload"),
    read("server-template", "AAoo", server::template),
    read("source", "owoo", server::source),
    read("srvtcpka-cnt", "owoo", basics::keepalive),
    read("srvtcpka-idle", "owoo", basics::keepalive),
    read("srvtcpka-intvl", "owoo", basics::keepalive),
    http("stats", "oooo", stats::directive),
    read("stick", "Awoo", stick::directive),
    read("stick-table", "Aooo", stick::table),
    read("tcp-check", "owoo", checks::tcp_check),
    read("tcp-request", "nooo", rules::tcp_request),
    read("tcp-response", "nAoo", rules::tcp_response),
    read("timeout", "oooo", timeouts::directive),
    refused("transparent", "oooo", "a `server` with the address `*` says the same"),
    http_refused("unique-id-format", "oooo", "requests get no identifiers"),
    http_refused("unique-id-header", "oooo", "requests get no identifiers"),
    read("use_backend", "AooA", rules::use_backend),
    refused("use-fcgi-app", "AAoo", "there is no FastCGI"),
    read("use-server", "AAoo", rules::use_server),
    gone("block", "`http-request deny`"),
    gone("clitimeout", "`timeout client`"),
    gone("contimeout", "`timeout connect`"),
    gone("srvtimeout", "`timeout server`"),
    gone("appsession", "`stick on`"),
    gone("reqadd", "`http-request add-header`"),
    gone("reqrep", "`http-request replace-header`"),
    gone("reqirep", "`http-request replace-header`"),
    gone("reqdeny", "`http-request deny`"),
    gone("rspadd", "`http-response add-header`"),
    gone("rspdel", "`http-response del-header`"),
    gone("rspidel", "`http-response del-header`"),
    moot("dynamic-cookie-key", "owoo", "there are no cookies"),
];

/// Reads one line of a proxy section.
pub(super) fn directive(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    let name = line.word(0);
    let Some(entry) = ENTRIES.iter().find(|entry| entry.name == name) else {
        let text = format!("`{name}` is not known in a `{}` section", proxy.kind.word());
        return context.says.alert(line.at(0), name, text);
    };
    if line.prefix != Prefix::None && !matches!(name, "option" | "log" | "stick-table") {
        let text = "`no` and `default` stand before `option` and `log` only";
        return context.says.alert(line.at(0), name, text);
    }
    if !placed(context, proxy, line, name, entry.place) {
        return;
    }
    if !matches!(name, "option" | "timeout" | "http-request" | "tcp-request" | "http-check" | "tcp-check" | "stats") {
        context.used(name, line.at(0), &proxy.name);
    }
    let refused = match entry.what {
        What::Refused(why) => Some(why),
        _ => None,
    };
    if entry.http {
        http_only(proxy, line, name, refused);
    }
    match entry.what {
        What::Read(read) => read(context, proxy, line),
        What::Moot(_) => {}
        What::Refused(why) if !entry.http => context.says.refuse(line.at(0), name, not_served(why)),
        What::Refused(_) => {}
        What::Gone(instead) => {
            let text = format!("is gone since haproxy 2.1 or later, expected {instead}");
            context.says.alert(line.at(0), name, text);
        }
    }
}

/// How a refusal is worded.
pub(super) fn not_served(why: &str) -> String {
    format!("is not served by Baton: {why}")
}

/// Notes something that only means anything in mode http. One note per name.
pub(super) fn http_only(proxy: &mut Proxy, line: &Line, name: &str, refused: Option<&'static str>) {
    let back_only = matches!(name, "cookie" | "retry-on" | "http-reuse" | "max-keep-alive-queue");
    let front_only = matches!(name, "monitor-uri" | "monitor" | "capture");
    let quiet = [
        "http-reuse",
        "retry-on",
        "unique-id-format",
        "unique-id-header",
        "max-keep-alive-queue",
        "max-session-srv-conns",
        "errorfile",
        "errorfiles",
        "errorloc",
        "errorloc302",
        "errorloc303",
        "http-error",
        "compression",
        "http-send-name-header",
        "declare",
        "force-persist",
        "ignore-persist",
    ];
    let silent = quiet.contains(&name) || name == "capture" && line.word(1) != "cookie";
    let entry =
        HttpOnly { name: name.to_owned(), at: line.at(0), front: !back_only, back: !front_only, silent, refused };
    proxy.http_only.retain(|other| other.name != name);
    proxy.http_only.push(entry);
}

/// Whether the directive is read here; if not, says why.
pub(super) fn placed(context: &mut Context<'_>, proxy: &Proxy, line: &Line, name: &str, place: &str) -> bool {
    let kind = proxy.kind;
    match place.as_bytes().get(kind as usize) {
        Some(b'o') => true,
        Some(b'n') if kind != Kind::Defaults || !proxy.name.is_empty() => true,
        Some(b'n') => {
            context.says.alert(line.at(0), name, "may stand in a `defaults` section that has a name only");
            false
        }
        Some(b'w') => {
            let side = if kind.is_front() { "servers" } else { "clients" };
            let text = format!("is ignored: {} has no side towards {side}", proxy.title());
            context.says.warn(line.at(0), name, text);
            false
        }
        _ => {
            let text = format!("may not stand in a `{}` section", kind.word());
            context.says.alert(line.at(0), name, text);
            false
        }
    }
}
