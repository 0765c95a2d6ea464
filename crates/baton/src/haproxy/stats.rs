//! `show stat`: the columns that exporters and monitors of haproxy read.

use baton_config::haproxy::model::{Backend, Balance, Frontend, Mode};
use baton_net::clock;

use super::daemon::Daemon;
use super::notes;
use super::rates::Rate;
use super::servers::{Admin, Server};
use crate::proxy::{BackendView, FrontView, PoolView, Took, View};

/// The columns, in haproxy 2.6's order.
pub const COLUMNS: &str = "pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,wretr,wredis,status,weight,act,bck,chkfail,chkdown,lastchg,downtime,qlimit,pid,iid,sid,throttle,lbtot,tracked,type,rate,rate_lim,rate_max,check_status,check_code,check_duration,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,hanafail,req_rate,req_rate_max,req_tot,cli_abrt,srv_abrt,comp_in,comp_out,comp_byp,comp_rsp,lastsess,last_chk,last_agt,qtime,ctime,rtime,ttime,agent_status,agent_code,agent_duration,check_desc,agent_desc,check_rise,check_fall,check_health,agent_rise,agent_fall,agent_health,addr,cookie,mode,algo,conn_rate,conn_rate_max,conn_tot,intercepted,dcon,dses,wrew,connect,reuse,cache_lookups,cache_hits,srv_icur,src_ilim,qtime_max,ctime_max,rtime_max,ttime_max,eint,idle_conn_cur,safe_conn_cur,used_conn_cur,need_conn_est,uweight,agg_server_status,agg_server_check_status,agg_check_status,-,ssl_sess,ssl_reused_sess,ssl_failed_handshake,h2_headers_rcvd,h2_data_rcvd,h2_settings_rcvd,h2_rst_stream_rcvd,h2_goaway_rcvd,h2_detected_conn_protocol_errors,h2_detected_strm_protocol_errors,h2_rst_stream_resp,h2_goaway_resp,h2_open_connections,h2_backend_open_streams,h2_total_connections,h2_backend_total_streams,h1_open_connections,h1_open_streams,h1_total_connections,h1_total_streams,h1_bytes_in,h1_bytes_out,h1_spliced_bytes_in,h1_spliced_bytes_out";

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A frontend.
    Front,
    /// A backend.
    Back,
    /// A server.
    Server,
}

/// One row: values by column.
#[derive(Clone, Debug)]
pub struct Row {
    /// What it is about.
    pub kind: Kind,
    /// Number of the proxy, and of the server.
    pub ids: (u32, u32),
    values: Vec<(&'static str, String)>,
}

impl Row {
    fn new(kind: Kind, ids: (u32, u32), pxname: &str, svname: &str, mode: Mode) -> Row {
        let mut row = Row { kind, ids, values: Vec::new() };
        row.put("pxname", pxname).put("svname", svname).put("pid", 1).put("iid", ids.0).put("sid", ids.1);
        row.put(
            "type",
            match kind {
                Kind::Front => 0,
                Kind::Back => 1,
                Kind::Server => 2,
            },
        );
        row.put("mode", if mode == Mode::Http { "http" } else { "tcp" }).put("-", "-");
        for name in ["ssl_sess", "ssl_reused_sess", "ssl_failed_handshake", "wrew", "eint"] {
            row.put(name, 0);
        }
        if kind != Kind::Server {
            for name in COLUMNS.split(',').filter(|name| name.starts_with("h1_") || name.starts_with("h2_")) {
                row.put(name, 0);
            }
            for name in ["comp_in", "comp_out", "comp_byp", "comp_rsp", "dreq", "dresp"] {
                row.put(name, 0);
            }
        }
        row
    }

    fn put(&mut self, name: &'static str, value: impl ToString) -> &mut Row {
        self.values.push((name, value.to_string()));
        self
    }

    fn answers(&mut self, mode: Mode, answers: [u64; 6]) {
        if mode == Mode::Http {
            let names = ["hrsp_1xx", "hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx", "hrsp_other"];
            names.into_iter().zip(answers).for_each(|(name, count)| _ = self.put(name, count));
        }
    }

