//! When the frames of a recording are captured.

/// Reads frames a second, 0.001 to 1000.
///
/// # Errors
/// What was expected.
pub fn fps(text: &str) -> Result<f64, String> {
    let fps = text.parse().ok().filter(|fps| (0.001..=1000.0).contains(fps));
    fps.ok_or_else(|| "not a number of frames a second, 0.001 to 1000".into())
}

/// When frame `index` is captured, in microseconds after the first.
pub fn capture_us(index: usize, fps: f64) -> u64 {
    (index as f64 / fps * 1e6).round() as u64
}
