//! What people ask for: retry, flush, hold, release, pause, resume. Each leaves its line in the audit.
//!
//! An operation on many failures is a [`Campaign`]: the reader finds the next numbers, the agent
//! changes them in one round, until none is left. So a question over a million rows delays no
//! acknowledgement, and the loop's connection never scans.

use super::questions::found_one;
use super::{Agent, ClientId, Flow, Peer, Pending, actor, crowded, filing, rejection_of, selection};
use crate::ids::{FailureName, Seq};
use crate::limits::BULK_CHUNK;
use crate::moment::Moment;
use crate::policy::dossier::{Dossier, Standing};
use crate::policy::upstream::Upstream;
use crate::question::{Filter, View};
use crate::record::{Failure, Status};
use crate::store::StoreError;
use crate::store::audit::Actor;
use crate::wire::fields::{Code, Rejection};
use crate::wire::operation::{Bulk, Deed, Scope, Signature};
use crate::wire::reply::{self, Tally, Upstreams};
use serde_json::value::RawValue;

/// A bulk operation that is under way.
#[derive(Debug)]
pub(super) struct Campaign {
    deed: Deed,
    filter: Filter,
    after: Seq,
    dry_run: bool,
    actor: Actor,
    reason: Option<String>,
    reference: Option<Box<RawValue>>,
    tally: Tally,
}

/// What a person does to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    Pause,
    Resume,
}

/// What an operation does to one failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Changed,
    /// It was so already.
    Unchanged,
    /// It is in flight, or its state does not allow it.
    Skipped,
}

impl Agent {
    /// Begins an operation on many failures.
    pub(super) fn bulk(
        &mut self,
        now: Moment,
        client: ClientId,
        peer: &Peer,
        bulk: Bulk,
        reference: Option<&RawValue>,
    ) -> Flow {
        let campaign = Campaign {
            deed: bulk.deed,
            filter: Filter::default(),
            after: Seq(0),
            dry_run: bulk.dry_run,
            actor: actor(peer, &bulk.by),
            reason: bulk.by.reason,
            reference: reference.map(ToOwned::to_owned),
            tally: Tally::default(),
        };
        let (pending, flow) = match bulk.scope {
            Scope::Named(names) => (self.named_bulk(now, &names, campaign, reference), Flow::Go),
            Scope::Matching(_) if crowded(self.campaigns.len()) => {
                let rejection = Rejection::new(Code::Busy, "too many operations at once; send it again shortly");
                (Pending::Ready(reply::error(&rejection, reference)), Flow::Go)
            }
            Scope::Matching(filter) => {
                if bulk.deed == Deed::Flush && !bulk.dry_run {
                    self.release_waiting(now, filter.upstream.as_deref());
                }
                let question = selection(&filter, Seq(0));
                self.campaigns.insert(client, Campaign { filter, ..campaign });
                (Pending::Ask { question, view: View::Admin, reference: None }, Flow::Wait)
            }
        };
        self.round.replies.push((client, pending));
        flow
    }

    /// Failures named one by one: all names are looked up before anything is changed.
    fn named_bulk(
        &mut self,
        now: Moment,
        names: &[FailureName],
        mut campaign: Campaign,
        reference: Option<&RawValue>,
    ) -> Pending {
        let mut failures = Vec::new();
        for name in names {
            match found_one(name, self.store.look(name)) {
                Ok(looked) => failures.push(looked.failure),
                Err(rejection) => return Pending::Ready(reply::error(&rejection, reference)),
            }
        }
        if let [only] = &failures[..]
            && let Some(why) = self.obstacle(campaign.deed, only)
        {
            let message = format!("failure {} {why}", only.seq);
            return Pending::Ready(reply::error(&Rejection::new(Code::Conflict, message), reference));
        }
        let seqs: Vec<Seq> = failures.iter().map(|failure| failure.seq).collect();
        match self.write(|agent| agent.act_on(now, &mut campaign, &seqs)) {
            Ok(()) => Pending::Stored {
                line: reply::ok(&campaign.tally, reference),
                reference: reference.map(ToOwned::to_owned),
            },
            Err(rejection) => Pending::Ready(reply::error(&rejection, reference)),
        }
    }

