//! Sending: claims due failures, starts canaries and probes, and computes when to run again. Only reads the store; a
//! claimed failure is in flight in memory, and after a crash it is pending again.

use super::outcomes::InFlight;
use super::{Agent, Dispatch, Effect, Question, retry_columns};
use crate::config::route::OnUnsure;
use crate::config::upstream::Ordering;
use crate::ids::Seq;
use crate::limits::MAX_ROUTES;
use crate::moment::{AgentTime, Moment};
use crate::policy::backoff::CONTACT_GRACE;
use crate::policy::canary::Route;
use crate::policy::ending::Ending;
use crate::policy::upstream::DispatchKind;
use crate::record::{Content, Failure, Status};
use crate::store::StoreError;
use crate::wire::delivery::{request, verification};
use std::rc::Rc;

/// Result of polling one upstream for work.
#[derive(Debug, Default)]
struct Look {
    /// Failures would be sent if the upstream's gates were open.
    waits: bool,
    deadlines: Vec<AgentTime>,
}

/// Number of routes compared when choosing a canary. It exceeds the number of routes that the upstream's memory
/// distinguishes, so at least one of them was not attempted recently.
const CANARY_ROUTES: usize = 64;

/// The failure that tests whether an unavailable upstream has recovered.
enum Scout {
    Goes(Box<Failure>),
    /// Every candidate has a route that holds failures which may have arrived.
    Holds,
    /// None, before this time.
    Nobody {
        until: Option<AgentTime>,
    },
}

/// Why a request is handed to a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The failure's regular turn.
    Own,
    /// It tests whether the upstream has recovered.
    Canary,
    /// It is prefetched.
    Ahead,
}

impl Agent {
    /// Applies a pending configuration, then claims what may be sent now, starts probes, and computes when to run
    /// again.
    pub(super) fn schedule(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        self.take_over(now, effects);
        let mut next: Vec<AgentTime> = self
            .write_recovery
            .next()
            .into_iter()
            .chain(self.upkeep_due(now.agent))
            .chain(self.leaving_due(now.agent))
            .chain(self.store.remembers_at())
            .collect();
        let sends = !self.stopping
            && !self.moves()
            && (!self.store.is_searching_failures() || self.odd_again.is_some())
            && self.unwritten_outcomes.is_empty()
            && self.write_recovery.refusal().is_none();
        for index in 0..self.upstreams.len() {
            if !sends || self.yields(index) {
                self.recall(index, effects);
                continue;
            }
            match self.serve(now, index, effects) {
                Ok(look) => next.extend(look.deadlines),
                Err(error) => {
                    log::error!("event=claim_failed error={:?}", error.to_string());
                    self.write_recovery.failed(now.agent, &error);
                    next.extend(self.write_recovery.next());
                }
            }
        }
        self.send_announced(now, effects);
        next.extend(self.write_recovery.next());
        let landed = self.has_landed_doubtful() && self.write_recovery.refusal().is_none();
        if !self.unbuilt.is_empty() || landed {
            next.push(now.agent);
        }
        let clears = self.store.is_searching() || self.store.has_odd_rows();
        if clears && self.write_recovery.refusal().is_none() {
            next.push(self.odd_again.unwrap_or(now.agent));
        }
        next.extend(self.watch_on(now, effects));
        self.next = next.into_iter().min();
    }

