//! The machine as SQLite's virtual file system: it converts pointers and decides nothing.

use crate::vfs::fault::Failure;
use crate::vfs::machine::{Opening, Shared, on};
use crate::vfs::name_of;
use rusqlite::ffi;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::Path;

/// SQLite's state of an open file.
#[repr(C)]
struct File {
    base: ffi::sqlite3_file,
    number: u64,
}

/// Registers the machine as the default of the process.
pub(crate) fn register() {
    let vfs = Box::leak(Box::new(ffi::sqlite3_vfs {
        iVersion: 2,
        szOsFile: c_int::try_from(size_of::<File>()).expect("a small struct"),
        mxPathname: 512,
        pNext: std::ptr::null_mut(),
        zName: c"machine".as_ptr(),
        pAppData: std::ptr::null_mut(),
        xOpen: Some(open),
        xDelete: Some(delete),
        xAccess: Some(access),
        xFullPathname: Some(full_path_name),
        xDlOpen: None,
        xDlError: None,
        xDlSym: None,
        xDlClose: None,
        xRandomness: Some(randomness),
        xSleep: Some(sleep),
        xCurrentTime: None,
        xGetLastError: Some(last_error),
        xCurrentTimeInt64: Some(current_time),
        xSetSystemCall: None,
        xGetSystemCall: None,
        xNextSystemCall: None,
    }));
    // SAFETY: the struct is complete and is never freed.
    let code = unsafe { ffi::sqlite3_vfs_register(vfs, 1) };
    assert_eq!(code, ffi::SQLITE_OK, "SQLite takes a file system");
}

/// Makes SQLite seed its generator again, from the machine of the next caller.
pub(crate) fn forget_randomness() {
    // SAFETY: this call with no buffer resets the generator.
    unsafe { ffi::sqlite3_randomness(0, std::ptr::null_mut()) };
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(map_index),
    xShmLock: Some(lock_index),
    xShmBarrier: Some(index_barrier),
    xShmUnmap: Some(unmap_index),
    xFetch: None,
    xUnfetch: None,
};

fn code(done: Result<(), Failure>, io: c_int) -> c_int {
    match done {
        Ok(()) => ffi::SQLITE_OK,
        Err(Failure::Io) => io,
        Err(Failure::Full) => ffi::SQLITE_FULL,
        Err(Failure::Busy) => ffi::SQLITE_BUSY,
        Err(Failure::Missing) => ffi::SQLITE_CANTOPEN,
    }
}

/// A file's name.
///
/// # Safety
/// `name` is a C string.
unsafe fn name(name: *const c_char) -> String {
    // SAFETY: as above.
    let text = unsafe { CStr::from_ptr(name) };
    name_of(Path::new(text.to_str().expect("a path in UTF-8")))
}

/// The machine's number of an open file.
///
/// # Safety
/// `file` is one that [`open`] has opened.
unsafe fn number(file: *mut ffi::sqlite3_file) -> u64 {
    // SAFETY: as above; `open` has stored a complete `File` there.
    unsafe { (*file.cast::<File>()).number }
}

fn offset(at: i64) -> usize {
    usize::try_from(at).expect("no offset is negative")
}

fn length(count: c_int) -> usize {
    usize::try_from(count).expect("no length is negative")
}

// ---- the file system

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    path: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    flags_out: *mut c_int,
) -> c_int {
    let has = |flag: c_int| flags & flag != 0;
    let how = Opening {
        create: path.is_null() || has(ffi::SQLITE_OPEN_CREATE),
        temporary: path.is_null() || has(ffi::SQLITE_OPEN_DELETEONCLOSE),
        read_only: has(ffi::SQLITE_OPEN_READONLY),
        log: has(ffi::SQLITE_OPEN_WAL | ffi::SQLITE_OPEN_MAIN_JOURNAL),
    };
    // SAFETY: SQLite hands over a path or none, room for a `File`, and a place for the flags or none.
    unsafe {
        (*file).pMethods = std::ptr::null(); // Nothing has to be closed when this fails.
        let name = if path.is_null() { None } else { Some(name(path)) };
        match on(|machine| machine.open(name.as_deref(), how)) {
            Ok(number) => {
                std::ptr::addr_of_mut!((*file.cast::<File>()).number).write(number);
                (*file).pMethods = &raw const METHODS;
                if !flags_out.is_null() {
                    *flags_out = flags;
                }
                ffi::SQLITE_OK
            }
            Err(_) => ffi::SQLITE_CANTOPEN,
        }
    }
}

