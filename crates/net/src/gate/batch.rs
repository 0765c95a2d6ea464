//! nftables batches that touch nothing but set elements, as bytes, and the kernel's answers to them.
//!
//! A renewal must not allocate an async runtime's worth of machinery, so it is written by hand: `struct nlmsghdr`,
//! `struct nfgenmsg`, and the five attributes that an element needs (`linux/netfilter/nf_tables.h`). A batch is applied
//! as a whole or not at all.

use std::time::Duration;

/// `NFNL_SUBSYS_NFTABLES`: the high byte of a message type, and the resource of a batch.
const NFTABLES: u16 = 10;
const NFT_MSG_GETSET: u16 = 10;
const NFT_MSG_NEWSETELEM: u16 = 12;
const NFT_MSG_DELSETELEM: u16 = 14;
const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;

const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_CREATE: u16 = 0x400;
const NLMSG_ERROR: u16 = 2;

const NLA_F_NESTED: u16 = 0x8000;
/// `NFTA_SET_ELEM_LIST_TABLE` and `NFTA_SET_TABLE`.
const TABLE: u16 = 1;
/// `NFTA_SET_ELEM_LIST_SET` and `NFTA_SET_NAME`.
const SET: u16 = 2;
/// `NFTA_SET_ELEM_LIST_ELEMENTS`.
const ELEMENTS: u16 = 3;
/// `NFTA_LIST_ELEM`.
const ELEMENT: u16 = 1;
/// `NFTA_SET_ELEM_KEY`.
const KEY: u16 = 1;
/// `NFTA_SET_ELEM_TIMEOUT`, in milliseconds.
const TIMEOUT: u16 = 4;
/// `NFTA_DATA_VALUE`.
const VALUE: u16 = 1;

/// An element that is added only to be deleted lives for so long, if there were none; it is never seen.
const CLEARED: Duration = Duration::from_millis(1);

/// A set in a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Set<'a> {
    /// `NFPROTO_*`.
    pub(crate) family: u8,
    pub(crate) table: &'a str,
    pub(crate) name: &'a str,
}

/// A batch in the making. Messages are numbered upwards from the sequence number it was begun with.
#[derive(Debug)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    first: u32,
    next: u32,
    /// Where the last message begins: it is the one to be acknowledged.
    last_at: usize,
}

impl Batch {
    pub(crate) fn begin(sequence: u32) -> Batch {
        let mut batch = Batch { bytes: Vec::with_capacity(1024), first: sequence, next: sequence, last_at: 0 };
        batch.message(NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST, 0, NFTABLES, |_| ());
        batch
    }

    /// Adds an element with a timeout (there is no other kind here: without one it would be permanent). Milliseconds are
    /// rounded down.
    pub(crate) fn add(&mut self, set: Set<'_>, key: &[u8], timeout: Duration) {
        let timeout = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).max(1);
        self.element(NFT_MSG_NEWSETELEM, NLM_F_REQUEST | NLM_F_CREATE, set, key, Some(timeout));
    }

    /// Deletes an element. The whole batch fails if it is not there or has run out.
    pub(crate) fn delete(&mut self, set: Set<'_>, key: &[u8]) {
        self.element(NFT_MSG_DELSETELEM, NLM_F_REQUEST, set, key, None);
    }

    /// Deletes an element that may be there or not: it is added first, which nobody sees. A batch that fails instead costs
    /// an RCU grace period, 10 ms and more (`__nf_tables_abort`).
    pub(crate) fn clear(&mut self, set: Set<'_>, key: &[u8]) {
        self.add(set, key, CLEARED);
        self.delete(set, key);
    }

    /// Nothing is asked for.
    pub(crate) fn is_empty(&self) -> bool {
        self.next == self.first.wrapping_add(1)
    }

    /// The bytes to send, and what to expect back.
    pub(crate) fn end(mut self) -> (Vec<u8>, Expected) {
        // `nlmsg_flags` of the last message: its acknowledgement is sent after the commit.
        let flags = self.last_at + 6;
        let acked = u16::from_ne_bytes([self.bytes[flags], self.bytes[flags + 1]]) | NLM_F_ACK;
        self.bytes[flags..flags + 2].copy_from_slice(&acked.to_ne_bytes());
        let expected = Expected { first: self.first, last: self.next - 1 };
        self.message(NFNL_MSG_BATCH_END, NLM_F_REQUEST, 0, NFTABLES, |_| ());
        (self.bytes, expected)
    }

    fn element(&mut self, kind: u16, flags: u16, set: Set<'_>, key: &[u8], timeout: Option<u64>) {
        self.message(NFTABLES << 8 | kind, flags, set.family, 0, |out| {
            text(out, TABLE, set.table);
            text(out, SET, set.name);
            nested(out, ELEMENTS, |out| {
                nested(out, ELEMENT, |out| {
                    nested(out, KEY, |out| attribute(out, VALUE, key));
                    if let Some(timeout) = timeout {
                        attribute(out, TIMEOUT, &timeout.to_be_bytes());
                    }
                });
            });
        });
    }

    fn message(&mut self, kind: u16, flags: u16, family: u8, resource: u16, body: impl FnOnce(&mut Vec<u8>)) {
        self.last_at = self.bytes.len();
        message(&mut self.bytes, (kind, flags, self.next), (family, resource), body);
        self.next = self.next.wrapping_add(1);
    }
}

