//! ACLs: `acl NAME …`, anonymous ones in braces, and the conditions that they make.

use std::net::IpAddr;

use super::context::{Context, Line};
use super::model::{Condition, Matching, Net, Sample, Term, Test};
use super::proxy::{Proxy, Reference, To};
use super::sample::{self, Needs, Shape};
use super::server::bad_character;

/// Where a condition stands: what can be looked at there.
pub(super) const PHASE_CONNECTION: Needs = Needs::Nothing;
/// As above: bytes of the client are there; requests are looked at if the mode is http.
pub(super) const PHASE_CONTENT: Needs = Needs::Request;

/// `acl NAME CRITERION …`.
pub(super) fn directive(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line) {
    let Some(name) = context.needed(line, 1, "a name and what is looked at") else { return };
    if let Some(c) = bad_character(&name) {
        return context.alert(line, 1, format!("`{c}` may not be in a name, `{name}`"));
    }
    if matches!(name.as_str(), "or" | "if" | "unless") {
        context.warn(line, 1, format!("`{name}` is a word of conditions: expected another name"));
    }
    if proxy.acls_used.contains(&name) {
        let text = "a rule above uses this name already: with Baton all lines of an ACL stand before the rules";
        return context.refuse(line, 1, text);
    }
    let Some((test, _)) = test(context, proxy, line, 2, line.len()) else { return };
    proxy.acls.entry(name).or_default().push(test);
}

/// Reads a sample at `index`; its place in the order of things.
pub(super) fn sample(
    context: &mut Context<'_>,
    proxy: &mut Proxy,
    line: &Line,
    index: usize,
) -> Option<(Sample, Needs)> {
    let read = read_sample(context, proxy, line, index, line.word(index))?;
    Some((read.sample, read.needs))
}

fn read_sample(
    context: &mut Context<'_>,
    proxy: &mut Proxy,
    line: &Line,
    index: usize,
    text: &str,
) -> Option<sample::Read> {
    let at = line.at(index);
    match sample::read(text, at, &line.key(), &|name| context.variable(name)) {
        Ok(mut read) => {
            if !own_section(context, proxy, line, index, &mut read) {
                return None;
            }
            let name = text.split(['(', ',']).next().unwrap_or(text);
            context.used(&format!("fetch {name}"), at, &proxy.name);
            proxy.references.extend(read.references.iter().cloned());
            if read.needs == Needs::Request {
                proxy.references.push(Reference { at, key: format!("sample {name}"), to: To::HttpMode });
            }
            Some(read)
        }
        Err(sample::Wrong::Alert(why)) => {
            context.alert(line, index, why);
            None
        }
        Err(sample::Wrong::Refused(why)) => {
            context.refuse(line, index, why);
            None
        }
    }
}

/// `nbsrv` and its like without an argument are about the section itself.
fn own_section(context: &mut Context<'_>, proxy: &Proxy, line: &Line, index: usize, read: &mut sample::Read) -> bool {
    let (Sample::NbSrv(name) | Sample::Queue(name)) = &mut read.sample else { return true };
    if !name.is_empty() {
        return true;
    }
    if !proxy.kind.is_back() {
        context.alert(line, index, "needs the name of a backend in parentheses");
        return false;
    }
    name.clone_from(&proxy.name);
    true
}

/// How texts are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Shape,
    Found,
    Bool,
    Number,
    Net,
    Equal,
    Begins,
    Ends,
    Contains,
    Directory,
    Domain,
    Length,
}

impl How {
    /// Whether there need not be anything to compare with.
    fn needs_nothing(self, shape: Shape) -> bool {
        matches!((self, shape), (How::Bool | How::Found, _) | (How::Shape, Shape::Bool))
    }
}

const METHODS: &[(&str, How)] = &[
    ("found", How::Found),
    ("bool", How::Bool),
    ("int", How::Number),
    ("ip", How::Net),
    ("str", How::Equal),
    ("beg", How::Begins),
    ("end", How::Ends),
    ("sub", How::Contains),
    ("dir", How::Directory),
    ("dom", How::Domain),
    ("len", How::Length),
];

