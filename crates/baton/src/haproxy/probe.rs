//! One health check: its connection, its steps, and the outcome in haproxy's words. What an outcome means is decided in
//! `baton_core::health`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use baton_config::haproxy::model::{Check, CheckKind, CheckTls, Expect, ExpectKind, Host, HttpRequest, Step, Target};
use baton_wire::proxy;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

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

/// Most bytes of an answer that are looked at.
const ANSWER_MAX: usize = 16 * 1024;
/// Longest text of a status line that is told, as with haproxy.
const REASON_MAX: usize = 127;
/// When nothing else is said.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How a check fails.
struct Failure {
    status: &'static str,
    code: u16,
    info: String,
}

fn failure(status: &'static str, info: impl Into<String>) -> Failure {
    Failure { status, code: 0, info: info.into() }
}

/// How far a check is, for what a timeout is called.
struct Progress {
    layer: u8,
    status: &'static str,
    code: u16,
    info: String,
}

/// Does the check at the server's address.
pub async fn run(check: &Check, server: SocketAddr) -> Outcome {
    let began = Instant::now();
    let mut progress = Progress { layer: 4, status: "L4OK", code: 0, info: String::new() };
    let whole = check.connect_timeout + check.answer_timeout.unwrap_or_default();
    let limit = if whole.is_zero() { TIMEOUT } else { whole };
    let result = tokio::time::timeout(limit, dialogue(check, server, &mut progress)).await;
    let took = began.elapsed();
    match result {
        Ok(Ok(())) => Outcome { ok: true, status: progress.status, code: progress.code, info: progress.info, took },
        Ok(Err(f)) => Outcome { ok: false, status: f.status, code: f.code, info: f.info, took },
        Err(_) => Outcome { ok: false, status: timed_out(progress.layer), code: 0, info: String::new(), took },
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
    for step in own {
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
                answer = Answer::default();
            }
            Step::Request(request) => {
                (progress.layer, asked) = (7, true);
                send(stream.as_mut(), text(request).as_bytes()).await?;
                answer = Answer { http: true, ..Answer::default() };
            }
            Step::Expect(expect) => {
                progress.layer = 7;
                asked = false;
                judge(stream.as_mut(), expect, &mut answer, progress).await?;
            }
        }
    }
    if asked {
        let any = Expect { kind: ExpectKind::Status(vec![(200, 399)]), negate: false, min_recv: None, comment: None };
        judge(stream.as_mut(), &any, &mut answer, progress).await?;
    }
    Ok(())
}

/// What a check talks through.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
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
    let connector = tls::checker(tls.sni.is_some(), &tls.alpn);
    let stream = connector.connect(name, stream).await.map_err(|e| failure("L6RSP", e.to_string()))?;
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
        let _ = write!(text, "{name}: {value}\r\n");
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

/// What has come back so far.
#[derive(Default)]
struct Answer {
    bytes: Vec<u8>,
    over: bool,
    http: bool,
}

impl Answer {
    async fn more(&mut self, stream: &mut Box<dyn Stream>) -> Result<(), Failure> {
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer).await {
            Ok(0) => self.over = true,
            Ok(n) => {
                self.bytes.extend_from_slice(&buffer[..n]);
                self.over = self.bytes.len() >= ANSWER_MAX;
            }
            Err(e) if self.bytes.is_empty() => return Err(failure("L7RSP", plain(&e))),
            Err(_) => self.over = true,
        }
        Ok(())
    }

    /// The status line's status and text, when it is there.
    fn status(&self) -> Option<Result<(u16, String), ()>> {
        let end = self.bytes.iter().position(|b| *b == b'\n');
        let Some(end) = end else { return self.over.then_some(Err(())) };
        let line = String::from_utf8_lossy(&self.bytes[..end]);
        let mut words = line.trim_end().splitn(3, ' ');
        let version = words.next().is_some_and(|word| word.starts_with("HTTP/1."));
        let code = words.next().and_then(|word| word.parse().ok());
        // It goes to logs and pages as it is.
        let reason = words.next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(REASON_MAX);
        Some(code.filter(|_| version).map(|code| (code, reason.collect())).ok_or(()))
    }

    /// What is compared with texts: the body of an HTTP answer, or everything.
    fn content(&self) -> &[u8] {
        if !self.http {
            return &self.bytes;
        }
        let end = self.bytes.windows(4).position(|w| w == b"\r\n\r\n");
        end.map_or(&[], |end| &self.bytes[end + 4..])
    }
}

async fn judge(
    stream: Option<&mut Box<dyn Stream>>,
    expect: &Expect,
    answer: &mut Answer,
    progress: &mut Progress,
) -> Result<(), Failure> {
    let stream = stream.ok_or_else(|| failure("SOCKERR", "no connection"))?;
    let comment = |info: String| expect.comment.clone().unwrap_or(info);
    loop {
        let enough = expect.min_recv.is_none_or(|least| answer.bytes.len() >= usize::try_from(least).unwrap_or(0));
        if answer.http {
            match answer.status() {
                None => {
                    answer.more(stream).await?;
                    continue;
                }
                Some(Err(())) => return Err(failure("L7RSP", "")),
                Some(Ok((code, reason))) => (progress.status, progress.code, progress.info) = ("L7OK", code, reason),
            }
        }
        match &expect.kind {
            ExpectKind::Status(ranges) => {
                let code = progress.code;
                if ranges.iter().any(|(from, to)| (*from..=*to).contains(&code)) != expect.negate {
                    return Ok(());
                }
                let info = comment(format!("HTTP status check returned code <{code}>"));
                return Err(Failure { status: "L7STS", code, info });
            }
            ExpectKind::Contains(wanted) => {
                let found = enough && contains(answer.content(), wanted);
                if found && !expect.negate {
                    (progress.status, progress.layer) = ("L7OK", 7);
                    return Ok(());
                }
                if found || answer.over {
                    if !found && expect.negate {
                        progress.status = "L7OK";
                        return Ok(());
                    }
                    let info = comment(
                        if found { "check matched unwanted content" } else { "check did not match content" }.to_owned(),
                    );
                    return Err(Failure { status: "L7RSP", code: progress.code, info });
                }
                answer.more(stream).await?;
            }
            // Refused with the file.
            ExpectKind::Regex(_) | ExpectKind::StatusRegex(_) => {
                return Err(failure("L7RSP", "regular expressions are not served"));
            }
        }
    }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty() || bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// An I/O error as the C library words it.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_of_its_status_is_told_within_bounds() {
        let answer = |text: &str| Answer { bytes: text.as_bytes().to_vec(), over: false, http: true }.status();
        assert_eq!(answer("HTTP/1.1 200 OK\r\n"), Some(Ok((200, "OK".to_owned()))));
        assert_eq!(answer("HTTP/1.1 204\r\n"), Some(Ok((204, String::new()))));
        assert_eq!(answer("HTTP/1.1 500 a\u{1b}[31mb\0\rc\n"), Some(Ok((500, "a[31mbc".to_owned()))));
        let long = answer(&format!("HTTP/1.1 500 {}\n", "é".repeat(5000)));
        assert_eq!(long, Some(Ok((500, "é".repeat(127)))));
        assert_eq!((answer("HTTP/1.1 abc\n"), answer("SSH-2.0-x\n")), (Some(Err(())), Some(Err(()))));
        assert_eq!(answer("HTTP/1.1 20"), None);
    }
}
