//! Every effective value and its origin, as shown to operators and pasted into tickets, so possible secrets are
//! masked. The configuration should contain none, as they belong in files; but headers, URLs of webhooks and
//! templates can.
//!
//! All structs are destructured completely, so that a new field that is not shown does not compile.

use super::filling::Part;
use super::route::{self, Body, OnRefused, OnUnsure};
use super::template::{Piece, Template};
use super::upstream::{self, AnswerRule, Authorization, Credentials, Expect, Login, MaxAge, Ordering, Rate};
use super::value::{bare, quoted, shown_duration, shown_size};
use super::{AUTO, Agent, Alerts, Config, DEFAULT_UPSTREAM, Heartbeat, Metrics, Origins, Overrides, Retention, Retry};
use crate::limits::{CardNumbers, Limits};
use crate::text::Language;
use std::path::Path;
use std::time::Duration;

/// One key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Header of the table: `[upstream.hq]`, `[[route]]`.
    pub header: String,
    /// The whole name, with the index of tables in a list: `route[0].path`.
    pub path: String,
    /// The name within the table.
    pub key: String,
    /// The value as TOML; `None` if it is not set and has no default.
    pub value: Option<String>,
    /// `default`, `/etc/resyncd/resyncd.toml:7`, `RESYNCD_SOCKET`, `--log`.
    pub origin: String,
}

/// All settings, in the order in which `config show` prints them.
#[must_use]
pub fn settings(config: &Config, origins: &Origins, overrides: &Overrides) -> Vec<Setting> {
    let Config { agent, retry, upstreams, routes, retention, alerts, heartbeat, limits, metrics } = config;
    let mut list = List { origins, overrides, settings: Vec::new(), header: String::new(), path: String::new() };
    list.agent(agent);
    list.retry(retry);
    upstreams.iter().for_each(|upstream| list.upstream(upstream));
    routes.iter().enumerate().for_each(|(n, route)| list.route(n, route));
    list.retention(retention);
    list.alerts(alerts);
    list.heartbeat(heartbeat);
    list.limits(limits);
    list.metrics(metrics);
    list.settings
}

struct List<'a> {
    origins: &'a Origins,
    overrides: &'a Overrides,
    settings: Vec<Setting>,
    header: String,
    path: String,
}

