//! `.if`, `.elif`, `.else`, `.endif`: parts of a file that depend on the environment and on what the program can do.

/// What predicates ask about.
pub(super) struct Facts<'a> {
    /// A variable of the environment.
    pub(super) variable: &'a dyn Fn(&str) -> Option<String>,
}

/// Features that are said to be there: what configuration files ask for and Baton does.
const FEATURES: &[&str] = &[
    "ACCEPT4",
    "CPU_AFFINITY",
    "EPOLL",
    "GETADDRINFO",
    "LINUX_SPLICE",
    "LINUX_TPROXY",
    "NETFILTER",
    "NS",
    "OPENSSL",
    "POLL",
    "PRCTL",
    "PROMEX",
    "RT",
    "TFO",
    "THREAD",
    "TPROXY",
];

/// The version of haproxy whose files are read: 2.6.
const VERSION: [u32; 4] = [2, 6, 12, 0];

/// Deepest nesting of parentheses: deeper is a mistake, not a condition.
const DEPTH_MAX: usize = 32;

/// Evaluates a condition.
pub(super) fn evaluate(text: &str, facts: &Facts<'_>) -> Result<bool, String> {
    let mut reader = Reader { rest: text, facts, whole: text, depth: 0 };
    reader.skip();
    if reader.rest.is_empty() {
        return Ok(false);
    }
    let value = reader.any()?;
    if reader.rest.is_empty() { Ok(value) } else { Err(reader.wrong()) }
}

struct Reader<'a> {
    rest: &'a str,
    whole: &'a str,
    facts: &'a Facts<'a>,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn wrong(&self) -> String {
        format!("the condition `{}` cannot be read at `{}`", self.whole, self.rest)
    }

    fn skip(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn taken(&mut self, token: &str) -> bool {
        self.skip();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                self.skip();
                true
            }
            None => false,
        }
    }

    fn any(&mut self) -> Result<bool, String> {
        let mut value = self.all()?;
        while self.taken("||") {
            value |= self.all()?;
        }
        Ok(value)
    }

    fn all(&mut self) -> Result<bool, String> {
        let mut value = self.term()?;
        while self.taken("&&") {
            value &= self.term()?;
        }
        Ok(value)
    }

    fn term(&mut self) -> Result<bool, String> {
        let mut negate = false;
        while self.taken("!") {
            negate = !negate;
        }
        if self.taken("(") {
            self.depth += 1;
            if self.depth > DEPTH_MAX {
                return Err(self.wrong());
            }
            let value = self.any()?;
            self.depth -= 1;
            return if self.taken(")") { Ok(value != negate) } else { Err(self.wrong()) };
        }
        let end = self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        if !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit()) {
            self.rest = rest.trim_start();
            return Ok(name.bytes().any(|b| b != b'0') != negate);
        }
        let arguments: &'a str = rest.strip_prefix('(').and_then(|r| r.split_once(')')).ok_or_else(|| self.wrong())?.0;
        let value = self.predicate(name, arguments)?;
        self.rest = rest[arguments.len() + 2..].trim_start();
        Ok(value != negate)
    }

    fn predicate(&self, name: &str, arguments: &str) -> Result<bool, String> {
        let pair = || arguments.split_once(',').ok_or_else(|| format!("`{name}` needs two texts, `({arguments})`"));
        match name {
            "defined" => Ok((self.facts.variable)(arguments).is_some()),
            "feature" => Ok(FEATURES.contains(&arguments)),
            "streq" => pair().map(|(a, b)| a == b),
            "strneq" => pair().map(|(a, b)| a != b),
            "version_atleast" => Ok(VERSION >= version(arguments)),
            "version_before" => Ok(VERSION < version(arguments)),
            _ => Err(self.wrong()),
        }
    }
}

/// `2.4`, `2.5-dev3`: missing parts are 0; a development version is before its release.
fn version(text: &str) -> [u32; 4] {
    let mut out = [0; 4];
    let numbers = text.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty());
    for (slot, number) in out.iter_mut().zip(numbers) {
        *slot = number.parse().unwrap_or(u32::MAX);
    }
    out
}
