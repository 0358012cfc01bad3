//! Reads rows of another table or terminal, in several export formats: each as one line of JSON, in the order in which
//! their failures were recorded.
//!
//! The input is read to its end before anything is imported, because its format may only show there, and because a
//! table returns its rows in any order: an UPDATE must not get a lower number than the CREATE that was recorded before
//! it. Memory holds only the position of each row. Formats other than JSON lines, and piped input, are copied to an
//! unnamed temporary file.

use super::Failure;
use super::payload::{Payload, put_into};
use crate::limits::Limits;
use crate::moment::WallTime;
use crate::record::PayloadKind;
use crate::text::import::{self as words, Unit};
use crate::wire::fields::{Fields, legible};
use crate::wire::import::{self, Place};
use csv::{ByteRecord, ReaderBuilder};
use serde::de::{DeserializeSeed, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Deserializer, Map, Value, json};
use std::borrow::Cow;
use std::env;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Maximum number of unreadable rows that are shown.
pub const MOST_SHOWN: usize = 10;

/// The detected format of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// One row per line.
    Lines,
    /// The same, as `PostgreSQL`'s `COPY … TO` writes it, with every backslash doubled.
    Copy,
    /// Objects over several lines.
    Objects,
    /// One array.
    Array,
    /// CSV with this delimiter and a heading.
    Csv(u8),
    /// An unsupported format, by its name in [`words::seems`].
    Foreign(&'static str),
}

/// A row's position, and the values that determine its order and its age.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its line, or its number among the rows.
    pub number: u64,
    /// When it was recorded, if known.
    pub created_at: Option<WallTime>,
    /// Counted attempts, if readable.
    pub retry_count: u32,
    seq: Option<u64>,
    start: u64,
    length: usize,
}

/// All rows of an input.
#[derive(Debug)]
pub struct Rows {
    file: File,
    /// In the order of the import.
    pub rows: Vec<Row>,
    /// Positions that are not rows, with the reason.
    pub unreadable: Vec<(u64, String)>,
    /// Rows that cannot be imported, with the reason.
    pub unfit: Vec<(u64, String)>,
    /// Number of rows whose times have no zone, and the first of them.
    pub without_zone: Option<(u64, u64)>,
    format: Format,
}

impl Rows {
    /// Reads a file, or standard input for `-`.
    pub fn read(file: &Path, limits: &Limits) -> Result<Self, Failure> {
        let reading = |error: io::Error| Failure::Usage(format!("reading {}: {error}", file.display()));
        let source = if file == Path::new("-") { spooled(&mut io::stdin().lock()) } else { File::open(file) };
        let mut source = source.map_err(reading)?;
        if !source.metadata().map_err(reading)?.is_file() {
            source = spooled(&mut source).map_err(reading)?;
        }
        Self::of(source, limits).map_err(reading)
    }

    fn of(mut source: File, limits: &Limits) -> io::Result<Self> {
        let format = detected(&mut source)?;
        let mut found = Self {
            file: source.try_clone()?,
            rows: Vec::new(),
            unreadable: Vec::new(),
            unfit: Vec::new(),
            without_zone: None,
            format,
        };
        match format {
            Format::Foreign(_) => {}
            Format::Lines => found.lines(&source, limits)?,
            _ => {
                let mut lines = BufWriter::new(unnamed()?);
                let input = BufReader::new(source);
                let mut at = 0;
                converted(format, input, &mut |number, row| {
                    match row {
                        Ok(row) => {
                            lines.write_all(&row)?;
                            found.add(number, at, &row, limits);
                            at += row.len() as u64;
                        }
                        Err(why) => found.unreadable.push((number, why)),
                    }
                    Ok(())
                })?;
                found.file = lines.into_inner().map_err(io::IntoInnerError::into_error)?;
            }
        }
        // A terminal's numbers give the order of recording; without numbers, the times do.
        if found.rows.iter().all(|row| row.seq.is_some()) {
            found.rows.sort_by_key(|row| row.seq);
        } else {
            found.rows.sort_by_key(|row| (row.created_at.is_none(), row.created_at, row.seq, row.number));
        }
        Ok(found)
    }

