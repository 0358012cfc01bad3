//! The faults that a page must not have.

/// Size limit of the page, in bytes.
pub(crate) const LARGEST: usize = 300 << 10;

/// Tags of a page, without the text between them.
fn tags(page: &str) -> Vec<&str> {
    page.split('<').skip(1).map(|tag| tag.split('>').next().unwrap_or_default()).collect()
}

/// The first fault of a page, if there is one.
pub(crate) fn fault(page: &str) -> Option<String> {
    if page.len() > LARGEST {
        return Some(format!("{} bytes", page.len()));
    }
    for tag in tags(page) {
        let name = tag.trim_start_matches('/').split([' ', '\n']).next().unwrap_or_default();
        if ["script", "img", "iframe", "object", "embed", "link", "base", "form", "input", "a:href"].contains(&name) {
            return Some(format!("a tag <{tag}>"));
        }
        let outside = ["src=", "http:", "https:", "//", "javascript:", "data:", "@import"];
        let attribute = |word: &str| tag.contains(word) || tag.split(' ').any(|part| part.starts_with("on"));
        if let Some(word) = outside.into_iter().find(|word| attribute(word)) {
            return Some(format!("{word} in <{tag}>"));
        }
        if tag.contains("href=") && !tag.contains("href=\"#") {
            return Some(format!("a reference in <{tag}>"));
        }
    }
    let style = page.split("<style>").nth(1).and_then(|rest| rest.split("</style>").next()).unwrap_or_default();
    let outside = style.replace("url(#", "").contains("url(") || style.contains("@import");
    outside.then(|| "a reference in the style".to_owned())
}
