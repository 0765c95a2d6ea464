//! A small HTTPS client for an API server: JSON in and out, one connection at a time, from any host of the lab.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use baton_lab::host::Host;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

use crate::certificates::Pair;

/// How long an answer may take.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Who one is to the API server, and whom one believes.
pub fn credentials(authority: &Path, pair: Option<&Pair>) -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).map_err(io::Error::other)?).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(io::Error::other)?.with_root_certificates(roots);
    let config = match pair {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let certificate = CertificateDer::from_pem_file(&pair.certificate).map_err(io::Error::other)?;
            let key = PrivateKeyDer::from_pem_slice(&fs::read(&pair.key)?).map_err(io::Error::other)?;
            builder.with_client_auth_cert(vec![certificate], key).map_err(io::Error::other)?
        }
    };
    Ok(Arc::new(config))
}

type Stream = BufReader<StreamOwned<ClientConnection, TcpStream>>;

/// A TLS connection to an API server, from `host`. Its certificate is that of `kubernetes`, wherever it is.
pub fn connect(host: &Host, tls: &Arc<ClientConfig>, server: SocketAddr, patience: Duration) -> io::Result<Stream> {
    let tcp = host.run(move |_| TcpStream::connect_timeout(&server, patience))?;
    secure(tcp, tls, patience)
}

/// TLS over a connection.
pub fn secure(tcp: TcpStream, tls: &Arc<ClientConfig>, patience: Duration) -> io::Result<Stream> {
    tcp.set_nodelay(true)?;
    tcp.set_read_timeout(Some(patience))?;
    tcp.set_write_timeout(Some(patience))?;
    let name = ServerName::try_from("kubernetes").map_err(io::Error::other)?;
    let connection = ClientConnection::new(Arc::clone(tls), name).map_err(io::Error::other)?;
    Ok(BufReader::new(StreamOwned::new(connection, tcp)))
}

/// One request and its answer: the status and the body.
pub fn exchange(
    stream: &mut Stream,
    method: &str,
    path: &str,
    body: Option<(&str, &str)>,
) -> io::Result<(u16, String)> {
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nhost: kubernetes\r\nuser-agent: baton-lab\r\naccept: application/json\r\n"
    );
    if let Some((kind, text)) = body {
        request += &format!("content-type: {kind}\r\ncontent-length: {}\r\n\r\n{text}", text.len());
    } else {
        request += "\r\n";
    }
    let inner = stream.get_mut();
    inner.write_all(request.as_bytes())?;
    inner.flush()?;
    let (mut status, mut length, mut chunked) = (0, 0, false);
    loop {
        let line = line(stream)?;
        if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
            status = rest.get(..3).and_then(|code| code.parse().ok()).ok_or_else(|| strange(&line))?;
        }
        let Some((name, value)) = line.split_once(':') else {
            if line.is_empty() {
                break;
            }
            continue;
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().map_err(|_| strange(&line))?;
        }
        chunked |= name.eq_ignore_ascii_case("transfer-encoding") && value.trim() == "chunked";
    }
    let mut text = Vec::new();
    if !chunked {
        stream.take(length).read_to_end(&mut text)?;
    }
    while chunked {
        let size = line(stream)?;
        let size = u64::from_str_radix(size.trim(), 16).map_err(|_| strange(&size))?;
        stream.take(size).read_to_end(&mut text)?;
        line(stream)?;
        chunked = size > 0;
    }
    Ok((status, String::from_utf8_lossy(&text).into_owned()))
}

fn line(stream: &mut Stream) -> io::Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}

fn strange(line: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the API server said {line:?}"))
}

/// A client of one API server that keeps its connection.
pub struct Api<'a> {
    host: &'a Host,
    tls: Arc<ClientConfig>,
    server: SocketAddr,
    stream: Option<Stream>,
}

impl<'a> Api<'a> {
    /// From `host` to `server`.
    #[must_use]
    pub fn new(host: &'a Host, tls: &Arc<ClientConfig>, server: SocketAddr) -> Api<'a> {
        Api { host, tls: Arc::clone(tls), server, stream: None }
    }

    /// Asks once, over the kept connection or, when that has ended, a new one.
    pub fn ask(&mut self, method: &str, path: &str, body: Option<(&str, &str)>) -> io::Result<(u16, String)> {
        if let Some(mut stream) = self.stream.take()
            && let Ok(answer) = exchange(&mut stream, method, path, body)
        {
            self.stream = Some(stream);
            return Ok(answer);
        }
        let mut stream = connect(self.host, &self.tls, self.server, PATIENCE)?;
        let answer = exchange(&mut stream, method, path, body)?;
        self.stream = Some(stream);
        Ok(answer)
    }

    fn object(&mut self, method: &str, path: &str, body: Option<(&str, &Value)>) -> io::Result<Option<Value>> {
        let text = body.map(|(kind, body)| (kind, body.to_string()));
        let (status, text) = self.ask(method, path, text.as_ref().map(|(kind, text)| (*kind, text.as_str())))?;
        match status {
            200..=299 => serde_json::from_str(&text).map(Some).map_err(io::Error::other),
            404 => Ok(None),
            _ => Err(io::Error::other(format!("{method} {path}: {status} {text}"))),
        }
    }

    /// An object or a list, if it is there.
    pub fn get(&mut self, path: &str) -> io::Result<Option<Value>> {
        self.object("GET", path, None)
    }

    /// Makes an object; `path` is that of the list.
    pub fn create(&mut self, path: &str, object: &Value) -> io::Result<Value> {
        let made = self.object("POST", path, Some(("application/json", object)))?;
        made.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("there is no {path}")))
    }

    /// Changes fields of an object (a merge patch).
    pub fn patch(&mut self, path: &str, change: &Value) -> io::Result<Value> {
        let changed = self.object("PATCH", path, Some(("application/merge-patch+json", change)))?;
        changed.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("there is no {path}")))
    }

    /// Removes an object, or all of a list; nothing happens if it is not there.
    pub fn delete(&mut self, path: &str) -> io::Result<()> {
        self.object("DELETE", path, None).map(drop)
    }

    /// Waits until the server says that it is ready, at most `patience`.
    #[must_use]
    pub fn wait_until_ready(&mut self, patience: Duration) -> bool {
        let from = Instant::now();
        while from.elapsed() < patience {
            if matches!(self.ask("GET", "/readyz", None), Ok((200, _))) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        false
    }
}
