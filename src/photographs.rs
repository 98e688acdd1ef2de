//! Photographs as files: what a perceiver looks at.

use crate::files;
use crate::maps::MapError;
use image::{ImageReader, Limits, RgbImage};
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// Most bytes of a photograph's file.
const MAX_FILE: u64 = 64 << 20;
/// Most pixels on a side.
const MAX_SIDE: u32 = 16384;
/// Most bytes that decoding one takes.
const MAX_DECODED: u64 = 512 << 20;
const EXTENSIONS: [&str; 4] = ["jpeg", "jpg", "png", "webp"];

/// The JPEG, PNG and WebP files of `dir` whose names begin with `prefix`, in the order of their names.
///
/// # Errors
/// A folder that can't be read or holds none.
pub fn list_beginning(dir: &Path, prefix: &str) -> Result<Vec<PathBuf>, MapError> {
    let fail = |reason: String| MapError { file: dir.to_owned(), reason };
    let mut files = files::with_extensions(dir, &EXTENSIONS).map_err(|error| fail(error.to_string()))?;
    files.retain(|file| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)));
    match files.is_empty() {
        true if prefix.is_empty() => Err(fail("holds no .jpg, .png or .webp file".into())),
        true => Err(fail(format!("no .jpg, .png or .webp file begins with {prefix:?}"))),
        false => Ok(files),
    }
}

/// Reads a JPEG, a PNG or a WebP file, by what it holds, not by its name. Alpha is left away, grey becomes RGB.
///
/// # Errors
/// A file that is none of them, damaged, or too large.
pub fn read(file: &Path) -> Result<RgbImage, MapError> {
    let fail = |reason: String| MapError { file: file.to_owned(), reason };
    let opened = files::open(file, MAX_FILE).map_err(|error| fail(error.to_string()))?;
    let reader = ImageReader::new(BufReader::new(opened)).with_guessed_format();
    let mut reader = reader.map_err(|error| fail(error.to_string()))?;
    if reader.format().is_none() {
        return Err(fail("is no JPEG, PNG or WebP file".into()));
    }
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(MAX_SIDE), Some(MAX_SIDE));
    limits.max_alloc = Some(MAX_DECODED);
    reader.limits(limits);
    let image = reader.decode().map_err(|error| fail(format!("can't be decoded: {error}")))?;
    Ok(image.into_rgb8())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn photographs_survive_a_file_and_others_are_refused() {
        let dir = std::env::temp_dir().join(format!("semrx-photographs-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        assert!(list_beginning(&dir, "").unwrap_err().reason.contains("holds no"));
        let image = RgbImage::from_fn(5, 4, |x, y| image::Rgb([50 * x as u8, 60 * y as u8, 7]));
        let path = dir.join("a_1.PNG");
        image.save_with_format(&path, image::ImageFormat::Png).unwrap();
        assert_eq!(read(&path).unwrap(), image);
        std::fs::write(dir.join("b.txt"), b"no photograph").unwrap();
        assert_eq!(list_beginning(&dir, "a_").unwrap(), std::slice::from_ref(&path));
        assert!(list_beginning(&dir, "b").unwrap_err().reason.contains("begins with"));
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        assert!(read(&path).unwrap_err().reason.contains("can't be decoded"));
        std::fs::write(&path, b"no photograph").unwrap();
        assert!(read(&path).unwrap_err().reason.contains("is no JPEG"));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
