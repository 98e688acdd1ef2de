//! The guidance scale as models take it that were distilled with one: diffusers' `get_guidance_scale_embedding`.

/// Fills `out` with sines, then cosines of 1000 (`scale` - 1) at falling frequencies; an odd last value is 0.
pub(super) fn embed(scale: f32, out: &mut [f32]) {
    let half = out.len() / 2;
    let position = 1000.0 * (scale - 1.0);
    let step = libm::log(10_000.0) / half.saturating_sub(1).max(1) as f64;
    out.fill(0.0);
    for index in 0..half {
        let angle = position * libm::exp(-step * index as f64) as f32;
        out[index] = libm::sinf(angle);
        out[half + index] = libm::cosf(angle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `LatentConsistencyModelPipeline.get_guidance_scale_embedding` of w = 7.5 in 5 numbers, in torch.
    #[test]
    fn as_diffusers_embeds_it() {
        let mut out = [9.0; 5];
        embed(8.5, &mut out);
        let expected = [-0.851236, 0.681639, -0.524783, 0.731689, 0.0];
        for (value, expected) in out.iter().zip(expected) {
            assert!((value - expected).abs() < 1e-4, "{out:?}");
        }
        embed(1.0, &mut out[..2]);
        assert_eq!(out[..2], [0.0, 1.0]);
    }
}
