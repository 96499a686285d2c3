"""Graphs with something to fuse for each rule, and the nodes that `fuse` makes of theirs."""

CONV_BIAS_RELU = """\
graph net {
  input %x : f32[2, 1, 4, 4]
  state %conv1.weight : f32[3, 1, 3, 3] = normal(std = 0.1)
  state %conv1.bias : f32[3] = constant(value = 0.0)
  state %conv2.weight : f32[3, 3, 1, 1] = normal(std = 0.1)
  state %fc3.weight : f32[5, 48] = normal(std = 0.1)
  state %fc3.bias : f32[5] = constant(value = 1.0)
  %conv1 = conv(%x, %conv1.weight) {pad = 1} : f32[2, 3, 4, 4] loc(m.alx:3:8)
  %conv1.bias_add = bias_add(%conv1, %conv1.bias) : f32[2, 3, 4, 4] loc(m.alx:3:8)
  %relu1 = relu(%conv1.bias_add) : f32[2, 3, 4, 4] loc(m.alx:3:30)
  %conv2 = conv(%relu1, %conv2.weight) : f32[2, 3, 4, 4] loc(m.alx:4:8)
  %tanh2 = tanh(%conv2) : f32[2, 3, 4, 4] loc(m.alx:4:30)
  %flat = flatten(%tanh2) : f32[2, 48]
  %fc3 = fc(%flat, %fc3.weight) : f32[2, 5] loc(m.alx:5:8)
  %fc3.bias_add = bias_add(%fc3, %fc3.bias) : f32[2, 5] loc(m.alx:5:8)
  output score = %fc3.bias_add
}
"""
CONV_BIAS_RELU_AFTER = """\
%relu1 = fused(%x, %conv1.weight, %conv1.bias) {rule = "conv_bias_relu", parts = [conv(0, 1) {pad = 1}; bias_add(3, \
2); relu(4)], yields = (5,)} : f32[2, 3, 4, 4] loc(m.alx:3:30)
%tanh2 = fused(%relu1, %conv2.weight) {rule = "conv_bias_relu", parts = [conv(0, 1); tanh(2)], yields = (3,)} : \
f32[2, 3, 4, 4] loc(m.alx:4:30)
%flat = flatten(%tanh2) : f32[2, 48]
%fc3.bias_add = fused(%flat, %fc3.weight, %fc3.bias) {rule = "conv_bias_relu", parts = [fc(0, 1); bias_add(3, 2)], \
yields = (4,)} : f32[2, 5] loc(m.alx:5:8)
"""
LRN_MAXPOOL = """\
graph net {
  input %x : f32[2, 3, 5, 5]
  input %g : f32[2, 3, 2, 2]
  %lrn1 = lrn(%x) {n = 3, k = 2.0, alpha = 0.1, beta = 0.75} : f32[2, 3, 5, 5] loc(m.alx:4:8)
  %pool1, %pool1.argmax = maxpool(%lrn1) {size = 3, stride = 2} : f32[2, 3, 2, 2], u8[2, 3, 2, 2] loc(m.alx:5:8)
  %pool1.grad_input = maxpool_grad(%g, %pool1.argmax) {size = 3, stride = 2, input_size = 5} : f32[2, 3, 5, 5] \
loc(m.alx:5:8)
  %lrn1.grad_input = lrn_grad(%pool1.grad_input, %x) {n = 3, k = 2.0, alpha = 0.1, beta = 0.75} : f32[2, 3, 5, 5] \
loc(m.alx:4:8)
  %norm2 = local_norm(%x) {size = 3, k = 2.0, alpha = 0.1, beta = 0.75} : f32[2, 3, 5, 5] loc(m.alx:6:8)
  %pool2, %pool2.argmax = maxpool(%norm2) {size = 5, stride = 5} : f32[2, 3, 1, 1], u8[2, 3, 1, 1] loc(m.alx:7:8)
  output pool1 = %pool1
  output grad = %lrn1.grad_input
  output pool2 = %pool2
}
"""
LRN_MAXPOOL_AFTER = """\
%pool1, %pool1.argmax = fused(%x) {rule = "lrn_maxpool", parts = [lrn(0) {n = 3, k = 2.0, alpha = 0.1, beta = \
0.75}; maxpool(1) {size = 3, stride = 2}], yields = (2, 3), names = ("argmax",)} : f32[2, 3, 2, 2], u8[2, 3, 2, 2] \
loc(m.alx:5:8)
%lrn1.grad_input = fused(%g, %pool1.argmax, %x) {rule = "maxpool_lrn_grad", parts = [maxpool_grad(0, 1) {size = 3, \
stride = 2, input_size = 5}; lrn_grad(3, 2) {n = 3, k = 2.0, alpha = 0.1, beta = 0.75}], yields = (4,)} : \
f32[2, 3, 5, 5] loc(m.alx:4:8)
%pool2 = fused(%x) {rule = "lrn_maxpool", parts = [local_norm(0) {size = 3, k = 2.0, alpha = 0.1, beta = 0.75}; \
maxpool(1) {size = 5, stride = 5}], yields = (2,)} : f32[2, 3, 1, 1] loc(m.alx:7:8)
"""
BIAS_RELU_DROPOUT = """\
graph net {
  input %x : f32[4, 6]
  input %g : f32[4, 5]
  input %train.seed : i64[] = 0
  input %train.step : i64[] = 0
  state %fc6.weight : f32[5, 6] = normal(std = 0.1)
  state %fc6.bias : f32[5] = constant(value = 1.0)
  %fc6 = fc(%x, %fc6.weight) : f32[4, 5] loc(m.alx:3:8)
  %fc6.bias_add = bias_add(%fc6, %fc6.bias) : f32[4, 5] loc(m.alx:3:8)
  %relu6 = relu(%fc6.bias_add) : f32[4, 5] loc(m.alx:3:20)
  %drop6 = dropout(%relu6, %train.seed, %train.step) {p = 0.5, stream = 3} : f32[4, 5] loc(m.alx:3:30)
  %drop6.grad_input = dropout(%g, %train.seed, %train.step) {p = 0.5, stream = 3} : f32[4, 5] loc(m.alx:3:30)
  %relu6.grad_input = relu_grad(%drop6.grad_input, %relu6) : f32[4, 5] loc(m.alx:3:20)
  output y = %drop6
  output grad = %relu6.grad_input
}
"""
BIAS_RELU_DROPOUT_AFTER = """\
%drop6 = fused(%x, %fc6.weight, %fc6.bias, %train.seed, %train.step) {rule = "bias_relu_dropout", parts = [fc(0, \
1); bias_add(5, 2); relu(6); dropout(7, 3, 4) {p = 0.5, stream = 3}], yields = (8,)} : f32[4, 5] loc(m.alx:3:30)
%relu6.grad_input = fused(%g, %train.seed, %train.step, %drop6) {rule = "grad_relu", parts = [dropout(0, 1, 2) {p = \
0.5, stream = 3}; relu_grad(4, 3)], yields = (5,)} : f32[4, 5] loc(m.alx:3:20)
"""
GRAD_RELU = """\
graph net {
  input %g : f32[2, 3, 4, 4]
  input %relu1 : f32[2, 2, 6, 6]
  input %tanh2 : f32[2, 72]
  state %conv2.weight : f32[3, 2, 3, 3] = normal(std = 0.1)
  state %fc3.weight : f32[72, 72] = normal(std = 0.1)
  %conv2.grad_input = conv_grad_input(%g, %conv2.weight) {input_size = 6} : f32[2, 2, 6, 6] loc(m.alx:5:8)
  %relu1.grad_input = relu_grad(%conv2.grad_input, %relu1) : f32[2, 2, 6, 6] loc(m.alx:4:8)
  %flat = flatten(%relu1.grad_input) : f32[2, 72]
  %fc3.grad_input = fc_grad_input(%flat, %fc3.weight) : f32[2, 72] loc(m.alx:7:8)
  %tanh2.grad_input = tanh_grad(%fc3.grad_input, %tanh2) : f32[2, 72] loc(m.alx:6:8)
  output first = %relu1.grad_input
  output second = %tanh2.grad_input
}
"""
GRAD_RELU_AFTER = """\
%relu1.grad_input = fused(%g, %conv2.weight, %relu1) {rule = "grad_relu", parts = [conv_grad_input(0, 1) \
{input_size = 6}; relu_grad(3, 2)], yields = (4,)} : f32[2, 2, 6, 6] loc(m.alx:4:8)
%flat = flatten(%relu1.grad_input) : f32[2, 72]
%tanh2.grad_input = fused(%flat, %fc3.weight, %tanh2) {rule = "grad_relu", parts = [fc_grad_input(0, 1); \
tanh_grad(3, 2)], yields = (4,)} : f32[2, 72] loc(m.alx:6:8)
"""
GRAD_SUM = """\
graph net {
  input %left : f32[2, 2, 6, 6]
  input %right : f32[2, 2, 6, 6]
  input %y : f32[2, 2, 6, 6]
  %relu1.grad = add(%left, %right) : f32[2, 2, 6, 6]
  %relu1.grad_input = relu_grad(%relu1.grad, %y) : f32[2, 2, 6, 6]
  output grad = %relu1.grad_input
}
"""
GRAD_SUM_AFTER = """\
%relu1.grad_input = fused(%left, %right, %y) {rule = "grad_relu", parts = [add(0, 1); relu_grad(3, 2)], yields = \
(4,)} : f32[2, 2, 6, 6]
"""
BATCHNORM_RELU = """\
graph net {
  input %x : f32[2, 3, 4, 4]
  input %skip : f32[2, 3, 4, 4]
  state %norm1.weight : f32[3] = constant(value = 1.0)
  state %norm1.bias : f32[3] = constant(value = 0.0)
  %norm1, %norm1.mean, %norm1.variance = batchnorm(%x, %norm1.weight, %norm1.bias) : f32[2, 3, 4, 4], f32[3], f32[3]
  %relu1 = relu(%norm1) : f32[2, 3, 4, 4]
  %norm2, %norm2.mean, %norm2.variance = batchnorm(%relu1, %norm1.weight, %norm1.bias) : f32[2, 3, 4, 4], f32[3], \
f32[3]
  %sum2 = add(%norm2, %skip) : f32[2, 3, 4, 4]
  %relu2 = relu(%sum2) : f32[2, 3, 4, 4]
  %norm3, %norm3.mean, %norm3.variance = batchnorm(%relu2, %norm1.weight, %norm1.bias) : f32[2, 3, 4, 4], f32[3], \
f32[3]
  %relu3 = relu(%norm3) : f32[2, 3, 4, 4]
  output mean1 = %norm1.mean
  output variance1 = %norm1.variance
  output mean2 = %norm2.mean
  output variance2 = %norm2.variance
  output mean3 = %norm3.mean
  output y = %relu3
}
"""
BATCHNORM_RELU_AFTER = """\
%relu1, %relu1.norm1.mean, %relu1.norm1.variance = fused(%x, %norm1.weight, %norm1.bias) {rule = "batchnorm_relu", \
parts = [batchnorm(0, 1, 2); relu(3)], yields = (6, 4, 5), names = ("norm1.mean", "norm1.variance")} : \
f32[2, 3, 4, 4], f32[3], f32[3]
%relu2, %relu2.norm2.mean, %relu2.norm2.variance = fused(%relu1, %norm1.weight, %norm1.bias, %skip) {rule = \
"batchnorm_relu", parts = [batchnorm(0, 1, 2); add(4, 3); relu(7)], yields = (8, 5, 6), names = ("norm2.mean", \
"norm2.variance")} : f32[2, 3, 4, 4], f32[3], f32[3]
%norm3, %norm3.mean, %norm3.variance = batchnorm(%relu2, %norm1.weight, %norm1.bias) : f32[2, 3, 4, 4], f32[3], f32[3]
%relu3 = relu(%norm3) : f32[2, 3, 4, 4]
"""
LOSS_GRAD = """\
graph net {
  input %x : f32[4, 5]
  input %train.label : i32[4]
  %loss, %loss.softmax = softmax_cross_entropy(%x, %train.label) : f32[], f32[4, 5] loc(m.alx:9:8)
  %loss.grad = fill() {value = 1.0} : f32[] loc(m.alx:9:8)
  %loss.grad_input = softmax_cross_entropy_grad(%loss.grad, %loss.softmax, %train.label) : f32[4, 5] loc(m.alx:9:8)
  output loss = %loss
  output grad = %loss.grad_input
}
"""
LOSS_GRAD_AFTER = """\
%loss, %loss.grad_input = fused(%x, %train.label) {rule = "loss_grad", parts = [softmax_cross_entropy(0, 1); fill() \
{value = 1.0}; softmax_cross_entropy_grad(4, 3, 1)], yields = (2, 5), names = ("grad_input",)} : f32[], f32[4, 5] \
loc(m.alx:9:8)
"""
TWO_LOSSES = """\
graph net {
  input %x : f32[4, 5]
  input %z : f32[4, 5]
  input %train.label : i32[4]
  %score.loss, %score.loss.slopes = hinge(%x, %train.label) : f32[], f32[4, 5]
  %score.2.loss, %score.2.loss.slopes = hinge(%z, %train.label) : f32[], f32[4, 5]
  %score.2.weighted = scale(%score.2.loss) {factor = 0.3} : f32[]
  %loss = add(%score.loss, %score.2.weighted) : f32[]
  %loss.grad = fill() {value = 1.0} : f32[]
  %score.2.weighted.grad_input = scale(%loss.grad) {factor = 0.3} : f32[]
  %score.2.loss.grad_input = hinge_grad(%score.2.weighted.grad_input, %score.2.loss.slopes) : f32[4, 5]
  %score.loss.grad_input = hinge_grad(%loss.grad, %score.loss.slopes) : f32[4, 5]
  output loss = %loss
  output first = %score.loss.grad_input
  output second = %score.2.loss.grad_input
}
"""
TWO_LOSSES_AFTER = """\
%loss.grad = fill() {value = 1.0} : f32[]
%score.2.weighted.grad_input = scale(%loss.grad) {factor = 0.3} : f32[]
%score.2.loss, %score.2.loss.grad_input = fused(%z, %train.label, %score.2.weighted.grad_input) {rule = \
"loss_grad", parts = [hinge(0, 1); hinge_grad(2, 4)], yields = (3, 5), names = ("grad_input",)} : f32[], f32[4, 5]
%score.2.weighted = scale(%score.2.loss) {factor = 0.3} : f32[]
%score.loss, %score.loss.grad_input = fused(%x, %train.label, %loss.grad) {rule = "loss_grad", parts = [hinge(0, \
1); hinge_grad(2, 4)], yields = (3, 5), names = ("grad_input",)} : f32[], f32[4, 5]
%loss = add(%score.loss, %score.2.weighted) : f32[]
"""
UPDATES = """\
graph net {
  input %ga : f32[2]
  input %gb : f32[2]
  input %gc : f32[65537]
  input %lr : f32[]
  input %one : f32[]
  state %a : f32[2] = constant(value = 0.0)
  state %a.v : f32[2] = constant(value = 0.0) {role = "slot"}
  state %b : f32[2] = constant(value = 0.0)
  state %b.v : f32[2] = constant(value = 0.0) {role = "slot"}
  state %c : f32[65537] = constant(value = 0.0)
  state %c.v : f32[65537] = constant(value = 0.0) {role = "slot"}
  %a.next, %a.next.velocity = sgd(%a, %a.v, %ga, %lr, %one, %one, %one, %one) : f32[2], f32[2] loc(m.alx:2:8)
  %b.next, %b.next.velocity = sgd(%b, %b.v, %gb, %lr, %one, %one, %lr, %one) : f32[2], f32[2] loc(m.alx:3:8)
  %c.next, %c.next.velocity = sgd(%c, %c.v, %gc, %lr, %one, %one, %one, %one) : f32[65537], f32[65537] \
loc(m.alx:4:8)
  update %a = %a.next
  update %a.v = %a.next.velocity
  update %b = %b.next
  update %b.v = %b.next.velocity
  update %c = %c.next
  update %c.v = %c.next.velocity
}
"""
UPDATES_AFTER = """\
%a.next, %a.next.velocity, %a.next.b.next, %a.next.b.next.velocity = fused(%a, %a.v, %ga, %lr, %one, %b, %b.v, %gb) \
{rule = "updates", parts = [sgd(0, 1, 2, 3, 4, 4, 4, 4); sgd(5, 6, 7, 3, 4, 4, 3, 4)], yields = (8, 9, 10, 11), \
names = ("velocity", "b.next", "b.next.velocity")} : f32[2], f32[2], f32[2], f32[2] loc(m.alx:2:8)
%c.next, %c.next.velocity = sgd(%c, %c.v, %gc, %lr, %one, %one, %one, %one) : f32[65537], f32[65537] loc(m.alx:4:8)
"""

