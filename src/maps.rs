//! Index PNGs: label maps as files, one pixel a cell, its value the class (grey or palette index, 8 bits or fewer).

use crate::scene::{ClassMap, LabelSet};
use crate::wire::Grid;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Seek};
use std::path::{Path, PathBuf};

/// Most bytes of a PNG that is read: more than an uncompressed map of the largest grid takes.
pub const MAX_PNG: u64 = 16 << 20;

/// Why a map could not be read or written. Names the file.
#[derive(Debug)]
pub struct MapError {
    pub file: PathBuf,
    pub reason: String,
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.reason)
    }
}

impl std::error::Error for MapError {}

/// Reads the index PNG `file` as classes of `labels`. 255, which Cityscapes writes for what is ignored, becomes the set's
/// unlabelled class.
///
/// # Errors
/// A file that is no index PNG, too large, or with a value that the label set doesn't have: the first such pixel is named.
pub fn read(file: &Path, labels: &LabelSet) -> Result<ClassMap, MapError> {
    let opened = crate::files::open(file, MAX_PNG);
    let opened = opened.map_err(|error| MapError { file: file.to_owned(), reason: error.to_string() })?;
    decode(file, BufReader::new(opened), labels)
}

/// [`read`], of the PNG that `file` names in errors.
///
/// # Errors
/// As `read`.
pub fn decode(file: &Path, png: impl BufRead + Seek, labels: &LabelSet) -> Result<ClassMap, MapError> {
    let fail = |reason: String| MapError { file: file.to_owned(), reason };
    let mut decoder = png::Decoder::new(png);
    decoder.set_transformations(png::Transformations::IDENTITY);
    let mut reader = decoder.read_info().map_err(|error| fail(format!("not a PNG that can be read: {error}")))?;
    let info = reader.info();
    let (width, height, color, depth) = (info.width, info.height, info.color_type, info.bit_depth as usize);
    let grid = match (u16::try_from(width), u16::try_from(height)) {
        (Ok(width), Ok(height)) if Grid::new(width, height).is_valid() => Grid::new(width, height),
        _ => {
            return Err(fail(format!("is {width}x{height}, maps have at most 4096 cells a side and 2097152 in all")));
        }
    };
    if !matches!(color, png::ColorType::Grayscale | png::ColorType::Indexed) || depth > 8 {
        return Err(fail(format!(
            "is {color:?} with {depth} bits, not an index map: give 8-bit grey or palette PNGs whose values are classes (Cityscapes: *_labelTrainIds.png)"
        )));
    }
    let size = reader.output_buffer_size().ok_or_else(|| fail("is too large".into()))?;
    let mut bytes = vec![0; size];
    reader.next_frame(&mut bytes).map_err(|error| fail(format!("is damaged: {error}")))?;

    let row_len = (width as usize * depth).div_ceil(8);
    let per_byte = 8 / depth;
    let mask = (0xffu16 >> (8 - depth)) as u8;
    let mut cells = Vec::with_capacity(grid.cells());
    for row in bytes.chunks_exact(row_len) {
        let value = |x: usize| row[x / per_byte] >> (8 - depth - (x % per_byte) * depth) & mask;
        cells.extend((0..width as usize).map(value));
    }
    for (cell, value) in cells.iter_mut().enumerate() {
        match (*value, labels.unlabelled()) {
            (255, Some(unlabelled)) => *value = unlabelled,
            (class, _) if (class as usize) < labels.len() => {}
            (class, _) => {
                let (x, y) = (cell % width as usize, cell / width as usize);
                return Err(fail(format!(
                    "has value {class} at column {x}, row {y}: label set {} has classes 0 to {} (255 for unlabelled); choose another with --labels",
                    labels.name,
                    labels.len() - 1
                )));
            }
        }
    }
    Ok(ClassMap { grid, cells })
}

