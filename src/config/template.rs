//! Templates of a route: a path such as `/returns/{entity_id}`, a body such as
//! `{"order":{payload},"key":{key:string}}`. They are parsed with the configuration, so that a misspelt placeholder
//! is reported then, and not by a sale at night.

use std::fmt;

/// A parsed template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(pub Vec<Piece>);

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Literal text.
    Literal(String),
    /// A value of the failure, in a format.
    Value(Value, Form),
    /// The content of a credential file.
    Secret(String),
}

/// A value of the failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// `{payload}`
    Payload,
    /// `{entity_type}`
    EntityType,
    /// `{entity_id}`
    EntityId,
    /// `{action}`
    Action,
    /// `{id}`
    Id,
    /// `{key}`: the idempotency key
    Key,
    /// `{created_at}`
    CreatedAt,
    /// `{terminal_id}`
    TerminalId,
    /// `{store_id}`
    StoreId,
}

/// The format of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Unchanged.
    Raw,
    /// `:lower`, in lower case.
    Lower,
    /// `:string`, as a JSON string.
    JsonString,
    /// `:xml`, escaped for XML.
    Xml,
    /// `:members`, the members of a JSON object without its braces, to be combined with others.
    Members,
    /// `:base64`, its bytes in base64.
    Base64,
    /// `:url`, percent-encoded.
    Url,
}

/// The language of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// JSON
    Json,
    /// XML or HTML
    Xml,
    /// The fields of a form: `application/x-www-form-urlencoded`. Its values are percent-encoded.
    Urlencoded,
    /// Any other, whose rules are unknown.
    Other,
}

/// The context of a template, which decides what it may contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A path: no payload, no secret, no formats.
    Path,
    /// A body.
    Body,
}

const VALUES: [(&str, Value); 9] = [
    ("payload", Value::Payload),
    ("entity_type", Value::EntityType),
    ("entity_id", Value::EntityId),
    ("action", Value::Action),
    ("id", Value::Id),
    ("key", Value::Key),
    ("created_at", Value::CreatedAt),
    ("terminal_id", Value::TerminalId),
    ("store_id", Value::StoreId),
];

impl Template {
    /// Parses the path of a route, which is appended to its upstream's URL. It begins with a slash, so that nothing
    /// in it can extend the host or the port.
    pub fn path(text: &str) -> Result<Self, String> {
        if !text.is_empty() && (!text.starts_with('/') || text.starts_with("//")) {
            return Err(format!("a path is appended to the upstream's URL and begins with one slash, found {text:?}"));
        }
        let template = Self::parse(text, Place::Path)?;
        let fragment = |piece: &Piece| matches!(piece, Piece::Literal(text) if text.contains('#'));
        if template.0.iter().any(fragment) {
            return Err("a fragment (#…) is never sent, and does not belong in a path".to_owned());
        }
        Ok(template)
    }

    /// The names of the secrets that it contains: paths of files, or credentials of the service manager.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Secret(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// The language of a body template, by its beginning, or by its content type.
    #[must_use]
    pub fn language(&self, content_type: &str) -> Language {
        let first = match self.0.first() {
            Some(Piece::Literal(text)) => text.trim_start_matches('\u{feff}').trim_start().chars().next(),
            _ => None,
        };
        let is = |part: &str| content_type.to_ascii_lowercase().contains(part);
        match first {
            _ if is("x-www-form-urlencoded") => Language::Urlencoded,
            Some('<') => Language::Xml,
            Some('{' | '[' | '"') => Language::Json,
            _ if is("json") => Language::Json,
            _ if is("xml") || is("html") => Language::Xml,
            _ => Language::Other,
        }
    }