/// Asks whether a set is there.
pub(crate) fn get_set(sequence: u32, set: Set<'_>) -> (Vec<u8>, Expected) {
    let mut bytes = Vec::new();
    let header = (NFTABLES << 8 | NFT_MSG_GETSET, NLM_F_REQUEST | NLM_F_ACK, sequence);
    message(&mut bytes, header, (set.family, 0), |out| {
        text(out, TABLE, set.table);
        text(out, SET, set.name);
    });
    (bytes, Expected { first: sequence, last: sequence })
}

/// Which sequence numbers answers may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    first: u32,
    last: u32,
}

/// What the kernel said so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The last message was acknowledged.
    pub(crate) acknowledged: bool,
    /// The first error, as a positive `errno`.
    pub(crate) error: Option<i32>,
}

impl Answer {
    /// Takes in one datagram from the kernel; what does not belong here is ignored.
    pub(crate) fn read(&mut self, datagram: &[u8], expected: Expected) {
        for (sequence, error) in answers(datagram, expected) {
            match error {
                0 => self.acknowledged |= sequence == expected.last,
                error => self.error = self.error.or(Some(error)),
            }
        }
    }
}

/// Which messages, counted from the first, met something that is not there. The kernel goes through the whole batch before
/// it fails, and tells of all.
pub(crate) fn missing(datagram: &[u8], expected: Expected) -> impl Iterator<Item = usize> {
    let missing = answers(datagram, expected).filter(|(_, error)| *error == libc::ENOENT);
    missing.filter_map(move |(sequence, _)| usize::try_from(sequence - expected.first).ok())
}

/// The answers in a datagram that belong here: sequence number, and `errno` or 0.
fn answers(datagram: &[u8], expected: Expected) -> impl Iterator<Item = (u32, i32)> {
    crate::rtnl::Messages(datagram).filter_map(move |message| {
        let word = |at: usize| message.get(at..at + 4).and_then(|b| b.first_chunk::<4>()).copied();
        let (sequence, error) = (u32::from_ne_bytes(word(8)?), i32::from_ne_bytes(word(16)?));
        let is_error = message[4..6] == NLMSG_ERROR.to_ne_bytes();
        let belongs = is_error && (expected.first..=expected.last).contains(&sequence);
        belongs.then(|| (sequence, error.saturating_neg()))
    })
}

/// `struct nlmsghdr` and `struct nfgenmsg`, then the attributes.
fn message(
    out: &mut Vec<u8>,
    (kind, flags, sequence): (u16, u16, u32),
    (family, resource): (u8, u16),
    body: impl FnOnce(&mut Vec<u8>),
) {
    let at = out.len();
    out.extend([0; 4]);
    out.extend(kind.to_ne_bytes());
    out.extend(flags.to_ne_bytes());
    out.extend(sequence.to_ne_bytes());
    out.extend([0; 4]);
    out.extend([family, 0]);
    out.extend(resource.to_be_bytes());
    body(out);
    let length = u32::try_from(out.len() - at).unwrap_or(u32::MAX);
    out[at..at + 4].copy_from_slice(&length.to_ne_bytes());
}

