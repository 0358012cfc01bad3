//! `report`: one page that is complete, loads nothing from outside and is safe with hostile input;
//! with and without the agent, over a month and over many rows.
//!
//! `tests/report/run.sh` opens the same page in a browser.

#[path = "report/fault.rs"]
mod fault;
#[path = "report/month.rs"]
mod month;
#[path = "report/terminal.rs"]
mod terminal;

use fault::{LARGEST, fault};
use resyncd::moment::WallTime;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// The month's state directory, written once for all tests; they only read it.
fn month() -> &'static Path {
    static MONTH: OnceLock<TempDir> = OnceLock::new();
    let dir = MONTH.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        let now = i64::try_from(since.as_millis()).expect("a time of these days");
        month::write(dir.path(), WallTime::from_millis(now));
        dir
    });
    dir.path()
}

/// Runs the command on a state directory, with its own configuration file: tests run concurrently,
/// and one read a shared file empty while another was rewriting it.
fn resyncd(state: &Path, args: &[&str]) -> Output {
    let config = tempfile::NamedTempFile::new().expect("a temporary file");
    let text = format!(
        "[agent]\nterminal_id = \"till-07\"\nstore_id = \"0042\"\nstate_dir = {state:?}\nsocket = {:?}\nadmin_socket = {:?}\n\
         [upstream.default]\nurl = \"https://hq.example/sync\"\nheaders = {{ X-Secret = \"s3cr3t-value\" }}\n",
        state.join("app.sock"),
        state.join("admin.sock")
    );
    fs::write(config.path(), text).expect("a configuration");
    let mut command = Command::new(env!("CARGO_BIN_EXE_resyncd"));
    for name in ["STATE_DIR", "SOCKET", "ADMIN_SOCKET", "UPSTREAM", "LOG", "LANG"] {
        command.env_remove(format!("RESYNCD_{name}"));
    }
    command.env("RESYNCD_CONFIG", config.path()).env("LC_ALL", "C.UTF-8").args(args).output().expect("the binary runs")
}

