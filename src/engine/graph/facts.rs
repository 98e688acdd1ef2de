//! What operators give, from what is known of their inputs: without tract, whose program text and heap then stay untouched.
//!
//! Where an operator or what it is asked for is not of the usual kind, or wrong, nothing is known here: tract is asked, and says what is wrong.

use super::{Datum, DatumType, Fact, Graph, Node, Tensor, computed, elements};

/// The largest number of an attribute: padding, stride, size.
const MAX_NUMBER: i64 = 1 << 24;

impl Graph {
    /// What the first output of a node is; `None` where tract has to say.
    pub fn own_fact(&self, node: &Node) -> Option<Fact> {
        let known = match node.op() {
            "QuantizeLinear" | "DequantizeLinear" => return self.linear_fact(node),
            "ConvTranspose" => return self.conv_transpose_fact(node),
            op => op,
        };
        if node.outputs.len() != 1 || !matches!(node.domain.as_str(), "" | "ai.onnx") {
            return None;
        }
        let x = self.fact_of(node.input(0)?)?;
        let shape = match known {
            "Conv" => self.conv_shape(node, &x, 1, Some(2))?,
            "QLinearConv" => {
                let datum_type = self.fact_of(node.input(7)?)?.datum_type;
                return Some(Fact { datum_type, shape: self.conv_shape(node, &x, 3, Some(8))? });
            }
            "Cast" => {
                let datum_type = DatumType::from_number(node.int("to", 0)).filter(|of| of.is_number())?;
                return Some(Fact { datum_type: computed(datum_type), shape: x.shape });
            }
            "Add" | "Sub" | "Mul" | "Div" | "Max" | "Min" | "Sum" | "Pow" if self.opset >= 7 => {
                let mut shape = x.shape;
                for index in 1..node.inputs.len() {
                    let other = self.fact_of(node.input(index)?).filter(|other| other.datum_type == x.datum_type)?;
                    shape = broadcast(&shape, &other.shape)?;
                }
                shape
            }
            "Abs" | "Ceil" | "Cos" | "Elu" | "Erf" | "Exp" | "Floor" | "HardSigmoid" | "HardSwish" | "LeakyRelu"
            | "Log" | "Neg" | "Reciprocal" | "Relu" | "Round" | "Sigmoid" | "Sign" | "Sin" | "Softplus"
            | "Softsign" | "Sqrt" | "Tanh" | "Clip" => (x.datum_type == f32::datum_type()).then_some(x.shape)?,
            "InstanceNormalization" => {
                let channels = [*x.shape.get(1)?];
                let fits = |index| self.fact_of(node.input(index)?).filter(|of| of.shape == channels);
                (fits(1).is_some() && fits(2).is_some() && x.shape.len() > 2).then_some(x.shape)?
            }
            "Identity" | "Softmax" | "LogSoftmax" => x.shape,
            "Reshape" => self.reshaped(node, &x.shape)?,
            "Unsqueeze" => self.unsqueezed(node, &x.shape)?,
            "Squeeze" => self.squeezed(node, &x.shape)?,
            "Flatten" => {
                let axis = usize::try_from(node.int("axis", 1)).ok().filter(|&axis| axis <= x.shape.len())?;
                vec![elements(&x.shape[..axis])?, elements(&x.shape[axis..])?]
            }
            "Transpose" => {
                let rank = x.shape.len();
                match node.ints("perm") {
                    None => x.shape.iter().rev().copied().collect(),
                    // Graph::add has seen that it is an order.
                    Some(order) if order.len() == rank => order.iter().map(|&axis| x.shape[axis as usize]).collect(),
                    Some(_) => return None,
                }
            }
            "Concat" => self.joined(node, &x)?,
            "Slice" => self.sliced(node, x.shape)?,
            "Gather" => {
                let indices = self.fact_of(node.input(1)?)?;
                let axis = position(node.int("axis", 0), x.shape.len())?;
                [&x.shape[..axis], &indices.shape, &x.shape[axis + 1..]].concat()
            }
            "Expand" => broadcast(&x.shape, &self.constant_sizes(node.input(1)?)?)?,
            "Tile" => {
                let times = self.constant_sizes(node.input(1)?).filter(|times| times.len() == x.shape.len())?;
                x.shape.iter().zip(times).map(|(&side, times)| side.saturating_mul(times)).collect()
            }
            "Pad" if self.opset >= 11 && node.input(3).is_none() => {
                let pads = self.constant_sizes(node.input(1)?).filter(|pads| pads.len() == 2 * x.shape.len())?;
                let (before, behind) = pads.split_at(x.shape.len());
                let sides = x.shape.iter().zip(before).zip(behind);
                sides.map(|((&side, &before), &behind)| side.saturating_add(before).saturating_add(behind)).collect()
            }
            "Resize" => self.resized(node, &x.shape)?,
            "DepthToSpace" => match (&x.shape[..], usize::try_from(node.int("blocksize", 0)).ok()?) {
                (&[n, c, h, w], size) if size > 0 && c.is_multiple_of(size.checked_mul(size)?) => {
                    vec![n, c / (size * size), h.checked_mul(size)?, w.checked_mul(size)?]
                }
                _ => return None,
            },
            "GlobalAveragePool" | "GlobalMaxPool" if x.shape.len() > 2 => {
                let spatial = vec![1; x.shape.len() - 2];
                [&x.shape[..2], &spatial].concat()
            }
            "ReduceSum" | "ReduceMean" | "ReduceMax" | "ReduceMin" | "ReduceSumSquare" => {
                self.reduced(node, &x.shape)?
            }
            "Gemm" => self.gemm_shape(node, &x)?,
            "MatMul" => {
                let other = self.fact_of(node.input(1)?).filter(|other| other.datum_type == x.datum_type)?;
                // Of a vector nothing is left.
                let (a, rows, depth) = match x.shape[..] {
                    [depth] => (&[][..], None, depth),
                    [ref a @ .., rows, depth] => (a, Some(rows), depth),
                    [] => return None,
                };
                let (b, other_depth, columns) = match other.shape[..] {
                    [depth] => (&[][..], depth, None),
                    [ref b @ .., depth, columns] => (b, depth, Some(columns)),
                    [] => return None,
                };
                let mut shape = broadcast(a, b)?;
                shape.extend(rows.into_iter().chain(columns));
                (depth == other_depth).then_some(shape)?
            }
            _ => return None,
        };
        Some(Fact { datum_type: x.datum_type, shape }).filter(|fact| !fact.shape.contains(&0))
    }

