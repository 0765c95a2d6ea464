//! What a server answered to a check, held against what the file expects, in haproxy's words.

use baton_config::haproxy::model::{Expect, ExpectKind, Said};
use baton_core::answers::{Judged, judge as judge_service};
use tokio::io::AsyncReadExt;

use super::probe::{Failure, Progress, Stream, failure, plain};

/// Most bytes of an answer that are looked at.
const ANSWER_MAX: usize = 16 * 1024;

/// Longest text of a status line that is told, as with haproxy.
const REASON_MAX: usize = 127;

/// What is said of steps that all went well.
pub(super) const PASSED: &str = "(tcp-check)";

/// What has come back so far.
#[derive(Default)]
pub(super) struct Answer {
    bytes: Vec<u8>,
    over: bool,
    http: bool,
    /// The text of an HTTP status.
    reason: String,
}

/// What the bytes so far lead to.
enum Found {
    More,
    Good,
    Bad(&'static str, String),
}

impl Answer {
    /// One of HTTP.
    pub(super) fn of_http() -> Answer {
        Answer { http: true, ..Answer::default() }
    }

    async fn more(&mut self, stream: &mut Box<dyn Stream>) -> Result<(), Failure> {
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer).await {
            Ok(0) => self.over = true,
            Ok(n) => {
                self.bytes.extend_from_slice(&buffer[..n]);
                self.over = self.bytes.len() >= ANSWER_MAX;
            }
            Err(e) if self.bytes.is_empty() => return Err(failure("L7RSP", plain(&e))),
            Err(_) => self.over = true,
        }
        Ok(())
    }

    /// The status line's status and text, when it is there.
    fn status(&self) -> Option<Result<(u16, String), ()>> {
        let end = self.bytes.iter().position(|b| *b == b'\n');
        let Some(end) = end else { return self.over.then_some(Err(())) };
        let line = String::from_utf8_lossy(&self.bytes[..end]);
        let mut words = line.trim_end().splitn(3, ' ');
        let version = words.next().is_some_and(|word| word.starts_with("HTTP/1."));
        let code = words.next().and_then(|word| word.parse().ok());
        // It goes to logs and pages as it is.
        let reason = words.next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(REASON_MAX);
        Some(code.filter(|_| version).map(|code| (code, reason.collect())).ok_or(()))
    }

    /// What is compared with texts: the body of an HTTP answer, or everything.
    fn content(&self) -> &[u8] {
        if !self.http {
            return &self.bytes;
        }
        let end = self.bytes.windows(4).position(|w| w == b"\r\n\r\n");
        end.map_or(&[], |end| &self.bytes[end + 4..])
    }

    /// Whether so many bytes have come as are needed before looking.
    fn enough(&self, expect: &Expect) -> bool {
        let least = match &expect.kind {
            ExpectKind::Contains(wanted) => wanted.len(),
            _ => 0,
        };
        let asked = expect.min_recv.map_or(0, |least| usize::try_from(least).unwrap_or(0));
        self.over || self.content().len() >= least.max(asked)
    }

    /// A text about it.
    fn said(&self, said: &Said) -> String {
        match said {
            Said::Text(text) => text.clone(),
            Said::Answer(from) => {
                let rest = self.bytes.get(*from..).unwrap_or_default();
                let end = rest.iter().position(|b| matches!(b, b'\r' | b'\n' | 0)).unwrap_or(rest.len());
                String::from_utf8_lossy(&rest[..end]).into_owned()
            }
        }
    }
}

/// Waits until the answer is as expected, or is known not to be.
pub(super) async fn judge(
    stream: Option<&mut Box<dyn Stream>>,
    expect: &Expect,
    answer: &mut Answer,
    progress: &mut Progress,
) -> Result<(), Failure> {
    let stream = stream.ok_or_else(|| failure("SOCKERR", "no connection"))?;
    progress.timed_out = expect.told.tout_status;
    progress.waits_for = if progress.told { waits_for(expect, progress.step) } else { String::new() };
    loop {
        if answer.http {
            match answer.status() {
                None => {
                    answer.more(stream).await?;
                    continue;
                }
                Some(Err(())) => return Err(failure("L7RSP", "")),
                Some(Ok(found)) => (progress.code, answer.reason) = found,
            }
        } else if answer.bytes.is_empty() && !answer.over {
            answer.more(stream).await?;
            continue;
        }
        match found(expect, answer, progress) {
            Found::More => answer.more(stream).await?,
            Found::Good => {
                progress.status = expect.told.ok_status.unwrap_or("L7OK");
                progress.info = match &expect.told.on_success {
                    Some(said) => answer.said(said),
                    None if progress.told => PASSED.to_owned(),
                    None => std::mem::take(&mut progress.info),
                };
                progress.code = code(expect, answer).unwrap_or(progress.code);
                return Ok(());
            }
            Found::Bad(status, text) => {
                let mut info = expect.told.on_error.as_ref().map_or(text, |said| answer.said(said));
                if let Some(comment) = &expect.comment {
                    info = format!("{info} comment: {comment}");
                }
                let status = expect.told.error_status.unwrap_or(status);
                // An answer that cannot be understood has no code.
                let known = if status == "L7RSP" { 0 } else { progress.code };
                return Err(Failure { status, code: code(expect, answer).unwrap_or(known), info });
            }
        }
    }
}

