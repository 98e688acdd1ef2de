//! A sample as a picture.

use super::values::Planes;
use crate::bundle::Layout;

/// A PNG of `sample`, which has the shape [1, 1 or 3, height, width], or channels last in NHWC: grey or RGB, -1 black and 1 white.
///
/// # Errors
/// Why it is none.
pub(super) fn png(sample: &[f32], shape: &[usize], layout: Layout) -> Result<Vec<u8>, String> {
    let (sides, planes) = (shape.len(), Planes::of(shape, layout));
    let channels = planes.map_or(0, |planes| planes.channels());
    let (Some(planes), 4, 1 | 3) = (planes, sides, channels) else {
        return Err(format!(
            "a sample of shape {shape:?} is none: it needs batch 1, height, width, and 1 or 3 channels"
        ));
    };
    let (height, width) = match layout {
        Layout::Nchw => (shape[2], shape[3]),
        Layout::Nhwc => (shape[1], shape[2]),
    };
    let byte = |value: f32| ((value + 1.0) * 127.5).round() as u8;
    let bytes: Vec<u8> = (0..height * width)
        .flat_map(|place| (0..channels).map(move |channel| (channel, place)))
        .map(|(channel, place)| byte(sample[planes.at(channel, place)]))
        .collect();
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, width as u32, height as u32);
    encoder.set_color(if channels == 3 { png::ColorType::Rgb } else { png::ColorType::Grayscale });
    encoder.set_depth(png::BitDepth::Eight);
    let written = encoder.write_header().and_then(|mut writer| {
        writer.write_image_data(&bytes)?;
        writer.finish()
    });
    written.map(|()| out).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pixels(png: &[u8]) -> (u32, u32, Vec<u8>) {
        let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut bytes).unwrap();
        (info.width, info.height, bytes)
    }

    #[test]
    fn channels_stand_where_the_layout_says() {
        let rgb = [-1.0, 1.0, 0.0, 5.0, -7.0, 1.0];
        let (width, height, bytes) = pixels(&png(&rgb, &[1, 3, 1, 2], Layout::Nchw).unwrap());
        assert_eq!((width, height, &bytes[..]), (2, 1, &[0, 128, 0, 255, 255, 255][..]));
        let (_, _, bytes) = pixels(&png(&rgb, &[1, 1, 2, 3], Layout::Nhwc).unwrap());
        assert_eq!(bytes, [0, 255, 128, 255, 0, 255]);
        assert!(png(&rgb, &[1, 6, 1, 1], Layout::Nchw).unwrap_err().contains("[1, 6, 1, 1]"));
        assert!(png(&rgb, &[1, 3, 2], Layout::Nchw).is_err());
    }
}
