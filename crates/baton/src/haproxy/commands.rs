//! The commands of the runtime socket.

use std::fmt::Write as _;
use std::sync::atomic::Ordering::Relaxed;

use baton_config::haproxy::model::{Host, Target};
use baton_net::clock;

use super::daemon::Daemon;
use super::servers::{Admin, Server};
use super::socket::Permission;
use super::stats;
use super::syslog::LOST;
use crate::proxy::StuckView;

const DENIED: &str = "Permission denied\n";
const NO_SERVER: &str = "No such server.\n";
const NO_TABLE: &str = "No such table\n";

const HELP: &str = "The following commands are valid at this level:
  clear counters [all]                    : clear max statistics counters
  clear table <table> [key <key>]         : remove entries of a stick table
  disable server <bk>/<srv>               : disable a server for maintenance (use 'set server' instead)
  enable server <bk>/<srv>                : enable a disabled server (use 'set server' instead)
  get weight <bk>/<srv>                   : report a server's current weight
  set maxconn server <bk>/<srv> <value>   : change a server's maxconn setting
  set server <bk>/<srv> state <state>     : ready, drain or maint
  set server <bk>/<srv> weight <weight>   : change a server's weight
  set weight <bk>/<srv> <weight>          : change a server's weight
  show backend                            : list backends
  show errors                             : report last request and/or response errors
  show info                               : report information about the running process
  show proc                               : show this process
  show servers conn [<bk>]                : dump the connections of servers
  show servers state [<bk>]               : dump the state of servers
  show stat [<iid> <type> <sid>]          : report counters for each proxy and server
  show table [<table>]                    : report stick tables, or the entries of one
  show version                            : show this version
  shutdown sessions server <bk>/<srv>     : kill sessions on a server
  help                                    : list commands
  operator                                : lower the level of the current session to operator
  prompt                                  : toggle interactive mode with prompt
  quit                                    : disconnect
  reload                                  : read the configuration again
  user                                    : lower the level of the current session to user
";

impl Daemon {
    /// Does one command; the text that answers it.
    pub fn command(&mut self, line: &str, level: Permission) -> String {
        let mut words: Vec<&str> = line.split_ascii_whitespace().collect();
        if words.first().is_some_and(|word| word.starts_with('@')) {
            // Of master and worker, which are one.
            words.remove(0);
        }
        let admin = level == Permission::Admin;
        match words[..] {
            ["help", ..] => HELP.to_owned(),
            ["show", "stat", ref rest @ ..] => self.show_stat(rest),
            ["show", "info", ..] => self.show_info(),
            // Of this process's own pages; they tell nobody anything that the others do not.
            ["figures"] => self.figures(),
            ["page", section] => self.page(section),
            ["csv", section] => stats::csv(&self.rows_of(section)),
            ["show", "proc", ..] => self.show_proc(),
            ["show", "version"] => format!("{}\n", crate::VERSION),
            ["show", "backend"] => {
                self.config.backends.iter().fold("# name\n".to_owned(), |text, b| text + &b.name + "\n")
            }
            ["show", "errors", ..] => "Total events captured on this process : 0\n".to_owned(),
            ["show", "servers", "state", ref of @ ..] => self.servers_state(of.first().copied()),
            ["show", "servers", "conn", ref of @ ..] => self.servers_conn(of.first().copied()),
            ["get", "weight", name] => match self.named(name) {
                Some(server) => format!("{} (initial {})\n", server.weight, server.settings.weight),
                None => NO_SERVER.to_owned(),
            },
            ["clear", "counters", ref rest @ ..] => {
                let may = admin || level == Permission::Operator && rest.is_empty();
                if !may {
                    return DENIED.to_owned();
                }
                self.rates.forget();
                String::new()
            }
            ["show", "table"] => self.tables(),
            ["show", "table", name] => self.table(name),
            ["clear", "table", ..] | ["disable" | "enable" | "reload" | "set" | "shutdown", ..] if !admin => {
                DENIED.to_owned()
            }
            ["reload"] => {
                self.reload_asked = true;
                String::new()
            }
            ["clear", "table", name] => self.forget(name, None),
            ["clear", "table", name, "key", key] => self.forget(name, Some(key)),
            ["disable", "server", name] => self.state(name, "maint"),
            ["enable", "server", name] => self.state(name, "ready"),
            ["set", "server", name, "state", state] => self.state(name, state),
            ["set", "server", name, "weight", weight] | ["set", "weight", name, weight] => self.weigh(name, weight),
            ["set", "maxconn", "server", name, most] => self.limit(name, most),
            ["shutdown", "sessions", "server", name] => match self.named(name).map(|s| s.id.clone()) {
                Some(id) => {
                    self.proxy.cut(&id, b'K');
                    String::new()
                }
                None => NO_SERVER.to_owned(),
            },
            _ => format!(
                "Unknown command, but maybe one of the following ones is a better match:\n{}",
                HELP.split_once('\n').map_or("", |(_, rest)| rest)
            ),
        }
    }