    /// Indexes rows that can be read from the file directly.
    fn lines(&mut self, source: &File, limits: &Limits) -> io::Result<()> {
        let mut input = BufReader::new(source);
        let mut at = input.stream_position()?;
        let (mut number, mut line) = (0, Vec::new());
        loop {
            line.clear();
            let read = input.read_until(b'\n', &mut line)? as u64;
            if read == 0 {
                return Ok(());
            }
            number += 1;
            let before = line.len() - line.trim_ascii_start().len();
            if !line.trim_ascii().is_empty() {
                self.add(number, at + before as u64, line.trim_ascii(), limits);
            }
            at += read;
        }
    }

    fn add(&mut self, number: u64, start: u64, row: &[u8], limits: &Limits) {
        let legible = legible(row);
        if let Err(wrong) = Fields::parse(&legible) {
            self.unreadable.push((number, wrong.message));
            return;
        }
        let place = import::place(&legible);
        let mut retry_count = 0;
        match import::parse(&legible, limits) {
            Ok(imported) => retry_count = imported.retry_count,
            Err(wrong) => self.unfit.push((number, wrong.message)),
        }
        if place.without_zone {
            let (count, first) = self.without_zone.unwrap_or((0, number));
            self.without_zone = Some((count + 1, first));
        }
        let Place { seq, created_at, .. } = place;
        self.rows.push(Row { number, created_at, retry_count, seq, start, length: row.len() });
    }

    /// The rows as lines, in their order.
    #[must_use]
    pub fn reader(&self) -> Lines<'_> {
        Lines { rows: self, next: 0, line: Vec::new(), at: 0 }
    }

    /// The detected format, and how to export it so that it can be read; `None` for JSON.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        const EXPORT: &str =
            "psql -At -c \"SELECT row_to_json(f) FROM sync_failures f ORDER BY created_at\" >failures.jsonl";
        let format = match self.format {
            Format::Foreign(format) => format,
            Format::Csv(_) => "csv",
            Format::Lines if self.rows.is_empty() && !self.unreadable.is_empty() => "",
            Format::Lines | Format::Copy | Format::Objects | Format::Array => return None,
        };
        Some(words::how_to_export(words::seems(format), EXPORT))
    }

    /// How the rows of this format are counted.
    pub(crate) fn unit(&self) -> Unit {
        if matches!(self.format, Format::Lines | Format::Copy) { Unit::Line } else { Unit::Row }
    }
}

/// The reader of [`Rows::reader`].
#[derive(Debug)]
pub struct Lines<'r> {
    rows: &'r Rows,
    next: usize,
    line: Vec<u8>,
    at: usize,
}

impl Read for Lines<'_> {
    /// Fills the whole buffer, because the rows in it are sent and committed together.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            if self.at == self.line.len() {
                let Some(row) = self.rows.rows.get(self.next) else { break };
                self.line.resize(row.length, 0);
                self.rows.file.read_exact_at(&mut self.line, row.start)?;
                self.line.push(b'\n');
                (self.next, self.at) = (self.next + 1, 0);
            }
            let count = (buffer.len() - filled).min(self.line.len() - self.at);
            buffer[filled..filled + count].copy_from_slice(&self.line[self.at..self.at + count]);
            (self.at, filled) = (self.at + count, filled + count);
        }
        Ok(filled)
    }
}