    /// Rejects a body template in which a value could end its string, element, field or line, and add others.
    pub fn judge(&self, content_type: &str) -> Result<(), String> {
        let language = self.language(content_type);
        match language {
            Language::Json => self.judge_quotes()?,
            Language::Urlencoded => return self.judge_form(),
            // A value that is the whole body has nothing to break out into.
            Language::Other if self.0.len() == 1 => return Ok(()),
            Language::Xml | Language::Other => {}
        }
        let raw = |piece: &Piece| match piece {
            // The payload is a complete value, and the agent generates the time.
            Piece::Value(Value::Payload | Value::CreatedAt, _) => None,
            Piece::Value(value, Form::Raw) => Some(*value),
            Piece::Value(value, Form::Lower) if language == Language::Other => Some(*value),
            _ => None,
        };
        let Some(name) = self.0.iter().find_map(raw).map(name_of) else { return Ok(()) };
        let out = format!("{{{name}}} as it is could break out of its place");
        Err(match language {
            Language::Json => format!("{out} in JSON; write {{{name}:string}}, without quotes around it"),
            Language::Xml => format!("{out} in XML; write {{{name}:xml}}"),
            Language::Urlencoded | Language::Other => format!(
                "{out} in a body with content_type {content_type:?}; write {{{name}:string}}, {{{name}:xml}}, {{{name}:url}} or \
                 {{{name}:base64}}, or set a content_type that tells the body's language"
            ),
        })
    }

    /// The fields of a form are percent-encoded; a payload as it is would end its field.
    fn judge_form(&self) -> Result<(), String> {
        let start = match self.0.first() {
            Some(Piece::Literal(text)) => text.trim_start().chars().next(),
            _ => None,
        };
        if let Some(start @ ('{' | '[' | '"' | '<')) = start {
            return Err(format!("a form does not begin with {start:?}; set the content_type of this template"));
        }
        let payload = self.0.iter().any(|piece| matches!(piece, Piece::Value(Value::Payload, Form::Raw)));
        if payload && self.0.len() > 1 {
            return Err("{payload} as it is could break out of its place in a form; write {payload:url}".to_owned());
        }
        Ok(())
    }

    /// In JSON, `:string` and `{payload}` are whole values and every other form belongs in quotes: outside them `1,2` or
    /// `null` would be more than a text, and inside them a whole value would end the string.
    fn judge_quotes(&self) -> Result<(), String> {
        let mut quotes = Quotes::default();
        for piece in &self.0 {
            let (value, form) = match piece {
                Piece::Literal(text) => {
                    quotes.pass(text);
                    continue;
                }
                Piece::Value(value, form) => (*value, *form),
                Piece::Secret(_) => continue,
            };
            let is_whole = match form {
                Form::JsonString | Form::Members => true,
                Form::Raw if value == Value::Payload => true,
                // Reported with the form that it needs.
                Form::Raw if value != Value::CreatedAt => continue,
                Form::Raw | Form::Lower | Form::Xml | Form::Base64 | Form::Url => false,
            };
            let shown = Self(vec![piece.clone()]);
            match (is_whole, quotes.open) {
                (true, true) => {
                    return Err(format!("{shown} is a whole value of JSON; write it without quotes around it"));
                }
                (false, false) if self.0.len() > 1 => return Err(format!("{shown} needs quotes around it in JSON")),
                _ => {}
            }
        }
        Ok(())
    }

    /// Parses a template. A brace that does not begin a placeholder (`{"a":1}`) is literal.
    pub fn parse(text: &str, place: Place) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            literal.push_str(&rest[..open]);
            let inside = &rest[open + 1..];
            let Some(name) = placeholder(inside) else {
                literal.push('{');
                rest = inside;
                continue;
            };
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            pieces.push(piece(name, place)?);
            rest = &inside[name.len() + 1..];
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Self(pieces))
    }
}

impl fmt::Display for Template {
    /// Writes the original text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Literal(text) => f.write_str(text),
            Piece::Secret(name) => write!(f, "{{secret:{name}}}"),
            Piece::Value(value, form) => {
                let name = name_of(*value);
                let form = match form {
                    Form::Raw => "",
                    Form::Lower => ":lower",
                    Form::JsonString => ":string",
                    Form::Xml => ":xml",
                    Form::Members => ":members",
                    Form::Base64 => ":base64",
                    Form::Url => ":url",
                };
                write!(f, "{{{name}{form}}}")
            }
        })
    }
}