    /// A value; empty where there is none.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.values.iter().rev().find(|(n, _)| *n == name).map_or("", |(_, value)| value)
    }

    /// The row as CSV.
    pub fn csv(&self, out: &mut String) {
        for name in COLUMNS.split(',') {
            let value = self.get(name);
            if value.contains([',', '"', '\n']) {
                out.push('"');
                out.push_str(&value.replace('"', "\"\""));
                out.push('"');
            } else {
                out.push_str(value);
            }
            out.push(',');
        }
        out.push('\n');
    }
}

/// The whole table as CSV.
#[must_use]
pub fn csv(rows: &[Row]) -> String {
    let mut text = format!("# {COLUMNS},\n");
    rows.iter().for_each(|row| row.csv(&mut text));
    text
}

impl Daemon {
    /// Every row: frontends, then servers before their backends, as the file has them.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let view = self.proxy.snapshot();
        let mut rows: Vec<(u32, Vec<Row>)> = Vec::new();
        for front in &self.config.frontends {
            rows.push((front.id, vec![self.front_row(front, &view)]));
        }
        for back in &self.config.backends {
            let mut its: Vec<Row> = self
                .servers
                .list
                .iter()
                .filter(|s| s.id.balancer == back.name)
                .map(|s| self.server_row(back, s, &view))
                .collect();
            its.push(self.back_row(back, &view));
            rows.push((back.id, its));
        }
        // A `listen` has its frontend first.
        rows.sort_by_key(|(id, _)| *id);
        rows.into_iter().flat_map(|(_, rows)| rows).collect()
    }

    fn front_row(&self, front: &Frontend, view: &View) -> Row {
        let none = FrontView::default();
        let its = view.fronts.iter().find(|f| f.name == front.name).unwrap_or(&none);
        let mut row = Row::new(Kind::Front, (front.id, 0), &front.name, "FRONTEND", front.mode);
        let rate = self.rates.front(&front.name);
        let [sessions, open, most] = its.sessions;
        row.put("scur", open)
            .put("smax", most)
            .put("slim", front.maxconn.map_or(view.connections_max as u64, u64::from));
        row.put("stot", sessions).put("bin", its.bytes[0]).put("bout", its.bytes[1]);
        row.put("dreq", its.denied[1]).put("ereq", its.errors).put("status", "OPEN");
        row.put("rate", rate.now).put("rate_lim", 0).put("rate_max", rate.most);
        let asked = self.rates.requests(&front.name);
        row.put("req_rate", asked.now).put("req_rate_max", asked.most).put("req_tot", its.requests);
        row.answers(front.mode, its.answers);
        row.put("conn_rate", rate.now).put("conn_rate_max", rate.most).put("conn_tot", sessions);
        row.put("dcon", its.denied[0]).put("dses", 0);
        row
    }

    fn server_row(&self, back: &Backend, server: &Server, view: &View) -> Row {
        let its = view.backends.iter().find(|b| b.id == server.id);
        let mut row = Row::new(Kind::Server, (back.id, server.settings.id), &back.name, &server.id.host, back.mode);
        let counts = its.map(|b| b.counts).unwrap_or_default();
        let rate = self.rates.server(&server.id);
        row.put("qcur", counts.waiting[0])
            .put("qmax", counts.waiting[1])
            .put("scur", counts.served)
            .put("smax", counts.served_max);
        if server.connections_max > 0 {
            row.put("slim", server.connections_max);
        }
        row.put("stot", counts.connections + counts.failures)
            .put("bin", counts.to_backend)
            .put("bout", counts.to_client);
        row.put("dresp", 0).put("econ", counts.failures).put("eresp", 0);
        row.put("wretr", counts.retries).put("wredis", counts.redispatches).put("status", status(server));
        row.put("weight", server.grown().div_ceil(super::lower::WEIGHT)).put("uweight", server.weight);
        row.put("act", u8::from(!server.settings.backup)).put("bck", u8::from(server.settings.backup));
        row.put("lastchg", clock::now().since(server.changed).as_secs()).put("lbtot", counts.connections);
        row.put("rate", rate.now).put("rate_max", rate.most);
        row.put("cli_abrt", counts.client_aborts).put("srv_abrt", counts.server_aborts);
        row.put("lastsess", lastsess(counts.last));
        took(&mut row, &counts.took);
        if let Some(most) = server.settings.maxqueue {
            row.put("qlimit", most);
        }
        row.put("connect", counts.connections).put("reuse", 0).put("srv_icur", 0);
        row.put("idle_conn_cur", 0).put("safe_conn_cur", 0).put("used_conn_cur", counts.served).put("need_conn_est", 0);
        row.answers(back.mode, counts.answers);
        if back.mode == Mode::Http {
            row.put("req_tot", counts.answers.iter().sum::<u64>());
        }
        if let Some(address) = server.address {
            row.put("addr", address);
        }
        if let Some((backend, name)) = &server.settings.track {
            let backend = if backend.is_empty() { &back.name } else { backend };
            row.put("tracked", format!("{backend}/{name}"));
        }
        checks(&mut row, server);
        agent(&mut row, server);
        row
    }

    fn back_row(&self, back: &Backend, view: &View) -> Row {
        let none = PoolView::default();
        let its = view.pools.iter().find(|p| p.name == back.name).unwrap_or(&none);
        let mut row = Row::new(Kind::Back, (back.id, 0), &back.name, "BACKEND", back.mode);
        let rate = self.rates.pool(&back.name);
        let members: Vec<&BackendView> = view.backends.iter().filter(|b| b.id.balancer == back.name).collect();
        let sum = |of: fn(&BackendView) -> u64| members.iter().map(|m| of(m)).sum::<u64>();
        let servers = || self.servers.list.iter().filter(|s| s.id.balancer == back.name);
        let (active, backups) = notes::counts(servers());
        let [sessions, open, most] = its.sessions;
        row.put("qcur", its.queued[0]).put("qmax", its.queued[1]).put("scur", open).put("smax", most);
        row.put("slim", back.fullconn.unwrap_or(0)).put("stot", sessions);
        row.put("bin", sum(|m| m.counts.to_backend)).put("bout", sum(|m| m.counts.to_client));
        row.put("econ", sum(|m| m.counts.failures) + its.refused).put("eresp", 0);
        row.put("wretr", sum(|m| m.counts.retries)).put("wredis", sum(|m| m.counts.redispatches));
        row.put("status", if active + backups > 0 || servers().next().is_none() { "UP" } else { "DOWN" });
        let weight: u32 =
            servers().filter(|s| s.up()).map(|s| u32::from(s.share()) / u32::from(super::lower::WEIGHT)).sum();
        row.put("weight", weight).put("act", active).put("bck", backups);
        row.put("chkdown", 0).put("lastchg", clock::now().since(self.started).as_secs()).put("downtime", 0);
        row.put("lbtot", sum(|m| m.counts.connections)).put("rate", rate.now).put("rate_max", rate.most);
        row.put("cli_abrt", sum(|m| m.counts.client_aborts)).put("srv_abrt", sum(|m| m.counts.server_aborts));
        row.put("lastsess", lastsess(members.iter().map(|m| m.counts.last).max().unwrap_or(0)));
        took(&mut row, &its.took);
        row.put("algo", algorithm(&back.balance)).put("connect", sum(|m| m.counts.connections)).put("reuse", 0);
        row.put("uweight", weight);
        row.answers(back.mode, its.answers);
        if back.mode == Mode::Http {
            row.put("req_tot", sessions);
        }
        let down = servers().filter(|s| !s.up()).count();
        row.put("agg_server_status", down).put("agg_server_check_status", down).put("agg_check_status", 0);
        row
    }
}