/// A file without a name, which disappears with the process, because rows are customers' data.
fn unnamed() -> io::Result<File> {
    let path = env::temp_dir().join(format!("resyncd-import-{}-{:?}", std::process::id(), std::thread::current().id()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

/// Copies piped input to a file.
fn spooled(input: &mut dyn Read) -> io::Result<File> {
    let mut file = unnamed()?;
    io::copy(input, &mut file)?;
    file.rewind()?;
    Ok(file)
}

/// Detects the format. Leaves the file position after a byte order mark, at the first row.
fn detected(source: &mut File) -> io::Result<Format> {
    let mut start = vec![0; 64 << 10];
    let length = source.read_at(&mut start, 0)?;
    start.truncate(length);
    let mark: &[u8] = b"\xef\xbb\xbf";
    let skipped = if start.starts_with(mark) { mark.len() } else { 0 };
    source.seek(SeekFrom::Start(skipped as u64))?;
    let text = start[skipped..].trim_ascii_start();
    let magic: [(&[u8], &str); 6] = [
        (b"\xff\xfe", "utf-16"),
        (b"\xfe\xff", "utf-16"),
        (b"PK\x03\x04", "zip"),
        (b"\x1f\x8b", "gzip"),
        (b"PGDMP", "postgresql"),
        (b"SQLite format 3\0", "sqlite"),
    ];
    if let Some((_, what)) = magic.iter().find(|(magic, _)| start.starts_with(magic)) {
        return Ok(Format::Foreign(what));
    }
    let first_line = text.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii();
    Ok(match text.first() {
        Some(b'[') => Format::Array,
        Some(b'{') => {
            let whole = serde_json::from_slice::<IgnoredAny>(first_line);
            let goes_on = whole.is_err_and(|error| error.is_eof()) && first_line.len() < text.len();
            if goes_on && is_object(text) { Format::Objects } else { copied(source)? }
        }
        _ if is_sql(first_line) => Format::Foreign("sql"),
        _ => match delimiter(first_line) {
            Some(delimiter) => Format::Csv(delimiter),
            None => Format::Lines,
        },
    })
}

/// Returns whether the text begins with an object over several lines.
fn is_object(text: &[u8]) -> bool {
    match Deserializer::from_slice(text).into_iter::<IgnoredAny>().next() {
        Some(Err(error)) => error.is_eof(),
        first => first.is_some(),
    }
}

fn is_sql(line: &[u8]) -> bool {
    let words = ["--", "/*", "INSERT ", "CREATE ", "COPY ", "SET ", "BEGIN", "PRAGMA ", "DROP ", "SELECT "];
    words.iter().any(|word| line.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes())))
}

/// The delimiter between the names of a heading.
fn delimiter(heading: &[u8]) -> Option<u8> {
    [b',', b';', b'\t'].into_iter().find(|delimiter| {
        let names = heading.split(|byte| byte == delimiter).map(<[u8]>::trim_ascii);
        let is = |name: &[u8], known: &str| name.strip_prefix(b"\"").unwrap_or(name).starts_with(known.as_bytes());
        names.clone().any(|name| is(name, "entity")) && names.clone().count() > 3
    })
}

/// Detects JSON lines whose backslashes `COPY` has doubled: in such a line, escaped quotation marks end strings too
/// early. A single backslash anywhere rules it out.
fn copied(source: &mut File) -> io::Result<Format> {
    let back = source.stream_position()?;
    let mut copied = false;
    let mut single = false;
    for line in BufReader::new(&*source).split(b'\n') {
        let line = line?;
        if !line.contains(&b'\\') {
            continue;
        }
        single |= backslashes(&line).any(|run| run % 2 == 1);
        let is_json = |line: &[u8]| serde_json::from_slice::<IgnoredAny>(line).is_ok();
        copied |= !single && !copied && !is_json(&line) && is_json(&undoubled(&line));
        if single {
            break;
        }
    }
    source.seek(SeekFrom::Start(back))?;
    Ok(if copied && !single { Format::Copy } else { Format::Lines })
}

/// The lengths of the runs of backslashes.
fn backslashes(line: &[u8]) -> impl Iterator<Item = usize> {
    line.split(|byte| *byte != b'\\').map(<[u8]>::len).filter(|run| *run > 0)
}

fn undoubled(line: &[u8]) -> Vec<u8> {
    let mut single = Vec::with_capacity(line.len());
    let mut bytes = line.iter();
    while let Some(byte) = bytes.next() {
        single.push(*byte);
        if *byte == b'\\' {
            bytes.next();
        }
    }
    single
}

type Take<'t> = &'t mut dyn FnMut(u64, Result<Vec<u8>, String>) -> io::Result<()>;

/// Converts each row to a line of JSON.
fn converted(format: Format, input: BufReader<File>, take: Take) -> io::Result<()> {
    match format {
        Format::Copy => {
            let mut number = 0;
            for line in input.split(b'\n') {
                let line = line?;
                number += 1;
                if !line.trim_ascii().is_empty() {
                    take(number, Ok(undoubled(line.trim_ascii())))?;
                }
            }
            Ok(())
        }
        Format::Objects => {
            for (number, row) in (1..).zip(Deserializer::from_reader(input).into_iter::<Box<RawValue>>()) {
                take(number, row.map(|row| on_one_line(&row)).map_err(|error| error.to_string()))?;
            }
            Ok(())
        }
        Format::Array => array(input, take),
        Format::Csv(delimiter) => cells(delimiter, input, take),
        Format::Lines | Format::Foreign(_) => Ok(()),
    }
}

/// JSON has newlines between its tokens only, where a blank is equivalent.
fn on_one_line(row: &RawValue) -> Vec<u8> {
    row.get().bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }).collect()
}

