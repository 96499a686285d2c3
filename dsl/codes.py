"""What each code means at greater length, for `alexnet-ir explain CODE`.

P: the text does not parse. N: names. T: arguments and values. S: shapes. R: sections and what they ask of net and data.
D: placement on devices.
"""

from __future__ import annotations

from alexnet_ir.dsl.codes_syntax import SYNTAX
from alexnet_ir.dsl.explanation import Explanation, explained

NAMES: dict[str, Explanation] = {
    "N001": explained(
        "unknown op or block",
        "A stage of a chain is an op of the language, a block of the file, or a parameter that stands for one. A\n"
        "block may be defined before or after its use.",
        "image -> convv(8, 3) -> rellu",
        "image -> conv(8, 3) -> relu",
    ),
    "N002": explained(
        "unknown argument",
        "What is called here has no argument of this name. The note lists those it has, optional ones in brackets.\n"
        "Blocks and nets have the arguments that their definition names. In `defaults` an argument must be one of the\n"
        "op's; in `set(conv1, ...)` it is a factor of the layer or an argument of the transform.",
        "conv(96, 11, strides = 4)",
        "conv(96, 11, stride = 4)",
    ),
    "N003": explained(
        "unknown name",
        "A name is a parameter, a value named with `=` or a label further up in the same body, an op or a block.\n"
        "Names of one net or block are not seen in another: give what is needed as an argument.",
        "image = input(3, 32, 32)\nreturn imag -> flatten -> fc(10)",
        "image = input(3, 32, 32)\nreturn image -> flatten -> fc(10)",
    ),
    "N004": explained(
        "unknown op, block or initialiser",
        "In an expression one calls ops, blocks and the initialisers normal(std), uniform(a, b), xavier() and he().\n"
        "A number alone is an initialiser too, a constant; `none` means no bias at all.",
        "conv(96, 11, weight = gaussian(0.01))",
        "conv(96, 11, weight = normal(0.01))",
    ),
    "N005": explained(
        "name bound twice",
        "A name stands for one thing. In a body, parameters, values named with `=` and labels share their names;\n"
        "names of nets and blocks are unique in a file, those of sections among sections of their kind; ops,\n"
        "initialisers, `true`, `false` and `none` belong to the language. `c: unit * 2` makes the names c1 and c2.",
        "x = image -> conv(8, 3)\nx = x -> relu",
        "x = image -> conv(8, 3)\ny = x -> relu",
    ),
    "N006": explained(
        "name never used",
        "A warning: a parameter or value that nothing reads is often a slip. Labels always count as used, because\n"
        "they name parameters.",
        "side = image -> conv(8, 3)\nreturn image -> flatten -> fc(10)",
        "return image -> flatten -> fc(10)",
    ),
    "N007": explained(
        "unknown field of a section",
        "The fields are\n\n"
        "    data:  source, train, eval, holdout\n"
        "    train: net, data, loss, batch, stop, optimizer, schedule, events, seed\n"
        "    place: net, devices, split\n\n"
        "Rates such as `momentum` are arguments of the optimizer.",
        "train paper { batchsize: 128 }",
        "train paper { batch: 128 }",
    ),
    "N008": explained(
        "unknown word in a section",
        "Sections know\n\n"
        "    sources:    digits, mnist, cifar10, folder, synthetic\n"
        "    transforms: resize, subtract_mean, scale, random_crop, center_crop, random_flip, pca_light, ten_crop\n"
        "    optimizers: sgd, adam\n"
        "    losses:     softmax_cross_entropy, hinge\n"
        "    schedules:  constant, drops, plateau, exponential, polynomial, cosine\n"
        "    lengths:    epochs, steps, error_below\n"
        "    events:     at, set, freeze\n"
        "    splits:     batch, channels, inputs, outputs, on",
        "optimizer: sdg(lr = 0.01)",
        "optimizer: sgd(lr = 0.01)",
    ),
    "N009": explained(
        "unknown net, data section or layer",
        "A section names something that the file does not have. Layers are named by their paths, such as\n"
        "`stage2/bottleneck1/conv1`; `alexnet-ir summary` lists them.",
        "net AlexNet { ... }\ntrain paper { net: Alexnet ... }",
        "net AlexNet { ... }\ntrain paper { net: AlexNet ... }",
    ),
    "N010": explained(
        "net that could not be tried",
        "A warning: shapes can only be checked when all of a net's parameters have a value, from a default or from a\n"
        "recipe that names the net with arguments.",
        "net A(classes) { ... }",
        "net A(classes = 10) { ... }",
    ),
}

