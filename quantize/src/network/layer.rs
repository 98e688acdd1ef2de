//! Nodes that multiply activations with constant weights.

use super::constant::{Constants, Matrix};
use tract_onnx::pb;

/// The reason for which a model is none that can be quantized at all.
pub(super) const NOT_FINITE: &str = "weights or a bias that are not finite";

/// How a convolution walks over its input. Two axes, rows first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    /// Above and left.
    pub before: [usize; 2],
    /// Below and right.
    pub after: [usize; 2],
    pub groups: usize,
}

/// What a layer's weights multiply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Product {
    /// Patches of an image [1, C, H, W].
    Patches(Window),
    /// What of an image a transposed convolution, without groups, brings to a place. The file has the weights as [inputs, outputs, rows, columns].
    Spread(Window),
    /// The last axis.
    Rows {
        /// The file has the weights as [inputs, outputs].
        transposed: bool,
    },
}

/// Input channels of a block.
pub const BLOCK: usize = 32;

/// Runs of an output's weights that have a factor in common: [`BLOCK`] input channels under one tap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocks {
    pub count: usize,
    /// For each column of the weights its block. Blocks are numbered by channels, then by taps.
    pub of: Vec<usize>,
}

impl Blocks {
    /// All columns in one.
    pub fn one(columns: usize) -> Self {
        Blocks { count: 1, of: vec![0; columns] }
    }
}

/// A layer that can run in int8.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Index of its node.
    pub node: usize,
    pub name: String,
    pub operator: String,
    pub product: Product,
    /// Name of the activations that it reads.
    pub input: String,
    pub output: String,
    /// Shape of the weights in the file.
    pub shape: Vec<usize>,
    /// A row an output: of a convolution its inputs' channels, kernel rows and columns, in this order.
    pub weights: Matrix,
    pub bias: Option<Vec<f32>>,
}

impl Layer {
    /// The layer that `node` is: `None` for other operators, and the reason where it stays in float.
    pub(super) fn read(node: &pb::NodeProto, index: usize, constants: &Constants<'_>) -> Option<Result<Self, String>> {
        let operator = node.op_type.as_str();
        matches!(operator, "Conv" | "Gemm" | "MatMul" | "ConvTranspose").then(|| match operator {
            "Conv" => Self::conv(node, index, constants),
            "ConvTranspose" => Self::transposed(node, index, constants),
            _ => Self::rows(node, index, constants),
        })
    }

    fn conv(node: &pb::NodeProto, index: usize, constants: &Constants<'_>) -> Result<Self, String> {
        let weights = weights(node, constants)?;
        let [outputs, inputs, rows, columns] = weights.shape[..] else {
            return Err(format!("weights of shape {:?}: two axes are quantized", weights.shape));
        };
        let groups = groups(node).filter(|groups| outputs % groups == 0).ok_or("group doesn't divide the outputs")?;
        let window = Window { groups, ..window(node, [rows, columns])? };
        let matrix = Matrix { columns: inputs * rows * columns, values: weights.values };
        Self::new(node, index, Product::Patches(window), weights.shape, matrix, constants, outputs)
    }

    fn transposed(node: &pb::NodeProto, index: usize, constants: &Constants<'_>) -> Result<Self, String> {
        let weights = weights(node, constants)?;
        let [inputs, outputs, rows, columns] = weights.shape[..] else {
            return Err(format!("weights of shape {:?}: two axes are quantized", weights.shape));
        };
        if groups(node) != Some(1) {
            return Err("a transposed convolution with groups".into());
        }
        if attribute(node, "output_shape").is_some_and(|shape| !shape.ints.is_empty()) {
            return Err("output_shape: export it with pads".into());
        }
        let taps = rows * columns;
        let of = |output: usize, input: usize| &weights.values[(input * outputs + output) * taps..][..taps];
        let by_output = (0..outputs).flat_map(|output| (0..inputs).flat_map(move |input| of(output, input).to_vec()));
        let matrix = Matrix { columns: inputs * taps, values: by_output.collect() };
        let window = window(node, [rows, columns])?;
        Self::new(node, index, Product::Spread(window), weights.shape.clone(), matrix, constants, outputs)
    }

    fn rows(node: &pb::NodeProto, index: usize, constants: &Constants<'_>) -> Result<Self, String> {
        let weights = weights(node, constants)?;
        if weights.shape.len() != 2 {
            return Err(format!("weights of shape {:?}: matrices are quantized", weights.shape));
        }
        let number = |name: &str, default: f32| attribute(node, name).map_or(default, |attribute| attribute.f);
        let flag = |name: &str| attribute(node, name).is_some_and(|attribute| attribute.i != 0);
        if number("alpha", 1.0) != 1.0 || number("beta", 1.0) != 1.0 || flag("transA") {
            return Err("alpha, beta or transA".into());
        }
        let transposed = !flag("transB");
        let shape = weights.shape.clone();
        let matrix = if transposed { weights.transposed() } else { weights };
        let (outputs, columns) = (matrix.shape[0], matrix.shape[1]);
        let matrix = Matrix { columns, values: matrix.values };
        Self::new(node, index, Product::Rows { transposed }, shape, matrix, constants, outputs)
    }