impl List<'_> {
    fn table(&mut self, path: &str) {
        (self.header, self.path) = (format!("[{path}]"), path.to_owned());
    }

    fn add(&mut self, key: &str, value: impl Into<Option<String>>) {
        let path = format!("{}.{key}", self.path);
        let given = self.given(&path);
        let origin = given.or_else(|| self.origins.of(&path).map(str::to_owned));
        let (header, value) = (self.header.clone(), value.into());
        let origin = origin.unwrap_or_else(|| "default".to_owned());
        self.settings.push(Setting { header, path, key: key.to_owned(), value, origin });
    }

    /// The flag or variable that sets the value; the upstream of one replaces all of the file's.
    fn given(&self, path: &str) -> Option<String> {
        let Overrides { state_dir, socket, admin_socket, upstream, log } = self.overrides;
        let name = |given: &Option<(_, &'static str)>| given.as_ref().map(|(_, name): &(_, _)| (*name).to_owned());
        match path {
            "agent.state_dir" => name(state_dir),
            "agent.socket" => name(socket),
            "agent.admin_socket" => name(admin_socket),
            "agent.log" => log.as_ref().map(|(_, name)| (*name).to_owned()),
            _ if path.starts_with("upstream.") => {
                let (_, name) = upstream.as_ref()?;
                let url = path == format!("upstream.{DEFAULT_UPSTREAM}.url");
                Some(if url { (*name).to_owned() } else { "default".to_owned() })
            }
            _ => None,
        }
    }

    fn agent(&mut self, agent: &Agent) {
        let Agent { terminal_id, store_id, log, state_dir, socket, admin_socket, language } = agent;
        self.table("agent");
        self.add("terminal_id", quoted(terminal_id));
        self.add("store_id", store_id.as_deref().map(quoted));
        self.add("log", quoted(log));
        self.add("state_dir", file(state_dir));
        self.add("socket", file(socket));
        self.add("admin_socket", file(admin_socket));
        self.add("language", quoted(language.map_or(AUTO, Language::as_str)));
    }

    fn retry(&mut self, retry: &Retry) {
        let Retry { steps, max_retries, jitter, batch } = retry;
        self.table("retry");
        self.add("backoff", list(steps.iter().map(|step| shown_duration(*step))));
        self.add("max_retries", max_retries.to_string());
        self.add("jitter", decimal(*jitter));
        self.add("batch", batch.to_string());
    }

    fn upstream(&mut self, upstream: &upstream::Upstream) {
        let upstream::Upstream {
            name,
            url,
            timeout,
            total_timeout,
            connect_timeout,
            concurrency,
            max_rate,
            max_pause,
            ..
        } = upstream;
        let upstream::Upstream { ordering, probe, expect, expect_id, connection, credentials, .. } = upstream;
        let upstream::Upstream { idempotency_header, adapter, answers, .. } = upstream;
        let path = format!("upstream.{}", bare(name));
        self.table(&path);
        self.add("url", quoted(&masked(url)));
        self.credentials(credentials);
        self.add("timeout", shown_duration(*timeout));
        self.add("total_timeout", shown_duration(*total_timeout));
        self.add("connect_timeout", shown_duration(*connect_timeout));
        self.add("concurrency", concurrency.to_string());
        self.add("max_rate", max_rate.map(rate));
        self.add("max_pause", shown_duration(*max_pause));
        let order = match ordering {
            Ordering::Key => "key",
            Ordering::Strict => "strict",
            Ordering::None => "none",
        };
        self.add("ordering", quoted(order));
        self.add("probe_url", quoted(&masked(&probe.url)));
        self.add("probe_method", quoted(probe.method.as_str()));
        self.add("probe_idle", shown_duration(probe.idle.unwrap_or_default()));
        let proof = match expect {
            Expect::Any => "any",
            Expect::Html => "html",
            Expect::Json => "json",
        };
        self.add("expect", quoted(proof));
        self.add("expect_id", expect_id.as_deref().map(quoted));
        let upstream::Connection { insecure, ca_file, client_cert, proxy, proxy_auth, proxy_tunnel, no_proxy } =
            connection;
        self.add("ca_file", ca_file.as_deref().map(file));
        self.add("client_cert", client_cert.as_ref().map(|(cert, _)| file(cert)));
        self.add("client_key", client_cert.as_ref().map(|(_, key)| file(key)));
        self.add("proxy", proxy.as_deref().map(|proxy| quoted(&masked(proxy))));
        self.add("proxy_auth_file", proxy_auth.as_deref().map(file));
        self.add("proxy_tunnel", quoted(proxy_tunnel.as_str()));
        self.add("no_proxy", texts(no_proxy));
        self.add("insecure", insecure.to_string());
        self.add("adapter", adapter.to_string());
        self.add("idempotency_header", quoted(idempotency_header.as_deref().unwrap_or_default()));
        if let Some(login) = &credentials.login {
            self.table(&format!("{path}.login"));
            self.login(login);
        }
        for (n, rule) in answers.iter().enumerate() {
            (self.header, self.path) = (format!("[[{path}.answer]]"), format!("{path}.answer[{n}]"));
            self.answer(rule);
        }
    }

    fn credentials(&mut self, credentials: &Credentials) {
        let Credentials { authorization, headers, header_files, login: _ } = credentials;
        let (token, basic) = match authorization {
            Authorization::None => (None, None),
            Authorization::Token(path) => (Some(path), None),
            Authorization::Basic(path) => (None, Some(path)),
        };
        self.add("token_file", token.map(|path| file(path)));
        self.add("basic_file", basic.map(|path| file(path)));
        self.headers(headers);
        for (name, path) in header_files {
            self.add(&format!("header_files.{}", bare(name)), file(path));
        }
    }

    fn headers(&mut self, headers: &[(String, String)]) {
        for (name, value) in headers {
            let shown = if is_secret_name(name) { MASK.to_owned() } else { masked(value) };
            self.add(&format!("headers.{}", bare(name)), quoted(&shown));
        }
    }

    fn login(&mut self, login: &Login) {
        let Login { url, body_file, content_type, cookies, header, max_age } = login;
        self.add("url", quoted(&masked(url)));
        self.add("body_file", file(body_file));
        self.add("content_type", quoted(content_type));
        self.add("cookies", texts(cookies));
        let shown = header.as_ref().map(|(name, value)| {
            // What the answer brings is no secret here; a text without it may be one.
            let fixed = value.0.iter().all(|part| matches!(part, Part::Literal(_)));
            let value = if is_secret_name(name) && fixed { MASK.to_owned() } else { value.to_string() };
            quoted(&format!("{name}: {value}"))
        });
        self.add("header", shown);
        let age = match max_age {
            MaxAge::Unknown => None,
            MaxAge::Fixed(age) => Some(shown_duration(*age)),
            MaxAge::Pointer(pointer) => Some(quoted(&format!("{{{pointer}}}"))),
        };
        self.add("max_age", age);
    }

    fn answer(&mut self, rule: &AnswerRule) {
        let AnswerRule { status, json, present, nonempty, contains, is, message } = rule;
        self.add("status", list(status.iter().map(ToString::to_string)));
        for (pointer, value) in json {
            self.add(&format!("json.{}", bare(pointer)), value.to_string());
        }
        self.add("present", present.as_deref().map(quoted));
        self.add("nonempty", nonempty.as_deref().map(quoted));
        self.add("contains", contains.as_deref().map(quoted));
        self.add("is", quoted(is.as_str()));
        self.add("message", message.as_deref().map(quoted));
    }

    fn route(&mut self, n: usize, route: &route::Route) {
        let route::Route { entity_type, action, upstream, method, path, body, content_type, .. } = route;
        let route::Route { headers, accept_statuses, on_refused, on_unsure, verify, editable, .. } = route;
        (self.header, self.path) = ("[[route]]".to_owned(), format!("route[{n}]"));
        self.add("entity_type", quoted(entity_type.as_deref().unwrap_or("*")));
        self.add("action", quoted(action.as_deref().unwrap_or("*")));
        self.add("upstream", quoted(upstream));
        self.add("method", quoted(method.as_str()));
        self.add("path", quoted(&masked_template(path)));
        let (kind, template) = match body {
            Body::Payload => ("payload", None),
            Body::Envelope => ("envelope", None),
            Body::None => ("none", None),
            Body::Template(template) => ("template", Some(template)),
        };
        self.add("body", quoted(kind));
        self.add("template", template.map(|template| quoted(&masked_template(template))));
        self.add("content_type", quoted(content_type));
        self.headers(headers);
        self.add("accept_statuses", list(accept_statuses.iter().map(ToString::to_string)));
        self.add("on_refused", quoted(if *on_refused == OnRefused::Critical { "critical" } else { "retry" }));
        let unsure = match on_unsure {
            OnUnsure::Resend => "resend",
            OnUnsure::Verify => "verify",
            OnUnsure::Hold => "hold",
        };
        self.add("on_unsure", quoted(unsure));
        self.add("editable", editable.to_string());
        if let Some(route::Verify { method, path, template, found }) = verify {
            self.add("verify.method", quoted(method.as_str()));
            self.add("verify.path", quoted(&masked_template(path)));
            self.add("verify.template", template.as_ref().map(|template| quoted(&masked_template(template))));
            self.add("verify.found", quoted(found));
        }
    }

    fn retention(&mut self, retention: &Retention) {
        let Retention { exhausted_retries, exhausted_age, max_age, history, archive, delivered, interval } = retention;
        self.table("retention");
        self.add("exhausted.retries", exhausted_retries.to_string());
        self.add("exhausted.age", shown_duration(*exhausted_age));
        self.add("max_age", shown_duration(*max_age));
        self.add("history", shown_duration(*history));
        self.add("archive", shown_duration(*archive));
        self.add("delivered", shown_duration(*delivered));
        self.add("interval", shown_duration(*interval));
    }

    fn alerts(&mut self, alerts: &Alerts) {
        let Alerts { many_failures, entity_failing, high_retries, upstream_offline, command, url } = alerts;
        self.table("alerts");
        for (name, threshold) in [("many_failures", many_failures), ("entity_failing", entity_failing)] {
            self.add(&format!("{name}.count"), threshold.count.to_string());
            self.add(&format!("{name}.window"), shown_duration(threshold.window));
        }
        self.add("high_retries", decimal(*high_retries));
        self.add("upstream_offline", shown_duration(*upstream_offline));
        self.add("command", texts(&masked_words(command)));
        self.add("url", url.as_deref().map(|url| quoted(&masked_hook(url))));
    }

    fn heartbeat(&mut self, heartbeat: &Heartbeat) {
        let Heartbeat { url, every } = heartbeat;
        self.table("heartbeat");
        self.add("url", url.as_deref().map(|url| quoted(&masked_hook(url))));
        self.add("every", shown_duration(*every));
    }

    fn limits(&mut self, limits: &Limits) {
        let Limits { max_connections, max_line, max_payload, max_failures, max_database, .. } = limits;
        let Limits { min_free_disk, card_numbers, .. } = limits;
        self.table("limits");
        self.add("max_connections", max_connections.to_string());
        self.add("max_line", shown_size(*max_line as u64));
        self.add("max_payload", shown_size(*max_payload as u64));
        self.add("max_failures", max_failures.to_string());
        self.add("max_database", shown_size(*max_database));
        self.add("min_free_disk", shown_size(*min_free_disk));
        let cards = match card_numbers {
            CardNumbers::Warn => "warn",
            CardNumbers::Refuse => "refuse",
            CardNumbers::Off => "off",
        };
        self.add("card_numbers", quoted(cards));
    }

    fn metrics(&mut self, metrics: &Metrics) {
        let Metrics { textfile } = metrics;
        self.table("metrics");
        self.add("textfile", textfile.as_deref().map(file));
    }
}