VALUES: dict[str, Explanation] = {
    "T001": explained(
        "missing argument",
        "An argument without a default was not given, neither here nor by `defaults`. The note lists all arguments,\n"
        "optional ones in brackets.",
        "conv(96)",
        "conv(96, 11)",
    ),
    "T002": explained(
        "argument or field given twice",
        "Each has one value. An argument may also come by its position: the first of `conv` is `kernels`.",
        "conv(96, 11, kernels = 96)",
        "conv(96, 11)",
    ),
    "T003": explained(
        "too many arguments",
        "There are more arguments without a name than places for them. In a chain, what flows in is not written.",
        "image -> relu(0.1)",
        "image -> leaky_relu(0.1)",
    ),
    "T004": explained(
        "wrong type or range of a value",
        "The message says what is expected here and what was found.",
        'conv(96, 11, stride = 1.5, round = "nearest")\ndropout(50)',
        'conv(96, 11, stride = 2, round = "down")\ndropout(50%)',
    ),
    "T005": explained(
        "condition that is not true or false",
        "The condition of an `if` is decided when the net is read, not when it runs: `true`, `false`, or a parameter\n"
        "that has one of them as its value.",
        "block b(x, stride) { return if stride then x -> maxpool(2) else x }",
        "block b(x, shrink = false) { return if shrink then x -> maxpool(2) else x }",
    ),
    "T006": explained(
        "arithmetic without a value",
        "+, -, * and / calculate with numbers while the net is read. Values of the net are joined by `add(a, b)`.",
        "y = x + shortcut",
        "y = add(x, shortcut)",
    ),
    "T007": explained(
        "default without a name",
        "`defaults` give keyword arguments; what is different in each call, such as the number of kernels, has none.",
        "defaults { conv: (he(), 0) }",
        "defaults { conv: (weight = he(), bias = 0) }",
    ),
    "T008": explained(
        "as many names as values",
        "A block or net may return several values; they get as many names, or flow on together.",
        "block two(x) { return x -> relu, x -> tanh }\na, b, c = image -> two",
        "block two(x) { return x -> relu, x -> tanh }\na, b = image -> two",
    ),
    "T009": explained(
        "value that is no image or map",
        "Chains begin with, and nets return, what was made from the image; numbers and ops are arguments only.",
        "return relu",
        "return image -> relu",
    ),
    "T010": explained(
        "more than one input",
        "A net reads one image. `input` stands alone, behind `=` or at the head of a chain.",
        "image = input(3, 32, 32)\ndepth = input(1, 32, 32)",
        "image = input(4, 32, 32)",
    ),
    "T011": explained(
        "repeat count",
        "Behind `*` stands how many times the stage is made: a whole number of at least 0, or a parameter that is\n"
        "one. 0 leaves the stage out.",
        "x -> conv(8, 3, pad = 1) * 1.5",
        "x -> conv(8, 3, pad = 1) * 2",
    ),
    "T012": explained(
        "net without an end",
        "Blocks may be nested 50 deep, and a net may call 20,000 ops and blocks. A block that calls itself has no end.",
        "block b(x) { return x -> relu -> b }",
        "block b(x) { return x -> relu }\n... image -> b * 3",
    ),
    "T013": explained(
        "call of what is no op or block",
        "A name that stands for a number or a map cannot be a stage. A parameter that stands for an op brings the\n"
        "op's arguments with it and takes none.",
        "net A(act = leaky_relu) { ... image -> act(0.2) ... }",
        "net A(act = leaky_relu(0.2)) { ... image -> act ... }",
    ),
    "T014": explained(
        "wrong number of values for an op",
        "`add` joins two values, `concat` one or more, every other op works on one. A block that returns several\n"
        "values passes on all of them.",
        "add(a, b, c)",
        "add(add(a, b), c)",
    ),
    "T015": explained(
        "chain in a section",
        "Chains make values of a net; a section only says what to use. Transforms are a list, in order.",
        "train: random_crop(224) -> random_flip()",
        "train: [random_crop(224), random_flip()]",
    ),
}

