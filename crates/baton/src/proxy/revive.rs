//! Threads of the data path that died (a bug of ours: their connections died with them) are replaced by new ones that listen
//! where they did.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::Ordering::Relaxed;

use baton_core::settings::BalancerKind;
use tracing::error;

use super::http::{self, Http};
use super::worker::Command;
use super::{Proxy, hire, listen};

impl Proxy {
    /// Has threads that died (a bug of ours: their connections died with them) replaced by new ones that listen where they
    /// did. What became of each.
    pub fn revive(&mut self) -> Vec<(String, io::Result<()>)> {
        let dead: Vec<usize> = (0..self.threads.len()).filter(|n| self.threads[*n].is_finished()).collect();
        let mut revived: Vec<_> = dead.into_iter().map(|n| (format!("proxy-{n}"), self.revive_worker(n))).collect();
        if self.http.as_ref().is_some_and(Http::is_dead) {
            revived.push(("proxy-http".to_owned(), self.revive_http()));
        }
        revived
    }

    /// [`Proxy::revive`], told in the log and, while it fails, among the warnings of `status`.
    pub fn revive_and_tell(&mut self, warnings: &mut BTreeMap<&'static str, String>) {
        for (thread, revived) in self.revive() {
            let why = match revived {
                Ok(()) => {
                    warnings.remove("proxy");
                    error!(event = "proxy", "{thread} died, and its connections with it: replaced");
                    continue;
                }
                Err(e) => format!("{thread} died and cannot be replaced: {e}"),
            };
            if warnings.insert("proxy", why.clone()).as_ref() != Some(&why) {
                error!(event = "proxy", "{why}; tried again every second");
            }
        }
    }

    fn revive_worker(&mut self, number: usize) -> io::Result<()> {
        let open = self.listeners(BalancerKind::Tcp);
        let sockets: Vec<_> = open.map(|open| Ok((open, listen::join(&open.bound)?))).collect::<io::Result<_>>()?;
        let pipes = self.limits.pipes / self.threads.len().max(1);
        let (mailbox, thread) = hire(number, pipes, self.limits.clone(), self.reports.clone())?;
        for member in self.groups.iter().flat_map(|group| &group.members) {
            member.target.cell(number).active.store(0, Relaxed);
        }
        for (open, fd) in sockets {
            let (number, entry) = (open.number, open.entry.clone());
            mailbox.post(Command::Listen { number, fd, address: open.bound.address, entry });
        }
        let former = std::mem::replace(&mut self.mailboxes[number], mailbox);
        self.groups.iter().for_each(|group| group.route.desert(&former));
        // It has said why it died.
        let _ = std::mem::replace(&mut self.threads[number], thread).join();
        Ok(())
    }

    fn revive_http(&mut self) -> io::Result<()> {
        let http = Http::start(self.limits.clone(), self.reports.clone(), self.mailboxes.len())?;
        for open in self.listeners(BalancerKind::Http) {
            let fd = listen::join(&open.bound)?;
            let (number, address, entry) = (open.number, open.bound.address, open.entry.clone());
            http.tell(http::Command::Listen { number, fd, address, entry });
        }
        self.http = Some(http);
        Ok(())
    }
}
