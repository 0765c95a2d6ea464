//! Whatever the text: no panic, and positions inside it.

use proptest::prelude::*;

use baton_config::{Message, Place, start};

use crate::corpus::{files, host};
use crate::key_file;

/// Reads a text and checks what holds for every answer.
fn check(text: &str) {
    let loaded = start(&Default::default(), &[], Some(("f", text)), &host(), &key_file, false);
    let messages: Vec<Message> = match loaded {
        Ok(loaded) => {
            let settings = &loaded.settings;
            assert!(
                settings.balancers.iter().zip(&loaded.balancer_keys).all(|(_, key)| key.starts_with("loadBalancers["))
            );
            assert_eq!(settings.balancers.len(), loaded.balancer_keys.len());
            assert!(settings.ownership.renewal <= settings.ownership.lease / 3);
            assert!(settings.ownership.vips.windows(2).all(|pair| pair[0].address < pair[1].address));
            loaded.warnings
        }
        Err(messages) => {
            assert!(!messages.is_empty());
            messages
        }
    };
    // The parser counts a lone carriage return and a form feed as YAML does; lines are bounded by all breaks.
    let breaks = text.chars().filter(|c| matches!(c, '\n' | '\r')).count();
    let longest = text.chars().count();
    for message in &messages {
        let Place::File { line, column } = message.place else { continue };
        assert!((1..=breaks + 1).contains(&(line as usize)), "{message} in {text:?}");
        assert!((1..=longest + 1).contains(&(column as usize)), "{message} in {text:?}");
        assert!(!message.to_string().chars().any(char::is_control), "{message:?}");
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
        _ => (chars[..at].iter().collect(), chars[at..].iter().rev().collect()),
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
    fn yaml_like(text in "([ \n:\\-\\[\\]{}#&*!|>'\"%@`,?a-e0-9~<]|vip: |port: |<<: |- ){0,80}") {
        check(&text);
    }

    #[test]
    fn mutations(file in any::<prop::sample::Index>(), changes in proptest::collection::vec((any::<usize>(), any::<u8>(), "[ \n:\\-\\[\\]{}a-c0-9\"'&*]{0,4}"), 1..5)) {
        let files = files();
        let mut text = files[file.index(files.len())].1.clone();
        for (at, how, with) in changes {
            text = mutated(&text, at, how, &with);
        }
        check(&text);
    }

    #[test]
    fn any_environment(name in prop::sample::select(vec!["vip_address", "vip_peers", "vip_localpeer", "lb_backends", "lb_port", "lb_type", "vip_arp"]), value in "\\PC{0,40}|[a-c0-9:,.\\[\\]]{0,40}") {
        let env = [(name.to_owned(), value)];
        let _ = start(&Default::default(), &env, Some(("f", "vip: 192.168.0.75\n")), &host(), &key_file, false);
    }
}