/// `path_beg` is `path -m beg`.
fn suffixed(text: &str) -> (String, How) {
    let end = text.find(['(', ',']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    for (suffix, how) in METHODS {
        if let Some(base) = name.strip_suffix(suffix).and_then(|name| name.strip_suffix('_'))
            && matches!(base, "path" | "url" | "hdr" | "base" | "req.hdr" | "shdr" | "cook" | "ssl_fc_sni")
        {
            return (format!("{base}{rest}"), *how);
        }
    }
    (text.to_owned(), How::Shape)
}

/// Reads one test from `index` to `end`.
fn test(context: &mut Context<'_>, proxy: &mut Proxy, line: &Line, index: usize, end: usize) -> Option<(Test, Needs)> {
    if index >= end {
        context.alert(line, index, "needs what is looked at, such as src");
        return None;
    }
    let (criterion, mut how) = suffixed(line.word(index));
    if criterion.split(['(', ',']).next().is_some_and(|name| name.ends_with("_reg")) {
        context.refuse(line, index, "regular expressions are not served by Baton: expected -m beg, end or sub");
        return None;
    }
    let read = read_sample(context, proxy, line, index, &criterion)?;
    let mut values = Vec::new();
    let mut ignore_case = read.lowered;
    let mut at = index + 1;
    let mut flags = true;
    let mut file = false;
    while at < end {
        match line.word(at) {
            "-i" if flags => ignore_case = true,
            "-n" if flags => {}
            "-u" | "-M" if flags => {
                context.refuse(line, at, "ACLs are not changed or mapped by Baton");
                return None;
            }
            "-m" if flags => {
                at += 1;
                how = method(context, line, at)?;
            }
            "-f" if flags => {
                at += 1;
                file = true;
                values.extend(patterns(context, line, at)?);
            }
            "--" if flags => flags = false,
            value => {
                flags = false;
                values.push((at, value.to_owned()));
            }
        }
        at += 1;
    }
    if values.is_empty() && !file && !how.needs_nothing(read.shape) {
        context.warn(line, index, "nothing to compare with: this never holds");
    }
    let matching = matching(context, line, &read, how, ignore_case, &values)?;
    Some((Test { sample: read.sample, matching }, read.needs))
}

fn method(context: &mut Context<'_>, line: &Line, at: usize) -> Option<How> {
    let name = line.word(at);
    if let Some((_, how)) = METHODS.iter().find(|(known, _)| *known == name) {
        return Some(*how);
    }
    match name {
        "reg" | "bin" => context.refuse(line, at, format!("`-m {name}` is not served by Baton")),
        _ => context.alert(line, at, format!("`{name}` is no way to compare, expected str, beg, end, sub, ip or int")),
    }
    None
}

/// Most values of one file.
const PATTERNS_MAX: usize = 100_000;

fn patterns(context: &mut Context<'_>, line: &Line, at: usize) -> Option<Vec<(usize, String)>> {
    let path = context.needed(line, at, "a file")?;
    match (context.outside.load)(&path) {
        Ok(text) => {
            let line_of = |line: &str| line.trim().to_owned();
            let useful = |line: &String| !line.is_empty() && !line.starts_with('#');
            Some(text.lines().map(line_of).filter(useful).take(PATTERNS_MAX).map(|value| (at, value)).collect())
        }
        Err(why) => {
            context.alert(line, at, format!("the file {path} cannot be read: {why}"));
            None
        }
    }
}

/// What the sample is compared with.
fn matching(
    context: &mut Context<'_>,
    line: &Line,
    read: &sample::Read,
    how: How,
    ignore_case: bool,
    values: &[(usize, String)],
) -> Option<Matching> {
    let how = match (how, read.shape) {
        (How::Shape, Shape::Bool) => How::Bool,
        (How::Shape, Shape::Number | Shape::Version) => How::Number,
        (How::Shape, Shape::Address) => How::Net,
        (How::Shape, Shape::Text) => How::Equal,
        (how, _) => how,
    };
    let texts = || values.iter().map(|(_, text)| text.clone()).collect::<Vec<_>>();
    Some(match how {
        How::Found => Matching::Found,
        How::Bool | How::Shape => Matching::True,
        How::Number => Matching::Number(numbers(context, line, read.shape, values)?),
        How::Length => Matching::Length(numbers(context, line, Shape::Number, values)?),
        How::Net => {
            let mut nets = Vec::new();
            for (at, text) in values {
                match net(text).or_else(|| (text == "localhost").then(|| net("127.0.0.1")).flatten()) {
                    Some(net) => nets.push(net),
                    None => {
                        context.alert(line, *at, format!("`{text}` is neither an address nor a network"));
                        return None;
                    }
                }
            }
            Matching::Net(nets)
        }
        How::Equal => Matching::Equal(texts(), ignore_case),
        How::Begins => Matching::Begins(texts(), ignore_case),
        How::Ends => Matching::Ends(texts(), ignore_case),
        How::Contains => Matching::Contains(texts(), ignore_case),
        How::Directory => Matching::Directory(texts(), ignore_case),
        How::Domain => Matching::Domain(texts(), ignore_case),
    })
}

/// `80 443`, `1024:65535`, `ge 10`.
fn numbers(
    context: &mut Context<'_>,
    line: &Line,
    shape: Shape,
    values: &[(usize, String)],
) -> Option<Vec<(i64, i64)>> {
    let number = |text: &str| match (shape, text.split_once('.')) {
        (Shape::Version, Some((major, minor))) => {
            Some(major.parse::<i64>().ok()?.checked_mul(65536)?.checked_add(minor.parse().ok()?)?)
        }
        (Shape::Version, None) => text.parse::<i64>().ok()?.checked_mul(65536),
        _ => text.parse::<i64>().ok(),
    };
    let mut operator = "eq";
    let mut out = Vec::new();
    for (at, text) in values {
        if matches!(text.as_str(), "eq" | "ge" | "gt" | "le" | "lt") {
            operator = text;
            continue;
        }
        let range = match (text.split_once(':'), operator) {
            (Some((low, high)), "eq") => {
                let low = if low.is_empty() { Some(i64::MIN) } else { number(low) };
                let high = if high.is_empty() { Some(i64::MAX) } else { number(high) };
                low.zip(high)
            }
            (Some(_), _) => None,
            (None, "ge") => number(text).map(|n| (n, i64::MAX)),
            (None, "gt") => number(text).map(|n| (n.saturating_add(1), i64::MAX)),
            (None, "le") => number(text).map(|n| (i64::MIN, n)),
            (None, "lt") => number(text).map(|n| (i64::MIN, n.saturating_sub(1))),
            (None, _) => number(text).map(|n| (n, n)),
        };
        match range {
            Some(range) => out.push(range),
            None => {
                context.alert(line, *at, format!("`{text}` is no number"));
                return None;
            }
        }
    }
    Some(out)
}

/// An address or a network: `10.0.0.0/8`, `10.0.0.0/255.0.0.0`, `fd00::/8`.
pub(super) fn net(text: &str) -> Option<Net> {
    let (address, mask) = match text.split_once('/') {
        Some((address, mask)) => (address, Some(mask)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let whole = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match mask {
        None => whole,
        Some(mask) => match mask.parse::<u8>() {
            Ok(prefix) if prefix <= whole => prefix,
            Ok(_) => return None,
            Err(_) => {
                let mask = u32::from(mask.parse::<std::net::Ipv4Addr>().ok()?);
                if !address.is_ipv4() || mask.leading_ones() != mask.count_ones() {
                    return None;
                }
                u8::try_from(mask.leading_ones()).ok()?
            }
        },
    };
    Some(Net { address, prefix })
}

/// ACLs that are always there.
fn predefined(name: &str) -> Option<Test> {
    let methods: &[&str] = match name {
        "METH_CONNECT" => &["CONNECT"],
        "METH_DELETE" => &["DELETE"],
        "METH_GET" => &["GET", "HEAD"],
        "METH_HEAD" => &["HEAD"],
        "METH_OPTIONS" => &["OPTIONS"],
        "METH_POST" => &["POST"],
        "METH_PUT" => &["PUT"],
        "METH_TRACE" => &["TRACE"],
        _ => &[],
    };
    let (sample, matching) = match name {
        "TRUE" => (Sample::Constant(true), Matching::True),
        "FALSE" => (Sample::Constant(false), Matching::True),
        "LOCALHOST" => (Sample::Src, Matching::Net([net("127.0.0.0/8")?, net("::1")?].to_vec())),
        "REQ_CONTENT" => (Sample::ReqLen, Matching::Number(vec![(1, i64::MAX)])),
        "WAIT_END" => (Sample::WaitEnd, Matching::True),
        "HTTP" => (Sample::ProtoHttp, Matching::True),
        "HTTP_URL_SLASH" => (Sample::Url, Matching::Begins(vec!["/".into()], false)),
        "HTTP_URL_STAR" => (Sample::Url, Matching::Equal(vec!["*".into()], false)),
        _ if !methods.is_empty() => {
            (Sample::Method, Matching::Equal(methods.iter().map(|&method| method.to_owned()).collect(), false))
        }
        _ => return None,
    };
    Some(Test { sample, matching })
}

const PREDEFINED_REFUSED: &[&str] = &["HTTP_1.0", "HTTP_1.1", "HTTP_2.0", "HTTP_CONTENT", "HTTP_URL_ABS", "RDP_COOKIE"];

/// Reads `if …` or `unless …` at `index`. `Some(None)`: there is no condition.
pub(super) fn condition(
    context: &mut Context<'_>,
    proxy: &mut Proxy,
    line: &Line,
    index: usize,
    phase: Needs,
) -> Option<Option<Condition>> {
    let unless = match line.word(index) {
        "" => return Some(None),
        "if" => false,
        "unless" => true,
        other => {
            context.alert(line, index, format!("`{other}` is not known here, expected if or unless"));
            return None;
        }
    };
    let mut lines = vec![Vec::new()];
    let mut at = index + 1;
    while at < line.len() {
        if matches!(line.word(at), "or" | "||") {
            lines.push(Vec::new());
            at += 1;
            continue;
        }
        let (term, next) = term(context, proxy, line, at, phase)?;
        if let Some(last) = lines.last_mut() {
            last.push(term);
        }
        at = next;
    }
    lines.retain(|line| !line.is_empty());
    Some(Some(Condition { unless, any: lines }))
}

fn term(
    context: &mut Context<'_>,
    proxy: &mut Proxy,
    line: &Line,
    index: usize,
    phase: Needs,
) -> Option<(Term, usize)> {
    let mut at = index;
    let mut negate = false;
    let mut word = line.word(at);
    while let Some(rest) = word.strip_prefix('!') {
        negate = !negate;
        word = rest;
        if word.is_empty() {
            at += 1;
            word = line.word(at);
        }
    }
    if word == "{" {
        let Some(length) = line.words[at..].iter().position(|word| word.text == "}") else {
            context.alert(line, at, "the brace is not closed: `}` has to stand alone");
            return None;
        };
        let (test, needs) = test(context, proxy, line, at + 1, at + length)?;
        never(context, line, at + 1, needs, phase);
        return Some((Term { negate, any: vec![test] }, at + length + 1));
    }
    let any = match proxy.acls.get(word) {
        Some(tests) => tests.clone(),
        None => match predefined(word) {
            Some(test) => vec![test],
            None if PREDEFINED_REFUSED.contains(&word) => {
                context.refuse(line, at, format!("the ACL `{word}` is not served by Baton"));
                return None;
            }
            None => {
                context.alert(line, at, format!("there is no ACL `{word}` above this line"));
                return None;
            }
        },
    };
    for test in &any {
        never(context, line, at, needs(&test.sample), phase);
    }
    proxy.acls_used.insert(word.to_owned());
    Some((Term { negate, any }, at + 1))
}

fn needs(sample: &Sample) -> Needs {
    match sample {
        Sample::SslSni | Sample::SslHelloType | Sample::SslVer | Sample::SslAlpn | Sample::ReqLen => Needs::Content,
        Sample::ProtoHttp | Sample::WaitEnd => Needs::Content,
        Sample::Method | Sample::Path | Sample::Url | Sample::Header(..) => Needs::Request,
        _ => Needs::Nothing,
    }
}

/// Warns of what cannot be there yet.
fn never(context: &mut Context<'_>, line: &Line, index: usize, needs: Needs, phase: Needs) {
    if needs > phase {
        context.warn(line, index, "what this looks at is not there yet at this point: it never holds");
    }
}
