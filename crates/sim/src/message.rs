//! The peers' messages as the simulation needs them: as text for a trace, and rewritten for a planted mistake.

use std::fmt::Write;

use baton_core::settings::Key;
use baton_wire::peer::{self, Header};

/// The key of signed messages, where there is one.
fn keys(keys: &[Key]) -> Vec<&[u8]> {
    keys.iter().map(|key| key.0.as_slice()).collect()
}

/// A message for people.
#[must_use]
pub fn text(bytes: &[u8], key: &[Key]) -> String {
    match peer::parse(bytes, &keys(key)) {
        Ok((h, records)) => {
            let mut text = format!("{:04x}>{:04x} #{}", h.sender >> 48, h.receiver >> 48, h.counter);
            let bits = [
                (h.flags.clear, " clear"),
                (h.flags.voting, " voting"),
                (h.flags.witness, " witness"),
                (h.flags.start_as_leader, " start_as_leader"),
                (h.flags.alone, " alone"),
            ];
            bits.iter().filter(|(set, _)| *set).for_each(|(_, name)| text.push_str(name));
            for record in records {
                // Writing to a String does not fail.
                let _ = write!(text, " {record:?}");
            }
            text
        }
        Err(error) => format!("{} bytes: {}", bytes.len(), error.as_str()),
    }
}

/// The incarnation that sent a message.
#[must_use]
pub fn sender(bytes: &[u8], key: &[Key]) -> Option<u64> {
    peer::parse(bytes, &keys(key)).ok().map(|(header, _)| header.sender)
}

/// A message with another header, signed again; `None` when it is no message.
#[must_use]
pub fn rewritten(bytes: &[u8], key: &[Key], change: impl FnOnce(&mut Header)) -> Option<Vec<u8>> {
    let keys = keys(key);
    let (mut header, records) = peer::parse(bytes, &keys).ok()?;
    change(&mut header);
    Some(peer::emit(&header, &records, keys.first().copied()))
}
