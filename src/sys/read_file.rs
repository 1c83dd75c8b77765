//! Reads a whole file within a bound: a device or a wrong path must not fill the memory.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The file's bytes; `None` when it has more than `bytes_max`. Waits where the file does: opening a
/// pipe waits for its writer.
pub(crate) fn read_file(path: &Path, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    // One more than is wanted, which tells a file of just that size from a larger one.
    File::open(path)?
        .take(bytes_max.saturating_add(1))
        .read_to_end(&mut bytes)?;
    Ok(Some(bytes).filter(|bytes| bytes.len() as u64 <= bytes_max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_bound_and_an_endless_one_ends_there() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [7; 10]).unwrap();
        assert_eq!(read_file(file.path(), 10).unwrap(), Some(vec![7; 10]));
        assert_eq!(read_file(file.path(), 9).unwrap(), None);
        assert_eq!(read_file(Path::new("/dev/zero"), 1024).unwrap(), None);
    }
}
