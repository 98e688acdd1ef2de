//! Pictures of class maps: indexed PNGs in the colours of the label set, with what is unknown hatched.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::scene::{ClassMap, LabelSet};
use crate::wire::Grid;

/// Colours of the hatching over unknown cells: no class of a label set looks striped.
pub const HATCH: [[u8; 3]; 2] = [[245, 245, 245], [25, 25, 25]];

/// Pictures are at most this wide, in pixels: enough for a page, and a page of a hundred frames stays small.
const WIDEST: u16 = 256;

/// A PNG of `map`, one pixel a cell. Cells for which `known` is false are hatched; without `known` there are none.
/// A class past the end of the label set is hatched too. Maps wider than 256 cells are resampled (nearest).
///
/// # Errors
/// What the PNG encoder reports, such as a map without cells.
pub fn png(map: &ClassMap, known: Option<&[bool]>, labels: &LabelSet) -> Result<Vec<u8>, png::EncodingError> {
    let classes = labels.len().min(254) as u8;
    let holed = ClassMap {
        grid: map.grid,
        cells: map
            .cells
            .iter()
            .enumerate()
            .map(|(cell, &class)| match known {
                Some(known) if !known.get(cell).copied().unwrap_or(false) => classes,
                _ => class.min(classes),
            })
            .collect(),
    };
    let mut shown = if map.grid.width > WIDEST {
        let height = u32::from(map.grid.height) * u32::from(WIDEST) / u32::from(map.grid.width);
        holed.resampled(Grid::new(WIDEST, height.max(1) as u16))
    } else {
        holed
    };
    let width = usize::from(shown.grid.width);
    for (cell, value) in shown.cells.iter_mut().enumerate() {
        if *value == classes && (cell % width + cell / width) % 4 == 0 {
            *value = classes + 1;
        }
    }

    let colours = labels.classes.iter().take(usize::from(classes)).map(|class| class.rgb).chain(HATCH);
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, u32::from(shown.grid.width), u32::from(shown.grid.height));
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(colours.flatten().collect::<Vec<u8>>());
    encoder.set_compression(png::Compression::High);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&shown.cells)?;
    writer.finish()?;
    Ok(bytes)
}

/// The picture as a `data:` address, for pages that must stand alone.
///
/// # Errors
/// As [`png`].
pub fn data_uri(map: &ClassMap, known: Option<&[bool]>, labels: &LabelSet) -> Result<String, png::EncodingError> {
    Ok(format!("data:image/png;base64,{}", STANDARD.encode(png(map, known, labels)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::CAMVID12;

    fn decoded(bytes: &[u8]) -> (u32, u32, Vec<u8>) {
        let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
        decoder.set_transformations(png::Transformations::EXPAND);
        let mut reader = decoder.read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        (info.width, info.height, pixels)
    }

    #[test]
    fn cells_have_their_colour_and_holes_are_hatched() {
        let map = ClassMap { grid: Grid::new(3, 2), cells: vec![0, 3, 8, 1, 2, 200] };
        let known = [true, true, false, false, true, true];
        let (width, height, pixels) = decoded(&png(&map, Some(&known), &CAMVID12).unwrap());
        assert_eq!((width, height), (3, 2));
        let rgb: Vec<[u8; 3]> = pixels.chunks(3).map(|p| [p[0], p[1], p[2]]).collect();
        let class = |index: usize| CAMVID12.classes[index].rgb;
        assert_eq!(rgb, [class(0), class(3), HATCH[0], HATCH[0], class(2), HATCH[0]]);
        let nothing = png(&ClassMap::filled(Grid::new(8, 1), 3), Some(&[]), &CAMVID12).unwrap();
        let stripes: Vec<[u8; 3]> = decoded(&nothing).2.chunks(3).map(|p| [p[0], p[1], p[2]]).collect();
        assert_eq!(stripes.iter().filter(|rgb| **rgb == HATCH[1]).count(), 2);
    }

    #[test]
    fn wide_maps_are_resampled_and_empty_ones_refused() {
        let wide = ClassMap::filled(Grid::new(2048, 1024), 5);
        let (width, height, _) = decoded(&png(&wide, None, &CAMVID12).unwrap());
        assert_eq!((width, height), (256, 128));
        assert!(png(&ClassMap::filled(Grid::new(0, 0), 0), None, &CAMVID12).is_err());
    }
}
