//! Templates of a route: a path such as `/returns/{entity_id}`, a body such as
//! `{"order":{payload},"key":{key:string}}`. Parsed once, at the door, so that a misspelt placeholder
//! is a problem of the configuration and not of a sale at night.

use std::fmt;

/// A template, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(pub Vec<Piece>);

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// As it stands.
    Literal(String),
    /// Something of the failure, in a form.
    Value(Value, Form),
    /// The contents of a credential file.
    Secret(String),
}

/// What of a failure is put in.
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

/// How it is put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As it is.
    Raw,
    /// `:lower`, in lower case.
    Lower,
    /// `:string`, as a JSON string.
    JsonString,
    /// `:xml`, escaped for XML.
    Xml,
    /// `:members`, a JSON object's members without its braces, to stand among others.
    Members,
}

/// Where a template stands decides what may be in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A path: no payload, no secret, no quoting but its own.
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
    /// Reads a template. A brace that opens no placeholder (`{"a":1}`) stands for itself.
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
    /// As it was written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Literal(text) => f.write_str(text),
            Piece::Secret(name) => write!(f, "{{secret:{name}}}"),
            Piece::Value(value, form) => {
                let name = VALUES.iter().find(|(_, known)| known == value).map_or("", |(name, _)| name);
                let form = match form {
                    Form::Raw => "",
                    Form::Lower => ":lower",
                    Form::JsonString => ":string",
                    Form::Xml => ":xml",
                    Form::Members => ":members",
                };
                write!(f, "{{{name}{form}}}")
            }
        })
    }
}

/// What stands before the closing brace, when it looks like a name and not like JSON.
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
            Place::Path => Err("a secret in a path would stand in logs; put it into a header or the body".to_owned()),
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
        _ => {
            return Err(format!(
                "unknown form {form:?} of {{{name}}}; known: lower, and in a body string, xml, members"
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
        for wrong in ["/{entity}", "/{payload}", "/{secret:x}", "/{key:string}", "/{key:upper}"] {
            assert!(Template::parse(wrong, Place::Path).is_err(), "{wrong}");
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
