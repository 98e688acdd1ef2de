//! Photographs as files: what a perceiver looks at.

use crate::files;
use crate::maps::MapError;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};
use std::io::Cursor;
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
    files::keep_beginning(&mut files, prefix);
    match files.is_empty() {
        true if prefix.is_empty() => Err(fail("holds no .jpg, .png or .webp file".into())),
        true => Err(fail(format!("no .jpg, .png or .webp file begins with {prefix:?}"))),
        false => Ok(files),
    }
}

/// Reads a JPEG, a PNG or a WebP file, by what it holds, not by its name, and turns it upright where its camera says how it was held. Alpha is left
/// away, grey becomes RGB.
///
/// # Errors
/// A file that is none of them, damaged, or too large.
pub fn read(file: &Path) -> Result<RgbImage, MapError> {
    let fail = |reason: String| MapError { file: file.to_owned(), reason };
    let bytes = files::read(file, MAX_FILE).map_err(|error| fail(error.to_string()))?;
    let reader = ImageReader::new(Cursor::new(&bytes)).with_guessed_format();
    let mut reader = reader.map_err(|error| fail(error.to_string()))?;
    match reader.format() {
        None => return Err(fail("is no JPEG, PNG or WebP file".into())),
        Some(ImageFormat::Jpeg) if !is_whole_jpeg(&bytes) => {
            return Err(fail("can't be decoded: the JPEG is cut off, its end marker is missing".into()));
        }
        Some(_) => {}
    }
    reader.limits(limits());
    let decoded = reader.into_decoder().and_then(|mut decoder| {
        let orientation = decoder.orientation()?;
        // The limits above are of what decoding takes beside the picture.
        limits().reserve(decoder.total_bytes())?;
        let mut image = DynamicImage::from_decoder(decoder)?;
        image.apply_orientation(orientation);
        Ok(image)
    });
    let image = decoded.map_err(|error| fail(format!("can't be decoded: {}", error.to_string().trim())))?;
    Ok(image.into_rgb8())
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(MAX_SIDE), Some(MAX_SIDE));
    limits.max_alloc = Some(MAX_DECODED);
    limits
}

/// Whether an end marker follows the last scan, which the decoder doesn't ask: it fills up what is missing.
fn is_whole_jpeg(bytes: &[u8]) -> bool {
    let scan = bytes.windows(2).rposition(|pair| pair == [0xff, 0xda]);
    scan.is_some_and(|scan| bytes[scan..].windows(2).any(|pair| pair == [0xff, 0xd9]))
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
        let jpeg = dir.join("c.jpg");
        image.save_with_format(&jpeg, ImageFormat::Jpeg).unwrap();
        assert_eq!(read(&jpeg).unwrap().dimensions(), (5, 4));
        let bytes = std::fs::read(&jpeg).unwrap();
        std::fs::write(&jpeg, &bytes[..bytes.len() - 4]).unwrap();
        assert!(read(&jpeg).unwrap_err().reason.contains("cut off"));
        // The camera was held upright: a quarter turn to the right, in an APP1 segment behind the start marker.
        let exif: [u8; 36] =
            *b"\xff\xe1\x00\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        std::fs::write(&jpeg, [&bytes[..2], &exif, &bytes[2..]].concat()).unwrap();
        assert_eq!(read(&jpeg).unwrap().dimensions(), (4, 5));
        std::fs::write(&path, b"no photograph").unwrap();
        assert!(read(&path).unwrap_err().reason.contains("is no JPEG"));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