    /// Why this cannot be done to this failure, in words.
    fn obstacle(&self, deed: Deed, failure: &Failure) -> Option<&'static str> {
        if self.in_flight.contains_key(&failure.seq) {
            return Some("is in flight; ask again when its request has ended");
        }
        match (deed, failure.status) {
            (Deed::Retry { .. }, Status::Held) => Some("is held; release it"),
            (Deed::Hold, Status::Held) => Some("is held already"),
            (Deed::Hold, Status::Critical) => {
                Some("needs a person and is not sent by itself; there is nothing to hold")
            }
            (Deed::Release, Status::Pending) => Some("is not held"),
            (Deed::Retry { .. } | Deed::Release, Status::Critical) if failure.upstream.is_none() => {
                Some("has no route; add one to the configuration and reload it: resyncd reload")
            }
            _ => None,
        }
    }

    /// The reader has found the next numbers of a campaign.
    pub(super) fn selected(&mut self, now: Moment, client: ClientId, found: Result<Vec<Seq>, StoreError>) {
        let Some(mut campaign) = self.campaigns.remove(&client) else { return self.more_leave(now, client, found) };
        let reference = campaign.reference.clone();
        let written = match found {
            Ok(seqs) => {
                let last = seqs.last().copied().filter(|_| seqs.len() == BULK_CHUNK);
                self.write(|agent| agent.act_on(now, &mut campaign, &seqs)).map(|()| last)
            }
            Err(error) => {
                self.settle.met(now.agent, &error);
                Err(rejection_of(&error))
            }
        };
        let pending = match written {
            Ok(Some(last)) => {
                campaign.after = last;
                let question = selection(&campaign.filter, last);
                self.campaigns.insert(client, campaign);
                Pending::Ask { question, view: View::Admin, reference: None }
            }
            Ok(None) => Pending::Stored { line: reply::ok(&campaign.tally, reference.as_deref()), reference },
            Err(rejection) => Pending::Ready(reply::error(&rejection, reference.as_deref())),
        };
        self.round.replies.push((client, pending));
    }

    /// A client has gone; what it began and is not done yet ends here.
    pub fn client_gone(&mut self, client: ClientId) {
        self.campaigns.remove(&client);
        self.asker_gone(client);
    }

    fn act_on(&mut self, now: Moment, campaign: &mut Campaign, seqs: &[Seq]) -> Result<(), StoreError> {
        self.watch.stir();
        for seq in seqs {
            let Some(failure) = self.store.by_seq(*seq)? else { continue };
            campaign.tally.matched += 1;
            if campaign.dry_run {
                continue;
            }
            let effect = match self.obstacle(campaign.deed, &failure) {
                Some(_) => Effect::Skipped,
                None => self.act(now, campaign, &failure)?,
            };
            match effect {
                Effect::Changed => campaign.tally.changed += 1,
                Effect::Skipped => campaign.tally.skipped += 1,
                Effect::Unchanged => {}
            }
        }
        Ok(())
    }

    fn act(&mut self, now: Moment, campaign: &Campaign, failure: &Failure) -> Result<Effect, StoreError> {
        match campaign.deed {
            Deed::Hold | Deed::Release if !(campaign.deed == Deed::Release && failure.status == Status::Critical) => {
                let mut dossier = filing::dossier(failure);
                dossier.standing = if campaign.deed == Deed::Hold { Standing::Held } else { Standing::Pending };
                self.store.refile(failure.seq, now, &filing::filed(&dossier))?;
            }
            Deed::Hold | Deed::Release | Deed::Retry { .. } => {
                let reset = campaign.deed == Deed::Retry { reset: true };
                let mut dossier = if reset { Dossier::fresh() } else { filing::dossier(failure) };
                dossier.ask();
                self.store.refile(failure.seq, now, &filing::filed(&dossier))?;
            }
            Deed::Flush => match failure.due_at {
                Some(due) if due > now.agent => self.store.due_now(failure.seq, now)?,
                // It waited for the line; `release_waiting` has ended that for all at once.
                None => return Ok(Effect::Changed),
                Some(_) => return Ok(Effect::Unchanged),
            },
        }
        let operation = campaign.deed.as_str();
        self.store.audit(now.wall, &campaign.actor, operation, Some(&failure.id), campaign.reason.as_deref())?;
        Ok(Effect::Changed)
    }

    /// What waits for the line need not wait for a probe any longer, and one goes out at once.
    fn release_waiting(&mut self, now: Moment, upstream: Option<&str>) {
        let newest = self.store.ledger().newest_seq();
        for line in self.lines.iter_mut().filter(|line| upstream.is_none_or(|name| name == line.config.name)) {
            line.state.flush(now.agent, newest);
        }
    }

    /// `pause` and `resume`, of one upstream or all.
    pub(super) fn gate(
        &mut self,
        now: Moment,
        peer: &Peer,
        by: &Signature,
        upstream: Option<&str>,
        gate: Gate,
        reference: Option<&RawValue>,
    ) -> Pending {
        let meant: Vec<usize> =
            (0..self.lines.len()).filter(|&n| upstream.is_none_or(|name| name == self.lines[n].config.name)).collect();
        if let (Some(name), true) = (upstream, meant.is_empty()) {
            let rejection = Rejection::new(Code::NotFound, format!("no upstream {name}")).about("upstream");
            return Pending::Ready(reply::error(&rejection, reference));
        }
        let actor = actor(peer, by);
        let operation = if gate == Gate::Pause { "pause" } else { "resume" };
        let names: Vec<String> = meant.iter().map(|&n| self.lines[n].config.name.clone()).collect();
        let written = self.write(|agent| {
            for &n in &meant {
                // The audit's reason names the upstream, for its rows have no column for one.
                let name = &agent.lines[n].config.name;
                let reason = by.reason.as_ref().map_or_else(|| name.clone(), |reason| format!("{name}: {reason}"));
                agent.store.audit(now.wall, &actor, operation, None, Some(&reason))?;
            }
            Ok(())
        });
        match written {
            Ok(()) => {
                self.round.gates.extend(meant.into_iter().map(|n| (n, gate)));
                Pending::Stored {
                    line: reply::ok(&Upstreams { upstreams: names }, reference),
                    reference: reference.map(ToOwned::to_owned),
                }
            }
            Err(rejection) => Pending::Ready(reply::error(&rejection, reference)),
        }
    }

    /// Does the round's pauses and resumes, last of all that changes an upstream in it; how those
    /// stood before, for the case that the round is not committed.
    pub(super) fn turn_gates(&mut self, now: Moment) -> Vec<(usize, Upstream)> {
        let newest = self.store.ledger().newest_seq();
        let gates = std::mem::take(&mut self.round.gates);
        let before = gates.iter().map(|(n, _)| (*n, self.lines[*n].state.clone())).collect();
        for (n, gate) in gates {
            match gate {
                Gate::Pause => self.lines[n].state.suspend(now),
                Gate::Resume => self.lines[n].state.resume(now, newest),
            }
        }
        before
    }

    /// What a person was told did not happen has not happened.
    pub(super) fn turn_back(&mut self, before: Vec<(usize, Upstream)>) {
        for (n, state) in before {
            self.lines[n].state = state;
        }
    }
}
