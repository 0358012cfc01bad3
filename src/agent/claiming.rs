//! What goes out: claiming what is due, canaries, probes, and when to look again. Reads only; what
//! is claimed is in flight in memory, and after a crash it is pending again.

use super::outcomes::InFlight;
use super::{Agent, Dispatch, Effect, Question, filing};
use crate::config::route::OnUnsure;
use crate::config::upstream::Ordering;
use crate::ids::Seq;
use crate::limits::MAX_ROUTES;
use crate::moment::{AgentTime, Moment};
use crate::policy::backoff::LINE_WAIT;
use crate::policy::canary::Route;
use crate::policy::class::Ending;
use crate::policy::upstream::Errand;
use crate::record::{Failure, Status};
use crate::store::StoreError;
use crate::wire::delivery::{request, verification};
use std::rc::Rc;

/// What a look at one upstream found.
#[derive(Debug, Default)]
struct Look {
    /// Something could be sent, were the upstream's gates open.
    waits: bool,
    deadlines: Vec<AgentTime>,
}

/// On whose account a request is handed to a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is its turn.
    Own,
    /// It looks whether the upstream is still shut.
    Canary,
    /// It is held ready.
    Ahead,
}

impl Agent {
    /// Claims what may be sent now, probes, and says when to come back; by the configuration that is in
    /// force from now on.
    pub(super) fn schedule(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        self.take_over(now, effects);
        let mut next: Vec<AgentTime> = self
            .settle
            .next()
            .into_iter()
            .chain(self.upkeep_due(now.agent))
            .chain(self.leaving_due(now.agent))
            .collect();
        let sends = !self.stopping && !self.moves() && self.unsettled.is_empty() && self.settle.refusal().is_none();
        for index in 0..self.lines.len() {
            if !sends || self.yields(index) {
                self.recall(index, effects);
                continue;
            }
            match self.serve(now, index, effects) {
                Ok(look) => next.extend(look.deadlines),
                Err(error) => {
                    log::error!("event=claim_failed error={:?}", error.to_string());
                    self.settle.failed(now.agent, &error);
                    next.extend(self.settle.next());
                }
            }
        }
        if !self.unbuilt.is_empty() {
            next.push(now.agent);
        }
        next.extend(self.watch_on(now, effects));
        self.next = next.into_iter().min();
    }

    /// Everything that one upstream asks for now.
    fn serve(&mut self, now: Moment, index: usize, effects: &mut Vec<Effect>) -> Result<Look, StoreError> {
        let mut look = Look::default();
        if !self.looks_ahead(now, index) {
            self.recall(index, effects);
        }
        if self.lines[index].state.is_shut() {
            self.send_canary(now, index, effects, &mut look)?;
        } else {
            self.store.begin_look()?;
            let claimed = self.claim(now, index, effects, &mut look);
            self.store.end_look()?;
            claimed?;
        }
        let newest = self.store.ledger().newest_seq();
        let line = &mut self.lines[index];
        if self.store.waits_for_line(&line.config.name, line.state.contact_seq)? {
            line.state.overtaken(now.agent);
        }
        if line.state.probe_due(now.agent, line.pace) {
            line.state.probe_sent(now.agent, newest);
            effects.push(Effect::Probe { upstream: index });
        }
        look.deadlines.extend(line.state.deadline(now.agent, look.waits, line.pace));
        Ok(look)
    }

    /// Claims what is due.
    fn claim(
        &mut self,
        now: Moment,
        index: usize,
        effects: &mut Vec<Effect>,
        look: &mut Look,
    ) -> Result<(), StoreError> {
        let line = &self.lines[index];
        let slots = line.state.slots(now.agent, line.pace).min(self.config.retry.batch);
        if slots == 0 {
            look.waits = true; // Perhaps; it is looked at when the gate opens.
            return self.hold_ready(now, index, effects);
        }
        if self.lines[index].ahead > 0 {
            // It is their turn first.
            effects.push(Effect::Advance { upstream: index, most: slots });
            look.deadlines.push(now.agent);
            return Ok(());
        }
        let found = if line.pace.ordering == Ordering::Strict {
            self.front(now, index, look)?
        } else {
            self.due(now, index, slots)?
        };
        let sent = found.len();
        for failure in found {
            self.dispatch(now, index, failure, Turn::Own, effects);
        }
        if sent == slots {
            // There may be more. Where one at a time may start, the gate says when.
            look.waits = true;
            if self.lines[index].state.slots(now.agent, self.lines[index].pace) > 0 {
                look.deadlines.push(now.agent);
            }
            self.hold_ready(now, index, effects)?;
        } else if self.lines[index].pace.ordering != Ordering::Strict {
            let line = &self.lines[index];
            let by_line =
                self.store.next_by_line(&line.config.name, line.state.contact_seq, now.agent.before(LINE_WAIT))?;
            look.deadlines.extend(self.store.next_due(&line.config.name, now.agent)?);
            look.deadlines.extend(by_line.map(|at| at.after(LINE_WAIT)));
        }
        Ok(())
    }

    /// The next `slots` failures that may go, by the time at which they became due; while the pause
    /// runs, those that were never tried go first.
    fn due(&self, now: Moment, index: usize, slots: usize) -> Result<Vec<Failure>, StoreError> {
        /// Among so many a failure that was never tried is looked for.
        const WINDOW: usize = 64;
        let untried_first = self.lines[index].state.prefers_untried();
        let seqs = self.due_seqs(now, index, if untried_first { slots.max(WINDOW) } else { slots })?;
        let mut found = self.store.by_seqs(&seqs, usize::MAX)?;
        found.sort_by_key(|failure| untried_first && failure.attempts > 0);
        found.truncate(slots);
        Ok(found)
    }

