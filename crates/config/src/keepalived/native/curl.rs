//! `curl` and `wget` as checks use them.

use std::time::Duration;

use super::super::value::seconds;
use super::{Get, Native};

/// An address, and the options that change what it means. `None` with any that is not known.
pub(super) fn curl(rest: &[&str]) -> Option<Native> {
    let mut get = request();
    let mut url = None;
    let mut words = rest.iter();
    while let Some(word) = words.next() {
        let (name, inline) = match word.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value)),
            _ => (*word, None),
        };
        let mut value = || inline.or_else(|| words.next().copied());
        match name {
            "--silent" | "--show-error" | "--no-progress-meter" | "--no-buffer" => {}
            "--insecure" => get.verify = false,
            "--fail" => get.fail = true,
            "--max-time" | "-m" => get.timeout = Some(seconds(value()?)?),
            "--connect-timeout" => get.connect_timeout = Some(seconds(value()?)?),
            "--output" | "-o" if matches!(value()?, "/dev/null" | "-") => {}
            "--url" => url = Some(value()?),
            "--noproxy" => {
                value()?;
            }
            letters if letters.starts_with('-') && !letters.starts_with("--") => {
                cluster(letters, &mut get, &mut words)?;
            }
            plain if !plain.starts_with('-') && url.is_none() => url = Some(plain),
            _ => return None,
        }
    }
    target(url?, get)
}

/// `-sSkf`, `-m2`, `-so /dev/null`
fn cluster<'w>(letters: &str, get: &mut Get, words: &mut impl Iterator<Item = &'w &'w str>) -> Option<()> {
    let mut rest = letters[1..].chars();
    while let Some(letter) = rest.next() {
        match letter {
            's' | 'S' | 'N' | '4' => {}
            'k' => get.verify = false,
            'f' => get.fail = true,
            'm' | 'o' => {
                let joined = rest.as_str();
                let value = if joined.is_empty() { words.next().copied()? } else { joined };
                if letter == 'm' {
                    get.timeout = Some(seconds(value)?);
                } else if value != "/dev/null" {
                    return None;
                }
                return Some(());
            }
            _ => return None,
        }
    }
    Some(())
}

/// `wget` fails with a status from 400 on.
pub(super) fn wget(rest: &[&str]) -> Option<Native> {
    let mut get = Get { fail: true, ..request() };
    let mut url = None;
    let mut words = rest.iter();
    while let Some(word) = words.next() {
        match *word {
            "-q" | "--quiet" | "--spider" | "-nv" => {}
            "--no-check-certificate" => get.verify = false,
            "-O" | "-O-" | "-qO-" | "-qO" => {
                if !word.ends_with('-') && !matches!(*words.next()?, "/dev/null" | "-") {
                    return None;
                }
            }
            "-T" => get.timeout = Some(seconds(words.next()?)?),
            "-t" => {
                words.next()?;
            }
            word if word.starts_with("--timeout=") => get.timeout = Some(seconds(&word["--timeout=".len()..])?),
            word if word.starts_with("--tries=") => {}
            plain if !plain.starts_with('-') && url.is_none() => url = Some(plain),
            _ => return None,
        }
    }
    target(url?, get)
}

fn request() -> Get {
    Get {
        tls: false,
        verify: true,
        host: String::new(),
        port: 0,
        path: String::new(),
        timeout: None,
        connect_timeout: None::<Duration>,
        fail: false,
    }
}

/// `[http[s]://]host[:port][/path]`, without a user.
fn target(url: &str, get: Get) -> Option<Native> {
    let (tls, rest) = match url.split_once("://") {
        Some(("https", rest)) => (true, rest),
        Some(("http", rest)) => (false, rest),
        Some(_) => return None,
        None => (false, url),
    };
    let cut = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(cut);
    let (host, port) = match authority.strip_prefix('[') {
        Some(six) => {
            let (host, after) = six.split_once(']')?;
            (host, after.strip_prefix(':'))
        }
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if host.is_empty() || !host.chars().all(known) || path.contains(['$', '`', '{', '[']) {
        return None;
    }
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port > 0)?,
        None if tls => 443,
        None => 80,
    };
    if tls && get.verify {
        // Certificates are not verified here, so the program itself is asked.
        return None;
    }
    let path = path.split('#').next().unwrap_or_default();
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Some(Native::Http(Get { tls, host: host.to_owned(), port, path, ..get }))
}
