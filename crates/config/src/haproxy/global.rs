//! Section `global`.

use super::bind;
use super::context::{Context, Line, Prefix};
use super::keywords::not_served;
use super::model::Global;
use super::{log, names, units};

/// Words of `global` that change nothing with Baton, and why.
pub(super) const MOOT: &[(&str, &str)] = &[
    (
        "cpu-map numa-cpu-mapping thread-group thread-groups nopoll noepoll noevports nokqueue nogetaddrinfo maxpipes \
         tune.fd.edge-triggered tune.idle-pool.shared tune.idletimer tune.listener.multi-queue tune.maxaccept \
         tune.maxpollevents tune.pattern.cache-size tune.pipesize tune.pool-high-fd-ratio tune.pool-low-fd-ratio \
         tune.recv_enough tune.runqueue-depth tune.sched.low-latency tune.buffers.limit tune.buffers.reserve \
         tune.maxrewrite tune.chksize tune.http.cookielen tune.http.logurilen tune.http.maxhdr no-memory-trimming \
         profiling.tasks tune.fail-alloc max-spread-checks",
        "how threads, buffers and events are handled is Baton's own",
    ),
    (
        "ssl-default-bind-ciphers ssl-default-bind-ciphersuites ssl-default-bind-curves ssl-default-bind-options \
         ssl-dh-param-file ssl-load-extra-files ssl-load-extra-del-ext ssl-mode-async ssl-propquery ssl-provider \
         ssl-provider-path ssl-skip-self-issued-ca issuers-chain-path maxsslconn maxsslrate crt-base \
         tune.ssl.cachesize tune.ssl.capture-buffer-size tune.ssl.capture-cipherlist-size tune.ssl.default-dh-param \
         tune.ssl.force-private-cache tune.ssl.hard-maxrecord tune.ssl.keylog tune.ssl.lifetime tune.ssl.maxrecord \
         tune.ssl.ssl-ctx-cache-size ssl-default-server-ciphers ssl-default-server-ciphersuites \
         ssl-default-server-options",
        "TLS is passed through, not ended here; checks speak TLS 1.2 and 1.3",
    ),
    (
        "maxcompcpuusage maxcomprate maxzlibmem tune.comp.maxlevel tune.zlib.memlevel tune.zlib.windowsize \
         tune.h2.header-table-size tune.h2.initial-window-size tune.h2.max-concurrent-streams tune.h2.max-frame-size \
         h1-case-adjust h1-case-adjust-file h1-accept-payload-with-any-method h2-workaround-bogus-websocket-clients \
         httpclient.resolvers.id httpclient.resolvers.prefer httpclient.ssl.ca-file httpclient.ssl.verify \
         tune.vars.check-max-size tune.vars.global-max-size tune.vars.proc-max-size tune.vars.reqres-max-size \
         tune.vars.sess-max-size tune.vars.txn-max-size tune.peers.max-updates-at-once tune.lua.forced-yield \
         tune.lua.maxmem tune.lua.service-timeout tune.lua.session-timeout tune.lua.task-timeout cluster-secret",
        "what it is about is not there",
    ),
    (
        "insecure-fork-wanted insecure-setuid-wanted set-dumpable strict-limits ulimit-n fd-hard-limit \
         mworker-max-reloads close-spread-time expose-experimental-directives server-state-file server-state-base",
        "one process takes the descriptors that it needs and keeps its state over reloads",
    ),
];

/// Words of `global` that Baton does not do, and why.
pub(super) const REFUSED: &[(&str, &str)] = &[
    ("lua-load lua-load-per-thread lua-prepend-path", "there is no Lua"),
    ("set-var set-var-fmt", "there are no variables"),
    ("unix-bind", "the words after each socket say its mode and owner"),
    ("default-path", "paths are as they are written"),
    ("maxsessrate", "`maxconnrate` limits the same"),
    ("pp2-never-send-local", "PROXY headers name the client's address"),
];

/// What is known of `global` besides the model.
#[derive(Debug, Default)]
pub(super) struct Extra {
    /// `ssl-server-verify none`.
    pub(super) verify_none: bool,
    pub(super) ca_base: Option<String>,
}

