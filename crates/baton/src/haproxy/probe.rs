//! One health check: its connection, its steps, and the outcome in haproxy's words. What an outcome means is decided in
//! `baton_core::health`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use baton_config::haproxy::model::{
    Check, CheckKind, CheckTls, Expect, ExpectKind, Host, HttpRequest, Service, Step, Target,
};
use baton_wire::proxy;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::verdict::{Answer, PASSED, judge};
use super::verify;
use crate::proxy::tls;

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// It passed.
    pub ok: bool,
    /// `L4OK`, `L7STS`…
    pub status: &'static str,
    /// The status of an HTTP answer; 0: there was none.
    pub code: u16,
    /// More, for people.
    pub info: String,
    /// How long it took.
    pub took: Duration,
}

/// When nothing else is said.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How a check fails.
pub(super) struct Failure {
    pub(super) status: &'static str,
    pub(super) code: u16,
    pub(super) info: String,
}

pub(super) fn failure(status: &'static str, info: impl Into<String>) -> Failure {
    Failure { status, code: 0, info: info.into() }
}

/// How far a check is, for what a timeout is called.
pub(super) struct Progress {
    layer: u8,
    /// Of the steps, counted from one.
    pub(super) step: usize,
    pub(super) status: &'static str,
    pub(super) code: u16,
    pub(super) info: String,
    /// What a timeout is called now, if not by its layer.
    pub(super) timed_out: Option<&'static str>,
    /// The steps are the file's own: they are told one by one.
    pub(super) told: bool,
    /// What is waited for, if so.
    pub(super) waits_for: String,
}

/// Does the check at the server's address.
pub async fn run(check: &Check, server: SocketAddr) -> Outcome {
    let began = Instant::now();
    let mut progress = Progress {
        layer: 4,
        step: 1,
        status: "L4OK",
        code: 0,
        info: String::new(),
        timed_out: None,
        told: matches!(check.kind, CheckKind::Steps(_)) && check.told,
        waits_for: String::new(),
    };
    let whole = check.connect_timeout + check.answer_timeout.unwrap_or_default();
    let limit = if whole.is_zero() { TIMEOUT } else { whole };
    let result = tokio::time::timeout(limit, dialogue(check, server, &mut progress)).await;
    let took = began.elapsed();
    match result {
        Ok(Ok(())) => Outcome { ok: true, status: progress.status, code: progress.code, info: progress.info, took },
        Ok(Err(f)) => Outcome { ok: false, status: f.status, code: f.code, info: f.info, took },
        Err(_) => {
            let status = progress.timed_out.filter(|_| progress.layer == 7).unwrap_or(timed_out(progress.layer));
            Outcome { ok: false, status, code: 0, info: progress.waits_for, took }
        }
    }
}

fn timed_out(layer: u8) -> &'static str {
    match layer {
        4 => "L4TOUT",
        6 => "L6TOUT",
        _ => "L7TOUT",
    }
}

/// The check's own address and port.
fn place(check: &Check, server: SocketAddr) -> SocketAddr {
    use baton_config::haproxy::model::ServerPort;
    let mut at = server;
    if let Some(Target::Inet(Host::Ip(ip))) = &check.address {
        at.set_ip(*ip);
    }
    if let Some(ServerPort::Fixed(port)) = check.port {
        at.set_port(port);
    }
    at
}

async fn dialogue(check: &Check, server: SocketAddr, progress: &mut Progress) -> Result<(), Failure> {
    let at = place(check, server);
    let mut stream: Option<Box<dyn Stream>> = None;
    let own: &[Step] = match &check.kind {
        CheckKind::Steps(steps) => steps,
        _ => &[],
    };
    if !matches!(own.first(), Some(Step::Connect { .. })) {
        stream = Some(connect(check, at, check.tls.as_ref(), check.send_proxy, progress).await?);
    }
    if check.kind == CheckKind::SslHello {
        return hello(stream.as_mut(), progress).await;
    }
    let mut answer = Answer::default();
    let mut asked = false;
    for (at_step, step) in own.iter().enumerate() {
        progress.step = at_step + 1;
        match step {
            Step::Connect { address, port, tls, send_proxy, default, .. } => {
                let mut to = at;
                if let Some(Target::Inet(Host::Ip(ip))) = address {
                    to.set_ip(*ip);
                }
                if let Some(port) = port {
                    to.set_port(*port);
                }
                let tls = if *default { check.tls.as_ref() } else { tls.as_ref() };
                let header = *send_proxy || *default && check.send_proxy;
                stream = Some(connect(check, to, tls, header, progress).await?);
                answer = Answer::default();
            }
            Step::Send(bytes) => {
                send(stream.as_mut(), bytes).await?;
                let goes_on = |expect: &Expect| expect.kind == ExpectKind::Answer(Service::MySqlAnswer);
                // The answer to a login is looked at together with the greeting.
                if !matches!(own.get(at_step + 1), Some(Step::Expect(expect)) if goes_on(expect)) {
                    answer = Answer::default();
                }
            }
            Step::Request(request) => {
                (progress.layer, asked) = (7, true);
                send(stream.as_mut(), text(request).as_bytes()).await?;
                answer = Answer::of_http();
            }
            Step::Expect(expect) => {
                progress.layer = 7;
                asked = false;
                judge(stream.as_mut(), expect, &mut answer, progress).await?;
            }
        }
    }
    if matches!(own.last(), Some(Step::Send(_))) {
        (progress.status, progress.info) = ("L7OK", PASSED.to_owned());
    }
    if asked {
        let any = Expect::new(ExpectKind::Status(vec![(200, 399)]));
        judge(stream.as_mut(), &any, &mut answer, progress).await?;
    }
    Ok(())
}