// ---- values as TOML

fn file(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

fn texts(items: &[String]) -> String {
    list(items.iter().map(|item| quoted(item)))
}

fn decimal(number: f64) -> String {
    format!("{number:?}")
}

fn rate(rate: Rate) -> String {
    let units = [("s", 1_u64), ("m", 60), ("h", 3600)];
    let in_unit = |seconds: u64| {
        let count = (Duration::from_secs(seconds).as_nanos() / rate.gap.as_nanos().max(1)).max(1);
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        (Duration::from_secs(seconds) / count == rate.gap).then_some(count)
    };
    let exact = units.into_iter().find_map(|(name, seconds)| Some(format!("{}/{name}", in_unit(seconds)?)));
    quoted(&exact.unwrap_or_else(|| format!("every {:?}", rate.gap)))
}

// ---- secrets

const MASK: &str = "***";

/// Returns whether this name suggests a secret.
fn is_secret_name(name: &str) -> bool {
    const WORDS: [&str; 9] = ["auth", "cookie", "token", "secret", "passw", "pwd", "key", "credential", "sig"];
    let name = name.to_ascii_lowercase();
    WORDS.iter().any(|word| name.contains(word))
}

/// Masks values whose names suggest a secret: `?token=…`, `"password":"…"`, `<password>…<`.
fn masked(text: &str) -> String {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '$');
    let mut shown = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(is_name) {
        let (before, from) = rest.split_at(start);
        let (name, behind) = from.split_at(from.find(|c| !is_name(c)).unwrap_or(from.len()));
        shown.push_str(before);
        shown.push_str(name);
        rest = behind;
        if !is_secret_name(name) {
            continue;
        }
        let sign = behind.trim_start_matches(['"', '\'', ' ']);
        let Some(value) = sign.strip_prefix([':', '=', '>']) else { continue };
        let value = value.trim_start();
        let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
        let value = value.strip_prefix(['"', '\'']).unwrap_or(value);
        let end = match quote {
            Some(quote) => value.find(quote),
            // After a colon a value may contain blanks: `Authorization: Bearer …`.
            None if sign.starts_with(':') => value.find(['&', '"', '\'', ',', ';', '<', '}', '\n']),
            None => value.find(['&', '"', '\'', ',', ';', '<', '}', '\n', ' ']),
        };
        let end = end.unwrap_or(value.len());
        if end > 0 && !value.starts_with("//") {
            shown.push_str(&behind[..behind.len() - value.len()]);
            shown.push_str(MASK);
            rest = &value[end..];
        }
    }
    shown + rest
}

