//! Checks of services whose protocol is known: `mysql-check`, `pgsql-check`, `redis-check`, `smtpchk`, `ldap-check`, as
//! the steps that they stand for.

use super::context::{Context, Line};
use super::model::{Expect, ExpectKind, Pattern, Said, Service, Step, Told};

/// The steps of an option.
pub(super) fn steps(context: &mut Context<'_>, line: &Line) -> Vec<Step> {
    match line.word(1) {
        "redis-check" => redis(),
        "ldap-check" => {
            // Version 3, no name, no password.
            let bind = [0x30, 12, 2, 1, 1, 0x60, 7, 2, 1, 3, 4, 0, 0x80, 0];
            vec![Step::Send(bind.to_vec()), answer(Service::Ldap)]
        }
        "smtpchk" => smtp(line),
        "pgsql-check" => user(context, line).map(|user| postgres(&user)).unwrap_or_default(),
        _ => mysql(context, line),
    }
}

fn answer(service: Service) -> Step {
    Step::Expect(Expect::new(ExpectKind::Answer(service)))
}

fn redis() -> Vec<Step> {
    let told = Told {
        error_status: Some("L7STS"),
        on_success: Some(Said::Text("Redis server is ok".to_owned())),
        on_error: Some(Said::Answer(0)),
        ..Told::default()
    };
    let expect = Expect { told, ..Expect::new(ExpectKind::Contains(b"+PONG\r\n".to_vec())) };
    vec![Step::Send(b"*1\r\n$4\r\nPING\r\n".to_vec()), Step::Expect(expect)]
}

/// What a server of mail says, begins with three digits.
fn reply(pattern: &str, least: Option<u32>, status: &'static str, last: bool) -> Option<Step> {
    let pattern = regex::bytes::RegexBuilder::new(pattern).unicode(false).build().ok()?;
    let told = Told {
        error_status: Some(status),
        on_success: last.then_some(Said::Answer(4)),
        on_error: Some(Said::Answer(if status == "L7RSP" { 0 } else { 4 })),
        code: status != "L7RSP",
        ..Told::default()
    };
    let expect = Expect { min_recv: least, told, ..Expect::new(ExpectKind::Regex(Pattern(pattern))) };
    Some(Step::Expect(expect))
}

fn smtp(line: &Line) -> Vec<Step> {
    let hello = match (line.word(2), line.word(3)) {
        ("", _) | (_, "") => "HELO localhost".to_owned(),
        ("EHLO", name) => format!("EHLO {name}"),
        (_, name) => format!("HELO {name}"),
    };
    let steps = [
        reply("^[0-9]{3}[ \r]", Some(4), "L7RSP", false),
        reply("^2[0-9]{2}[ \r]", Some(4), "L7STS", false),
        Some(Step::Send(format!("{hello}\r\n").into_bytes())),
        // Of several lines the last one has no dash.
        reply("^(2[0-9]{2}-[^\r]*\r\n)*2[0-9]{2}[ \r]", None, "L7STS", false),
        Some(Step::Send(b"QUIT\r\n".to_vec())),
        reply("^2[0-9]{2}[- \r]", Some(4), "L7STS", true),
    ];
    steps.into_iter().flatten().collect()
}

/// The word after `user`.
fn user(context: &mut Context<'_>, line: &Line) -> Option<String> {
    if line.word(2) != "user" {
        context.alert(line, 2, "needs `user` and a name");
        return None;
    }
    context.needed(line, 3, "a name")
}

fn postgres(user: &str) -> Vec<Step> {
    let mut body = vec![0, 3, 0, 0];
    for text in ["user", user, ""] {
        body.extend_from_slice(text.as_bytes());
        body.push(0);
    }
    let length = u32::try_from(body.len() + 4).unwrap_or_default();
    let question = [&length.to_be_bytes()[..], &body].concat();
    vec![Step::Send(question), answer(Service::Postgres)]
}

fn mysql(context: &mut Context<'_>, line: &Line) -> Vec<Step> {
    if line.len() == 2 {
        return vec![answer(Service::MySqlGreeting)];
    }
    let Some(user) = user(context, line) else { return Vec::new() };
    let mut login = match line.word(4) {
        "" | "post-41" => {
            // Protocol 4.1 with secure passwords, packets up to 16 MB, UTF-8.
            let mut login = vec![0x00, 0x82, 0x00, 0x00, 0x00, 0x80, 0x00, 0x01, 0x21];
            login.extend([0; 23]);
            login
        }
        "pre-41" => vec![0x00, 0x80, 0x00, 0x00, 0x01],
        other => {
            context.alert(line, 4, format!("`{other}` is neither post-41 nor pre-41"));
            return Vec::new();
        }
    };
    login.extend_from_slice(user.as_bytes());
    login.extend([0, 0]);
    let length = u32::try_from(login.len()).unwrap_or_default().to_le_bytes();
    // The login is the first packet, "quit" begins a new exchange.
    let packets = [&length[..3], &[1], &login, &[1, 0, 0, 0, 1]].concat();
    vec![answer(Service::MySqlGreeting), Step::Send(packets), answer(Service::MySqlAnswer)]
}
