//! Fixtures are what keepalived 2.2.7 sent, recorded from the wire.

use proptest::prelude::*;

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|d| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap()).collect()
}

fn v2(auth: Auth) -> Version {
    Version::V2 { seconds: 1, auth }
}

fn v3(centiseconds: u16, checksum: Checksum) -> Version {
    Version::V3 { centiseconds, checksum }
}

struct Fixture {
    bytes: Vec<u8>,
    from: &'static str,
    to: &'static str,
    advert: Advert,
}

fn fixture(
    bytes: &str,
    from: &'static str,
    to: &'static str,
    vrid: u8,
    priority: u8,
    version: Version,
    addresses: &[&str],
) -> Fixture {
    let addresses = addresses.iter().map(|a| ip(a)).collect();
    Fixture { bytes: hex(bytes), from, to, advert: Advert { vrid, priority, version, addresses } }
}

fn fixtures() -> Vec<Fixture> {
    const GROUP: &str = "224.0.0.18";
    let password = Auth::Password(*b"42\0\0\0\0\0\0");
    let v6 = "313cc8020064db33 fe800000000000000000000000000060 20010db8000000000000000000000060";
    vec![
        fixture(
            "2133650101018233 c0000264 3432000000000000",
            "192.0.2.1",
            GROUP,
            51,
            101,
            v2(password),
            &["192.0.2.100"],
        ),
        fixture(
            "213365020001f4fe c0000264 c0000265 0000000000000000",
            "192.0.2.1",
            GROUP,
            51,
            101,
            v2(Auth::None),
            &["192.0.2.100", "192.0.2.101"],
        ),
        fixture("31326701001e02eb c0000232", "192.0.2.1", GROUP, 50, 103, v3(30, Checksum::Pseudo), &["192.0.2.50"]),
        fixture("31326701001ea57b c0000232", "192.0.2.1", GROUP, 50, 103, v3(30, Checksum::Plain), &["192.0.2.50"]),
        fixture(
            "31326701006420b5 c0000232",
            "192.0.2.1",
            "192.0.2.2",
            50,
            103,
            v3(100, Checksum::Pseudo),
            &["192.0.2.50"],
        ),
        fixture(
            "313267010064a535 c0000232",
            "192.0.2.1",
            "192.0.2.2",
            50,
            103,
            v3(100, Checksum::Plain),
            &["192.0.2.50"],
        ),
        fixture(
            "31326701006402a5 c0000232",
            "192.0.2.1",
            "192.0.2.2",
            50,
            103,
            v3(100, Checksum::PseudoGroup),
            &["192.0.2.50"],
        ),
        fixture(v6, "fe80::1", "ff02::12", 60, 200, v3(100, Checksum::Pseudo), &["fe80::60", "2001:db8::60"]),
    ]
}

#[test]
fn what_keepalived_sends_is_read_and_written_alike() {
    for f in fixtures() {
        let (from, to) = (ip(f.from), ip(f.to));
        assert_eq!(Advert::parse(&f.bytes, from, to), Ok(f.advert.clone()), "{:02x?}", f.bytes);
        assert_eq!(f.advert.emit(from, to), f.bytes, "{:?}", f.advert);
    }
}

#[test]
fn each_defect_has_its_name() {
    let (from, to) = (ip("192.0.2.1"), ip("224.0.0.18"));
    let good = &fixtures()[0].bytes;
    for length in 0..good.len() {
        assert_eq!(Advert::parse(&good[..length], from, to), Err(Error::Length), "{length} bytes");
    }
    let longer = |n: usize| [good.clone(), vec![0; n]].concat();
    assert_eq!(Advert::parse(&longer(1), from, to), Err(Error::Length), "a byte too many");
    assert_eq!(Advert::parse(&longer(28), from, to), Err(Error::Length), "keepalived's HMAC trailer");
    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        Advert::parse(&bytes, from, to)
    };
    assert_eq!(with(0, 0x11), Err(Error::Version));
    assert_eq!(with(0, 0x41), Err(Error::Version));
    assert_eq!(with(0, 0x22), Err(Error::Type));
    assert_eq!(with(0, 0x31), Err(Error::Length), "version 3 has no authentication data");
    assert_eq!(with(3, 2), Err(Error::Length));
    assert_eq!(with(2, 100), Err(Error::Checksum));
    assert_eq!(with(19, 1), Err(Error::Checksum), "the password is in the sum");
    let six = &fixtures()[7];
    assert_eq!(Advert::parse(&six.bytes, ip("fe80::2"), ip("ff02::12")), Err(Error::Checksum), "another source");
    assert_eq!(Advert::parse(&six.bytes, ip("fe80::1"), to), Err(Error::Family));
    assert_eq!(Advert::parse(good, ip("fe80::1"), ip("ff02::12")), Err(Error::Version), "version 2 over IPv6");
}

