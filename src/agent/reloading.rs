//! Applies a changed configuration without a restart (`reload`, SIGHUP).
//!
//! ```text
//! asked ─→ Reread ─→ the driver reads the files ─→ wrong: refused, the old one stays, `health` says so
//!                                                └→ right: requests that it concerns end ─→ in force
//! ```
//!
//! Upstreams, routes, retry, retention, alerts and the heartbeat change; the other sections keep their values from the
//! start, and the reply names them under `needs_restart`.
//!
//! **One attempt, one configuration.** An upstream whose configuration changes sends nothing more until its requests in
//! flight have ended, judged and on disk, which takes their time-out at most. When routes change, or the list of
//! upstreams, this applies to all upstreams; otherwise the others continue undisturbed. Then the whole configuration
//! changes at once, between two rounds. So an attempt is always judged by the configuration that it was sent under, no
//! request is in flight twice, and after the reply the next request uses the new configuration. The key of a failure
//! survives every change.
//!
//! **Routing** is then repeated as at a start ([`Agent::reroute`]), and nothing is sent before it is complete. A
//! failure stays with its upstream while that is configured and has a route for it, because it may have arrived there.
//! If its upstream was removed or renamed, the failure goes by the first route that matches. Without a match it becomes
//! critical with `no_route`; if it was that and has a route now, it becomes pending and due. Without any upstream all
//! stay where they are.
//!
//! **Order** depends on the heads, which the same work marks again where `ordering` has changed. Numbers do not change,
//! so failures are still sent in the order of recording.
//!
//! **A changed upstream** keeps the state stored under its name: paused stays paused, counts stay, and a `Retry-After`
//! holds. It is contacted as at a start, with a probe at once, and if it is blocked or failing the next canary comes
//! soon, because the cause may have been fixed. (The same applies to an unchanged upstream, because a file that its
//! configuration names may have changed.) Its sender's threads, connections and sessions are replaced. An upstream with
//! another name is another upstream.
//!
//! A new `retry` counts from the next outcome on: current delays continue, and critical failures stay critical.
//!
//! No progress of a reload is stored. After a crash in the middle, the start finds that routing and configuration
//! differ, and completes the work.

use super::events::Asker;
use super::{Agent, Effect, Peer, Pending, UpstreamEntry, actor};
use crate::config::problem::Problem;
use crate::config::{Config, Upstream as UpstreamConfig};
use crate::moment::Moment;
use crate::store::StoreError;
use crate::text::health as text;
use crate::wire::fields::{Code, Rejection};
use crate::wire::operation::RequestedBy;
use crate::wire::reply::{self, Reloaded};
use serde_json::value::RawValue;

/// A valid configuration that waits for requests in flight.
#[derive(Debug)]
pub(super) struct Reload {
    config: Box<Config>,
    /// The clients that get a reply when it is in force.
    askers: Vec<Asker>,
}

impl Agent {
    /// `reload`: audits the request, then has the driver read the files.
    pub(super) fn reload(
        &mut self,
        now: Moment,
        peer: &Peer,
        by: &RequestedBy,
        reference: Option<&RawValue>,
    ) -> Pending {
        let actor = actor(peer, by);
        let written = self.write(|agent| agent.store.audit(now.wall, &actor, "reload", None, by.reason.as_deref()));
        match written {
            Ok(()) => Pending::Reload { reference: reference.map(ToOwned::to_owned) },
            Err(rejection) => Pending::Ready(reply::error(&rejection, reference)),
        }
    }

    /// Takes the result of reading the files.
    pub(super) fn reread(&mut self, asker: Option<Asker>, found: Result<Box<Config>, Vec<Problem>>) {
        match found {
            Ok(config) => {
                self.refused_reload = None;
                // A reload that still waits is replaced; its clients get the new one's reply.
                let before = self.reload.take().map(|reload| reload.askers).unwrap_or_default();
                let askers = before.into_iter().chain(asker).collect();
                self.reload = Some(Reload { config, askers });
            }
            Err(problems) => {
                // Places only, because the lines themselves may contain secrets.
                let places: Vec<&str> = problems.iter().map(|problem| problem.place.as_str()).collect();
                let places = places.join(", ");
                log::error!("event=reload_refused errors={} places={places:?}", problems.len());
                self.refused_reload = Some(text::old_configuration(&places));
                if let Some(Asker { client, reference }) = asker {
                    let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
                    let rejection = Rejection::new(Code::BadRequest, all.join("\n"));
                    self.round.replies.push((client, Pending::Ready(reply::error(&rejection, reference.as_deref()))));
                }
            }
        }
    }

    /// Returns whether this upstream sends nothing because a changed configuration waits for it.
    pub(super) fn yields(&self, upstream: usize) -> bool {
        let Some(Reload { config, .. }) = &self.reload else { return false };
        let names = |upstream: &UpstreamConfig| upstream.name.clone();
        let same_list = self.config.upstreams.iter().map(names).eq(config.upstreams.iter().map(names));
        !same_list || self.config.routes != config.routes || self.is_renewed(upstream, config)
    }

    fn is_renewed(&self, upstream: usize, config: &Config) -> bool {
        self.upstreams.get(upstream).map(|line| &line.config) != config.upstreams.get(upstream)
    }