unsafe extern "C" fn delete(_: *mut ffi::sqlite3_vfs, path: *const c_char, and_sync: c_int) -> c_int {
    // SAFETY: SQLite hands over a path.
    let name = unsafe { name(path) };
    match on(|machine| machine.delete(&name, and_sync != 0)) {
        Err(Failure::Missing) => ffi::SQLITE_IOERR_DELETE_NOENT,
        done => code(done, ffi::SQLITE_IOERR_DELETE),
    }
}

unsafe extern "C" fn access(_: *mut ffi::sqlite3_vfs, path: *const c_char, flags: c_int, found: *mut c_int) -> c_int {
    // SAFETY: SQLite hands over a path.
    let name = unsafe { name(path) };
    let there = on(|machine| machine.length_of(&name));
    // Like SQLite's own: an empty file does not exist.
    let there = there.is_some_and(|length| length > 0 || flags != ffi::SQLITE_ACCESS_EXISTS);
    // SAFETY: and a place for the answer.
    unsafe { *found = c_int::from(there) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn full_path_name(
    _: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    room: c_int,
    into: *mut c_char,
) -> c_int {
    // SAFETY: SQLite hands over a path and a buffer of this size.
    unsafe {
        let bytes = CStr::from_ptr(path).to_bytes_with_nul();
        if bytes.len() > length(room) {
            return ffi::SQLITE_CANTOPEN;
        }
        std::ptr::copy_nonoverlapping(bytes.as_ptr().cast(), into, bytes.len());
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn randomness(_: *mut ffi::sqlite3_vfs, count: c_int, into: *mut c_char) -> c_int {
    // SAFETY: SQLite hands over a buffer of this size.
    let bytes = unsafe { std::slice::from_raw_parts_mut(into.cast::<u8>(), length(count)) };
    on(|machine| machine.random.get_or_insert_with(|| fastrand::Rng::with_seed(7)).fill(bytes));
    count
}

unsafe extern "C" fn sleep(_: *mut ffi::sqlite3_vfs, microseconds: c_int) -> c_int {
    on(|machine| machine.time_ms += i64::from(microseconds) / 1000);
    microseconds
}

unsafe extern "C" fn current_time(_: *mut ffi::sqlite3_vfs, into: *mut ffi::sqlite3_int64) -> c_int {
    /// 1970 in milliseconds of the Julian day.
    const EPOCH: i64 = 210_866_760_000_000;
    // SAFETY: SQLite hands over a place for the answer.
    unsafe { *into = on(|machine| machine.time_ms) + EPOCH };
    ffi::SQLITE_OK
}

unsafe extern "C" fn last_error(_: *mut ffi::sqlite3_vfs, _: c_int, _: *mut c_char) -> c_int {
    0
}

// ---- files

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite closes what was opened.
    let number = unsafe { number(file) };
    on(|machine| machine.close(number));
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(file: *mut ffi::sqlite3_file, into: *mut c_void, count: c_int, at: i64) -> c_int {
    // SAFETY: SQLite hands over an open file and a buffer of this size.
    let (number, buffer) = unsafe { (number(file), std::slice::from_raw_parts_mut(into.cast::<u8>(), length(count))) };
    match on(|machine| machine.read(number, offset(at), buffer)) {
        Ok(there) if there < length(count) => ffi::SQLITE_IOERR_SHORT_READ,
        done => code(done.map(drop), ffi::SQLITE_IOERR_READ),
    }
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, from: *const c_void, count: c_int, at: i64) -> c_int {
    // SAFETY: SQLite hands over an open file and this many bytes.
    let (number, bytes) = unsafe { (number(file), std::slice::from_raw_parts(from.cast::<u8>(), length(count))) };
    code(on(|machine| machine.write(number, offset(at), bytes)), ffi::SQLITE_IOERR_WRITE)
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    // SAFETY: SQLite hands over an open file.
    let number = unsafe { number(file) };
    code(on(|machine| machine.truncate(number, offset(size))), ffi::SQLITE_IOERR_TRUNCATE)
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    // SAFETY: SQLite hands over an open file.
    let number = unsafe { number(file) };
    code(on(|machine| machine.sync(number)), ffi::SQLITE_IOERR_FSYNC)
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, into: *mut i64) -> c_int {
    // SAFETY: SQLite hands over an open file.
    let number = unsafe { number(file) };
    let size = on(|machine| machine.size(number));
    if let Ok(size) = size {
        // SAFETY: and a place for the answer.
        unsafe { *into = i64::try_from(size).expect("a small file") };
    }
    code(size.map(drop), ffi::SQLITE_IOERR_FSTAT)
}

unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: SQLite hands over an open file.
    let number = unsafe { number(file) };
    code(on(|machine| machine.lock(number, level)), ffi::SQLITE_IOERR_LOCK)
}

unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: SQLite hands over an open file.
    let number = unsafe { number(file) };
    on(|machine| machine.unlock(number, level));
    ffi::SQLITE_OK
}

unsafe extern "C" fn check_reserved_lock(file: *mut ffi::sqlite3_file, found: *mut c_int) -> c_int {
    // SAFETY: SQLite hands over an open file.
    let number = unsafe { number(file) };
    let reserved = on(|machine| machine.is_reserved(number));
    // SAFETY: and a place for the answer.
    unsafe { *found = c_int::from(reserved == Ok(true)) };
    code(reserved.map(drop), ffi::SQLITE_IOERR_CHECKRESERVEDLOCK)
}

unsafe extern "C" fn file_control(_: *mut ffi::sqlite3_file, _: c_int, _: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

/// Like SQLite's own on Unix.
unsafe extern "C" fn sector_size(_: *mut ffi::sqlite3_file) -> c_int {
    4096
}

/// Like SQLite's own on Unix: a torn write changes nothing outside of what was written.
unsafe extern "C" fn device_characteristics(_: *mut ffi::sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

// ---- the log's index

unsafe extern "C" fn map_index(
    file: *mut ffi::sqlite3_file,
    region: c_int,
    size: c_int,
    extend: c_int,
    into: *mut *mut c_void,
) -> c_int {
    assert_eq!(length(size), Shared::REGION, "SQLite asks for regions of one size");
    // SAFETY: SQLite hands over an open file.
    let number = unsafe { number(file) };
    let index = on(|machine| machine.index(number));
    let place = index.as_ref().ok().and_then(|index| index.region(length(region), extend != 0));
    // SAFETY: and a place for the answer; the region lives as long as the file's handle holds it.
    unsafe { *into = place.map_or(std::ptr::null_mut(), <*mut u64>::cast) };
    code(index.map(drop), ffi::SQLITE_IOERR_SHMMAP)
}

unsafe extern "C" fn lock_index(file: *mut ffi::sqlite3_file, first: c_int, count: c_int, flags: c_int) -> c_int {
    // SAFETY: SQLite hands over an open file.
    let number = unsafe { number(file) };
    let mask = u8::try_from(((1_u32 << count) - 1) << first).expect("eight locks");
    if flags & ffi::SQLITE_SHM_UNLOCK != 0 {
        on(|machine| machine.unlock_index(number, mask));
        return ffi::SQLITE_OK;
    }
    let exclusive = flags & ffi::SQLITE_SHM_EXCLUSIVE != 0;
    code(on(|machine| machine.lock_index(number, mask, exclusive)), ffi::SQLITE_IOERR_SHMLOCK)
}

unsafe extern "C" fn index_barrier(_: *mut ffi::sqlite3_file) {
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
}

unsafe extern "C" fn unmap_index(file: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    // SAFETY: SQLite hands over an open file.
    let number = unsafe { number(file) };
    on(|machine| machine.leave_index(number));
    ffi::SQLITE_OK
}