fn attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    out.extend(length.to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

fn text(out: &mut Vec<u8>, kind: u16, value: &str) {
    let mut bytes = value.as_bytes().to_vec();
    bytes.push(0);
    attribute(out, kind, &bytes);
}

fn nested(out: &mut Vec<u8>, kind: u16, body: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    attribute(out, kind | NLA_F_NESTED, &[]);
    body(out);
    let length = u16::try_from(out.len() - at).unwrap_or(u16::MAX);
    out[at..at + 2].copy_from_slice(&length.to_ne_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ANSWER: Set<'_> = Set { family: 5, table: "baton-e0", name: "answer4" };

    /// What `nft --debug=mnl` shows for the renewal of 10.7.0.100 for 500 ms (nft also names a set by number, and puts
    /// the timeout before the key). One line for each header and attribute.
    #[cfg(target_endian = "little")]
    const RENEWAL: &str = "
        14000000 1000 0100 07000000 00000000  00 00 000a
        44000000 0e0a 0100 08000000 00000000  05 00 0000
            0d00 0100 6261746f6e2d6530 00000000
            0c00 0200 616e737765723400
            1400 0380
                1000 0180
                    0c00 0180
                        0800 0100 0a070064
        50000000 0c0a 0504 09000000 00000000  05 00 0000
            0d00 0100 6261746f6e2d6530 00000000
            0c00 0200 616e737765723400
            2000 0380
                1c00 0180
                    0c00 0180
                        0800 0100 0a070064
                    0c00 0400 00000000000001f4
        14000000 1100 0100 0a000000 00000000  00 00 000a";

    #[test]
    #[cfg(target_endian = "little")]
    fn a_renewal_is_these_bytes() {
        let mut batch = Batch::begin(7);
        batch.delete(ANSWER, &[10, 7, 0, 100]);
        batch.add(ANSWER, &[10, 7, 0, 100], Duration::from_micros(500_999));
        let (bytes, expected) = batch.end();
        let hexadecimal: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hexadecimal, RENEWAL.split_whitespace().collect::<String>());
        assert_eq!(expected, Expected { first: 7, last: 9 });
    }

    #[test]
    fn a_timeout_is_rounded_down_but_never_to_none() {
        let timeout_of = |timeout| {
            let mut batch = Batch::begin(1);
            batch.add(ANSWER, &[0; 4], timeout);
            let (bytes, _) = batch.end();
            u64::from_be_bytes(*bytes[..bytes.len() - 20].last_chunk().unwrap())
        };
        assert_eq!(timeout_of(Duration::from_micros(7_999)), 7);
        assert_eq!(timeout_of(Duration::ZERO), 1, "0 would make it permanent");
    }

    /// An `NLMSG_ERROR` for a message.
    fn error(sequence: u32, error: i32) -> Vec<u8> {
        let mut bytes = Vec::new();
        message(&mut bytes, (NLMSG_ERROR, 0, sequence), (0, 0), |out| out.extend([0; 16]));
        bytes[16..20].copy_from_slice(&error.to_ne_bytes());
        bytes
    }

    #[test]
    fn one_error_outweighs_any_acknowledgement() {
        let expected = Expected { first: 7, last: 9 };
        let answer = |datagrams: &[Vec<u8>]| {
            let mut answer = Answer::default();
            datagrams.iter().for_each(|datagram| answer.read(datagram, expected));
            answer
        };
        assert_eq!(answer(&[]), Answer { acknowledged: false, error: None }, "nothing came: unknown");
        assert_eq!(answer(&[error(9, 0)]), Answer { acknowledged: true, error: None });
        assert_eq!(answer(&[error(8, 0)]), Answer { acknowledged: false, error: None }, "not the last message");
        let failed = Answer { acknowledged: true, error: Some(2) };
        assert_eq!(answer(&[error(8, -2), error(9, 0)]), failed);
        assert_eq!(answer(&[[error(8, -2), error(9, 0)].concat()]), failed, "in one datagram");
        assert_eq!(answer(&[error(6, -1), error(10, -1), error(9, 0)]).error, None, "somebody else's");
        assert_eq!(answer(&[error(7, -1)]).error, Some(1), "the batch itself");
    }

    #[test]
    fn every_element_that_is_not_there_is_named() {
        let expected = Expected { first: 7, last: 12 };
        let datagram = [error(8, -2), error(9, -1), error(11, -2), error(12, 0), error(13, -2)].concat();
        assert_eq!(missing(&datagram, expected).collect::<Vec<_>>(), [1, 4]);
    }

    proptest! {
        #[test]
        fn any_datagram_is_read_without_harm(datagram in proptest::collection::vec(any::<u8>(), 0..256), cut in 0usize..40) {
            let mut answer = Answer::default();
            answer.read(&datagram, Expected { first: 7, last: 9 });
            let mut real = error(9, -2);
            real.truncate(cut);
            real.extend(&datagram);
            answer.read(&real, Expected { first: 7, last: 9 });
        }
    }
}
