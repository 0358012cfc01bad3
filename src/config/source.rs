//! A file of the configuration.

/// One file.
#[derive(Debug)]
pub(super) struct Source<'t> {
    pub(super) name: &'t str,
    pub(super) text: &'t str,
    /// Its offset among all files.
    pub(super) base: usize,
}