    /// Type and shape of a value, constant or not, that has elements.
    fn fact_of(&self, name: &str) -> Option<Fact> {
        let constant = |value: &std::sync::Arc<Tensor>| Fact {
            datum_type: computed(value.datum_type()),
            shape: value.shape().to_vec(),
        };
        let fact = self.facts.get(name).cloned().or_else(|| self.constants.get(name).map(constant))?;
        (fact.datum_type.is_number() && !fact.shape.contains(&0)).then_some(fact)
    }

    /// The whole numbers of a short constant, where they can be sizes.
    pub fn constant_sizes(&self, name: &str) -> Option<Vec<usize>> {
        sizes(&self.constant_ints(name)?)
    }

    /// The whole numbers of a short constant.
    fn constant_ints(&self, name: &str) -> Option<Vec<i64>> {
        let value = self.constants.get(name).filter(|value| value.rank() <= 1 && value.len() <= 64)?;
        matches!(value.datum_type(), DatumType::I64 | DatumType::I32).then(|| value.to_ints())
    }

    /// What a node says as input `index` or, in older operator sets, as attribute `name`: `Some(None)` where it says nothing.
    fn ints(&self, node: &Node, index: usize, name: &str) -> Option<Option<Vec<i64>>> {
        match node.input(index) {
            Some(input) => self.constant_ints(input).map(Some),
            None => Some(node.ints(name).map(<[i64]>::to_vec)),
        }
    }

