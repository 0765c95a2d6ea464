//! Fixture, round trips and garbage for the peers' protocol.

use super::*;
use proptest::prelude::*;

const NO_KEYS: &[&[u8]] = &[];

fn header() -> Header {
    Header {
        flags: Flags { clear: true, ..Flags::default() },
        lease_ms: 500,
        sender: 0x0102_0304_0506_0708,
        receiver: 0,
        counter: 9,
        voters: [0xaa; 16],
        stamp: 10,
        echo: 11,
        echo_age: 12,
        address: "10.0.0.1:10000".parse().unwrap(),
    }
}

#[test]
fn the_bytes_are_as_drawn() {
    let vip = "192.168.0.75".parse().unwrap();
    let ballot = Ballot { round: 3, node: 1 };
    let bytes = emit(&header(), &[Record::Propose { vip, ballot, request: 7, duration_us: 500_000 }], None);
    let mut want = b"BTN1\x02\x00\x01\xf4".to_vec();
    want.extend([1, 2, 3, 4, 5, 6, 7, 8]);
    want.extend([0; 8]);
    want.extend([0, 0, 0, 0, 0, 0, 0, 9]);
    want.extend([0xaa; 16]);
    want.extend([0, 0, 0, 0, 0, 0, 0, 10]);
    want.extend([0, 0, 0, 0, 0, 0, 0, 11]);
    want.extend([0, 0, 0, 12]);
    want.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 0, 1, 0x27, 0x10]);
    assert_eq!(want.len(), HEADER_LEN);
    want.extend([3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 192, 168, 0, 75]);
    want.extend([0, 0, 0, 0, 0, 0, 0, 3, 1, 0, 0, 0, 7, 0, 7, 0xa1, 0x20]);
    assert_eq!(bytes, want);
}

#[test]
fn keys_rotate_and_forgeries_fail() {
    let (old, new): (&[u8], &[u8]) = (b"old key", b"new key");
    let bytes = emit(&header(), &[], Some(old));
    assert!(parse(&bytes, &[new, old]).is_ok());
    assert_eq!(parse(&bytes, &[new]), Err(Error::BadMac));
    assert_eq!(parse(&bytes, NO_KEYS), Err(Error::Unsigned));
    assert_eq!(parse(&emit(&header(), &[], None), &[new]), Err(Error::Unsigned));
    for i in 0..bytes.len() {
        let mut forged = bytes.clone();
        forged[i] ^= 1;
        assert!(parse(&forged, &[old]).is_err(), "byte {i} is not covered");
    }
}

#[test]
fn the_digest_depends_on_every_voter() {
    let a: SocketAddr = "10.0.0.1:10000".parse().unwrap();
    let b: SocketAddr = "10.0.0.1:10001".parse().unwrap();
    assert_ne!(digest(&[a]), digest(&[b]));
    assert_ne!(digest(&[a]), digest(&[a, b]));
}

fn ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u16; 8]>().prop_map(|mut s| {
            s[0] |= 0x2000;
            IpAddr::from(s)
        })
    ]
}

fn ballot() -> impl Strategy<Value = Ballot> {
    (any::<u64>(), any::<u8>()).prop_map(|(round, node)| Ballot { round, node })
}

fn record() -> impl Strategy<Value = Record> {
    let voter = (ip(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port));
    let refusal =
        prop_oneof![Just(Refusal::Promised), Just(Refusal::Held), Just(Refusal::Quiet), Just(Refusal::TooLong)];
    let state = (any::<[bool; 4]>(), any::<u16>()).prop_map(|([holding, eligible, healthy, wants], priority)| State {
        holding,
        eligible,
        healthy,
        wants,
        priority,
    });
    prop_oneof![
        (ip(), ballot(), any::<u32>()).prop_map(|(vip, ballot, request)| Record::Prepare { vip, ballot, request }),
        (ip(), ballot(), any::<u32>()).prop_map(|(vip, ballot, request)| Record::Promise { vip, ballot, request }),
        (ip(), ballot(), any::<u32>(), any::<u32>()).prop_map(|(vip, ballot, request, duration_us)| Record::Propose {
            vip,
            ballot,
            request,
            duration_us
        }),
        (ip(), ballot(), any::<u32>()).prop_map(|(vip, ballot, request)| Record::Accept { vip, ballot, request }),
        (ip(), ballot(), any::<u32>(), refusal, ballot(), any::<u8>(), any::<u32>()).prop_map(
            |(vip, ballot, request, why, promised, holder, remaining_us)| Record::Refuse {
                vip,
                ballot,
                request,
                why,
                promised,
                holder,
                remaining_us
            }
        ),
        (ip(), ballot(), any::<u8>()).prop_map(|(vip, ballot, successor)| Record::Release { vip, ballot, successor }),
        (ip(), any::<u32>()).prop_map(|(vip, request)| Record::Offer { vip, request }),
        (ip(), any::<u32>()).prop_map(|(vip, request)| Record::Ready { vip, request }),
        (ip(), state).prop_map(|(vip, state)| Record::State { vip, state }),
        proptest::collection::vec(voter, 0..15).prop_map(Record::Voters),
        proptest::collection::vec(any::<[u8; 6]>(), 0..8).prop_map(Record::Macs),
    ]
}

proptest! {
    #[test]
    fn what_is_emitted_is_parsed(records in proptest::collection::vec(record(), 0..4), signed in any::<bool>()) {
        let key = signed.then_some(&b"secret"[..]);
        let bytes = emit(&header(), &records, key);
        let lengths: usize = records.iter().map(Record::len).sum();
        prop_assert_eq!(bytes.len(), HEADER_LEN + lengths + if signed { MAC_LEN } else { 0 });
        let keys: Vec<&[u8]> = key.into_iter().collect();
        let (h, r) = parse(&bytes, &keys).unwrap();
        prop_assert_eq!(h, Header { flags: Flags { signed, ..header().flags }, ..header() });
        prop_assert_eq!(r, records);
    }

    #[test]
    fn garbage_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..1500), like in any::<bool>()) {
        if like && bytes.len() > 6 {
            bytes[..4].copy_from_slice(&MAGIC);
            bytes[4] &= 0b11_1110;
            bytes[5] = 0;
        }
        let _ = parse(&bytes, NO_KEYS);
        let _ = parse(&bytes, &[b"key"]);
    }

    #[test]
    fn a_cut_datagram_is_refused_or_shorter(records in proptest::collection::vec(record(), 1..4), cut in 1usize..200) {
        let bytes = emit(&header(), &records, None);
        if let Ok((_, r)) = parse(&bytes[..bytes.len().saturating_sub(cut)], NO_KEYS) {
            prop_assert!(r.len() < records.len());
        }
    }
}
