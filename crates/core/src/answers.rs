//! What databases and directories answer to a health check, judged by their protocols' first words.

/// Whose answer it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// MySQL's greeting.
    MySqlGreeting,
    /// MySQL's answer to a login: it follows the greeting.
    MySqlAnswer,
    /// PostgreSQL's answer to a startup message.
    Postgres,
    /// A directory's answer to a bind request.
    Ldap,
}

/// What an answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    /// There is not enough of it.
    More,
    /// It is well; for people.
    Good(String),
    /// It is not: the layer's status, the service's own code (0: none), for people.
    Bad(&'static str, u16, String),
}

/// Judges what was received so far. `over`: nothing more will come.
#[must_use]
pub fn judge(service: Service, bytes: &[u8], over: bool) -> Judged {
    let judged = match service {
        Service::MySqlGreeting => mysql(bytes, 0),
        Service::MySqlAnswer => packet(bytes, 0).and_then(|end| mysql(bytes, end)),
        Service::Postgres => postgres(bytes),
        Service::Ldap => ldap(bytes),
    };
    match judged {
        Some(judged) => judged,
        None if over => Judged::Bad("L7RSP", 0, String::new()),
        None => Judged::More,
    }
}

/// Where MySQL's packet at `at` ends; `None`: not all of it is there.
fn packet(bytes: &[u8], at: usize) -> Option<usize> {
    let head = bytes.get(at..at + 5)?;
    let length = usize::from(head[0]) | usize::from(head[1]) << 8 | usize::from(head[2]) << 16;
    let end = at + 4 + length;
    (bytes.len() >= end).then_some(end)
}

fn mysql(bytes: &[u8], at: usize) -> Option<Judged> {
    packet(bytes, at)?;
    let body = bytes.get(at + 4..)?;
    if body[0] == 0xff {
        let code = body.get(1..3).map_or(0, |two| u16::from_le_bytes([two[0], two[1]]));
        return Some(Judged::Bad("L7STS", code, text(body.get(3..).unwrap_or_default())));
    }
    Some(Judged::Good(String::new()))
}

fn postgres(bytes: &[u8]) -> Option<Judged> {
    if bytes.len() >= 5 && bytes[0] == b'E' {
        return Some(Judged::Bad("L7RSP", 0, text(bytes.get(6..).unwrap_or_default())));
    }
    let nine = bytes.get(..9)?;
    // An authentication request: its length, and one of the ways that there are.
    let known = nine[0] == b'R' && nine[1..4] == [0; 3] && nine[5..8] == [0; 3] && (nine[8] <= 12);
    Some(if known {
        Judged::Good("PostgreSQL server is ok".to_owned())
    } else {
        Judged::Bad("L7STS", 0, "PostgreSQL unknown error".to_owned())
    })
}

fn ldap(bytes: &[u8]) -> Option<Judged> {
    let alien = || Some(Judged::Bad("L7RSP", 0, "Not LDAPv3 protocol".to_owned()));
    // The shortest answer that there can be.
    bytes.get(..14)?;
    if bytes[0] != 0x30 {
        return alien();
    }
    let long = |at: usize| {
        let length = bytes.get(at).copied().unwrap_or(0);
        if length & 0x80 == 0 { 0 } else { usize::from(length & 0x7f) }
    };
    let mut extra = long(1);
    if extra > 2 || bytes.get(2 + extra..6 + extra) != Some(&[2, 1, 1, 0x61]) {
        return alien();
    }
    extra += long(6 + extra);
    if extra > 4 || bytes.get(7 + extra..9 + extra) != Some(&[0x0a, 1]) {
        return alien();
    }
    match bytes.get(9 + extra)? {
        0 => Some(Judged::Good(String::new())),
        code => {
            let what = "See RFC: http://tools.ietf.org/html/rfc4511#section-4.1.9".to_owned();
            Some(Judged::Bad("L7STS", u16::from(*code), what))
        }
    }
}

/// Text up to the first byte that is none.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(service: Service, bytes: &[u8], expected: &Judged) {
        assert_eq!(judge(service, bytes, false), *expected, "{bytes:x?}");
        // Whatever is cut off, nothing is said too early, and nothing panics.
        for length in 0..bytes.len() {
            let _ = judge(service, &bytes[..length], true);
        }
    }

    const GREETING: &[u8] = b"\x0a\0\0\0\x0a8.0.36\0\x01\x02";

    #[test]
    fn mysql() {
        check(Service::MySqlGreeting, GREETING, &Judged::Good(String::new()));
        check(Service::MySqlGreeting, &GREETING[..8], &Judged::More);
        let full = b"\x0b\0\0\0\xff\x10\x04Too many";
        check(Service::MySqlGreeting, full, &Judged::Bad("L7STS", 1040, "Too many".to_owned()));
        let both = [GREETING, b"\x07\0\0\x02\0\0\0\x02\0\0\0"].concat();
        check(Service::MySqlAnswer, &both, &Judged::Good(String::new()));
        let denied = [GREETING, b"\x09\0\0\x02\xff\x15\x04Denied"].concat();
        check(Service::MySqlAnswer, &denied, &Judged::Bad("L7STS", 1045, "Denied".to_owned()));
        check(Service::MySqlAnswer, GREETING, &Judged::More);
        assert_eq!(judge(Service::MySqlAnswer, GREETING, true), Judged::Bad("L7RSP", 0, String::new()));
    }

    #[test]
    fn postgres() {
        check(Service::Postgres, b"R\0\0\0\x08\0\0\0\0", &Judged::Good("PostgreSQL server is ok".to_owned()));
        check(Service::Postgres, b"R\0\0\0\x17\0\0\0\x0aSCRAM", &Judged::Good("PostgreSQL server is ok".to_owned()));
        check(Service::Postgres, b"E\0\0\0\x10SFATAL\0", &Judged::Bad("L7RSP", 0, "FATAL".to_owned()));
        check(Service::Postgres, b"HTTP/1.0 200", &Judged::Bad("L7STS", 0, "PostgreSQL unknown error".to_owned()));
        check(Service::Postgres, b"R\0\0\0", &Judged::More);
    }

    #[test]
    fn ldap() {
        let answer = |code: u8| [0x30, 12, 2, 1, 1, 0x61, 7, 0x0a, 1, code, 4, 0, 4, 0];
        check(Service::Ldap, &answer(0), &Judged::Good(String::new()));
        let what = "See RFC: http://tools.ietf.org/html/rfc4511#section-4.1.9".to_owned();
        check(Service::Ldap, &answer(49), &Judged::Bad("L7STS", 49, what));
        check(Service::Ldap, b"HTTP/1.0 200 OK", &Judged::Bad("L7RSP", 0, "Not LDAPv3 protocol".to_owned()));
        let long = [0x30, 0x84, 0, 0, 0, 16, 2, 1, 1, 0x61, 0x84, 0, 0, 0, 7, 0x0a, 1, 0, 4, 0, 4, 0];
        check(Service::Ldap, &long, &Judged::Bad("L7RSP", 0, "Not LDAPv3 protocol".to_owned()));
    }
}