fn array(input: impl Read, take: Take) -> io::Result<()> {
    struct Elements<'t, 'n>(Take<'t>, &'n mut u64);
    impl<'de> DeserializeSeed<'de> for Elements<'_, '_> {
        type Value = io::Result<()>;

        fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
            deserializer.deserialize_seq(self)
        }
    }
    impl<'de> Visitor<'de> for Elements<'_, '_> {
        type Value = io::Result<()>;

        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("an array of rows")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<Self::Value, A::Error> {
            let Self(take, number) = self;
            while let Some(row) = rows.next_element::<Box<RawValue>>()? {
                *number += 1;
                if let Err(error) = take(*number, Ok(on_one_line(&row))) {
                    return Ok(Err(error));
                }
            }
            Ok(Ok(()))
        }
    }
    let mut number = 0;
    let mut reader = Deserializer::from_reader(input);
    let read = Elements(take, &mut number).deserialize(&mut reader);
    match read.and_then(|done| reader.end().map(|()| done)) {
        Ok(done) => done,
        Err(error) => take(number + 1, Err(words::broken_array(error))),
    }
}

/// Columns that contain numbers.
const NUMBERS: [&str; 5] = ["seq", "retry_count", "http_status", "source_uid", "source_pid"];

fn cells(delimiter: u8, input: impl Read, take: Take) -> io::Result<()> {
    let mut reader = ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(input);
    let heading = match reader.byte_headers() {
        Ok(heading) => heading.clone(),
        Err(error) => return take(1, Err(error.to_string())),
    };
    let names: Vec<Cow<str>> = heading.iter().map(|name| String::from_utf8_lossy(name.trim_ascii())).collect();
    for (number, record) in (1..).zip(reader.byte_records()) {
        let row = record.map_err(|error| error.to_string()).and_then(|record| row_of(&names, &record));
        take(number, row)?;
    }
    Ok(())
}

fn row_of(names: &[Cow<str>], record: &ByteRecord) -> Result<Vec<u8>, String> {
    if record.len() != names.len() {
        return Err(words::cells(record.len(), names.len()));
    }
    let mut row = Map::new();
    for (name, cell) in names.iter().zip(record) {
        let (text, wrong) = match std::str::from_utf8(cell) {
            Ok(text) => (Cow::Borrowed(text), false),
            Err(_) => (String::from_utf8_lossy(cell), name != "error"),
        };
        if wrong {
            return Err(words::not_utf8(name));
        }
        let snake =
            name.chars().flat_map(|c| if c.is_ascii_uppercase() { vec!['_', c.to_ascii_lowercase()] } else { vec![c] });
        let snake: String = snake.collect();
        let value = match snake.as_str() {
            "error" => json!(text),
            // Tables write NULL as an empty cell.
            _ if text.is_empty() || text == "\\N" => Value::Null,
            "payload" => {
                let payload = payload_of(&text);
                if !names.iter().any(|name| matches!(&**name, "payload_kind" | "payloadKind")) {
                    put_into(&mut row, &payload);
                }
                json!(text)
            }
            known if NUMBERS.contains(&known) => serde_json::from_str(&text).unwrap_or_else(|_| json!(text)),
            _ => json!(text),
        };
        row.insert(name.clone().into_owned(), value);
    }
    Ok(Value::Object(row).to_string().into_bytes())
}