    /// Master and worker as one process.
    fn show_proc(&self) -> String {
        let up = clock::now().since(self.started).as_secs();
        let up = format!("{}d{:02}h{:02}m{:02}s", up / 86_400, up / 3600 % 24, up / 60 % 60, up % 60);
        let line = |a: &str, b: &str, c: &str, d: &str, e: &str| format!("{a:<15} {b:<15} {c:<15} {d:<15} {e:<15}\n");
        let (pid, reloads) = (std::process::id().to_string(), self.reloads.to_string());
        let head = line("#<PID>", "<type>", "<reloads>", "<uptime>", "<version>");
        let master = line(&pid, "master", &reloads, &up, crate::VERSION);
        let worker = line(&pid, "worker", "0", &up, crate::VERSION);
        format!("{head}{master}# workers\n{worker}# programs\n\n")
    }

    /// One line for each table.
    fn tables(&self) -> String {
        let line = |view: &StuckView| {
            let used = view.entries.len();
            format!(
                "# table: {}, type: {}, size:{}, used:{used}\n",
                view.name,
                self.key_of(&view.name),
                view.shape.size
            )
        };
        self.proxy.stuck().iter().map(line).collect()
    }

    fn key_of(&self, table: &str) -> &str {
        let back = self.config.backends.iter().find(|back| back.name == table);
        back.and_then(|back| back.stick_table.as_ref()).map_or("ip", |table| table.key.as_str())
    }

    /// The entries of one table.
    fn table(&self, name: &str) -> String {
        let Some(view) = self.proxy.stuck().into_iter().find(|view| view.name == name) else {
            return NO_TABLE.to_owned();
        };
        let used = view.entries.len();
        let mut text = format!("# table: {name}, type: {}, size:{}, used:{used}\n", self.key_of(name), view.shape.size);
        for (at, (key, server, left)) in view.entries.iter().enumerate() {
            let id = self.servers.list.iter().find(|s| s.id.host == *server).map_or(0, |s| s.settings.id);
            let left = left.unwrap_or_default().as_millis();
            let _ = writeln!(text, "{:#x}: key={key} use=0 exp={left} server_id={id} server_key={server}", at + 1);
        }
        text
    }

    fn forget(&self, name: &str, key: Option<&str>) -> String {
        if !self.lowered_tables().iter().any(|(table, _)| table == name) {
            return NO_TABLE.to_owned();
        }
        match key.map(str::parse) {
            Some(Err(_)) => "Invalid key\n".to_owned(),
            Some(Ok(key)) => {
                self.proxy.unstick(name, Some(key));
                String::new()
            }
            None => {
                self.proxy.unstick(name, None);
                String::new()
            }
        }
    }

    fn named(&mut self, name: &str) -> Option<&mut Server> {
        let (backend, server) = name.split_once('/')?;
        self.servers.find(backend, server)
    }

    fn state(&mut self, name: &str, state: &str) -> String {
        let admin = match state {
            "ready" => Admin::Ready,
            "drain" => Admin::Drain,
            "maint" => Admin::Maint,
            _ => {
                return if self.named(name).is_some() {
                    "'set server <srv> state' expects 'ready', 'drain' and 'maint'.\n".to_owned()
                } else {
                    NO_SERVER.to_owned()
                };
            }
        };
        let found = name.split_once('/').is_some_and(|(backend, server)| self.wish(backend, server, admin));
        if found { String::new() } else { NO_SERVER.to_owned() }
    }