SHAPES: dict[str, Explanation] = {
    "S001": explained(
        "wrong number of operands",
        "A node in the text of a graph has more or fewer operands than its op takes. Model files cannot cause it.",
        "%y = add(%a) : f32[8, 10]",
        "%y = add(%a, %b) : f32[8, 10]",
    ),
    "S002": explained(
        "map expected",
        "The op slides over rows and columns, and what flows in is a vector. `flatten`, `global_avgpool` and `fc`\n"
        "make vectors.",
        "image -> flatten -> maxpool(2) -> fc(10)",
        "image -> maxpool(2) -> flatten -> fc(10)",
    ),
    "S003": explained(
        "vector expected",
        "`fc` connects every unit to every number of a vector. A map is made into one by `flatten`, in the order\n"
        "channels, rows, columns, or by `global_avgpool`, which takes the mean of each channel.",
        "image -> conv(8, 3) -> fc(10)",
        "image -> conv(8, 3) -> flatten -> fc(10)",
    ),
    "S004": explained(
        "operand of the wrong shape or type",
        "A node in the text of a graph has an operand that its op cannot take. Model files cannot cause it.",
        "%y = bias_add(%x, %bias) : f32[8, 10]      # %bias : f32[9]",
        "%y = bias_add(%x, %bias) : f32[8, 10]      # %bias : f32[10]",
    ),
    "S010": explained(
        "groups that do not divide",
        "With `groups = g` the channels that come in and the kernels are shared out evenly over g groups, each of\n"
        "which sees only its own share. An LRN with groups never looks across their borders.",
        "input(3, 32, 32) -> conv(96, 5, groups = 2)",
        "input(3, 32, 32) -> conv(96, 5) -> conv(256, 5, groups = 2)",
    ),
    "S012": explained(
        "window larger than its input",
        "With its dilation d, a window of size k reaches over d (k - 1) + 1 cells, which must be there, padding\n"
        "counted. Often too much pooling came before.",
        "input(3, 8, 8) -> conv(8, 9)",
        "input(3, 8, 8) -> conv(8, 9, pad = 1)",
    ),
    "S013": explained(
        "window that lies in the padding",
        "Pooling ignores padding, so every window must meet the map: the padding is smaller than the size.",
        "maxpool(2, pad = 2)",
        "maxpool(3, stride = 2, pad = 1)",
    ),
    "S014": explained(
        "size that is not a whole number",
        "Along an axis of length i, padded by p before and q after, a window of size k at stride s fits\n"
        "(i - k + p + q)/s + 1 times (with dilation d, k is d (k - 1) + 1). Where that does not come out whole, codes\n"
        'differ: torch drops the remainder (`round = "down"`), Caffe\'s pooling and the 2012 code of AlexNet round up\n'
        '(`round = "up"`). Nothing is chosen in silence: say which, or change the padding. `defaults` can say it once\n'
        "for all layers.",
        "input(3, 224, 224) -> conv(96, 11, stride = 4)",
        "input(3, 224, 224) -> conv(96, 11, stride = 4, pad = (0, 3))",
    ),
    "S016": explained(
        "values that `add` cannot join",
        "Both must have the same channels, rows and columns; nothing is repeated to fit. Where a block changes shape,\n"
        "the way around it has a 1 x 1 convolution with as many kernels and the same stride.",
        "main = x -> conv(64, 3, pad = 1)\nreturn add(main, x)",
        "main = x -> conv(64, 3, pad = 1)\nreturn add(main, x -> conv(64, 1))",
    ),
    "S017": explained(
        "values that `concat` cannot join",
        "`concat` puts channels behind each other, so rows and columns must agree, and vectors join vectors only.",
        "concat(x -> conv(8, 3), x -> conv(8, 1))",
        "concat(x -> conv(8, 3, pad = 1), x -> conv(8, 1))",
    ),
    "S018": explained(
        "batch too small for batchnorm",
        "Batch normalisation divides by the deviation of each channel over batch, rows and columns; one value has\n"
        "none.",
        "train t { batch: 1 ... }    # ... -> flatten -> batchnorm",
        "train t { batch: 32 ... }",
    ),
    "S030": explained(
        "operand in the wrong place",
        "A node in the text of a graph takes a value as it lies on several devices, which its op cannot. Model files\n"
        "cannot cause it.",
        "%y = relu(%x) : f32[8, 10]                 # %x : f32[8, 10] partial",
        "%y = relu(%x) : f32[8, 10]                 # %x : f32[8, 10]",
    ),
}