/// A JSON column is exported as its text.
fn payload_of(text: &str) -> Payload {
    let json = text.trim_start().starts_with(['{', '[']) && serde_json::from_str::<IgnoredAny>(text).is_ok();
    (text.to_owned(), if json { PayloadKind::Json } else { PayloadKind::Text })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: impl AsRef<[u8]>) -> Rows {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(text.as_ref()).expect("it is written");
        Rows::of(file, &Limits::default()).expect("it is read")
    }

    fn ids(rows: &Rows) -> Vec<String> {
        let mut text = String::new();
        rows.reader().read_to_string(&mut text).expect("lines");
        let id = |line: &str| serde_json::from_str::<Value>(line).expect(line)["id"].as_str().unwrap_or("?").to_owned();
        text.lines().map(id).collect()
    }

    fn row(id: &str, created_at: &str, error: &str) -> Value {
        json!({"id": id, "entityType": "SALE", "entityId": "s-1", "action": "UPDATE", "error": error, "createdAt": created_at})
    }

    fn two() -> [Value; 2] {
        [row("late", "2026-11-02T00:00:00Z", "a \"quoted\" \\ path\nline"), row("early", "2026-11-01T00:00:00Z", "x")]
    }

    #[test]
    fn rows_of_every_format_come_in_the_order_of_their_times() {
        let [late, early] = two();
        let lines = format!("{late}\n\n{early}\r\n");
        let copied = lines.replace('\\', "\\\\");
        let csv = "id,entity_type,entity_id,action,error,payload,retry_count,created_at\n\
            late,SALE,s-1,UPDATE,\"a \"\"b\"\",\n c\",\"{\"\"a\"\":1}\",3,2026-11-02 00:00:00+01\n\
            early,SALE,s-1,CREATE,x,,0,1793491200000\n";
        for text in [
            lines.clone(),
            format!("\u{feff}{lines}"),
            copied,
            json!([late, early]).to_string(),
            serde_json::to_string_pretty(&json!([late, early])).expect("JSON"),
            format!("{late:#}\n{early:#}\n"),
            csv.to_owned(),
            format!("\u{feff}{}", csv.replace(',', ";").replace("\"\";", "\"\",")),
            csv.replace(',', "\t"),
        ] {
            let rows = rows(&text);
            assert_eq!((&rows.unreadable, &rows.unfit), (&vec![], &vec![]), "{text}");
            assert_eq!(ids(&rows), ["early", "late"], "{text}");
        }
    }

    #[test]
    fn a_column_of_json_is_json_and_numbers_are_numbers() {
        let rows =
            rows("id,entityType,entityId,action,error,payload,retryCount\n7,SALE,8,CREATE,,\"{\"\"a\"\": 1}\",2\n");
        assert_eq!(rows.unfit, []);
        let mut text = String::new();
        rows.reader().read_to_string(&mut text).expect("lines");
        let row: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((&row["payload"], &row["payload_kind"]), (&json!("{\"a\": 1}"), &json!("json")));
        assert_eq!((&row["retryCount"], &row["id"], &row["error"]), (&json!(2), &json!("7"), &json!("")));
    }

    #[test]
    fn numbers_decide_where_every_row_has_one() {
        let [mut late, mut early] = two();
        (late["seq"], early["seq"]) = (json!(1), json!(2));
        assert_eq!(ids(&rows(format!("{early}\n{late}\n"))), ["late", "early"]);
        early["seq"] = Value::Null;
        assert_eq!(ids(&rows(format!("{late}\n{early}\n"))), ["early", "late"]);
    }

    #[test]
    fn doubled_backslashes_stay_where_they_are_meant() {
        let path = json!({"id": "a", "entity_type": "SALE", "entity_id": "s", "action": "C", "error": "C:\\x\\\"y\""});
        let plain = format!("{path}\n");
        let mut text = String::new();
        rows(&plain).reader().read_to_string(&mut text).expect("lines");
        assert_eq!(text, plain);
        let only_doubled = "{\"id\":\"a\",\"error\":\"C:\\\\x\"}\n";
        text.clear();
        rows(only_doubled).reader().read_to_string(&mut text).expect("lines");
        assert_eq!(text, only_doubled);
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_format() {
        let advice = |text: &[u8]| rows(text).advice().unwrap_or_default();
        for (text, said) in [
            (&b"-- PostgreSQL database dump\nCOPY public.sync_failures"[..], "SQL"),
            (b"insert into sync_failures values (1)", "SQL"),
            (b"PGDMP\x01", "PostgreSQL"),
            (b"\x1f\x8b\x08", "gzip"),
            (b"\xff\xfei\0d\0", "UTF-16"),
            (b"PK\x03\x04", "spreadsheet"),
            (b" row_to_json \n-----\n", "neither JSON nor CSV"),
        ] {
            let told = advice(text);
            assert!(told.contains(said) && told.contains("row_to_json(f)"), "{told}");
        }
        let broken = rows(b"[{\"id\":1},{\"id\"");
        assert_eq!((broken.rows.len(), broken.unreadable.len()), (1, 1));
        let short = rows("id,entity_type,entity_id,action,error\n1,SALE\n");
        assert_eq!((short.rows.len(), short.unreadable.len()), (0, 1));
        assert_eq!(rows("{broken\n{\"id\":1}\n").unreadable.len(), 1);
    }

    #[test]
    fn times_without_a_zone_are_counted() {
        let [mut late, early] = two();
        late["createdAt"] = json!("2026-11-02 00:00:00");
        assert_eq!(rows(format!("{early}\n{late}\n")).without_zone, Some((1, 2)));
    }
}
