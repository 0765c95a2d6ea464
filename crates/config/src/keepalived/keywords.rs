//! Every keyword: where it may stand, what Baton does with it, and whether a block follows.
//!
//! One table drives reading and the reference in `docs/keepalived.md`.

mod general;
mod lvs;
mod vrrp;

/// What Baton does with a keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tier {
    /// Does what keepalived does; in most files.
    A,
    /// Does what keepalived does; in some files.
    B,
    /// Read, and without effect: a message says so.
    C,
}

/// Where a keyword may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Block {
    /// Outside all blocks.
    Root,
    /// `global_defs`
    Global,
    /// `vrrp_instance`
    Instance,
    /// `authentication`
    Authentication,
    /// `vrrp_sync_group`
    SyncGroup,
    /// `vrrp_script`
    Script,
    /// `vrrp_track_process`
    Process,
    /// `track_file`
    File,
    /// `garp_group`
    GarpGroup,
    /// `track_group`
    TrackGroup,
    /// `virtual_server`
    Virtual,
    /// `real_server`
    Real,
    /// `TCP_CHECK`, `PING_CHECK`
    Connect,
    /// `HTTP_GET`, `SSL_GET`
    Http,
    /// `url`
    Url,
    /// `SMTP_CHECK`
    Smtp,
    /// `host` of `SMTP_CHECK`
    SmtpHost,
    /// `DNS_CHECK`
    Dns,
    /// `MISC_CHECK`
    Misc,
    /// `UDP_CHECK`
    Udp,
    /// `FILE_CHECK`
    FileCheck,
    /// `BFD_CHECK`
    BfdCheck,
    /// `SSL`
    Ssl,
    /// A list: its lines are entries, not keywords.
    List,
    /// The block of something that is not known, or not looked at.
    Unknown,
}

impl Block {
    /// As it stands in a file.
    #[must_use]
    pub(super) fn name(self) -> &'static str {
        match self {
            Block::Root => "outside of blocks",
            Block::Global => "global_defs",
            Block::Instance => "vrrp_instance",
            Block::Authentication => "authentication",
            Block::SyncGroup => "vrrp_sync_group",
            Block::Script => "vrrp_script",
            Block::Process => "vrrp_track_process",
            Block::File => "track_file",
            Block::GarpGroup => "garp_group",
            Block::TrackGroup => "track_group",
            Block::Virtual => "virtual_server",
            Block::Real => "real_server",
            Block::Connect => "TCP_CHECK, PING_CHECK",
            Block::Http => "HTTP_GET, SSL_GET",
            Block::Url => "url",
            Block::Smtp => "SMTP_CHECK",
            Block::SmtpHost => "host",
            Block::Dns => "DNS_CHECK",
            Block::Misc => "MISC_CHECK",
            Block::Udp => "UDP_CHECK",
            Block::FileCheck => "FILE_CHECK",
            Block::BfdCheck => "BFD_CHECK",
            Block::Ssl => "SSL",
            Block::List | Block::Unknown => "",
        }
    }
}

/// A keyword.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keyword {
    /// As it is written.
    pub name: &'static str,
    /// What Baton does with it.
    pub tier: Tier,
    /// The block that follows it.
    pub opens: Option<Block>,
    /// What it says, in a few words.
    pub about: &'static str,
}

const fn row(name: &'static str, tier: Tier, about: &'static str) -> Keyword {
    Keyword { name, tier, opens: None, about }
}

const fn block(name: &'static str, tier: Tier, opens: Block, about: &'static str) -> Keyword {
    Keyword { name, tier, opens: Some(opens), about }
}

/// All keywords of all blocks, in the order of the reference.
pub(super) const KEYWORDS: &[(Block, &[Keyword])] = &[
    (Block::Root, general::ROOT),
    (Block::Global, general::GLOBAL),
    (Block::Instance, vrrp::INSTANCE),
    (Block::Authentication, vrrp::AUTHENTICATION),
    (Block::SyncGroup, vrrp::SYNC_GROUP),
    (Block::Script, vrrp::SCRIPT),
    (Block::Process, vrrp::PROCESS),
    (Block::File, vrrp::FILE),
    (Block::GarpGroup, vrrp::GARP_GROUP),
    (Block::TrackGroup, vrrp::TRACK_GROUP),
    (Block::Virtual, lvs::VIRTUAL),
    (Block::Real, lvs::REAL),
    (Block::Connect, lvs::CONNECT),
    (Block::Http, lvs::HTTP),
    (Block::Url, lvs::URL),
    (Block::Smtp, lvs::SMTP),
    (Block::SmtpHost, lvs::SMTP_HOST),
    (Block::Dns, lvs::DNS),
    (Block::Misc, lvs::MISC),
    (Block::Udp, lvs::UDP),
    (Block::FileCheck, lvs::FILE_CHECK),
    (Block::BfdCheck, lvs::BFD_CHECK),
    (Block::Ssl, lvs::SSL),
];

/// Keywords of all checks over the network.
pub(super) const NETWORK: &[Keyword] = lvs::NETWORK;

/// What a word at the beginning of a line is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found {
    Known(&'static Keyword),
    /// A line of a list.
    Entry,
    Unknown,
}

/// Looks a word up.
pub(super) fn find(inside: Block, word: &str) -> Found {
    if matches!(inside, Block::List | Block::Unknown) {
        return Found::Entry;
    }
    let common: &[Keyword] = match inside {
        Block::Connect | Block::Http | Block::Smtp | Block::Dns | Block::Udp => lvs::NETWORK,
        _ => &[],
    };
    let rows = KEYWORDS.iter().find(|(block, _)| *block == inside).map_or(&[][..], |(_, rows)| rows);
    match rows.iter().chain(common).find(|keyword| keyword.name == word) {
        Some(keyword) => Found::Known(keyword),
        None => Found::Unknown,
    }
}