    /// Starts a probe, a canary or deliveries for one upstream, as far as its limits allow.
    fn serve(&mut self, now: Moment, index: usize, effects: &mut Vec<Effect>) -> Result<Look, StoreError> {
        let mut look = Look::default();
        if !self.may_prefetch(now, index) {
            self.recall(index, effects);
        }
        if self.upstreams[index].state.is_shut() {
            self.send_canary(now, index, effects, &mut look)?;
        } else {
            self.store.begin_read()?;
            let claimed = self.claim(now, index, effects, &mut look);
            self.store.end_read()?;
            claimed?;
        }
        let newest = self.store.ledger().newest_seq();
        let line = &mut self.upstreams[index];
        let may_wait = line.state.may_be_overtaken() && newest > line.state.contact_seq;
        if may_wait && self.store.any_awaiting_contact(&line.config.name, line.state.contact_seq)? {
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
        let line = &self.upstreams[index];
        let slots = line.state.slots(now.agent, line.pace).min(self.config.retry.batch);
        if slots == 0 {
            look.waits = true; // Perhaps; checked when the gate opens.
            return self.prefetch_ready(now, index, effects);
        }
        if self.upstreams[index].ahead > 0 {
            // Prefetched requests come first.
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
            // There may be more. Where only one request at a time may start, the gate has the time.
            look.waits = true;
            if self.upstreams[index].state.slots(now.agent, self.upstreams[index].pace) > 0 {
                look.deadlines.push(now.agent);
            }
            self.prefetch_ready(now, index, effects)?;
        } else if self.upstreams[index].pace.ordering != Ordering::Strict {
            let line = &self.upstreams[index];
            let by_line = self.store.next_after_contact(
                &line.config.name,
                line.state.contact_seq,
                now.agent.before(CONTACT_GRACE),
            )?;
            look.deadlines.extend(self.store.next_due(&line.config.name, now.agent)?);
            look.deadlines.extend(by_line.map(|at| at.after(CONTACT_GRACE)));
        }
        Ok(())
    }

    /// The next `slots` failures that may be sent, ordered by when they became due; while the pacing delay runs,
    /// failures without an attempt come first.
    fn due(&self, now: Moment, index: usize, slots: usize) -> Result<Vec<Failure>, StoreError> {
        /// Number of a route's oldest failures that are searched for one without an attempt.
        const WINDOW: usize = 64;
        let line = &self.upstreams[index];
        let mut seqs = Vec::new();
        if line.state.prefers_untried() {
            let mut untried = self.store.due_untried(&line.config.name, now.agent, WINDOW)?;
            untried.extend(self.due_after_contact(now, index, slots)?);
            untried.retain(|(seq, _)| !self.in_flight.contains_key(seq));
            untried.sort_unstable_by_key(|(seq, since)| (*since, *seq));
            seqs.extend(untried.into_iter().map(|(seq, _)| seq).take(slots));
        }
        if seqs.len() < slots {
            let others = self.due_seqs(now, index, slots)?;
            let new: Vec<Seq> = others.into_iter().filter(|seq| !seqs.contains(seq)).collect();
            seqs.extend(new.into_iter().take(slots - seqs.len()));
        }
        self.store.by_seqs(&seqs, usize::MAX)
    }

    /// Failures that waited for contact with the upstream and no longer have to, with when that ended.
    fn due_after_contact(&self, now: Moment, index: usize, most: usize) -> Result<Vec<(Seq, AgentTime)>, StoreError> {
        let line = &self.upstreams[index];
        let limit = self.in_flight.len() + most;
        let found = self.store.due_after_contact(
            &line.config.name,
            line.state.contact_seq,
            now.agent.before(CONTACT_GRACE),
            limit,
        )?;
        Ok(found.into_iter().map(|(seq, recorded_at)| (seq, recorded_at.after(CONTACT_GRACE))).collect())
    }

    /// The numbers of the next `most` failures that may be sent, ordered by when they became due.
    pub(super) fn due_seqs(&self, now: Moment, index: usize, most: usize) -> Result<Vec<Seq>, StoreError> {
        // The index contains those in flight too.
        let limit = self.in_flight.len() + most;
        let mut found = self.store.due(&self.upstreams[index].config.name, now.agent, limit)?;
        found.extend(self.due_after_contact(now, index, most)?);
        found.retain(|(seq, _)| !self.in_flight.contains_key(seq));
        found.sort_unstable_by_key(|(seq, since)| (*since, *seq));
        Ok(found.into_iter().take(most).map(|(seq, _)| seq).collect())
    }

    /// Under strict order: the oldest live failure of the upstream, if it may be sent now.
    fn front(&mut self, now: Moment, index: usize, look: &mut Look) -> Result<Vec<Failure>, StoreError> {
        let newest = self.store.ledger().newest_seq();
        let line = &mut self.upstreams[index];
        let Some(front) = self.store.front(&line.config.name, line.front)? else {
            // New failures get higher numbers than all others, so nothing is scanned twice.
            line.front = Seq(newest.saturating_add(1));
            return Ok(Vec::new());
        };
        line.front = front.seq;
        let due_at = match front.due_at {
            None if front.seq.0 <= line.state.contact_seq => Some(front.recorded_at.after(CONTACT_GRACE)),
            due_at => due_at,
        };
        if front.content != Content::Sound {
            self.store.note_odd(&[front.seq.0]);
        }
        // Whatever made it due, a `Retry-After` that the upstream set for it still holds.
        let bound = retry_columns::retry_state(&front).retry_after_until;
        let due_at = due_at.map(|at| bound.map_or(at, |bound| bound.max(at)));
        let free = front.status == Status::Pending
            && front.head
            && front.content == Content::Sound
            && !self.in_flight.contains_key(&front.seq);
        match due_at.filter(|_| free) {
            Some(at) if at <= now.agent => return Ok(vec![front]),
            Some(at) => look.deadlines.push(at),
            None => {}
        }
        Ok(Vec::new())
    }

    /// While the upstream is unavailable: sends one failure as a canary. Takes the least recently attempted head of the
    /// least recently attempted route, whatever its retry step.
    fn send_canary(
        &mut self,
        now: Moment,
        index: usize,
        effects: &mut Vec<Effect>,
        look: &mut Look,
    ) -> Result<(), StoreError> {
        look.waits = true; // Perhaps; checked when a canary may go.
        if !self.upstreams[index].state.canary_due(now.agent) {
            return Ok(());
        }
        match self.canary(now, index)? {
            Scout::Goes(failure) => self.dispatch(now, index, *failure, Turn::Canary, effects),
            Scout::Holds if self.every_route_holds(index) => {
                self.upstreams[index].state.ask_instead_of_canary(now.agent, &mut self.random);
            }
            Scout::Holds => look.waits = false,
            // A failure with a `Retry-After` of its own may go when that ends.
            Scout::Nobody { until } => {
                look.waits = false;
                look.deadlines.extend(until);
            }
        }
        Ok(())
    }

    /// Chooses the canary.
    fn canary(&mut self, now: Moment, index: usize) -> Result<Scout, StoreError> {
        if self.upstreams[index].pace.ordering == Ordering::Strict {
            return self.strict_canary(now, index);
        }
        let line = &self.upstreams[index];
        let name = line.config.name.clone();
        let mut holds = false;
        let mut from = line.canary_after.clone();
        for _ in 0..MAX_ROUTES.div_ceil(CANARY_ROUTES) {
            let mut routes = self.store.head_routes(&name, &from, CANARY_ROUTES)?;
            let Some((last, all)) = routes.last().cloned().map(|last| (last, routes.len() < CANARY_ROUTES)) else {
                break;
            };
            let recent = self.upstreams[index].state.routes();
            routes.sort_by_key(|(entity_type, action)| {
                recent.recency(&Route { entity_type: entity_type.clone(), action: action.clone() })
            });
            for route in routes {
                let limit = self.in_flight.len() + 1;
                let heads = self.store.least_recently_attempted(&name, (&route.0, &route.1), now.agent, limit)?;
                let (held, free): (Vec<_>, Vec<_>) = heads
                    .into_iter()
                    .filter(|head| !self.in_flight.contains_key(&head.seq))
                    .partition(|head| self.holds_when_unsure(head));
                holds |= !held.is_empty();
                for head in free {
                    // With its payload, unless its content was altered.
                    if let Some(found) = self.store.by_seqs(&[head.seq], usize::MAX)?.pop() {
                        self.upstreams[index].canary_after = route;
                        return Ok(Scout::Goes(Box::new(found)));
                    }
                }
            }
            from = last;
            if all {
                break;
            }
        }
        // With more routes than are compared at once, the next search continues after these.
        self.upstreams[index].canary_after = from;
        if holds { Ok(Scout::Holds) } else { Ok(Scout::Nobody { until: self.store.next_due(&name, now.agent)? }) }
    }

    /// Under strict order only the front may be the canary.
    fn strict_canary(&self, now: Moment, index: usize) -> Result<Scout, StoreError> {
        let line = &self.upstreams[index];
        let front = self.store.front(&line.config.name, line.front)?;
        let free = |front: &Failure| {
            front.status == Status::Pending
                && front.head
                && front.content == Content::Sound
                && !self.in_flight.contains_key(&front.seq)
        };
        let Some(front) = front.filter(free) else { return Ok(Scout::Nobody { until: None }) };
        let until = retry_columns::retry_state(&front).retry_after_until.filter(|until| *until > now.agent);
        Ok(match until {
            Some(_) => Scout::Nobody { until },
            None if self.holds_when_unsure(&front) => Scout::Holds,
            None => Scout::Goes(Box::new(front)),
        })
    }

    /// Returns whether no failure may ever serve as a canary, because every route holds.
    fn every_route_holds(&self, index: usize) -> bool {
        let name = &self.upstreams[index].config.name;
        self.config.routes.iter().filter(|route| route.upstream == *name).all(|route| route.on_unsure == OnUnsure::Hold)
    }

    fn holds_when_unsure(&self, failure: &Failure) -> bool {
        self.route(failure).is_some_and(|route| route.on_unsure == OnUnsure::Hold)
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
        let announced = self.is_announced(&failure);
        let line = &mut self.upstreams[index];
        let dispatch_kind = match turn {
            Turn::Own => line.state.sent(now.agent, false, &route_of(&failure), line.pace),
            Turn::Canary => line.state.sent(now.agent, true, &route_of(&failure), line.pace),
            Turn::Ahead => {
                line.ahead += 1;
                DispatchKind::Turn
            }
        };
        let (seq, ahead) = (failure.seq, turn == Turn::Ahead);
        failure.payload = None;
        let retry_state = retry_columns::retry_state(&failure);
        let failure = Rc::new(failure);
        self.in_flight
            .insert(seq, InFlight { failure, retry_state, upstream: index, sent_at: now, dispatch_kind, ahead });
        match built {
            Ok(dispatch) if announced => self.announced.push(dispatch),
            Ok(dispatch) => effects.push(Effect::Send(Box::new(Dispatch { ahead, ..dispatch }))),
            Err(why) => self.unbuilt.push((seq, Ending::InvalidRequest(why))),
        }
    }

    /// Returns whether a failure of this route is stored as unsure before it is sent.
    pub(super) fn is_announced(&self, failure: &Failure) -> bool {
        self.route(failure).is_some_and(|route| route.on_unsure != OnUnsure::Resend)
    }

    /// Requests whose routes verify or hold are sent only after a commit has stored that they may have arrived: one
    /// extra commit. If it fails they are not sent and stay pending.
    fn send_announced(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let announced = std::mem::take(&mut self.announced);
        if announced.is_empty() {
            return;
        }
        match self.announce(now, &announced) {
            Ok(()) => effects.extend(announced.into_iter().map(|dispatch| Effect::Send(Box::new(dispatch)))),
            Err(error) => {
                log::error!("event=commit_failed error={:?}", error.to_string());
                self.store.rollback();
                for dispatch in announced {
                    let state = &mut self.upstreams[dispatch.upstream].state;
                    state.not_sent();
                    state.under_way.retain(|seq| *seq != dispatch.seq);
                    self.in_flight.remove(&dispatch.seq);
                }
                self.fail(now, Vec::new(), &error);
            }
        }
    }

    fn announce(&mut self, now: Moment, announced: &[Dispatch]) -> Result<(), StoreError> {
        self.store.begin()?;
        for dispatch in announced {
            self.store.may_have_arrived(dispatch.seq)?;
            self.upstreams[dispatch.upstream].state.under_way.push(dispatch.seq);
        }
        for index in 0..self.upstreams.len() {
            if announced.iter().any(|dispatch| dispatch.upstream == index) {
                self.keep_line(now, index)?;
            }
        }
        self.store.commit(now)
    }

    fn build(&self, index: usize, failure: &Failure) -> Result<Dispatch, String> {
        let (line, route) = (&self.upstreams[index], self.route(failure));
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

    /// Invalidates the cached front of strict upstreams: an older failure may have appeared.
    pub(super) fn reset_strict_head(&mut self) {
        for line in &mut self.upstreams {
            line.front = Seq(0);
        }
    }
}

/// The failure's route, as canaries distinguish them.
pub(super) fn route_of(failure: &Failure) -> Route {
    Route { entity_type: failure.entity_type.clone(), action: failure.action.clone() }
}