/// Whether the text so far has an open string of JSON.
#[derive(Default)]
struct Quotes {
    open: bool,
    escaped: bool,
}

impl Quotes {
    fn pass(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                _ if self.escaped => self.escaped = false,
                '\\' if self.open => self.escaped = true,
                '"' => self.open = !self.open,
                _ => {}
            }
        }
    }
}

fn name_of(value: Value) -> &'static str {
    VALUES.iter().find(|(_, known)| *known == value).map_or("", |(name, _)| name)
}

/// The text before the closing brace, if it looks like a name and not like JSON.
fn placeholder(inside: &str) -> Option<&str> {
    let name = &inside[..inside.find('}')?];
    let first = name.chars().next()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '.' | '-' | '/');
    (first.is_ascii_lowercase() && name.chars().all(plain)).then_some(name)
}

fn piece(name: &str, place: Place) -> Result<Piece, String> {
    let (base, form) = name.split_once(':').map_or((name, ""), |(base, form)| (base, form));
    if base == "secret" {
        return match place {
            Place::Body if !form.is_empty() => Ok(Piece::Secret(form.to_owned())),
            Place::Body => Err("{secret:NAME} needs a name".to_owned()),
            Place::Path => Err("a secret in a path would be logged; put it into a header or the body".to_owned()),
        };
    }
    let known = || VALUES.map(|(name, _)| name).join(", ");
    let Some((_, value)) = VALUES.iter().find(|(known, _)| *known == base) else {
        return Err(format!("unknown placeholder {{{name}}}; known: {}", known()));
    };
    let form = match (form, place) {
        ("", _) => Form::Raw,
        ("lower", _) => Form::Lower,
        ("string", Place::Body) => Form::JsonString,
        ("xml", Place::Body) => Form::Xml,
        ("members", Place::Body) => Form::Members,
        ("base64", Place::Body) => Form::Base64,
        ("url", Place::Body) => Form::Url,
        _ => {
            return Err(format!(
                "unknown form {form:?} of {{{name}}}; known: lower, and in a body string, xml, url, members, base64"
            ));
        }
    };
    match (value, place, form) {
        (Value::Payload, Place::Path, _) => Err("{payload} does not belong in a path".to_owned()),
        (Value::Payload, _, Form::Lower) => Err("{payload:lower} would change the payload".to_owned()),
        (Value::Payload, _, _) => Ok(Piece::Value(*value, form)),
        (_, _, Form::Members) => Err(format!("{{{name}}}: only the payload has members")),
        _ => Ok(Piece::Value(*value, form)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_around_placeholders_stands_for_itself() {
        let template =
            Template::parse(r#"{"order":{payload},"key":{key:string},"x":{"y":1}}"#, Place::Body).expect("right");
        assert_eq!(
            template.0,
            [
                Piece::Literal("{\"order\":".into()),
                Piece::Value(Value::Payload, Form::Raw),
                Piece::Literal(",\"key\":".into()),
                Piece::Value(Value::Key, Form::JsonString),
                Piece::Literal(",\"x\":{\"y\":1}}".into()),
            ]
        );
    }

    #[test]
    fn paths() {
        let template = Template::parse("/{entity_type:lower}s/{entity_id}", Place::Path).expect("right");
        assert_eq!(template.0.len(), 4);
        for wrong in ["/{entity}", "/{payload}", "/{secret:x}", "/{key:string}", "/{key:base64}", "/{key:upper}"] {
            assert!(Template::parse(wrong, Place::Path).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_path_begins_with_its_slash_and_has_no_fragment() {
        for right in ["", "/", "/sales?store={store_id}", "/{entity_id}//x"] {
            assert!(Template::path(right).is_ok(), "{right}");
        }
        for wrong in
            ["sales", "{entity_id}", "//evil.example/x", "?x", ".evil.example", ":1/", "@evil/", "https://e/", "/a#b"]
        {
            assert!(Template::path(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_could_break_out_of_json_or_xml_is_named_with_its_form() {
        let judged = |text: &str, content_type: &str| {
            Template::parse(text, Place::Body).expect(text).judge(content_type).err().unwrap_or_default()
        };
        for name in ["entity_id", "entity_type", "action", "key", "id", "terminal_id", "store_id"] {
            let json = judged(&format!("{{\"id\":\"{{{name}}}\"}}"), "application/json");
            assert!(json.contains(&format!("{{{name}:string}}")), "{json}");
            let xml = judged(&format!(" <id>{{{name}}}</id>"), "application/json");
            assert!(xml.contains(&format!("{{{name}:xml}}")), "{xml}");
            assert!(judged(&format!("{{{name}}}"), "application/vnd.api+JSON").contains(":string"));
            assert!(judged(&format!("{{{name}}}"), "application/soap+xml; charset=utf-8").contains(":xml"));
            for unknown in [format!("id={{{name}}}"), format!("id={{{name}:lower}}")] {
                let told = judged(&unknown, "text/plain");
                assert!(told.contains(&format!("{{{name}:url}}")), "{told}");
            }
            assert_eq!(judged(&format!("{{{name}}}"), "text/plain"), "", "nothing is around it");
            assert_eq!(judged(&format!("id={{{name}}}&x=1"), "application/x-www-form-urlencoded; charset=utf-8"), "");
        }
        for right in ["{\"a\":{payload},\"b\":\"{created_at}\",\"c\":{key:string}}", "<a>{entity_id:xml}{payload}</a>"]
        {
            assert_eq!(judged(right, "application/json"), "", "{right}");
        }
    }

    #[test]
    fn a_payload_as_it_is_stands_in_no_field_of_a_form_and_json_in_no_form() {
        let form = "application/x-www-form-urlencoded";
        let judged = |text: &str| Template::parse(text, Place::Body).expect(text).judge(form).err().unwrap_or_default();
        assert!(judged("data={payload}&id={entity_id}").contains("{payload:url}"));
        for right in ["{payload}", "data={payload:url}", "data={payload:base64}&id={entity_id:string}"] {
            assert_eq!(judged(right), "", "{right}");
        }
        assert!(judged("{\"a\":{payload}}").contains("content_type"));
    }

    #[test]
    fn what_is_a_whole_value_of_json_has_no_quotes_and_what_is_none_has_them() {
        let judged = |text: &str| {
            Template::parse(text, Place::Body).expect(text).judge("application/json").err().unwrap_or_default()
        };
        for form in [":lower", ":xml", ":base64", ":url"] {
            let told = judged(&format!("{{\"a\":[{{entity_id{form}}}]}}"));
            assert!(told.contains(&format!("{{entity_id{form}}} needs quotes")), "{told}");
            assert_eq!(judged(&format!("{{\"a\":\"\\\"x {{entity_id{form}}}\"}}")), "");
        }
        for whole in ["{entity_id:string}", "{payload}", "{payload:string}"] {
            assert!(judged(&format!("{{\"a\":\"{whole}\"}}")).contains("without quotes"), "{whole}");
            assert_eq!(judged(&format!("{{\"a\\\"b\":{whole}}}")), "", "{whole}");
        }
    }

    #[test]
    fn secrets_belong_in_bodies() {
        let template = Template::parse("[\"{secret:odoo}\"]", Place::Body).expect("right");
        assert_eq!(template.0[1], Piece::Secret("odoo".into()));
        assert!(Template::parse("{secret}", Place::Body).is_err());
        for wrong in ["{payload:lower}", "{key:members}"] {
            assert!(Template::parse(wrong, Place::Body).is_err(), "{wrong}");
        }
    }
}