DEVICES = """\
graph net on 2 devices {
  input %g0 : f32[2] on(0)
  input %g1 : f32[2] on(1)
  input %x : f32[2, 2, 4, 4] on(0)
  input %w : f32[2, 2, 1, 1] on(0)
  input %lr : f32[]
  state %a : f32[2] on(0) = constant(value = 0.0)
  state %b : f32[2] on(1) = constant(value = 0.0)
  state %c : f32[2] on(1) = constant(value = 0.0)
  %conv1 = conv(%x, %w) : f32[2, 2, 4, 4] on(0)
  %conv1.1 = copy(%conv1) {to = 1} : f32[2, 2, 4, 4] on(1)
  %relu1 = relu(%conv1.1) : f32[2, 2, 4, 4] on(1)
  %a.next, %a.next.velocity = sgd(%a, %a, %g0, %lr, %lr, %lr, %lr, %lr) : f32[2] on(0), f32[2] on(0)
  %b.next, %b.next.velocity = sgd(%b, %b, %g1, %lr, %lr, %lr, %lr, %lr) : f32[2] on(1), f32[2] on(1)
  %c.next, %c.next.velocity = sgd(%c, %c, %g1, %lr, %lr, %lr, %lr, %lr) : f32[2] on(1), f32[2] on(1)
  output y = %relu1
  update %a = %a.next
  update %b = %b.next
  update %c = %c.next
}
"""
"""What crosses devices is a copy, which is no part of any rule."""
