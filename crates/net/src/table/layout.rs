//! Where the sets and rules of an interface are: all in one table where the kernel has the egress hook, else in three.

use nlink::netlink::nftables::types::Family;

/// How frames can be stopped on their way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// At `netdev` egress (Linux 5.16): every frame, our own announcements included.
    Egress,
    /// In the output hooks of the `arp` and `inet` families: packet sockets bypass them, so whoever announces looks at the
    /// clock first.
    Output,
}

impl Layout {
    /// The families in which an interface has a table.
    pub(super) fn families(self) -> &'static [Family] {
        match self {
            Layout::Egress => &[Family::Netdev],
            Layout::Output => &[Family::Netdev, Family::Arp, Family::Inet],
        }
    }

    /// The sets of an interface's table.
    pub(super) fn sets(self, family: Family) -> &'static [&'static str] {
        match (self, family) {
            (Layout::Egress, Family::Netdev) => &["guard4", "answer4", "accept4", "guard6", "answer6", "accept6"],
            (Layout::Output, Family::Netdev) => &["guard4", "accept4", "guard6", "accept6"],
            (Layout::Output, Family::Arp) => &["guard4", "answer4"],
            (Layout::Output, Family::Inet) => &["guard4", "accept4", "guard6", "answer6", "accept6"],
            _ => &[],
        }
    }

    /// The families in which a set is: its elements come and go in all of them at once.
    pub(crate) fn places(self, set: &str) -> impl Iterator<Item = u8> {
        self.families().iter().filter(move |family| self.sets(**family).contains(&set)).map(|family| *family as u8)
    }
}