    /// A zero point is of the type of the cells.
    ///
    /// # Errors
    /// If it is of another one, where there may be numbers that no cell can be.
    pub(super) fn check_zero_point(&self, node: &Node) -> Result<(), String> {
        let type_of = |index: usize| Some(self.fact_of(node.input(index)?)?.datum_type);
        let Some(zero) = type_of(2) else { return Ok(()) };
        let is_cell = |datum_type: DatumType| datum_type.is_integer() && datum_type.size_of() <= 2;
        match (node.op(), type_of(0)) {
            ("DequantizeLinear", Some(cells)) if cells != zero => {
                Err(format!("its zero point is {zero:?}, its cells are {cells:?}"))
            }
            ("QuantizeLinear", _) if !is_cell(zero) => Err(format!("its zero point is {zero:?}, which no cell is")),
            _ => Ok(()),
        }
    }

    /// What QuantizeLinear and DequantizeLinear give, which tract knows for some types alone.
    fn linear_fact(&self, node: &Node) -> Option<Fact> {
        let type_of = |index: usize| self.datum_type(node.input(index)?);
        let asked = DatumType::from_number(node.int("output_dtype", 0));
        let datum_type = match node.op() {
            "QuantizeLinear" => type_of(2).or(asked).unwrap_or(DatumType::U8),
            _ => asked.or(type_of(1))?,
        };
        Some(Fact { datum_type: computed(datum_type), shape: self.shape(node.input(0)?)?.to_vec() })
    }

    /// What a transposed convolution to a given size gives.
    fn conv_transpose_fact(&self, node: &Node) -> Option<Fact> {
        let (x, weights, size) = (self.shape(node.input(0)?)?, self.shape(node.input(1)?)?, node.ints("output_shape")?);
        let channels = weights.get(1)?.checked_mul(usize::try_from(node.int("group", 1)).ok()?)?;
        let size: Option<Vec<usize>> = size.iter().map(|&side| usize::try_from(side).ok()).collect();
        let shape = [vec![*x.first()?, channels], size.filter(|size| size.len() + 2 == x.len())?].concat();
        Some(Fact { datum_type: self.datum_type(node.input(0)?)?, shape })
    }

    /// Of a convolution with the weights that are input `weights`, and a bias.
    fn conv_shape(&self, node: &Node, x: &Fact, weights: usize, bias: Option<usize>) -> Option<Vec<usize>> {
        let weights = self.fact_of(node.input(weights)?)?;
        let (&[batch, channels, ref sides @ ..], &[outputs, depth, ref taps @ ..]) = (&x.shape[..], &weights.shape[..])
        else {
            return None;
        };
        let rank = sides.len();
        let group = usize::try_from(node.int("group", 1)).ok().filter(|&group| group > 0)?;
        let kernel = node.ints("kernel_shape").map(sizes).unwrap_or_else(|| Some(taps.to_vec()))?;
        let bias = bias.and_then(|index| node.input(index)).map(|name| self.fact_of(name));
        let fits = rank > 0
            && kernel == taps
            && depth.checked_mul(group) == Some(channels)
            && outputs.is_multiple_of(group)
            && bias.is_none_or(|bias| bias.is_some_and(|bias| bias.shape == [outputs]));
        if !fits || (node.op() == "Conv" && (x.datum_type, weights.datum_type) != (DatumType::F32, DatumType::F32)) {
            return None;
        }
        let numbers = |name: &str, count: usize, default: i64, least: i64| {
            let values = node.ints(name).map_or_else(|| vec![default; count], <[i64]>::to_vec);
            let fits = values.len() == count && values.iter().all(|value| (least..=MAX_NUMBER).contains(value));
            fits.then(|| values.into_iter().map(|value| value as usize).collect::<Vec<usize>>())
        };
        let (strides, dilations) = (numbers("strides", rank, 1, 1)?, numbers("dilations", rank, 1, 1)?);
        let pads = numbers("pads", 2 * rank, 0, 0)?;
        let mut shape = vec![batch, outputs];
        for axis in 0..rank {
            let span = (taps[axis] - 1).checked_mul(dilations[axis])?.checked_add(1)?;
            let padded = match node.text("auto_pad").unwrap_or("NOTSET") {
                "SAME_UPPER" | "SAME_LOWER" => {
                    shape.push(sides[axis].div_ceil(strides[axis]));
                    continue;
                }
                "VALID" => sides[axis],
                "NOTSET" => sides[axis].checked_add(pads[axis] + pads[axis + rank])?,
                _ => return None,
            };
            shape.push(padded.checked_sub(span)? / strides[axis] + 1);
        }
        Some(shape)
    }

