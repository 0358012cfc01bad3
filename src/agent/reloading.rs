//! A changed configuration is taken over without a restart (`reload`, SIGHUP).
//!
//! ```text
//! asked ─→ Reread ─→ the driver reads the files ─→ wrong: refused, the old one stays, `health` says so
//!                                                └→ right: requests that it concerns end ─→ in force
//! ```
//!
//! Upstreams, routes, retry, retention, alerts and the heartbeat change; the other sections hold as
//! they were at the start, and the reply names them under `needs_restart`.
//!
//! **One try, one configuration.** An upstream whose configuration changes sends nothing more until
//! its requests in flight have ended, judged and on disk, which takes their time-out at most. When
//! routes change, or the list of upstreams, all of them do so; else the others go on undisturbed.
//! Then the whole changes between two rounds, at once. So a try is always judged by what it was sent
//! under, no request is under way twice, and whoever gets the reply knows that the next request goes
//! by the new configuration. The key of a failure is its own and survives every change (I4).
//!
//! **Where failures go** is then asked anew as at a start ([`Upkeep::Rehome`]), and nothing is sent
//! before all have their place: a failure stays with its upstream while that is configured and has a
//! route for it, because it may have arrived there; one whose upstream has gone or got another name
//! goes by the first route that takes it; one that none takes is critical with `no_route`; one that
//! was, and has a route now, is pending and due. Without any upstream all stay where they are.
//!
//! **Order** is held by the heads, which the same work marks anew where `ordering` has changed. The
//! numbers stay, so what was recorded first still goes first.
//!
//! **A changed upstream** keeps its name's state: paused stays paused, counts stay, and a
//! `Retry-After` holds. It is met as at a start, with a probe at once, and when it is blocked or
//! failing the next canary comes soon: perhaps that was mended. Its sender's threads, connections
//! and sessions are new. An upstream with another name is another upstream.
//!
//! A new `retry` counts from the next outcome on: waits that run go on, and what is critical stays so.
//!
//! Nothing of this is stored by itself. After a crash in the middle, the start finds that places and
//! configuration differ, and does the rest.

use super::events::Asker;
use super::upkeep::Upkeep;
use super::{Agent, Effect, Line, Peer, Pending, actor};
use crate::config::problem::Problem;
use crate::config::{Config, Upstream as UpstreamConfig};
use crate::ids::Seq;
use crate::moment::Moment;
use crate::store::StoreError;
use crate::wire::fields::{Code, Rejection};
use crate::wire::operation::Signature;
use crate::wire::reply::{self, Reloaded};
use serde_json::value::RawValue;

/// A right configuration that waits for requests in flight.
#[derive(Debug)]
pub(super) struct Reload {
    config: Box<Config>,
    /// Who is told when it is in force.
    askers: Vec<Asker>,
}

impl Agent {
    /// `reload`: who asked for it goes into the audit, then the driver reads the files.
    pub(super) fn reload(&mut self, now: Moment, peer: &Peer, by: &Signature, reference: Option<&RawValue>) -> Pending {
        let actor = actor(peer, by);
        let written = self.write(|agent| agent.store.audit(now.wall, &actor, "reload", None, by.reason.as_deref()));
        match written {
            Ok(()) => Pending::Reload { reference: reference.map(ToOwned::to_owned) },
            Err(rejection) => Pending::Ready(reply::error(&rejection, reference)),
        }
    }

    /// The files were read.
    pub(super) fn reread(&mut self, asker: Option<Asker>, found: Result<Box<Config>, Vec<Problem>>) {
        match found {
            Ok(config) => {
                self.refused_reload = None;
                // One that still waits is overtaken; who asked for it learns what came instead.
                let before = self.reload.take().map(|reload| reload.askers).unwrap_or_default();
                let askers = before.into_iter().chain(asker).collect();
                self.reload = Some(Reload { config, askers });
            }
            Err(problems) => {
                // Places only: the lines themselves may hold what belongs into no log.
                let places: Vec<&str> = problems.iter().map(|problem| problem.place.as_str()).collect();
                let places = places.join(", ");
                log::error!("event=reload_refused errors={} places={places:?}", problems.len());
                self.refused_reload = Some(format!(
                    "the changed configuration is wrong ({places}) and the old one in force; see: resyncd config check"
                ));
                if let Some(Asker { client, reference }) = asker {
                    let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
                    let rejection = Rejection::new(Code::BadRequest, all.join("\n"));
                    self.round.replies.push((client, Pending::Ready(reply::error(&rejection, reference.as_deref()))));
                }
            }
        }
    }

