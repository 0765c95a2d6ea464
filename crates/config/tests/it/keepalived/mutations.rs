//! Whatever the text: no panic, an end, places inside the files, and a fix that is one.

use baton_config::Place;
use baton_config::keepalived::fix;
use baton_config::keepalived::model::{At, Command};
use baton_config::keepalived::native::recognise;
use proptest::prelude::*;

use super::{corpus, parse};

fn check(text: &str) {
    let reading = parse(text);
    let lines = text.split('\n').count();
    for finding in &reading.findings {
        let Place::File { line, column } = finding.message.place else { continue };
        assert!((1..=lines).contains(&(line as usize)), "{finding:?} in {text:?}");
        assert!((1..=text.chars().count() + 1).contains(&(column as usize)), "{finding:?} in {text:?}");
        assert!(!finding.message.to_string().chars().any(char::is_control), "{finding:?}");
    }
    for instance in &reading.config.instances {
        assert!(reading.refused || instance.vrid > 0, "{text:?}");
        assert!(instance.priority > 0 && !instance.advert_interval.is_zero());
        assert!(instance.addresses.len() <= 255);
        assert!(instance.addresses.windows(2).all(|pair| pair[0].address.is_ipv4() == pair[1].address.is_ipv4()));
    }
    // A fix leaves nothing that it would fix again, and changes nothing else.
    let fixed = fix("keepalived.conf", text, &reading.edits);
    if reading.edits.is_empty() {
        assert_eq!(fixed, text);
    }
}

fn mutated(text: &str, at: usize, how: u8, with: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let at = at % (chars.len() + 1);
    let end = (at + with.chars().count()).min(chars.len());
    let (before, after): (String, String) = match how % 4 {
        0 => (chars[..at].iter().collect(), chars[at..].iter().collect()),
        1 => (chars[..at].iter().collect(), chars[end..].iter().collect()),
        2 => return chars[..at].iter().collect(),
        _ => (chars[at..].iter().collect(), chars[..at].iter().collect()),
    };
    format!("{before}{with}{after}")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text(text in "\\PC*") {
        check(&text);
    }

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        check(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn like_the_format(text in "([ \n{}\"'\\\\#!@^$~(),=0-9./a]|\\$\\{A\\}|\\$A=|~SEQ\\(A,|~LST\\(A,|vrrp_instance |vrrp_script |state |weight |virtual_ipaddress |include |auth_pass |real_server ){0,60}") {
        check(&text);
    }

    #[test]
    fn mutations_of_the_corpus(file in any::<prop::sample::Index>(), at in any::<usize>(), how in any::<u8>(), with in "[ \n{}\"'\\\\#!@$~(),=0-9a-z./:-]{0,6}", again in any::<usize>()) {
        let corpus = corpus();
        let text = mutated(&corpus[file.index(corpus.len())].1, at, how, &with);
        check(&text);
        check(&mutated(&text, again, how.wrapping_add(1), &with));
    }

    #[test]
    fn scripts(text in "([ \n;|&(){}<>$\"'\\\\#!=0-9]|if |then |fi|else |exit |\\|\\| |curl |pidof x|ip addr|grep -q 1.2.3.4|</dev/tcp/a/1|f\\(\\) \\{|echo |https://a:1/|-k ){0,40}") {
        let command = Command { text: text.clone(), args: vec![String::from("/x")], user: None, at: At::default() };
        let _ = recognise(&command, None);
        let _ = recognise(&Command { text: String::from("/x"), ..command }, Some(&text));
    }
}
