//! `[[route]]`: the upstream of a failure, and the form of its request. The first match wins.

use super::problem::Place;
use super::table::{Document, Table, nearest};
use super::template::{Place as TemplatePlace, Template};
use super::upstream::Upstream;
use super::value::{bare, pointer};
use crate::limits::quote;
use std::ops::Range;

/// One route.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Entity type to match; `None`: any.
    pub entity_type: Option<String>,
    /// Action to match; `None`: any.
    pub action: Option<String>,
    /// The upstream.
    pub upstream: String,
    /// `POST`, …
    pub method: Method,
    /// Appended to the upstream's URL.
    pub path: Template,
    /// The request's body.
    pub body: Body,
    /// Content type of the body.
    pub content_type: String,
    /// Additional headers.
    pub headers: Vec<(String, String)>,
    /// Statuses that count like 2xx.
    pub accept_statuses: Vec<u16>,
    /// What a rejection leads to.
    pub on_refused: OnRefused,
    /// What follows an attempt that may have arrived.
    pub on_unsure: OnUnsure,
    /// How to verify whether it arrived.
    pub verify: Option<Verify>,
    /// Whether an operator may edit failures of this route.
    pub editable: bool,
}

/// An HTTP method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    const ALL: [(&'static str, Self); 5] = [
        ("GET", Self::Get),
        ("POST", Self::Post),
        ("PUT", Self::Put),
        ("PATCH", Self::Patch),
        ("DELETE", Self::Delete),
    ];

    /// The name that is sent.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, method)| *method == self).map_or("POST", |(name, _)| name)
    }
}

/// The body of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// The payload, byte for byte.
    Payload,
    /// The envelope.
    Envelope,
    /// A template.
    Template(Template),
    /// No body.
    None,
}

/// What a rejection leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnRefused {
    /// It needs an operator.
    #[default]
    Critical,
    /// It uses a retry like any other error.
    Retry,
}

/// What follows an unsure attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnUnsure {
    /// Send it again with the same key; the upstream has to detect duplicates.
    #[default]
    Resend,
    /// Verify first.
    Verify,
    /// Wait for an operator.
    Hold,
}

/// How to verify whether a failure arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verify {
    /// The HTTP method.
    pub method: Method,
    /// Appended to the upstream's URL.
    pub path: Template,
    /// The request's body, for an API that needs one; with the route's content type.
    pub template: Option<Template>,
    /// The failure has arrived if this pointer leads to anything except null.
    pub found: String,
}

impl Route {
    /// Returns whether it matches failures of this kind.
    #[must_use]
    pub fn matches(&self, entity_type: &str, action: &str) -> bool {
        let fits = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|wanted| wanted == is);
        fits(&self.entity_type, entity_type) && fits(&self.action, action)
    }
}

/// Routes that are never used, each with the earlier one that takes all of their failures.
#[must_use]
pub fn hidden(routes: &[Route]) -> Vec<(usize, usize)> {
    let covers = |wide: &Option<String>, narrow: &Option<String>| wide.is_none() || wide == narrow;
    let takes_all =
        |one: &Route, other: &Route| covers(&one.entity_type, &other.entity_type) && covers(&one.action, &other.action);
    let earlier = |n: usize| routes[..n].iter().position(|earlier| takes_all(earlier, &routes[n]));
    (0..routes.len()).filter_map(|n| Some((n, earlier(n)?))).collect()
}

/// The route for failures of this kind: the first match.
#[must_use]
pub fn first<'r>(routes: &'r [Route], entity_type: &str, action: &str) -> Option<&'r Route> {
    routes.iter().find(|route| route.matches(entity_type, action))
}