fn listed(list: &[(&str, &'static str)], name: &str) -> Option<&'static str> {
    list.iter().find(|(names, _)| names::has(names, name)).map(|(_, why)| *why)
}

/// Reads one line of `global`.
pub(super) fn directive(context: &mut Context<'_>, global: &mut Global, extra: &mut Extra, line: &Line) {
    const NEGATABLE: &[&str] =
        &["busy-polling", "set-dumpable", "strict-limits", "insecure-fork-wanted", "numa-cpu-mapping", "log"];
    let name = line.word(0);
    if line.prefix != Prefix::None && !NEGATABLE.contains(&name) {
        return context.says.alert(line.at(0), name, "`no` may not stand before this word");
    }
    context.used(&format!("global {name}"), line.at(0), "");
    if let Some(why) = listed(REFUSED, name) {
        return context.says.refuse(line.at(0), name, not_served(why));
    }
    if listed(MOOT, name).is_some() || flag(context, global, line) || text(context, global, extra, line) {
        return;
    }
    if number(context, global, line) || environment(context, line) {
        return;
    }
    match name {
        "log" if line.prefix != Prefix::None => global.logs.clear(),
        "log" => global.logs.extend(log::read(context, line)),
        "stats" => stats(context, global, line),
        "nbproc" => {
            context.says.alert(line.at(0), name, "is gone since haproxy 2.5: threads are used, see nbthread");
        }
        _ if names::has(names::GLOBAL, name) => {
            context.says.refuse(line.at(0), name, "is not served by Baton");
        }
        _ => context.says.alert(line.at(0), name, format!("`{name}` is not known in a `global` section")),
    }
}

/// Words without arguments.
fn flag(context: &mut Context<'_>, global: &mut Global, line: &Line) -> bool {
    let on = line.prefix == Prefix::None;
    let slot = match line.word(0) {
        "daemon" => &mut global.daemon,
        "master-worker" => {
            global.master_worker = true;
            context.ends(line, 2);
            return true;
        }
        "external-check" => {
            global.external_check = true;
            return true;
        }
        "nosplice" => &mut global.nosplice,
        "noreuseport" => &mut global.noreuseport,
        "busy-polling" => &mut global.busy_polling,
        "zero-warning" => &mut global.zero_warning,
        "quiet" => &mut global.quiet,
        _ => return false,
    };
    *slot = on;
    context.ends(line, 1);
    true
}

fn text(context: &mut Context<'_>, global: &mut Global, extra: &mut Extra, line: &Line) -> bool {
    let slot = match line.word(0) {
        "pidfile" => &mut global.pidfile,
        "user" | "uid" => &mut global.user,
        "group" | "gid" => &mut global.group,
        "chroot" => &mut global.chroot,
        "node" => &mut global.node,
        "localpeer" => &mut global.localpeer,
        "ca-base" => &mut extra.ca_base,
        "log-tag" => {
            global.log_tag = context.needed(line, 1, "a tag").unwrap_or_default();
            return true;
        }
        "log-send-hostname" => {
            global.log_send_hostname = Some(line.word(1).to_owned());
            return true;
        }
        "description" => {
            global.description = context.needed(line, 1, "a text").map(|_| line.rest(1));
            return true;
        }
        "ssl-server-verify" => {
            match line.word(1) {
                "none" => extra.verify_none = true,
                "required" => extra.verify_none = false,
                other => context.alert(line, 1, format!("`{other}` is neither none nor required")),
            }
            return true;
        }
        _ => return false,
    };
    *slot = context.needed(line, 1, "a value");
    context.ends(line, 2);
    true
}

/// Most buffer bytes: what fits into the kernel's integers.
const BYTES_MAX: i64 = i32::MAX as i64;

fn number(context: &mut Context<'_>, global: &mut Global, line: &Line) -> bool {
    match line.word(0) {
        "maxconn" | "maxconnrate" => {
            let Some(word) = context.needed(line, 1, "a number") else { return true };
            context.ends(line, 2);
            let number = u64::try_from(units::number(&word)).ok().filter(|n| *n > 0);
            match line.word(0) {
                "maxconn" => global.maxconn = number,
                _ => global.maxconnrate = number,
            }
        }
        "nbthread" => global.nbthread = context.whole(line, 1, 1, 64),
        "spread-checks" => global.spread_checks = context.whole(line, 1, 0, 50).unwrap_or(0),
        "hard-stop-after" => global.hard_stop_after = context.time(line, 1).filter(|time| !time.is_zero()),
        "grace" => global.grace = context.time(line, 1).filter(|time| !time.is_zero()),
        "tune.bufsize" => {
            if let Some(bytes) = context.whole(line, 1, 1024, BYTES_MAX) {
                global.bufsize = bytes;
            }
        }
        "tune.rcvbuf.client" => global.rcvbuf.0 = context.whole(line, 1, 0, BYTES_MAX),
        "tune.rcvbuf.server" => global.rcvbuf.1 = context.whole(line, 1, 0, BYTES_MAX),
        "tune.sndbuf.client" => global.sndbuf.0 = context.whole(line, 1, 0, BYTES_MAX),
        "tune.sndbuf.server" => global.sndbuf.1 = context.whole(line, 1, 0, BYTES_MAX),
        _ => return false,
    }
    true
}

/// Words that change what later lines see of the environment.
fn environment(context: &mut Context<'_>, line: &Line) -> bool {
    match line.word(0) {
        "setenv" | "presetenv" => {
            if line.len() < 3 {
                context.alert(line, 1, "needs a name and a value");
                return true;
            }
            let (name, value) = (line.word(1).to_owned(), line.word(2).to_owned());
            if line.word(0) == "setenv" || !context.variables.contains_key(&name) {
                context.variables.insert(name, value);
            }
        }
        "unsetenv" => {
            for word in &line.words[1..] {
                context.variables.remove(&word.text);
            }
        }
        "resetenv" => {
            let kept: Vec<&str> = line.words[1..].iter().map(|word| word.text.as_str()).collect();
            context.variables.retain(|name, _| kept.contains(&name.as_str()));
        }
        _ => return false,
    }
    true
}

fn stats(context: &mut Context<'_>, global: &mut Global, line: &Line) {
    match line.word(1) {
        "socket" => {
            context.used("global stats socket", line.at(0), "");
            if line.len() < 3 {
                return context.alert(line, 1, "needs a path or an address");
            }
            global.stats_sockets.extend(bind::read(context, line, 2, ""));
        }
        "timeout" => {
            if let Some(time) = context.time(line, 2) {
                global.stats_timeout = time;
            }
        }
        "maxconn" => {
            if let Some(count) = context.whole(line, 2, 1, 65535) {
                global.stats_maxconn = count;
            }
        }
        "bind-process" => {}
        other => {
            context.alert(line, 1, format!("`{other}` is not known here, expected socket, timeout or maxconn"));
        }
    }
}
