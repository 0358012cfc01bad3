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
use crate::record::{Failure, Status};
use crate::store::StoreError;
use crate::wire::delivery::{request, verification};

/// What a look at one upstream found.
#[derive(Debug, Default)]
struct Look {
    /// Something could be sent, were the upstream's gates open.
    waits: bool,
    deadlines: Vec<AgentTime>,
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
        if !self.stopping && !self.moves() && self.unsettled.is_empty() && self.settle.refusal().is_none() {
            for index in (0..self.lines.len()).filter(|index| !self.yields(*index)).collect::<Vec<_>>() {
                match self.serve(now, index, effects) {
                    Ok(look) => next.extend(look.deadlines),
                    Err(error) => {
                        log::error!("event=claim_failed error={:?}", error.to_string());
                        self.settle.failed(now.agent, &error);
                        next.extend(self.settle.next());
                    }
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
        if self.lines[index].state.is_shut() {
            self.send_canary(now, index, effects, &mut look)?;
        } else {
            self.claim(now, index, effects, &mut look)?;
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
            return Ok(());
        }
        let found = if line.pace.ordering == Ordering::Strict {
            self.front(now, index, look)?
        } else {
            self.due(now, index, slots)?
        };
        let sent = found.len();
        for failure in found {
            self.dispatch(now, index, failure, false, effects);
        }
        if sent == slots {
            // There may be more. Where one at a time may start, the gate says when.
            look.waits = true;
            if self.lines[index].state.slots(now.agent, self.lines[index].pace) > 0 {
                look.deadlines.push(now.agent);
            }
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
        let line = &self.lines[index];
        let (name, untried_first) = (&line.config.name, line.state.prefers_untried());
        // Those in flight stand in the index too.
        let limit = self.in_flight.len() + if untried_first { WINDOW } else { slots };
        let mut found = self.store.due(name, now.agent, limit)?;
        found.extend(self.store.due_by_line(name, line.state.contact_seq, now.agent.before(LINE_WAIT), limit)?);
        found.retain(|failure| !self.in_flight.contains_key(&failure.seq));
        let since = |failure: &Failure| failure.due_at.unwrap_or_else(|| failure.recorded_at.after(LINE_WAIT));
        found.sort_by_key(|failure| (untried_first && failure.attempts > 0, since(failure), failure.seq));
        found.truncate(slots);
        Ok(found)
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
                self.dispatch(now, index, failure, true, effects);
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

    fn dispatch(&mut self, now: Moment, index: usize, mut failure: Failure, canary: bool, effects: &mut Vec<Effect>) {
        let built = self.build(index, &failure);
        let route = Route { entity_type: failure.entity_type.clone(), action: failure.action.clone() };
        let line = &mut self.lines[index];
        let errand = line.state.sent(now.agent, canary, &route, line.pace);
        let seq = failure.seq;
        failure.payload = None;
        let dossier = filing::dossier(&failure);
        self.in_flight.insert(seq, InFlight { failure, dossier, upstream: index, sent_at: now, errand });
        match built {
            Ok(dispatch) => effects.push(Effect::Send(Box::new(dispatch))),
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
        Ok(Dispatch { seq: failure.seq, upstream: index, verify, request: request(failure, &line.config, route)? })
    }

    /// The front of a strict order is looked for anew: something older may be there.
    pub(super) fn forget_front(&mut self) {
        for line in &mut self.lines {
            line.front = Seq(0);
        }
    }
}
