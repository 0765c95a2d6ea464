//! Answers of this process: haproxy's pages for each status, files in their place, redirections.

use baton_config::haproxy::model::RedirectKind;
use bytes::Bytes;
use hyper::ext::ReasonPhrase;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};

/// The pages: what follows the status, and what it says.
const PAGES: &[(u16, &str, &str)] = &[
    (200, "OK", "Service ready."),
    (400, "Bad request", "Your browser sent an invalid request."),
    (401, "Unauthorized", "You need a valid user and password to access this content."),
    (403, "Forbidden", "Request forbidden by administrative rules."),
    (404, "Not Found", "The resource could not be found."),
    (
        405,
        "Method Not Allowed",
        "A request was made of a resource using a request method not supported by that resource",
    ),
    (407, "Unauthorized", "You need a valid user and password to access this content."),
    (408, "Request Time-out", "Your browser didn't send a complete request in time."),
    (410, "Gone", "The resource is no longer available and will not be available again."),
    (413, "Payload Too Large", "The request entity exceeds the maximum allowed."),
    (421, "Misdirected Request", "Request sent to a non-authoritative server."),
    (422, "Unprocessable Content", "The server cannot process the contained instructions."),
    (425, "Too Early", "Your browser sent early data."),
    (429, "Too Many Requests", "You have sent too many requests in a given amount of time."),
    (500, "Internal Server Error", "An internal server error occurred."),
    (501, "Not Implemented", ".The server does not support the functionality required to fulfill the request."),
    (502, "Bad Gateway", "The server returned an invalid or incomplete response."),
    (503, "Service Unavailable", "No server is available to handle this request."),
    (504, "Gateway Time-out", "The server didn't respond in time."),
];

/// What stands in the place of a page: status and whole answer.
pub type Files = [(u16, String)];

/// Whether there is a page for a status.
#[must_use]
pub fn has(status: u16) -> bool {
    PAGES.iter().any(|(known, ..)| *known == status)
}

fn page(status: u16) -> (u16, &'static str, String) {
    let found = PAGES.iter().find(|(known, ..)| *known == status).or_else(|| PAGES.iter().find(|p| p.0 == 500));
    let (status, reason, text) = *found.unwrap_or(&(500, "Internal Server Error", ""));
    (status, reason, format!("<html><body><h1>{status} {reason}</h1>\n{text}\n</body></html>\n"))
}

/// The page for a status, or the file in its place.
#[must_use]
pub fn answer(status: u16, files: &Files) -> Response<Bytes> {
    if let Some((_, text)) = files.iter().find(|(known, _)| *known == status) {
        return whole(status, text);
    }
    let (status, reason, body) = page(status);
    let mut response = plain(status, body, &[("cache-control", "no-cache"), ("content-type", "text/html")]);
    response.extensions_mut().insert(ReasonPhrase::from_static(reason.as_bytes()));
    response
}

/// The same as bytes, for a client whose request could not be read; the connection ends with it.
#[must_use]
pub fn bytes(status: u16, files: &Files) -> Vec<u8> {
    if let Some((_, text)) = files.iter().find(|(known, _)| *known == status) {
        return text.clone().into_bytes();
    }
    let (status, reason, body) = page(status);
    format!(
        "HTTP/1.1 {status} {reason}\r\nContent-length: {}\r\nCache-Control: no-cache\r\nConnection: close\r\n\
         Content-Type: text/html\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// An answer with a length and these headers.
#[must_use]
pub fn plain(status: u16, body: String, headers: &[(&str, &str)]) -> Response<Bytes> {
    let length = HeaderValue::from(body.len());
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_LENGTH, length);
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

/// A file that is a whole answer: its head as it is, and its body.
fn whole(status: u16, text: &str) -> Response<Bytes> {
    let end = ["\r\n\r\n", "\n\n"].iter().filter_map(|end| Some((text.find(end)?, end.len()))).min();
    let (head, body) = end.map_or((text, ""), |(at, length)| (&text[..at], &text[at + length..]));
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or_default().splitn(3, ' ').skip(1);
    let status = first.next().and_then(|word| word.parse().ok()).unwrap_or(status);
    let mut response = Response::new(Bytes::copy_from_slice(body.as_bytes()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Some(reason) = first.next().and_then(|text| ReasonPhrase::try_from(text.as_bytes().to_vec()).ok()) {
        response.extensions_mut().insert(reason);
    }
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { continue };
        let parsed = (HeaderName::from_bytes(name.trim().as_bytes()), HeaderValue::from_str(value.trim()));
        if let (Ok(name), Ok(value)) = parsed
            && name != header::CONTENT_LENGTH
        {
            response.headers_mut().append(name, value);
        }
    }
    response
}

/// A redirection.
#[must_use]
pub fn redirect(kind: RedirectKind, status: u16, to: &str, parts: &Parts) -> Response<Bytes> {
    let rest = parts.uri.path_and_query().map_or("/", |p| p.as_str());
    let location = match kind {
        RedirectKind::Location => to.to_owned(),
        // A prefix of one slash is none.
        RedirectKind::Prefix if to == "/" => rest.to_owned(),
        RedirectKind::Prefix => format!("{to}{rest}"),
        RedirectKind::Scheme => {
            let host = parts.headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or_default();
            format!("{to}://{host}{rest}")
        }
    };
    let mut headers = vec![("location", location.as_str())];
    if matches!(status, 302 | 303 | 307) {
        headers.push(("cache-control", "no-cache"));
    }
    plain(status, String::new(), &headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_haproxys_length() {
        for (status, length) in [(400, 90), (403, 93), (405, 146), (408, 110), (501, 136), (502, 107), (504, 92)] {
            assert_eq!(page(status).2.len(), length, "{status}");
        }
    }

    #[test]
    fn a_file_is_a_whole_answer() {
        let files =
            [(503, "HTTP/1.0 503 Gone away\r\nContent-Type: text/plain\r\nX-Why: late\r\n\r\nlater\n".to_owned())];
        let response = answer(503, &files);
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["x-why"], "late");
        assert_eq!(response.headers()["content-length"], "6");
        assert_eq!(response.body(), "later\n");
        assert_eq!(answer(502, &files).status(), 502);
    }
}
