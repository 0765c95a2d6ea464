//! What a server's own agent says of it: one line of words (`agent-check`).

/// What was said. Of several words about one thing the last one counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// `ready`, `drain`, `maint`.
    pub wish: Option<Wish>,
    /// `up`, or `down`, `stopped`, `fail`: the word, and whether it is up.
    pub health: Option<(String, bool)>,
    /// `75%`: percent of the configured weight.
    pub weight: Option<u32>,
    /// `maxconn:30`.
    pub connections: Option<u32>,
    /// The first word that is none of these.
    pub unknown: Option<String>,
    /// What follows `#`.
    pub why: String,
}

/// How the server is to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// As usual.
    Ready,
    /// Nothing new.
    Drain,
    /// Not at all.
    Maintenance,
}

/// Reads what has come so far; `None`: the line is not complete.
#[must_use]
pub fn read(bytes: &[u8]) -> Option<Said> {
    let end = bytes.iter().position(|b| matches!(b, b'\r' | b'\n'))?;
    let line = String::from_utf8_lossy(&bytes[..end]);
    let (words, why) = line.split_once('#').unwrap_or((&line, ""));
    let mut said = Said { why: why.trim().to_owned(), ..Said::default() };
    for word in words.split([' ', '\t', ',']).filter(|word| !word.is_empty()) {
        let small = word.to_ascii_lowercase();
        match small.as_str() {
            "up" => said.health = Some((small, true)),
            "down" | "stopped" | "fail" => said.health = Some((small, false)),
            "ready" => said.wish = Some(Wish::Ready),
            "drain" => said.wish = Some(Wish::Drain),
            "maint" => said.wish = Some(Wish::Maintenance),
            _ => {
                let percent = small.strip_suffix('%').and_then(|number| number.parse().ok());
                let most = small.strip_prefix("maxconn:").and_then(|number| number.parse().ok());
                match (percent, most) {
                    (Some(percent), _) => said.weight = Some(percent),
                    (_, Some(most)) => said.connections = Some(most),
                    _ => drop(said.unknown.get_or_insert_with(|| word.to_owned())),
                }
            }
        }
    }
    Some(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: &Said) {
        assert_eq!(read(line.as_bytes()).as_ref(), Some(expected), "{line:?}");
    }

    #[test]
    fn words() {
        let none = Said::default;
        check("\n", &none());
        check("75%\n", &Said { weight: Some(75), ..none() });
        check("maxconn:30\r\n", &Said { connections: Some(30), ..none() });
        let all = Said { wish: Some(Wish::Drain), weight: Some(5), health: Some(("up".into(), true)), ..none() };
        check("UP, drain\t5%\n", &all);
        let down = Said { health: Some(("stopped".into(), false)), why: "out of disk".into(), ..none() };
        check("up stopped # out of disk\n", &down);
        check("maint\nup\n", &Said { wish: Some(Wish::Maintenance), ..none() });
        check("sideways ready %\n", &Said { wish: Some(Wish::Ready), unknown: Some("sideways".into()), ..none() });
        assert_eq!(read(b"up"), None, "the end of the line is missing");
    }
}