    fn weigh(&mut self, name: &str, weight: &str) -> String {
        let Some(server) = self.named(name) else { return NO_SERVER.to_owned() };
        let (number, percent) = weight.strip_suffix('%').map_or((weight, false), |n| (n, true));
        let Ok(number) = number.parse::<u32>() else {
            return "Require <weight> or <weight%>.\n".to_owned();
        };
        let number = u64::from(number);
        let value = if percent { u64::from(server.settings.weight) * number / 100 } else { number };
        let Some(value) = u16::try_from(value).ok().filter(|value| *value <= 256) else {
            return if percent {
                "Relative weight must be positive.\n".to_owned()
            } else {
                "Absolute weight can only be between 0 and 256 inclusive.\n".to_owned()
            };
        };
        server.weight = value;
        self.push();
        String::new()
    }

    fn limit(&mut self, name: &str, most: &str) -> String {
        let Some(server) = self.named(name) else { return NO_SERVER.to_owned() };
        let Ok(most) = most.parse() else { return "Value out of range.\n".to_owned() };
        server.connections_max = most;
        self.push();
        String::new()
    }

    fn show_stat(&self, rest: &[&str]) -> String {
        let mut numbers = rest.iter().map_while(|word| word.parse::<i64>().ok());
        let (iid, kinds, sid) =
            (numbers.next().unwrap_or(-1), numbers.next().unwrap_or(-1), numbers.next().unwrap_or(-1));
        if let Some(format) = rest.iter().find(|word| word.parse::<i64>().is_err()) {
            return format!("`show stat {format}` is not served; without it the table comes as CSV\n");
        }
        let bit = |kind: stats::Kind| match kind {
            stats::Kind::Front => 1,
            stats::Kind::Back => 2,
            stats::Kind::Server => 4,
        };
        let mut rows = self.rows();
        rows.retain(|row| {
            (iid < 0 || iid == i64::from(row.ids.0))
                && kinds & bit(row.kind) != 0
                && (sid < 0 || sid == i64::from(row.ids.1))
        });
        stats::csv(&rows)
    }

    fn show_info(&self) -> String {
        let view = self.proxy.snapshot();
        let up = clock::now().since(self.started).as_secs();
        let sessions: u64 = view.fronts.iter().map(|f| f.sessions[0]).sum();
        let (rate, most) = self.rates.all();
        let to_clients: u64 = view.fronts.iter().map(|f| f.bytes[1]).sum();
        let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(0);
        let listeners: usize = self.config.frontends.iter().map(|f| f.binds.len()).sum();
        let epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
        let lines = [
            ("Name", "HAProxy".to_owned()),
            ("Version", format!("baton-{}", crate::VERSION)),
            ("Nbthread", view.workers.to_string()),
            ("Nbproc", "1".to_owned()),
            ("Process_num", "1".to_owned()),
            ("Pid", std::process::id().to_string()),
            ("Uptime", format!("{}d {}h{:02}m{:02}s", up / 86_400, up / 3600 % 24, up / 60 % 60, up % 60)),
            ("Uptime_sec", up.to_string()),
            ("Memmax_MB", "0".to_owned()),
            ("Ulimit-n", descriptors.to_string()),
            ("Maxsock", descriptors.to_string()),
            ("Maxconn", view.connections_max.to_string()),
            ("Hard_maxconn", view.connections_max.to_string()),
            ("CurrConns", view.connections.to_string()),
            ("CumConns", (sessions + self.asked_so_far).to_string()),
            ("CumReq", (sessions + self.asked_so_far).to_string()),
            ("MaxSslConns", "0".to_owned()),
            ("CurrSslConns", "0".to_owned()),
            ("CumSslConns", "0".to_owned()),
            ("ConnRate", rate.to_string()),
            ("ConnRateLimit", "0".to_owned()),
            ("MaxConnRate", most.to_string()),
            ("SessRate", rate.to_string()),
            ("SessRateLimit", "0".to_owned()),
            ("MaxSessRate", most.to_string()),
            ("Tasks", view.connections.to_string()),
            ("Run_queue", "0".to_owned()),
            ("Idle_pct", "100".to_owned()),
            ("node", self.config.global.node.clone().unwrap_or_else(super::host_name)),
            ("Stopping", "0".to_owned()),
            ("Jobs", (view.connections + listeners).to_string()),
            ("Listeners", listeners.to_string()),
            ("DroppedLogs", LOST.load(Relaxed).to_string()),
            ("BusyPolling", "0".to_owned()),
            ("TotalBytesOut", to_clients.to_string()),
            ("Start_time_sec", epoch.saturating_sub(up).to_string()),
        ];
        let mut text = String::new();
        for (name, value) in lines {
            let _ = writeln!(text, "{name}: {value}");
        }
        text
    }

