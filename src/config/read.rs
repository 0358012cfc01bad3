//! Reads the sections of the file; upstreams and routes have files of their own.

use super::table::{Document, Table};
use super::{AUTO, Agent, Config, Environment, Retry, value};
use crate::limits::{CardNumbers, Limits};
use crate::text::Language;
use std::iter;
use std::ops::RangeInclusive;
use std::time::Duration;

const SECONDS_TO_WEEK: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(7 * 86_400);

impl Document<'_> {
    /// Reads the whole configuration.
    pub(super) fn config(&mut self, around: &Environment) -> Config {
        let mut root = self.root();
        let [agent, retry, upstream, limits] =
            ["agent", "retry", "upstream", "limits"].map(|key| root.table(key, self));
        let [retention, alerts, heartbeat, metrics] =
            ["retention", "alerts", "heartbeat", "metrics"].map(|key| root.table(key, self));
        let routes = root.tables("route", self);
        let upstreams = self.upstreams(upstream);
        let config = Config {
            agent: self.agent(agent, around),
            retry: self.retry(retry),
            routes: self.routes(routes, &upstreams),
            upstreams,
            retention: self.retention(retention),
            alerts: self.alerts(alerts),
            heartbeat: self.heartbeat(heartbeat),
            limits: self.limits(limits),
            metrics: self.metrics(metrics),
        };
        root.finish(self);
        config
    }

    fn agent(&mut self, section: Option<Table>, around: &Environment) -> Agent {
        let Some(mut section) = section else { return Agent::default_for(around, None) };
        let state_dir = section.path("state_dir", self);
        let mut agent = Agent::default_for(around, state_dir);
        if let Some(id) = section.name_text("terminal_id", self) {
            agent.terminal_id = id;
        }
        agent.store_id = section.name_text("store_id", self);
        if let Some((log, _)) = section.read("log", self, value::log_filter) {
            agent.log = log;
        }
        if let Some(socket) = section.path("socket", self) {
            agent.socket = socket;
        }
        if let Some(socket) = section.path("admin_socket", self) {
            agent.admin_socket = socket;
        }
        let languages = Language::NAMED.map(|(name, language)| (name, Some(language)));
        let choices: Vec<_> = iter::once((AUTO, None)).chain(languages).collect();
        if let Some(language) = section.choice("language", &choices, self) {
            agent.language = language;
        }
        section.finish(self);
        agent
    }

    fn retry(&mut self, section: Option<Table>) -> Retry {
        let mut retry = Retry::default();
        let Some(mut section) = section else { return retry };
        if let Some(steps) = section.durations("backoff", 1..=20, &SECONDS_TO_WEEK, self) {
            retry.steps = steps;
        }
        if let Some(most) = section.number("max_retries", 1..=1_000_000, self) {
            retry.max_retries = u32::try_from(most).unwrap_or(u32::MAX);
        }
        if let Some(jitter) = section.share("jitter", self) {
            retry.jitter = jitter;
        }
        if let Some(batch) = section.number("batch", 1..=1000, self) {
            retry.batch = usize::try_from(batch).unwrap_or(1000);
        }
        section.finish(self);
        retry
    }

    fn limits(&mut self, section: Option<Table>) -> Limits {
        let mut limits = Limits::default();
        let Some(mut section) = section else { return limits };
        let in_memory = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        if let Some(most) = section.number("max_connections", 1..=100_000, self) {
            limits.max_connections = in_memory(most);
        }
        if let Some(bytes) = section.size("max_line", (1 << 10)..=(8 << 20), self) {
            limits.max_line = in_memory(bytes);
        }
        if let Some(bytes) = section.size("max_payload", 0..=(8 << 20), self) {
            limits.max_payload = in_memory(bytes);
        }
        if let Some(most) = section.number("max_failures", 1..=1_000_000_000, self) {
            limits.max_failures = most;
        }
        if let Some(bytes) = section.size("max_database", (1 << 20)..=(1 << 43), self) {
            limits.max_database = bytes;
        }
        if let Some(bytes) = section.size("min_free_disk", 0..=(1 << 43), self) {
            limits.min_free_disk = bytes;
        }
        let words = [("warn", CardNumbers::Warn), ("refuse", CardNumbers::Refuse), ("off", CardNumbers::Off)];
        limits.card_numbers = section.choice("card_numbers", &words, self).unwrap_or_default();
        section.finish(self);
        limits
    }
}
