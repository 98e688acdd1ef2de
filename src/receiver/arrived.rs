//! What arrived, put back into what the network says: DDNM's projection (Wang, Yu, Zhang 2023), weighed by how sure the channel is of a cell.

/// From this probability of its likeliest class on, the channel's word on a cell stands. Below, the network knows better: it has seen that word, and the cells
/// around.
const SURE: f32 = 0.999;

/// Weight of the channel's word on a cell whose likeliest class has probability `best`: 1 where the cell arrived intact, 0 where nothing came.
fn weight(best: f32) -> f32 {
    if best >= SURE { 1.0 } else { 0.0 }
}

/// Fills `weights`, one a cell, from the channel's word on each class and cell, a plane a class.
pub(super) fn weigh(channel: &[f32], weights: &mut [f32]) {
    weights.fill(0.0);
    for plane in channel.chunks_exact(weights.len()) {
        weights.iter_mut().zip(plane).for_each(|(best, &probability)| *best = best.max(probability));
    }
    weights.iter_mut().for_each(|best| *best = weight(*best));
}

/// `posterior <- w channel + (1 - w) posterior`, cell by cell; the class bits expected of it follow in the same way. A cell that arrived intact is
/// exactly that.
pub(super) fn put_back(channel: &[f32], weights: &[f32], posterior: &mut [f32]) {
    let planes = posterior.chunks_exact_mut(weights.len()).zip(channel.chunks_exact(weights.len()));
    for (posterior, channel) in planes {
        for ((posterior, channel), weight) in posterior.iter_mut().zip(channel).zip(weights) {
            *posterior = weight * channel + (1.0 - weight) * *posterior;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sure_cells_are_the_channel_s_and_others_the_network_s() {
        // Two classes; cells that arrived intact, surely enough, doubtfully and not at all.
        let channel = [1.0, 0.0005, 0.6, 0.0, 0.0, 0.9995, 0.4, 0.0];
        let mut weights = [9.0; 4];
        weigh(&channel, &mut weights);
        assert_eq!(weights, [1.0, 1.0, 0.0, 0.0]);
        let mut posterior = [0.25, 0.5, 0.75, 0.125, 0.75, 0.5, 0.25, 0.875];
        put_back(&channel, &weights, &mut posterior);
        assert_eq!(posterior, [1.0, 0.0005, 0.75, 0.125, 0.0, 0.9995, 0.25, 0.875]);
    }
}
