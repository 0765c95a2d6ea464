//! Classic BPF programs for the packet sockets: of all frames of a link only claims to watched addresses get through.
//!
//! Packets begin with their network header (the sockets are `SOCK_DGRAM`). Loads beyond the end reject a packet.

use std::net::{Ipv4Addr, Ipv6Addr};

use socket2::SockFilter;

const LOAD_WORD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const LOAD_HALF: u16 = (libc::BPF_LD | libc::BPF_H | libc::BPF_ABS) as u16;
const LOAD_BYTE: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
const STORE: u16 = libc::BPF_ST as u16;
const RECALL: u16 = (libc::BPF_LD | libc::BPF_MEM) as u16;
const JUMP_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// The whole packet.
const ACCEPT: SockFilter = SockFilter::new(RETURN, 0, 0, 0xffff);
const REJECT: SockFilter = SockFilter::new(RETURN, 0, 0, 0);

/// Lets nothing through.
pub(super) fn nothing() -> [SockFilter; 1] {
    [REJECT]
}

/// More addresses than this are not told apart in the kernel: programs have an end (4,096 instructions).
pub(super) const ADDRESSES_MAX: usize = 256;

/// ARP packets of any sender.
pub(super) fn any_arp() -> Vec<SockFilter> {
    vec![SockFilter::new(LOAD_HALF, 0, 0, 4), SockFilter::new(JUMP_EQUAL, 1, 0, 0x0604), REJECT, ACCEPT]
}

/// Neighbour advertisements and solicitations about any address.
pub(super) fn any_ndp() -> Vec<SockFilter> {
    vec![
        SockFilter::new(LOAD_BYTE, 0, 0, 6),
        SockFilter::new(JUMP_EQUAL, 1, 0, 58),
        REJECT,
        SockFilter::new(LOAD_BYTE, 0, 0, 40),
        SockFilter::new(JUMP_EQUAL, 2, 0, 135),
        SockFilter::new(JUMP_EQUAL, 1, 0, 136),
        REJECT,
        ACCEPT,
    ]
}

/// ARP packets whose sender is one of the addresses.
pub(super) fn arp(addresses: &[Ipv4Addr]) -> Vec<SockFilter> {
    let mut program = vec![
        // Ethernet and IPv4 with their lengths, as `baton_wire::arp` demands.
        SockFilter::new(LOAD_HALF, 0, 0, 4),
        SockFilter::new(JUMP_EQUAL, 1, 0, 0x0604),
        REJECT,
        SockFilter::new(LOAD_WORD, 0, 0, 14),
    ];
    for address in addresses {
        program.extend([SockFilter::new(JUMP_EQUAL, 0, 1, u32::from(*address)), ACCEPT]);
    }
    program.push(REJECT);
    program
}

/// Neighbour advertisements for one of the addresses, and solicitations from one of them.
pub(super) fn ndp(addresses: &[Ipv6Addr]) -> Vec<SockFilter> {
    const SOURCE: u32 = 8;
    const TARGET: u32 = 48;
    let mut program = vec![
        SockFilter::new(LOAD_BYTE, 0, 0, 6),
        SockFilter::new(JUMP_EQUAL, 1, 0, 58),
        REJECT,
        SockFilter::new(LOAD_BYTE, 0, 0, 40),
        // A solicitation: over the part for advertisements.
        SockFilter::new(JUMP_EQUAL, 11, 0, 135),
        SockFilter::new(JUMP_EQUAL, 1, 0, 136),
        REJECT,
    ];
    program.extend(copy(TARGET));
    program.push(SockFilter::new(JUMP, 0, 0, 8));
    program.extend(copy(SOURCE));
    program.extend(matches(addresses));
    program
}

/// Copies the 16 bytes at `offset` into the scratch memory.
fn copy(offset: u32) -> [SockFilter; 8] {
    let load = |word: u32| SockFilter::new(LOAD_WORD, 0, 0, offset + 4 * word);
    let store = |word: u32| SockFilter::new(STORE, 0, 0, word);
    [load(0), store(0), load(1), store(1), load(2), store(2), load(3), store(3)]
}

/// Accepts when the address in the scratch memory is one of these, else rejects. Nine instructions per address: 256
/// addresses stay below the kernel's limit of 4,096.
fn matches(addresses: &[Ipv6Addr]) -> Vec<SockFilter> {
    let mut program = Vec::new();
    for address in addresses {
        let bits = address.to_bits();
        // The last word differs most, so it is looked at first.
        for word in [3, 2, 1, 0u32] {
            let value = u32::try_from(bits >> (96 - 32 * word) & 0xffff_ffff).unwrap_or(0);
            // On a difference: over the loads and jumps of the words left, and over the ACCEPT.
            let skip = u8::try_from(2 * word + 1).unwrap_or(0);
            program.extend([SockFilter::new(RECALL, 0, 0, word), SockFilter::new(JUMP_EQUAL, 0, skip, value)]);
        }
        program.push(ACCEPT);
    }
    program.push(REJECT);
    program
}