    /// Does this upstream send nothing because a changed configuration waits for it?
    pub(super) fn yields(&self, upstream: usize) -> bool {
        let Some(Reload { config, .. }) = &self.reload else { return false };
        let names = |upstream: &UpstreamConfig| upstream.name.clone();
        let same_list = self.config.upstreams.iter().map(names).eq(config.upstreams.iter().map(names));
        !same_list || self.config.routes != config.routes || self.is_renewed(upstream, config)
    }

    fn is_renewed(&self, upstream: usize, config: &Config) -> bool {
        self.lines.get(upstream).map(|line| &line.config) != config.upstreams.get(upstream)
    }

    /// The changed configuration comes into force, when nothing that it concerns is under way.
    pub(super) fn take_over(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.stopping {
            let askers = self.reload.take().map(|reload| reload.askers).unwrap_or_default();
            let rejection = Rejection::new(Code::ShuttingDown, "the agent is stopping; its next start reads the files");
            effects.extend(askers.into_iter().map(|Asker { client, reference }| Effect::Reply {
                client,
                line: reply::error(&rejection, reference.as_deref()),
            }));
        }
        if self.reload.is_none() || self.settle.refusal().is_some() || !self.unsettled.is_empty() {
            return;
        }
        if self.in_flight.values().any(|flight| self.yields(flight.upstream)) {
            return;
        }
        let Some(reload) = self.reload.take() else { return };
        let told = differences(&self.config, &reload.config);
        match self.put_in_force(now, &reload.config) {
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
                self.settle.failed(now.agent, &error);
                self.reload = Some(reload);
            }
        }
    }

    /// Everything at once; which upstreams' senders are to be new. Changes nothing when it fails.
    fn put_in_force(&mut self, now: Moment, config: &Config) -> Result<Vec<usize>, StoreError> {
        let renewed: Vec<usize> =
            (0..config.upstreams.len()).filter(|&upstream| self.is_renewed(upstream, config)).collect();
        let mut fresh = Vec::new();
        for &upstream in &renewed {
            fresh.push(self.renewed_line(now, &config.upstreams[upstream])?);
        }
        let mut before: Vec<Option<Line>> = std::mem::take(&mut self.lines).into_iter().map(Some).collect();
        let mut fresh = fresh.into_iter();
        for upstream in 0..config.upstreams.len() {
            let kept = before.get_mut(upstream).and_then(Option::take).filter(|_| !renewed.contains(&upstream));
            self.lines.extend(kept.or_else(|| fresh.next()));
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
        self.forget_front();
        if let Err(error) = self.plan_upkeep() {
            // It could not be asked whether anything has to move; then everything is looked at.
            self.settle.met(now.agent, &error);
            self.upkeep.push_back(Upkeep::Rehome { after: Seq(0) });
        } else if moved && !self.moves() && !self.lines.is_empty() {
            self.upkeep.push_back(Upkeep::Rehome { after: Seq(0) });
        }
        Ok(renewed)
    }

    /// A line whose configuration is new, standing where its name stood.
    fn renewed_line(&mut self, now: Moment, config: &UpstreamConfig) -> Result<Line, StoreError> {
        let known = self.lines.iter().find(|line| line.config.name == config.name).map(|line| line.state.clone());
        let known = match known {
            None => self.store.upstream(&config.name)?,
            known => known,
        };
        let mut line = Line::new(config, known, now);
        line.state.changed(now, &mut self.random);
        Ok(line)
    }
}

/// What a changed configuration changes, and what of it only a restart will.
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