/// Masks the literal text of a template.
fn masked_template(template: &Template) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Literal(text) => Piece::Literal(masked(text)),
        other => other.clone(),
    };
    Template(template.0.iter().map(piece).collect()).to_string()
}

/// Masks the URL of a webhook, which is often the secret itself: its query, and parts that look random.
fn masked_hook(url: &str) -> String {
    let (address, query) = url.split_once('?').map_or((url, None), |(address, query)| (address, Some(query)));
    let lot = |part: &str| {
        let (digits, letters) =
            (part.bytes().any(|b| b.is_ascii_digit()), part.bytes().any(|b| b.is_ascii_alphabetic()));
        part.len() >= 8 && digits && letters && !part.contains([':', '.'])
    };
    let parts: Vec<&str> = address.split('/').map(|part| if lot(part) { MASK } else { part }).collect();
    parts.join("/") + &query.map(|_| format!("?{MASK}")).unwrap_or_default()
}

/// `--token VALUE`, `--token=VALUE`, `token=VALUE`.
fn masked_words(words: &[String]) -> Vec<String> {
    let announced = |n: usize| {
        let before = n.checked_sub(1).and_then(|before| words.get(before));
        before.is_some_and(|before| before.starts_with('-') && !before.contains('=') && is_secret_name(before))
    };
    let shown = |(n, word): (usize, &String)| if announced(n) { MASK.to_owned() } else { masked(word) };
    words.iter().enumerate().map(shown).collect()
}

#[cfg(test)]
#[path = "effective_tests.rs"]
mod tests;
