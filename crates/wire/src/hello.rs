//! What a TLS ClientHello asks for, as far as a balancer may look at it: the server name (RFC 6066, section 3).

/// What bytes at the beginning of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// The beginning of a ClientHello, perhaps.
    Incomplete,
    /// A ClientHello, with the name that it asks for.
    Hello(Option<&'a str>),
    /// Something else.
    Other,
}

/// Longest record of TLS.
const RECORD_MAX: usize = 16 * 1024;

/// Takes bytes from the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(front)
    }

    fn number(&mut self, bytes: usize) -> Option<usize> {
        Some(self.take(bytes)?.iter().fold(0, |n, b| n << 8 | usize::from(*b)))
    }

    /// What follows a length of so many bytes.
    fn counted(&mut self, bytes: usize) -> Option<Reader<'a>> {
        let length = self.number(bytes)?;
        self.take(length).map(Reader)
    }
}

/// Looks at the first record.
#[must_use]
pub fn parse(bytes: &[u8]) -> Parsed<'_> {
    // Handshake record, any version 3.x, a ClientHello in it.
    let expected = |at: usize, holds: fn(u8) -> bool| bytes.get(at).is_none_or(|b| holds(*b));
    if !expected(0, |b| b == 0x16) || !expected(1, |b| b == 3) || !expected(5, |b| b == 1) {
        return Parsed::Other;
    }
    let mut reader = Reader(bytes);
    let length = reader.take(3).and_then(|_| reader.number(2));
    match length {
        Some(0) | Some(RECORD_MAX..) => return Parsed::Other,
        Some(length) if reader.0.len() >= length => reader.0 = &reader.0[..length],
        _ => return Parsed::Incomplete,
    }
    Parsed::Hello(extensions(&mut reader).and_then(name))
}

/// The extensions of a handshake message.
fn extensions<'a>(reader: &mut Reader<'a>) -> Option<Reader<'a>> {
    // Type and length of the message, version, random bytes.
    reader.take(4 + 2 + 32)?;
    // Session, cipher suites, compression methods.
    reader.counted(1)?;
    reader.counted(2)?;
    reader.counted(1)?;
    reader.counted(2)
}

fn name(mut extensions: Reader<'_>) -> Option<&str> {
    loop {
        let kind = extensions.number(2)?;
        let mut body = extensions.counted(2)?;
        if kind != 0 {
            continue;
        }
        let mut names = body.counted(2)?;
        while let Some(kind) = names.number(1) {
            let name = names.counted(2)?;
            if kind == 0 {
                return std::str::from_utf8(name.0).ok();
            }
        }
        return None;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hello(name: Option<&str>) -> Vec<u8> {
        let counted = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
        let mut extensions = [&[0, 0x17][..], &counted(&[])].concat();
        if let Some(name) = name {
            let entry = [&[0][..], &counted(name.as_bytes())].concat();
            extensions.extend([&[0, 0][..], &counted(&counted(&entry))].concat());
        }
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([0]);
        body.extend(counted(&[0x13, 0x01]));
        body.extend([1, 0]);
        body.extend(counted(&extensions));
        let mut message = vec![1, 0];
        message.extend(counted(&body));
        [&[0x16, 3, 1][..], &counted(&message)].concat()
    }

    #[test]
    fn names() {
        assert_eq!(parse(&hello(Some("api.example"))), Parsed::Hello(Some("api.example")));
        assert_eq!(parse(&hello(None)), Parsed::Hello(None));
        assert_eq!(parse(b"GET / HTTP/1.1\r\n"), Parsed::Other);
        assert_eq!(parse(b"SSH-2.0-"), Parsed::Other);
        assert_eq!(parse(b""), Parsed::Incomplete);
        let mut alert = hello(None);
        alert[5] = 2;
        assert_eq!(parse(&alert), Parsed::Other);
    }

    proptest! {
        #[test]
        fn the_beginning_of_a_hello_is_incomplete(cut in 0usize..60) {
            let whole = hello(Some("a.example"));
            prop_assert_eq!(parse(&whole[..cut.min(whole.len() - 1)]), Parsed::Incomplete);
        }

        #[test]
        fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..100, byte: u8) {
            let _ = parse(&bytes);
            let mut bent = hello(Some("b.example"));
            let at = at % bent.len();
            bent[at] = byte;
            let _ = parse(&bent);
        }
    }
}