    /// The numbers of the next `most` failures that may go, by the time at which they became due.
    pub(super) fn due_seqs(&self, now: Moment, index: usize, most: usize) -> Result<Vec<Seq>, StoreError> {
        let line = &self.lines[index];
        let (name, newest) = (&line.config.name, line.state.contact_seq);
        // Those in flight stand in the index too.
        let limit = self.in_flight.len() + most;
        let mut found = self.store.due(name, now.agent, limit)?;
        let by_line = self.store.due_by_line(name, newest, now.agent.before(LINE_WAIT), limit)?;
        found.extend(by_line.into_iter().map(|(seq, recorded_at)| (seq, recorded_at.after(LINE_WAIT))));
        found.retain(|(seq, _)| !self.in_flight.contains_key(seq));
        found.sort_unstable_by_key(|(seq, since)| (*since, *seq));
        Ok(found.into_iter().take(most).map(|(seq, _)| seq).collect())
    }

    /// Under strict order: the oldest live failure of the upstream, if it may go now.
    fn front(&mut self, now: Moment, index: usize, look: &mut Look) -> Result<Vec<Failure>, StoreError> {
        let line = &mut self.lines[index];
        let Some(front) = self.store.front(&line.config.name, line.front)? else { return Ok(Vec::new()) };
        line.front = front.seq;
        let due_at = match front.due_at {
            None if front.seq.0 <= line.state.contact_seq => Some(front.recorded_at.after(LINE_WAIT)),
            due_at => due_at,
        };
        let free = front.status == Status::Pending && front.head && !self.in_flight.contains_key(&front.seq);
        match due_at.filter(|_| free) {
            Some(at) if at <= now.agent => return Ok(vec![front]),
            Some(at) => look.deadlines.push(at),
            None => {}
        }
        Ok(Vec::new())
    }

    /// While the upstream is shut: one failure that looks whether it still is. Of the route that was
    /// tried longest ago the head that was tried longest ago, whatever its step.
    fn send_canary(
        &mut self,
        now: Moment,
        index: usize,
        effects: &mut Vec<Effect>,
        look: &mut Look,
    ) -> Result<(), StoreError> {
        look.waits = true; // Perhaps; it is looked for when it may go.
        if self.lines[index].state.canary_due(now.agent) {
            let found = self.canary(now, index)?;
            look.waits = found.is_some();
            if let Some(failure) = found {
                self.dispatch(now, index, failure, Turn::Canary, effects);
            }
        }
        Ok(())
    }

    fn canary(&self, now: Moment, index: usize) -> Result<Option<Failure>, StoreError> {
        let line = &self.lines[index];
        let name = &line.config.name;
        if line.pace.ordering == Ordering::Strict {
            let front = self.store.front(name, line.front)?;
            return Ok(front.filter(|front| front.status == Status::Pending && front.head));
        }
        let mut routes = self.store.head_routes(name, MAX_ROUTES)?;
        let recency = |(entity_type, action): &(String, String)| {
            line.state.routes().recency(&Route { entity_type: entity_type.clone(), action: action.clone() })
        };
        routes.sort_by_key(recency);
        for (entity_type, action) in &routes {
            let limit = self.in_flight.len() + 1;
            let heads = self.store.longest_untried(name, (entity_type, action), now.agent, limit)?;
            let free = |failure: &Failure| {
                let holds = self.route(failure).is_some_and(|route| route.on_unsure == OnUnsure::Hold);
                !holds && !self.in_flight.contains_key(&failure.seq)
            };
            if let Some(found) = heads.into_iter().find(free) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Hands a failure's request to a sender.
    pub(super) fn dispatch(
        &mut self,
        now: Moment,
        index: usize,
        mut failure: Failure,
        turn: Turn,
        effects: &mut Vec<Effect>,
    ) {
        let built = self.build(index, &failure);
        let line = &mut self.lines[index];
        let errand = match turn {
            Turn::Own => line.state.sent(now.agent, false, &route_of(&failure), line.pace),
            Turn::Canary => line.state.sent(now.agent, true, &route_of(&failure), line.pace),
            Turn::Ahead => {
                line.ahead += 1;
                Errand::Turn
            }
        };
        let (seq, ahead) = (failure.seq, turn == Turn::Ahead);
        failure.payload = None;
        let dossier = filing::dossier(&failure);
        let failure = Rc::new(failure);
        self.in_flight.insert(seq, InFlight { failure, dossier, upstream: index, sent_at: now, errand, ahead });
        match built {
            Ok(dispatch) => effects.push(Effect::Send(Box::new(Dispatch { ahead, ..dispatch }))),
            Err(why) => self.unbuilt.push((seq, Ending::Unbuildable(why))),
        }
    }

    fn build(&self, index: usize, failure: &Failure) -> Result<Dispatch, String> {
        let (line, route) = (&self.lines[index], self.route(failure));
        let asks_first = route.filter(|route| failure.unsure && route.on_unsure == OnUnsure::Verify);
        let verify = match asks_first.and_then(|route| Some((route, route.verify.as_ref()?))) {
            Some((route, verify)) => {
                let request = verification(failure, &line.config, route, verify)?;
                Some(Question { request, found: verify.found.clone() })
            }
            None => None,
        };
        let request = request(failure, &line.config, route)?;
        Ok(Dispatch { seq: failure.seq, upstream: index, ahead: false, verify, request })
    }

    /// The front of a strict order is looked for anew: something older may be there.
    pub(super) fn forget_front(&mut self) {
        for line in &mut self.lines {
            line.front = Seq(0);
        }
    }
}

/// What shares a way with this failure.
pub(super) fn route_of(failure: &Failure) -> Route {
    Route { entity_type: failure.entity_type.clone(), action: failure.action.clone() }
}
