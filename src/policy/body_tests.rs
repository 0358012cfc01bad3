//! Bodies that look like a page, and pointers with `*`.

use super::*;
use serde_json::json;

fn typed(kind: Option<&str>, body: &[u8]) -> Answer {
    Answer { status: 200, content_type: kind.map(str::to_owned), body: body.to_vec(), ..Answer::default() }
}

fn is_page(kind: Option<&str>, body: &[u8]) -> bool {
    Body::of(&typed(kind, body)).is_web_page()
}

#[test]
fn what_browsers_take_for_a_page_is_one_whatever_its_type() {
    let utf16: Vec<u8> = [0xff, 0xfe].into_iter().chain("<html>".encode_utf16().flat_map(u16::to_le_bytes)).collect();
    let pages: [&[u8]; 16] = [
        b"<html>",
        b"<HTML lang=de>",
        b"\xef\xbb\xbf \r\n<!DOCTYPE html>",
        b"<!doctype\tHTML PUBLIC \"-//W3C//DTD HTML 4.01//EN\">",
        b"<!-- portal 3.2 --><html>",
        b"<!-- one --> <!-- two -->\n<head>",
        b"<?xml version=\"1.0\"?>\n<!DOCTYPE html PUBLIC \"x\">",
        b"<?xml version=\"1.0\"?><html xmlns=\"http://www.w3.org/1999/xhtml\">",
        b"<script>location='http://login.example'</script>",
        b"<head><title>Welcome</title>",
        b"<meta http-equiv=refresh content=0>",
        b"<p>Please log in",
        b"<h1>It works!</h1>",
        b"<form action=/login>",
        b"<!-- nothing else -->",
        &utf16,
    ];
    for page in pages {
        for kind in [None, Some(""), Some("text/html"), Some("application/json"), Some("text/plain; charset=utf-8")] {
            assert!(is_page(kind, page), "{kind:?} {}", String::from_utf8_lossy(page));
        }
    }
}

#[test]
fn what_a_program_says_is_none_whatever_its_type() {
    let answers: [&[u8]; 12] = [
        b"",
        b" \n",
        b"OK",
        b"1",
        b"{\"html\":\"<html>\"}",
        b"<?xml version=\"1.0\"?><soap:Envelope/>",
        b"<response><p>1</p></response>",
        b"<!DOCTYPE plist PUBLIC \"x\"><plist/>",
        b"<br />\n<b>Notice</b>:  Undefined index in <b>/srv/x.php</b> on line <b>3</b><br />\n{\"id\":7}",
        b"<htmlish/>",
        b"\xff\xfe",
        b"<",
    ];
    for answer in answers {
        for kind in [None, Some("text/html"), Some("application/json"), Some("text/xml")] {
            assert!(!is_page(kind, answer), "{kind:?} {}", String::from_utf8_lossy(answer));
        }
    }
    assert!(!is_page(Some("application/xml"), b"<table><row/></table>"), "an element of that name may be anybody's");
    assert!(is_page(Some("application/xml"), b"<html>"));
}

#[test]
fn where_the_bytes_are_compressed_the_type_decides() {
    let answer = Answer { encoding: Some("gzip".into()), ..typed(Some("text/html"), b"\x1f\x8b") };
    assert!(Body::of(&answer).is_web_page());
    let answer = Answer { encoding: Some("gzip".into()), ..typed(Some("application/json"), b"\x1f\x8b") };
    assert!(!Body::of(&answer).is_web_page());
}

#[test]
fn a_pointer_may_mean_any_member_of_an_array() {
    let json = json!({"a": [{"b": 1}, {"b": 2}, {"c": [3]}], "*": 7, "x/y": {"~": 8}});
    let found = |pointer: &str| pointed(&json, pointer).into_iter().cloned().collect::<Vec<_>>();
    assert_eq!(found("/a/*/b"), [json!(1), json!(2)]);
    assert_eq!(found("/a/1/b"), [json!(2)]);
    assert_eq!(found("/a/01/b"), [json!(null); 0]);
    assert_eq!(found("/a/*/c/*"), [json!(3)]);
    assert_eq!(found("/*"), [json!(7)]);
    assert_eq!(found("/x~1y/~0"), [json!(8)]);
    assert_eq!(found(""), std::slice::from_ref(&json));
    assert_eq!(found("/a/9"), [json!(null); 0]);
}

#[test]
fn charsets() {
    let read = |kind: &str, body: &[u8]| {
        let answer = typed(Some(kind), body);
        Body::of(&answer).json().cloned().map_err(str::to_owned)
    };
    assert_eq!(read("application/json; charset=windows-1252", b"\"\x80 \xe9\""), Ok(json!("€ é")));
    assert_eq!(read("application/json; charset=UTF-8", "\"é\"".as_bytes()), Ok(json!("é")));
    assert_eq!(read("application/json;charset=utf-16le", b"\"\0x\0\"\0"), Ok(json!("x")));
    assert!(read("application/json; charset=utf-16le", b"\0\xd8").is_err_and(|why| why.contains("UTF-16")));
}