    /// Puts the changed configuration in force once no request that it affects is in flight.
    pub(super) fn take_over(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.stopping {
            let askers = self.reload.take().map(|reload| reload.askers).unwrap_or_default();
            let rejection = Rejection::new(Code::ShuttingDown, "the agent is stopping; its next start reads the files");
            effects.extend(askers.into_iter().map(|Asker { client, reference }| Effect::Reply {
                client,
                line: reply::error(&rejection, reference.as_deref()),
            }));
        }
        if self.reload.is_none() || self.write_recovery.refusal().is_some() || !self.unwritten_outcomes.is_empty() {
            return;
        }
        if self.in_flight.values().any(|flight| self.yields(flight.upstream)) {
            return;
        }
        let Some(reload) = self.reload.take() else { return };
        let told = differences(&self.config, &reload.config);
        match self.activate(now, &reload.config) {
            Ok(renewed) => {
                log::info!("event=reloaded changed={:?}", told.changed.join(" "));
                if !told.needs_restart.is_empty() {
                    log::warn!("event=reload_needs_restart sections={:?}", told.needs_restart.join(" "));
                }
                for Asker { client, reference } in reload.askers {
                    effects.push(Effect::Reply { client, line: reply::ok(&told, reference.as_deref()) });
                }
                effects.push(Effect::Reconfigured { config: Box::new(self.config.clone()), renewed });
            }
            Err(error) => {
                log::error!("event=reload_delayed error={:?}", error.to_string());
                self.write_recovery.failed(now.agent, &error);
                self.reload = Some(reload);
            }
        }
    }

    /// Replaces everything at once; returns the upstreams whose senders must be replaced. Changes nothing on an error.
    fn activate(&mut self, now: Moment, config: &Config) -> Result<Vec<usize>, StoreError> {
        let renewed: Vec<usize> =
            (0..config.upstreams.len()).filter(|&upstream| self.is_renewed(upstream, config)).collect();
        let mut fresh = Vec::new();
        for &upstream in &renewed {
            fresh.push(self.renewed_line(now, &config.upstreams[upstream])?);
        }
        let mut before: Vec<Option<UpstreamEntry>> =
            std::mem::take(&mut self.upstreams).into_iter().map(Some).collect();
        let mut fresh = fresh.into_iter();
        for upstream in 0..config.upstreams.len() {
            let kept = before.get_mut(upstream).and_then(Option::take).filter(|_| !renewed.contains(&upstream));
            self.upstreams.extend(kept.or_else(|| fresh.next()));
        }
        for upstream in (0..self.upstreams.len()).filter(|upstream| !renewed.contains(upstream)) {
            // A file that its configuration names may have changed.
            self.upstreams[upstream].state.changed(now, &mut self.random);
        }
        self.config = Config {
            agent: self.config.agent.clone(),
            limits: self.config.limits.clone(),
            metrics: self.config.metrics.clone(),
            ..config.clone()
        };
        self.clean_up_within_the_interval(now);
        self.alert_rules_are(now, &config.alerts, &config.heartbeat);
        let moved = self.moves();
        self.upkeep.clear();
        self.reset_strict_head();
        if let Err(error) = self.plan_upkeep() {
            // Whether routing has changed is unknown, so all failures are routed again.
            self.write_recovery.met(now.agent, &error);
            self.reroute();
        } else if moved {
            self.reroute();
        }
        Ok(renewed)
    }

    /// An upstream's entry with its new configuration and the state stored under its name.
    fn renewed_line(&mut self, now: Moment, config: &UpstreamConfig) -> Result<UpstreamEntry, StoreError> {
        let known = self.upstreams.iter().find(|line| line.config.name == config.name).map(|line| line.state.clone());
        let known = match known {
            None => self.store.upstream(&config.name)?,
            known => known,
        };
        let mut line = UpstreamEntry::new(config, known, now);
        line.state.changed(now, &mut self.random);
        Ok(line)
    }
}

/// The sections that a changed configuration changes, and those that need a restart.
fn differences(old: &Config, new: &Config) -> Reloaded {
    let mut changed = Vec::new();
    let of = |config: &Config, name: &str| config.upstreams.iter().find(|upstream| upstream.name == name).cloned();
    for upstream in old.upstreams.iter().chain(&new.upstreams) {
        let name = format!("upstream.{}", upstream.name);
        if of(old, &upstream.name) != of(new, &upstream.name) && !changed.contains(&name) {
            changed.push(name);
        }
    }
    let differ = |sections: &[(&str, bool)]| -> Vec<String> {
        sections.iter().filter(|(_, differs)| *differs).map(|(name, _)| (*name).to_owned()).collect()
    };
    changed.extend(differ(&[
        ("route", old.routes != new.routes),
        ("retry", old.retry != new.retry),
        ("retention", old.retention != new.retention),
        ("alerts", old.alerts != new.alerts),
        ("heartbeat", old.heartbeat != new.heartbeat),
    ]));
    let needs_restart = differ(&[
        ("agent", old.agent != new.agent),
        ("limits", old.limits != new.limits),
        ("metrics", old.metrics != new.metrics),
    ]);
    Reloaded { changed, needs_restart }
}