fn out(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn page(state: &Path, more: &[&str]) -> String {
    out(&resyncd(state, &[&["report", "-o", "-"], more].concat()))
}

#[test]
fn the_page_of_a_month_holds_everything_and_nothing_from_outside() {
    let page = page(month(), &[]);
    assert_eq!(fault(&page), None);
    for section in [
        "Numbers",
        "Backlog and deliveries",
        "Outages",
        "Time to delivery",
        "Needs a person",
        "Blocked entities",
        "Errors and what to do",
        "By type and action",
        "Alerts",
        "What people did",
        "Configuration",
        "Versions",
    ] {
        assert!(page.contains(&format!("<h2>{section}</h2>")), "{section}");
    }
    for told in [
        "resyncd on till-07, store 0042",
        "The agent is not running",
        "HTTP 422: unknown SKU",
        "token expired",
        "InvoiceMapper is repaired",
        "head office moves its database",
        "blocked, failing or paused",
        "no connection",
        "12 failures wait behind 1 of those",
        "The head office rejects it as it is.",
        "resyncd retry ",
        "terminal_id = &quot;till-07&quot;",
    ] {
        assert!(page.contains(told), "{told}");
    }
    assert_eq!(page.matches("<svg").count(), 6, "four along the time, one distribution, and the hatchings");
    assert_eq!(page.matches("<title id=").count(), 5);
    assert_eq!(page.matches("<desc id=").count(), 5);
}

/// Each of these faults must be found, or the check above proves nothing.
#[test]
fn a_fault_of_a_page_is_found() {
    for bad in [
        "<p><script>x</script>",
        "<img src=x>",
        "<a href=\"https://x\">",
        "<a href=\"x.html\">",
        "<p onload=x>",
        "<style>a { background: url(x.png) }</style>",
    ] {
        assert!(fault(bad).is_some(), "{bad}");
    }
    assert!(fault(&" ".repeat(LARGEST + 1)).is_some());
    assert_eq!(fault("<p>https://x.example &lt;script&gt; <a href=\"#x\">y</a>"), None);
}

#[test]
fn hostile_texts_are_nothing_but_texts() {
    let page = page(month(), &["--payloads"]);
    assert_eq!(fault(&page), None);
    for hostile in ["<script", "<img", "onerror=document.title=1>", "\u{202e}", "</svg></style>"] {
        assert!(!page.contains(hostile), "{hostile}");
    }
    assert!(page.contains("&lt;script&gt;alert(&#39;id&#39;)&lt;/script&gt;"), "as it was told");
    assert!(page.contains("x&quot;&gt;&lt;script&gt;document.title=1"), "the entity's id");
}

#[test]
fn payloads_are_shown_when_asked_for_and_secrets_never() {
    let (without, with) = (page(month(), &[]), page(month(), &["--payloads"]));
    assert!(!without.contains("breaks-it") && with.contains("breaks-it"));
    assert!(without.contains("left out of this report"));
    for page in [without, with] {
        assert!(page.contains("X-Secret") && !page.contains("s3cr3t-value"));
    }
}

/// Headings, sentences and numbers are Spanish; what comes from elsewhere stays as it is.
#[test]
fn the_page_speaks_spanish() {
    let html = page(month(), &["--lang", "es"]);
    assert_eq!(fault(&html), None);
    for said in [
        "<html lang=\"es\">",
        "resyncd en till-07, tienda 0042",
        "<h2>Requieren intervención</h2>",
        "12 incidencias esperan detrás de 1 de las que requieren intervención.",
        "<summary>En forma de tabla</summary>",
        "rechaza, falla o está en pausa",
        "HTTP 422: unknown SKU",
    ] {
        assert!(html.contains(said), "{said}");
    }
    let text = out(&resyncd(month(), &["report", "--text", "--lang", "es"]));
    for said in ["\nTiempo hasta la entrega\n=======================\n", "Cola, últimos 30 días\n", "\nCUÁNDO "] {
        assert!(text.contains(said), "{said} in {text}");
    }
    let english = page(month(), &[]);
    assert_eq!(html.matches("<tr").count(), english.matches("<tr").count(), "nothing is missing");
}

#[test]
fn the_text_tells_what_the_plots_show() {
    let text = out(&resyncd(month(), &["report", "--text"]));
    for told in ["Backlog, the last 30 days\n", "At most ", "Time from recording to delivery\n", "#########", "WHEN "] {
        assert!(text.contains(told), "{told}");
    }
    assert!(!text.contains(['\u{1b}', '\u{202e}']));
    assert!(text.lines().count() > 150, "{text}");
    let verbatim = |line: &&str| line.starts_with("    ");
    for line in text.lines().filter(|line| !verbatim(line)) {
        assert!(line.chars().count() <= 80, "too long: {line}");
    }
}

/// An existing page is replaced atomically, and only its owner can read it.
#[test]
fn a_file_is_written_whole_and_for_its_owner_alone() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file: PathBuf = dir.path().join("ticket.html");
    fs::write(&file, "an older one").expect("a file");
    let told = out(&resyncd(month(), &["report", "-o", file.to_str().expect("UTF-8")]));
    assert!(told.contains("It holds no payloads"), "{told}");
    let meta = fs::metadata(&file).expect("the file");
    assert_eq!(meta.permissions().mode() & 0o777, 0o600);
    assert_eq!(fault(&fs::read_to_string(&file).expect("the page")), None);
    assert_eq!(fs::read_dir(dir.path()).expect("the directory").count(), 1, "nothing else is left");
    let nowhere = resyncd(month(), &["report", "-o", "/no/such/directory/x.html"]);
    assert_eq!(nowhere.status.code(), Some(1), "{nowhere:?}");
    assert_eq!(resyncd(month(), &["report"]).status.code(), Some(2), "it has to be said where to");
}

/// For `tests/report/run.sh`: writes the month into `RESYNCD_MONTH`, and leaves it there.
#[test]
#[ignore = "writes into a directory that is named"]
fn write_the_month() {
    let dir = std::env::var("RESYNCD_MONTH").expect("RESYNCD_MONTH names a directory");
    let target = Path::new(&dir);
    let file = "sync_failures.db";
    fs::copy(month().join(file), target.join(file)).expect("a copy");
    for (name, more) in [("report.html", &[][..]), ("payloads.html", &["--payloads"])] {
        fs::write(target.join(name), page(month(), more)).expect("a page");
    }
}