    fn gemm_shape(&self, node: &Node, a: &Fact) -> Option<Vec<usize>> {
        let b = self.fact_of(node.input(1)?)?;
        let turned = |fact: &Fact, name: &str| match (&fact.shape[..], node.int(name, 0)) {
            (&[rows, columns], 0) => Some([rows, columns]),
            (&[rows, columns], _) => Some([columns, rows]),
            _ => None,
        };
        let ([rows, depth], [other_depth, columns]) = (turned(a, "transA")?, turned(&b, "transB")?);
        if depth != other_depth || (a.datum_type, b.datum_type) != (DatumType::F32, DatumType::F32) {
            return None;
        }
        let shape = vec![rows, columns];
        let bias = node.input(2).map(|name| self.fact_of(name));
        let fits = |bias: Option<Fact>| broadcast(&shape, &bias?.shape).filter(|whole| *whole == shape);
        bias.is_none_or(|bias| fits(bias).is_some()).then_some(shape)
    }

    fn reshaped(&self, node: &Node, from: &[usize]) -> Option<Vec<usize>> {
        let asked = self.ints(node, 1, "shape")??;
        if node.int("allowzero", 0) != 0 {
            return None;
        }
        let mut shape = Vec::new();
        for (axis, &side) in asked.iter().enumerate() {
            shape.push(match side {
                0 => *from.get(axis)?,
                -1 => 0,
                side => usize::try_from(side).ok()?,
            });
        }
        let whole = elements(from)?;
        let open: Vec<usize> = (0..asked.len()).filter(|&axis| asked[axis] == -1).collect();
        match open[..] {
            [] => {}
            [axis] => {
                shape[axis] = 1;
                shape[axis] = whole.checked_div(elements(&shape)?)?;
            }
            _ => return None,
        }
        (elements(&shape)? == whole).then_some(shape)
    }

    fn unsqueezed(&self, node: &Node, from: &[usize]) -> Option<Vec<usize>> {
        let axes = self.ints(node, 1, "axes")??;
        let rank = from.len() + axes.len();
        let axes: Option<Vec<usize>> = axes.iter().map(|&axis| position(axis, rank)).collect();
        let axes = axes?;
        let mut from = from.iter();
        let shape: Option<Vec<usize>> =
            (0..rank).map(|axis| if axes.contains(&axis) { Some(1) } else { from.next().copied() }).collect();
        shape.filter(|_| from.next().is_none())
    }

    fn squeezed(&self, node: &Node, from: &[usize]) -> Option<Vec<usize>> {
        let axes: Vec<usize> = match self.ints(node, 1, "axes")? {
            Some(axes) => axes.iter().map(|&axis| position(axis, from.len())).collect::<Option<_>>()?,
            None => (0..from.len()).filter(|&axis| from[axis] == 1).collect(),
        };
        let stays = (0..from.len()).filter(|axis| !axes.contains(axis)).map(|axis| from[axis]).collect();
        axes.iter().all(|&axis| from[axis] == 1).then_some(stays)
    }