/// The code that the answer begins with, where it does.
fn code(expect: &Expect, answer: &Answer) -> Option<u16> {
    let digits = answer.bytes.get(..3).filter(|_| expect.told.code)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn found(expect: &Expect, answer: &Answer, progress: &mut Progress) -> Found {
    let status = |matches: bool| {
        if matches == expect.negate { Found::Bad("L7STS", answer.reason.clone()) } else { Found::Good }
    };
    let matches = match &expect.kind {
        ExpectKind::Status(ranges) => {
            return status(ranges.iter().any(|(from, to)| (*from..=*to).contains(&progress.code)));
        }
        ExpectKind::StatusRegex(pattern) => return status(pattern.0.is_match(progress.code.to_string().as_bytes())),
        ExpectKind::Answer(service) => {
            return match judge_service(*service, &answer.bytes, answer.over) {
                Judged::More => Found::More,
                Judged::Good(info) => {
                    progress.info = info;
                    Found::Good
                }
                Judged::Bad(status, code, info) => {
                    progress.code = code;
                    Found::Bad(status, info)
                }
            };
        }
        _ if !answer.enough(expect) => return Found::More,
        ExpectKind::Contains(wanted) => contains(answer.content(), wanted),
        ExpectKind::Regex(pattern) => pattern.0.is_match(answer.content()),
        ExpectKind::HexRegex(pattern) => pattern.0.is_match(hex(answer.content()).as_bytes()),
    };
    if matches != expect.negate {
        return Found::Good;
    }
    // Without a minimum more may still make it match.
    if !matches && !answer.over && expect.min_recv.is_none() {
        return Found::More;
    }
    Found::Bad("L7RSP", complaint(expect, answer, progress.step))
}

/// What is wrong with what was received.
fn complaint(expect: &Expect, answer: &Answer, step: usize) -> String {
    if answer.http {
        let text = match (answer.content().is_empty(), expect.negate) {
            (true, _) => "HTTP content check could not find a response body",
            (_, true) => "HTTP check matched unwanted content",
            (_, false) => "HTTP content check did not match",
        };
        return text.to_owned();
    }
    if answer.bytes.is_empty() {
        return format!("TCPCHK got an empty response at step {step}");
    }
    let what = match &expect.kind {
        ExpectKind::Contains(wanted) => text(wanted).map_or(" (binary)".to_owned(), |text| format!(" '{text}'")),
        _ => " (regex)".to_owned(),
    };
    let begin = if expect.negate { "TCPCHK matched unwanted content" } else { "TCPCHK did not match content" };
    format!("{begin}{what} at step {step}")
}

/// Bytes that are written as text, and not as hexadecimal digits.
fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| !text.contains(char::is_control))
}

/// What is waited for, for a timeout.
fn waits_for(expect: &Expect, step: usize) -> String {
    let what = match &expect.kind {
        ExpectKind::Contains(wanted) => match text(wanted) {
            Some(text) => format!("string '{text}'"),
            None => format!("binary '{}'", hex(wanted)),
        },
        ExpectKind::HexRegex(_) => "binary regex".to_owned(),
        _ => "regex".to_owned(),
    };
    let comment = expect.comment.as_ref().map_or(String::new(), |comment| format!(" comment: '{comment}'"));
    format!(" at step {step} of tcp-check (expect {what}){comment}")
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty() || bytes.windows(wanted.len()).any(|window| window == wanted)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02X}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_of_its_status_is_told_within_bounds() {
        let answer = |text: &str| Answer { bytes: text.as_bytes().to_vec(), ..Answer::of_http() }.status();
        assert_eq!(answer("HTTP/1.1 200 OK\r\n"), Some(Ok((200, "OK".to_owned()))));
        assert_eq!(answer("HTTP/1.1 204\r\n"), Some(Ok((204, String::new()))));
        assert_eq!(answer("HTTP/1.1 500 a\u{1b}[31mb\0\rc\n"), Some(Ok((500, "a[31mbc".to_owned()))));
        let long = answer(&format!("HTTP/1.1 500 {}\n", "é".repeat(5000)));
        assert_eq!(long, Some(Ok((500, "é".repeat(127)))));
        assert_eq!((answer("HTTP/1.1 abc\n"), answer("SSH-2.0-x\n")), (Some(Err(())), Some(Err(()))));
        assert_eq!(answer("HTTP/1.1 20"), None);
    }
}
