//! What a request looks like when it leaves for a backend: RFC 9110 section 7.6, and who asked for what.

use std::net::IpAddr;

use baton_core::settings::Url;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::uri::{PathAndQuery, Uri};
use hyper::{Request, Response, Version};

use super::super::check::authority;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Makes a client's request one of our own, but for the backend. The protocol to upgrade to, if it asks for one.
pub(super) fn depart<B>(request: &mut Request<B>, client: IpAddr) -> Option<HeaderValue> {
    let upgrade = upgrade(request.headers());
    let host = request.uri().authority().map(|a| a.as_str().to_owned());
    let host =
        host.and_then(|h| HeaderValue::try_from(h).ok()).or_else(|| request.headers().get(header::HOST).cloned());
    *request.version_mut() = Version::HTTP_11;
    let headers = request.headers_mut();
    let trailers = headers.get_all(header::TE).iter().any(|v| v.as_bytes().eq_ignore_ascii_case(b"trailers"));
    strip(headers);
    for name in [header::PROXY_AUTHORIZATION, header::PROXY_AUTHENTICATE] {
        headers.remove(name);
    }
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if let Some(protocol) = &upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol.clone());
    }
    forwarded_for(headers, client);
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static("http"));
    if let Some(host) = host {
        headers.insert(FORWARDED_HOST, host);
    }
    upgrade
}

/// What is asked for, without the host.
pub(super) fn path<B>(request: &Request<B>) -> String {
    request.uri().path_and_query().map_or("/", PathAndQuery::as_str).to_owned()
}

/// Appends the client to those for whom earlier proxies forwarded.
fn forwarded_for(headers: &mut HeaderMap, client: IpAddr) {
    let mut chain: Vec<u8> = Vec::new();
    for earlier in headers.get_all(FORWARDED_FOR) {
        chain.extend_from_slice(earlier.as_bytes());
        chain.extend_from_slice(b", ");
    }
    chain.extend_from_slice(client.to_string().as_bytes());
    if let Ok(chain) = HeaderValue::from_bytes(&chain) {
        headers.insert(FORWARDED_FOR, chain);
    }
}

/// Addresses a request for `path` to a backend.
pub(super) fn address<B>(
    request: &mut Request<B>,
    path: &str,
    host: &str,
    port: u16,
    url: Option<&Url>,
) -> Result<(), String> {
    let (prefix, tls) = url.map_or(("", false), |u| (u.prefix.as_str(), u.tls));
    // The asterisk of OPTIONS is no path.
    let path = if path == "*" && prefix.is_empty() { path.to_owned() } else { format!("{prefix}{path}") };
    *request.uri_mut() = path.parse::<Uri>().map_err(|e| format!("{path}: {e}"))?;
    let usual = if tls { 443 } else { 80 };
    let authority = if port == usual {
        authority(host, port).trim_end_matches(&format!(":{port}")).to_owned()
    } else {
        authority(host, port)
    };
    let authority = HeaderValue::try_from(authority).map_err(|e| format!("{host}: {e}"))?;
    request.headers_mut().insert(header::HOST, authority);
    Ok(())
}

/// Makes a backend's response one of our own.
pub(super) fn arrive<B>(response: &mut Response<B>) {
    let upgraded = response.status() == hyper::StatusCode::SWITCHING_PROTOCOLS;
    let protocol = upgraded.then(|| response.headers().get(header::UPGRADE).cloned()).flatten();
    strip(response.headers_mut());
    if let Some(protocol) = protocol {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        response.headers_mut().insert(header::UPGRADE, protocol);
    }
}

/// The protocol that a `Connection: upgrade` asks for.
pub(super) fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let asked = options(headers).any(|option| option == header::UPGRADE);
    if asked { headers.get(header::UPGRADE).cloned() } else { None }
}

/// What `Connection` names: fields that are for the next hop only.
fn options(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> {
    let text = headers.get_all(header::CONNECTION).iter().filter_map(|v| v.to_str().ok());
    text.flat_map(|v| v.split(',')).filter_map(|option| HeaderName::from_bytes(option.trim().as_bytes()).ok())
}

/// Removes what is for one hop only. The framing of the body is hyper's business.
fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = options(headers).collect();
    for name in named {
        headers.remove(name);
    }
    for name in
        [header::CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, header::TE, header::TRANSFER_ENCODING, header::UPGRADE]
    {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(request: Request<()>, url: Option<&Url>, want: &[&str]) {
        let mut request = request;
        depart(&mut request, IpAddr::from([192, 0, 2, 9]));
        let path = path(&request);
        address(&mut request, &path, "10.0.0.2", 8080, url).expect("it can be addressed");
        let mut got = vec![request.uri().to_string()];
        got.extend(request.headers().iter().map(|(n, v)| format!("{n}: {}", v.to_str().expect("text"))));
        got[1..].sort();
        assert_eq!(got, want);
    }

    #[test]
    fn requests() {
        let request = |uri: &str| Request::get(uri).header("host", "vip.example:80").header("accept", "*/*");
        let ours = ["x-forwarded-for: 192.0.2.9", "x-forwarded-host: vip.example:80", "x-forwarded-proto: http"];
        let [ff, fh, fp] = ours;
        check(
            request("/a?b=c").header("connection", "close, x-hop").header("x-hop", "1").body(()).expect("a request"),
            None,
            &["/a?b=c", "accept: */*", "host: 10.0.0.2:8080", ff, fh, fp],
        );
        check(
            request("/").header("te", "trailers").header("keep-alive", "9").body(()).expect("a request"),
            Some(&Url { tls: false, prefix: "/p".to_owned() }),
            &["/p/", "accept: */*", "host: 10.0.0.2:8080", "te: trailers", ff, fh, fp],
        );
        check(
            request("/ws").header("connection", "Upgrade").header("upgrade", "websocket").body(()).expect("a request"),
            None,
            &["/ws", "accept: */*", "connection: upgrade", "host: 10.0.0.2:8080", "upgrade: websocket", ff, fh, fp],
        );
        check(
            request("/ws").header("upgrade", "websocket").body(()).expect("a request"),
            None,
            &["/ws", "accept: */*", "host: 10.0.0.2:8080", ff, fh, fp],
        );
        check(
            request("http://other.example/x").header("x-forwarded-for", "10.9.9.9").body(()).expect("a request"),
            None,
            &[
                "/x",
                "accept: */*",
                "host: 10.0.0.2:8080",
                "x-forwarded-for: 10.9.9.9, 192.0.2.9",
                "x-forwarded-host: other.example",
                fp,
            ],
        );
    }

    #[test]
    fn usual_ports_are_not_said() {
        for (port, tls, want) in [(80, false, "[fd00::1]"), (443, true, "[fd00::1]"), (443, false, "[fd00::1]:443")] {
            let mut request = Request::get("/").body(()).expect("a request");
            let url = Url { tls, prefix: String::new() };
            address(&mut request, "/", "fd00::1", port, Some(&url)).expect("it can be addressed");
            assert_eq!(request.headers()["host"], want);
        }
    }

    #[test]
    fn responses() {
        let mut response = Response::new(());
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("3"));
        arrive(&mut response);
        assert_eq!(response.headers().len(), 1);
        *response.status_mut() = hyper::StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        arrive(&mut response);
        assert_eq!(response.headers()[header::CONNECTION], "upgrade");
    }
}