/// What a check talks through.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

async fn connect(
    check: &Check,
    to: SocketAddr,
    tls: Option<&CheckTls>,
    header: bool,
    progress: &mut Progress,
) -> Result<Box<dyn Stream>, Failure> {
    progress.layer = 4;
    let connecting = TcpStream::connect(to);
    let mut stream = tokio::time::timeout(check.connect_timeout.max(Duration::from_millis(1)), connecting)
        .await
        .map_err(|_| failure("L4TOUT", ""))?
        .map_err(|e| failure("L4CON", plain(&e)))?;
    if header {
        stream.write_all(&proxy::emit_local()).await.map_err(|e| failure("L4CON", plain(&e)))?;
    }
    let Some(tls) = tls else { return Ok(Box::new(stream)) };
    (progress.layer, progress.status) = (6, "L6OK");
    let name = tls.sni.clone().unwrap_or_else(|| to.ip().to_string());
    let name = tls::server_name(&name).map_err(|why| failure("L6RSP", why))?;
    let connector = verify::connector(tls).map_err(|why| failure("L6RSP", why))?;
    let refused = |e: std::io::Error| failure("L6RSP", format!("SSL handshake failure ({e})"));
    let stream = connector.connect(name, stream).await.map_err(refused)?;
    Ok(Box::new(stream))
}

async fn send(stream: Option<&mut Box<dyn Stream>>, bytes: &[u8]) -> Result<(), Failure> {
    let stream = stream.ok_or_else(|| failure("SOCKERR", "no connection"))?;
    stream.write_all(bytes).await.map_err(|e| failure("L7RSP", plain(&e)))?;
    stream.flush().await.map_err(|e| failure("L7RSP", plain(&e)))
}

/// A ClientHello; anything that begins like an answer of TLS is one.
async fn hello(stream: Option<&mut Box<dyn Stream>>, progress: &mut Progress) -> Result<(), Failure> {
    (progress.layer, progress.status) = (6, "L6OK");
    let stream = stream.ok_or_else(|| failure("SOCKERR", "no connection"))?;
    stream.write_all(&CLIENT_HELLO).await.map_err(|e| failure("L6RSP", plain(&e)))?;
    let mut first = [0];
    match stream.read(&mut first).await {
        Ok(1) if matches!(first[0], 0x15 | 0x16) => Ok(()),
        Ok(0) => Err(failure("L6RSP", "TCPCHK got an empty response at step 2")),
        Ok(_) => Err(failure("L6RSP", "")),
        Err(e) => Err(failure("L6RSP", plain(&e))),
    }
}

/// TLS 1.2 with a few suites that everybody knows, no session, no extensions.
const CLIENT_HELLO: [u8; 60] = {
    let mut hello = [0; 60];
    let begin = [0x16, 3, 1, 0, 55, 1, 0, 0, 51, 3, 3];
    let mut at = 0;
    while at < begin.len() {
        hello[at] = begin[at];
        at += 1;
    }
    // 32 bytes that are random to nobody.
    while at < 43 {
        hello[at] = at as u8 ^ 0x5a;
        at += 1;
    }
    let end = [0, 0, 12, 0xc0, 0x2f, 0xc0, 0x30, 0, 0x9c, 0, 0x9d, 0, 0x2f, 0, 0x35, 1, 0];
    let mut from = 0;
    while from < end.len() {
        hello[at] = end[from];
        at += 1;
        from += 1;
    }
    hello
};

/// The request as it is sent.
fn text(request: &HttpRequest) -> String {
    use std::fmt::Write as _;
    let mut text = format!("{} {} {}\r\n", request.method, request.uri, request.version);
    let has = |name: &str| request.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
    for (name, value) in &request.headers {
        // As haproxy writes them.
        let _ = write!(text, "{}: {value}\r\n", name.to_ascii_lowercase());
    }
    if request.version.ends_with("1.1") && !has("connection") {
        text.push_str("connection: close\r\n");
    }
    let body = request.body.as_deref().unwrap_or_default();
    if !body.is_empty() && !has("content-length") {
        let _ = write!(text, "content-length: {}\r\n", body.len());
    }
    text.push_str("\r\n");
    text + body
}

/// An I/O error as the C library words it.
pub(super) fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}