impl Document<'_> {
    /// All routes, in the order of the file.
    pub(super) fn routes(&mut self, sections: Vec<Table>, upstreams: &[Upstream]) -> Vec<Route> {
        let routes: Vec<Route> = sections.into_iter().map(|section| self.route(section, upstreams)).collect();
        // One without a url was reported, and may be no upstream of its own.
        let complete = upstreams.iter().all(|upstream| !upstream.url.is_empty());
        if let (true, [first, second, ..]) = (routes.is_empty() && complete, upstreams) {
            let message = format!(
                "with more than one upstream, routes choose between them: add [[route]] tables, each with upstream = {:?} \
                 or {:?}, and with entity_type where it is not for all",
                first.name, second.name
            );
            let second = bare(&second.name);
            let prefix = format!("upstream.{second}.");
            let keys = self.spans.iter().filter(|(key, _)| key.starts_with(&prefix)).map(|(_, span)| span.clone());
            let place = keys.min_by_key(|span| span.start).unwrap_or_default();
            self.report(Place::Span(place), message);
        }
        routes
    }

    fn route(&mut self, mut section: Table, upstreams: &[Upstream]) -> Route {
        let upstream = self.named_upstream(&mut section, upstreams);
        let path = section.read("path", self, Template::path);
        let content_type = self.content_type(&mut section);
        let body = self.body(&mut section, &content_type);
        let refused = [("critical", OnRefused::Critical), ("retry", OnRefused::Retry)];
        let unsure = [("resend", OnUnsure::Resend), ("verify", OnUnsure::Verify), ("hold", OnUnsure::Hold)];
        let any = |text: Option<(String, Range<usize>)>| text.map(|(text, _)| text).filter(|text| text != "*");
        let route = Route {
            entity_type: any(section.text("entity_type", self)),
            action: any(section.text("action", self)),
            upstream: upstream.unwrap_or_default(),
            method: section.choice("method", &Method::ALL, self).unwrap_or(Method::Post),
            path: path.map_or_else(|| Template(Vec::new()), |(path, _)| path),
            headers: self.headers(&mut section, "headers"),
            accept_statuses: section.statuses("accept_statuses", self),
            on_refused: section.choice("on_refused", &refused, self).unwrap_or_default(),
            on_unsure: section.choice("on_unsure", &unsure, self).unwrap_or_default(),
            verify: section.table("verify", self).and_then(|verify| self.verify(verify, &content_type)),
            editable: section.truth("editable", self).unwrap_or(true),
            content_type,
            body,
        };
        if route.on_unsure == OnUnsure::Verify && route.verify.is_none() {
            self.report(
                section.at("on_unsure"),
                "on_unsure = \"verify\" needs verify = { path = …, found = … }".to_owned(),
            );
        }
        section.finish(self);
        route
    }

    /// The upstream that a route names, or the only one.
    fn named_upstream(&mut self, section: &mut Table, upstreams: &[Upstream]) -> Option<String> {
        let names = || upstreams.iter().map(|upstream| upstream.name.as_str());
        let listed = || names().collect::<Vec<_>>().join(", ");
        match (section.text("upstream", self), upstreams) {
            (Some((name, span)), _) if !names().any(|known| known == name) => {
                let hint = match nearest(names(), &name) {
                    _ if upstreams.is_empty() => format!("; define it: [upstream.{}] with a url", bare(&name)),
                    Some(near) => format!("; did you mean {near:?}?"),
                    None => format!("; known: {}", listed()),
                };
                self.report(Place::Span(span), format!("upstream: there is no upstream {:?}{hint}", quote(&name)));
                None
            }
            (Some((name, _)), _) => Some(name),
            (None, [only]) => Some(only.name.clone()),
            (None, []) => {
                let message = "a route needs an upstream: define one, [upstream.hq] with a url".to_owned();
                self.report(section.at("upstream"), message);
                None
            }
            // A wrong value was reported.
            (None, _) if section.has("upstream") => None,
            (None, _) => {
                self.report(section.at("upstream"), format!("a route needs upstream = one of: {}", listed()));
                None
            }
        }
    }

    fn body(&mut self, section: &mut Table, content_type: &str) -> Body {
        let has_template = section.has("template");
        let template = section.read("template", self, |text| template(text, content_type));
        match section.text("body", self) {
            None if template.is_some() => {
                self.report(section.at("template"), "template goes with body = \"template\"".to_owned());
                Body::Envelope
            }
            None => Body::Envelope,
            Some((kind, span)) => match (kind.as_str(), template) {
                ("payload", None) => Body::Payload,
                ("envelope", None) => Body::Envelope,
                ("none", None) => Body::None,
                ("template", Some((template, _))) => Body::Template(template),
                // A wrong template was reported.
                ("template", None) if has_template => Body::None,
                ("template", None) => {
                    self.report(Place::Span(span), "body = \"template\" needs template = '…'".to_owned());
                    Body::None
                }
                _ => {
                    let message = "body: expected \"payload\", \"envelope\", \"template\" with a template, or \"none\"";
                    self.report(Place::Span(span), message.to_owned());
                    Body::None
                }
            },
        }
    }

    fn verify(&mut self, mut section: Table, content_type: &str) -> Option<Verify> {
        let path = section.read("path", self, Template::path);
        let found = section.read("found", self, pointer);
        if !section.has("path") || !section.has("found") {
            let absent = if section.has("path") { "found" } else { "path" };
            self.report(section.at(absent), "verify needs path and found".to_owned());
        }
        let method = section.choice("method", &Method::ALL, self).unwrap_or(Method::Get);
        let template = section.read("template", self, |text| template(text, content_type));
        if let (Method::Get, Some((_, span))) = (method, &template) {
            let message = "verify with a template needs a method that has a body, such as method = \"POST\"";
            self.report(Place::Span(span.clone()), message.to_owned());
        }
        section.finish(self);
        Some(Verify { method, path: path?.0, template: template.map(|(template, _)| template), found: found?.0 })
    }
}

/// Parses a body template, and makes sure that no value can break out of its place.
fn template(text: &str, content_type: &str) -> Result<Template, String> {
    let template = Template::parse(text, TemplatePlace::Body)?;
    template.judge(content_type)?;
    Ok(template)
}