    fn joined(&self, node: &Node, first: &Fact) -> Option<Vec<usize>> {
        let mut shape = first.shape.clone();
        let axis = position(node.int("axis", i64::MAX), shape.len())?;
        for index in 1..node.inputs.len() {
            let part = self.fact_of(node.input(index)?).filter(|part| part.datum_type == first.datum_type)?;
            let side = *part.shape.get(axis)?;
            let fits = part.shape.len() == shape.len()
                && (0..shape.len()).all(|other| other == axis || part.shape[other] == shape[other]);
            shape[axis] = shape[axis].checked_add(side).filter(|_| fits)?;
        }
        Some(shape)
    }

    fn sliced(&self, node: &Node, mut shape: Vec<usize>) -> Option<Vec<usize>> {
        let (starts, ends) = (self.ints(node, 1, "starts")??, self.ints(node, 2, "ends")??);
        let axes = self.ints(node, 3, "axes")?.unwrap_or_else(|| (0..starts.len() as i64).collect());
        let steps = self.ints(node, 4, "steps")?.unwrap_or_else(|| vec![1; starts.len()]);
        if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] || steps.iter().any(|&step| step < 1) {
            return None;
        }
        for (((start, end), axis), step) in starts.into_iter().zip(ends).zip(axes).zip(steps) {
            let axis = position(axis, shape.len())?;
            let side = shape[axis] as i64;
            let inside = |at: i64| (if at < 0 { at.saturating_add(side) } else { at }).clamp(0, side);
            let span = usize::try_from(inside(end) - inside(start)).ok()?;
            shape[axis] = span.div_ceil(usize::try_from(step).ok()?);
        }
        Some(shape)
    }

    fn resized(&self, node: &Node, from: &[usize]) -> Option<Vec<usize>> {
        let unusual = ["axes", "keep_aspect_ratio_policy"].iter().any(|name| node.attribute(name).is_some())
            || node.text("coordinate_transformation_mode") == Some("tf_crop_and_resize");
        if unusual || self.opset < 11 {
            return None;
        }
        if let Some(name) = node.input(3) {
            return self.constant_sizes(name).filter(|sizes| sizes.len() == from.len());
        }
        let scales = self.constants.get(node.input(2)?).filter(|scales| scales.datum_type() == DatumType::F32)?;
        let scales = scales.as_slice::<f32>()?;
        // Others are rounded, and not by all in the same way.
        let whole = |(&side, &scale): (&usize, &f32)| {
            (scale.fract() == 0.0 && (1.0..=64.0).contains(&scale)).then(|| side * scale as usize)
        };
        (scales.len() == from.len()).then(|| from.iter().zip(scales).map(whole).collect())?
    }

    fn reduced(&self, node: &Node, from: &[usize]) -> Option<Vec<usize>> {
        let axes = self.ints(node, 1, "axes")?.filter(|axes| !axes.is_empty())?;
        let axes: Option<Vec<usize>> = axes.iter().map(|&axis| position(axis, from.len())).collect();
        let axes = axes?;
        let keeps = node.int("keepdims", 1) != 0;
        let side = |axis: usize| match axes.contains(&axis) {
            false => Some(from[axis]),
            true => keeps.then_some(1),
        };
        Some((0..from.len()).filter_map(side).collect())
    }
}

/// An axis, where a negative one counts from the end.
fn position(axis: i64, rank: usize) -> Option<usize> {
    let axis = if axis < 0 { axis.checked_add(rank as i64)? } else { axis };
    usize::try_from(axis).ok().filter(|&axis| axis < rank)
}

fn sizes(numbers: &[i64]) -> Option<Vec<usize>> {
    numbers.iter().map(|&number| usize::try_from(number).ok()).collect()
}

/// The shape of both, as ONNX broadcasts.
fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let side = |of: &[usize], axis: usize| (axis + of.len()).checked_sub(rank).map_or(1, |axis| of[axis]);
    let both = |axis| match (side(a, axis), side(b, axis)) {
        (1, other) => Some(other),
        (own, other) if other == 1 || other == own => Some(own),
        _ => None,
    };
    (0..rank).map(both).collect()
}