fn algorithm(balance: &Balance) -> &'static str {
    match balance {
        Balance::RoundRobin => "roundrobin",
        Balance::StaticRr => "static-rr",
        Balance::LeastConn => "leastconn",
        Balance::First => "first",
        Balance::Source => "source",
        Balance::Random(_) => "random",
        Balance::Hash(_) => "hash",
    }
}

fn agent(row: &mut Row, server: &Server) {
    if server.settings.agent.is_none() {
        return;
    }
    row.put("agent_rise", 1).put("agent_fall", 1).put("agent_health", u8::from(!server.agent_down));
    match &server.agent_last {
        None => drop(row.put("agent_status", "INI")),
        Some(last) => {
            row.put("agent_status", last.status).put("agent_duration", last.took.as_millis());
            if notes::has_code(last.status) {
                row.put("agent_code", last.code);
            }
            row.put("agent_desc", notes::describe(last.status)).put("last_agt", &last.info);
        }
    }
}

fn checks(row: &mut Row, server: &Server) {
    let Some(check) = server.settings.check.as_ref() else { return };
    let downtime =
        server.down_for + if server.up() { std::time::Duration::ZERO } else { clock::now().since(server.changed) };
    row.put("hanafail", server.error_rounds);
    row.put("chkfail", server.fails).put("chkdown", server.downs).put("downtime", downtime.as_secs());
    row.put("check_rise", check.rise).put("check_fall", check.fall);
    // haproxy's own scale: rise + fall − 1 is as well as can be.
    let (health, _) = notes::health(&server.health, check);
    row.put("check_health", if server.health.is_up() { check.rise + health - 1 } else { health });
    if server.admin == Admin::Maint {
        return;
    }
    match &server.last {
        None => drop(row.put("check_status", "INI")),
        Some(last) => {
            row.put("check_status", last.status).put("check_duration", last.took.as_millis());
            row.put("check_desc", notes::describe(last.status)).put("last_chk", &last.info);
            if notes::has_code(last.status) {
                row.put("check_code", last.code);
            }
        }
    }
}