SECTIONS: dict[str, Explanation] = {
    "R001": explained(
        "missing field of a section",
        "A `data` section needs `source`; `train` needs `batch`, `stop` and `optimizer`; `place` needs `devices` and\n"
        "`split`.",
        "train quick { batch: 64 }",
        "train quick {\n  batch: 64\n  stop: epochs(10)\n  optimizer: sgd(lr = 0.01, momentum = 0.9)\n}",
    ),
    "R002": explained(
        "section that does not say which net",
        "`net` may be left out only where the file has one net.",
        "net A { ... }\nnet B { ... }\ntrain quick { batch: 64 ... }",
        "net A { ... }\nnet B { ... }\ntrain quick { net: A  batch: 64 ... }",
    ),
    "R003": explained(
        "net that returns a map where a loss wants scores",
        "A loss compares one score for each class with the label, so what the net returns is a vector.",
        "return image -> conv(10, 3)",
        "return image -> conv(10, 3) -> global_avgpool",
    ),
    "R004": explained(
        "weights of the loss",
        "A net that returns several values trains on all of them; the first is its answer. `weights` has one number\n"
        "for each.",
        "return score, head1, head2\nloss: softmax_cross_entropy(weights = [1, 0.3])",
        "return score, head1, head2\nloss: softmax_cross_entropy(weights = [1, 0.3, 0.3])",
    ),
    "R005": explained(
        "number of classes",
        "The net has more or fewer scores than the data has classes; or, of several results, one has more than\n"
        "another, though all are compared with the same labels.",
        "net Small(classes = 100) { ... -> fc(classes) }\ntrain t { net: Small ... }    # data: digits()",
        "net Small(classes = 100) { ... -> fc(classes) }\ntrain t { net: Small(classes = 10) ... }",
    ),
    "R006": explained(
        "size of the images",
        "What the transforms make of a stored image is not what the net's `input` says. Crops change the size;\n"
        "`resize` brings the shorter side to a length, so that a crop must follow.",
        "image = input(3, 32, 32)\ntrain: [random_crop(24)]      # source: cifar10(...)",
        "image = input(3, 24, 24)\ntrain: [random_crop(24)]",
    ),
    "R007": explained(
        "crop larger than the image",
        "A crop is cut out of the stored image, or of what the transforms before it left.",
        "train: [random_crop(64)]      # source: cifar10(...), images of 32 x 32",
        "train: [random_crop(24)]",
    ),
    "R008": explained(
        "section that does not say which data",
        "`data` may be left out only where the file has one data section.",
        "data a { ... }\ndata b { ... }\ntrain quick { batch: 64 ... }",
        "data a { ... }\ndata b { ... }\ntrain quick { data: a  batch: 64 ... }",
    ),
    "R009": explained(
        "length of the run unknown",
        "`cosine()` and `polynomial(power)` go from the run's first step to its last, and `error_below(...)` does not\n"
        "say which is the last. A list of stops ends the run at the first that is reached; its length is the shortest.",
        "schedule: cosine()\nstop: error_below(25%)",
        "schedule: cosine()\nstop: [error_below(25%), epochs(60)]",
    ),
    "R010": explained(
        "event on a layer without parameters",
        "`set` changes the factors on the rates of a layer's weights and biases, and `freeze` stops their updates; a\n"
        "layer without any has nothing to change. A scope stands for all layers in it.",
        "events: [at(epochs(5), freeze(pool1))]",
        "events: [at(epochs(5), freeze(conv1))]",
    ),
    "R011": explained(
        "transform out of place",
        "`ten_crop` makes ten images of one, whose scores evaluation averages; training takes one crop. `resize` is\n"
        "done as images are read, and so before any crop.",
        "train: [ten_crop(24), resize(32)]",
        "train: [resize(32), random_crop(24)]",
    ),
}

PLACEMENT: dict[str, Explanation] = {
    "D001": explained(
        "ends of a split exchanged",
        "`from` is the earlier layer, `to` the later one; both belong to the split.",
        "split: channels(from = fc7, to = conv1)",
        "split: channels(from = conv1, to = fc7)",
    ),
    "D002": explained(
        "no such device",
        "With `devices: n` the devices are 0 to n - 1.",
        "devices: 2\nsplit: on(fc8, 2)",
        "devices: 2\nsplit: on(fc8, 1)",
    ),
    "D003": explained(
        "split that cannot be made evenly",
        "A layer is shared out in equal parts: `channels` and `outputs` cut kernels and units, `inputs` what they\n"
        "read, `batch` the images of a batch. The note gives the bytes that lying whole on one device would cost\n"
        "instead.",
        "conv1: conv(97, 11) ...\nsplit: channels(from = conv1, to = conv5)    # devices: 2",
        "conv1: conv(96, 11) ...\nsplit: channels(from = conv1, to = conv5)    # devices: 2",
    ),
    "D004": explained(
        "split of a layer without weights",
        "`inputs` and `outputs` cut a layer's weights; a layer without any follows the one it reads.",
        "split: outputs(pool1)",
        "split: outputs(conv1)",
    ),
}

CODES: dict[str, Explanation] = {**SYNTAX, **NAMES, **VALUES, **SHAPES, **SECTIONS, **PLACEMENT}
