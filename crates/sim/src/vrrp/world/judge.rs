//! What must hold: never two without an excuse, one when all is quiet, and clients that know where it is.

use super::World;
use crate::clock::Moment;
use crate::vrrp::plan::{Fault, Kind};

impl World {
    /// When all is quiet there is one, it is the right one, and clients know where it is.
    pub(super) fn rest(&mut self) {
        self.over = true;
        let holders: Vec<usize> = (0..self.nodes.len()).filter(|n| self.nodes[*n].answers(self.at)).collect();
        let &[holder] = &holders[..] else {
            return self.fail(format!("converged: {holders:?} answer long after the last fault"));
        };
        let priority = |n: usize| (self.nodes[n].priority, self.nodes[n].own);
        let best = (0..self.nodes.len()).map(|n| self.nodes[n].priority).max();
        if self.plan.preempt && best.is_some_and(|best| priority(holder).0 < best) {
            return self.fail(format!("converged: {holder} answers, with a priority below {best:?}"));
        }
        let only_baton = self.nodes.iter().all(|n| n.kind == Kind::Baton);
        let lossless = !self.plan.faults.contains(&Fault::Loss);
        if let Some((believed, since)) = self.client.filter(|(n, _)| only_baton && lossless && *n != holder)
            && self.unheard[holder].is_none_or(|t| t < since)
            // Nobody can know of a master whose last words were lost.
            && self.unsaid[believed].is_none_or(|t| t + self.window() < since)
        {
            self.fail(format!("announced: the client believes in {believed} since {since:?}, and {holder} answers"));
        }
    }

    pub(super) fn fail(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    pub(super) fn judge(&mut self) {
        let at = self.at;
        for node in &mut self.nodes {
            node.answers_since = node.answers(at).then(|| node.answers_since.unwrap_or(at));
        }
        let answering: Vec<usize> = (0..self.nodes.len())
            .filter(|n| self.nodes[*n].kind == Kind::Baton && self.nodes[*n].answers_since.is_some())
            .collect();
        for (i, a) in answering.iter().enumerate() {
            for b in &answering[i + 1..] {
                if !self.excused(*a, *b) {
                    self.fail(format!("never two: {a} and {b} answer at {at:?}"));
                }
            }
        }
    }

    fn excused(&self, a: usize, b: usize) -> bool {
        let recent = |t: Option<Moment>| t.is_some_and(|t| self.at.since(t) < self.window());
        if recent(self.trouble[a][b]) || recent(self.trouble[b][a]) {
            return true;
        }
        let since = |n: usize| self.nodes[n].answers_since.unwrap_or_default();
        let (older, newer) = if since(a) <= since(b) { (a, b) } else { (b, a) };
        let way = self.plan.delay * 2;
        let preempts = self.plan.preempt && self.nodes[newer].priority != self.nodes[older].priority;
        let at_once = since(newer).since(since(older)) <= way + self.plan.interval.mul_f64(0.6);
        let travels = self.at.since(since(newer)) <= way;
        (preempts || at_once) && (travels || recent(self.nodes[older].absent) || recent(self.nodes[newer].absent))
    }
}