/// How long sessions took.
fn took(row: &mut Row, took: &Took) {
    let [queue, connect, answer, whole] = took.mean;
    row.put("qtime", queue).put("ctime", connect).put("rtime", answer).put("ttime", whole);
    let [queue, connect, answer, whole] = took.most;
    row.put("qtime_max", queue).put("ctime_max", connect).put("rtime_max", answer).put("ttime_max", whole);
}

/// Seconds since the last session; −1: there was none.
fn lastsess(at: u64) -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
    if at == 0 { -1 } else { i64::try_from(now.saturating_sub(at)).unwrap_or(-1) }
}

/// A server's state as haproxy writes it.
#[must_use]
pub fn status(server: &Server) -> String {
    let Some(check) = &server.settings.check else {
        let follows = server.settings.track.is_some();
        return match server.admin {
            Admin::Maint => "MAINT".to_owned(),
            Admin::Ready | Admin::Drain if server.agent_down => "DOWN (agent)".to_owned(),
            Admin::Ready | Admin::Drain if !server.health.is_up() => "DOWN".to_owned(),
            Admin::Drain if server.settings.agent.is_some() => "DRAIN (agent)".to_owned(),
            Admin::Drain => "DRAIN".to_owned(),
            Admin::Ready if server.address.is_none() => "DOWN".to_owned(),
            Admin::Ready if follows => "UP".to_owned(),
            Admin::Ready => "no check".to_owned(),
        };
    };
    let (health, most) = notes::health(&server.health, check);
    let whole = if server.health.is_up() { health == most } else { health == 0 };
    let part = if whole { String::new() } else { format!(" {health}/{most}") };
    match (server.admin, server.health.is_up()) {
        (Admin::Maint, _) => "MAINT".to_owned(),
        _ if server.agent_down => "DOWN (agent)".to_owned(),
        (Admin::Drain, true) => format!("DRAIN{part}"),
        (Admin::Ready, true) => format!("UP{part}"),
        (_, false) => format!("DOWN{part}"),
    }
}

/// What a rate is when nothing is known.
impl Default for Rate {
    fn default() -> Rate {
        Rate { last: 0, now: 0, most: 0 }
    }
}