    fn servers_of(&self, backend: Option<&str>) -> Option<Vec<(u32, &Server)>> {
        if backend.is_some_and(|name| !self.config.backends.iter().any(|b| b.name == name)) {
            return None;
        }
        let id =
            |server: &Server| self.config.backends.iter().find(|b| b.name == server.id.balancer).map_or(0, |b| b.id);
        let wanted = |server: &&Server| backend.is_none_or(|name| server.id.balancer == name);
        Some(self.servers.list.iter().filter(wanted).map(|s| (id(s), s)).collect())
    }

    fn servers_state(&self, backend: Option<&str>) -> String {
        let Some(servers) = self.servers_of(backend) else { return "Can't find backend.\n".to_owned() };
        let mut text =
            "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight \
                        srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state \
                        srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl \
                        srv_check_port srv_check_addr srv_agent_addr srv_agent_port\n"
                .to_owned();
        for (id, server) in servers {
            let address = server.address.map_or_else(|| "-".to_owned(), |a| a.ip().to_string());
            let name = match &server.settings.target {
                Target::Inet(Host::Name(name)) => name.as_str(),
                _ => "-",
            };
            let (state, result) = match (server.up(), &server.last) {
                (up, None) => (if up { 2 } else { 0 }, 0),
                (up, Some(last)) => (if up { 2 } else { 0 }, if last.ok { 3 } else { 2 }),
            };
            let admin = match server.admin {
                Admin::Ready => 0,
                Admin::Maint => 1,
                Admin::Drain => 8,
            };
            let check = server.settings.check.as_ref();
            let health = check.map_or(0, |c| {
                let (health, _) = super::notes::health(&server.health, c);
                if server.health.is_up() { c.rise + health - 1 } else { health }
            });
            let since = clock::now().since(server.changed).as_secs();
            let _ = writeln!(
                text,
                "{id} {} {} {} {address} {state} {admin} {} {} {since} 1 {result} {health} {} 0 0 0 {name} {} - 0 0 - - 0",
                server.id.balancer,
                server.settings.id,
                server.id.host,
                server.weight,
                server.settings.weight,
                if check.is_some() { 6 } else { 0 },
                server.id.port,
            );
        }
        text
    }

    fn servers_conn(&self, backend: Option<&str>) -> String {
        let Some(servers) = self.servers_of(backend) else { return "Can't find backend.\n".to_owned() };
        let view = self.proxy.snapshot();
        let mut text =
            "# bkname/svname bkid/svid addr port - purge_delay used_cur used_max need_est unsafe_nb safe_nb \
                        idle_lim idle_cur idle_per_thr[0]\n"
                .to_owned();
        for (id, server) in servers {
            let counts = view.backends.iter().find(|b| b.id == server.id).map(|b| b.counts).unwrap_or_default();
            let address = server.address.map_or_else(|| "-".to_owned(), |a| a.ip().to_string());
            let _ = writeln!(
                text,
                "{}/{} {id}/{} {address} {} - 0 {} {} 0 0 0 0 0",
                server.id.balancer,
                server.id.host,
                server.settings.id,
                server.id.port,
                counts.served,
                counts.served_max
            );
        }
        text
    }
}