    fn new(
        node: &pb::NodeProto,
        index: usize,
        product: Product,
        shape: Vec<usize>,
        weights: Matrix,
        constants: &Constants<'_>,
        outputs: usize,
    ) -> Result<Self, String> {
        if weights.values.is_empty() {
            return Err("no weights".into());
        }
        if !weights.values.iter().all(|weight| weight.is_finite()) {
            return Err(NOT_FINITE.into());
        }
        let bias = match node.input.get(2).filter(|name| !name.is_empty()) {
            None => None,
            Some(name) => {
                let bias = constants.floats(name).filter(|bias| bias.values.len() == outputs);
                Some(
                    bias.ok_or_else(|| format!("bias {name:?} is computed, or not one number for each output"))?.values,
                )
            }
        };
        if bias.iter().flatten().any(|bias: &f32| !bias.is_finite()) {
            return Err(NOT_FINITE.into());
        }
        let (Some(input), Some(output)) = (node.input.first(), node.output.first()) else {
            return Err("no input or output".into());
        };
        if constants.floats(input).is_some() {
            return Err("constant activations".into());
        }
        Ok(Layer {
            node: index,
            name: if node.name.is_empty() { format!("(gives {output})") } else { node.name.clone() },
            operator: node.op_type.clone(),
            product,
            input: input.clone(),
            output: output.clone(),
            shape,
            weights,
            bias,
        })
    }

    pub fn outputs(&self) -> usize {
        self.weights.rows().len()
    }

    /// What belongs to the weights, or to their blocks, a row an output, in the order of the file; and the axis of the outputs there.
    pub fn in_file<T: Copy>(&self, rows: &[T]) -> (Vec<T>, i64) {
        let (outputs, taps) = (self.outputs(), self.taps());
        let columns = rows.len() / outputs;
        match self.product {
            Product::Patches(_) | Product::Rows { transposed: false } => (rows.to_vec(), 0),
            Product::Spread(_) | Product::Rows { transposed: true } => {
                let of = |input: usize, output: usize| &rows[output * columns + input * taps..][..taps];
                let by_input =
                    (0..columns / taps).flat_map(|input| (0..outputs).flat_map(move |output| of(input, output)));
                (by_input.copied().collect(), 1)
            }
        }
    }

    pub fn blocks(&self) -> Blocks {
        let columns = self.weights.columns;
        let taps = self.taps();
        let of = (0..columns).map(|column| column / taps / BLOCK * taps + column % taps);
        Blocks { count: (columns / taps).div_ceil(BLOCK) * taps, of: of.collect() }
    }

    /// Weights of an output for one input channel.
    fn taps(&self) -> usize {
        match self.product {
            Product::Patches(window) | Product::Spread(window) => window.kernel[0] * window.kernel[1],
            Product::Rows { .. } => 1,
        }
    }
}

/// How a convolution without a word on groups walks.
fn window(node: &pb::NodeProto, kernel: [usize; 2]) -> Result<Window, String> {
    if attribute(node, "auto_pad").is_some_and(|pad| !pad.s.is_empty() && pad.s != b"NOTSET") {
        return Err("auto_pad: export it with explicit pads".into());
    }
    let [rows_stride, columns_stride] = counts(node, "strides", 1)?;
    let [rows_dilation, columns_dilation] = counts(node, "dilations", 1)?;
    let [above, left, below, right] = counts(node, "pads", 0)?;
    Ok(Window {
        kernel,
        stride: [rows_stride, columns_stride].map(|stride| stride.max(1)),
        dilation: [rows_dilation, columns_dilation].map(|dilation| dilation.max(1)),
        before: [above, left],
        after: [below, right],
        groups: 1,
    })
}

fn groups(node: &pb::NodeProto) -> Option<usize> {
    let groups = attribute(node, "group").map_or(1, |group| group.i);
    usize::try_from(groups).ok().filter(|groups| *groups > 0)
}

fn weights(node: &pb::NodeProto, constants: &Constants<'_>) -> Result<super::constant::Constant, String> {
    let name = node.input.get(1).ok_or("no weights")?;
    let found = constants.floats(name);
    let found =
        found.ok_or_else(|| format!("weights {name:?} are computed, no float32, or not as long as their shape"))?;
    if found.is_half {
        return Err("computes in float16: export it in float32".into());
    }
    Ok(found)
}

/// The N numbers of an attribute, `default` each where it is not there; none is negative.
fn counts<const N: usize>(node: &pb::NodeProto, name: &str, default: usize) -> Result<[usize; N], String> {
    let found = match attribute(node, name).map(|attribute| &attribute.ints[..]) {
        None | Some([]) => return Ok([default; N]),
        Some(found) => found,
    };
    let counts: Option<Vec<usize>> = found.iter().map(|&count| usize::try_from(count).ok()).collect();
    counts.and_then(|counts| counts.try_into().ok()).ok_or_else(|| format!("{name} {found:?}"))
}

fn attribute<'a>(node: &'a pb::NodeProto, name: &str) -> Option<&'a pb::AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}