/// Writes `map` as an index PNG in the colours of `labels`.
///
/// # Errors
/// What the file system said.
pub fn write(file: &Path, map: &ClassMap, labels: &LabelSet) -> Result<(), MapError> {
    let fail = |reason: String| MapError { file: file.to_owned(), reason };
    let created = File::create(file).map_err(|error| fail(error.to_string()))?;
    let mut encoder = png::Encoder::new(BufWriter::new(created), map.grid.width as u32, map.grid.height as u32);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(labels.classes.iter().flat_map(|class| class.rgb).collect::<Vec<u8>>());
    let mut writer = encoder.write_header().map_err(|error| fail(error.to_string()))?;
    writer.write_image_data(&map.cells).map_err(|error| fail(error.to_string()))?;
    writer.finish().map_err(|error| fail(error.to_string()))
}

/// The PNG files of `dir` in the order of their names, which is the order in which they are sent.
///
/// # Errors
/// A folder that can't be read or holds no PNG.
pub fn list(dir: &Path) -> Result<Vec<PathBuf>, MapError> {
    let fail = |reason: String| MapError { file: dir.to_owned(), reason };
    let files = crate::files::with_extensions(dir, &["png"]).map_err(|error| fail(error.to_string()))?;
    if files.is_empty() {
        return Err(fail("holds no .png file: give a folder of index PNGs, sent in the order of their names".into()));
    }
    Ok(files)
}

/// Those of [`list`] whose file names begin with `prefix`, as the frames of one recording do.
///
/// # Errors
/// As [`list`], and where there are none.
pub fn list_beginning(dir: &Path, prefix: &str) -> Result<Vec<PathBuf>, MapError> {
    let mut files = list(dir)?;
    crate::files::keep_beginning(&mut files, prefix);
    if files.is_empty() {
        return Err(MapError { file: dir.to_owned(), reason: format!("no PNG begins with {prefix:?}") });
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::CAMVID12;

    fn scratch(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("semrx-{}-{name}", std::process::id()))
    }

    /// What a file of these samples is read as. The file is called `name`, and gone again.
    fn read_samples(
        name: &str,
        depth: png::BitDepth,
        color: png::ColorType,
        (width, height): (u32, u32),
        data: &[u8],
    ) -> Result<ClassMap, MapError> {
        let path = scratch(name);
        let mut encoder = png::Encoder::new(File::create(&path).unwrap(), width, height);
        encoder.set_color(color);
        encoder.set_depth(depth);
        encoder.write_header().unwrap().write_image_data(data).unwrap();
        let map = read(&path, &CAMVID12);
        std::fs::remove_file(path).unwrap();
        map
    }

    #[test]
    fn a_map_survives_a_file() {
        let map = ClassMap { grid: Grid::new(4, 3), cells: (0..12).collect() };
        let path = scratch("map.png");
        write(&path, &map, &CAMVID12).unwrap();
        assert_eq!(read(&path, &CAMVID12).unwrap(), map);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn narrow_indices_are_unpacked_and_255_is_unlabelled() {
        use png::{BitDepth, ColorType::Grayscale};
        let map = read_samples("narrow.png", BitDepth::Four, Grayscale, (3, 2), &[0x12, 0x30, 0x4b, 0x50]).unwrap();
        assert_eq!(map.cells, [1, 2, 3, 4, 11, 5]);
        let map = read_samples("unlabelled.png", BitDepth::Eight, Grayscale, (2, 1), &[7, 255]).unwrap();
        assert_eq!(map.cells, [7, 11]);
    }

    #[test]
    fn what_is_no_map_is_refused_with_its_reason() {
        use png::{BitDepth::Eight, ColorType};
        let error = read_samples("value.png", Eight, ColorType::Grayscale, (2, 2), &[0, 1, 2, 77]).unwrap_err();
        assert!(error.reason.contains("value 77 at column 1, row 1"), "{error}");
        let error = read_samples("color.png", Eight, ColorType::Rgb, (1, 1), &[0, 0, 0]).unwrap_err();
        assert!(error.reason.contains("not an index map"), "{error}");
        let path = scratch("picture.gif");
        std::fs::write(&path, b"GIF89a").unwrap();
        assert!(read(&path, &CAMVID12).unwrap_err().reason.contains("not a PNG"));
        std::fs::remove_file(path).unwrap();
        assert!(read(Path::new("no/such.png"), &CAMVID12).is_err());
    }
}