#[test]
fn the_authentication_header_is_a_type_that_is_not_spoken() {
    let advert = Advert { vrid: 51, priority: 101, version: v2(Auth::Other(2)), addresses: vec![ip("192.0.2.100")] };
    let (from, to) = (ip("192.0.2.1"), ip("224.0.0.18"));
    let bytes = advert.emit(from, to);
    assert_eq!(bytes, hex("213365010201b565 c0000264 0000000000000000"), "as keepalived's, inside of its header");
    assert_eq!(Advert::parse(&bytes, from, to), Ok(advert));
}

#[test]
fn passwords_are_not_printed() {
    let shown = format!("{:?}", fixtures()[0].advert);
    assert!(shown.contains("Password(…)") && !shown.contains("52, 50"), "{shown}");
}

#[test]
fn more_addresses_than_fit_are_left_out() {
    let many = (0..300u32).map(|n| IpAddr::V4((0x0a00_0000 + n).into())).chain([ip("fe80::1")]);
    let advert = Advert { vrid: 1, priority: 1, version: v3(4096, Checksum::Plain), addresses: many.collect() };
    let (from, to) = (ip("192.0.2.1"), ip("224.0.0.18"));
    let read = Advert::parse(&advert.emit(from, to), from, to).unwrap();
    assert_eq!((read.addresses.len(), read.interval()), (255, Duration::from_millis(40_950)));
}

fn versions() -> impl Strategy<Value = Version> {
    let auth =
        prop_oneof![Just(Auth::None), any::<[u8; 8]>().prop_map(Auth::Password), (2..=255u8).prop_map(Auth::Other)];
    let checksum = prop_oneof![Just(Checksum::Pseudo), Just(Checksum::Plain)];
    prop_oneof![
        (any::<u8>(), auth).prop_map(|(seconds, auth)| Version::V2 { seconds, auth }),
        (0..4096u16, checksum).prop_map(|(centiseconds, checksum)| Version::V3 { centiseconds, checksum })
    ]
}

proptest! {
    /// Header fields that decide about the length and the sum are made to fit, so that the rest is reached.
    #[test]
    fn any_bytes_are_refused_or_round_trip(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..80),
        four: bool,
        two: bool,
        fit: bool,
    ) {
        let (from, to) = if four { (ip("192.0.2.1"), ip("192.0.2.2")) } else { (ip("fe80::1"), ip("fe80::2")) };
        if fit && bytes.len() >= 16 {
            let (each, tail) = (if four { 4 } else { 16 }, if two { 8 } else { 0 });
            bytes[0] = if two { 0x21 } else { 0x31 };
            bytes[3] = u8::try_from((bytes.len() - 8 - tail) / each).unwrap();
            bytes[4] &= 0x0f;
            bytes[6..8].fill(0);
            let covered = if two { [0, 0] } else { pseudo(Checksum::Pseudo, from, to, bytes.len()) };
            let sum = sum(covered, &bytes);
            bytes[6..8].copy_from_slice(&sum.to_be_bytes());
        }
        let read = Advert::parse(&bytes, from, to);
        if let Ok(advert) = &read {
            let emitted = advert.emit(from, to);
            // Only a type of authentication that is not spoken loses its data.
            if !matches!(advert.version, Version::V2 { auth: Auth::None | Auth::Other(_), .. }) {
                prop_assert_eq!(&emitted, &bytes);
            }
            prop_assert_eq!(emitted.len(), bytes.len());
        }
        let fits = bytes.len() >= 16 && (bytes.len() - 8 - if two { 8 } else { 0 }) % if four { 4 } else { 16 } == 0;
        prop_assert!(!fit || !fits || (two && !four) || read.is_ok(), "{read:?}");
    }

    /// Almost right bytes reach further than arbitrary ones do.
    #[test]
    fn a_changed_byte_is_noticed(at in 0..20usize, change in 1..=255u8) {
        let f = &fixtures()[0];
        let mut bytes = f.bytes.clone();
        bytes[at] ^= change;
        prop_assert!(Advert::parse(&bytes, ip(f.from), ip(f.to)).is_err());
    }

    #[test]
    fn any_advert_round_trips(vrid: u8, priority: u8, version in versions(), four in proptest::collection::vec(any::<u32>(), 0..40)) {
        let addresses = four.into_iter().map(|a| IpAddr::V4(a.into())).collect();
        let advert = Advert { vrid, priority, version, addresses };
        let (from, to) = (ip("192.0.2.1"), ip("224.0.0.18"));
        prop_assert_eq!(Advert::parse(&advert.emit(from, to), from, to), Ok(advert));
    }

    #[test]
    fn any_advert_over_ipv6_round_trips(vrid: u8, priority: u8, cs in 0..4096u16, six in proptest::collection::vec(any::<u128>(), 0..40)) {
        let addresses = six.into_iter().map(|a| IpAddr::V6(a.into())).collect();
        let advert = Advert { vrid, priority, version: v3(cs, Checksum::Pseudo), addresses };
        let (from, to) = (ip("fe80::1"), ip("ff02::12"));
        prop_assert_eq!(Advert::parse(&advert.emit(from, to), from, to), Ok(advert));
    }
}
