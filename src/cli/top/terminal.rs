//! The terminal during the live screen: alternate screen, every key at once, no echo.
//!
//! It is always restored: at the end of the command and after an error by [`Drop`], and after a panic on any thread by
//! a hook that runs before the panic is printed, so that the message is readable. A signal to stop ends the command in
//! the ordinary way.

use rustix::fd::{AsFd, OwnedFd};
use rustix::termios::{OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::io;
use std::panic;
use std::sync::{Mutex, PoisonError};

/// The alternate screen, without a cursor; pasted text is marked.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[?2004h";
const LEAVE: &[u8] = b"\x1b[0m\x1b[?2004l\x1b[?25h\x1b[?1049l";
/// Assumed size of a terminal that does not report one.
const USUAL: (usize, usize) = (80, 24);
/// Maximum size that is drawn, because a terminal may report anything.
const LARGEST: (usize, usize) = (1000, 500);

/// The terminal's earlier settings.
struct Before {
    output: OwnedFd,
    settings: Termios,
}

static BEFORE: Mutex<Option<Before>> = Mutex::new(None);

/// The terminal, controlled while this value lives.
#[derive(Debug)]
pub(super) struct Terminal {
    output: OwnedFd,
}

impl Terminal {
    /// Takes control of the terminal until the value is dropped.
    pub(super) fn take(output: impl AsFd) -> io::Result<Self> {
        let output = output.as_fd().try_clone_to_owned()?;
        let settings = tcgetattr(&output)?;
        let kept = Before { output: output.try_clone()?, settings: settings.clone() };
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        let told = panic::take_hook();
        panic::set_hook(Box::new(move |what| {
            refund();
            told(what);
        }));
        let terminal = Self { output };
        raw(&terminal.output, settings)?;
        terminal.write(ENTER)?;
        Ok(terminal)
    }

    /// Takes control again, after the process was stopped and the shell used the terminal meanwhile.
    pub(super) fn again(&self) -> io::Result<()> {
        raw(&self.output, tcgetattr(&self.output)?)?;
        self.write(ENTER)
    }

    /// Columns and rows.
    pub(super) fn size(&self) -> (usize, usize) {
        let (columns, rows) =
            tcgetwinsize(&self.output).map_or((0, 0), |size| (usize::from(size.ws_col), usize::from(size.ws_row)));
        let of = |told: usize, usual: usize, largest: usize| if told == 0 { usual } else { told.min(largest) };
        (of(columns, USUAL.0, LARGEST.0), of(rows, USUAL.1, LARGEST.1))
    }

    /// Writes all bytes.
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        write_all(&self.output, bytes)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        refund();
    }
}

/// Delivers every key at once, without echo or interpretation.
fn raw(output: &OwnedFd, mut settings: Termios) -> io::Result<()> {
    settings.make_raw();
    settings.special_codes[SpecialCodeIndex::VMIN] = 1;
    settings.special_codes[SpecialCodeIndex::VTIME] = 0;
    Ok(tcsetattr(output, OptionalActions::Flush, &settings)?)
}

/// Restores the terminal once, by the first caller. A closed terminal needs nothing.
fn refund() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(before) = before {
        let _ = write_all(&before.output, LEAVE);
        let _ = tcsetattr(&before.output, OptionalActions::Now, &before.settings);
    }
}

fn write_all(output: &OwnedFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(output, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
    use rustix::termios::LocalModes;
    use std::fs::File;
    use std::io::Read;

    /// Both ends of a pseudo-terminal: the user's and the program's.
    fn pair() -> (File, OwnedFd) {
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
        grantpt(&person).expect("it is granted");
        unlockpt(&person).expect("it is unlocked");
        let terminal = ioctl_tiocgptpeer(&person, OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("the other end");
        (File::from(person), terminal)
    }

    fn echoes(terminal: &OwnedFd) -> bool {
        tcgetattr(terminal).expect("a terminal").local_modes.contains(LocalModes::ECHO | LocalModes::ICANON)
    }

    fn seen(person: &mut File, ending: &[u8]) -> bool {
        let (mut seen, mut piece) = (Vec::new(), [0; 256]);
        while !seen.ends_with(ending) {
            let read = person.read(&mut piece).expect("the terminal is open");
            seen.extend_from_slice(&piece[..read]);
        }
        seen.starts_with(ENTER)
    }

    /// A process has only one terminal, so its ends are one test.
    #[test]
    fn it_is_left_as_it_was_at_an_end_and_at_a_panic_of_any_thread() {
        let (mut person, end) = pair();
        let terminal = Terminal::take(&end).expect("it is a terminal");
        assert!(!echoes(&end));
        drop(terminal);
        assert!(echoes(&end) && seen(&mut person, LEAVE));

        let (mut person, end) = pair();
        let terminal = Terminal::take(&end).expect("it is a terminal");
        let panicked = std::thread::spawn(|| panic!("on purpose, while the terminal is taken")).join();
        assert!(panicked.is_err());
        assert!(echoes(&end) && seen(&mut person, LEAVE), "the hook has done it");
        drop(terminal);
    }

    #[test]
    fn what_is_no_terminal_is_not_taken() {
        let file = tempfile::tempfile().expect("a file");
        assert!(Terminal::take(&file).is_err());
    }
}
